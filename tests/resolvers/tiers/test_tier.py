"""A new table being carried out, and where members stand meanwhile."""

from datetime import timedelta
from uuid import UUID

import pytest_asyncio

from jobs.sweeps import SWEEPS
from models.ids import new_id
from models.tiers.tier import Membership, TierChange
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.member import tier_terms
from resolvers.programme import tier_table
from resolvers.tiers.tier import apply_tier_table, due_for_table, standings
from tests.doors import make_member
from tests.rulebook import LEVELS, buys, tiers

BASIC, SILVER, GOLD, BLACK = LEVELS
EASIER_SILVER = {**SILVER, "threshold": 500, "keep_threshold": 100}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def member_with(deps: Deps, growth: int) -> UUID:
    member_id = (await make_member(deps)).id
    await buys(deps, member_id, new_id(deps.clock.now()), growth)
    return member_id


async def code(member_id: UUID) -> str:
    return (await Membership.get(member_id=member_id)).tier_code


async def test_nobody_is_due_when_every_table_has_been_carried_out(deps: Deps) -> None:
    await tiers(deps)
    for growth in (0, 999, 1_000, 20_000):
        await member_with(deps, growth)
    assert await due_for_table(deps, 50) == []


async def test_a_new_table_lifts_whoever_reaches_more_and_leaves_the_others(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    rising, staying, high = [await member_with(deps, growth) for growth in (600, 499, 6_000)]
    await tiers(deps, BASIC, EASIER_SILVER, GOLD, BLACK, effective_at=clock.now() + timedelta(days=1))
    assert await due_for_table(deps, 50) == []
    clock.advance(timedelta(days=1))
    assert await due_for_table(deps, 50) == [rising]
    assert await apply_tier_table(deps, member_id=rising)
    assert not await apply_tier_table(deps, member_id=rising)
    assert [await code(one) for one in (rising, staying, high)] == ["silver", "basic", "gold"]
    change = await TierChange.get(member_id=rising, reason="table_published")
    assert (change.inputs, change.growth_seq) == ({"growth": 600, "threshold": 500}, 1)
    assert change.version_id == (await tier_table(clock.now())).version_id
    assert await due_for_table(deps, 50) == []


async def test_a_harder_table_lowers_nobody(deps: Deps) -> None:
    await tiers(deps)
    member_id = await member_with(deps, 1_000)
    await tiers(deps, BASIC, {**SILVER, "threshold": 3_000}, GOLD, BLACK)
    assert await due_for_table(deps, 50) == []
    assert not await apply_tier_table(deps, member_id=member_id)
    assert await code(member_id) == "silver"


async def test_a_member_whose_tier_is_gone_gets_the_one_that_fits(deps: Deps) -> None:
    await tiers(deps)
    member_id = await member_with(deps, 6_000)
    await tiers(deps, BASIC, SILVER, BLACK)
    assert await due_for_table(deps, 50) == [member_id]
    assert await apply_tier_table(deps, member_id=member_id)
    assert await code(member_id) == "silver"


async def test_the_terms_and_the_standing_follow_the_table_before_it_is_carried_out(deps: Deps) -> None:
    await tiers(deps)
    member_id = await member_with(deps, 600)
    await tiers(deps, BASIC, {**EASIER_SILVER, "discount_bp": 700}, GOLD, BLACK)
    now = deps.clock.now()
    terms = await tier_terms(member_id, (await tier_table(now)).rules, now)
    assert (terms.code, terms.discount_bp) == ("silver", 700)
    found = (await standings(deps, [member_id]))[member_id]
    above = found.progress.next
    assert above is not None
    assert (found.progress.current.code, above.code, found.progress.missing) == ("silver", "gold", 4_400)
    assert await code(member_id) == "basic", "looking changes nothing"


async def test_growing_carries_the_table_out_as_well(deps: Deps) -> None:
    await tiers(deps)
    member_id = await member_with(deps, 600)
    await tiers(deps, BASIC, EASIER_SILVER, GOLD, BLACK)
    await buys(deps, member_id, new_id(deps.clock.now()), 1)
    assert await code(member_id) == "silver"


async def test_the_sweep_lifts_everybody_in_rounds_and_then_rests(deps: Deps) -> None:
    await tiers(deps)
    members = [await member_with(deps, 600) for _ in range(60)]
    await tiers(deps, BASIC, EASIER_SILVER, GOLD, BLACK)
    sweep = next(one for one in SWEEPS if one.name == "apply_tier_table")
    assert [await sweep.round(deps) for _ in range(3)] == [50, 10, 0]
    assert {await code(one) for one in members} == {"silver"}
