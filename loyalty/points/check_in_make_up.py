"""Making up a missed day: whether it may be, what it costs, and what joining two runs of check-ins pays.

Source: docs/rules/check_in.md
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from loyalty.points.check_in import AlreadyCheckedIn, CheckInProgramme, CheckInReward, day_rewards
from loyalty.refusal import Language, Refusal

_A_DAY = timedelta(days=1)


class MakeUpNotOffered(Refusal):
    """This programme has no make-up."""

    code = "MAKE_UP_NOT_OFFERED"
    zh = "当前活动不支持补签"
    en = "Missed days cannot be made up."


class MakeUpOutOfWindow(Refusal):
    """Only days from ``first`` to ``last`` can be made up, both included; none on the day of joining: last < first."""

    code = "MAKE_UP_OUT_OF_WINDOW"
    zh = "仅可补签 {first} 至 {last} 的日期"
    en = "Only days from {first} to {last} can be made up."

    def message(self, language: Language) -> str:
        """The days that can be made up, or that a member of today has none yet."""
        if str(self.data["first"]) <= str(self.data["last"]):
            return super().message(language)
        return "There is no day to make up yet." if language == "en" else "还没有可以补签的日期"


class MakeUpLimitReached(Refusal):
    """The ``limit`` of make-ups in this month is used up."""

    code = "MAKE_UP_LIMIT_REACHED"
    zh = "本月补签次数已用完（{limit} 次）"
    en = "The {limit} make-ups of this month are used up."


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUpOutcome:
    """A made-up day, priced and paid.

    ``streak_days`` is its own place in the streak. ``later_days`` are the check-ins after it in the same run: each of
    their streak counts rises by ``shift``. ``total_days`` is the member's total with it. ``cycle_day`` is 0 for a day
    before the latest cycle. ``offset_points`` and ``offset_growth`` are what the two runs were paid twice before they
    became one, as far as it is set against the streak rewards that the joined run now owes.
    """

    day: date
    price_points: int
    cycle_started_on: date
    cycle_day: int
    streak_days: int
    shift: int
    later_days: tuple[date, ...]
    total_days: int
    rewards: tuple[CheckInReward, ...]
    offset_points: int = 0
    offset_growth: int = 0

    @property
    def points(self) -> int:
        """The points it pays; never below what the day itself pays."""
        return sum(reward.points for reward in self.rewards) - self.offset_points

    @property
    def growth(self) -> int:
        """The growth value it pays, likewise."""
        return sum(reward.growth for reward in self.rewards) - self.offset_growth


def make_up(
    programme: CheckInProgramme,
    *,
    day: date,
    today: date,
    joined_on: date,
    checked: Collection[date],
    protected: Collection[date],
    total_days: int,
    cycle_started_on: date | None,
    paid_streaks: Mapping[date, Sequence[CheckInReward]],
    made_up_count: int,
    offsets: Mapping[date, tuple[int, int]] | None = None,
) -> MakeUpOutcome:
    """Make up the missed ``day``.

    ``checked`` are the member's check-in days, made-up ones included, as far back as the run around ``day`` reaches;
    ``protected`` the missed days that protection covered; ``paid_streaks`` the streak rewards already paid, by the day
    that was paid; ``made_up_count`` the make-ups done in the month of ``today``; ``cycle_started_on`` the start of the
    member's latest cycle, which a day after its end makes way for a new one; ``offsets`` the points and growth value
    that earlier make-ups set against streak rewards, by the made-up day.

    Raises, in this order: MakeUpNotOffered, MakeUpOutOfWindow, AlreadyCheckedIn, MakeUpLimitReached.
    """
    terms = programme.make_up
    if terms is None:
        raise MakeUpNotOffered()
    first = max(today - terms.window_days * _A_DAY, joined_on)
    if not first <= day < today:
        raise MakeUpOutOfWindow(first=first.isoformat(), last=(today - _A_DAY).isoformat())
    if day in checked:
        raise AlreadyCheckedIn(day=day.isoformat())
    if made_up_count >= terms.monthly_limit:
        raise MakeUpLimitReached(limit=terms.monthly_limit)

    before = _neighbours(day, -_A_DAY, checked, protected)
    later = _neighbours(day, _A_DAY, checked, protected)
    was_joined = day in protected and bool(before) and bool(later)
    run_length = len(before) + 1 + len(later)
    run = [*before, *later]
    owed, twice_points, twice_growth = _streak_dues(programme, run_length, run, paid_streaks)
    settled = [(offsets or {}).get(one, (0, 0)) for one in run]
    started, cycle_day = _place_in_cycle(programme, day, cycle_started_on)
    rewards: list[CheckInReward] = []
    if terms.pays_day:
        rewards += day_rewards(programme, cycle_day)
    rewards += owed
    rewards += [reward for reward in programme.cumulative_rewards if reward.days == total_days + 1]
    return MakeUpOutcome(
        day=day,
        price_points=terms.price_points,
        cycle_started_on=started,
        cycle_day=cycle_day,
        streak_days=len(before) + 1,
        shift=1 if was_joined else len(before) + 1,
        later_days=tuple(later),
        total_days=total_days + 1,
        rewards=tuple(rewards),
        offset_points=min(twice_points - sum(points for points, _ in settled), sum(reward.points for reward in owed)),
        offset_growth=min(twice_growth - sum(growth for _, growth in settled), sum(reward.growth for reward in owed)),
    )


def _place_in_cycle(programme: CheckInProgramme, day: date, cycle_started_on: date | None) -> tuple[date, int]:
    """The start of the cycle that a made-up day stands in, and its place there; 0 in one before the latest."""
    if cycle_started_on is None or day >= cycle_started_on + programme.cycle_days * _A_DAY:
        return day, 1
    if day < cycle_started_on:
        return day, 0
    return cycle_started_on, (day - cycle_started_on).days + 1


def _neighbours(day: date, step: timedelta, checked: Collection[date], protected: Collection[date]) -> list[date]:
    """The check-ins that the streak connects with ``day`` in one direction; protected days connect and do not count."""
    found: list[date] = []
    at = day + step
    while at in checked or at in protected:
        if at in checked:
            found.append(at)
        at += step
    return found


def _streak_dues(
    programme: CheckInProgramme,
    run_length: int,
    run: Sequence[date],
    paid_streaks: Mapping[date, Sequence[CheckInReward]],
) -> tuple[list[CheckInReward], int, int]:
    """The streak rewards that the joined run has reached and nobody paid, and what was paid twice in it."""
    seen: set[int] = set()
    twice_points = twice_growth = 0
    for paid_day in sorted(run):
        for reward in paid_streaks.get(paid_day, ()):
            if reward.days in seen:
                twice_points += reward.points
                twice_growth += reward.growth
            seen.add(reward.days)
    owed = [reward for reward in programme.streak_rewards if reward.days <= run_length and reward.days not in seen]
    return owed, twice_points, twice_growth
