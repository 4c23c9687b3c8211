"""Making up a missed day 补签."""

from datetime import date
from typing import Annotated

import strawberry

from loyalty.points import check_in_make_up as rule
from resolvers.points.check_in_calendar import make_up_day
from schema.context import Info
from schema.orders.order_refusal import PointsShortRefusal
from schema.permissions import ForMembers, require_member
from schema.points.check_in import AlreadyCheckedInRefusal, CheckIn
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import IdempotencyKey


@refusal_type(rule.MakeUpOutOfWindow)
@strawberry.type(name="MakeUpOutOfWindow", description="The day lies outside the window, or before joining.")
class MakeUpOutOfWindowRefusal(Refusal):
    """Names the window."""

    first: str = strawberry.field(description="The first day that can be made up, `YYYY-MM-DD`.")
    last: str = strawberry.field(description="The last such day, yesterday, `YYYY-MM-DD`.")


@refusal_type(rule.MakeUpLimitReached)
@strawberry.type(name="MakeUpLimitReached", description="The make-ups of this month are used up.")
class MakeUpLimitReachedRefusal(Refusal):
    """Names the limit."""

    limit: int = strawberry.field(description="So many a month.")


@strawberry.type(description="The day was made up.")
class CheckInMadeUp:
    """What it cost and paid."""

    check_in: CheckIn = strawberry.field(description="The day, as if it had been checked in.")


CheckInMakeUpResult = Annotated[
    CheckInMadeUp
    | AlreadyCheckedInRefusal
    | MakeUpOutOfWindowRefusal
    | MakeUpLimitReachedRefusal
    | PointsShortRefusal
    | SimpleRefusal,
    strawberry.union("CheckInMakeUpResult", description="The day, or why it was not made up."),
]


@strawberry.type
class ShopMutation:
    """What members do."""

    @strawberry.mutation(
        description="Make up a missed day: pay its price in points, repair the streak, and be credited what is owed.",
        extensions=[ForMembers()],
    )
    async def check_in_make_up(
        self,
        info: Info,
        day: Annotated[date, strawberry.argument(description="The shop's day that was missed.")],
        idempotency_key: Annotated[IdempotencyKey, strawberry.argument(description="Of this make-up.")],
    ) -> CheckInMakeUpResult:
        """One day."""
        row = await make_up_day(
            info.context.deps, member_id=require_member(info), day=day, idempotency_key=idempotency_key
        )
        return CheckInMadeUp(check_in=CheckIn.from_row(row))
