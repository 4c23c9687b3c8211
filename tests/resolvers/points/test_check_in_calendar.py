"""Making up missed days: the streak repaired, the price paid, each milestone once, by the rules of the cycle."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from loyalty.idempotency import KeyReused
from loyalty.points.check_in import AlreadyCheckedIn, DayMark
from loyalty.points.check_in_make_up import MakeUpLimitReached, MakeUpNotOffered, MakeUpOutOfWindow
from loyalty.points.points import EntryKind, PointsShort
from models.ids import new_secret
from models.points.check_in import CheckIn, ProtectedDay
from models.points.points import PointsAccount, PointsEntry
from models.tiers.tier import Membership
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.points import check_in
from resolvers.points.check_in_calendar import calendar, make_up_day
from resolvers.programme import ProgrammeKind
from tests.doors import make_member
from tests.rulebook import published

REPAIRABLE: dict[str, Any] = {
    "base_points": 5,
    "cycle_days": 30,
    "streak_rewards": [{"days": 3, "points": 10, "growth": 4}, {"days": 7, "points": 50}],
    "make_up": {"window_days": 10, "monthly_limit": 3, "price_points": 2},
}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


def noon(day: int, *, month: int = 11, year: int = 2026) -> datetime:
    return datetime(year, month, day, 4, 0, tzinfo=UTC)


async def who_came_on(deps: Deps, clock: SetClock, *days: int, **rules: Any) -> UUID:
    """A member who joined on 1 November and checked in on these days, by these rules."""
    clock.at = noon(1)
    await published(deps, ProgrammeKind.CHECK_IN, REPAIRABLE | rules)
    member_id = (await make_member(deps)).id
    for day in days:
        clock.at = noon(day)
        await comes(deps, member_id)
    return member_id


async def comes(deps: Deps, member_id: UUID) -> CheckIn:
    return await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))


async def makes_up(deps: Deps, member_id: UUID, day: int, *, month: int = 11, year: int = 2026) -> CheckIn:
    return await make_up_day(deps, member_id=member_id, day=date(year, month, day), idempotency_key=new_secret(12))


async def streaks(member_id: UUID) -> list[tuple[int, int, int]]:
    found = await CheckIn.filter(member_id=member_id).order_by("business_day")
    return [(row.business_day.day, row.streak_days, row.total_days) for row in found]


async def the_books_are_right() -> None:
    broken = {finding.invariant.name: finding.offenders for finding in await verify() if finding.offenders}
    assert not broken, broken


async def test_a_made_up_day_repairs_the_streak_and_pays_what_the_run_has_reached(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 17, 18, 20)
    made_up = await makes_up(deps, member_id, 19)
    assert (made_up.streak_days, made_up.total_days, made_up.cycle_day) == (3, 3, 3)
    assert (made_up.points, made_up.growth, made_up.price_points) == (15, 4, 2)
    assert await streaks(member_id) == [(17, 1, 1), (18, 2, 2), (19, 3, 3), (20, 4, 4)]
    entries = await PointsEntry.filter(member_id=member_id).order_by("seq")
    assert [(row.kind, row.amount, row.key) for row in entries[3:]] == [
        (EntryKind.SPEND, -2, "make_up:2026-11-19"),
        (EntryKind.EARN, 15, "check_in:2026-11-19"),
    ]
    assert {row.cause_id for row in entries[3:]} == {made_up.id}
    assert (await Membership.get(member_id=member_id)).growth_value == 4
    clock.at = noon(21)
    assert (await comes(deps, member_id)).streak_days == 5
    await the_books_are_right()


async def test_a_milestone_paid_in_both_runs_is_set_off_once(deps: Deps, clock: SetClock) -> None:
    rules = REPAIRABLE["streak_rewards"] + [{"days": 9, "points": 60}]
    member_id = await who_came_on(deps, clock, 11, 13, 14, 15, 17, 18, 19, streak_rewards=rules)
    clock.at = noon(20)
    joined = await makes_up(deps, member_id, 16)
    assert (joined.points, joined.offset_points) == (5 + 50 - 10, 10)
    whole = await makes_up(deps, member_id, 12)
    assert (whole.points, whole.offset_points) == (5 + 60, 0)
    assert [streak for _, streak, _ in await streaks(member_id)] == list(range(1, 10))
    paid = [
        reward["days"]
        for row in await CheckIn.filter(member_id=member_id)
        for reward in row.rewards
        if reward["kind"] == "streak"
    ]
    assert sorted(paid) == [3, 3, 7, 9], "both runs had been paid 3 before they became one"
    account = await PointsAccount.get(member_id=member_id)
    assert account.balance == 9 * 5 + 10 + 50 + 60 - 2 * 2
    await the_books_are_right()


async def test_the_price_is_refused_to_who_cannot_pay_it_and_nothing_changes(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(
        deps, clock, 18, 20, make_up={"window_days": 10, "monthly_limit": 3, "price_points": 11}
    )
    with pytest.raises(PointsShort) as refused:
        await makes_up(deps, member_id, 19)
    assert refused.value.data == {"available": 10, "wanted": 11}
    assert await streaks(member_id) == [(18, 1, 1), (20, 1, 2)]
    assert (await PointsAccount.get(member_id=member_id)).seq == 2


async def test_a_free_make_up_writes_no_spend(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 20, make_up={"window_days": 10, "monthly_limit": 3})
    assert (await makes_up(deps, member_id, 19)).price_points == 0
    assert not await PointsEntry.exists(member_id=member_id, kind=EntryKind.SPEND)


async def test_window_limit_and_what_is_done_are_refused_in_their_order(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 2, 15, 20)
    for day in (9, 20, 21, 30):
        with pytest.raises(MakeUpOutOfWindow) as refused:
            await makes_up(deps, member_id, day)
        assert refused.value.data == {"first": "2026-11-10", "last": "2026-11-19"}
    with pytest.raises(AlreadyCheckedIn):
        await makes_up(deps, member_id, 15)
    for day in (10, 11, 12):
        await makes_up(deps, member_id, day)
    with pytest.raises(MakeUpLimitReached):
        await makes_up(deps, member_id, 13)
    with pytest.raises(AlreadyCheckedIn):
        await makes_up(deps, member_id, 12)
    clock.at = noon(1, month=12)
    assert (await makes_up(deps, member_id, 30)).made_up_on == date(2026, 12, 1), "a new month, a new limit"
    await the_books_are_right()


async def test_without_make_up_nothing_is_offered(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 18, 20, make_up=None)
    with pytest.raises(MakeUpNotOffered):
        await makes_up(deps, member_id, 19)


async def test_days_before_joining_cannot_be_made_up(deps: Deps, clock: SetClock) -> None:
    await who_came_on(deps, clock)
    clock.at = noon(19)
    newcomer = (await make_member(deps)).id
    clock.at = noon(20)
    with pytest.raises(MakeUpOutOfWindow):
        await makes_up(deps, newcomer, 18)
    await published(deps, ProgrammeKind.CHECK_IN, REPAIRABLE | {"make_up": {"window_days": 9, "monthly_limit": 1}})
    first = await makes_up(deps, newcomer, 19)
    assert (first.streak_days, first.total_days, first.cycle_day) == (1, 1, 1)
    assert (await comes(deps, newcomer)).cycle_day == 2, "a made-up day begins a cycle like any other"


async def test_one_key_makes_up_once_and_only_its_day(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 17, 20)
    made = [
        await make_up_day(deps, member_id=member_id, day=date(2026, 11, 19), idempotency_key="lost-reply")
        for _ in range(2)
    ]
    assert made[0].id == made[1].id
    with pytest.raises(KeyReused):
        await make_up_day(deps, member_id=member_id, day=date(2026, 11, 18), idempotency_key="lost-reply")
    assert await CheckIn.filter(member_id=member_id).count() == 3


async def test_a_publish_in_the_middle_of_a_cycle_leaves_its_make_ups_as_they_were(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 15, 16, 18, cycle_days=7)
    began_with = (await CheckIn.filter(member_id=member_id).first() or pytest.fail("nobody came")).version_id
    clock.at = noon(19)
    newer = await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 100})
    newcomer = (await make_member(deps)).id
    clock.at = noon(20)
    with pytest.raises(MakeUpNotOffered):
        await makes_up(deps, newcomer, 19)
    made_up = await makes_up(deps, member_id, 17)
    assert (made_up.points, made_up.version_id) == (5 + 10, began_with)
    clock.at = noon(23)
    assert (await makes_up(deps, member_id, 21)).version_id == began_with, "a day of the ended cycle is its own still"
    with pytest.raises(MakeUpNotOffered):
        await makes_up(deps, member_id, 22)
    assert (await comes(deps, member_id)).version_id == newer.id
    await the_books_are_right()


async def test_a_protected_day_that_is_made_up_counts_and_shifts_by_one(deps: Deps, clock: SetClock) -> None:
    shield = {"gap_days": 1, "monthly_limit": 2}
    member_id = await who_came_on(deps, clock, 15, 16, 18, 19, protection=shield)
    assert await ProtectedDay.filter(member_id=member_id).count() == 1
    clock.at = noon(20)
    made_up = await makes_up(deps, member_id, 17)
    assert (made_up.streak_days, made_up.points) == (3, 5), "the milestone was paid on the 18th"
    assert await streaks(member_id) == [(15, 1, 1), (16, 2, 2), (17, 3, 3), (18, 4, 4), (19, 5, 5)]
    await the_books_are_right()


async def test_a_total_reached_by_a_make_up_is_paid_and_not_again(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(
        deps, clock, 17, 20, streak_rewards=[], cumulative_rewards=[{"days": 3, "points": 33}]
    )
    assert (await makes_up(deps, member_id, 18)).points == 5 + 33
    clock.at = noon(21)
    assert (await comes(deps, member_id)).points == 5
    assert (await streaks(member_id))[-1] == (21, 2, 4)


async def test_caps_cut_what_a_make_up_pays(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 17, 18, 20)
    await published(deps, ProgrammeKind.POINTS, {"cap_per_day": 8})
    made_up = await makes_up(deps, member_id, 19)
    assert made_up.points == 3
    await the_books_are_right()


async def test_a_streak_is_repaired_over_the_year_end(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock)
    for at in (noon(30, month=12), noon(1, month=1, year=2027), noon(2, month=1, year=2027)):
        clock.at = at
        await comes(deps, member_id)
    made_up = await makes_up(deps, member_id, 31, month=12)
    assert (made_up.streak_days, made_up.points) == (2, 15)
    assert [streak for _, streak, _ in await streaks(member_id)] == [1, 2, 3, 4]
    await the_books_are_right()


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Shanghai", datetime(2026, 11, 20, 16, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 21, 5, 0, tzinfo=UTC)),
    ],
)
async def test_yesterday_can_be_made_up_from_the_shops_midnight(
    deps: Deps, clock: SetClock, zone: str, midnight: datetime
) -> None:
    there = dataclasses.replace(deps, zone=ZoneInfo(zone))
    member_id = await who_came_on(there, clock, 18, make_up={"window_days": 2, "monthly_limit": 3})
    clock.at = midnight - timedelta(milliseconds=1)
    with pytest.raises(MakeUpOutOfWindow):
        await makes_up(there, member_id, 20)
    clock.at = midnight
    assert (await makes_up(there, member_id, 20)).business_day == date(2026, 11, 20)
    with pytest.raises(MakeUpOutOfWindow):
        await makes_up(there, member_id, 18)


async def test_the_calendar_tells_made_up_days_and_what_can_still_be(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 5, 18, 20, make_up={"window_days": 5, "monthly_limit": 2})
    found = await calendar(deps, member_id=member_id, month=None)
    assert found.make_ups_left == 2
    assert [one.day.day for one in found.days if one.can_make_up] == [15, 16, 17, 19]
    await makes_up(deps, member_id, 19)
    found = await calendar(deps, member_id=member_id, month=None)
    assert {one.day.day: one.mark for one in found.days}[19] is DayMark.MADE_UP
    assert (found.make_ups_left, [one.day.day for one in found.days if one.can_make_up]) == (1, [15, 16, 17])
    await makes_up(deps, member_id, 17)
    found = await calendar(deps, member_id=member_id, month=None)
    assert (found.make_ups_left, [one.day.day for one in found.days if one.can_make_up]) == (0, [])


async def test_the_calendar_offers_by_the_version_of_each_cycle(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(deps, clock, 15, 17, cycle_days=5)
    clock.at = noon(18)
    await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 1})
    clock.at = noon(22)
    found = await calendar(deps, member_id=member_id, month=None)
    assert [one.day.day for one in found.days if one.can_make_up] == [16, 18, 19]
    assert found.make_ups_left == 0, "the rules of today offer none"


async def test_what_the_calendar_offers_is_what_a_make_up_takes(deps: Deps, clock: SetClock) -> None:
    member_id = await who_came_on(
        deps, clock, 3, 4, 8, 15, 16, cycle_days=5, make_up={"window_days": 9, "monthly_limit": 31}
    )
    clock.at = noon(20)
    offered = [one.day for one in (await calendar(deps, member_id=member_id, month=None)).days if one.can_make_up]
    taken = []
    for day in range(1, 31):
        try:
            taken.append((await makes_up(deps, member_id, day)).business_day)
        except (MakeUpOutOfWindow, AlreadyCheckedIn):
            continue
    assert taken == offered
    await the_books_are_right()
