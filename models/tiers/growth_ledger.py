"""The only writer of growth values and tiers. Everything here runs in a transaction that holds the lock of the member.

The membership row is the cache of the ledger. One statement changes the cache and appends the entry, so that ``seq``
has no gap and the sum is exact whatever runs beside it; a growth value below 0 fails the transaction (check).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.tiers.tier import GrowthEntryKind, GrowthLine, TierChangeReason, left_of_cause
from models.engine import in_transaction, rows
from models.ids import new_id
from models.tiers import tier
from models.tiers.tier import GrowthEntry

_APPEND = """
WITH moved AS (
    UPDATE membership SET growth_value = growth_value + $4, seq = seq + 1
    WHERE member_id = $2 AND NOT EXISTS (SELECT 1 FROM growth_entry WHERE member_id = $2 AND key = $7)
    RETURNING growth_value, seq
)
INSERT INTO growth_entry (id, member_id, seq, kind, amount, balance_after, cause_kind, cause_id, key, at, version_id)
SELECT $1, $2, seq, $3, $4, growth_value, $5, $6, $7, $8, $9 FROM moved
RETURNING id, seq, balance_after
"""

_LINES = """
SELECT cause_id, amount, kind FROM growth_entry WHERE member_id = $1 ORDER BY seq
"""

_OWN_CHANGES = """
SELECT change.to_code, change.reason, (change.inputs->>'threshold')::bigint AS threshold,
    (change.inputs->>'growth')::bigint + COALESCE((
        SELECT sum(back.amount) FROM growth_entry back
        WHERE back.member_id = change.member_id AND back.kind = 'earn_reversal' AND back.seq > change.growth_seq
        AND EXISTS (
            SELECT 1 FROM growth_entry earned
            WHERE earned.member_id = back.member_id AND earned.cause_id = back.cause_id
            AND earned.kind IN ('earn', 'referral') AND earned.seq <= change.growth_seq
        )
    ), 0)::bigint AS backing
FROM tier_change change
WHERE change.member_id = $1 AND change.reason IN ('growth', 'table_published', 'period_end', 'period_kept')
ORDER BY change.growth_seq, change.id
"""


async def append(
    member_id: UUID,
    *,
    amount: int,
    kind: GrowthEntryKind,
    cause_kind: str,
    cause_id: UUID,
    key: str,
    at: datetime,
    version_id: UUID,
) -> GrowthEntry | None:
    """Write one entry and move the growth value with it; None when the key has its entry already.

    Raises:
        IntegrityError: the growth value would fall below 0.
    """
    assert in_transaction(), "the ledger is written under the member's lock"
    written = await rows(_APPEND, [new_id(at), member_id, kind, amount, cause_kind, cause_id, key, at, version_id])
    if not written:
        return None
    return GrowthEntry(
        id=written[0]["id"],
        member_id=member_id,
        seq=written[0]["seq"],
        kind=kind,
        amount=amount,
        balance_after=written[0]["balance_after"],
        cause_kind=cause_kind,
        cause_id=cause_id,
        key=key,
        at=at,
        version_id=version_id,
    )


async def left_of(member_id: UUID, cause_id: UUID) -> int:
    """What is left of what a cause gave: less what was taken back, and what ends of keep periods took."""
    lines = [
        GrowthLine(row["cause_id"], row["amount"], GrowthEntryKind(row["kind"]))
        for row in await rows(_LINES, [member_id])
    ]
    return left_of_cause(lines, cause_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnChange:
    """A change of the member's own tier by growth, a new table or a period's end.

    ``threshold`` is what the tier asked for then; ``backing`` is the growth value that decided it, less what refunds
    have since taken from the entries that it counted.
    """

    to_code: str
    reason: TierChangeReason
    threshold: int
    backing: int


async def own_changes(member_id: UUID) -> Sequence[OwnChange]:
    """All of them, the oldest first."""
    return [
        OwnChange(
            to_code=row["to_code"],
            reason=TierChangeReason(row["reason"]),
            threshold=row["threshold"],
            backing=row["backing"],
        )
        for row in await rows(_OWN_CHANGES, [member_id])
    ]


async def change_tier(
    member_id: UUID,
    *,
    from_code: str,
    to_code: str,
    reason: TierChangeReason,
    inputs: dict[str, object],
    keep_until: datetime | None,
    version_id: UUID,
    at: datetime,
    change_id: UUID | None = None,
) -> tier.TierChange:
    """Give the member another tier of their own, with a keep period of its own, and write down why."""
    assert in_transaction(), "tiers change under the member's lock"
    found = await rows(
        "UPDATE membership SET tier_code = $3, tier_since = $4, keep_until = $5, keep_due_at = $5, keep_seq = seq "
        "WHERE member_id = $1 AND tier_code = $2 RETURNING seq",
        [member_id, from_code, to_code, at, keep_until],
    )
    assert found, f"the member is not in the tier {from_code}"
    return await tier.TierChange.create(
        id=change_id or new_id(at),
        member_id=member_id,
        from_code=from_code,
        to_code=to_code,
        reason=reason,
        growth_seq=found[0]["seq"],
        inputs=inputs,
        version_id=version_id,
        at=at,
    )
