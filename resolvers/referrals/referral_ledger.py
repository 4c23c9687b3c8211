"""What referral gives and takes back, in points and growth value, each under a key that pays once.

Every function runs inside the caller's transaction with the member locked.
"""

from datetime import datetime

from loyalty.points.points import ClawBackMode, EntryKind
from loyalty.tiers.tier import GrowthEntryKind
from models.referrals.referral import ReferralGoal, ReferralReward
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import points_programme, tier_table
from resolvers.tiers.growth import grow, reverse_growth

REWARD = "referral"
GOAL = "referral_goal"


async def give(deps: Deps, cause_kind: str, row: ReferralReward | ReferralGoal, now: datetime) -> None:
    """Credit what a reward or goal is worth."""
    if row.points:
        await points.credit(
            row.member_id,
            amount=row.points,
            kind=EntryKind.EARN,
            cause_kind=cause_kind,
            cause_id=row.id,
            key=f"{cause_kind}:{row.id}",
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
        )
    await grow(
        row.member_id,
        amount=row.growth,
        kind=GrowthEntryKind.REFERRAL,
        cause_kind=cause_kind,
        cause_id=row.id,
        key=f"{cause_kind}:{row.id}",
        now=now,
        zone=deps.zone,
        table=await tier_table(now),
    )


async def take_back(deps: Deps, cause_kind: str, row: ReferralReward | ReferralGoal, now: datetime) -> None:
    """Take back what a reward or goal gave; points that are spent become a debt."""
    key = f"{cause_kind}:{row.id}:take_back"
    if row.points:
        await points.take_back(
            row.member_id,
            cause_kind=cause_kind,
            cause_id=row.id,
            amount=row.points,
            key=key,
            now=now,
            programme=await points_programme(now),
            mode=ClawBackMode.DEBT,
        )
    if row.growth:
        await reverse_growth(
            row.member_id,
            cause_kind=cause_kind,
            cause_id=row.id,
            key=key,
            now=now,
            zone=deps.zone,
            table=await tier_table(now),
        )


def amounts(row: ReferralReward | ReferralGoal) -> dict[str, str | int]:
    """What is given or taken, for the record of a decision."""
    return {"points": row.points, "growth": row.growth}
