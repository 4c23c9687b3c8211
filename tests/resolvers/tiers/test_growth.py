"""Growth value by the tiers of docs/rules/tier.md: basic 0, silver 1,000, gold 5,000, black 20,000."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
import pytest_asyncio
from tortoise.exceptions import IntegrityError

from loyalty.tiers.tier import GrowthEntryKind, TierChange, TierChangeReason
from models.engine import transaction
from models.ids import new_id
from models.tiers import growth_ledger
from models.tiers import tier as rows_
from models.tiers.tier import GrowthEntry, Membership
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.programme import tier_table
from resolvers.tiers.growth import grow
from resolvers.tiers.tier_move import follow
from tests.doors import make_member
from tests.rulebook import LEVELS, buys, refunds, tiers


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def member_id(deps: Deps) -> UUID:
    """A member of a store with four tiers."""
    await tiers(deps)
    return (await make_member(deps)).id


async def standing(member_id: UUID) -> tuple[str, int, int]:
    row = await Membership.get(member_id=member_id)
    return row.tier_code, row.growth_value, row.seq


async def changes(member_id: UUID) -> list[tuple[str, str, str]]:
    found = await rows_.TierChange.filter(member_id=member_id).order_by("growth_seq", "id")
    return [(row.from_code, row.to_code, row.reason) for row in found]


def order(deps: Deps) -> UUID:
    return new_id(deps.clock.now())


async def test_a_member_joins_in_the_lowest_tier_with_a_reason(member_id: UUID) -> None:
    assert await standing(member_id) == ("basic", 0, 0)
    assert await changes(member_id) == [("", "basic", "joined")]


async def test_growth_is_one_entry_with_the_balance_after_it_and_a_seq_without_gaps(
    deps: Deps, member_id: UUID
) -> None:
    for amount in (300, 200, 499):
        assert await buys(deps, member_id, order(deps), amount) is not None
    found = await GrowthEntry.filter(member_id=member_id).order_by("seq")
    assert [(row.seq, row.amount, row.balance_after) for row in found] == [(1, 300, 300), (2, 200, 500), (3, 499, 999)]
    assert {row.version_id for row in found} == {(await tier_table(deps.clock.now())).version_id}
    assert await standing(member_id) == ("basic", 999, 3)


async def test_the_same_key_changes_nothing_the_second_time(deps: Deps, member_id: UUID) -> None:
    bought = order(deps)
    assert await buys(deps, member_id, bought, 700) is not None
    assert await buys(deps, member_id, bought, 700) is None
    assert await standing(member_id) == ("basic", 700, 1)


async def test_no_growth_writes_no_entry(deps: Deps, member_id: UUID) -> None:
    assert await buys(deps, member_id, order(deps), 0) is None
    assert await standing(member_id) == ("basic", 0, 0)


async def test_reaching_a_threshold_exactly_lifts_at_once_and_starts_the_keep_period(
    deps: Deps, member_id: UUID
) -> None:
    await buys(deps, member_id, order(deps), 1_000)
    row = await Membership.get(member_id=member_id)
    assert (row.tier_code, row.tier_since) == ("silver", deps.clock.now())
    assert row.keep_until == datetime(2027, 11, 19, 16, 0, tzinfo=UTC), "the shop midnight twelve months later"


async def test_a_change_names_the_table_and_what_decided_it(deps: Deps, member_id: UUID) -> None:
    await buys(deps, member_id, order(deps), 20_500)
    change = await rows_.TierChange.get(member_id=member_id, reason=TierChangeReason.GROWTH)
    assert (change.from_code, change.to_code, change.growth_seq) == ("basic", "black", 1)
    assert change.inputs == {"growth": 20_500, "threshold": 20_000}
    assert change.version_id == (await tier_table(deps.clock.now())).version_id


async def test_a_refund_takes_back_what_the_order_gave_and_the_tier_that_rested_on_it(
    deps: Deps, member_id: UUID
) -> None:
    bought = order(deps)
    await buys(deps, member_id, bought, 1_200)
    entry = await refunds(deps, member_id, bought)
    assert entry is not None
    assert (entry.kind, entry.amount, entry.balance_after) == (GrowthEntryKind.EARN_REVERSAL, -1_200, 0)
    assert await standing(member_id) == ("basic", 0, 2)
    assert await changes(member_id) == [
        ("", "basic", "joined"),
        ("basic", "silver", "growth"),
        ("silver", "basic", "refund"),
    ]


async def test_an_order_is_taken_back_once_whatever_the_key(deps: Deps, member_id: UUID) -> None:
    bought = order(deps)
    await buys(deps, member_id, bought, 300)
    await buys(deps, member_id, order(deps), 300)
    assert await refunds(deps, member_id, bought) is not None
    assert await refunds(deps, member_id, bought) is None
    assert await refunds(deps, member_id, bought, key="another key") is None
    assert await refunds(deps, member_id, order(deps)) is None, "an order that gave nothing"
    assert await standing(member_id) == ("basic", 300, 3)


async def test_the_tier_stays_when_later_orders_carry_it(deps: Deps, member_id: UUID) -> None:
    first, later = order(deps), order(deps)
    await buys(deps, member_id, first, 1_000)
    await buys(deps, member_id, later, 1_100)
    await refunds(deps, member_id, first)
    assert await standing(member_id) == ("silver", 1_100, 3)


async def test_the_tier_stays_when_the_refunded_order_came_after_the_upgrade(deps: Deps, member_id: UUID) -> None:
    later = order(deps)
    await buys(deps, member_id, order(deps), 1_000)
    await buys(deps, member_id, later, 100)
    await adjust(deps, member_id, -200)
    await refunds(deps, member_id, later)
    assert await standing(member_id) == ("silver", 800, 4)


async def adjust(deps: Deps, member_id: UUID, amount: int) -> None:
    """An operator's correction, which is no refund."""
    now = deps.clock.now()
    async with transaction(member_id):
        await growth_ledger.append(
            member_id,
            amount=amount,
            kind=GrowthEntryKind.ADJUST,
            cause_kind="operator",
            cause_id=new_id(now),
            key=f"adjust:{new_id(now)}",
            at=now,
            version_id=(await tier_table(now)).version_id,
        )


