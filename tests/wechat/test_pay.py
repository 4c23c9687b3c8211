"""Our client against the sandbox: the ordinary course of a payment."""

from datetime import timedelta

import pytest

from tests.wechat.conftest import EXPIRES, NUMBER, Shop, Trade, real_now
from wechat.errors import OrderClosed, OrderNotExist, OrderPaid, OutTradeNoUsed, RefundNotExist, RequestRefused
from wechat.pay_types import RefundNotice, Transaction


async def test_an_order_is_opened_paid_with_the_signed_fields_and_queried(trade: Trade) -> None:
    params = trade.client.pay_params(await trade.prepay(attach="store 1"))
    assert params.package.startswith("prepay_id=wx")
    before = await trade.client.query(NUMBER)
    assert (before.trade_state, before.transaction_id, before.openid, before.paid) == ("NOTPAY", None, None, False)
    await trade.sandbox.request_payment(params)
    after = await trade.client.query(NUMBER)
    assert (after.trade_state, after.paid, after.total_fen, after.payer_total_fen) == ("SUCCESS", True, 100, 100)
    assert (after.openid, after.attach, after.appid) == (trade.openid, "store 1", trade.client.config.appid)
    assert after.transaction_id is not None
    assert after.success_time is not None
    assert abs(after.success_time - real_now()) < timedelta(minutes=1)


async def test_the_notice_of_a_payment_is_verified_and_says_the_same_as_the_query(trade: Trade, shop: Shop) -> None:
    await trade.paid()
    await trade.sandbox.settle()
    [(headers, body)] = shop.arrived
    notice = trade.client.verify_notice(headers, body)
    assert notice.event_type == "TRANSACTION.SUCCESS"
    assert notice.raw == body
    assert isinstance(notice.resource, Transaction)
    assert notice.resource == await trade.client.query(NUMBER)


async def test_the_same_number_with_the_same_parameters_is_the_same_order(trade: Trade) -> None:
    assert await trade.prepay() == await trade.prepay()


async def test_the_same_number_with_another_price_is_refused(trade: Trade) -> None:
    await trade.prepay()
    with pytest.raises(OutTradeNoUsed):
        await trade.prepay(total_fen=101)


async def test_a_closed_order_is_closed_again_without_complaint_and_never_paid(trade: Trade) -> None:
    await trade.prepay()
    await trade.client.close(NUMBER)
    await trade.client.close(NUMBER)
    assert (await trade.client.query(NUMBER)).trade_state == "CLOSED"
    with pytest.raises(OrderClosed):
        await trade.prepay()


async def test_closing_or_opening_a_paid_order_says_that_it_is_paid(trade: Trade) -> None:
    await trade.paid()
    with pytest.raises(OrderPaid):
        await trade.client.close(NUMBER)
    with pytest.raises(OrderPaid):
        await trade.prepay()


async def test_an_order_that_never_was_is_not_found(trade: Trade) -> None:
    with pytest.raises(OrderNotExist):
        await trade.client.query(NUMBER)
    with pytest.raises(OrderNotExist):
        await trade.client.close(NUMBER)
    with pytest.raises(RefundNotExist):
        await trade.client.query_refund("R1")


async def test_a_number_of_every_allowed_character_is_signed_as_it_is_sent(trade: Trade) -> None:
    number = "aZ09_-|*"
    await trade.paid(number)
    assert (await trade.client.query(number)).out_trade_no == number
    await trade.client.refund(out_trade_no=number, out_refund_no="r@|*", refund_fen=1, total_fen=100, reason="x")
    assert (await trade.client.query_refund("r@|*")).refund_fen == 1


async def test_a_refund_is_accepted_first_and_done_later(trade: Trade, shop: Shop) -> None:
    await trade.paid(total_fen=1000)
    accepted = await trade.client.refund(
        out_trade_no=NUMBER,
        out_refund_no="R1",
        refund_fen=400,
        total_fen=1000,
        reason="退货",
        notify_url=shop.notify_url,
    )
    assert (accepted.status, accepted.refund_fen, accepted.total_fen) == ("PROCESSING", 400, 1000)
    await trade.sandbox.settle()
    done = await trade.client.query_refund("R1")
    assert (done.status, done.refund_id) == ("SUCCESS", accepted.refund_id)
    notice = trade.client.verify_notice(*shop.arrived[-1])
    assert notice.event_type == "REFUND.SUCCESS"
    assert isinstance(notice.resource, RefundNotice)
    assert (notice.resource.status, notice.resource.refund_fen, notice.resource.out_refund_no) == ("SUCCESS", 400, "R1")
    assert (await trade.client.query(NUMBER)).trade_state == "REFUND"


async def test_the_same_refund_number_refunds_once(trade: Trade) -> None:
    await trade.paid(total_fen=1000)
    wanted = {"out_trade_no": NUMBER, "out_refund_no": "R1", "total_fen": 1000, "reason": "x"}
    first = await trade.client.refund(refund_fen=1000, **wanted)  # type: ignore[arg-type]
    again = await trade.client.refund(refund_fen=1000, **wanted)  # type: ignore[arg-type]
    assert again.refund_id == first.refund_id
    with pytest.raises(RequestRefused):
        await trade.client.refund(refund_fen=999, **wanted)  # type: ignore[arg-type]
    assert (await trade.sandbox.ledger())["totals"]["refunded_fen"] == 1000


async def test_refunds_never_pass_the_total(trade: Trade) -> None:
    await trade.paid(total_fen=1000)
    await trade.client.refund(out_trade_no=NUMBER, out_refund_no="R1", refund_fen=600, total_fen=1000, reason="x")
    with pytest.raises(RequestRefused, match="超过订单金额"):
        await trade.client.refund(out_trade_no=NUMBER, out_refund_no="R2", refund_fen=401, total_fen=1000, reason="x")
    await trade.client.refund(out_trade_no=NUMBER, out_refund_no="R3", refund_fen=400, total_fen=1000, reason="x")


async def test_coupons_of_wechat_lower_what_the_payer_paid_and_are_told(trade: Trade) -> None:
    await trade.paid(total_fen=1000, coupon_fen=300)
    told = await trade.client.query(NUMBER)
    assert (told.total_fen, told.payer_total_fen) == (1000, 700)
    assert [(each.amount_fen, each.wechatpay_contribute_fen) for each in told.promotions] == [(300, 300)]


async def test_an_order_closes_itself_at_its_time(trade: Trade) -> None:
    await trade.prepay(time_expire=real_now() + timedelta(minutes=4))
    await trade.sandbox.advance(250)
    assert (await trade.client.query(NUMBER)).trade_state == "CLOSED"


async def test_a_prepay_id_lives_two_hours_and_a_new_one_comes_by_the_same_parameters(trade: Trade) -> None:
    expires = EXPIRES + timedelta(hours=2)
    first = await trade.prepay(time_expire=expires)
    await trade.advance(2 * 3600 + 1)
    assert await trade.prepay(time_expire=expires) != first
