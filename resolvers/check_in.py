"""Checking in: once a shop day, by the version of the rules that the member's running cycle began with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any
from uuid import UUID

import orjson

from loyalty.check_in import (
    AlreadyCheckedIn,
    CalendarDay,
    CheckInOutcome,
    CheckInProgramme,
    DayMark,
    LastCheckIn,
    cycle_runs,
    month_calendar,
    next_check_in,
)
from loyalty.points import EntryKind
from loyalty.shop_time import add_months, business_day, month_start, next_month
from loyalty.tier import GrowthEntryKind
from models.check_in import CheckIn, ProtectedDay
from models.engine import retried, rows, transaction
from models.ids import new_id
from resolvers import growth, points
from resolvers.deps import Deps
from resolvers.programme import AllInForce, InForce, ProgrammeKind, all_in_force, read
from resolvers.replay import remember, replayed

_LATEST = """
SELECT last.business_day, last.cycle_started_on, last.cycle_day, last.streak_days, last.total_days, last.points,
    last.growth, version.id, version.version, version.definition::text,
    (SELECT array_agg(covered.business_day) FROM protected_day covered
     WHERE covered.member_id = $1 AND covered.business_day >= $2) AS protected_days
FROM check_in last JOIN programme_version version ON version.id = last.version_id
WHERE last.member_id = $1 ORDER BY last.business_day DESC LIMIT 1
"""

_GATE = """
INSERT INTO check_in (id, member_id, business_day, cycle_started_on, cycle_day, streak_days, total_days, points, growth,
    version_id, rewards, at, price_points, offset_points, offset_growth)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, 0, 0, 0)
ON CONFLICT (member_id, business_day) DO NOTHING RETURNING id
"""

_MONTH = """
SELECT created_at,
    (SELECT array_agg(business_day) FROM check_in
     WHERE member_id = $1 AND business_day >= $2 AND business_day < $3) AS checked,
    (SELECT array_agg(business_day) FROM protected_day
     WHERE member_id = $1 AND business_day >= $2 AND business_day < $3) AS protected
FROM member WHERE id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the rule looks at: the latest check-in, the rules that apply today, and what protection covered lately."""

    last: LastCheckIn | None
    latest: Mapping[str, Any] | None
    programme: InForce[CheckInProgramme]
    protected_count: Mapping[date, int]


async def _facts(member_id: UUID, day: date, in_force: InForce[CheckInProgramme]) -> _Facts:
    found = await rows(_LATEST, [member_id, add_months(month_start(day), -1)])
    if not found:
        return _Facts(last=None, latest=None, programme=in_force, protected_count={})
    latest = found[0]
    last = LastCheckIn(
        day=latest["business_day"],
        cycle_started_on=latest["cycle_started_on"],
        streak_days=latest["streak_days"],
        total_days=latest["total_days"],
    )
    begun_with: InForce[CheckInProgramme] = read(ProgrammeKind.CHECK_IN, latest)
    return _Facts(
        last=last,
        latest=latest,
        programme=begun_with if cycle_runs(begun_with.rules, last, day) else in_force,
        protected_count=Counter(month_start(covered) for covered in latest["protected_days"] or ()),
    )


@retried
async def check_in(deps: Deps, *, member_id: UUID, idempotency_key: str) -> CheckIn:
    """Check in on the shop's today, and be paid for it at once.

    The row of the member and day is the gate: whoever inserts it is paid, and the rewards are keyed by it.

    Raises:
        AlreadyCheckedIn: today has its check-in.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    day = business_day(now, deps.zone)
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="checkIn", content={})
        if before is not None:
            return await CheckIn.get(id=UUID(before["check_in_id"]))
        in_force = await all_in_force(now)
        facts = await _facts(member_id, day, in_force.check_in)
        outcome = next_check_in(facts.programme.rules, facts.last, day, protected_count=facts.protected_count)
        earned = await points.within_caps(member_id, in_force.points.rules, outcome.points, now=now, zone=deps.zone)
        row_id = await _pass_gate(member_id, outcome, earned, facts.programme.version_id, now)
        await _pay(member_id, row_id, outcome, earned, in_force, now=now, zone=deps.zone)
        await remember(
            member_id,
            key=idempotency_key,
            operation="checkIn",
            content={},
            result={"check_in_id": str(row_id)},
            now=now,
        )
        return await CheckIn.get(id=row_id)


