"""Carrying out a decided change of a member's own tier."""

from datetime import datetime, tzinfo
from uuid import UUID

from loyalty.tiers.tier import TierChange, TierTable, period_end
from models.tiers import growth_ledger as ledger
from resolvers.programme import InForce


async def follow(
    member_id: UUID,
    change: TierChange | None,
    *,
    now: datetime,
    zone: tzinfo,
    table: InForce[TierTable],
    change_id: UUID | None = None,
    **inputs: int | str | None,
) -> None:
    """Carry out a decided change of tier, if there is one, and keep what decided it."""
    if change is None:
        return
    level = table.rules.level(change.to_code)
    await ledger.change_tier(
        member_id,
        from_code=change.from_code,
        to_code=change.to_code,
        reason=change.reason,
        inputs={"growth": change.growth, "threshold": level.threshold, **inputs},
        keep_until=period_end(level, started_at=now, zone=zone),
        version_id=table.version_id,
        at=now,
        change_id=change_id,
    )
