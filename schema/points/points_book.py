"""The end of points for members, and the points book for operators and finance."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.points.points import PointsNotice as PointsNoticeRow
from resolvers.points import points_book as verbs
from resolvers.points import points_expiry as expiry_verbs
from schema.arguments import Key
from schema.context import Info
from schema.errors import BadInput
from schema.orders.order_refusal import PointsShortRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForMembers, Needs, require_member, require_operator
from schema.points.points import PointsEntry
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points


@strawberry.type(description="Points with the same last usable day.")
class PointsExpiryDay:
    """One day of the expiry calendar."""

    last_usable_on: date = strawberry.field(description="The last shop day on which they can be used.")
    points: Points = strawberry.field(description="How many, without what open orders hold; pending ones counted.")


@strawberry.type(description="The member was told that points are about to end, 30, 7 and 1 days before.")
class PointsExpiryNotice:
    """One notice."""

    points: Points = strawberry.field(description="How many, as they were that day.")
    ends_at: datetime = strawberry.field(description="From this instant on they cannot be used.")
    days_before: int = strawberry.field(description="30, 7 or 1.")
    at: datetime = strawberry.field(description="When the notice was given.")

    @classmethod
    def from_row(cls, row: PointsNoticeRow) -> "PointsExpiryNotice":
        return cls(points=Points(row.points), ends_at=row.ends_at, days_before=row.days_before, at=row.at)


@strawberry.type(description="What the shop owes in points that end in one month, to members of one tier.")
class PointsLiability:
    """One row of the book."""

    month: date | None = strawberry.field(description="The month's first day; null for points that never end.")
    tier_code: str = strawberry.field(description="The members' own tier.")
    members: int = strawberry.field(description="How many members hold them.")
    points: Points = strawberry.field(description="Points outstanding, held and pending ones included.")
    held: Points = strawberry.field(description="Of these, promised to open orders.")
    pending: Points = strawberry.field(description="Of these, not usable yet.")
    worth: Fen = strawberry.field(description="What they buy at the exchange rate in force, in fen, rounded down.")

    @classmethod
    def from_row(cls, row: verbs.LiabilityRow) -> "PointsLiability":
        return cls(
            month=row.month,
            tier_code=row.tier_code,
            members=row.members,
            points=Points(row.points),
            held=Points(row.held),
            pending=Points(row.pending),
            worth=Fen(row.worth_fen),
        )


@strawberry.type(description="What came into the points books in one month and what ended unused.")
class PointsBreakage:
    """One month."""

    month: date = strawberry.field(description="The month's first day.")
    earned: Points = strawberry.field(description="Earned, given and adjusted, less what refunds took back.")
    spent: Points = strawberry.field(description="Spent, less what refunds gave back.")
    expired: Points = strawberry.field(description="Ended unused.")

    @classmethod
    def from_row(cls, row: verbs.BreakageRow) -> "PointsBreakage":
        return cls(month=row.month, earned=Points(row.earned), spent=Points(row.spent), expired=Points(row.expired))


@strawberry.type(description="The entry that corrects the account.")
class PointsAdjusted:
    """Success of pointsAdjust."""

    entry: PointsEntry = strawberry.field(description="The ledger entry.")


PointsAdjustResult = Annotated[
    PointsAdjusted | PointsShortRefusal | SimpleRefusal,
    strawberry.union("PointsAdjustResult", description="The entry, or why nothing was booked."),
]


@strawberry.type
class ShopQuery:
    """When a member's points end."""

    @strawberry.field(
        description="The member's points by their last usable day, soonest first.", extensions=[ForMembers()]
    )
    async def points_expiry_calendar(self, info: Info) -> list[PointsExpiryDay]:
        found = await expiry_verbs.calendar(info.context.deps, member_id=require_member(info))
        return [PointsExpiryDay(last_usable_on=day, points=Points(points)) for day, points in found]

    @strawberry.field(
        description="What the member was told about points that end, newest first.", extensions=[ForMembers()]
    )
    async def points_expiry_notices(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[PointsExpiryNotice]:
        found = await expiry_verbs.notices_of(require_member(info), page=page(expiry_verbs.NEWEST, first, after))
        return connection(found, PointsExpiryNotice.from_row)


@strawberry.type
class OperatorQuery:
    """The points book."""

    @strawberry.field(
        description="Points outstanding by the month in which they end and tier, soonest first.",
        extensions=[Needs(Right.POINTS_READ)],
    )
    async def points_liability(self, info: Info) -> list[PointsLiability]:
        return [PointsLiability.from_row(row) for row in await verbs.liability(info.context.deps)]

    @strawberry.field(
        description="The same as CSV (RFC 4180) with a header line: month, tier_code, members, points, held, pending, "
        "worth_fen.",
        extensions=[Needs(Right.POINTS_READ)],
    )
    async def points_liability_csv(self, info: Info) -> str:
        return verbs.as_csv(await verbs.liability(info.context.deps))

    @strawberry.field(
        description="Points earned, spent and ended unused by month, oldest first.",
        extensions=[Needs(Right.POINTS_READ)],
    )
    async def points_breakage(
        self,
        info: Info,
        months: Annotated[
            int, strawberry.argument(description=f"How many months back, this one included, 1 to {verbs.MOST_MONTHS}.")
        ] = 12,
    ) -> list[PointsBreakage]:
        if not 1 <= months <= verbs.MOST_MONTHS:
            raise BadInput(
                zh=f"months 须在 1 到 {verbs.MOST_MONTHS} 之间", en=f"months must be between 1 and {verbs.MOST_MONTHS}."
            )
        return [PointsBreakage.from_row(row) for row in await verbs.breakage(info.context.deps, months=months)]


@strawberry.type
class OperatorMutation:
    """Corrections by hand."""

    @strawberry.mutation(
        description="Give a member points, or take some that can be spent; the reason is kept and audited.",
        extensions=[Needs(Right.POINTS_ADJUST)],
    )
    async def points_adjust(
        self,
        info: Info,
        member_id: Annotated[UUID, strawberry.argument(description="Whose account.")],
        amount: Annotated[
            Points, strawberry.argument(description="Points to add, or negative to take; 10,000,000 at most.")
        ],
        reason: Annotated[str, strawberry.argument(description="Why, 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> PointsAdjustResult:
        entry = await verbs.adjust(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            member_id=member_id,
            amount=amount,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return PointsAdjusted(entry=PointsEntry.from_row(entry))
