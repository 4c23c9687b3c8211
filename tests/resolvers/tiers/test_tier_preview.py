"""The preview of a tier table against the rules themselves, member by member and order by order."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.orders.order import OrderLine as Wanted
from loyalty.points import points as points_rule
from loyalty.prices.unit_price import TierTerms, unit_price
from loyalty.programme import ProgrammeInvalid
from loyalty.tiers.tier import TierTable, after_publish
from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Sku
from models.engine import transaction
from models.ids import new_id, new_secret
from models.orders.order import Order, OrderLine
from models.tiers.tier import Membership, TierChange
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order as orders
from resolvers.payments.settlement import book
from resolvers.programme import ProgrammeKind, points_programme, tier_table
from resolvers.tiers.tier_preview import SAMPLE, Preview, preview
from tests.doors import make_member
from tests.rulebook import LEVELS, buys, published, tiers
from tests.shelf import put_on_shelf

BASIC, SILVER, GOLD, BLACK = LEVELS
DRAFT: dict[str, Any] = {
    "levels": [
        {**BASIC, "discount_bp": 100},
        {**SILVER, "threshold": 500, "keep_threshold": 100, "discount_bp": 700, "points_multiplier_bp": 12_500},
        {"code": "diamond", "name": "钻卡", "threshold": 4_000, "discount_bp": 1_100, "points_multiplier_bp": 20_000},
        {**BLACK, "discount_bp": 2_000, "points_multiplier_bp": 30_000},
    ]
}
GROWTHS = (0, 10, 499, 500, 999, 1_000, 3_999, 4_000, 4_999, 5_000, 19_999, 20_000, 90_000)


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def people(deps: Deps) -> dict[UUID, Membership]:
    members = [(await make_member(deps)).id for _ in GROWTHS]
    for member_id, growth in zip(members, GROWTHS, strict=True):
        await buys(deps, member_id, new_id(deps.clock.now()), growth)
    return {row.member_id: row for row in await Membership.all()}


def expected_tier(draft: TierTable, row: Membership) -> str:
    change = after_publish(draft, current_code=row.tier_code, growth=row.growth_value)
    return change.to_code if change else row.tier_code


async def test_everybody_is_counted_where_the_rule_puts_them(deps: Deps) -> None:
    await tiers(deps)
    everybody = await people(deps)
    draft = TierTable.parse(DRAFT)
    found = await preview(deps, definition=DRAFT, days=30)
    expected = Counter((row.tier_code, expected_tier(draft, row)) for row in everybody.values())
    assert {(move.from_code, move.to_code): move.members for move in found.moves} == expected
    assert sum(move.members for move in found.moves) == len(everybody)
    assert {(one.from_code, one.to_code) for one in found.sample} == {
        pair for pair in expected if pair[0] != pair[1]
    }, "some of every move"
    for one in found.sample:
        row = everybody[one.member_id]
        assert (one.growth_value, one.from_code, one.to_code) == (
            row.growth_value,
            row.tier_code,
            expected_tier(draft, row),
        )
    assert await TierChange.exclude(reason__in=["joined", "growth"]).count() == 0, "looking changes nothing"


async def test_who_would_keep_a_tier_that_they_no_longer_reach_is_told_apart(deps: Deps) -> None:
    await tiers(deps)
    await people(deps)
    harder = {"levels": [BASIC, {**SILVER, "threshold": 3_000}, {**GOLD, "threshold": 10_000}, BLACK]}
    found = await preview(deps, definition=harder, days=30)
    assert {(move.from_code, move.to_code): (move.members, move.below_threshold) for move in found.moves} == {
        ("basic", "basic"): (5, 0),
        ("silver", "silver"): (4, 1),
        ("gold", "gold"): (2, 1),
        ("black", "black"): (2, 0),
    }
    assert found.sample == []


async def test_the_sample_has_twenty_members_at_most(deps: Deps) -> None:
    await tiers(deps)
    for _ in range(SAMPLE + 5):
        member_id = (await make_member(deps)).id
        await buys(deps, member_id, new_id(deps.clock.now()), 600)
    found = await preview(deps, definition=DRAFT, days=1)
    assert (len(found.sample), found.moves[0].members) == (SAMPLE, SAMPLE + 5)


async def buy(deps: Deps, member_id: UUID, lines: Mapping[UUID, int], *, pay: bool = True) -> UUID:
    placed = await orders.place(
        deps,
        member_id=member_id,
        lines=[Wanted(sku_id=sku_id, quantity=quantity) for sku_id, quantity in lines.items()],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    if pay:
        async with transaction(member_id):
            order = await Order.get(id=placed.id)
            await book(deps, order, paid_fen=order.payable_fen, now=deps.clock.now())
    return placed.id


async def replay(table: TierTable, code: str, order: Order, boost_bp: int) -> tuple[int, int]:
    """Discount and points of an order by a table, by the rules that price and earn."""
    level = table.level(code)
    discount = 0
    for line in await OrderLine.filter(order_id=order.id):
        assert line.sku_id is not None
        sku = await Sku.get(id=line.sku_id)
        price, _ = unit_price(
            list_price_fen=line.list_price_fen,
            member_price_fen=sku.member_price_fen,
            tier=TierTerms(code=code, discount_bp=level.discount_bp),
        )
        discount += (line.list_price_fen - price) * line.quantity
    programme = (await points_programme(order.created_at)).rules
    factor = min(level.points_multiplier_bp * boost_bp // 10_000, points_rule.MAX_MULTIPLIER_BP)
    paid = order.payable_fen + order.discount_fen - discount
    return discount, points_rule.earn(programme, paid_fen=paid, multiplier_bp=factor)


async def test_the_cost_is_that_of_every_order_replayed_by_the_rules(deps: Deps, clock: SetClock) -> None:
    in_force = {"levels": [BASIC, {**SILVER, "points_multiplier_bp": 11_000}, GOLD, BLACK]}
    await published(deps, ProgrammeKind.TIER, in_force)
    boost = {"code": "day", "kind": "weekday", "factor_bp": 15_000, "weekdays": [1, 3, 5, 7]}
    await published(deps, ProgrammeKind.POINTS, {"earn_points": 3, "earn_per_fen": 100, "boosts": [boost]})
    skus = [
        await put_on_shelf(deps, price_fen=9_999),
        await put_on_shelf(deps, price_fen=333, member_price_fen=310),
        await put_on_shelf(deps, price_fen=12_345, member_price_fen=5_000),
        await put_on_shelf(deps, price_fen=1),
    ]
    members = list(await people(deps))
    too_old = await buy(deps, members[0], {skus[0]: 1})
    clock.advance(timedelta(days=31))
    boosted: dict[UUID, int] = {}
    for day, member_id in enumerate(members):
        lines = {sku_id: 1 + (day + at) % 3 for at, sku_id in enumerate(skus) if (day + at) % 4}
        boosted[await buy(deps, member_id, lines)] = 15_000 if clock.now().isoweekday() in (1, 3, 5, 7) else 10_000
        clock.advance(timedelta(days=1))
    await buy(deps, members[1], {skus[0]: 1}, pay=False)
    found = await preview(deps, definition=DRAFT, days=31)

    draft, now = TierTable.parse(DRAFT), (await tier_table(clock.now())).rules
    expected: dict[str, list[int]] = {}
    for order_id, factor in boosted.items():
        order = await Order.get(id=order_id)
        row = await Membership.get(member_id=order.member_id)
        before = await replay(now, row.tier_code, order, factor)
        after = await replay(draft, expected_tier(draft, row), order, factor)
        sums = expected.setdefault(expected_tier(draft, row), [0] * 5)
        for at, amount in enumerate((1, before[0], after[0], before[1], after[1])):
            sums[at] += amount
    assert {
        cost.tier_code: [cost.orders, cost.discount_fen_now, cost.discount_fen, cost.points_now, cost.points]
        for cost in found.costs
    } == expected
    assert too_old not in boosted
    assert sum(cost.orders for cost in found.costs) == len(boosted), "the unpaid and the old one are left aside"


async def test_a_store_without_orders_costs_nothing(deps: Deps) -> None:
    await tiers(deps)
    assert (await preview(deps, definition=DRAFT, days=365)).costs == []


async def statements(deps: Deps) -> tuple[int, Preview]:
    counter = SqlCount()
    token = sql_count.set(counter)
    found = await preview(deps, definition=DRAFT, days=90)
    sql_count.reset(token)
    return counter.value, found


async def test_it_takes_five_statements_however_many_members_there_are(deps: Deps) -> None:
    await tiers(deps)
    await buys(deps, (await make_member(deps)).id, new_id(deps.clock.now()), 600)
    few, _ = await statements(deps)
    await people(deps)
    many, found = await statements(deps)
    assert (few, many) == (5, 5)
    assert len(found.moves) > 1


async def test_a_draft_that_cannot_work_is_refused_before_anything_is_read(deps: Deps) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        await preview(deps, definition={"levels": [SILVER, BASIC]}, days=30)
    assert refused.value.data["field"] == "levels[0].threshold"
