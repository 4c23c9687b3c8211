"""Checking in: once a shop day, at the shop's midnight, by the rules the running cycle began with."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from loyalty.idempotency import KeyReused
from loyalty.points.check_in import AlreadyCheckedIn, DayMark
from loyalty.points.points import EntryKind
from models.ids import new_secret
from models.points.check_in import CheckIn, ProtectedDay
from models.points.points import PointsAccount, PointsEntry
from models.tiers.tier import GrowthEntry, Membership
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people import member
from resolvers.points import check_in, check_in_calendar
from resolvers.programme import ProgrammeKind, check_in_programme
from tests.doors import make_member
from tests.rulebook import published, tiers

MONTH = {
    "base_points": 5,
    "cycle_days": 7,
    "cycle_rewards": [{"day": 3, "points": 10}, {"day": 7, "points": 30, "growth": 20}],
    "streak_rewards": [{"days": 7, "points": 50}],
    "cumulative_rewards": [{"days": 10, "points": 100}],
}
"""The programme of the example of three weeks in docs/rules/check_in.md."""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def member_id(deps: Deps) -> UUID:
    """A new member."""
    return (await make_member(deps)).id


def shop_noon(day: int, *, month: int = 11) -> datetime:
    return datetime(2026, month, day, 4, 0, tzinfo=UTC)


async def comes(deps: Deps, member_id: UUID) -> CheckIn:
    return await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))


async def test_the_three_weeks_of_the_rule_page_are_paid_to_the_point(
    deps: Deps, clock: SetClock, member_id: UUID
) -> None:
    clock.at = shop_noon(1)
    await published(deps, ProgrammeKind.CHECK_IN, MONTH)
    found = []
    for day in (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 20):
        clock.at = shop_noon(day)
        row = await comes(deps, member_id)
        found.append((day, row.cycle_day, row.streak_days, row.total_days, row.points, row.growth))
    assert found == [
        (1, 1, 1, 1, 5, 0),
        (2, 2, 2, 2, 5, 0),
        (3, 3, 3, 3, 15, 0),
        (5, 5, 1, 4, 5, 0),
        (6, 6, 2, 5, 5, 0),
        (7, 7, 3, 6, 35, 20),
        (8, 1, 4, 7, 5, 0),
        (9, 2, 5, 8, 5, 0),
        (10, 3, 6, 9, 15, 0),
        (11, 4, 7, 10, 155, 0),
        (20, 1, 1, 11, 5, 0),
    ]
    account = await PointsAccount.get(member_id=member_id)
    assert account.balance == sum(one[4] for one in found)
    assert (await Membership.get(member_id=member_id)).growth_value == 20


async def test_the_entries_of_a_check_in_are_keyed_by_its_day_and_name_its_row(
    deps: Deps, clock: SetClock, member_id: UUID
) -> None:
    await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 3, "base_growth": 2})
    row = await comes(deps, member_id)
    entry = await PointsEntry.get(member_id=member_id)
    assert (entry.kind, entry.amount, entry.cause_kind, entry.cause_id, entry.key) == (
        EntryKind.EARN,
        3,
        "check_in",
        row.id,
        "check_in:2026-11-20",
    )
    grown = await GrowthEntry.get(member_id=member_id)
    assert (grown.kind, grown.amount, grown.cause_id, grown.key) == ("check_in", 2, row.id, "check_in:2026-11-20")


async def test_growth_from_a_check_in_lifts_the_tier(deps: Deps, member_id: UUID) -> None:
    await tiers(deps)
    await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 0, "base_growth": 1_000})
    row = await comes(deps, member_id)
    assert (row.points, row.growth) == (0, 1_000)
    assert (await Membership.get(member_id=member_id)).tier_code == "silver"
    assert not await PointsEntry.exists(member_id=member_id)


async def test_a_second_check_in_of_a_day_is_refused_and_pays_nothing(deps: Deps, member_id: UUID) -> None:
    await comes(deps, member_id)
    with pytest.raises(AlreadyCheckedIn) as refused:
        await comes(deps, member_id)
    assert refused.value.data == {"day": "2026-11-20"}
    assert await CheckIn.filter(member_id=member_id).count() == 1
    assert (await PointsAccount.get(member_id=member_id)).balance == 1


async def test_the_same_key_gets_the_first_answer_also_after_midnight(
    deps: Deps, clock: SetClock, member_id: UUID
) -> None:
    first = await check_in.check_in(deps, member_id=member_id, idempotency_key="lost-reply")
    clock.advance(timedelta(days=1))
    again = await check_in.check_in(deps, member_id=member_id, idempotency_key="lost-reply")
    assert again.id == first.id
    assert await CheckIn.filter(member_id=member_id).count() == 1


async def test_a_key_of_another_operation_is_refused(deps: Deps, member_id: UUID) -> None:
    await member.update(deps, member_id=member_id, nickname="Ann", avatar_url=None, idempotency_key="some-key")
    with pytest.raises(KeyReused):
        await check_in.check_in(deps, member_id=member_id, idempotency_key="some-key")
    assert not await CheckIn.exists(member_id=member_id)


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Shanghai", datetime(2026, 11, 20, 16, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
    ],
)
async def test_the_day_turns_at_the_shops_midnight(
    deps: Deps, clock: SetClock, member_id: UUID, zone: str, midnight: datetime
) -> None:
    there = dataclasses.replace(deps, zone=ZoneInfo(zone))
    clock.at = midnight - timedelta(milliseconds=1)
    last = await comes(there, member_id)
    assert last.business_day == date(2026, 11, 20)
    with pytest.raises(AlreadyCheckedIn):
        await comes(there, member_id)
    clock.at = midnight
    first = await comes(there, member_id)
    assert (first.business_day, first.streak_days, first.cycle_day) == (date(2026, 11, 21), 2, 2)


async def test_a_streak_goes_on_over_the_year_end(deps: Deps, clock: SetClock, member_id: UUID) -> None:
    clock.at = shop_noon(31, month=12)
    await comes(deps, member_id)
    clock.advance(timedelta(days=1))
    row = await comes(deps, member_id)
    assert (row.business_day, row.streak_days) == (date(2027, 1, 1), 2)


async def test_a_running_cycle_keeps_the_rules_it_began_with(deps: Deps, clock: SetClock, member_id: UUID) -> None:
    clock.at = shop_noon(1)
    began_with = await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 5, "cycle_days": 7})
    await comes(deps, member_id)
    clock.at = shop_noon(2)
    newer = await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 9, "cycle_days": 3})
    newcomer = (await make_member(deps)).id
    assert (await comes(deps, newcomer)).points == 9, "whoever begins now begins with the new rules"
    paid = []
    for day in (2, 7, 8):
        clock.at = shop_noon(day)
        row = await comes(deps, member_id)
        paid.append((day, row.points, row.cycle_day, row.version_id))
    assert paid == [(2, 5, 2, began_with.id), (7, 5, 7, began_with.id), (8, 9, 1, newer.id)]


async def test_protection_covers_a_gap_and_remembers_the_days(deps: Deps, clock: SetClock, member_id: UUID) -> None:
    clock.at = shop_noon(1)
    shield = {"gap_days": 1, "monthly_limit": 2}
    await published(deps, ProgrammeKind.CHECK_IN, {"cycle_days": 30, "protection": shield})
    streaks = []
    for day in (1, 3, 5, 7):
        clock.at = shop_noon(day)
        streaks.append((day, (await comes(deps, member_id)).streak_days))
    assert streaks == [(1, 1), (3, 2), (5, 3), (7, 1)], "the third gap of the month is one too many"
    covered = await ProtectedDay.filter(member_id=member_id).order_by("business_day")
    assert [row.business_day for row in covered] == [date(2026, 11, 2), date(2026, 11, 4)]


async def test_caps_on_earning_cut_a_check_in_and_the_row_says_what_was_paid(deps: Deps, member_id: UUID) -> None:
    await published(deps, ProgrammeKind.POINTS, {"cap_per_day": 3})
    await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 10})
    row = await comes(deps, member_id)
    assert row.points == 3
    assert (await PointsAccount.get(member_id=member_id)).balance == 3


async def state(deps: Deps, member_id: UUID) -> tuple[bool, int, int, int, int]:
    found = await check_in.today(deps, member_id=member_id, in_force=await check_in_programme(deps.clock.now()))
    return found.done, found.cycle_day, found.streak_days, found.total_days, found.points


async def test_the_state_tells_what_today_would_pay_and_then_what_it_paid(
    deps: Deps, clock: SetClock, member_id: UUID
) -> None:
    clock.at = shop_noon(1)
    await published(deps, ProgrammeKind.CHECK_IN, MONTH)
    assert await state(deps, member_id) == (False, 1, 0, 0, 5)
    await comes(deps, member_id)
    assert await state(deps, member_id) == (True, 1, 1, 1, 5)
    clock.at = shop_noon(2)
    await comes(deps, member_id)
    clock.at = shop_noon(3)
    assert await state(deps, member_id) == (False, 3, 2, 2, 15)
    clock.at = shop_noon(5)
    assert await state(deps, member_id) == (False, 5, 0, 2, 5), "the streak is broken"


async def test_the_calendar_marks_every_day_of_the_month(deps: Deps, clock: SetClock) -> None:
    clock.at = shop_noon(3)
    member_id = (await make_member(deps)).id
    await published(deps, ProgrammeKind.CHECK_IN, {"cycle_days": 30, "protection": {"gap_days": 1, "monthly_limit": 1}})
    for day in (4, 6, 8):
        clock.at = shop_noon(day)
        await comes(deps, member_id)
    clock.at = shop_noon(9)
    days = (await check_in_calendar.calendar(deps, member_id=member_id, month=None)).days
    assert len(days) == 30
    assert [one.mark for one in days[:10]] == [
        DayMark.BEFORE_JOINING,
        DayMark.BEFORE_JOINING,
        DayMark.MISSED,
        DayMark.CHECKED,
        DayMark.PROTECTED,
        DayMark.CHECKED,
        DayMark.MISSED,
        DayMark.CHECKED,
        DayMark.TODAY,
        DayMark.AHEAD,
    ]
    december = (await check_in_calendar.calendar(deps, member_id=member_id, month=date(2026, 12, 24))).days
    assert {one.mark for one in december} == {DayMark.AHEAD}
    assert (december[0].day, december[-1].day) == (date(2026, 12, 1), date(2026, 12, 31))
