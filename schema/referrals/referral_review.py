"""Referral as operators see it: what is suspicious, deciding it, and the stop."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.referrals import referral as rule
from loyalty.referrals.referral import MAX_NOTE_LENGTH
from loyalty.referrals.referral_programme import Side, Stage
from loyalty.referrals.referral_risk import RiskSignal
from models.referrals.referral import ReferralReward as ReferralRewardRow
from models.referrals.referral import ReferralSwitch as ReferralSwitchRow
from resolvers.referrals import referral_review as verbs
from resolvers.referrals.referral_reward import risk_of
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import IdempotencyKey, Points


@strawberry.type(description="One signal that was seen, and what it added to the score.")
class ReferralEvidence:
    """One piece of evidence."""

    signal: RiskSignal = strawberry.field(description="What was seen.")
    weight: int = strawberry.field(description="What it added, 1 to 100.")
    figure: int = strawberry.field(description="The figure behind it; 1 where it is only yes or no.")


@strawberry.type(description="A reward that was looked at for risk.")
class ReferralReview:
    """One reward with its evidence."""

    id: UUID = strawberry.field(description="The reward's id.")
    member_id: UUID = strawberry.field(description="Who would be paid.")
    stage: Stage = strawberry.field(description="For which result.")
    side: Side = strawberry.field(description="As whom.")
    points: Points = strawberry.field(description="Points, 0 or more.")
    growth: Points = strawberry.field(description="Growth value, 0 or more.")
    state: rule.ReferralState = strawberry.field(description="Where it stands.")
    reason: rule.RejectReason | None = strawberry.field(description="Why, if it was rejected or clawed back.")
    needs_review: bool = strawberry.field(description="Whether it waits for a person.")
    risk_score: int = strawberry.field(description="0 to 100.")
    evidence: list[ReferralEvidence] = strawberry.field(description="What makes the score, the heaviest first.")
    held_until: datetime | None = strawberry.field(description="When the return window ends.")
    reviewed_by_id: UUID | None = strawberry.field(description="The operator who decided it.")
    reviewed_at: datetime | None = strawberry.field(description="When it was decided.")
    review_note: str = strawberry.field(description="What that operator noted; empty before.")
    referral_id: strawberry.Private[UUID]

    @strawberry.field(description="The member who invited.")
    async def inviter_id(self, info: Info) -> UUID:
        row = await info.context.loaders.load(verbs.by_ids, self.referral_id)
        assert row is not None, "a reward has its referral"
        return row.inviter_id

    @strawberry.field(description="The friend.")
    async def invitee_id(self, info: Info) -> UUID:
        row = await info.context.loaders.load(verbs.by_ids, self.referral_id)
        assert row is not None, "a reward has its referral"
        return row.invitee_id

    @strawberry.field(description="The friend's order that counted; null for a registration.")
    async def order_id(self, info: Info) -> UUID | None:
        row = await info.context.loaders.load(verbs.by_ids, self.referral_id)
        return row.order_id if row and self.stage is Stage.FIRST_ORDER else None

    @classmethod
    def from_row(cls, row: ReferralRewardRow) -> "ReferralReview":
        risk = risk_of(row)
        return cls(
            id=row.id,
            member_id=row.member_id,
            stage=Stage(row.stage),
            side=Side(row.side),
            points=Points(row.points),
            growth=Points(row.growth),
            state=rule.ReferralState(row.state),
            reason=rule.RejectReason(row.reason) if row.reason else None,
            needs_review=row.needs_review,
            risk_score=risk.score,
            evidence=[
                ReferralEvidence(signal=one.signal, weight=one.weight, figure=one.figure) for one in risk.evidence
            ],
            held_until=row.held_until,
            reviewed_by_id=row.reviewed_by_id,
            reviewed_at=row.reviewed_at,
            review_note=row.review_note,
            referral_id=row.referral_id,
        )


@strawberry.type(description="Whether referral runs, and who said so last.")
class ReferralSwitch:
    """The last word."""

    is_running: bool = strawberry.field(description="False: nobody is bound and nothing is paid.")
    reason: str = strawberry.field(description="Why; empty if nobody ever stopped it.")
    operator_id: UUID | None = strawberry.field(description="Who said so; null if nobody ever stopped it.")
    at: datetime | None = strawberry.field(description="When; null if nobody ever stopped it.")

    @classmethod
    def from_row(cls, row: ReferralSwitchRow | None) -> "ReferralSwitch":
        if row is None:
            return cls(is_running=True, reason="", operator_id=None, at=None)
        return cls(is_running=row.running, reason=row.reason, operator_id=row.operator_id, at=row.at)


@refusal_type(rule.ReferralReviewRefused)
@strawberry.type(name="ReferralReviewRefused", description="The reward does not wait for a review.")
class ReferralReviewRefusal(Refusal):
    """Nothing to decide."""

    state: str = strawberry.field(description="The reward's state, in lower case.")


@strawberry.type(description="The reward was decided.")
class ReferralRewardReviewed:
    """Success of approving and rejecting."""

    reward: ReferralReview = strawberry.field(description="The reward as it stands now; approved ones may be paid.")


@strawberry.type(description="Referral was stopped or goes on.")
class ReferralSwitched:
    """Success of referralSwitch."""

    switch: ReferralSwitch = strawberry.field(description="The last word.")


ReferralRewardReviewResult = Annotated[
    ReferralRewardReviewed | ReferralReviewRefusal | SimpleRefusal,
    strawberry.union("ReferralRewardReviewResult", description="The reward, or why it was not decided."),
]
ReferralSwitchResult = Annotated[
    ReferralSwitched | SimpleRefusal,
    strawberry.union("ReferralSwitchResult", description="The last word, or REFERRAL_NOTE_INVALID."),
]

RewardId = Annotated[UUID, strawberry.argument(description="The reward.")]
Why = Annotated[str, strawberry.argument(description=f"Why, in 1 to {MAX_NOTE_LENGTH} characters; for the record.")]
Key = Annotated[IdempotencyKey, strawberry.argument(description="Of this decision.")]


@strawberry.type
class OperatorQuery:
    """What waits, and whether it runs."""

    @strawberry.field(
        description="Rewards that wait for a person, the longest waiting first.",
        extensions=[Needs(Right.REFERRAL_READ)],
    )
    async def referral_reviews(self, info: Info, first: First = 20, after: After = None) -> Connection[ReferralReview]:
        """One page."""
        found = await verbs.queue(info.context.deps, page=page(verbs.OLDEST, first, after))
        return connection(found, ReferralReview.from_row)

    @strawberry.field(description="Whether referral runs.", extensions=[Needs(Right.REFERRAL_READ)])
    async def referral_switch(self, info: Info) -> ReferralSwitch:
        """The last word."""
        return ReferralSwitch.from_row(await verbs.latest_switch())


@strawberry.type
class OperatorMutation:
    """Deciding and stopping."""

    @strawberry.mutation(
        description="Let a suspicious reward pass. It is paid once its return window is over, within the limits.",
        extensions=[Needs(Right.REFERRAL_REVIEW)],
    )
    async def referral_reward_approve(
        self, info: Info, reward_id: RewardId, note: Why, idempotency_key: Key
    ) -> ReferralRewardReviewResult:
        """A person's yes."""
        row = await verbs.approve(
            info.context.deps,
            operator_id=require_right(info, Right.REFERRAL_REVIEW).subject_id,
            reward_id=reward_id,
            note=note,
            idempotency_key=idempotency_key,
        )
        return ReferralRewardReviewed(reward=ReferralReview.from_row(row))

    @strawberry.mutation(description="Reject a suspicious reward for good.", extensions=[Needs(Right.REFERRAL_REVIEW)])
    async def referral_reward_reject(
        self,
        info: Info,
        reward_id: RewardId,
        reason: Annotated[rule.RejectReason, strawberry.argument(description="The reason as a code.")],
        note: Why,
        idempotency_key: Key,
    ) -> ReferralRewardReviewResult:
        """A person's no."""
        row = await verbs.reject(
            info.context.deps,
            operator_id=require_right(info, Right.REFERRAL_REVIEW).subject_id,
            reward_id=reward_id,
            reason=reason,
            note=note,
            idempotency_key=idempotency_key,
        )
        return ReferralRewardReviewed(reward=ReferralReview.from_row(row))

    @strawberry.mutation(
        description="Stop referral at once, or let it go on. While it stands nobody is bound and nothing is paid; "
        "refunds are still taken back.",
        extensions=[Needs(Right.REFERRAL_PUBLISH)],
    )
    async def referral_switch(
        self,
        info: Info,
        is_running: Annotated[bool, strawberry.argument(description="False to stop it, true to let it go on.")],
        reason: Why,
        idempotency_key: Key,
    ) -> ReferralSwitchResult:
        """The emergency stop."""
        row = await verbs.switch(
            info.context.deps,
            operator_id=require_right(info, Right.REFERRAL_PUBLISH).subject_id,
            running=is_running,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return ReferralSwitched(switch=ReferralSwitch.from_row(row))
