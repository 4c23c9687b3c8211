"""Paid goods that wait too long: told once, no longer when they are gone, and anew after a voided parcel."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from models.delivery.fulfilment import Parcel, PickUpPoint
from models.engine import rows
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.payments.payment import ExceptionCase
from resolvers.clock import SetClock
from resolvers.delivery import parcel, pick_up, unshipped_watch
from resolvers.deps import Deps
from resolvers.payments import exception_case, refund
from tests.doors import make_operator
from tests.fulfilled import paid_order
from tests.refunds import give_back, send
from tests.sandbox_server import SandboxControl
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: what is due is looked at as a whole."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def a_point(deps: Deps) -> UUID:
    point_id = new_id(deps.clock.now())
    await PickUpPoint.create(
        id=point_id,
        name="天河店",
        address="天河路 385 号",
        opening_hours="10:00-22:00",
        phone="020-12345678",
        created_at=deps.clock.now(),
        updated_at=deps.clock.now(),
    )
    return point_id


async def watched(deps: Deps) -> int:
    return await next(one for one in SWEEPS if one.name == "watch_unshipped").round(deps)


async def passes(deps: Deps, clock: SetClock, wechat: SandboxControl, **time: float) -> None:
    clock.advance(timedelta(**time))
    await wechat.advance(timedelta(**time).total_seconds())


async def case_of(one: Order) -> ExceptionCase | None:
    return await ExceptionCase.get_or_none(order_id=one.id, kind="unshipped")


async def test_an_order_that_is_not_sent_in_time_is_told_once(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one, _ = await paid_order(deps, wechat)
    ready, _ = await paid_order(deps, wechat, pick_up_point_id=await a_point(deps))
    boss = await make_operator(deps)
    await pick_up.tell_ready(deps, operator_id=boss.id, order_id=ready.id)
    await passes(deps, clock, wechat, hours=36, seconds=-1)
    assert await watched(deps) == 0
    await passes(deps, clock, wechat, seconds=1)
    assert await watched(deps) == 1
    assert await watched(deps) == 0
    case = await case_of(one)
    assert case is not None
    assert (case.due_at, case.resolved_at) == (clock.now() + timedelta(hours=12), None)
    assert one.paid_at is not None
    assert case.details == {"address": False, "since": one.paid_at.isoformat()}
    assert await unshipped_watch.overdue(replace(deps, unshipped_after=timedelta(0)), 10) == []


async def shipped(deps: Deps, _: SandboxControl, one: Order, __: list[UUID]) -> None:
    await send(deps, one.id)


async def refunded(deps: Deps, wechat: SandboxControl, one: Order, _: list[UUID]) -> None:
    boss = await make_operator(deps)
    await refund.refund_order(deps, operator_id=boss.id, order_id=one.id, reason="缺货", idempotency_key=new_secret(12))
    await wechat.settle()


async def sent_and_refunded(deps: Deps, wechat: SandboxControl, one: Order, lines: list[UUID]) -> None:
    await send(deps, one.id, {lines[0]: 1})
    case = await case_of(one)
    assert case is not None
    assert case.resolved_at is None
    await give_back(deps, wechat, one.id, {lines[0]: 1}, goods_come_back=False)


async def ready_to_be_picked_up(deps: Deps, _: SandboxControl, one: Order, __: list[UUID]) -> None:
    boss = await make_operator(deps)
    await pick_up.tell_ready(deps, operator_id=boss.id, order_id=one.id)


async def handed_out(deps: Deps, _: SandboxControl, one: Order, __: list[UUID]) -> None:
    boss = await make_operator(deps)
    shown = await pick_up.show(deps, member_id=one.member_id, order_id=one.id)
    await pick_up.verify(deps, operator_id=boss.id, code=shown.code, idempotency_key=new_secret(12))


@pytest.mark.parametrize(
    ("goes", "is_picked_up"),
    [
        (shipped, False),
        (refunded, False),
        (sent_and_refunded, False),
        (refunded, True),
        (ready_to_be_picked_up, True),
        (handed_out, True),
    ],
)
async def test_the_case_settles_itself_when_the_goods_are_gone(
    open_store: Deps,
    wechat: SandboxControl,
    clock: SetClock,
    goes: Callable[[Deps, SandboxControl, Order, list[UUID]], Awaitable[None]],
    is_picked_up: bool,
) -> None:
    deps = open_store
    point_id = await a_point(deps) if is_picked_up else None
    one, lines = await paid_order(deps, wechat, 2, pick_up_point_id=point_id)
    await passes(deps, clock, wechat, hours=36)
    await watched(deps)
    case = await case_of(one)
    assert case is not None
    assert case.resolved_at is None
    await goes(deps, wechat, one, lines)
    case = await case_of(one)
    assert case is not None
    assert (case.resolved_by_id, case.resolved_at, case.resolution) == (None, clock.now(), "已发货、备货或退款")
    await passes(deps, clock, wechat, minutes=10)
    assert await watched(deps) == 0


async def void(deps: Deps, one: Order) -> UUID:
    """The order's only parcel was not sent after all; its id."""
    boss = await make_operator(deps)
    sent = await Parcel.get(order_id=one.id, voided_at__isnull=True)
    await parcel.void(deps, operator_id=boss.id, parcel_id=sent.id)
    return sent.id


