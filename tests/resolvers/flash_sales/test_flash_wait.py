"""The queue of a sold-out item: in order, for a time, and never more than there is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.flash_sales.flash_sale import (
    FlashAlreadyWaiting,
    FlashLimitReached,
    FlashNotOffered,
    FlashNotOpen,
    FlashNotSoldOut,
    FlashOfferGone,
    FlashSoldOut,
    FlashWaitNotFound,
    WaitState,
)
from loyalty.orders.order import OrderState
from models.engine import rows
from models.flash_sales.flash_sale import FlashWait
from models.ids import new_secret
from models.keyset import Page
from models.orders.order import Order
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales import flash_sale, flash_wait
from resolvers.orders import order
from tests.doors import make_member
from tests.flash import Sale, close_sale, make_sale, pieces
from tests.patience import PATIENCE_S
from tests.resolvers.flash_sales.test_flash_sale import buy, gate_left, tell_everybody
from tests.resolvers.invariants.test_verify import broken


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new, of which all invariants are asked."""
    return own_store_url


@dataclass(frozen=True, slots=True)
class SoldOut:
    """A session whose only pieces are on unpaid orders."""

    sale: Sale
    orders: list[Order]


async def sold_out(deps: Deps, many: int = 2, **fields: Any) -> SoldOut:
    """So many pieces, each bought by somebody else."""
    sale = await make_sale(deps, stock=many, **fields)
    return SoldOut(sale, [await buy(deps, sale, (await make_member(deps)).id) for _ in range(many)])


async def queue(deps: Deps, sale: Sale, *, quantity: int = 1, key: str | None = None) -> FlashWait:
    """A new member in the queue, a moment after whoever came before."""
    assert isinstance(deps.clock, SetClock)
    deps.clock.advance(timedelta(milliseconds=1))
    member = await make_member(deps)
    return await flash_wait.join(
        deps, member_id=member.id, item_id=sale.item_id, quantity=quantity, idempotency_key=key or new_secret(12)
    )


async def give_back(deps: Deps, one: Order, sale: Sale) -> None:
    """The order is cancelled, and everybody who has to know is told."""
    await order.cancel(deps, member_id=one.member_id, order_id=one.id)
    await tell_everybody(deps, sale)


async def claim(deps: Deps, wait: FlashWait, *, quantity: int = 1) -> Order:
    """The purchase that an offer is for."""
    return await flash_sale.purchase(
        deps,
        member_id=wait.member_id,
        item_id=wait.item_id,
        quantity=quantity,
        wait_id=wait.id,
        idempotency_key=new_secret(12),
    )


async def state(wait: FlashWait) -> WaitState:
    """Where a place stands."""
    return WaitState((await FlashWait.get(id=wait.id)).state)


async def ahead(deps: Deps, wait: FlashWait) -> int | None:
    """How many are before a place."""
    return (await flash_wait.ahead_counts(deps, [wait.id])).get(wait.id)


async def test_what_comes_back_is_offered_in_order_and_to_nobody_else(deps: Deps) -> None:
    full = await sold_out(deps)
    first, second = await queue(deps, full.sale), await queue(deps, full.sale)
    assert [await ahead(deps, one) for one in (first, second)] == [0, 1]
    await give_back(deps, full.orders[0], full.sale)
    assert [await state(one) for one in (first, second)] == [WaitState.OFFERED, WaitState.WAITING]
    assert await ahead(deps, second) == 0
    with pytest.raises(FlashSoldOut):
        await buy(deps, full.sale, (await make_member(deps)).id)
    assert await gate_left(deps, full.sale) == 0
    placed = await claim(deps, first)
    assert placed.state == OrderState.UNPAID
    assert await state(first) is WaitState.CLAIMED
    assert (await FlashWait.get(id=first.id)).order_id == placed.id
    assert await pieces(full.sale) == {"left": 0, "held": 2, "sold": 0, "returned": 0, "waiting": 1, "sku": 28}
    assert await gate_left(deps, full.sale) == 0
    assert await broken() == set()


async def test_an_offer_that_nobody_claims_passes_to_the_next_and_then_to_everybody(
    deps: Deps, clock: SetClock
) -> None:
    full = await sold_out(deps, 1)
    first, second = await queue(deps, full.sale), await queue(deps, full.sale)
    await give_back(deps, full.orders[0], full.sale)
    offered = await FlashWait.get(id=first.id)
    assert offered.claim_by == clock.now() + timedelta(minutes=10)
    clock.advance(timedelta(minutes=10))
    with pytest.raises(FlashOfferGone):
        await claim(deps, first)
    assert await flash_wait.lapsed(deps, 50) == [first.id]
    await flash_wait.lapse(deps, wait_id=first.id)
    assert [await state(one) for one in (first, second)] == [WaitState.LAPSED, WaitState.OFFERED]
    clock.advance(timedelta(minutes=10))
    await flash_wait.lapse(deps, wait_id=second.id)
    assert await gate_left(deps, full.sale) == 1
    await buy(deps, full.sale, (await make_member(deps)).id)
    assert await broken() == set()


async def test_a_larger_wish_before_a_smaller_one_is_waited_for(deps: Deps) -> None:
    full = await sold_out(deps, 3)
    large, small = await queue(deps, full.sale, quantity=2), await queue(deps, full.sale)
    await give_back(deps, full.orders[0], full.sale)
    assert [await state(one) for one in (large, small)] == [WaitState.WAITING] * 2
    assert await gate_left(deps, full.sale) == 0
    await give_back(deps, full.orders[1], full.sale)
    assert [await state(one) for one in (large, small)] == [WaitState.OFFERED, WaitState.WAITING]
    with pytest.raises(FlashOfferGone):
        await claim(deps, large, quantity=1)
    await claim(deps, large, quantity=2)
    assert await broken() == set()


