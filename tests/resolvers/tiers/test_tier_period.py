"""Keep periods by the verbs: the worked examples of docs/rules/tier.md, years of days, and what refunds find later."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.shop_time import business_day, day_start
from loyalty.tiers.tier import GrowthEntryKind, GrowthLine, left_of_cause
from models.engine import changed, rows, transaction
from models.ids import new_id
from models.tiers.tier import GrowthEntry, Membership, TierChange
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.programme import ProgrammeKind, tier_table
from resolvers.tiers.tier import standings
from resolvers.tiers.tier_period import due, end_periods
from tests.doors import make_member
from tests.loyalty.worked_examples import number, numbers, worked
from tests.rulebook import LEVELS, buys, published, refunds

PAGE = "tier.md"
NOON = timedelta(hours=12)


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def table(deps: Deps, mode: str = "one_step", levels: Sequence[Mapping[str, Any]] = LEVELS) -> None:
    await published(
        deps, ProgrammeKind.TIER, {"levels": list(levels), "grace_days": 14, "downgrade": mode}, effective_at=None
    )


async def buy(deps: Deps, member_id: UUID, growth: int) -> UUID:
    order_id = new_id(deps.clock.now())
    await buys(deps, member_id, order_id, growth)
    return order_id


async def sweep(deps: Deps) -> None:
    one = next(one for one in SWEEPS if one.name == "end_keep_periods")
    while await one.round(deps):
        pass


async def member_who_gained(deps: Deps, clock: SetClock, growth: int, gained: int) -> UUID:
    """Somebody with this growth value, so much of it from after the day of the tier."""
    member_id = (await make_member(deps)).id
    returned = await buy(deps, member_id, max(0, -gained))
    await buy(deps, member_id, growth - max(0, gained))
    clock.advance(timedelta(days=100))
    await buy(deps, member_id, max(0, gained))
    await refunds(deps, member_id, returned)
    return member_id


@pytest.mark.parametrize(
    "row", worked(PAGE, "Example: the end of a keep period"), ids=lambda row: "-".join(row.values())
)
async def test_a_period_ends_as_the_page_says(deps: Deps, clock: SetClock, row: dict[str, str]) -> None:
    await table(deps, row["mode"])
    growth = number(row["growth value"])
    member_id = await member_who_gained(deps, clock, growth, number(row["gained in the period"]))
    before = await Membership.get(member_id=member_id)
    assert (before.tier_code, before.growth_value) == (row["tier"], growth)
    ends_at = before.keep_until or clock.now()
    clock.at = ends_at + timedelta(days=number(row["days"]))
    await sweep(deps)
    after = await Membership.get(member_id=member_id)
    resets = await GrowthEntry.filter(member_id=member_id, kind=GrowthEntryKind.PERIOD_RESET)
    assert sum(entry.amount for entry in resets) == number(row["growth entry"])
    match row["outcome"]:
        case "kept":
            assert after.tier_code == row["tier"]
            assert before.keep_until is None or after.keep_until == day_start(date(2028, 11, 20), deps.zone)
        case "grace":
            assert (after.tier_code, after.keep_until) == (row["tier"], before.keep_until)
            standing = (await standings(deps, [member_id]))[member_id]
            assert standing.grace_until == ends_at + timedelta(days=14)
        case lower:
            assert after.tier_code == lower
            change = await TierChange.get(member_id=member_id, reason="period_end")
            assert (change.from_code, change.to_code) == (row["tier"], lower)
            assert change.at == ends_at + timedelta(days=14)


@pytest.mark.parametrize("swept", ["every day it happens", "never before the end"])
async def test_a_member_over_the_years_stands_as_the_page_says(deps: Deps, clock: SetClock, swept: str) -> None:
    await table(deps)
    member_id = (await make_member(deps)).id
    for row in worked(PAGE, "Example: a member over the years"):
        clock.at = day_start(date.fromisoformat(row["day"]), deps.zone) + NOON
        await buy(deps, member_id, number(row["bought"]))
        if swept == "never before the end" and row["day"] < "2035":
            continue
        await sweep(deps)
        found = await Membership.get(member_id=member_id)
        kept_until = business_day(found.keep_until, deps.zone).isoformat() if found.keep_until else "-"
        assert (found.growth_value, found.tier_code, kept_until) == (
            number(row["growth value"]),
            row["tier"],
            row["kept until"],
        ), row["day"]
    assert await periods(member_id) == [
        ("2027-12-01", "gold", "gold", "period_kept"),
        ("2028-12-04", "gold", "silver", "period_end"),
        ("2029-12-04", "silver", "silver", "period_kept"),
        ("2030-12-18", "silver", "basic", "period_end"),
        ("2032-06-15", "silver", "basic", "period_end"),
    ]


async def periods(member_id: UUID) -> list[tuple[str, str, str, str]]:
    found = await TierChange.filter(member_id=member_id, reason__in=["period_end", "period_kept"]).order_by(
        "growth_seq", "id"
    )
    return [((row.at + timedelta(hours=8)).date().isoformat(), row.from_code, row.to_code, row.reason) for row in found]


@pytest.mark.parametrize(
    "row", worked(PAGE, "Example: refunds after a period ended"), ids=lambda row: "-".join(row.values())
)
def test_a_refund_takes_what_the_period_left_of_its_order(row: dict[str, str]) -> None:
    bought = dict(zip("ABC", numbers(row["A, B, C"]), strict=True))
    lines = [GrowthLine(order, amount, GrowthEntryKind.EARN) for order, amount in bought.items()]
    taken = number(row["taken by the period's end"])
    if taken:
        lines.append(GrowthLine("period", -taken, GrowthEntryKind.PERIOD_RESET))
    took = []
    for order in row["refunded"].split(" + "):
        took.append(left_of_cause(lines, order))
        if took[-1]:
            lines.append(GrowthLine(order, -took[-1], GrowthEntryKind.EARN_REVERSAL))
    assert took == numbers(row["taken back"])
    assert sum(line.amount for line in lines) >= 0


async def test_an_old_order_refunded_after_the_fall_takes_nothing_twice(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    member_id = (await make_member(deps)).id
    old = await buy(deps, member_id, 6_000)
    clock.advance(timedelta(days=100))
    recent = await buy(deps, member_id, 1_500)
    clock.advance(timedelta(days=300))
    await sweep(deps)
    assert (await Membership.get(member_id=member_id)).growth_value == 1_500
    assert await refunds(deps, member_id, old) is None
    back = await refunds(deps, member_id, recent)
    assert back is not None
    assert (back.amount, back.balance_after) == (-1_500, 0)
    assert (await Membership.get(member_id=member_id)).tier_code == "silver", (
        "the period left it; its end decides again"
    )


async def test_a_period_that_was_kept_holds_the_tier_against_refunds_of_before(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    member_id = (await make_member(deps)).id
    first = await buy(deps, member_id, 1_000)
    clock.advance(timedelta(days=200))
    await buy(deps, member_id, 800)
    clock.advance(timedelta(days=200))
    await sweep(deps)
    await refunds(deps, member_id, first)
    found = await Membership.get(member_id=member_id)
    assert (found.tier_code, found.growth_value) == ("silver", 800)


async def test_every_decision_names_its_table_and_what_went_in(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    member_id = await member_who_gained(deps, clock, 9_000, 3_999)
    decided_by = await tier_table(clock.now())
    clock.at = datetime(2027, 12, 20, tzinfo=UTC)
    await sweep(deps)
    change = await TierChange.get(member_id=member_id, reason="period_end")
    assert change.version_id == decided_by.version_id
    assert change.inputs == {
        "growth": 3_999,
        "threshold": 1_000,
        "keep_threshold": 4_000,
        "downgrade": "one_step",
        "grace_days": 14,
        "growth_before": 9_000,
        "growth_reset": -5_001,
        "period_ended_at": "2027-11-19T16:00:00+00:00",
    }
    entry = await GrowthEntry.get(member_id=member_id, kind=GrowthEntryKind.PERIOD_RESET)
    assert (entry.cause_kind, entry.cause_id, entry.version_id) == ("tier_change", change.id, decided_by.version_id)


async def test_the_table_of_the_due_day_decides_and_not_a_later_one(deps: Deps, clock: SetClock) -> None:
    await table(deps, "one_step")
    member_id = await member_who_gained(deps, clock, 30_000, 200)
    clock.at = datetime(2027, 12, 10, tzinfo=UTC)
    await table(deps, "fit")
    await sweep(deps)
    assert (await Membership.get(member_id=member_id)).tier_code == "gold"


async def test_a_member_whose_tier_a_new_table_keeps_for_ever_is_never_due_again(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    member_id = await member_who_gained(deps, clock, 9_000, 10)
    basic, silver, gold, black = LEVELS
    await table(deps, levels=[basic, silver, {"code": "gold", "name": "金卡", "threshold": gold["threshold"]}, black])
    clock.at = datetime(2040, 1, 1, tzinfo=UTC)
    await sweep(deps)
    found = await Membership.get(member_id=member_id)
    assert (found.tier_code, found.keep_until, found.keep_due_at) == ("gold", None, None)


async def test_nobody_is_due_twice_and_a_sweep_that_was_stopped_goes_on(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    members = [await member_who_gained(deps, clock, 9_000, 10) for _ in range(3)]
    clock.advance(timedelta(days=800))
    assert set(await due(deps, 50)) == set(members)
    assert await end_periods(deps, member_id=members[0]) >= 1
    assert await end_periods(deps, member_id=members[0]) == 0
    assert set(await due(deps, 50)) == set(members[1:])
    await sweep(deps)
    assert await due(deps, 50) == []
    for member_id in members:
        resets = await GrowthEntry.filter(member_id=member_id, kind=GrowthEntryKind.PERIOD_RESET)
        assert len({entry.key for entry in resets}) == len(resets)


async def test_an_idle_sweep_reads_the_index_of_due_periods(deps: Deps) -> None:
    async with transaction():
        await rows("SET LOCAL enable_seqscan = off")
        plan = await rows(
            "EXPLAIN SELECT member_id FROM membership WHERE keep_due_at <= now() ORDER BY keep_due_at LIMIT 50"
        )
    assert "membership_keep_due" in str(plan)


async def five_years(deps: Deps, clock: SetClock, *, swept_every: int) -> tuple[list[object], list[object]]:
    """What the books say after five years of the same purchases and refunds."""
    member_id = (await make_member(deps)).id
    began, orders = clock.at, list[UUID]()
    for day in range(0, 5 * 365, 5):
        clock.at = began + timedelta(days=day, hours=1)
        if day % swept_every == 0:
            await sweep(deps)
        if day % 35 == 0:
            orders.append(await buy(deps, member_id, 40 + day * 7 % 300))
        if day % 140 == 70 and len(orders) > 1:
            await refunds(deps, member_id, orders[-2])
    await sweep(deps)
    clock.at = began
    changes = await TierChange.filter(member_id=member_id).order_by("growth_seq", "id")
    entries = await GrowthEntry.filter(member_id=member_id).order_by("seq")
    return (
        [(row.at - began, row.from_code, row.to_code, row.reason, row.inputs["growth"]) for row in changes],
        [(row.at - began, row.amount, row.kind) for row in entries],
    )


async def test_it_makes_no_difference_how_often_the_clock_looks(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    daily = await five_years(deps, clock, swept_every=5)
    reasons = {row[3] for row in daily[0] if isinstance(row, tuple)}
    assert reasons >= {"growth", "period_end", "period_kept"}, "the story has what it is about"
    assert await five_years(deps, clock, swept_every=35) == daily
    assert await five_years(deps, clock, swept_every=400) == daily
    assert await five_years(deps, clock, swept_every=5_000) == daily


async def test_a_due_day_before_its_period_ends_is_refused_by_the_table(deps: Deps, clock: SetClock) -> None:
    await table(deps)
    member_id = await member_who_gained(deps, clock, 9_000, 10)
    with pytest.raises(Exception, match="membership_period_is_decided"):
        await changed("UPDATE membership SET keep_due_at = NULL WHERE member_id = $1", [member_id])
