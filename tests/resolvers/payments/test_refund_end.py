"""Refunds that WeChat does not bring back: too late, refused for good, abnormal, or paid although they were closed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.orders.order import OrderState
from loyalty.payments.exception_case import CaseActionRefused
from loyalty.payments.refund import REFUNDED_WITHIN, ByHand, RefundEffect, RefundOverdue, RefundsUsedUp
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.payments.payment import ExceptionCase, Payment, PaymentAttempt, Refund
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.payments import exception_action, exception_case, payment, refund, refund_end
from resolvers.payments.refund_end import ABNORMAL_AGAIN, GIVEN_UP_AFTER, TRIES_BEFORE_CASE
from resolvers.payments.refund_request import RETRY_AFTER
from tests.doors import make_member, make_operator
from tests.refunds import bought, give_back, lines_of, pay_by_hand, place, previewed, use_up
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable
from wechat.errors import RequestRefused

PRICE = 10_000


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: what is due is looked at as a whole."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def books_hold(deps: Deps) -> AsyncIterator[None]:
    """Every invariant, after every test."""
    yield
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def paid(deps: Deps, wechat: SandboxControl, quantity: int = 1) -> Order:
    member = await make_member(deps, openid=await wechat.openid())
    return await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=PRICE): quantity})


async def refund_all(deps: Deps, one: Order) -> Refund:
    """The shop refunds the order; its refund as it stands then."""
    boss = await make_operator(deps)
    await refund.refund_order(deps, operator_id=boss.id, order_id=one.id, reason="缺货", idempotency_key=new_secret(12))
    return await Refund.filter(order_id=one.id).order_by("-id").first()  # type: ignore[return-value]


async def passes(clock: SetClock, wechat: SandboxControl, span: timedelta) -> None:
    clock.advance(span)
    await wechat.advance(span / timedelta(seconds=1))


async def swept(deps: Deps) -> int:
    return await next(one for one in SWEEPS if one.name == "send_refunds").round(deps)


async def cases(one: Order) -> dict[str, bool]:
    """The kinds of the order's cases, and whether each stands open."""
    return {case.kind: case.resolved_at is None for case in await ExceptionCase.filter(order_id=one.id)}


async def at_wechat(one: Order, wechat: SandboxControl) -> int:
    """How many fen WeChat has paid back of the order."""
    numbers = [attempt.out_trade_no for attempt in await PaymentAttempt.filter(order_id=one.id)]
    told = (await wechat.ledger())["refunds"]
    return sum(each["amount"]["refund"] for each in told if each["out_trade_no"] in numbers)


async def told(one: Order) -> list[str]:
    found = await rows("SELECT kind FROM order_event WHERE order_id = $1 ORDER BY id", [one.id])
    return [row["kind"] for row in found if row["kind"] not in ("placed", "paid")]


# Foreseen


async def no_more(one: Order, _: SetClock, __: SandboxControl) -> None:
    await use_up(one.id)


async def a_year_later(_: Order, clock: SetClock, wechat: SandboxControl) -> None:
    await passes(clock, wechat, REFUNDED_WITHIN)


@pytest.mark.parametrize(
    ("goes_by", "why", "refusal"),
    [(no_more, ByHand.USED_UP, RefundsUsedUp), (a_year_later, ByHand.OVERDUE, RefundOverdue)],
)
async def test_the_preview_says_that_the_shop_will_pay_and_so_it_is(
    open_store: Deps,
    wechat: SandboxControl,
    clock: SetClock,
    goes_by: Callable[[Order, SetClock, SandboxControl], Awaitable[None]],
    why: ByHand,
    refusal: type[Exception],
) -> None:
    deps = open_store
    one = await paid(deps, wechat, 2)
    (line,) = await lines_of(one.id)
    assert (await previewed(deps, one.id, {line.id: 1})).by_hand is None
    await goes_by(one, clock, wechat)
    preview = await previewed(deps, one.id, {line.id: 1})
    assert preview.by_hand is why
    part = await give_back(deps, wechat, one.id, {line.id: 1}, expected=preview.digest())
    asked = await Refund.get(order_refund_id=part.id)
    assert (asked.state, asked.tries, asked.due_at, asked.last_error) == ("closed", 0, None, why)
    case = await ExceptionCase.get(order_id=one.id)
    details = {"refund_id": str(asked.id), "amount_fen": PRICE, "because": why}
    assert (case.kind, case.details, case.resolved_at) == ("refunds_used_up", details, None)
    boss = await make_operator(deps)
    with pytest.raises(refusal):
        await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=part.id, idempotency_key=new_secret(12))
    await swept(deps)
    assert await at_wechat(one, wechat) == 0
    await pay_by_hand(deps, case.id)
    done = await OrderRefund.get(id=part.id)
    assert RefundEffect.parse(done.effect) == preview
    assert await told(one) == ["refund_requested", "refund_failed", "refund_by_hand", "part_refunded"]


