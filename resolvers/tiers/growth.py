"""Growth value: what settled orders and other deeds add, what refunds take back, and the tier that follows at once.

Every function runs inside the caller's transaction with the member locked; the rules are ``loyalty.tiers.tier``.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from uuid import UUID

from loyalty.tiers.tier import GrowthEntryKind, TierChangeReason, TierTable, after_growth, after_refund
from models.tiers import growth_ledger as ledger
from models.tiers.growth_ledger import OwnChange
from models.tiers.tier import GrowthEntry, Membership
from resolvers.programme import InForce
from resolvers.tiers.tier_move import follow
from resolvers.tiers.tier_period import settle_period

_PERIOD_ENDED = (TierChangeReason.PERIOD_END, TierChangeReason.PERIOD_KEPT)


async def grow(
    member_id: UUID,
    *,
    amount: int,
    kind: GrowthEntryKind,
    cause_kind: str,
    cause_id: UUID,
    key: str,
    now: datetime,
    zone: tzinfo,
    table: InForce[TierTable],
) -> GrowthEntry | None:
    """Add ``amount`` growth value (0 or more) and lift the member at once, as far as it carries.

    Returns None when nothing was added: the amount is 0, or the key has its entry already.
    """
    assert amount >= 0, f"growth of {amount}"
    if amount == 0:
        return None
    await settle_period(member_id, now=now, zone=zone)
    entry = await ledger.append(
        member_id,
        amount=amount,
        kind=kind,
        cause_kind=cause_kind,
        cause_id=cause_id,
        key=key,
        at=now,
        version_id=table.version_id,
    )
    if entry is not None:
        membership = await Membership.get(member_id=member_id)
        change = after_growth(table.rules, current_code=membership.tier_code, growth=entry.balance_after)
        await follow(member_id, change, now=now, zone=zone, table=table)
        # Growth within the grace may have saved the period that ended.
        await settle_period(member_id, now=now, zone=zone)
    return entry


async def reverse_growth(
    member_id: UUID,
    *,
    cause_id: UUID,
    key: str,
    now: datetime,
    zone: tzinfo,
    table: InForce[TierTable],
    cause_kind: str = "order",
    amount: int | None = None,
) -> GrowthEntry | None:
    """Take back what a cause earned and is left of it, or ``amount`` of that; at most what the member has.

    The tier falls only if its upgrade rested on the refunded orders. Returns None when there was nothing to take, or
    the key has its entry already.
    """
    await settle_period(member_id, now=now, zone=zone)
    membership = await Membership.get(member_id=member_id)
    left = await ledger.left_of(member_id, cause_id)
    amount = min(left if amount is None else amount, left, membership.growth_value)
    if amount <= 0:
        return None
    entry = await ledger.append(
        member_id,
        amount=-amount,
        kind=GrowthEntryKind.EARN_REVERSAL,
        cause_kind=cause_kind,
        cause_id=cause_id,
        key=key,
        at=now,
        version_id=table.version_id,
    )
    if entry is not None:
        await _fall(member_id, membership.tier_code, entry.balance_after, now=now, zone=zone, table=table)
    return entry


async def _fall(
    member_id: UUID, current_code: str, growth: int, *, now: datetime, zone: tzinfo, table: InForce[TierTable]
) -> None:
    current = table.rules.find(current_code)
    if current is None:
        return
    base, rises = _since_period(await ledger.own_changes(member_id))
    carrying = [rise.backing for rise in rises if rise.threshold >= current.threshold or rise.to_code == current_code]
    if base == current_code or not carrying:
        return
    floor_code = _highest(table.rules, [base, *(rise.to_code for rise in rises if rise.backing >= rise.threshold)])
    backing = max(carrying)
    change = after_refund(table.rules, current_code=current_code, growth=growth, backing=backing, floor_code=floor_code)
    await follow(member_id, change, now=now, zone=zone, table=table, backing=backing, floor=floor_code)


def _since_period(changes: Sequence[OwnChange]) -> tuple[str | None, Sequence[OwnChange]]:
    """The tier in which the last ended keep period left the member, and the rises since."""
    ends = [at for at, change in enumerate(changes) if change.reason in _PERIOD_ENDED]
    if not ends:
        return None, changes
    return changes[ends[-1]].to_code, changes[ends[-1] + 1 :]


def _highest(table: TierTable, codes: Sequence[str | None]) -> str | None:
    known = [code for code in codes if code is not None and table.find(code)]
    return max(known, key=table.rank, default=None)
