from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.points import check_in, check_in_make_up
from loyalty.points.check_in import CheckInOutcome, CheckInProgramme, CheckInReward, DayMark, LastCheckIn, RewardKind
from loyalty.programme import ProgrammeInvalid
from loyalty.shop_time import business_day
from tests.loyalty.worked_examples import number, numbers, worked

A_DAY = timedelta(days=1)
JOINED = date(2020, 1, 1)
TODAY = date(2026, 11, 20)

THREE_WEEKS = CheckInProgramme.parse(
    {
        "base_points": 5,
        "cycle_rewards": [{"day": 3, "points": 10}, {"day": 7, "points": 30, "growth": 20}],
        "streak_rewards": [{"days": 7, "points": 50}],
        "cumulative_rewards": [{"days": 10, "points": 100}],
    }
)
REPAIRABLE = CheckInProgramme.parse(
    {
        "base_points": 5,
        "streak_rewards": [{"days": 3, "points": 10}, {"days": 7, "points": 50}],
        "make_up": {"window_days": 10, "monthly_limit": 3, "price_points": 20},
    }
)


def after(outcome: CheckInOutcome) -> LastCheckIn:
    return LastCheckIn(
        day=outcome.day,
        cycle_started_on=outcome.cycle_started_on,
        streak_days=outcome.streak_days,
        total_days=outcome.total_days,
    )


def play(programme: CheckInProgramme, days: Sequence[date]) -> list[CheckInOutcome]:
    outcomes: list[CheckInOutcome] = []
    for day in days:
        outcomes.append(check_in.next_check_in(programme, after(outcomes[-1]) if outcomes else None, day))
    return outcomes


def streaks_paid(outcomes: Sequence[CheckInOutcome]) -> dict[date, list[CheckInReward]]:
    return {one.day: [reward for reward in one.rewards if reward.kind is RewardKind.STREAK] for one in outcomes}


def repair(
    day: date,
    outcomes: Sequence[CheckInOutcome],
    *,
    programme: CheckInProgramme = REPAIRABLE,
    today: date = TODAY,
    earlier: Sequence[check_in_make_up.MakeUpOutcome] = (),
) -> check_in_make_up.MakeUpOutcome:
    made_up = {one.day: [reward for reward in one.rewards if reward.kind is RewardKind.STREAK] for one in earlier}
    return check_in_make_up.make_up(
        programme,
        day=day,
        today=today,
        joined_on=JOINED,
        checked={one.day for one in outcomes} | set(made_up),
        protected=set(),
        total_days=len(outcomes) + len(earlier),
        cycle_started_on=outcomes[-1].cycle_started_on if outcomes else None,
        paid_streaks=streaks_paid(outcomes) | made_up,
        made_up_count=0,
        offsets={one.day: (one.offset_points, one.offset_growth) for one in earlier},
    )


day_sets = st.sets(st.integers(0, 80), min_size=1).map(
    lambda offsets: [date(2026, 12, 1) + n * A_DAY for n in sorted(offsets)]
)


# The page


def test_three_weeks_are_as_the_page_says() -> None:
    rows = worked("check_in.md", "Example: three weeks of check-ins")
    outcomes = play(THREE_WEEKS, [date(2026, 11, number(row["day"])) for row in rows])
    for row, one in zip(rows, outcomes, strict=True):
        assert (one.cycle_day, one.streak_days, one.total_days, one.points, one.growth) == tuple(
            number(row[column]) for column in ("cycle day", "streak", "total", "points", "growth")
        ), row


def test_protection_is_as_the_page_says() -> None:
    programme = CheckInProgramme.parse({"protection": {"gap_days": 1, "monthly_limit": 2}})
    for row in worked("check_in.md", "Example: protection"):
        day = date.fromisoformat(row["last"])
        last = LastCheckIn(day=day, cycle_started_on=day, streak_days=5, total_days=9)
        outcome = check_in.next_check_in(
            programme,
            last,
            date.fromisoformat(row["next"]),
            protected_count={day.replace(day=1): number(row["covered before"])},
        )
        covered = ", ".join(one.isoformat() for one in outcome.protected_days) or "-"
        assert (outcome.streak_days, covered) == (number(row["streak"]), row["covered days"]), row
        assert outcome.total_days == 10


