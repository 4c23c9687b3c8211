"""Check-in: which day of the cycle it is, how long the streak, what it pays, and how a gap is closed.

Three numbers that are not the same: ``cycle_day`` is the position in a cycle of calendar days that began with a
check-in, ``streak_days`` counts days without a gap, ``total_days`` counts all check-ins ever.

Source: docs/rules/check_in.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Self

from loyalty.programme import NOT_ASCENDING, Definition, Fields, Reason, invalid
from loyalty.refusal import Refusal
from loyalty.shop_time import month_start, next_month

MAX_CYCLE_DAYS = 366
MAX_MAKE_UP_DAYS = 62
"""No programme lets an older day be made up."""
_A_DAY = timedelta(days=1)


class AlreadyCheckedIn(Refusal):
    """That shop day has its check-in already."""

    code = "ALREADY_CHECKED_IN"
    zh = "{day} 已签到"
    en = "Already checked in on {day}."


class RewardKind(StrEnum):
    """What a check-in is rewarded for."""

    BASE = "base"
    CYCLE = "cycle"
    STREAK = "streak"
    CUMULATIVE = "cumulative"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInReward:
    """Points and growth value at ``days``: the cycle day, streak length or total; 0 for the base reward."""

    kind: RewardKind
    days: int
    points: int = 0
    growth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUpTerms:
    """Which missed days may be made up: the last ``window_days`` before today, so many a month, each at a price."""

    window_days: int
    monthly_limit: int
    price_points: int
    pays_day: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionTerms:
    """A streak survives up to ``gap_days`` missed days in a row, at most ``monthly_limit`` such days a month."""

    gap_days: int
    monthly_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInProgramme:
    """One published version of the check-in rules."""

    base_points: int = 1
    base_growth: int = 0
    cycle_days: int = 7
    cycle_rewards: tuple[CheckInReward, ...] = ()
    streak_rewards: tuple[CheckInReward, ...] = ()
    cumulative_rewards: tuple[CheckInReward, ...] = ()
    make_up: MakeUpTerms | None = None
    protection: ProtectionTerms | None = None

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        cycle_days = fields.integer("cycle_days", 1, MAX_CYCLE_DAYS, 7)
        programme = cls(
            base_points=fields.integer("base_points", 0, 100_000, 1),
            base_growth=fields.integer("base_growth", 0, 100_000, 0),
            cycle_days=cycle_days,
            cycle_rewards=_parse_rewards(fields, "cycle_rewards", RewardKind.CYCLE, "day", cycle_days),
            streak_rewards=_parse_rewards(fields, "streak_rewards", RewardKind.STREAK, "days", 3_660),
            cumulative_rewards=_parse_rewards(fields, "cumulative_rewards", RewardKind.CUMULATIVE, "days", 36_600),
            make_up=_parse_make_up(fields.part("make_up")),
            protection=_parse_protection(fields.part("protection")),
        )
        fields.done()
        return programme

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to an equal programme."""
        return {
            "base_points": self.base_points,
            "base_growth": self.base_growth,
            "cycle_days": self.cycle_days,
            "cycle_rewards": [_reward_definition(reward, "day") for reward in self.cycle_rewards],
            "streak_rewards": [_reward_definition(reward, "days") for reward in self.streak_rewards],
            "cumulative_rewards": [_reward_definition(reward, "days") for reward in self.cumulative_rewards],
            "make_up": {
                "window_days": self.make_up.window_days,
                "monthly_limit": self.make_up.monthly_limit,
                "price_points": self.make_up.price_points,
                "pays_day": self.make_up.pays_day,
            }
            if self.make_up
            else None,
            "protection": {
                "gap_days": self.protection.gap_days,
                "monthly_limit": self.protection.monthly_limit,
            }
            if self.protection
            else None,
        }


def _reward_definition(reward: CheckInReward, name: str) -> dict[str, object]:
    return {name: reward.days, "points": reward.points, "growth": reward.growth}


def _parse_rewards(
    fields: Fields, name: str, kind: RewardKind, days_name: str, most_days: int
) -> tuple[CheckInReward, ...]:
    rewards: list[CheckInReward] = []
    for item in fields.parts(name, MAX_CYCLE_DAYS):
        reward = CheckInReward(
            kind=kind,
            days=item.integer(days_name, 1, most_days),
            points=item.integer("points", 0, 1_000_000, 0),
            growth=item.integer("growth", 0, 1_000_000, 0),
        )
        if rewards and reward.days <= rewards[-1].days:
            raise invalid(item.path(days_name), NOT_ASCENDING)
        if not reward.points and not reward.growth:
            raise invalid(item.path("points"), Reason("must be above 0, or growth must", "积分与成长值不能同时为 0"))
        item.done()
        rewards.append(reward)
    return tuple(rewards)


def _parse_make_up(item: Fields | None) -> MakeUpTerms | None:
    if item is None:
        return None
    terms = MakeUpTerms(
        window_days=item.integer("window_days", 1, MAX_MAKE_UP_DAYS),
        monthly_limit=item.integer("monthly_limit", 1, 31),
        price_points=item.integer("price_points", 0, 1_000_000, 0),
        pays_day=item.boolean("pays_day", True),
    )
    item.done()
    return terms


def _parse_protection(item: Fields | None) -> ProtectionTerms | None:
    if item is None:
        return None
    terms = ProtectionTerms(gap_days=item.integer("gap_days", 1, 7), monthly_limit=item.integer("monthly_limit", 1, 31))
    item.done()
    return terms


