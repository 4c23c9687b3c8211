"""Points for deeds that the shop observes outside the store."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.points.points_action import PointsAction as PointsActionRow
from resolvers.points import points_action as verbs
from schema.context import Info
from schema.permissions import Needs, require_right
from schema.refusal import SimpleRefusal
from schema.scalars import IdempotencyKey, Points


@strawberry.type(description="A deed that was rewarded 行为奖励.")
class PointsActionDone:
    """One deed of one member."""

    id: UUID = strawberry.field(description="The id that the points entry names as its cause.")
    member_id: UUID = strawberry.field(description="Whose deed it was.")
    action_code: str = strawberry.field(description="The action of the points rules.")
    cause_id: str = strawberry.field(description="Which deed it was, as it was reported.")
    business_day: date = strawberry.field(description="The shop's day on which it counts.")
    points: Points = strawberry.field(
        description="The points that were credited; less than the rule's, even 0, at a cap."
    )
    at: datetime = strawberry.field(description="When it was rewarded.")

    @classmethod
    def from_row(cls, row: PointsActionRow) -> "PointsActionDone":
        """A deed as it is kept."""
        return cls(
            id=row.id,
            member_id=row.member_id,
            action_code=row.code,
            cause_id=row.cause,
            business_day=row.business_day,
            points=Points(row.points),
            at=row.at,
        )


@strawberry.type(description="The deed is rewarded.")
class PointsActionRewarded:
    """Success of pointsActionReward."""

    action: PointsActionDone = strawberry.field(description="The deed.")


PointsActionRewardResult = Annotated[
    PointsActionRewarded | SimpleRefusal,
    strawberry.union("PointsActionRewardResult", description="The deed, or why it earns nothing."),
]


@strawberry.type
class OperatorMutation:
    """Rewards by hand or by another system of the shop."""

    @strawberry.mutation(
        description="Reward a deed of a member, such as a review or a visit, by the points rules in force. The same "
        "deed again, whatever the key, is the same reward.",
        extensions=[Needs(Right.POINTS_REWARD)],
    )
    async def points_action_reward(
        self,
        info: Info,
        member_id: Annotated[UUID, strawberry.argument(description="Whose deed.")],
        action_code: Annotated[str, strawberry.argument(description="An action of the points rules.")],
        cause_id: Annotated[
            str,
            strawberry.argument(description="Which deed, such as a review's number: 1 to 64 visible ASCII characters."),
        ],
        idempotency_key: Annotated[IdempotencyKey, strawberry.argument(description="Of this report.")],
    ) -> PointsActionRewardResult:
        """One deed."""
        row = await verbs.reward(
            info.context.deps,
            operator_id=require_right(info, Right.POINTS_REWARD).subject_id,
            member_id=member_id,
            action_code=action_code,
            cause=cause_id,
            idempotency_key=idempotency_key,
        )
        return PointsActionRewarded(action=PointsActionDone.from_row(row))