def test_making_up_is_as_the_page_says() -> None:
    for row in worked("check_in.md", "Example: making up a day"):
        outcomes = play(REPAIRABLE, [date(2026, 11, day) for day in numbers(row["checked"])])
        repaired = repair(date(2026, 11, number(row["made up"])), outcomes)
        assert repaired.price_points == 20
        assert repaired.streak_days == number(row["streak of that day"]), row
        assert repaired.shift == number(row["later days rise by"]), row
        assert repaired.points == number(row["points"]), row


# Properties


@given(day_sets)
def test_a_streak_is_the_length_of_the_run_that_ends_today(days: list[date]) -> None:
    for one in play(THREE_WEEKS, days):
        assert one.streak_days == run_length(one.day, set(days))


def run_length(day: date, checked: Collection[date]) -> int:
    length = 0
    while day in checked:
        length, day = length + 1, day - A_DAY
    return length


@given(day_sets)
def test_totals_count_and_cycle_days_stay_in_the_cycle(days: list[date]) -> None:
    for count, one in enumerate(play(THREE_WEEKS, days), start=1):
        assert one.total_days == count
        assert 1 <= one.cycle_day <= THREE_WEEKS.cycle_days
        assert one.cycle_started_on + (one.cycle_day - 1) * A_DAY == one.day
        assert one.cycle_started_on in days


@given(day_sets, st.integers(0, 80))
def test_a_repaired_streak_is_the_streak_of_somebody_who_never_missed_the_day(days: list[date], missed: int) -> None:
    day = date(2026, 12, 1) + missed * A_DAY
    if day in days:
        return
    today = max([*days, day]) + A_DAY
    generous = CheckInProgramme.parse(
        {
            "streak_rewards": [{"days": n, "points": n} for n in (2, 5, 9, 14)],
            "make_up": {"window_days": 62, "monthly_limit": 31},
        }
    )
    if day < today - 62 * A_DAY:
        return
    played = play(generous, days)
    repaired = repair(day, played, programme=generous, today=today)
    whole = {one.day: one.streak_days for one in play(generous, sorted([*days, day]))}
    assert repaired.streak_days == whole[day]
    broken = {one.day: one.streak_days for one in played}
    for later in repaired.later_days:
        assert broken[later] + repaired.shift == whole[later]
    untouched = set(days) - set(repaired.later_days)
    assert all(broken[one] == whole[one] for one in untouched)


@given(day_sets, st.integers(0, 80))
def test_a_repair_never_pays_more_than_never_having_missed_the_day(days: list[date], missed: int) -> None:
    day = date(2026, 12, 1) + missed * A_DAY
    if day in days:
        return
    milestones = CheckInProgramme.parse(
        {
            "base_points": 0,
            "streak_rewards": [{"days": n, "points": n * n} for n in (2, 3, 5, 8)],
            "make_up": {"window_days": 62, "monthly_limit": 31},
        }
    )
    today = max([*days, day]) + A_DAY
    if day < today - 62 * A_DAY:
        return
    played = play(milestones, days)
    repaired = repair(day, played, programme=milestones, today=today)
    before = sum(one.points for one in played)
    faithful = sum(one.points for one in play(milestones, sorted([*days, day])))
    assert repaired.points == max(0, faithful - before)
    paid = [reward.days for one in played if one.day in around(day, days) for reward in one.rewards]
    assert not {reward.days for reward in repaired.rewards} & set(paid)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_two_repairs_of_one_run_pay_in_sum_what_never_missing_a_day_had_paid(one: int, two: int, three: int) -> None:
    milestones = CheckInProgramme.parse(
        {
            "base_points": 0,
            "streak_rewards": [{"days": n, "points": n, "growth": n} for n in (2, 3, 5, 8, 13, 21)],
            "make_up": {"window_days": 62, "monthly_limit": 31},
        }
    )
    first_gap, second_gap = one, one + 1 + two
    length = second_gap + 1 + three
    whole_run = [date(2026, 10, 1) + at * A_DAY for at in range(length)]
    days = [day for at, day in enumerate(whole_run) if at not in (first_gap, second_gap)]
    today = whole_run[-1] + A_DAY
    played = play(milestones, days)
    first = repair(whole_run[first_gap], played, programme=milestones, today=today)
    second = repair(whole_run[second_gap], played, programme=milestones, today=today, earlier=[first])
    before = sum(day.points for day in played)
    faithful = sum(day.points for day in play(milestones, whole_run))
    assert before + first.points + second.points == max(faithful, before + first.points)
    assert (first.points, second.points) == (first.growth, second.growth)


