"""The end of a keep period against purchases, and tiers set by hand against growth: one outcome each."""

import asyncio
from datetime import timedelta
from uuid import UUID

from loyalty.tiers.tier import GrowthEntryKind
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from models.tiers import growth_ledger
from models.tiers.tier import GrowthEntry, Membership, TierChange, TierOverlay
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.programme import ProgrammeKind, tier_table
from resolvers.tiers.tier_overlay import due, end_override, grant_trial, set_override, settle
from resolvers.tiers.tier_period import end_periods
from tests.doors import make_member, make_operator
from tests.rulebook import LEVELS, buys, published, tiers

AT_ONCE = 20


async def whose_period_is_over(deps: Deps, clock: SetClock) -> UUID:
    """Gold with a growth value of 6,000, 500 of it gained since; the grace is over."""
    await published(deps, ProgrammeKind.TIER, {"levels": list(LEVELS), "grace_days": 14})
    member_id = (await make_member(deps)).id
    await buys(deps, member_id, new_id(clock.now()), 5_500)
    clock.advance(timedelta(days=30))
    await buys(deps, member_id, new_id(clock.now()), 500)
    clock.advance(timedelta(days=400))
    return member_id


async def test_a_period_that_ends_while_the_member_buys_is_decided_once_and_first(deps: Deps, clock: SetClock) -> None:
    member_id = await whose_period_is_over(deps, clock)
    orders = [new_id(clock.now()) for _ in range(AT_ONCE // 2)]
    await asyncio.gather(
        *(end_periods(deps, member_id=member_id) for _ in range(AT_ONCE // 2)),
        *(buys(deps, member_id, order_id, 100) for order_id in orders),
    )
    entries = await GrowthEntry.filter(member_id=member_id).order_by("seq")
    resets = [entry for entry in entries if entry.kind == GrowthEntryKind.PERIOD_RESET]
    assert [(entry.amount, entry.balance_after, entry.seq) for entry in resets] == [(-5_000, 1_000, 3)]
    found = await Membership.get(member_id=member_id)
    assert (found.tier_code, found.growth_value) == ("silver", 1_000 + 100 * len(orders))
    assert found.growth_value == sum(entry.amount for entry in entries)
    assert await TierChange.filter(member_id=member_id, reason="period_end").count() == 1


async def test_control_deciding_without_the_lock_lowers_twice(deps: Deps, clock: SetClock) -> None:
    """Read the membership, decide, write: two sweeps that do so at once both take the growth value away."""
    member_id = await whose_period_is_over(deps, clock)
    version = await tier_table(clock.now())
    all_have_read = asyncio.Barrier(2)

    async def one(number: int) -> None:
        async with transaction():
            read = await Membership.get(member_id=member_id)
            await all_have_read.wait()
            await growth_ledger.append(
                member_id,
                amount=(1_000 - read.growth_value) // 2,
                kind=GrowthEntryKind.PERIOD_RESET,
                cause_kind="tier_change",
                cause_id=member_id,
                key=f"sweep:{number}",
                at=clock.now(),
                version_id=version.version_id,
            )

    await asyncio.gather(one(1), one(2))
    resets = await GrowthEntry.filter(member_id=member_id, kind=GrowthEntryKind.PERIOD_RESET)
    assert len(resets) == 2, "each of the two saw the period as not yet ended"


async def test_tiers_set_by_hand_at_once_leave_one_and_the_growth_beneath_is_exact(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    member_id, boss = (await make_member(deps)).id, (await make_operator(deps)).id
    codes = ["silver", "gold", "black"] * 3

    async def put(code: str) -> None:
        await set_override(
            deps,
            operator_id=boss,
            member_id=member_id,
            tier_code=code,
            reason="竞速",
            ends_at=None,
            idempotency_key=new_secret(12),
        )

    await asyncio.gather(
        *(put(code) for code in codes), *(buys(deps, member_id, new_id(clock.now()), 200) for _ in range(10))
    )
    own = await Membership.get(member_id=member_id)
    assert (own.growth_value, own.tier_code) == (2_000, "silver")
    assert await TierOverlay.filter(member_id=member_id, manual=True, closed_at=None).count() == 1
    assert await TierChange.filter(member_id=member_id, reason="override").count() == len(codes)
    assert await TierChange.filter(member_id=member_id, reason="override_ended").count() == len(codes) - 1
    assert await TierChange.filter(member_id=member_id, reason="growth").count() == 1


async def test_control_without_lock_and_index_two_tiers_are_set_at_once(deps: Deps, clock: SetClock) -> None:
    """Look whether one is set, then set one: two that look at the same time both do."""
    await tiers(deps)
    member_id, boss = (await make_member(deps)).id, (await make_operator(deps)).id
    version = await tier_table(clock.now())
    await rows("DROP INDEX tier_overlay_manual_once")
    both_have_looked = asyncio.Barrier(2)

    async def put() -> None:
        async with transaction():
            assert not await TierOverlay.exists(member_id=member_id, manual=True, closed_at=None)
            await both_have_looked.wait()
            overlay_id = new_id(clock.now())
            await TierOverlay.create(
                id=overlay_id,
                member_id=member_id,
                manual=True,
                tier_code="gold",
                starts_at=clock.now(),
                reason="x",
                operator_id=boss,
                cause_kind="operator",
                cause_id=overlay_id,
                version_id=version.version_id,
                created_at=clock.now(),
            )

    await asyncio.gather(put(), put())
    assert await TierOverlay.filter(member_id=member_id, manual=True, closed_at=None).count() == 2


async def test_an_end_by_the_clock_and_one_by_an_operator_are_one_end(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    member_id, boss = (await make_member(deps)).id, (await make_operator(deps)).id
    await set_override(
        deps,
        operator_id=boss,
        member_id=member_id,
        tier_code="gold",
        reason="一天",
        ends_at=clock.now() + timedelta(days=1),
        idempotency_key=new_secret(12),
    )
    clock.advance(timedelta(days=1))

    async def take_back() -> None:
        await end_override(deps, operator_id=boss, member_id=member_id, reason="收回", idempotency_key=new_secret(12))

    await asyncio.gather(
        *(settle(deps, member_id=member_id) for _ in range(8)), *(take_back() for _ in range(8)), return_exceptions=True
    )
    assert await TierChange.filter(member_id=member_id, reason="override_ended").count() == 1
    assert await due(deps, 9) == []


async def test_one_cause_granted_at_once_lends_one_trial(deps: Deps, clock: SetClock) -> None:
    await tiers(deps)
    member_id, cause_id = (await make_member(deps)).id, new_id(clock.now())

    async def grant() -> UUID:
        async with transaction(member_id):
            row = await grant_trial(
                member_id, tier_code="gold", days=3, cause_kind="mall", cause_id=cause_id, now=clock.now()
            )
            return row.id

    assert len(set(await asyncio.gather(*(grant() for _ in range(AT_ONCE))))) == 1
    assert await TierOverlay.filter(member_id=member_id).count() == 1
