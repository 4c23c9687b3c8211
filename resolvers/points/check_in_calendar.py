"""A month of check-ins, and making up a day that was missed 补签."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import orjson

from loyalty.points.check_in import (
    MAX_MAKE_UP_DAYS,
    CalendarDay,
    CheckInProgramme,
    CheckInReward,
    DayMark,
    RewardKind,
    in_cycle,
    month_calendar,
)
from loyalty.points.check_in_make_up import MakeUpOutcome, make_up
from loyalty.shop_time import business_day, month_start, next_month
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.points.check_in import CheckIn
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.points.check_in import Facts, facts_on, kept_rewards, pass_gate, pay
from resolvers.programme import ProgrammeKind, all_in_force, read
from resolvers.replay import remember, replayed

_MADE_UP = f"""
SELECT count(*)::int FROM check_in
WHERE member_id = $1 AND business_day >= $2::date - {MAX_MAKE_UP_DAYS} AND made_up_on >= $2 AND made_up_on < $3
"""

_MONTH = f"""
SELECT member.created_at, ({_MADE_UP}) AS made_up_count,
    (SELECT array_agg(business_day) FROM check_in
     WHERE member_id = $1 AND business_day >= $4 AND business_day < $5 AND made_up_on IS NULL) AS checked,
    (SELECT array_agg(business_day) FROM check_in
     WHERE member_id = $1 AND business_day >= $4 AND business_day < $5 AND made_up_on IS NOT NULL) AS made_up,
    (SELECT array_agg(business_day) FROM protected_day
     WHERE member_id = $1 AND business_day >= $4 AND business_day < $5) AS protected,
    latest.cycle_started_on, begun.id AS begun_id, begun.version AS begun_version,
    begun.definition::text AS begun_definition, newest.id, newest.version, newest.definition::text
FROM member
LEFT JOIN LATERAL (
    SELECT cycle_started_on, version_id FROM check_in WHERE member_id = $1 ORDER BY business_day DESC LIMIT 1
) latest ON true
LEFT JOIN programme_version begun ON begun.id = latest.version_id
JOIN LATERAL (
    SELECT id, version, definition FROM programme_version WHERE kind = 'check_in' AND effective_at <= $6
    ORDER BY effective_at DESC, version DESC LIMIT 1
) newest ON true
WHERE member.id = $1
"""

_RUN = """
SELECT business_day, total_days, rewards::text, offset_points, offset_growth FROM check_in
WHERE member_id = $1 AND total_days > coalesce((
    SELECT total_days - streak_days FROM check_in WHERE member_id = $1 AND business_day < $2
    ORDER BY business_day DESC LIMIT 1
), 0) ORDER BY business_day
"""

_SHIFT = """
UPDATE check_in SET total_days = total_days + 1,
    streak_days = streak_days + CASE WHEN business_day = ANY($3::date[]) THEN $4 ELSE 0 END