def test_what_was_paid_twice_is_set_off_once() -> None:
    programme = CheckInProgramme.parse(
        {
            "base_points": 0,
            "streak_rewards": [{"days": 3, "points": 10}, {"days": 7, "points": 50}, {"days": 9, "points": 60}],
            "make_up": {"window_days": 20, "monthly_limit": 9},
        }
    )
    played = play(programme, [date(2026, 11, day) for day in (11, 13, 14, 15, 17, 18, 19)])
    first = repair(date(2026, 11, 16), played, programme=programme)
    assert (first.points, first.offset_points) == (40, 10)
    second = repair(date(2026, 11, 12), played, programme=programme, earlier=[first])
    assert (second.streak_days, second.points, second.offset_points) == (2, 60, 0)


def test_a_made_up_day_after_the_latest_cycle_begins_a_new_one() -> None:
    programme = CheckInProgramme.parse(
        {
            "base_points": 1,
            "cycle_days": 3,
            "cycle_rewards": [{"day": 1, "points": 8}],
            "make_up": {"window_days": 10, "monthly_limit": 3},
        }
    )
    played = play(programme, [TODAY - 6 * A_DAY])
    made_up = repair(TODAY - 3 * A_DAY, played, programme=programme)
    assert (made_up.cycle_started_on, made_up.cycle_day, made_up.points) == (TODAY - 3 * A_DAY, 1, 9)
    inside = repair(TODAY - 4 * A_DAY, played, programme=programme)
    assert (inside.cycle_started_on, inside.cycle_day, inside.points) == (TODAY - 6 * A_DAY, 3, 1)
    before = repair(TODAY - 8 * A_DAY, played, programme=programme)
    assert (before.cycle_day, before.points) == (0, 1)


def around(day: date, checked: Collection[date]) -> set[date]:
    found: set[date] = set()
    for step in (-A_DAY, A_DAY):
        at = day + step
        while at in checked:
            found.add(at)
            at += step
    return found


@given(
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Pacific/Auckland", "America/St_Johns"]).map(ZoneInfo),
    st.datetimes(datetime(2025, 12, 25), datetime(2026, 1, 8), timezones=st.just(UTC)),  # noqa: DTZ001 (bare bounds)
)
def test_streaks_hold_across_the_year_end_in_any_zone(zone: ZoneInfo, start: datetime) -> None:
    days = [business_day(start + at * A_DAY, zone) for at in range(20)]
    assert [one.streak_days for one in play(THREE_WEEKS, days)] == list(range(1, 21))


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("America/New_York", datetime(2026, 3, 5, 4, 59, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 22, 21, 59, tzinfo=UTC)),
    ],
)
def test_streaks_hold_across_a_clock_change(zone: str, start: datetime) -> None:
    days = [business_day(start + at * A_DAY, ZoneInfo(zone)) for at in range(7)]
    assert len(set(days)) == len(days)


# Single rules


def test_a_day_is_checked_in_once() -> None:
    first = play(THREE_WEEKS, [TODAY])[0]
    for day in (TODAY, TODAY - A_DAY):
        with pytest.raises(check_in.AlreadyCheckedIn):
            check_in.next_check_in(THREE_WEEKS, after(first), day)


def test_a_cycle_runs_for_its_days_and_no_longer() -> None:
    last = after(play(THREE_WEEKS, [TODAY])[0])
    assert check_in.cycle_runs(THREE_WEEKS, last, TODAY + 6 * A_DAY)
    assert not check_in.cycle_runs(THREE_WEEKS, last, TODAY + 7 * A_DAY)
    assert not check_in.cycle_runs(THREE_WEEKS, None, TODAY)