async def test_until_the_last_second_of_its_year_wechat_pays_a_refund(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await paid(open_store, wechat)
    paid_at = (await Payment.get(order_id=one.id)).success_at
    assert paid_at is not None
    await passes(clock, wechat, paid_at + REFUNDED_WITHIN - clock.now() - timedelta(seconds=1))
    assert (await previewed(open_store, one.id, None)).by_hand is None
    await refund_all(open_store, one)
    await wechat.settle()
    assert ((await Order.get(id=one.id)).state, await cases(one)) == (OrderState.REFUNDED, {})


async def test_what_was_asked_for_in_time_and_not_taken_by_its_end_comes_to_a_person(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await paid(open_store, wechat)
    await passes(clock, wechat, REFUNDED_WITHIN - timedelta(days=1))
    await wechat.fault("refund", "not_enough", times=5)
    asked = await refund_all(open_store, one)
    for _ in range(4):
        await passes(clock, wechat, timedelta(hours=5))
        assert await swept(open_store) == 1
    await asked.refresh_from_db()
    assert (asked.state, asked.last_error, await cases(one)) == ("requested", "NOT_ENOUGH", {"refund_stuck": True})
    await passes(clock, wechat, timedelta(hours=6))
    assert await swept(open_store) == 1
    await asked.refresh_from_db()
    assert (asked.state, asked.due_at, asked.last_error) == ("closed", None, "overdue")
    assert await cases(one) == {"refund_stuck": False, "refunds_used_up": True}
    await pay_by_hand(open_store, (await ExceptionCase.get(order_id=one.id, kind="refunds_used_up")).id)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED


async def test_a_refund_whose_answer_was_lost_is_asked_about_before_it_is_called_overdue(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await paid(open_store, wechat)
    await passes(clock, wechat, REFUNDED_WITHIN - timedelta(days=1))
    await wechat.script_notices(event_type="REFUND", drop=True)
    await wechat.fault("refund", "reset_after_effect")
    await refund_all(open_store, one)
    await passes(clock, wechat, timedelta(days=2))
    assert await swept(open_store) == 1
    assert ((await Order.get(id=one.id)).state, await cases(one)) == (OrderState.REFUNDED, {})


async def test_a_stray_payment_that_is_refused_a_year_later_is_paid_by_hand(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    placed = await place(deps, member.id, {await put_on_shelf(deps, price_fen=PRICE): 1})
    await payment.pay(deps, member_id=member.id, order_id=placed.id)
    attempt = await PaymentAttempt.get(order_id=placed.id)
    await wechat.pay(attempt.out_trade_no, total_fen=PRICE - 1)
    await wechat.settle()
    await passes(clock, wechat, REFUNDED_WITHIN)
    boss = await make_operator(deps)
    case = await ExceptionCase.get(order_id=placed.id)
    await exception_action.refund_again(
        deps, operator_id=boss.id, case_id=case.id, reason="金额不符", idempotency_key=new_secret(12)
    )
    assert await cases(placed) == {"payment_mismatch": False, "refunds_used_up": True}
    by_hand = await ExceptionCase.get(order_id=placed.id, kind="refunds_used_up")
    assert (by_hand.details["amount_fen"], by_hand.details["because"]) == (PRICE - 1, "overdue")
    await pay_by_hand(deps, by_hand.id)
    assert await told(placed) == ["mismatched_payment", "refund_failed", "refund_by_hand", "payment_returned"]


async def test_another_amount_at_wechat_is_a_case_and_asked_about_ever_more_seldom(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await paid(open_store, wechat)
    await wechat.script_refunds(status="PROCESSING")
    asked = await refund_all(open_store, one)
    answer = replace(await open_store.pay.query_refund(asked.out_refund_no), refund_fen=PRICE - 1)
    waits = []
    for _ in range(4):
        assert await refund_end.conclude(open_store, answer)
        await asked.refresh_from_db()
        assert asked.due_at is not None
        waits.append(asked.due_at - clock.now())
    assert waits == [RETRY_AFTER[at] for at in (2, 3, 4, 4)]
    assert (asked.state, await cases(one)) == ("processing", {"refund_mismatch": True})


# Refused for good


async def by_console(deps: Deps, one: Order) -> None:
    """Somebody has paid all of the order back in WeChat's console."""
    attempt = await PaymentAttempt.get(order_id=one.id)
    await deps.pay.refund(
        out_trade_no=attempt.out_trade_no,
        out_refund_no=new_secret(12),
        refund_fen=attempt.total_fen,
        total_fen=attempt.total_fen,
        reason="商户平台退款",
    )


async def tried_out(deps: Deps, clock: SetClock, wechat: SandboxControl) -> None:
    for _ in range(TRIES_BEFORE_CASE - 1):
        await passes(clock, wechat, timedelta(hours=1))
        assert await swept(deps) == 1


async def test_what_wechat_refuses_for_good_is_closed_and_paid_by_hand(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one = await paid(deps, wechat)
    await by_console(deps, one)
    asked = await refund_all(deps, one)
    assert (asked.state, asked.last_error, await cases(one)) == ("requested", "INVALID_REQUEST", {})
    await tried_out(deps, clock, wechat)
    await asked.refresh_from_db()
    assert (asked.state, asked.tries, asked.due_at) == ("closed", TRIES_BEFORE_CASE, None)
    case = await ExceptionCase.get(order_id=one.id)
    why = {"error": "INVALID_REQUEST", "message": "退款总金额超过订单金额"}
    assert (case.kind, case.details) == ("refund_closed", {"refund_id": str(asked.id), "amount_fen": PRICE, **why})
    await passes(clock, wechat, timedelta(days=1))
    assert await swept(deps) == 0
    await pay_by_hand(deps, case.id)
    part = await OrderRefund.get(order_id=one.id)
    assert RefundEffect.parse(part.effect).by_hand is ByHand.REFUSED
    assert await told(one) == ["refund_requested", "refund_failed", "refund_by_hand", "refunded"]


async def test_a_refund_is_not_given_up_within_its_first_hour_however_often_it_is_sent(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one = await paid(deps, wechat)
    await by_console(deps, one)
    asked = await refund_all(deps, one)
    for _ in range(TRIES_BEFORE_CASE):
        await refund.send(deps, refund_id=asked.id)
    assert await cases(one) == {"refund_stuck": True}
    await passes(clock, wechat, GIVEN_UP_AFTER - timedelta(seconds=1))
    await refund.send(deps, refund_id=asked.id)
    assert await cases(one) == {"refund_stuck": True}
    await passes(clock, wechat, timedelta(seconds=1))
    await refund.send(deps, refund_id=asked.id)
    assert await cases(one) == {"refund_stuck": False, "refund_closed": True}


async def test_what_was_refused_for_good_is_asked_for_anew_and_refused_anew(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one = await paid(deps, wechat)
    await by_console(deps, one)
    await refund_all(deps, one)
    await tried_out(deps, clock, wechat)
    boss = await make_operator(deps)
    case = await ExceptionCase.get(order_id=one.id)
    await exception_action.refund_again(
        deps, operator_id=boss.id, case_id=case.id, reason="再退一次", idempotency_key=new_secret(12)
    )
    await tried_out(deps, clock, wechat)
    assert [each.state for each in await Refund.filter(order_id=one.id)] == ["closed", "closed"]
    (again,) = await ExceptionCase.filter(order_id=one.id, resolved_at__isnull=True)
    await pay_by_hand(deps, again.id)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED


async def test_what_may_pass_is_tried_on_and_settles_itself(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await paid(open_store, wechat)
    await wechat.fault("refund", "not_enough", times=TRIES_BEFORE_CASE)
    await refund_all(open_store, one)
    await tried_out(open_store, clock, wechat)
    assert await cases(one) == {"refund_stuck": True}
    await passes(clock, wechat, timedelta(hours=6))
    assert await swept(open_store) == 1
    await wechat.settle()
    assert ((await Order.get(id=one.id)).state, await cases(one)) == (OrderState.REFUNDED, {"refund_stuck": False})


# Paid after all


async def test_an_abnormal_refund_is_asked_about_daily_until_it_is_settled(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one = await paid(deps, wechat)
    await wechat.script_refunds(status="ABNORMAL", at_once=True)
    asked = await refund_all(deps, one)
    await wechat.settle()
    case = await ExceptionCase.get(order_id=one.id)
    boss = await make_operator(deps)
    await exception_case.resolve(
        deps, operator_id=boss.id, case_id=case.id, resolution="已在商户平台处理", idempotency_key=new_secret(12)
    )
    await passes(clock, wechat, ABNORMAL_AGAIN)
    assert await swept(deps) == 1
    assert await swept(deps) == 0
    await wechat.script_notices(event_type="REFUND", drop=True)
    await wechat.post("refunds/finish", out_refund_no=asked.out_refund_no)
    await passes(clock, wechat, ABNORMAL_AGAIN)
    assert await swept(deps) == 1
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    assert await told(one) == ["refund_requested", "refund_failed", "refunded"]


async def test_money_that_wechat_pays_after_the_shop_did_is_told_once(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one = await paid(deps, wechat)
    await wechat.script_refunds(status="ABNORMAL", at_once=True)
    asked = await refund_all(deps, one)
    await pay_by_hand(deps, (await ExceptionCase.get(order_id=one.id)).id)
    await wechat.script_notices(event_type="REFUND", duplicate=2, fresh_ids=True)
    await wechat.post("refunds/finish", out_refund_no=asked.out_refund_no)
    await wechat.settle()
    assert await cases(one) == {"refund_abnormal": False, "refund_twice": True}
    assert await told(one) == ["refund_requested", "refund_failed", "refund_by_hand", "refunded"]
    case = await ExceptionCase.get(order_id=one.id, kind="refund_twice")
    with pytest.raises(CaseActionRefused):
        await pay_by_hand(deps, case.id)


async def closed_here(deps: Deps, wechat: SandboxControl, one: Order) -> Refund:
    """A refund that WeChat has, and the store has given up."""
    await wechat.fault("refund", "reset_after_effect")
    asked = await refund_all(deps, one)
    await refund_end.give_up(deps, asked, RequestRefused("INVALID_REQUEST", "请求不合法"))
    assert await cases(one) == {"refund_closed": True}
    return asked


async def test_money_that_wechat_pays_although_the_refund_was_closed_here_is_booked(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one = await paid(open_store, wechat)
    await closed_here(open_store, wechat, one)
    await wechat.settle()
    assert ((await Order.get(id=one.id)).state, await cases(one)) == (OrderState.REFUNDED, {"refund_closed": False})


async def test_money_that_wechat_pays_although_it_was_asked_for_anew_comes_to_a_person(
    open_store: Deps, wechat: SandboxControl
) -> None:
    deps = open_store
    one = await paid(deps, wechat, 2)
    (line,) = await lines_of(one.id)
    await wechat.fault("refund", "reset_after_effect")
    part = await give_back_unheard(deps, one, {line.id: 1})
    first = await Refund.get(order_refund_id=part.id)
    await refund_end.give_up(deps, first, RequestRefused("INVALID_REQUEST", "请求不合法"))
    boss = await make_operator(deps)
    await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=part.id, idempotency_key=new_secret(12))
    await wechat.settle()
    assert await at_wechat(one, wechat) == 2 * PRICE
    assert (await Order.get(id=one.id)).refunded_fen == PRICE
    assert await cases(one) == {"refund_closed": False, "refund_twice": True}


async def give_back_unheard(deps: Deps, one: Order, pieces: dict[UUID, int]) -> OrderRefund:
    """A part that was asked for and of which nothing was heard."""
    boss = await make_operator(deps)
    await refund.refund_lines(
        deps,
        operator_id=boss.id,
        order_id=one.id,
        pieces=pieces,
        reason="退货",
        shops_fault=False,
        goods_come_back=True,
        expected=None,
        idempotency_key=new_secret(12),
    )
    return await OrderRefund.get(order_id=one.id)
