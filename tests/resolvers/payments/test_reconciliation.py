"""WeChat's bill against the books: nothing differs after honest trade, and each kind of difference is found once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta

import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.orders.order import OrderLine
from loyalty.people.rights import Role
from models.engine import changed, rows
from models.ids import new_secret
from models.orders.order import Order
from models.payments.payment import ExceptionCase, Payment, Refund
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.payments import exception_action, payment, refund
from tests.doors import Bearer, Door, make_member, make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

RECONCILE = next(sweep for sweep in SWEEPS if sweep.name == "reconcile_bills")


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """Books of their own: a bill is held against all of them."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def bought(deps: Deps, wechat: SandboxControl) -> Order:
    member = await make_member(deps, openid=await wechat.openid())
    one = await order.place(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    await wechat.request_payment(await payment.pay(deps, member_id=member.id, order_id=one.id))
    await wechat.settle()
    return one


async def to(instant: datetime, clock: SetClock, wechat: SandboxControl) -> None:
    step = instant - clock.now()
    clock.advance(step)
    await wechat.advance(step / timedelta(seconds=1))


async def cases() -> list[tuple[str, str]]:
    found = await rows("SELECT kind, details->>'number' AS number FROM exception_case WHERE kind LIKE 'bill_%'")
    return sorted((row["kind"], row["number"]) for row in found)


async def test_bills_are_held_against_the_books(
    open_store: Deps,
    wechat: SandboxControl,
    clock: SetClock,
    admin: Door,
    operator_token: Callable[..., Awaitable[Bearer]],
) -> None:
    returned, missing, changed_amount = [await bought(open_store, wechat) for _ in range(3)]
    boss = await make_operator(open_store)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=returned.id, reason="退货", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    foreign = await bought(open_store, wechat)
    assert await RECONCILE.round(open_store) == 0

    # What honest trade never does is done by hand: a payment of ours WeChat has not, one it alone has, another amount.
    kept = await Payment.get(order_id=foreign.id)
    await changed("UPDATE payment SET transaction_id = 'nobody-knows-it' WHERE id = $1", [kept.id])
    other = await Payment.get(order_id=changed_amount.id)
    await changed("UPDATE payment SET total_fen = total_fen + 1 WHERE id = $1", [other.id])

    await to(datetime(2026, 11, 21, 2, 30, tzinfo=UTC), clock, wechat)
    assert await RECONCILE.round(open_store) == 1
    assert await RECONCILE.round(open_store) == 0
    assert await cases() == [
        ("bill_amount_differs", other.transaction_id),
        ("bill_ours_only", "nobody-knows-it"),
        ("bill_theirs_only", kept.transaction_id),
    ]
    assert (await Order.get(id=missing.id)).state == "paid"

    finance = await operator_token(Role.FINANCE)
    asked = "{ billRuns { nodes { day payments refunds paid refunded differences } } }"
    told = await admin.ask(asked, token=finance)
    assert told["billRuns"]["nodes"] == [
        {"day": "2026-11-20", "payments": 4, "refunds": 1, "paid": 40_000, "refunded": 10_000, "differences": 3}
    ]
    assert await admin.codes(asked) == ["UNAUTHENTICATED"]
    assert await admin.codes(asked, token=await operator_token(Role.CONTENT_OPERATIONS)) == ["FORBIDDEN"]

    await to(datetime(2026, 11, 22, 2, 30, tzinfo=UTC), clock, wechat)
    assert await RECONCILE.round(open_store) == 1
    assert len(await cases()) == 3
    runs = await rows("SELECT day, payments, differences FROM bill_run ORDER BY day")
    assert runs[-1] == {"day": date(2026, 11, 21), "payments": 0, "differences": 0}


async def test_a_bill_that_cannot_be_had_is_a_case_until_it_is_read(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    await bought(open_store, wechat)
    await wechat.fault("tradebill", "system_error", times=1_000)
    await to(datetime(2026, 11, 24, 1, 59, 59, tzinfo=UTC), clock, wechat)
    await RECONCILE.round(open_store)
    assert not await ExceptionCase.exists(kind="bill_missing")
    await to(datetime(2026, 11, 24, 2, 0, tzinfo=UTC), clock, wechat)
    for _ in range(2):
        await RECONCILE.round(open_store)
    case = await ExceptionCase.get(kind="bill_missing")
    assert case.details == {"day": "2026-11-20", "error": "SYSTEM_ERROR"}
    boss = await make_operator(open_store)
    asked = {"operator_id": boss.id, "case_id": case.id}
    assert (await exception_action.retry(open_store, **asked, idempotency_key=new_secret(12))).resolved_at is None
    await wechat.delete("faults")
    settled = await exception_action.retry(open_store, **asked, idempotency_key=new_secret(12))
    assert (settled.resolved_by_id, settled.resolution) == (None, "已对账")
    assert await rows("SELECT day FROM bill_run") == [{"day": date(2026, 11, 20)}]


async def test_a_refund_that_the_bill_calls_paid_and_the_books_closed_is_found_and_booked(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one = await bought(open_store, wechat)
    boss = await make_operator(open_store)
    await wechat.script_notices(event_type="REFUND", drop=True)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=one.id, reason="退货", idempotency_key=new_secret(12)
    )
    # The store has missed how it ended, and was told something else.
    await changed("UPDATE refund SET state = 'closed', due_at = NULL WHERE order_id = $1", [one.id])
    asked = await Refund.get(order_id=one.id)
    await to(datetime(2026, 11, 21, 2, 30, tzinfo=UTC), clock, wechat)
    await RECONCILE.round(open_store)
    assert await cases() == [("bill_theirs_only", asked.out_refund_no)]
    case = await ExceptionCase.get(kind="bill_theirs_only")
    settled = await exception_action.retry(
        open_store, operator_id=boss.id, case_id=case.id, idempotency_key=new_secret(12)
    )
    assert settled.resolution == "微信查询结果与账一致"
    assert (await Order.get(id=one.id)).state == "refunded"
