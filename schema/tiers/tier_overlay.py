"""Trials 体验 and tiers set by hand 手动等级, for operators: lending, setting, taking back, looking back."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.tiers.tier_overlay import MAX_TRIAL_DAYS
from models.tiers.tier import TierOverlay as TierOverlayRow
from resolvers.tiers import tier_overlay as verbs
from schema.arguments import Key
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_operator
from schema.refusal import SimpleRefusal


@strawberry.type(description="A tier that was lent to a member, or set by hand, over the member's own tier.")
class TierOverlay:
    """What, when, why and by whom."""

    id: UUID = strawberry.field(description="The id.")
    member_id: UUID = strawberry.field(description="Whose tier.")
    tier_code: str = strawberry.field(description="The tier that it gives.")
    manual: bool = strawberry.field(description="Whether it was set by hand; if not, it is a trial.")
    starts_at: datetime = strawberry.field(description="From this instant on it applies.")
    ends_at: datetime | None = strawberry.field(
        description="From this instant on it no longer applies; null: until it is taken back."
    )
    reason: str = strawberry.field(description="Why; empty for a trial that an exchange or the like brought.")
    operator_id: UUID | None = strawberry.field(description="Who did it; null for a trial that nobody granted by hand.")
    cause_kind: str = strawberry.field(description="What brought it: `operator`, or the kind of what was exchanged.")
    cause_id: UUID = strawberry.field(description="The id of what brought it.")
    version_id: UUID = strawberry.field(description="The version of the tier table under which it was given.")
    created_at: datetime = strawberry.field(description="When it was given.")

    @classmethod
    def from_row(cls, row: TierOverlayRow) -> "TierOverlay":
        """An overlay as it is kept."""
        return cls(
            id=row.id,
            member_id=row.member_id,
            tier_code=row.tier_code,
            manual=row.manual,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            reason=row.reason,
            operator_id=row.operator_id,
            cause_kind=row.cause_kind,
            cause_id=row.cause_id,
            version_id=row.version_id,
            created_at=row.created_at,
        )


@strawberry.type(description="The member has the tier for some days.")
class TierTrialGranted:
    """Success of tierTrialGrant."""

    overlay: TierOverlay = strawberry.field(description="The trial.")


@strawberry.type(description="The member's tier is set by hand.")
class MemberTierSet:
    """Success of memberTierSet."""

    overlay: TierOverlay = strawberry.field(description="The tier that was set.")


@strawberry.type(description="The tier that was set by hand is taken back.")
class MemberTierReleased:
    """Success of memberTierRelease."""

    overlay: TierOverlay = strawberry.field(description="What was taken back, with its end.")


TierTrialGrantResult = Annotated[
    TierTrialGranted | SimpleRefusal,
    strawberry.union("TierTrialGrantResult", description="The trial, or why there is none."),
]
MemberTierSetResult = Annotated[
    MemberTierSet | SimpleRefusal,
    strawberry.union("MemberTierSetResult", description="The tier that was set, or why it was not."),
]
MemberTierReleaseResult = Annotated[
    MemberTierReleased | SimpleRefusal,
    strawberry.union("MemberTierReleaseResult", description="What was taken back, or why nothing was."),
]

MemberId = Annotated[UUID, strawberry.argument(description="The member's id.")]
TierCode = Annotated[str, strawberry.argument(description="The code of a tier of the table in force.")]
Why = Annotated[str, strawberry.argument(description="Why, 1 to 200 characters; kept and audited.")]


@strawberry.type
class OperatorQuery:
    """Looking back."""

    @strawberry.field(
        description="A member's trials and tiers set by hand, newest first, ended and coming ones included.",
        extensions=[Needs(Right.MEMBER_READ)],
    )
    async def tier_overlays(
        self, info: Info, member_id: MemberId, first: First = 20, after: After = None
    ) -> Connection[TierOverlay]:
        """One page; empty for an unknown member."""
        found = await verbs.history(info.context.deps, member_id=member_id, page=page(verbs.NEWEST, first, after))
        return connection(found, TierOverlay.from_row)


@strawberry.type
class OperatorMutation:
    """What an operator does to one member's tier."""

    @strawberry.mutation(
        description="Lend a member a tier above their own for so many days of 24 hours. A further trial of the same "
        "tier starts when the first ends.",
        extensions=[Needs(Right.TIER_OVERRIDE)],
    )
    async def tier_trial_grant(
        self,
        info: Info,
        member_id: MemberId,
        tier_code: TierCode,
        days: Annotated[int, strawberry.argument(description=f"1 to {MAX_TRIAL_DAYS} days.")],
        reason: Why,
        idempotency_key: Key,
    ) -> TierTrialGrantResult:
        """It ends by itself."""
        row = await verbs.lend(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            member_id=member_id,
            tier_code=tier_code,
            days=days,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return TierTrialGranted(overlay=TierOverlay.from_row(row))

    @strawberry.mutation(
        description="Set a member's tier by hand, higher or lower than their own, which goes on beneath it. A tier "
        "that was set before ends now.",
        extensions=[Needs(Right.TIER_OVERRIDE)],
    )
    async def member_tier_set(
        self,
        info: Info,
        member_id: MemberId,
        tier_code: TierCode,
        reason: Why,
        idempotency_key: Key,
        ends_at: Annotated[
            datetime | None,
            strawberry.argument(
                description="From this instant on it no longer applies; until it is taken back, if null."
            ),
        ] = None,
    ) -> MemberTierSetResult:
        """With a reason."""
        row = await verbs.set_override(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            member_id=member_id,
            tier_code=tier_code,
            reason=reason,
            ends_at=ends_at,
            idempotency_key=idempotency_key,
        )
        return MemberTierSet(overlay=TierOverlay.from_row(row))

    @strawberry.mutation(
        description="Take back the tier that was set by hand: what the member has otherwise applies at once.",
        extensions=[Needs(Right.TIER_OVERRIDE)],
    )
    async def member_tier_release(
        self, info: Info, member_id: MemberId, reason: Why, idempotency_key: Key
    ) -> MemberTierReleaseResult:
        """With a reason as well."""
        row = await verbs.end_override(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            member_id=member_id,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return MemberTierReleased(overlay=TierOverlay.from_row(row))
