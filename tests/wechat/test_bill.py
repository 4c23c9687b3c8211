"""The trade bill: yuan to fen without loss, hash, totals, and the sandbox's own."""

import gzip
import hashlib
from datetime import date, datetime, timedelta

import pytest

from tests.wechat.conftest import NUMBER, Trade, real_now
from wechat.bill import CHINA_STANDARD_TIME, fen, parse, unpack
from wechat.errors import AnswerUnreadable, BillAbsent, BillNotReady, RequestRefused

HEADING = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
ROW = (
    "`2026-11-20 23:59:59,`wx1,`1900000001,`0,`,`4200000001,`ORDER_0001,`oA,`JSAPI,`SUCCESS,`OTHERS,`CNY,"
    "`12.00,`0.34,`0,`0,`0.00,`0.00,`,`,`咖啡, 250 g,`,`0.07404,`0.60%,`12.34,`0.00,`"
)
TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
SUMS = "`1,`12.00,`0.00,`0.00,`0.07404,`12.34,`0.00"
DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("yuan", "expected"),
    [
        ("0.00", 0),
        ("0.01", 1),
        ("0.1", 10),
        ("7", 700),
        ("12.34", 1234),
        ("-0.05", -5),
        ("90071992547409.93", 9007199254740993),
    ],
)
def test_yuan_become_fen_exactly(yuan: str, expected: int) -> None:
    assert fen(yuan) == expected


@pytest.mark.parametrize("yuan", ["", "1,000.00", "0.001", "1e2", "NaN", " 1", "+1", "1.", ".5", "１"])
def test_what_is_no_whole_fen_is_refused(yuan: str) -> None:
    with pytest.raises(AnswerUnreadable):
        fen(yuan)


def test_a_row_is_read_by_the_names_of_its_columns() -> None:
    bill = parse(DAY, "\r\n".join([HEADING, ROW, TOTALS, SUMS, ""]))
    [row] = bill.rows
    assert (row.total_fen, row.settlement_fen, row.coupon_fen, row.fee_millifen) == (1234, 1200, 34, 7404)
    assert (row.description, row.refund_id, row.trade_state) == ("咖啡, 250 g", None, "SUCCESS")
    assert row.at.isoformat() == "2026-11-20T23:59:59+08:00"
    assert (bill.count, bill.total_fen, bill.refund_fen) == (1, 1234, 0)


@pytest.mark.parametrize(
    "lines",
    [
        [HEADING, ROW, TOTALS, SUMS.replace("`1,", "`2,", 1)],
        [HEADING, ROW, TOTALS, SUMS.replace("12.34", "12.35")],
        [HEADING, ROW.replace("23:59:59", "25:00:00"), TOTALS, SUMS],
        [HEADING.replace("订单金额", "别的"), ROW, TOTALS, SUMS],
        [HEADING, ROW + ",`more", TOTALS, SUMS],
        [HEADING],
        [],
    ],
)
def test_a_bill_that_does_not_add_up_is_refused(lines: list[str]) -> None:
    with pytest.raises(AnswerUnreadable):
        parse(DAY, "\n".join(lines))


def test_only_the_announced_file_is_unpacked() -> None:
    plain = "账单".encode()
    packed, sha1 = gzip.compress(plain), hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    assert unpack(packed, sha1) == "账单"
    for wrong_packed, wrong_sha1 in (
        (packed, "0" * 40),
        (packed[:-3], sha1),
        (packed + b"x", sha1),
        (plain, sha1),
        (b"", sha1),
    ):
        with pytest.raises(AnswerUnreadable):
            unpack(wrong_packed, wrong_sha1)


async def test_the_bill_of_yesterday_lists_what_was_paid_and_refunded(trade: Trade) -> None:
    await trade.paid(total_fen=1234, coupon_fen=34)
    await trade.paid("T2026112100002", total_fen=99)
    await trade.client.refund(out_trade_no=NUMBER, out_refund_no="R1", refund_fen=234, total_fen=1234, reason="x")
    await trade.prepay("T2026112100003")
    today = real_now().astimezone(CHINA_STANDARD_TIME).date()
    await trade.advance(until_ten_on(today + timedelta(days=1)) + 60)
    bill = await trade.client.trade_bill(today)
    assert (bill.count, bill.total_fen, bill.refund_fen) == (3, 1333, 234)
    by_state = {(row.out_trade_no, row.trade_state): row for row in bill.rows}
    payment, refund = by_state[(NUMBER, "SUCCESS")], by_state[(NUMBER, "REFUND")]
    assert (payment.total_fen, payment.coupon_fen, payment.openid) == (1234, 34, trade.openid)
    assert (refund.refund_fen, refund.out_refund_no, refund.total_fen) == (234, "R1", 0)
    assert payment.description == "云南小粒咖啡, 250 g"
    assert refund.transaction_id == payment.transaction_id == (await trade.client.query(NUMBER)).transaction_id


async def test_a_bill_is_not_there_before_ten_nor_for_a_day_without_trade(trade: Trade) -> None:
    await trade.paid()
    today = real_now().astimezone(CHINA_STANDARD_TIME).date()
    with pytest.raises(RequestRefused):
        await trade.client.trade_bill(today)
    await trade.advance(until_ten_on(today + timedelta(days=1)) - 60)
    with pytest.raises(BillNotReady):
        await trade.client.trade_bill(today)
    with pytest.raises(BillAbsent):
        await trade.client.trade_bill(today - timedelta(days=1))


def until_ten_on(day: date) -> float:
    """Seconds from now until 10:00 in China on `day`."""
    return (datetime(day.year, day.month, day.day, 10, tzinfo=CHINA_STANDARD_TIME) - real_now()).total_seconds()