async def test_without_a_gate_nobody_passes_the_queue_either(deps: Deps) -> None:
    full = await sold_out(deps, 1)
    first = await queue(deps, full.sale)
    await order.cancel(deps, member_id=full.orders[0].member_id, order_id=full.orders[0].id)
    await deps.redis.flushdb()
    # The piece is back, the queue was not served yet, and the gate is gone.
    with pytest.raises(FlashSoldOut):
        await buy(deps, full.sale, (await make_member(deps)).id)
    await tell_everybody(deps, full.sale)
    assert await state(first) is WaitState.OFFERED


async def test_who_queues_while_the_last_piece_is_sold_is_in_the_queue(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = await sold_out(deps, 2)
    await give_back(deps, full.orders[0], full.sale)
    was_asked, is_sold = asyncio.Event(), asyncio.Event()

    async def buys() -> None:
        await was_asked.wait()
        await buy(deps, full.sale, (await make_member(deps)).id)
        is_sold.set()

    async def asks(sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        found = await rows(sql, values)
        if sql == flash_wait._QUEUE and not found:
            was_asked.set()
            await asyncio.wait_for(is_sold.wait(), PATIENCE_S)
        return found

    monkeypatch.setattr(flash_wait, "rows", asks)
    buying = asyncio.create_task(buys())
    assert await state(await queue(deps, full.sale)) is WaitState.WAITING
    await buying
    assert await broken() == set()


async def test_leaving_lets_the_next_one_have_it(deps: Deps) -> None:
    full = await sold_out(deps, 1)
    first, *others = [await queue(deps, full.sale, quantity=2) for _ in range(5)]
    with pytest.raises(FlashSoldOut):
        await queue(deps, full.sale)
    for one in (first, *others):
        await flash_wait.leave(deps, member_id=one.member_id, wait_id=one.id)
    assert (await pieces(full.sale))["waiting"] == 0
    second = await queue(deps, full.sale)
    await give_back(deps, full.orders[0], full.sale)
    await flash_wait.leave(deps, member_id=second.member_id, wait_id=second.id)
    again = await flash_wait.leave(deps, member_id=second.member_id, wait_id=second.id)
    assert again.state == WaitState.LEFT
    assert await gate_left(deps, full.sale) == 1
    with pytest.raises(FlashWaitNotFound):
        await flash_wait.leave(deps, member_id=first.member_id, wait_id=second.id)
    assert await broken() == set()


async def test_who_may_not_buy_may_not_queue(deps: Deps, clock: SetClock) -> None:
    full = await sold_out(deps, 2, member_limit=1)
    buyer_id = full.orders[0].member_id

    async def joins(member_id: UUID, sale: Sale, *, key: str | None = None) -> FlashWait:
        return await flash_wait.join(
            deps, member_id=member_id, item_id=sale.item_id, quantity=1, idempotency_key=key or new_secret(12)
        )

    with pytest.raises(FlashLimitReached):
        await joins(buyer_id, full.sale)
    member = await make_member(deps)
    one = await joins(member.id, full.sale, key="a-key-of-a-phone")
    assert (await joins(member.id, full.sale, key="a-key-of-a-phone")).id == one.id
    with pytest.raises(FlashAlreadyWaiting):
        await joins(member.id, full.sale)
    with pytest.raises(FlashNotSoldOut):
        await joins(member.id, await make_sale(deps))
    with pytest.raises(FlashNotOpen):
        await joins(member.id, await make_sale(deps, opens_at=clock.now() + timedelta(hours=1)))
    with pytest.raises(FlashNotOffered):
        await joins(member.id, await make_sale(deps, published=False))
    found = await flash_wait.places(deps, member_id=member.id, page=Page(flash_wait.NEWEST, 10))
    assert [wait.id for wait in found.rows] == [one.id]


async def test_closing_ends_the_queue_and_its_offers(deps: Deps) -> None:
    full = await sold_out(deps, 2)
    first, second = await queue(deps, full.sale), await queue(deps, full.sale)
    await give_back(deps, full.orders[0], full.sale)
    await close_sale(deps, full.sale)
    assert [await state(one) for one in (first, second)] == [WaitState.ENDED] * 2
    assert await pieces(full.sale) == {"left": 0, "held": 1, "sold": 0, "returned": 1, "waiting": 0, "sku": 29}
    with pytest.raises(FlashNotOffered):
        await claim(deps, first)
    await order.cancel(deps, member_id=full.orders[1].member_id, order_id=full.orders[1].id)
    assert await pieces(full.sale) == {"left": 0, "held": 0, "sold": 0, "returned": 2, "waiting": 0, "sku": 30}
    assert await broken() == set()


async def test_an_offer_is_the_members_own(deps: Deps) -> None:
    full = await sold_out(deps, 1)
    wait = await queue(deps, full.sale)
    await give_back(deps, full.orders[0], full.sale)
    thief = await make_member(deps)
    with pytest.raises(FlashOfferGone):
        await flash_sale.purchase(
            deps,
            member_id=thief.id,
            item_id=full.sale.item_id,
            quantity=1,
            wait_id=wait.id,
            idempotency_key=new_secret(12),
        )
    assert await state(wait) is WaitState.OFFERED
    assert (await gate.reconcile(deps, item_id=full.sale.item_id)).pieces == 0