async def _pass_gate(member_id: UUID, outcome: CheckInOutcome, earned: int, version_id: UUID, now: datetime) -> UUID:
    row_id = new_id(now)
    rewards = [
        {"kind": reward.kind, "days": reward.days, "points": reward.points, "growth": reward.growth}
        for reward in outcome.rewards
    ]
    passed = await rows(
        _GATE,
        [
            row_id,
            member_id,
            outcome.day,
            outcome.cycle_started_on,
            outcome.cycle_day,
            outcome.streak_days,
            outcome.total_days,
            earned,
            outcome.growth,
            version_id,
            orjson.dumps(rewards).decode(),
            now,
        ],
    )
    if not passed:
        raise AlreadyCheckedIn(day=outcome.day.isoformat())
    await ProtectedDay.bulk_create(
        [
            ProtectedDay(id=new_id(now), member_id=member_id, business_day=covered, check_in_id=row_id)
            for covered in outcome.protected_days
        ]
    )
    return row_id


async def _pay(
    member_id: UUID,
    row_id: UUID,
    outcome: CheckInOutcome,
    earned: int,
    in_force: AllInForce,
    *,
    now: datetime,
    zone: tzinfo,
) -> None:
    key = f"check_in:{outcome.day.isoformat()}"
    if earned:
        await points.credit(
            member_id,
            amount=earned,
            kind=EntryKind.EARN,
            cause_kind="check_in",
            cause_id=row_id,
            key=key,
            now=now,
            zone=zone,
            programme=in_force.points,
        )
    await growth.grow(
        member_id,
        amount=outcome.growth,
        kind=GrowthEntryKind.CHECK_IN,
        cause_kind="check_in",
        cause_id=row_id,
        key=key,
        now=now,
        zone=zone,
        table=in_force.tier,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInToday:
    """A member's check-in at a glance. ``points`` and ``growth`` are what today paid, or would pay if not done yet.

    ``streak_days`` and ``total_days`` count what has been done, ``cycle_day`` is today's place in the cycle.
    """

    business_day: date
    done: bool
    cycle_day: int
    streak_days: int
    total_days: int
    points: int
    growth: int
    programme: CheckInProgramme


async def today(deps: Deps, *, member_id: UUID, in_force: InForce[CheckInProgramme]) -> CheckInToday:
    """How the member's check-in stands, in one statement beside that of the rules in force."""
    day = business_day(deps.clock.now(), deps.zone)
    facts = await _facts(member_id, day, in_force)
    latest, programme = facts.latest, facts.programme.rules
    if latest is not None and latest["business_day"] >= day:
        return CheckInToday(
            business_day=day,
            done=True,
            cycle_day=latest["cycle_day"],
            streak_days=latest["streak_days"],
            total_days=latest["total_days"],
            points=latest["points"],
            growth=latest["growth"],
            programme=programme,
        )
    ahead = next_check_in(programme, facts.last, day, protected_count=facts.protected_count)
    return CheckInToday(
        business_day=day,
        done=False,
        cycle_day=ahead.cycle_day,
        streak_days=ahead.streak_days - 1,
        total_days=ahead.total_days - 1,
        points=ahead.points,
        growth=ahead.growth,
        programme=programme,
    )


async def calendar(deps: Deps, *, member_id: UUID, month: date | None) -> Sequence[CalendarDay]:
    """Every day of the month of ``month`` (None: the current one), in one statement."""
    today_ = business_day(deps.clock.now(), deps.zone)
    first = month_start(month or today_)
    found = (await rows(_MONTH, [member_id, first, next_month(first)]))[0]
    marks = dict.fromkeys(found["protected"] or (), DayMark.PROTECTED)
    marks |= dict.fromkeys(found["checked"] or (), DayMark.CHECKED)
    return month_calendar(
        CheckInProgramme(),
        month=first,
        today=today_,
        joined_on=business_day(found["created_at"], deps.zone),
        marks=marks,
        made_up_count=0,
    )
