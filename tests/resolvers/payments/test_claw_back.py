"""Earn, spend, refund: what the programme's claw-back mode does is visible in the account and its entries."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.orders.order import OrderLine, OrderState, OrderStateRefused
from loyalty.points.points import ClawBackBlocked, PointsShort
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.payments import payment, refund
from resolvers.points import points_expiry
from resolvers.points.balance import balances
from resolvers.programme import ProgrammeKind
from tests.doors import make_member, make_operator
from tests.rulebook import published
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because the test publishes rules."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def bought(deps: Deps, wechat: SandboxControl, member_id: UUID, price_fen: int, points: int = 0) -> Order:
    one = await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps, price_fen=price_fen), quantity=1)],
        points_wanted=points,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    await wechat.request_payment(await payment.pay(deps, member_id=member_id, order_id=one.id))
    await wechat.settle()
    return one


async def refunded(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    boss = await make_operator(deps)
    await refund.refund_order(deps, operator_id=boss.id, order_id=one.id, reason="退货", idempotency_key=new_secret(12))
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED


async def account(member_id: UUID) -> dict[str, Any]:
    return (await rows("SELECT balance, held, debt FROM points_account WHERE member_id = $1", [member_id]))[0]


async def last_entries(member_id: UUID, count: int) -> list[dict[str, Any]]:
    return await rows(
        "SELECT kind, amount, debt_change, note FROM points_entry WHERE member_id = $1 ORDER BY seq DESC LIMIT $2",
        [member_id, count],
    )


async def test_in_debt_mode_the_next_earnings_pay_what_was_spent(open_store: Deps, wechat: SandboxControl) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"clawback_mode": "debt"})
    member = await make_member(open_store, openid=await wechat.openid())
    first = await bought(open_store, wechat, member.id, 50_000)
    await bought(open_store, wechat, member.id, 1_000, points=400)
    assert await account(member.id) == {"balance": 106, "held": 0, "debt": 0}
    await refunded(open_store, wechat, first)
    assert await account(member.id) == {"balance": 0, "held": 0, "debt": 394}
    assert await last_entries(member.id, 1) == [
        {"kind": "earn_reversal", "amount": -106, "debt_change": 394, "note": ""}
    ]
    await bought(open_store, wechat, member.id, 30_000)
    assert await account(member.id) == {"balance": 0, "held": 0, "debt": 94}
    await bought(open_store, wechat, member.id, 30_000)
    assert await account(member.id) == {"balance": 206, "held": 0, "debt": 0}
    assert await last_entries(member.id, 2) == [
        {"kind": "debt_recovery", "amount": -94, "debt_change": -94, "note": ""},
        {"kind": "earn", "amount": 300, "debt_change": 0, "note": ""},
    ]
    assert not [finding for finding in await verify() if finding.offenders]


async def test_in_clamp_mode_the_rest_is_given_up_visibly(open_store: Deps, wechat: SandboxControl) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"clawback_mode": "clamp"})
    member = await make_member(open_store, openid=await wechat.openid())
    first = await bought(open_store, wechat, member.id, 50_000)
    await bought(open_store, wechat, member.id, 1_000, points=400)
    await refunded(open_store, wechat, first)
    assert await account(member.id) == {"balance": 0, "held": 0, "debt": 0}
    assert await last_entries(member.id, 1) == [
        {"kind": "earn_reversal", "amount": -106, "debt_change": 0, "note": "forgiven 394"}
    ]


async def test_in_block_mode_the_refund_is_refused_until_the_points_are_there(
    open_store: Deps, wechat: SandboxControl
) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"clawback_mode": "block"})
    member = await make_member(open_store, openid=await wechat.openid())
    first = await bought(open_store, wechat, member.id, 50_000)
    second = await bought(open_store, wechat, member.id, 1_000, points=400)
    with pytest.raises(ClawBackBlocked) as refused:
        await refunded(open_store, wechat, first)
    assert refused.value.data == {"missing": 394}
    assert (await Order.get(id=first.id)).state == OrderState.PAID
    assert await account(member.id) == {"balance": 106, "held": 0, "debt": 0}
    await refunded(open_store, wechat, second)
    await refunded(open_store, wechat, first)
    assert await account(member.id) == {"balance": 0, "held": 0, "debt": 0}


async def test_points_wait_for_the_return_window_and_go_with_a_refund_in_it(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"pending_days": 7})
    member = await make_member(open_store, openid=await wechat.openid())
    kept = await bought(open_store, wechat, member.id, 30_000)
    returned = await bought(open_store, wechat, member.id, 50_000)
    seen = (await balances(open_store, [member.id]))[member.id]
    assert (seen.balance, seen.available, seen.pending) == (800, 0, 800)
    with pytest.raises(PointsShort):
        await bought(open_store, wechat, member.id, 10_000, points=100)
    await refunded(open_store, wechat, returned)
    clock.advance(timedelta(days=7, seconds=-1))
    seen = (await balances(open_store, [member.id]))[member.id]
    assert (seen.balance, seen.available, seen.pending) == (300, 0, 300)
    clock.advance(timedelta(seconds=1))
    seen = (await balances(open_store, [member.id]))[member.id]
    assert (seen.balance, seen.available, seen.pending) == (300, 300, 0)
    assert (await Order.get(id=kept.id)).state == OrderState.PAID


async def test_more_than_the_cap_of_a_day_is_not_earned(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"cap_per_day": 500, "cap_per_member": 800})
    member = await make_member(open_store, openid=await wechat.openid())
    for price_fen, balance in ((30_000, 300), (30_000, 500), (30_000, 500)):
        await bought(open_store, wechat, member.id, price_fen)
        assert (await account(member.id))["balance"] == balance
    clock.advance(timedelta(days=1))
    await wechat.advance(86_400)
    await bought(open_store, wechat, member.id, 50_000)
    assert (await account(member.id))["balance"] == 800


@pytest.mark.parametrize("swept", [False, True])
async def test_what_an_order_earned_and_has_ended_unused_is_not_taken_again(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, swept: bool
) -> None:
    await published(open_store, ProgrammeKind.POINTS, {"expiry": "rolling_days", "expiry_after": 30})
    member = await make_member(open_store, openid=await wechat.openid())
    first = await bought(open_store, wechat, member.id, 50_000)
    await bought(open_store, wechat, member.id, 10_000, points=200)
    clock.advance(timedelta(days=20))
    await wechat.advance(20 * 86_400)
    await bought(open_store, wechat, member.id, 30_000)
    clock.advance(timedelta(days=15))
    await wechat.advance(15 * 86_400)
    if swept:
        await points_expiry.expire(open_store, member_id=member.id)
    await refunded(open_store, wechat, first)
    await points_expiry.expire(open_store, member_id=member.id)
    # Of the 500, 300 ended unused; the 200 that were spent come out of the 300 that are left.
    assert await account(member.id) == {"balance": 100, "held": 0, "debt": 0}
    assert not [finding for finding in await verify() if finding.offenders]


async def test_a_refund_that_wechat_closed_is_made_anew_under_another_number(
    open_store: Deps, wechat: SandboxControl
) -> None:
    member = await make_member(open_store, openid=await wechat.openid())
    one = await bought(open_store, wechat, member.id, 50_000)
    boss = await make_operator(open_store)
    await wechat.script_refunds(status="CLOSED", at_once=True)
    for _ in range(2):
        await refund.refund_order(
            open_store, operator_id=boss.id, order_id=one.id, reason="退货", idempotency_key="the-first-try"
        )
        await wechat.settle()
        assert (await Order.get(id=one.id)).state == OrderState.REFUNDING
    await refunded(open_store, wechat, one)
    states = await rows("SELECT state FROM refund WHERE order_id = $1 ORDER BY id", [one.id])
    assert [row["state"] for row in states] == ["closed", "succeeded"]
    assert await account(member.id) == {"balance": 0, "held": 0, "debt": 0}
    with pytest.raises(OrderStateRefused):
        await refunded(open_store, wechat, one)
    assert not [finding for finding in await verify() if finding.offenders]
