"""Checking in: once a shop day, by the version of the rules that the member's running cycle began with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any
from uuid import UUID

import orjson

from loyalty.points.check_in import (
    AlreadyCheckedIn,
    CheckInProgramme,
    CheckInReward,
    LastCheckIn,
    cycle_runs,
    next_check_in,
)
from loyalty.points.points import EntryKind
from loyalty.shop_time import add_months, business_day, month_start
from loyalty.tiers.tier import GrowthEntryKind
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.points.check_in import CheckIn, ProtectedDay
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import AllInForce, InForce, ProgrammeKind, all_in_force, read
from resolvers.replay import remember, replayed
from resolvers.tiers import growth

_LATEST = """
SELECT last.business_day, last.cycle_started_on, last.cycle_day, last.streak_days, last.total_days, last.points,
    last.growth, version.id, version.version, version.definition::text,
    (SELECT array_agg(covered.business_day) FROM protected_day covered
     WHERE covered.member_id = $1 AND covered.business_day >= $2) AS protected_days
FROM check_in last JOIN programme_version version ON version.id = last.version_id
WHERE last.member_id = $1 ORDER BY last.business_day DESC LIMIT 1
"""

_COLUMNS = (
    "id",
    "member_id",
    "business_day",
    "cycle_started_on",
    "cycle_day",
    "streak_days",
    "total_days",
    "points",
    "growth",
    "version_id",
    "rewards",
    "made_up_on",
    "price_points",
    "offset_points",
    "offset_growth",
    "at",
)

_GATE = (
    f"INSERT INTO check_in ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join(f'${place}' for place in range(1, len(_COLUMNS) + 1))}) "
    "ON CONFLICT (member_id, business_day) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at: the latest check-in, the version of its cycle, and what protection covered lately.

    ``programme`` is the version that a check-in on the day of the facts goes by.
    """

    last: LastCheckIn | None
    latest: Mapping[str, Any] | None
    begun_with: InForce[CheckInProgramme] | None
    programme: InForce[CheckInProgramme]
    protected_count: Mapping[date, int]

    def programme_of(self, day: date) -> InForce[CheckInProgramme]:
        """The version by which an earlier day goes: that of the latest cycle for its days, else that of today."""
        if self.begun_with is not None and cycle_runs(self.begun_with.rules, self.last, day):
            return self.begun_with
        return self.programme


async def facts_on(member_id: UUID, day: date, in_force: InForce[CheckInProgramme]) -> Facts:
    """The facts for a check-in on ``day``, in one statement."""
    found = await rows(_LATEST, [member_id, add_months(month_start(day), -1)])
    if not found:
        return Facts(last=None, latest=None, begun_with=None, programme=in_force, protected_count={})
    latest = found[0]
    last = LastCheckIn(
        day=latest["business_day"],
        cycle_started_on=latest["cycle_started_on"],
        streak_days=latest["streak_days"],
        total_days=latest["total_days"],
    )
    begun_with: InForce[CheckInProgramme] = read(ProgrammeKind.CHECK_IN, latest)
    return Facts(
        last=last,
        latest=latest,
        begun_with=begun_with,
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
        facts = await facts_on(member_id, day, in_force.check_in)
        outcome = next_check_in(facts.programme.rules, facts.last, day, protected_count=facts.protected_count)
        earned = await points.within_caps(member_id, in_force.points.rules, outcome.points, now=now, zone=deps.zone)
        row = CheckIn(
            id=new_id(now),
            member_id=member_id,
            business_day=day,
            cycle_started_on=outcome.cycle_started_on,
            cycle_day=outcome.cycle_day,
            streak_days=outcome.streak_days,
            total_days=outcome.total_days,
            points=earned,
            growth=outcome.growth,
            version_id=facts.programme.version_id,
            rewards=kept_rewards(outcome.rewards),
            at=now,
        )
        await pass_gate(row)
        await ProtectedDay.bulk_create(
            [
                ProtectedDay(id=new_id(now), member_id=member_id, business_day=covered, check_in_id=row.id)
                for covered in outcome.protected_days
            ]
        )
        await pay(row, in_force, zone=deps.zone)
        await remember(
            member_id,
            key=idempotency_key,
            operation="checkIn",
            content={},
            result={"check_in_id": str(row.id)},
            now=now,
        )
        return row


def kept_rewards(rewards: Sequence[CheckInReward]) -> list[dict[str, object]]:
    """Rewards as a row keeps them."""
    return [
        {"kind": reward.kind.value, "days": reward.days, "points": reward.points, "growth": reward.growth}
        for reward in rewards
    ]


async def pass_gate(row: CheckIn) -> None:
    """Insert the row of a member and day: whoever does is paid. Raises: AlreadyCheckedIn."""
    values = [getattr(row, column) for column in _COLUMNS]
    values[_COLUMNS.index("rewards")] = orjson.dumps(row.rewards).decode()
    if not await rows(_GATE, values):
        raise AlreadyCheckedIn(day=row.business_day.isoformat())


async def pay(row: CheckIn, in_force: AllInForce, *, zone: tzinfo) -> None:
    """Give what the row says; both entries are keyed by its day and name it as their cause."""
    key = f"check_in:{row.business_day.isoformat()}"
    if row.points:
        await points.credit(
            row.member_id,
            amount=row.points,
            kind=EntryKind.EARN,
            cause_kind="check_in",
            cause_id=row.id,
            key=key,
            now=row.at,
            zone=zone,
            programme=in_force.points,
        )
    await growth.grow(
        row.member_id,
        amount=row.growth,
        kind=GrowthEntryKind.CHECK_IN,
        cause_kind="check_in",
        cause_id=row.id,
        key=key,
        now=row.at,
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
    facts = await facts_on(member_id, day, in_force)
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