WHERE member_id = $1 AND business_day > $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A month, and how many days may still be made up in the month of today by the rules of today."""

    days: Sequence[CalendarDay]
    make_ups_left: int


async def calendar(deps: Deps, *, member_id: UUID, month: date | None) -> Calendar:
    """Every day of the month of ``month`` (None: the current one), in one statement."""
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    first = month_start(month or today)
    values = [member_id, month_start(today), next_month(today), first, next_month(first), now]
    found = (await rows(_MONTH, values))[0]
    newest: CheckInProgramme = read(ProgrammeKind.CHECK_IN, found).rules
    begun = _begun_with(found)
    started = found["cycle_started_on"]
    current = begun if begun is not None and in_cycle(begun, started, today) else newest
    marks = dict.fromkeys(found["protected"] or (), DayMark.PROTECTED)
    marks |= dict.fromkeys(found["checked"] or (), DayMark.CHECKED)
    marks |= dict.fromkeys(found["made_up"] or (), DayMark.MADE_UP)

    def by(rules: CheckInProgramme) -> Sequence[CalendarDay]:
        return month_calendar(
            rules,
            month=first,
            today=today,
            joined_on=business_day(found["created_at"], deps.zone),
            marks=marks,
            made_up_count=found["made_up_count"],
        )

    days = by(current)
    if begun is not None and begun != current:
        days = [old if in_cycle(begun, started, old.day) else new for old, new in zip(by(begun), days, strict=True)]
    left = current.make_up.monthly_limit - found["made_up_count"] if current.make_up else 0
    return Calendar(days=days, make_ups_left=max(0, left))


def _begun_with(found: dict[str, Any]) -> CheckInProgramme | None:
    if found["begun_id"] is None:
        return None
    row = {name: found[f"begun_{name}"] for name in ("id", "version", "definition")}
    rules: CheckInProgramme = read(ProgrammeKind.CHECK_IN, row).rules
    return rules


@retried
async def make_up_day(deps: Deps, *, member_id: UUID, day: date, idempotency_key: str) -> CheckIn:
    """Check in for a missed ``day`` afterwards: its price is paid, the streak repaired, what is owed credited.

    The row of the member and day is the gate, as it is for a check-in.

    Raises:
        MakeUpNotOffered, MakeUpOutOfWindow, AlreadyCheckedIn, MakeUpLimitReached: in this order.
        PointsShort: the price cannot be paid.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    content = {"day": day.isoformat()}
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="checkInMakeUp", content=content)
        if before is not None:
            return await CheckIn.get(id=UUID(before["check_in_id"]))
        in_force = await all_in_force(now)
        facts = await facts_on(member_id, today, in_force.check_in)
        programme = facts.programme_of(day)
        outcome, place = await _decide(deps, member_id, facts, day=day, today=today)
        row = CheckIn(
            id=new_id(now),
            member_id=member_id,
            business_day=day,
            cycle_started_on=outcome.cycle_started_on,
            cycle_day=outcome.cycle_day,
            streak_days=outcome.streak_days,
            total_days=place,
            points=await points.within_caps(member_id, in_force.points.rules, outcome.points, now=now, zone=deps.zone),
            growth=outcome.growth,
            version_id=programme.version_id,
            rewards=kept_rewards(outcome.rewards),
            made_up_on=today,
            price_points=outcome.price_points,
            offset_points=outcome.offset_points,
            offset_growth=outcome.offset_growth,
            at=now,
        )
        await changed(_SHIFT, [member_id, day, list(outcome.later_days), outcome.shift])
        await pass_gate(row)
        if row.price_points:
            await points.spend(
                member_id,
                amount=row.price_points,
                cause_kind="check_in",
                cause_id=row.id,
                key=f"make_up:{day.isoformat()}",
                now=now,
                version_id=in_force.points.version_id,
            )
        await pay(row, in_force, zone=deps.zone)
        await remember(
            member_id,
            key=idempotency_key,
            operation="checkInMakeUp",
            content=content,
            result={"check_in_id": str(row.id)},
            now=now,
        )
        return row


async def _decide(deps: Deps, member_id: UUID, facts: Facts, *, day: date, today: date) -> tuple[MakeUpOutcome, int]:
    """The rule's answer, and how many check-ins the member has up to ``day`` with it."""
    run = await rows(_RUN, [member_id, day])
    first = min([day, *(row["business_day"] for row in run)])
    covered = await rows(
        "SELECT business_day FROM protected_day WHERE member_id = $1 AND business_day >= $2", [member_id, first]
    )
    made_up = await rows(_MADE_UP, [member_id, month_start(today), next_month(today)])
    joined = await rows("SELECT created_at FROM member WHERE id = $1", [member_id])
    last = facts.last
    in_latest_or_before = last is not None and (
        day < last.cycle_started_on or facts.programme_of(day) is facts.begun_with
    )
    outcome = make_up(
        facts.programme_of(day).rules,
        day=day,
        today=today,
        joined_on=business_day(joined[0]["created_at"], deps.zone),
        checked={row["business_day"] for row in run},
        protected={row["business_day"] for row in covered},
        total_days=last.total_days if last else 0,
        cycle_started_on=last.cycle_started_on if last and in_latest_or_before else None,
        paid_streaks={row["business_day"]: _streak_rewards(row["rewards"]) for row in run},
        made_up_count=made_up[0]["count"],
        offsets={row["business_day"]: (row["offset_points"], row["offset_growth"]) for row in run},
    )
    return outcome, 1 + max((row["total_days"] for row in run if row["business_day"] < day), default=0)


def _streak_rewards(kept: str) -> list[CheckInReward]:
    return [
        CheckInReward(kind=RewardKind.STREAK, days=one["days"], points=one["points"], growth=one["growth"])
        for one in orjson.loads(kept)
        if one["kind"] == RewardKind.STREAK
    ]
