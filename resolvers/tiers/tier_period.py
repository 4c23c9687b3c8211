"""The end of keep periods: kept for another period, saved within the grace, or one fall with its growth entry.

A period is decided as of the instant at which it was due, whenever that is carried out: the clock's sweep and the
next growth of the member both settle what is due first, so that it makes no difference which of them comes first.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from uuid import UUID

from loyalty.tiers.tier import GrowthEntryKind, PeriodOutcome, TierChangeReason, TierTable, at_period_end, period_end
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from models.tiers import growth_ledger as ledger
from models.tiers.tier import Membership, TierChange
from resolvers.deps import Deps
from resolvers.programme import InForce, tier_table
from resolvers.tiers.tier_move import follow

_GAINED = """
SELECT COALESCE(sum(amount), 0)::bigint AS amount FROM growth_entry
WHERE member_id = $1 AND seq > $2 AND at < $3 AND kind <> 'period_reset'
"""

_NEXT_PERIOD = """
UPDATE membership SET keep_until = $2, keep_due_at = $2, keep_seq = COALESCE(
    (SELECT max(seq) FROM growth_entry WHERE member_id = $1 AND seq > keep_seq AND at < $3), keep_seq)
WHERE member_id = $1 AND keep_until = $3
"""


async def settle_period(member_id: UUID, *, now: datetime, zone: tzinfo) -> int:
    """Decide what is due of the member's keep periods, one after the other; how many ended, kept or not.

    Runs in the caller's transaction with the member locked, before anything else changes the growth value.
    """
    assert in_transaction(), "a period ends under the member's lock"
    ended = 0
    while True:
        row = await Membership.get(member_id=member_id)
        if row.keep_until is None or row.keep_due_at is None or row.keep_until > now:
            return ended
        at = min(now, row.keep_due_at)
        table = await tier_table(at)
        gained = (await rows(_GAINED, [member_id, row.keep_seq, row.keep_due_at]))[0]["amount"]
        outcome = at_period_end(
            table.rules,
            current_code=row.tier_code,
            growth=row.growth_value,
            period_growth=gained,
            ended_at=row.keep_until,
            now=at,
        )
        if outcome.kept:
            await _keep(row, gained, at=at, zone=zone, table=table)
        elif outcome.change is not None:
            await _fall(row, outcome, at=at, zone=zone, table=table)
        else:
            decided_at = row.keep_until + timedelta(days=table.rules.grace_days)
            if decided_at == row.keep_due_at:
                return ended
            await changed("UPDATE membership SET keep_due_at = $2 WHERE member_id = $1", [member_id, decided_at])
            continue
        ended += 1


async def _keep(row: Membership, gained: int, *, at: datetime, zone: tzinfo, table: InForce[TierTable]) -> None:
    assert row.keep_until is not None, "a period that never ends is not kept"
    level = table.rules.find(row.tier_code)
    until = period_end(level, started_at=row.keep_until, zone=zone) if level else None
    counted = await changed(_NEXT_PERIOD, [row.member_id, until, row.keep_until])
    assert counted == 1, "a period ends once"
    if level is None:
        # The table took the tier away; what the member gets instead is decided by the table, not by the period.
        return
    await TierChange.create(
        id=new_id(at),
        member_id=row.member_id,
        from_code=row.tier_code,
        to_code=row.tier_code,
        reason=TierChangeReason.PERIOD_KEPT,
        growth_seq=row.seq,
        inputs={
            "growth": gained,
            "threshold": level.threshold,
            "keep_threshold": level.keep_threshold,
            "period_ended_at": row.keep_until.isoformat(),
            "keep_until": until.isoformat() if until else None,
        },
        version_id=table.version_id,
        at=at,
    )


async def _fall(
    row: Membership, outcome: PeriodOutcome, *, at: datetime, zone: tzinfo, table: InForce[TierTable]
) -> None:
    assert row.keep_until is not None, "only a period that ends lowers a tier"
    change_id = new_id(at)
    if outcome.growth_reset:
        entry = await ledger.append(
            row.member_id,
            amount=outcome.growth_reset,
            kind=GrowthEntryKind.PERIOD_RESET,
            cause_kind="tier_change",
            cause_id=change_id,
            key=f"period:{row.keep_until.isoformat()}",
            at=at,
            version_id=table.version_id,
        )
        assert entry is not None, "a period resets growth once"
    await follow(
        row.member_id,
        outcome.change,
        now=at,
        zone=zone,
        table=table,
        change_id=change_id,
        keep_threshold=table.rules.level(row.tier_code).keep_threshold,
        downgrade=table.rules.downgrade.value,
        grace_days=table.rules.grace_days,
        growth_before=row.growth_value,
        growth_reset=outcome.growth_reset,
        period_ended_at=row.keep_until.isoformat(),
    )


@retried
async def end_periods(deps: Deps, *, member_id: UUID) -> int:
    """Decide the keep periods of one member that are due now; how many ended. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        return await settle_period(member_id, now=now, zone=deps.zone)


async def due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Members with a keep period to be decided, the longest due first."""
    found = await rows(
        "SELECT member_id FROM membership WHERE keep_due_at <= $1 ORDER BY keep_due_at LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [row["member_id"] for row in found]
