"""The trade bill, made from what was paid and refunded.

Official source: "Apply for a trade bill" of API v3: amounts in yuan, each value behind a backtick, ready after 10:00
on the next day, kept 3 months; the hash is that of the unpacked file, and the download itself is not signed.
"""

import gzip
import hashlib
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from wechat.bill import CHINA_STANDARD_TIME
from wechat.sandbox.answers import PayRefusal
from wechat.sandbox.records import Order, Refund

if TYPE_CHECKING:
    from wechat.sandbox.world import World

READY_AFTER: Final = timedelta(days=1, hours=10)
KEPT_DAYS: Final = 92
ADDRESS_LIFE_S: Final = 300
FEE_BP: Final = 60
"""The fee in 1/10,000 of the amount; bills carry it to a thousandth of a fen."""

COLUMNS: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS: Final = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


def apply(world: "World", query: dict[str, str], base_url: str) -> dict[str, Any]:
    """Make the bill of a day and say where it lies."""
    if set(query) - {"bill_date", "bill_type", "tar_type"} or query.get("bill_type", "ALL") != "ALL":
        raise PayRefusal(400, "PARAM_ERROR", "账单参数错误")
    if query.get("tar_type", "GZIP") != "GZIP":
        raise PayRefusal(400, "PARAM_ERROR", "压缩类型错误")
    day = _day(world, query.get("bill_date", ""))
    plain = _content(world, day).encode()
    token = secrets.token_urlsafe(32)
    packed = gzip.compress(plain, mtime=0) if "tar_type" in query else plain
    world.bills[token] = (world.now_s() + ADDRESS_LIFE_S, packed)
    return {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(plain, usedforsecurity=False).hexdigest(),
        "download_url": f"{base_url}/v3/billdownload/file?token={token}",
    }


def download(world: "World", token: str) -> bytes:
    """The file behind an address that was given within 5 minutes."""
    ends_s, packed = world.bills.get(token, (0.0, b""))
    if ends_s <= world.now_s():
        raise PayRefusal(400, "PARAM_ERROR", "下载地址已失效")
    return packed


def _day(world: "World", wanted: str) -> date:
    try:
        day = date.fromisoformat(wanted)
    except ValueError:
        raise PayRefusal(400, "PARAM_ERROR", "账单日期格式错误") from None
    now = world.clock.now().astimezone(CHINA_STANDARD_TIME)
    if not now.date() - timedelta(days=KEPT_DAYS) <= day < now.date():
        raise PayRefusal(400, "PARAM_ERROR", "账单日期不在可下载的范围")
    if now < datetime(day.year, day.month, day.day, tzinfo=CHINA_STANDARD_TIME) + READY_AFTER:
        raise PayRefusal(400, "STATEMENT_CREATING", "账单生成中")
    return day


def _content(world: "World", day: date) -> str:
    paid = [
        each for each in world.records.orders.values() if each.paid_s is not None and _local(each.paid_s).date() == day
    ]
    refunded = [
        each
        for each in world.records.refunds.values()
        if each.state in ("SUCCESS", "PROCESSING") and _local(each.made_s).date() == day
    ]
    if not paid and not refunded:
        raise PayRefusal(400, "NO_STATEMENT_EXIST", "账单不存在")
    rows = [(each.paid_s or 0.0, _payment(world, each)) for each in paid]
    rows += [(each.made_s, _refund(world, each)) for each in refunded]
    fee = sum(_fee(each.total_fen) for each in paid) - sum(_fee(each.refund_fen) for each in refunded)
    refund_fen = sum(each.refund_fen for each in refunded)
    totals = [
        str(len(rows)),
        _yuan(sum(each.total_fen - each.coupon_fen for each in paid)),
        _yuan(refund_fen),
        _yuan(0),
        _fee_text(fee),
        _yuan(sum(each.total_fen for each in paid)),
        _yuan(refund_fen),
    ]
    rows.sort(key=lambda row: row[0], reverse=True)
    return "\r\n".join([COLUMNS, *(_line(row) for _, row in rows), TOTALS, _line(totals), ""])


def _payment(world: "World", order: Order) -> list[str]:
    head = _head(world, order, order.paid_s or 0.0, "SUCCESS")
    amounts = [_yuan(order.total_fen - order.coupon_fen), _yuan(order.coupon_fen), "0", "0", "0.00", "0.00", "", ""]
    return [*head, *amounts, *_tail(order, _fee(order.total_fen), order.total_fen, 0)]


def _refund(world: "World", each: Refund) -> list[str]:
    order = world.records.orders[each.out_trade_no]
    head = _head(world, order, each.made_s, "REFUND")
    amounts = [
        _yuan(0),
        _yuan(0),
        each.refund_id,
        each.out_refund_no,
        _yuan(each.refund_fen),
        "0.00",
        "ORIGINAL",
        each.state,
    ]
    return [*head, *amounts, *_tail(order, -_fee(each.refund_fen), 0, each.refund_fen)]


def _head(world: "World", order: Order, at_s: float, state: str) -> list[str]:
    return [
        _local(at_s).strftime("%Y-%m-%d %H:%M:%S"),
        world.credentials.appid,
        world.credentials.mchid,
        "0",
        "",
        order.transaction_id or "",
        order.out_trade_no,
        order.openid or "",
        "JSAPI",
        state,
        "OTHERS",
        "CNY",
    ]


def _tail(order: Order, fee: int, total_fen: int, requested_fen: int) -> list[str]:
    asked = order.asked
    return [
        asked["description"],
        asked.get("attach", ""),
        _fee_text(fee),
        f"{FEE_BP / 100:.2f}%",
        _yuan(total_fen),
        _yuan(requested_fen),
        "",
    ]


def _line(values: list[str]) -> str:
    return ",".join("`" + value for value in values)


def _fee(amount_fen: int) -> int:
    """Thousandths of a fen."""
    return amount_fen * FEE_BP // 10


def _fee_text(fee_millifen: int) -> str:
    sign = "-" if fee_millifen < 0 else ""
    return f"{sign}{abs(fee_millifen) // 100000}.{abs(fee_millifen) % 100000:05d}"


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(CHINA_STANDARD_TIME)
