"""The last of a promotion, wanted by many at once through real connections."""

import asyncio
from uuid import UUID

from loyalty.orders.order import OrderLine
from loyalty.orders.order_quote import QuoteNotFound
from loyalty.prices.promotion import PromotionGone
from models.engine import changed, retried, rows, transaction
from models.ids import new_secret
from models.orders.order import Order
from models.prices.promotion import PromotionHold
from resolvers.deps import Deps
from resolvers.orders import order, order_quote
from resolvers.prices import promotion_hold
from tests.doors import make_member
from tests.promotions import run_promotion, stop_promotion, used
from tests.shelf import put_on_shelf

BUYERS = 24
USES = 5


async def place(deps: Deps, member_id: UUID, sku_id: UUID, quote_id: UUID | None = None) -> Order | None:
    """An order at the promotion's price, or None when its last use went to somebody else meanwhile."""
    try:
        return await order.place(
            deps,
            member_id=member_id,
            lines=[OrderLine(sku_id=sku_id, quantity=1)],
            points_wanted=0,
            expected_fen=None,
            remark="",
            idempotency_key=new_secret(12),
            quote_id=quote_id,
        )
    except (PromotionGone, QuoteNotFound):
        return None


async def test_the_last_uses_of_a_promotion_go_to_exactly_so_many_buyers(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    tenth = await run_promotion(deps, sku_id, total_limit=USES)
    members = [await make_member(deps) for _ in range(BUYERS)]
    orders = await asyncio.gather(*(place(deps, member.id, sku_id) for member in members))
    cheaper = [one for one in orders if one is not None and one.payable_fen == 9_000]
    assert len(cheaper) == USES
    assert await used(tenth) == (USES, USES * 1_000)
    assert await PromotionHold.filter(promotion_id=tenth.id, state="pending").count() == USES
    await stop_promotion(deps, tenth)


async def test_a_budget_is_never_exceeded_by_parallel_orders(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    tenth = await run_promotion(deps, sku_id, budget_fen=4_500)
    members = [await make_member(deps) for _ in range(BUYERS)]
    await asyncio.gather(*(place(deps, member.id, sku_id) for member in members))
    assert await used(tenth) == (4, 4_000)
    await stop_promotion(deps, tenth)


async def test_one_member_ordering_in_parallel_keeps_to_the_member_limit(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    tenth = await run_promotion(deps, sku_id, member_limit=2)
    member = await make_member(deps)
    orders = await asyncio.gather(*(place(deps, member.id, sku_id) for _ in range(10)))
    assert sorted(one.payable_fen for one in orders if one is not None) == [9_000] * 2 + [10_000] * 8
    assert await used(tenth) == (2, 2_000)
    await stop_promotion(deps, tenth)


async def test_a_kept_price_makes_one_order_however_often_it_is_used_at_once(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    tenth = await run_promotion(deps, sku_id, total_limit=1)
    member = await make_member(deps)
    kept = await order_quote.keep(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=sku_id, quantity=1)],
        points_wanted=0,
        idempotency_key=new_secret(12),
    )
    orders = await asyncio.gather(*(place(deps, member.id, sku_id, kept.id) for _ in range(8)))
    assert [one.payable_fen for one in orders if one is not None] == [9_000]
    assert await used(tenth) == (1, 1_000)
    await stop_promotion(deps, tenth)


async def test_kept_prices_that_are_too_late_for_a_better_promotion_stay_good(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    tenth = await run_promotion(deps, sku_id)
    members = [await make_member(deps) for _ in range(BUYERS)]
    kept = [
        await order_quote.keep(
            deps,
            member_id=member.id,
            lines=[OrderLine(sku_id=sku_id, quantity=1)],
            points_wanted=0,
            idempotency_key=new_secret(12),
        )
        for member in members
    ]
    better = await run_promotion(deps, sku_id, discount_bp=3_000, total_limit=USES)
    orders = await asyncio.gather(
        *(place(deps, member.id, sku_id, one.id) for member, one in zip(members, kept, strict=True))
    )
    assert sorted(one.payable_fen for one in orders if one is not None) == [7_000] * USES + [9_000] * (BUYERS - USES)
    assert (await used(better), (await used(tenth))[0]) == ((USES, USES * 3_000), BUYERS - USES)
    for one in (tenth, better):
        await stop_promotion(deps, one)


async def test_who_keeps_another_price_holds_no_quota_while_waiting_for_a_lower_one(deps: Deps) -> None:
    skus = [await put_on_shelf(deps, stock_left=100) for _ in range(2)]
    ran = {(await run_promotion(deps, sku_id, total_limit=USES)).id: sku_id for sku_id in skus}
    low, high = sorted(ran)
    member = await make_member(deps)

    async def keeps(promotion_id: UUID) -> None:
        await order_quote.keep(
            deps,
            member_id=member.id,
            lines=[OrderLine(sku_id=ran[promotion_id], quantity=1)],
            points_wanted=0,
            idempotency_key=new_secret(12),
        )

    await keeps(high)
    is_busy, is_free = asyncio.Event(), asyncio.Event()

    async def busy_with_the_low_one() -> None:
        async with transaction():
            await promotion_hold.lock([low])
            is_busy.set()
            await is_free.wait()

    busy = asyncio.create_task(busy_with_the_low_one())
    await is_busy.wait()
    keeping = asyncio.create_task(keeps(low))
    async with asyncio.timeout(20):
        while not await rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not keeping.done()
    # Whoever goes the other way, from the low one to the high one, is let through.
    async with transaction():
        await rows("SET LOCAL lock_timeout = '5s'")
        await promotion_hold.lock([high])
    is_free.set()
    await asyncio.gather(busy, keeping)
    held = {hold.promotion_id: hold.state for hold in await PromotionHold.all()}
    assert held == {high: "released", low: "pending"}


async def test_reading_before_writing_would_give_more_uses_than_there_are(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=USES)
    decided = asyncio.Barrier(BUYERS)

    @retried
    async def careless() -> bool:
        async with transaction():
            found = await rows("SELECT used_count FROM promotion_quota WHERE promotion_id = $1", [tenth.id])
            free = found[0]["used_count"] < USES
            await decided.wait()
            if free:
                await changed(
                    "UPDATE promotion_quota SET used_count = used_count + 1 WHERE promotion_id = $1", [tenth.id]
                )
            return bool(free)

    given = sum(await asyncio.gather(*(careless() for _ in range(BUYERS))))
    assert given > USES
    assert (await used(tenth))[0] > USES
    # The books of this store are shared with other tests and are put right again.
    await changed("UPDATE promotion_quota SET used_count = 0 WHERE promotion_id = $1", [tenth.id])
    await stop_promotion(deps, tenth)
