"""The exceptions inbox: whose a case is, what can be done about it, and how it settles itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.idempotency import KeyReused
from loyalty.orders.order import CloseReason, OrderLine, OrderState
from loyalty.payments.exception_case import CaseActionRefused, CaseKind, CaseNotFound
from loyalty.people.rights import Role
from models.engine import changed, rows, transaction
from models.ids import new_secret
from models.orders.order import Order
from models.payments.payment import ExceptionCase, Payment, PaymentAttempt, Refund
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.coupons import coupon_template
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.payments import exception_action, exception_case, payment, refund
from resolvers.payments.exception_case import open_case
from resolvers.points import points_mall
from tests.coupons import make_template
from tests.doors import Bearer, Door, make_member, make_operator
from tests.mall import give_points, make_item
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

Tokens = Callable[..., Awaitable[Bearer]]


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: the inbox is looked at as a whole."""
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


@pytest_asyncio.fixture(loop_scope="session")
async def boss(deps: Deps) -> UUID:
    """An operator who may do everything."""
    return (await make_operator(deps)).id


def a_key() -> str:
    return new_secret(12)


async def placed(deps: Deps, wechat: SandboxControl, **shelf: int) -> Order:
    member = await make_member(deps, openid=await wechat.openid())
    return await order.place(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps, **shelf), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=a_key(),
    )


async def bought(deps: Deps, wechat: SandboxControl) -> Order:
    one = await placed(deps, wechat)
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()
    return one


async def refund_ends(deps: Deps, wechat: SandboxControl, boss: UUID, status: str) -> Order:
    """An order whose refund comes to that end."""
    one = await bought(deps, wechat)
    await wechat.script_refunds(status=status, at_once=True)
    await refund.refund_order(deps, operator_id=boss, order_id=one.id, reason="不想要了", idempotency_key=a_key())
    await wechat.settle()
    return one


async def mismatched(deps: Deps, wechat: SandboxControl, **changed_facts: object) -> tuple[Order, ExceptionCase]:
    one = await placed(deps, wechat)
    await payment.pay(deps, member_id=one.member_id, order_id=one.id)
    attempt = await PaymentAttempt.get(order_id=one.id)
    await wechat.pay(attempt.out_trade_no, **changed_facts)
    await wechat.settle()
    return one, await case_of(one, CaseKind.PAYMENT_MISMATCH)


async def case_of(one: Order, kind: CaseKind) -> ExceptionCase:
    return await ExceptionCase.get(order_id=one.id, kind=kind)


async def passes(deps: Deps, clock: SetClock, wechat: SandboxControl, **time: float) -> None:
    clock.advance(timedelta(**time))
    await wechat.advance(timedelta(**time) / timedelta(seconds=1))


async def sweep(deps: Deps, name: str) -> int:
    return await next(one for one in SWEEPS if one.name == name).round(deps)


async def state_of(one: Order) -> str:
    return (await Order.get(id=one.id)).state


async def timeline(one: Order) -> list[str]:
    """What happened to the order since it was paid."""
    found = await rows("SELECT kind FROM order_event WHERE order_id = $1 ORDER BY id", [one.id])
    return [row["kind"] for row in found if row["kind"] not in ("placed", "paid")]


# Whose it is, and by when


