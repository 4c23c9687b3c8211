"""Buying at a flash sale, through the gate and into the books."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from cache import flash_gate
from loyalty.flash_sale import FlashLimitReached, FlashNotOffered, FlashNotOpen, FlashOver, FlashSoldOut
from loyalty.idempotency import KeyReused
from loyalty.order import AmountChanged, CloseReason, OrderKind, OrderState, QuantityInvalid
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows
from models.flash_sale import FlashTicket
from models.ids import new_id, new_secret
from models.order import Order
from resolvers import flash_gate as gate
from resolvers import flash_sale, order
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import make_member
from tests.flash import Sale, close_sale, make_sale, pieces


async def buy(deps: Deps, sale: Sale, member_id: UUID, quantity: int = 1, *, key: str | None = None) -> Order:
    """One tap on "buy"."""
    return await flash_sale.purchase(
        deps, member_id=member_id, item_id=sale.item_id, quantity=quantity, idempotency_key=key or new_secret(12)
    )


async def gate_left(deps: Deps, sale: Sale) -> int | None:
    """What the gate lets through once everybody has been told everything."""
    await deps.group_commit.idle()
    return (await flash_gate.left_of(deps.redis, [sale.item_id])).get(sale.item_id)


async def test_a_purchase_is_an_order_at_the_flash_price_that_holds_its_pieces(deps: Deps) -> None:
    sale = await make_sale(deps)
    member = await make_member(deps)
    placed = await buy(deps, sale, member.id, 2)
    assert (placed.kind, placed.state, placed.payable_fen) == (OrderKind.FLASH, OrderState.UNPAID, 12_000)
    assert (placed.goods_fen, placed.discount_fen) == (20_000, 8_000)
    assert [step["step"] for step in placed.explain] == ["list", "activity"]
    assert await pieces(sale) == {"left": 8, "held": 2, "sold": 0, "returned": 0, "waiting": 0, "sku": 20}
    assert await gate_left(deps, sale) == 8
    ticket = await FlashTicket.get(order_id=placed.id)
    assert (ticket.quantity, ticket.state, ticket.member_id) == (2, "pending", member.id)
    kinds = [row["kind"] for row in await rows("SELECT kind FROM order_event WHERE order_id = $1", [placed.id])]
    assert kinds == ["placed"]


async def test_what_the_gate_knows_costs_no_statement(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1, opens_at=clock.now() + timedelta(days=8))
    early, late, winner = [await make_member(deps) for _ in range(3)]

    async def asked_for_nothing(member_id: UUID) -> str:
        counter = SqlCount()
        mark = sql_count.set(counter)
        try:
            await buy(deps, sale, member_id)
        except (FlashNotOpen, FlashOver, FlashSoldOut, FlashLimitReached) as refusal:
            assert counter.value == 0
            return refusal.code
        finally:
            sql_count.reset(mark)
        raise AssertionError("bought")

    assert await asked_for_nothing(early.id) == "FLASH_NOT_OPEN"
    clock.advance(timedelta(days=8))
    await buy(deps, sale, winner.id)
    assert await asked_for_nothing(late.id) == "FLASH_SOLD_OUT"
    assert await asked_for_nothing(winner.id) == "FLASH_LIMIT_REACHED"
    clock.advance(timedelta(hours=1))
    assert await asked_for_nothing(late.id) == "FLASH_OVER"
