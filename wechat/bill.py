"""The trade bill: WeChat's own list of a day's payments and refunds, for reconciliation.

Official source: "Apply for a trade bill" and "Download a bill" of API v3. A bill is a text of comma-separated lines
whose values each begin with a backtick; amounts are **yuan** there and whole fen here, converted without rounding.
Times are China Standard Time.
"""

import hashlib
import re
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Final

from wechat.errors import AnswerUnreadable

CHINA_STANDARD_TIME: Final = timezone(timedelta(hours=8))
"""The zone of everything WeChat writes without an offset; it has no summer time."""

BILL_LIMIT: Final = 256 << 20
"""Bytes of one unpacked bill; a longer one is refused rather than held in memory."""

_YUAN: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]{1,8}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRow:
    """One payment (``trade_state`` SUCCESS) or one refund (``trade_state`` REFUND).

    A refund's row has its own amounts in ``refund_fen`` and ``requested_refund_fen`` and 0 as ``total_fen``. The fee is
    charged in thousandths of a fen: ``fee_millifen``.
    """

    at: datetime
    appid: str
    mchid: str
    transaction_id: str
    out_trade_no: str
    openid: str
    trade_type: str
    trade_state: str
    total_fen: int
    settlement_fen: int
    coupon_fen: int
    refund_id: str | None
    out_refund_no: str | None
    refund_fen: int
    requested_refund_fen: int
    refund_status: str | None
    description: str
    attach: str | None
    fee_millifen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeBill:
    """The bill of one calendar day; the totals are the ones WeChat printed below the rows, and they add up."""

    day: date
    rows: tuple[BillRow, ...]
    count: int
    total_fen: int
    refund_fen: int


def fen(yuan: str, *, places: int = 2) -> int:
    """`yuan` as a whole number of 10^-`places` yuan, exactly. Raises `AnswerUnreadable` where that is not possible."""
    match = _YUAN.fullmatch(yuan)
    if match is None:
        raise _unreadable(f"{yuan!r} is no amount")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    kept, lost = fraction[:places].ljust(places, "0"), fraction[places:]
    if lost.strip("0"):
        raise _unreadable(f"{yuan!r} has a part below its unit")
    amount = int(whole + kept)
    return -amount if sign else amount


def unpack(packed: bytes, sha1_hex: str) -> str:
    """The text of a gzip bill whose unpacked bytes have the SHA-1 that the (signed) answer named."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(packed, BILL_LIMIT)
    except zlib.error as error:
        raise _unreadable("the file is not gzip") from error
    if not unpacker.eof or unpacker.unused_data:
        raise _unreadable("the file is cut off, too long or followed by something else")
    if hashlib.sha1(plain, usedforsecurity=False).hexdigest() != sha1_hex.lower():
        raise _unreadable("the file does not have the hash that was announced")
    try:
        return plain.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable("the file is not UTF-8") from error


def parse(day: date, content: str) -> TradeBill:
    """Read the bill of type ALL. Raises `AnswerUnreadable` when a column is missing or the totals do not add up."""
    lines = [line for line in content.splitlines() if line]
    if len(lines) < 3:
        raise _unreadable("it has no rows and no totals")
    columns = lines[0].split(",")
    rows = tuple(_row(_values(columns, line)) for line in lines[1:-2])
    summary = _values(lines[-2].split(","), lines[-1])
    bill = TradeBill(
        day=day,
        rows=rows,
        count=int(fen(_column(summary, "总交易单数"), places=0)),
        total_fen=fen(_column(summary, "订单总金额")),
        refund_fen=fen(_column(summary, "退款总金额")),
    )
    added = (len(rows), sum(row.total_fen for row in rows), sum(row.refund_fen for row in rows))
    if added != (bill.count, bill.total_fen, bill.refund_fen):
        raise _unreadable("its totals do not add up")
    return bill


def _row(values: dict[str, str]) -> BillRow:
    def of(column: str) -> str:
        return _column(values, column)

    try:
        at = datetime.strptime(of("交易时间"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA_STANDARD_TIME)
    except ValueError as error:
        raise _unreadable("a time is malformed") from error
    refunded = of("微信退款单号") not in ("", "0")
    return BillRow(
        at=at,
        appid=of("公众账号ID"),
        mchid=of("商户号"),
        transaction_id=of("微信订单号"),
        out_trade_no=of("商户订单号"),
        openid=of("用户标识"),
        trade_type=of("交易类型"),
        trade_state=of("交易状态"),
        total_fen=fen(of("订单金额")),
        settlement_fen=fen(of("应结订单金额")),
        coupon_fen=fen(of("代金券金额")),
        refund_id=of("微信退款单号") if refunded else None,
        out_refund_no=of("商户退款单号") if refunded else None,
        refund_fen=fen(of("退款金额")),
        requested_refund_fen=fen(of("申请退款金额")),
        refund_status=of("退款状态") or None,
        description=of("商品名称"),
        attach=of("商户数据包") or None,
        fee_millifen=fen(of("手续费"), places=5),
    )


def _values(columns: list[str], line: str) -> dict[str, str]:
    values = line.removeprefix("`").split(",`")
    if len(values) != len(columns):
        raise _unreadable("a row has another number of values than the heading")
    return dict(zip(columns, values, strict=True))


def _column(values: dict[str, str], column: str) -> str:
    if column not in values:
        raise _unreadable(f"the column {column} is missing")
    return values[column]


def _unreadable(why: str) -> AnswerUnreadable:
    return AnswerUnreadable("BILL_UNREADABLE", f"the bill cannot be read: {why}")
