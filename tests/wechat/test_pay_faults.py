"""What our client makes of each thing that can go wrong between it and WeChat Pay."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from tests.sandbox_server import SandboxControl
from tests.wechat.conftest import NUMBER, Shop, StoreClock, Trade
from wechat.errors import (
    AnswerUnreadable,
    AnswerUnverified,
    BalanceTooLow,
    FrequencyLimited,
    Misconfigured,
    OrderPaid,
    OutcomeUnknown,
    Unreachable,
    WeChatError,
)
from wechat.pay import PayClient
from wechat.pay_types import RefundResult

WRONG_SIGNATURES = ["unsigned", "forged_signature", "unknown_serial", "stale_timestamp"]


async def refund(trade: Trade, number: str = "R1") -> RefundResult:
    return await trade.client.refund(
        out_trade_no=NUMBER, out_refund_no=number, refund_fen=100, total_fen=100, reason="x"
    )


@pytest.mark.parametrize("fault", ["system_error", "system_error_after_effect", "reset", "reset_after_effect"])
async def test_a_prepay_is_repeated_once_with_the_same_number(trade: Trade, fault: str) -> None:
    await trade.sandbox.fault("prepay", fault)
    assert await trade.prepay()
    assert len((await trade.sandbox.ledger())["orders"]) == 1


async def test_a_prepay_that_fails_twice_is_unclear(trade: Trade) -> None:
    await trade.sandbox.fault("prepay", "system_error_after_effect", times=2)
    with pytest.raises(OutcomeUnknown) as caught:
        await trade.prepay()
    assert (caught.value.code, caught.value.retriable, caught.value.unclear) == ("SYSTEM_ERROR", True, True)
    assert await trade.prepay()


@pytest.mark.parametrize("fault", ["system_error_after_effect", "reset_after_effect", "truncated_json", "unsigned"])
async def test_a_refund_behind_a_lost_answer_is_one_refund_when_the_caller_repeats_it(trade: Trade, fault: str) -> None:
    await trade.paid()
    await trade.sandbox.fault("refund", fault)
    with pytest.raises(WeChatError) as caught:
        await refund(trade)
    assert caught.value.unclear
    assert len((await trade.sandbox.ledger())["refunds"]) == 1
    again = await refund(trade)
    assert (await trade.sandbox.ledger())["totals"]["refunded_fen"] == again.refund_fen == 100


async def test_a_refund_is_never_repeated_behind_the_callers_back(trade: Trade) -> None:
    await trade.paid()
    await trade.sandbox.fault("refund", "system_error")
    with pytest.raises(OutcomeUnknown):
        await refund(trade)
    assert (await trade.sandbox.ledger())["refunds"] == []


@pytest.mark.parametrize("fault", WRONG_SIGNATURES)
async def test_no_answer_with_a_wrong_signature_is_used(trade: Trade, fault: str) -> None:
    async def query() -> object:
        return await trade.client.query(NUMBER)

    async def close() -> object:
        await trade.client.close(NUMBER)
        return None

    calls: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("prepay", trade.prepay),
        ("query", query),
        ("close", close),
    ]
    await trade.prepay()
    for endpoint, call in calls:
        await trade.sandbox.fault(endpoint, fault)
        with pytest.raises(AnswerUnverified) as caught:
            await call()
        assert caught.value.unclear
    assert (await trade.client.query(NUMBER)).trade_state == "CLOSED"


async def test_half_an_answer_is_unreadable(trade: Trade) -> None:
    await trade.prepay()
    await trade.sandbox.fault("query", "truncated_json")
    with pytest.raises(AnswerUnreadable):
        await trade.client.query(NUMBER)


async def test_a_slow_answer_is_unclear_and_not_waited_for_again(
    trade: Trade, http: httpx.AsyncClient, clock: StoreClock
) -> None:
    hurried = PayClient(
        trade.client.config, http, base_url=trade.sandbox.base_url, now=clock.now, timeout=httpx.Timeout(60.0, read=0.3)
    )
    await trade.prepay()
    await trade.sandbox.fault("query", "slow", seconds=300)
    with pytest.raises(OutcomeUnknown, match="TIMEOUT") as caught:
        await hurried.query(NUMBER)
    assert caught.value.unclear
    assert (await trade.sandbox.get("faults")) == []


async def test_too_fast_is_retriable_and_clear(trade: Trade) -> None:
    await trade.prepay()
    await trade.sandbox.fault("close", "frequency_limited", times=2)
    with pytest.raises(FrequencyLimited) as caught:
        await trade.client.close(NUMBER)
    assert (caught.value.retriable, caught.value.unclear) == (True, False)


async def test_a_payer_who_is_faster_than_the_close_is_found_by_the_query(trade: Trade, shop: Shop) -> None:
    await trade.prepay()
    await trade.sandbox.fault("close", "pay_first")
    with pytest.raises(OrderPaid):
        await trade.client.close(NUMBER)
    assert (await trade.client.query(NUMBER)).paid
    await trade.sandbox.settle()
    assert len(shop.arrived) == 1


async def test_an_empty_merchant_account_is_told_and_the_same_number_works_later(trade: Trade) -> None:
    await trade.paid()
    await trade.sandbox.fault("refund", "not_enough")
    with pytest.raises(BalanceTooLow):
        await refund(trade)
    assert (await refund(trade)).status == "PROCESSING"


@pytest.mark.parametrize("status", ["ABNORMAL", "CLOSED"])
async def test_a_refund_may_come_to_a_bad_end(trade: Trade, shop: Shop, status: str) -> None:
    await trade.sandbox.script_refunds(status=status, after_s=60)
    await trade.paid()
    accepted = await trade.client.refund(
        out_trade_no=NUMBER, out_refund_no="R1", refund_fen=100, total_fen=100, reason="x", notify_url=shop.notify_url
    )
    assert accepted.status == "PROCESSING"
    assert (await trade.client.query_refund("R1")).status == "PROCESSING"
    await trade.advance(61)
    result = await trade.client.query_refund("R1")
    assert (result.status, result.success_time) == (status, None)
    assert trade.client.verify_notice(*shop.arrived[-1]).event_type == f"REFUND.{status}"


async def test_a_refund_may_be_done_at_once(trade: Trade) -> None:
    await trade.sandbox.script_refunds(at_once=True)
    await trade.paid()
    done = await refund(trade)
    assert (done.status, done.success_time is not None) == ("SUCCESS", True)


async def test_an_abnormal_refund_is_finished_by_staff(trade: Trade) -> None:
    await trade.sandbox.script_refunds(status="ABNORMAL")
    await trade.paid()
    await refund(trade)
    assert (await trade.client.query_refund("R1")).status == "ABNORMAL"
    await trade.sandbox.post("refunds/finish", out_refund_no="R1", status="SUCCESS")
    assert (await refund(trade)).status == "SUCCESS"


@pytest.mark.parametrize("shift_s", [-310, 310])
async def test_a_clock_that_is_off_is_a_configuration_alarm(trade: Trade, shift_s: int) -> None:
    trade.clock.offset = timedelta(seconds=shift_s)
    with pytest.raises(Misconfigured, match="SIGN_ERROR") as caught:
        await trade.client.query(NUMBER)
    assert caught.value.trace
    assert caught.value.trace.endswith("-268443699")


@pytest.mark.parametrize(
    "wrong", [{"appid": "wx0000000000000000"}, {"mchid": "1900000000"}, {"serial": "F" * 40}], ids=str
)
async def test_wrong_settings_of_the_merchant_are_named_as_such(
    sandbox: SandboxControl, trade: Trade, http: httpx.AsyncClient, clock: StoreClock, wrong: dict[str, str]
) -> None:
    config = await sandbox.pay_config(**wrong)
    trade.client = PayClient(config, http, base_url=sandbox.base_url, now=clock.now)
    with pytest.raises(Misconfigured):
        await trade.prepay()


async def test_an_answer_follows_the_serial_that_was_asked_for(
    sandbox: SandboxControl, trade: Trade, http: httpx.AsyncClient
) -> None:
    added = (await sandbox.post("signing", add="certificate"))["serials"][-1]
    keys = (await sandbox.config())["verifying_keys"]
    moved = await sandbox.pay_config(verifying_keys={added: keys[added]}, preferred_serial=added)
    trade.client = PayClient(moved, http, base_url=sandbox.base_url, now=trade.clock.now)
    assert await trade.prepay()


async def test_a_serial_that_wechat_does_not_know_shows_as_a_system_error(
    sandbox: SandboxControl, trade: Trade, http: httpx.AsyncClient
) -> None:
    known = (await sandbox.config())["verifying_keys"]
    wrong = await sandbox.pay_config(
        verifying_keys={"PUB_KEY_ID_X": next(iter(known.values()))}, preferred_serial="PUB_KEY_ID_X"
    )
    trade.client = PayClient(wrong, http, base_url=sandbox.base_url, now=trade.clock.now)
    with pytest.raises(OutcomeUnknown, match="SYSTEM_ERROR"):
        await trade.prepay()


async def test_where_no_connection_is_made_the_standby_host_is_asked(trade: Trade, http: httpx.AsyncClient) -> None:
    await trade.paid()
    config, now = trade.client.config, trade.clock.now
    trade.client = PayClient(config, http, base_url="http://127.0.0.1:9", standby_url=trade.sandbox.base_url, now=now)
    assert (await trade.client.query(NUMBER)).paid
    assert (await refund(trade)).refund_fen == 100
    alone = PayClient(config, http, base_url="http://127.0.0.1:9", now=now)
    with pytest.raises(Unreachable) as caught:
        await alone.query(NUMBER)
    assert (caught.value.retriable, caught.value.unclear) == (True, False)


async def test_an_answer_that_is_not_from_wechat_proves_nothing(
    trade: Trade, shop: Shop, http: httpx.AsyncClient
) -> None:
    host = shop.notify_url.removesuffix("/notify")
    stray = PayClient(trade.client.config, http, base_url=host, now=trade.clock.now)
    with pytest.raises(OutcomeUnknown, match="HTTP_404"):
        await stray.query(NUMBER)


def test_the_base_url_is_a_host_only(trade: Trade, http: httpx.AsyncClient) -> None:
    for wrong in ("https://api.mch.weixin.qq.com/v3", "api.mch.weixin.qq.com", "https://a.example?x=1"):
        with pytest.raises(ValueError, match="host only"):
            PayClient(trade.client.config, http, base_url=wrong, now=trade.clock.now)


async def test_an_order_of_nothing_is_our_own_mistake(trade: Trade) -> None:
    with pytest.raises(AssertionError, match="nothing"):
        await trade.prepay(total_fen=0)
