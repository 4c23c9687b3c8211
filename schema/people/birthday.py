"""Birthday gifts, for the operators who hand over what is not points."""

from datetime import date
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.people.birthday import Birthday as BirthdayRow
from resolvers.people import birthday as verbs
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.scalars import Points


@strawberry.type(description="A birthday gift 生日礼 that a member's tier gave.")
class GivenBirthdayGift:
    """One gift."""

    id: UUID = strawberry.field(description="Opaque id.")
    member_id: UUID = strawberry.field(description="Whose birthday it is.")
    business_day: date = strawberry.field(description="The shop day.")
    tier_code: str = strawberry.field(description="The tier that gave it.")
    points: Points = strawberry.field(description="Points, booked already; 0 when the gift is not points.")
    gift_code: str | None = strawberry.field(description="The gift to hand over, if it is not points.")
    coupon_count: int = strawberry.field(description="Coupons, given already.")
    coupon_refusal: str | None = strawberry.field(
        description="The code of why not all coupons of the tier were given; null if they were."
    )

    @classmethod
    def from_row(cls, row: BirthdayRow) -> "GivenBirthdayGift":
        return cls(
            id=row.id,
            member_id=row.member_id,
            business_day=row.business_day,
            tier_code=row.tier_code,
            points=Points(row.points),
            gift_code=row.gift_code or None,
            coupon_count=row.coupon_count,
            coupon_refusal=row.coupon_refusal or None,
        )


@strawberry.type
class OperatorQuery:
    """Gifts given."""

    @strawberry.field(description="Birthday gifts, newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def birthday_gifts(self, info: Info, first: First = 20, after: After = None) -> Connection[GivenBirthdayGift]:
        found = await verbs.gifts(page=page(verbs.NEWEST, first, after))
        return connection(found, GivenBirthdayGift.from_row)