async def test_two_refunds_take_two_tiers_one_after_the_other(deps: Deps, member_id: UUID) -> None:
    silver, gold = order(deps), order(deps)
    await buys(deps, member_id, silver, 1_000)
    await buys(deps, member_id, gold, 4_000)
    assert (await standing(member_id))[0] == "gold"
    await refunds(deps, member_id, gold)
    assert await standing(member_id) == ("silver", 1_000, 3)
    await refunds(deps, member_id, silver)
    assert await standing(member_id) == ("basic", 0, 4)


async def test_a_tier_that_an_old_table_gave_is_the_floor_of_a_refund(
    deps: Deps, clock: SetClock, member_id: UUID
) -> None:
    await buys(deps, member_id, order(deps), 1_000)
    basic, silver, gold, black = LEVELS
    await tiers(deps, basic, {**silver, "threshold": 2_000}, gold, black)
    bought = order(deps)
    await buys(deps, member_id, bought, 4_000)
    assert (await standing(member_id))[0] == "gold"
    await refunds(deps, member_id, bought)
    assert await standing(member_id) == ("silver", 1_000, 3), "silver was reached under the table of its time"


async def test_a_refund_after_a_period_ended_does_not_take_the_tier_it_left(deps: Deps, member_id: UUID) -> None:
    bought = order(deps)
    await buys(deps, member_id, bought, 6_000)
    await fall(deps, member_id, "gold", "silver")
    await adjust(deps, member_id, -5_000)
    await refunds(deps, member_id, bought)
    assert await standing(member_id) == ("silver", 0, 3)


async def fall(deps: Deps, member_id: UUID, from_code: str, to_code: str) -> None:
    """The end of a keep period."""
    now = deps.clock.now()
    change = TierChange(from_code=from_code, to_code=to_code, reason=TierChangeReason.PERIOD_END, growth=200)
    async with transaction(member_id):
        await follow(member_id, change, now=now, zone=deps.zone, table=await tier_table(now))


async def test_nobody_is_taken_more_than_they_have(deps: Deps, member_id: UUID) -> None:
    bought = order(deps)
    await buys(deps, member_id, bought, 6_000)
    await adjust(deps, member_id, -5_500)
    entry = await refunds(deps, member_id, bought)
    assert entry is not None
    assert (entry.amount, entry.balance_after) == (-500, 0)


async def test_a_growth_value_below_zero_is_refused_by_the_table_itself(deps: Deps, member_id: UUID) -> None:
    with pytest.raises(IntegrityError):
        await adjust(deps, member_id, -1)
    assert await standing(member_id) == ("basic", 0, 0)


async def test_growing_outside_a_transaction_fails_loudly(deps: Deps, member_id: UUID) -> None:
    with pytest.raises(AssertionError, match="lock"):
        await grow(
            member_id,
            amount=1,
            kind=GrowthEntryKind.EARN,
            cause_kind="order",
            cause_id=member_id,
            key="outside",
            now=deps.clock.now(),
            zone=deps.zone,
            table=await tier_table(deps.clock.now()),
        )


async def test_a_refusal_after_growing_takes_the_growth_back(deps: Deps, member_id: UUID) -> None:
    now = deps.clock.now()
    table = await tier_table(now)

    async def grow_and_fail() -> None:
        async with transaction(member_id):
            await grow(
                member_id,
                amount=5_000,
                kind=GrowthEntryKind.EARN,
                cause_kind="order",
                cause_id=member_id,
                key="rolled back",
                now=now,
                zone=deps.zone,
                table=table,
            )
            raise RuntimeError("something later went wrong")

    with pytest.raises(RuntimeError, match="later"):
        await grow_and_fail()
    assert await standing(member_id) == ("basic", 0, 0)
    assert await changes(member_id) == [("", "basic", "joined")]