async def cases(one: Order) -> list[tuple[str, bool]]:
    """What each case of the order is known by, and whether it stands open."""
    found = await ExceptionCase.filter(order_id=one.id, kind="unshipped").order_by("id")
    return [(case.key, case.resolved_at is None) for case in found]


async def test_a_parcel_voided_after_the_case_is_told_anew_when_its_own_time_is_over(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one, _ = await paid_order(deps, wechat)
    await passes(deps, clock, wechat, hours=36)
    assert await watched(deps) == 1
    told = [(f"unshipped:{one.id}", False)]
    for _ in range(2):
        await send(deps, one.id)
        await passes(deps, clock, wechat, hours=1)
        parcel_id, since = await void(deps, one), clock.now()
        assert await watched(deps) == 0
        await passes(deps, clock, wechat, hours=36, seconds=-1)
        assert await watched(deps) == 0
        await passes(deps, clock, wechat, seconds=1)
        assert await watched(deps) == 1
        assert await watched(deps) == 0
        assert await cases(one) == [*told, (f"unshipped:{parcel_id}", True)]
        case = await ExceptionCase.get(key=f"unshipped:{parcel_id}")
        assert case.details == {"address": False, "since": since.isoformat()}
        told.append((case.key, False))
    await send(deps, one.id)
    assert await cases(one) == told


async def test_a_parcel_voided_before_the_case_or_while_it_stands_is_no_other_case(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one, _ = await paid_order(deps, wechat, 2)
    await send(deps, one.id)
    await void(deps, one)
    await passes(deps, clock, wechat, hours=36)
    assert await watched(deps) == 1
    (line,) = await rows("SELECT id FROM order_line WHERE order_id = $1", [one.id])
    await send(deps, one.id, {line["id"]: 1})
    await void(deps, one)
    await passes(deps, clock, wechat, hours=36)
    assert await watched(deps) == 0
    case = await case_of(one)
    assert case is not None
    boss = await make_operator(deps)
    await exception_case.resolve(
        deps, operator_id=boss.id, case_id=case.id, resolution="等待补货", idempotency_key=new_secret(12)
    )
    await passes(deps, clock, wechat, hours=36)
    assert await watched(deps) == 0


async def test_what_was_sent_meanwhile_is_not_told(open_store: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    deps = open_store
    one, _ = await paid_order(deps, wechat)
    await passes(deps, clock, wechat, hours=36)
    (found,) = await unshipped_watch.overdue(deps, 10)
    assert found == (one.id, one.member_id)
    await send(deps, one.id)
    await unshipped_watch.tell(deps, order_id=one.id, member_id=one.member_id)
    assert await case_of(one) is None