async def test_a_case_has_a_deadline_an_owner_and_lists_of_its_own(
    deps: Deps, clock: SetClock, admin: Door, operator_token: Tokens
) -> None:
    finance, other = await operator_token(Role.FINANCE), await operator_token(Role.SUPPORT)
    async with transaction():
        await open_case(kind="close_stuck", key=a_key(), order_id=None, details={}, now=clock.now())
        await open_case(kind="bill_ours_only", key=a_key(), order_id=None, details={}, now=clock.now())
    newest = (await admin.ask("{ exceptionCases(first: 2) { nodes { id kind } } }", token=finance))["exceptionCases"]
    bill, stuck = newest["nodes"]
    assert (bill["kind"], stuck["kind"]) == ("bill_ours_only", "close_stuck")
    assign = """mutation($id: ID!, $owner: ID, $k: IdempotencyKey!) {
      exceptionCaseAssign(id: $id, ownerId: $owner, idempotencyKey: $k) { __typename
        ... on ExceptionCaseChanged { exceptionCase { ownerId dueAt isOverdue actions cause advice resolvedById } }
        ... on Refusal { code } } }"""
    key = a_key()
    asked = {"id": stuck["id"], "owner": str(other.subject_id), "k": key}
    for _ in range(2):
        told = (await admin.ask(assign, asked, token=finance, accept_language="en"))["exceptionCaseAssign"]
        assert told["exceptionCase"] == {
            "ownerId": str(other.subject_id),
            "dueAt": (clock.now() + timedelta(hours=4)).isoformat().replace("+00:00", "Z"),
            "isOverdue": False,
            "actions": ["RETRY", "RESOLVE"],
            "cause": "WeChat does not close the payment, so the order keeps what it holds.",
            "advice": "Ask WeChat to close it again.",
            "resolvedById": None,
        }
    assert await AuditRow.filter(action="exception_case.assign", subject_id=stuck["id"]).count() == 1
    listed = "query($over: Boolean!, $mine: Boolean!, $kind: ExceptionCaseKind) { exceptionCases(first: 50, "
    listed += "overdueOnly: $over, mine: $mine, kind: $kind) { nodes { id } } }"

    async def ids(token: str, **wanted: object) -> list[str]:
        found = await admin.ask(listed, {"over": False, "mine": False, "kind": None, **wanted}, token=token)
        return [row["id"] for row in found["exceptionCases"]["nodes"]]

    assert await ids(other, mine=True) == [stuck["id"]]
    assert await ids(finance, mine=True) == []
    assert stuck["id"] in await ids(finance, kind="CLOSE_STUCK")
    assert bill["id"] not in await ids(finance, kind="CLOSE_STUCK")
    assert stuck["id"] not in await ids(finance, over=True)
    clock.advance(timedelta(hours=4))
    late = await operator_token(Role.FINANCE)
    overdue = await ids(late, over=True)
    assert stuck["id"] in overdue
    assert bill["id"] not in overdue
    await admin.ask(assign, {**asked, "owner": None, "k": a_key()}, token=late)
    assert (await ExceptionCase.get(id=stuck["id"])).owner_id is None
    told = (await admin.ask(assign, {**asked, "owner": stuck["id"], "k": a_key()}, token=late))["exceptionCaseAssign"]
    assert told == {"__typename": "SimpleRefusal", "code": "OPERATOR_NOT_FOUND"}


async def test_who_may_not_settle_payments_may_not_accept_them(deps: Deps, admin: Door, operator_token: Tokens) -> None:
    support = await operator_token(Role.SUPPORT)
    for mutation in ('exceptionCaseAccept(id: $id, note: "x"', 'exceptionCasePaidByHand(id: $id, evidence: "x"'):
        document = f'mutation($id: ID!) {{ {mutation}, idempotencyKey: "a-key-of-mine") {{ __typename }} }}'
        assert await admin.codes(document, {"id": str(support.subject_id)}, token=support) == ["FORBIDDEN"]


async def test_a_case_that_is_settled_cannot_be_acted_on(open_store: Deps, clock: SetClock, boss: UUID) -> None:
    key = a_key()
    async with transaction():
        await open_case(kind="unknown_order", key=key, order_id=None, details={}, now=clock.now())
    case = await ExceptionCase.get(key=key)
    with pytest.raises(CaseActionRefused):
        await exception_action.refund_again(
            open_store, operator_id=boss, case_id=case.id, reason="退款", idempotency_key=a_key()
        )
    await exception_case.resolve(
        open_store, operator_id=boss, case_id=case.id, resolution="已核实", idempotency_key=a_key()
    )
    with pytest.raises(CaseNotFound):
        await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    with pytest.raises(CaseNotFound):
        await exception_case.assign(
            open_store, operator_id=boss, case_id=case.id, owner_id=boss, idempotency_key=a_key()
        )


# Refunds


