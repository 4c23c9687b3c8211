"""Promotions for tiers that a newer table no longer has: whom they are for, and what operators are told."""

from datetime import timedelta
from uuid import UUID

import pytest_asyncio

from loyalty.orders.order import OrderLine
from models.ids import new_id
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.prices.promotion import missing_tiers
from resolvers.tiers.tier_preview import PromotionWithoutTier, preview
from tests.doors import make_member
from tests.loyalty.worked_examples import number, worked
from tests.promotions import run_promotion, stop_promotion
from tests.rulebook import LEVELS, buys, tiers
from tests.shelf import put_on_shelf

KNOWN = {level["code"]: level for level in LEVELS}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def pays(deps: Deps, member_id: UUID, sku_id: UUID) -> int:
    lines = [OrderLine(sku_id=sku_id, quantity=1)]
    return (await order.preview(deps, member_id=member_id, lines=lines, points_wanted=0)).payable_fen


async def test_a_promotion_for_a_tier_that_is_gone_is_as_the_page_says(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    member = await make_member(deps)
    await buys(deps, member.id, new_id(clock.now()), 1_000)
    for row in worked("promotion.md", "Example: a tier that is gone"):
        clock.advance(timedelta(days=1))
        # What was published for later in the row before is in force by now, so that a promotion can name its tiers.
        await tiers(deps)
        sku_id = await put_on_shelf(deps)
        made = await run_promotion(deps, sku_id, tier_codes=row["for tiers"].split(", "))
        await tiers(deps, *(KNOWN[code] for code in row["table in force"].split(", ")))
        if row["published for later"] != "-":
            later = [KNOWN[code] for code in row["published for later"].split(", ")]
            await tiers(deps, *later, effective_at=clock.now() + timedelta(hours=1))
        missing = (await missing_tiers(deps, [made.id])).get(made.id, [])
        assert list(missing) == ([] if row["missing"] == "-" else row["missing"].split(", ")), row
        assert await pays(deps, member.id, sku_id) == number(row["to pay"]), row
        await stop_promotion(deps, made)


async def test_the_preview_of_a_table_names_the_promotions_that_would_lose_a_tier(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    draft = {"levels": [KNOWN["basic"], KNOWN["silver"]]}
    sku_id = await put_on_shelf(deps)
    both = await run_promotion(deps, sku_id, code="a_both", tier_codes=["silver", "gold"])
    ends = await run_promotion(
        deps, sku_id, code="b_top", tier_codes=["gold", "black"], closes_at=clock.now() + timedelta(hours=1)
    )
    for apart in ({"tier_codes": ["silver"]}, {}, {"tier_codes": ["gold"], "published": False}):
        await run_promotion(deps, sku_id, **apart)
    found = (await preview(deps, definition=draft, days=1)).promotions
    assert found == [
        PromotionWithoutTier(id=both.id, code="a_both", title=both.title, missing=["gold"]),
        PromotionWithoutTier(id=ends.id, code="b_top", title=ends.title, missing=["black", "gold"]),
    ]
    clock.advance(timedelta(hours=1))
    assert [one.id for one in (await preview(deps, definition=draft, days=1)).promotions] == [both.id]
    await tiers(deps, KNOWN["basic"], KNOWN["silver"])
    assert await missing_tiers(deps, [both.id, ends.id]) == {both.id: ["gold"], ends.id: ["black", "gold"]}
