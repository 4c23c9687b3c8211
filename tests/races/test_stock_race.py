"""200 takers of a stock of 20, through real connections."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from loyalty.catalogue.catalogue import StockKind
from loyalty.orders.order import OutOfStock
from models.catalogue.catalogue import Product, Sku, StockEntry
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from resolvers.catalogue.stock import move
from resolvers.clock import SetClock
from resolvers.prices import price_history

TAKERS = 200
STOCK = 20


async def sku_with(stock: int, clock: SetClock) -> UUID:
    now = clock.now()
    product = await Product.create(id=new_id(now), title="龙井", created_at=now, updated_at=now)
    sku_id = new_id(now)
    async with transaction():
        sku = await Sku.create(
            id=sku_id, product_id=product.id, code=str(sku_id), title="明前 50 克", price_fen=9_900, created_at=now
        )
        await price_history.begin(sku, now)
    if stock:
        async with transaction():
            await move(StockKind.SUPPLY, new_id(now), {sku_id: stock}, now)
    return sku_id


async def left(sku_id: UUID) -> int:
    return (await Sku.get(id=sku_id)).stock_left


async def entries_sum(sku_id: UUID) -> int:
    return sum(entry.amount for entry in await StockEntry.filter(sku_id=sku_id))


async def all_at_once(take: Callable[[], Awaitable[bool]]) -> int:
    """How many of the takers got one."""
    return sum(await asyncio.gather(*(take() for _ in range(TAKERS))))


async def test_two_hundred_takers_of_twenty_get_exactly_twenty(store: None, clock: SetClock) -> None:
    sku_id = await sku_with(STOCK, clock)
    refused: list[OutOfStock] = []

    async def take() -> bool:
        try:
            async with transaction():
                await move(StockKind.HOLD, new_id(clock.now()), {sku_id: -1}, clock.now())
        except OutOfStock as no:
            refused.append(no)
            return False
        return True

    assert await all_at_once(take) == STOCK
    assert [no.data for no in refused] == [{"sku_id": str(sku_id), "left": 0}] * (TAKERS - STOCK)
    assert await left(sku_id) == 0
    assert await entries_sum(sku_id) == 0
    holds = await StockEntry.filter(sku_id=sku_id, kind=StockKind.HOLD)
    assert sorted(entry.left_after for entry in holds) == list(range(STOCK))


async def test_reading_before_writing_would_sell_more_than_there_is(store: None, clock: SetClock) -> None:
    sku_id = await sku_with(STOCK, clock)

    async def take() -> bool:
        async with transaction():
            stock_left = (await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id]))[0]["stock_left"]
            if stock_left < 1:
                return False
            await changed("UPDATE sku SET stock_left = $2 WHERE id = $1", [sku_id, stock_left - 1])
        return True

    assert await all_at_once(take) > STOCK
    # The books of this store are shared with other tests and are put right again.
    await changed("UPDATE sku SET stock_left = $2 WHERE id = $1", [sku_id, STOCK])


async def test_takers_of_the_same_skus_in_opposite_orders_do_not_deadlock(store: None, clock: SetClock) -> None:
    one, other = await sku_with(50, clock), await sku_with(50, clock)
    turns = iter([(one, other), (other, one)] * (TAKERS // 2))

    async def take() -> bool:
        first, second = next(turns)
        try:
            async with transaction():
                await move(StockKind.HOLD, new_id(clock.now()), {first: -1, second: -1}, clock.now())
        except OutOfStock:
            return False
        return True

    assert await all_at_once(take) == 50
    assert (await left(one), await left(other)) == (0, 0)


async def test_of_two_skus_either_both_are_taken_or_none(store: None, clock: SetClock) -> None:
    plenty, none = await sku_with(5, clock), await sku_with(0, clock)
    with pytest.raises(OutOfStock) as no:
        async with transaction():
            await move(StockKind.HOLD, new_id(clock.now()), {plenty: -1, none: -1}, clock.now())
    assert no.value.data == {"sku_id": str(none), "left": 0}
    assert await left(plenty) == await entries_sum(plenty) == 5


async def test_the_same_cause_gives_stock_back_once(store: None, clock: SetClock) -> None:
    sku_id, cause_id = await sku_with(5, clock), new_id(clock.now())

    @retried
    async def give_back() -> None:
        async with transaction():
            await move(StockKind.RELEASE, cause_id, {sku_id: 2}, clock.now())

    results = await asyncio.gather(*(give_back() for _ in range(10)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert await left(sku_id) == await entries_sum(sku_id) == 7


async def test_stock_does_not_move_outside_a_transaction(store: None, clock: SetClock) -> None:
    sku_id = await sku_with(5, clock)
    assert not in_transaction()
    with pytest.raises(AssertionError):
        await move(StockKind.HOLD, new_id(clock.now()), {sku_id: -1}, clock.now())
    assert await left(sku_id) == 5