async def test_a_closed_refund_is_asked_for_again_once_under_a_new_number(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one = await refund_ends(open_store, wechat, boss, "CLOSED")
    case = await case_of(one, CaseKind.REFUND_CLOSED)
    key = a_key()
    for _ in range(2):
        after = await exception_action.refund_again(
            open_store, operator_id=boss, case_id=case.id, reason="再退一次", idempotency_key=key
        )
        assert (after.resolved_by_id, after.resolution) == (boss, "已申请退款：再退一次")
    with pytest.raises(KeyReused):
        await exception_action.refund_again(
            open_store, operator_id=boss, case_id=case.id, reason="别的", idempotency_key=key
        )
    await wechat.settle()
    assert await state_of(one) == OrderState.REFUNDED
    assert sorted([row.state for row in await Refund.filter(order_id=one.id)]) == ["closed", "succeeded"]
    assert await timeline(one) == ["refund_requested", "refund_failed", "refund_requested", "refunded"]
    assert await AuditRow.filter(action="exception_case.refund", subject_id=str(case.id)).count() == 1


async def test_an_abnormal_refund_is_paid_by_hand_with_its_proof(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one = await refund_ends(open_store, wechat, boss, "ABNORMAL")
    case = await case_of(one, CaseKind.REFUND_ABNORMAL)
    key = a_key()
    for _ in range(2):
        after = await exception_action.paid_by_hand(
            open_store, operator_id=boss, case_id=case.id, evidence="银行转账 8812", idempotency_key=key
        )
        assert (after.resolved_by_id, after.resolution) == (boss, "银行转账 8812")
    assert await state_of(one) == OrderState.REFUNDED
    assert (await Refund.get(order_id=one.id)).evidence == "银行转账 8812"
    assert await timeline(one) == ["refund_requested", "refund_failed", "refund_by_hand", "refunded"]


async def test_an_abnormal_refund_that_wechat_settled_closes_its_case(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one = await refund_ends(open_store, wechat, boss, "ABNORMAL")
    case = await case_of(one, CaseKind.REFUND_ABNORMAL)
    asked = {"operator_id": boss, "case_id": case.id}
    after = await exception_action.retry(open_store, **asked, idempotency_key=a_key())
    assert after.resolved_at is None
    await wechat.script_notices(event_type="REFUND", drop=True)
    await wechat.post("refunds/finish", out_refund_no=(await Refund.get(order_id=one.id)).out_refund_no)
    after = await exception_action.retry(open_store, **asked, idempotency_key=a_key())
    assert (after.resolved_by_id, after.resolution) == (None, "款项已退回")
    assert await state_of(one) == OrderState.REFUNDED
    assert await timeline(one) == ["refund_requested", "refund_failed", "refunded"]


async def test_a_refund_wechat_may_still_pay_is_not_paid_by_hand(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one = await refund_ends(open_store, wechat, boss, "CLOSED")
    case = await case_of(one, CaseKind.REFUND_CLOSED)
    await wechat.script_refunds(status="PROCESSING")
    await refund.refund_order(open_store, operator_id=boss, order_id=one.id, reason="不想要了", idempotency_key=a_key())
    with pytest.raises(CaseActionRefused):
        await exception_action.paid_by_hand(
            open_store, operator_id=boss, case_id=case.id, evidence="银行转账", idempotency_key=a_key()
        )
    with pytest.raises(CaseActionRefused):
        await exception_action.refund_again(
            open_store, operator_id=boss, case_id=case.id, reason="再退一次", idempotency_key=a_key()
        )
    assert await state_of(one) == OrderState.REFUNDING


async def test_a_refund_that_does_not_end_comes_to_a_person_and_settles_itself(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, boss: UUID
) -> None:
    one = await bought(open_store, wechat)
    await wechat.script_refunds(status="PROCESSING")
    await refund.refund_order(open_store, operator_id=boss, order_id=one.id, reason="不想要了", idempotency_key=a_key())
    await passes(open_store, clock, wechat, hours=71)
    await sweep(open_store, "send_refunds")
    assert not await ExceptionCase.exists(order_id=one.id)
    await passes(open_store, clock, wechat, hours=7)
    await sweep(open_store, "send_refunds")
    assert (await case_of(one, CaseKind.REFUND_STUCK)).resolved_at is None
    await wechat.post(
        "refunds/finish", out_refund_no=(await Refund.get(order_id=one.id)).out_refund_no, status="SUCCESS"
    )
    await wechat.settle()
    assert (await case_of(one, CaseKind.REFUND_STUCK)).resolution == "款项已退回"
    assert await state_of(one) == OrderState.REFUNDED


# Payments


async def test_another_amount_is_never_accepted_and_goes_back(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one, case = await mismatched(open_store, wechat, total_fen=9_999)
    with pytest.raises(CaseActionRefused):
        await exception_action.accept(
            open_store, operator_id=boss, case_id=case.id, note="差一分", idempotency_key=a_key()
        )
    assert await Payment.filter(order_id=one.id).count() == 0
    await exception_action.refund_again(
        open_store, operator_id=boss, case_id=case.id, reason="金额不符", idempotency_key=a_key()
    )
    await wechat.settle()
    kept = await Payment.get(order_id=one.id)
    assert (kept.outcome, kept.total_fen) == ("refused", 9_999)
    returned = await Refund.get(payment_id=kept.id)
    assert (returned.state, returned.amount_fen, returned.cause) == ("succeeded", 9_999, "mismatched_payment")
    await order.close(open_store, order_id=one.id, member_id=one.member_id, reason=CloseReason.CANCELLED)
    assert await state_of(one) == OrderState.CLOSED


async def test_a_payment_by_another_person_is_accepted_once_understood(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one, case = await mismatched(open_store, wechat, openid=await wechat.openid())
    key = a_key()
    for _ in range(2):
        after = await exception_action.accept(
            open_store, operator_id=boss, case_id=case.id, note="家人代付，已核实", idempotency_key=key
        )
        assert after.resolution == "家人代付，已核实"
    assert await state_of(one) == OrderState.PAID


async def test_a_late_payments_case_closes_when_the_money_is_back(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await placed(open_store, wechat, stock_left=1)
    params = await payment.pay(open_store, member_id=one.member_id, order_id=one.id)
    await changed("UPDATE shop_order SET state = 'closing' WHERE id = $1", [one.id])
    await order._finish_closing(open_store, one.id, one.member_id, [(await PaymentAttempt.get(order_id=one.id)).id])
    sku_id = (await rows("SELECT sku_id FROM order_line WHERE order_id = $1", [one.id]))[0]["sku_id"]
    other = await make_member(open_store)
    await order.place(
        open_store,
        member_id=other.id,
        lines=[OrderLine(sku_id=sku_id, quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=a_key(),
    )
    await wechat.script_refunds(after_s=60)
    await wechat.request_payment(params)
    await wechat.settle()
    case = await case_of(one, CaseKind.LATE_PAYMENT)
    assert case.resolved_at is None
    await passes(open_store, clock, wechat, minutes=2)
    case = await case_of(one, CaseKind.LATE_PAYMENT)
    assert (case.resolved_by_id, case.resolution) == (None, "款项已退回")


async def test_an_attempt_keeps_its_notify_url(open_store: Deps, wechat: SandboxControl) -> None:
    one = await placed(open_store, wechat)
    await payment.pay(open_store, member_id=one.member_id, order_id=one.id)
    moved = replace(open_store, pay_notify_url="https://elsewhere.test/hooks/wechat/pay")
    await wechat.request_payment(await payment.pay(moved, member_id=one.member_id, order_id=one.id))
    await wechat.settle()
    assert await state_of(one) == OrderState.PAID


# Orders


async def test_an_order_that_wechat_did_not_close_is_closed_by_trying_again(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, boss: UUID
) -> None:
    one = await placed(open_store, wechat)
    await payment.pay(open_store, member_id=one.member_id, order_id=one.id)
    await passes(open_store, clock, wechat, hours=2)
    await wechat.fault("close", "system_error", times=6)
    await order.close(open_store, order_id=one.id, member_id=one.member_id, reason=CloseReason.TIMED_OUT)
    case = await case_of(one, CaseKind.CLOSE_STUCK)
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert (after.resolved_at, await state_of(one)) == (None, OrderState.CLOSING)
    await wechat.delete("faults")
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert (after.resolution, await state_of(one)) == ("订单已关闭", OrderState.CLOSED)


async def test_a_hold_that_outlived_its_order_is_found_and_released(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, boss: UUID
) -> None:
    forgotten, broken = await placed(open_store, wechat), await placed(open_store, wechat)
    await give_points(open_store, broken.member_id, 1_000)
    holding = await order.place(
        open_store,
        member_id=broken.member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(open_store), quantity=1)],
        points_wanted=100,
        expected_fen=None,
        remark="",
        idempotency_key=a_key(),
    )
    # What never happens is done by hand: the orders are over, and nothing was released.
    for one in (forgotten, holding):
        await changed("UPDATE shop_order SET close_due_at = NULL WHERE id = $1", [one.id])
    await changed("UPDATE shop_order SET state = 'closed' WHERE id = $1", [holding.id])
    await passes(open_store, clock, wechat, hours=2)
    assert await sweep(open_store, "watch_holds") >= 2
    assert await sweep(open_store, "watch_holds") == 0
    for one in (forgotten, holding):
        case = await case_of(one, CaseKind.HOLD_STUCK)
        after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
        assert after.resolved_at is not None
        assert await state_of(one) == OrderState.CLOSED
    held = await rows("SELECT held FROM points_account WHERE member_id = $1", [broken.member_id])
    assert held[0]["held"] == 0
    await changed("UPDATE shop_order SET state = 'closing' WHERE id = $1", [holding.id])
    await order._finish_closing(open_store, holding.id, holding.member_id, [])


async def exchange_in_vain(deps: Deps, wechat: SandboxControl) -> tuple[Order, ExceptionCase, UUID]:
    """A paid exchange of coupons whose template gave none out at that moment."""
    template = await make_template(deps, claimable=False)
    item = await make_item(deps, kind="coupon", points=100, cash_fen=500, target_code=template.code)
    member = await make_member(deps, openid=await wechat.openid())
    await give_points(deps, member.id, 1_000)
    one = await points_mall.exchange(
        deps,
        member_id=member.id,
        item_id=item.id,
        quantity=1,
        expected_points=100,
        expected_fen=500,
        idempotency_key=a_key(),
    )
    boss = await make_operator(deps)
    await coupon_template.pause(deps, operator_id=boss.id, template_id=template.id, idempotency_key=a_key())
    await wechat.request_payment(await payment.pay(deps, member_id=member.id, order_id=one.id))
    await wechat.settle()
    return one, await case_of(one, CaseKind.EXCHANGE_UNDELIVERED), template.id


async def test_an_exchange_is_delivered_again(open_store: Deps, wechat: SandboxControl, boss: UUID) -> None:
    one, case, template_id = await exchange_in_vain(open_store, wechat)
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert after.resolved_at is None
    await coupon_template.publish(open_store, operator_id=boss, template_id=template_id, idempotency_key=a_key())
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert after.resolved_by_id == boss
    given = await rows("SELECT count(*)::int AS many FROM coupon WHERE cause_id = $1", [one.id])
    assert given[0]["many"] == 1


async def test_an_exchange_that_cannot_be_delivered_is_refunded(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one, case, _ = await exchange_in_vain(open_store, wechat)
    after = await exception_action.refund_again(
        open_store, operator_id=boss, case_id=case.id, reason="无法发放", idempotency_key=a_key()
    )
    await wechat.settle()
    assert (after.resolved_by_id, await state_of(one)) == (boss, OrderState.REFUNDED)


# Notices and bills


async def test_a_notice_that_could_not_be_applied_is_applied_by_trying_again(
    open_store: Deps, wechat: SandboxControl, boss: UUID
) -> None:
    one = await bought(open_store, wechat)
    attempt = await PaymentAttempt.get(order_id=one.id)
    notices = await rows(
        "SELECT id, notice_id FROM payment_notice WHERE resource->>'out_trade_no' = $1", [attempt.out_trade_no]
    )
    await changed("UPDATE payment_notice SET handled_at = NULL, tries = 10 WHERE id = $1", [notices[0]["id"]])
    key = f"notice_stuck:{notices[0]['notice_id']}"
    async with transaction():
        await open_case(
            kind="notice_stuck",
            key=key,
            order_id=None,
            details={"notice_id": notices[0]["notice_id"]},
            now=open_store.clock.now(),
        )
    case = await ExceptionCase.get(key=key)
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert (after.resolution, after.resolved_by_id) == ("通知已处理", None)


async def test_a_kept_notice_of_a_refund_waits_while_wechat_does_not_answer_well(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, boss: UUID
) -> None:
    one = await bought(open_store, wechat)
    await refund.refund_order(open_store, operator_id=boss, order_id=one.id, reason="缺货", idempotency_key=a_key())
    await wechat.settle()
    asked = await Refund.get(order_id=one.id)
    kept = "UPDATE payment_notice SET handled_at = NULL, tries = 0, due_at = $2 WHERE resource->>'out_refund_no' = $1"
    assert await changed(kept, [asked.out_refund_no, clock.now()]) == 1
    handled = "SELECT handled_at FROM payment_notice WHERE resource->>'out_refund_no' = $1"
    await wechat.fault("refund_query", "unsigned")
    assert await sweep(open_store, "apply_notices") == 1
    assert (await rows(handled, [asked.out_refund_no]))[0]["handled_at"] is None
    await passes(open_store, clock, wechat, hours=1)
    assert await sweep(open_store, "apply_notices") == 1
    assert (await rows(handled, [asked.out_refund_no]))[0]["handled_at"] is not None


async def test_what_only_the_bill_has_is_fetched_and_booked(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, boss: UUID
) -> None:
    one = await placed(open_store, wechat)
    params = await payment.pay(open_store, member_id=one.member_id, order_id=one.id)
    await wechat.script_notices(event_type="TRANSACTION", drop=True, first_attempts=None)
    await wechat.request_payment(params)
    attempt = await PaymentAttempt.get(order_id=one.id)
    await changed("UPDATE payment_attempt SET poll_due_at = NULL WHERE id = $1", [attempt.id])
    await bought(open_store, wechat)
    await passes(open_store, clock, wechat, hours=30)
    await sweep(open_store, "reconcile_bills")
    case = await ExceptionCase.get(key__contains="bill_theirs_only:payment", resolved_at__isnull=True)
    after = await exception_action.retry(open_store, operator_id=boss, case_id=case.id, idempotency_key=a_key())
    assert (after.resolution, after.resolved_by_id) == ("微信查询结果与账一致", None)
    assert await state_of(one) == OrderState.PAID
