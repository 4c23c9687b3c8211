"""What is on its way to a member: the state of the goods and the parcels."""

from datetime import datetime
from uuid import UUID

import strawberry

from loyalty.delivery.fulfilment import FulfilmentState
from models.delivery.fulfilment import Parcel as ParcelRow
from models.delivery.fulfilment import ParcelLine as ParcelLineRow
from resolvers.delivery import parcel as verbs
from schema.context import Info
from schema.enums import describe

describe(
    FulfilmentState,
    "How far the goods of an order have come 履约状态, apart from its payment.",
    {
        FulfilmentState.NONE: "Nothing is on its way: not paid, or an order without goods, or all of it was refunded.",
        FulfilmentState.TO_SHIP: "Paid, nothing is sent yet 待发货.",
        FulfilmentState.PARTLY_SHIPPED: "Some of it is sent 部分发货.",
        FulfilmentState.SHIPPED: "All of it is sent 已发货.",
        FulfilmentState.TO_PICK_UP: "It waits, or is being made ready, at the pick-up point 待自提.",
        FulfilmentState.RECEIVED: "The member has it 已收货.",
    },
)


@strawberry.type(description="So many pieces of an order line in a parcel.")
class ParcelLine:
    """One line of a parcel."""

    line_id: UUID = strawberry.field(description="The order line.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 999.")

    @classmethod
    def from_row(cls, row: ParcelLineRow) -> "ParcelLine":
        return cls(line_id=row.order_line_id, quantity=row.quantity)


@strawberry.type(description="Something sent under a tracking number 包裹.")
class Parcel:
    """One parcel."""

    id: UUID = strawberry.field(description="Opaque id.")
    carrier: str = strawberry.field(description="The carrier by WeChat's `delivery_id`, such as SF.")
    tracking_number: str = strawberry.field(description="The tracking number, 4 to 64 characters.")
    sent_at: datetime = strawberry.field(description="When it was sent.")
    voided_at: datetime | None = strawberry.field(
        description="When it turned out that it was not sent; an order does not list such parcels."
    )

    @strawberry.field(description="What is in it, 1 to 50 lines.")
    async def lines(self, info: Info) -> list[ParcelLine]:
        """The pieces."""
        found = await info.context.loaders.load(verbs.lines_by_parcel, self.id)
        return [ParcelLine.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: ParcelRow) -> "Parcel":
        return cls(
            id=row.id,
            carrier=row.carrier,
            tracking_number=row.tracking_number,
            sent_at=row.sent_at,
            voided_at=row.voided_at,
        )