@pytest.mark.parametrize(
    ("day", "made_up_count", "refusal"),
    [
        (TODAY - 10 * A_DAY, 0, None),
        (TODAY - 11 * A_DAY, 0, check_in_make_up.MakeUpOutOfWindow),
        (TODAY - A_DAY, 2, None),
        (TODAY - A_DAY, 3, check_in_make_up.MakeUpLimitReached),
        (TODAY, 0, check_in_make_up.MakeUpOutOfWindow),
        (TODAY + A_DAY, 0, check_in_make_up.MakeUpOutOfWindow),
        (TODAY - 2 * A_DAY, 0, check_in.AlreadyCheckedIn),
        (TODAY - 2 * A_DAY, 3, check_in.AlreadyCheckedIn),
    ],
)
def test_a_make_up_keeps_its_window_and_its_limit(
    day: date, made_up_count: int, refusal: type[Exception] | None
) -> None:
    def make_up() -> check_in_make_up.MakeUpOutcome:
        return check_in_make_up.make_up(
            REPAIRABLE,
            day=day,
            today=TODAY,
            joined_on=JOINED,
            checked={TODAY - 2 * A_DAY},
            protected=set(),
            total_days=1,
            cycle_started_on=TODAY - 2 * A_DAY,
            paid_streaks={},
            made_up_count=made_up_count,
        )

    if refusal is None:
        assert make_up().total_days == 2
    else:
        with pytest.raises(refusal):
            make_up()


@pytest.mark.parametrize(
    ("joined_days_ago", "said"),
    [
        (2, ("仅可补签 2026-11-18 至 2026-11-19 的日期", "Only days from 2026-11-18 to 2026-11-19 can be made up.")),
        (0, ("还没有可以补签的日期", "There is no day to make up yet.")),
    ],
)
def test_a_day_before_joining_cannot_be_made_up(joined_days_ago: int, said: tuple[str, str]) -> None:
    with pytest.raises(check_in_make_up.MakeUpOutOfWindow) as refused:
        check_in_make_up.make_up(
            REPAIRABLE,
            day=TODAY - 3 * A_DAY,
            today=TODAY,
            joined_on=TODAY - joined_days_ago * A_DAY,
            checked=(),
            protected=(),
            total_days=0,
            cycle_started_on=None,
            paid_streaks={},
            made_up_count=0,
        )
    assert (refused.value.message("zh"), refused.value.message("en")) == said


def test_a_programme_without_make_up_offers_none() -> None:
    with pytest.raises(check_in_make_up.MakeUpNotOffered):
        repair(TODAY - A_DAY, [], programme=THREE_WEEKS)


def test_a_protected_day_that_is_made_up_counts_once() -> None:
    days = [TODAY - 5 * A_DAY, TODAY - 4 * A_DAY, TODAY - 2 * A_DAY, TODAY - A_DAY]
    repaired = check_in_make_up.make_up(
        REPAIRABLE,
        day=TODAY - 3 * A_DAY,
        today=TODAY,
        joined_on=JOINED,
        checked=days,
        protected=[TODAY - 3 * A_DAY],
        total_days=4,
        cycle_started_on=days[0],
        paid_streaks={days[2]: [CheckInReward(kind=RewardKind.STREAK, days=3, points=10)]},
        made_up_count=0,
    )
    assert (repaired.streak_days, repaired.shift, repaired.points) == (3, 1, 5)
    assert repaired.later_days == (days[2], days[3])


def test_a_made_up_day_pays_its_cycle_day_only_within_the_latest_cycle() -> None:
    programme = CheckInProgramme.parse(
        {
            "base_points": 1,
            "cycle_rewards": [{"day": 2, "points": 8}],
            "make_up": {"window_days": 10, "monthly_limit": 3},
        }
    )
    played = play(programme, [TODAY - 2 * A_DAY, TODAY])
    assert repair(TODAY - A_DAY, played, programme=programme).points == 9
    assert repair(TODAY - 3 * A_DAY, played, programme=programme).points == 1


