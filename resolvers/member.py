"""Members: joining, what the store knows of one, and the terms that a member's tier gives."""

from datetime import datetime
from uuid import UUID

from loyalty.tier import TierChangeReason, TierLevel, TierTable, after_publish, effective
from models.engine import in_transaction
from models.ids import new_id
from models.points import PointsAccount
from models.tier import Membership, TierChange
from resolvers.programme import tier_table


async def join(member_id: UUID, *, now: datetime) -> None:
    """Give a new member the lowest tier and an empty points account, in the transaction that makes the member."""
    assert in_transaction(), "a member without an account is never seen"
    table = await tier_table(now)
    lowest = table.rules.lowest
    await Membership.create(member_id=member_id, tier_code=lowest.code, tier_since=now)
    await PointsAccount.create(member_id=member_id)
    await TierChange.create(
        id=new_id(now),
        member_id=member_id,
        from_code="",
        to_code=lowest.code,
        reason=TierChangeReason.JOINED,
        growth_seq=0,
        inputs={"growth": 0, "threshold": lowest.threshold},
        version_id=table.version_id,
        at=now,
    )


async def membership(member_id: UUID) -> Membership:
    """Where a member stands: growth value and own tier, as they were last decided."""
    return await Membership.get(member_id=member_id)


async def tier_terms(member_id: UUID, table: TierTable, now: datetime) -> TierLevel:
    """The level of ``table`` whose discount, points factor and benefits apply to the member at ``now``.

    A table that has come into force since the member was last seen counts already.
    """
    standing = await Membership.get(member_id=member_id)
    change = after_publish(table, current_code=standing.tier_code, growth=standing.growth_value)
    own_code = change.to_code if change else standing.tier_code
    return effective(table, own_code=own_code, overlays=(), now=now)