# Checking in


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCheckIn:
    """A member's latest check-in day and the numbers as they stood after it."""

    day: date
    cycle_started_on: date
    streak_days: int
    total_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInOutcome:
    """A check-in: the three numbers after it, what it pays, and the missed days that protection covered."""

    day: date
    cycle_started_on: date
    cycle_day: int
    streak_days: int
    total_days: int
    rewards: tuple[CheckInReward, ...]
    protected_days: tuple[date, ...] = ()

    @property
    def points(self) -> int:
        """All points of this check-in."""
        return sum(reward.points for reward in self.rewards)

    @property
    def growth(self) -> int:
        """All growth value of this check-in."""
        return sum(reward.growth for reward in self.rewards)


def cycle_runs(programme: CheckInProgramme, last: LastCheckIn | None, day: date) -> bool:
    """Whether ``day`` still belongs to the cycle of ``last``.

    ``programme`` is the version of the latest check-in: while its cycle runs, it stays in force for that member, and a
    newer version waits for the next cycle.
    """
    return last is not None and in_cycle(programme, last.cycle_started_on, day)


def in_cycle(programme: CheckInProgramme, started: date, day: date) -> bool:
    """Whether ``day`` lies in the cycle that began on ``started``."""
    return started <= day < started + programme.cycle_days * _A_DAY


def next_check_in(
    programme: CheckInProgramme,
    last: LastCheckIn | None,
    day: date,
    *,
    protected_count: Mapping[date, int] | None = None,
) -> CheckInOutcome:
    """Check in on the shop day ``day``.

    ``protected_count`` is how many missed days protection has covered already, by first day of the month; absent means
    none.

    Raises: AlreadyCheckedIn, also for a day before the latest check-in.
    """
    if last is not None and day <= last.day:
        raise AlreadyCheckedIn(day=day.isoformat())
    started = last.cycle_started_on if last is not None and cycle_runs(programme, last, day) else day
    protected = _protected_gap(programme.protection, last, day, protected_count or {})
    unbroken = last is not None and (last.day + _A_DAY == day or bool(protected))
    streak_days = last.streak_days + 1 if last is not None and unbroken else 1
    total_days = last.total_days + 1 if last is not None else 1
    cycle_day = (day - started).days + 1
    rewards = [
        *day_rewards(programme, cycle_day),
        *(reward for reward in programme.streak_rewards if reward.days == streak_days),
        *(reward for reward in programme.cumulative_rewards if reward.days == total_days),
    ]
    return CheckInOutcome(
        day=day,
        cycle_started_on=started,
        cycle_day=cycle_day,
        streak_days=streak_days,
        total_days=total_days,
        rewards=tuple(rewards),
        protected_days=protected,
    )


def day_rewards(programme: CheckInProgramme, cycle_day: int) -> list[CheckInReward]:
    """What a day of the cycle pays by itself, whatever the streak."""
    rewards = [reward for reward in programme.cycle_rewards if reward.days == cycle_day]
    if programme.base_points or programme.base_growth:
        base = CheckInReward(kind=RewardKind.BASE, days=0, points=programme.base_points, growth=programme.base_growth)
        rewards.insert(0, base)
    return rewards


def _protected_gap(
    terms: ProtectionTerms | None, last: LastCheckIn | None, day: date, used: Mapping[date, int]
) -> tuple[date, ...]:
    """The missed days before ``day`` if protection covers all of them, else none: it never covers half a gap."""
    if terms is None or last is None:
        return ()
    missed = days_between(last.day + _A_DAY, day)
    if not missed or len(missed) > terms.gap_days:
        return ()
    for month in {month_start(gap) for gap in missed}:
        wanted = sum(1 for gap in missed if month_start(gap) == month)
        if used.get(month, 0) + wanted > terms.monthly_limit:
            return ()
    return missed


def days_between(first: date, before: date) -> tuple[date, ...]:
    """The days from ``first`` until before ``before``."""
    return tuple(first + step * _A_DAY for step in range(max(0, (before - first).days)))


# The month at a glance


class DayMark(StrEnum):
    """What a day of the calendar is to a member."""

    CHECKED = "checked"
    MADE_UP = "made_up"
    PROTECTED = "protected"
    MISSED = "missed"
    TODAY = "today"
    AHEAD = "ahead"
    BEFORE_JOINING = "before_joining"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """One day of the calendar; ``can_make_up`` looks at the window and the limit, not at the member's points."""

    day: date
    mark: DayMark
    can_make_up: bool


def month_calendar(
    programme: CheckInProgramme,
    *,
    month: date,
    today: date,
    joined_on: date,
    marks: Mapping[date, DayMark],
    made_up_count: int,
) -> tuple[CalendarDay, ...]:
    """Every day of the month of ``month``. ``marks`` has the member's checked, made-up and protected days."""
    terms = programme.make_up
    first_offered = today - terms.window_days * _A_DAY if terms and made_up_count < terms.monthly_limit else today

    def calendar_day(day: date) -> CalendarDay:
        mark = marks.get(day) or _unmarked(day, today, joined_on)
        missed = mark in (DayMark.MISSED, DayMark.PROTECTED)
        return CalendarDay(day=day, mark=mark, can_make_up=missed and first_offered <= day < today)

    return tuple(calendar_day(day) for day in days_between(month_start(month), next_month(month)))


def _unmarked(day: date, today: date, joined_on: date) -> DayMark:
    if day == today:
        return DayMark.TODAY
    if day > today:
        return DayMark.AHEAD
    return DayMark.MISSED if day >= joined_on else DayMark.BEFORE_JOINING