def test_a_made_up_day_pays_nothing_of_its_own_when_the_programme_says_so() -> None:
    programme = CheckInProgramme.parse(
        {
            "base_points": 5,
            "cumulative_rewards": [{"days": 2, "points": 7}],
            "make_up": {"window_days": 10, "monthly_limit": 3, "pays_day": False},
        }
    )
    assert repair(TODAY - A_DAY, play(programme, [TODAY]), programme=programme).points == 7


def test_the_calendar_shows_each_day_of_the_month() -> None:
    marks = {
        date(2026, 11, 12): DayMark.CHECKED,
        date(2026, 11, 13): DayMark.PROTECTED,
        date(2026, 11, 14): DayMark.MADE_UP,
    }
    calendar = check_in.month_calendar(
        REPAIRABLE, month=TODAY, today=TODAY, joined_on=date(2026, 11, 5), marks=marks, made_up_count=0
    )
    shown = {one.day.day: one for one in calendar}
    assert list(shown) == list(range(1, 31))
    expected = {
        4: DayMark.BEFORE_JOINING,
        5: DayMark.MISSED,
        12: DayMark.CHECKED,
        13: DayMark.PROTECTED,
        14: DayMark.MADE_UP,
        20: DayMark.TODAY,
        21: DayMark.AHEAD,
    }
    assert {day: shown[day].mark for day in expected} == expected
    assert [day for day, one in shown.items() if one.can_make_up] == [10, 11, 13, 15, 16, 17, 18, 19]


def test_the_calendar_offers_no_make_up_when_the_month_is_used_up() -> None:
    for programme, made_up_count in ((REPAIRABLE, 3), (THREE_WEEKS, 0)):
        calendar = check_in.month_calendar(
            programme, month=TODAY, today=TODAY, joined_on=JOINED, marks={}, made_up_count=made_up_count
        )
        assert not any(one.can_make_up for one in calendar)


# The definition


FULL: dict[str, object] = {
    "base_points": 5,
    "base_growth": 1,
    "cycle_days": 30,
    "cycle_rewards": [{"day": 30, "growth": 9}],
    "streak_rewards": [{"days": 7, "points": 50}],
    "cumulative_rewards": [{"days": 100, "points": 500}],
    "make_up": {"window_days": 7, "monthly_limit": 2, "price_points": 10, "pays_day": False},
    "protection": {"gap_days": 1, "monthly_limit": 2},
}


@pytest.mark.parametrize("definition", [{}, FULL])
def test_a_programme_reads_back_what_it_wrote(definition: dict[str, object]) -> None:
    programme = CheckInProgramme.parse(definition)
    assert CheckInProgramme.parse(programme.definition()) == programme


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"cycle_days": 0}, "cycle_days"),
        ({"cycle_days": 367}, "cycle_days"),
        ({"base_points": -1}, "base_points"),
        ({"cycle_rewards": [{"day": 8, "points": 1}]}, "cycle_rewards[0].day"),
        ({"cycle_rewards": [{"day": 0, "points": 1}]}, "cycle_rewards[0].day"),
        ({"streak_rewards": [{"days": 7, "points": 1}, {"days": 7, "points": 2}]}, "streak_rewards[1].days"),
        ({"streak_rewards": [{"days": 7, "points": 1}, {"days": 3, "points": 2}]}, "streak_rewards[1].days"),
        ({"streak_rewards": [{"days": 7}]}, "streak_rewards[0].points"),
        ({"cumulative_rewards": [{"days": 7, "points": -1}]}, "cumulative_rewards[0].points"),
        ({"make_up": {"window_days": 0, "monthly_limit": 1}}, "make_up.window_days"),
        ({"make_up": {"window_days": 1}}, "make_up.monthly_limit"),
        ({"make_up": {"window_days": 1, "monthly_limit": 1, "pays_day": 1}}, "make_up.pays_day"),
        ({"make_up": []}, "make_up"),
        ({"protection": {"gap_days": 8, "monthly_limit": 1}}, "protection.gap_days"),
        ({"protection": {"gap_days": 1, "monthly_limit": 1, "price": 1}}, "protection.price"),
        ({"streaks": []}, "streaks"),
    ],
)
def test_an_impossible_programme_is_refused_with_the_field(definition: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        CheckInProgramme.parse(definition)
    assert refused.value.data["field"] == field
