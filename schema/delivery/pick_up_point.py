"""Where members fetch their orders 自提点."""

from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty.delivery import pick_up as rule
from loyalty.delivery.pick_up import PickUpPlace
from loyalty.people.rights import Right
from models.delivery.fulfilment import PickUpPoint as PickUpPointRow
from resolvers.delivery import pick_up_point as verbs
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, Needs, require_right
from schema.refusal import SimpleRefusal
from schema.scalars import IdempotencyKey


@strawberry.type(description="A place where orders are picked up.")
class PickUpPoint:
    """One point as members see it."""

    id: UUID = strawberry.field(description="Opaque id; send it as `pickUpPointId`.")
    name: str = strawberry.field(description=f"Its name, up to {rule.MAX_NAME} characters.")
    address: str = strawberry.field(description=f"Its address, up to {rule.MAX_ADDRESS} characters.")
    opening_hours: str = strawberry.field(
        description=f"When it is open, in words, up to {rule.MAX_OPENING_HOURS} characters; may be empty."
    )
    phone: str = strawberry.field(description=f"Its phone, up to {rule.MAX_PHONE} characters; may be empty.")

    @classmethod
    def from_row(cls, row: PickUpPointRow) -> "PickUpPoint":
        return cls(**_fields(row))


@strawberry.type(description="A pick-up point as operators see it.")
class OperatorPickUpPoint(PickUpPoint):
    """One point, hidden or not."""

    hidden: bool = strawberry.field(description="Whether it is not offered for new orders.")

    @classmethod
    def from_row(cls, row: PickUpPointRow) -> "OperatorPickUpPoint":
        return cls(**_fields(row), hidden=row.is_hidden)


def _fields(row: PickUpPointRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "address": row.address,
        "opening_hours": row.opening_hours,
        "phone": row.phone,
    }


@strawberry.input(description="What members read about a pick-up point.")
class PickUpPointInput:
    """A place."""

    name: str = strawberry.field(description=f"Its name, 1 to {rule.MAX_NAME} characters.")
    address: str = strawberry.field(description=f"Its address, 1 to {rule.MAX_ADDRESS} characters.")
    opening_hours: str = strawberry.field(
        default="", description=f"When it is open, in words, up to {rule.MAX_OPENING_HOURS} characters."
    )
    phone: str = strawberry.field(default="", description=f"Its phone, up to {rule.MAX_PHONE} characters.")

    def place(self) -> PickUpPlace:
        """The place as the verbs take it."""
        return PickUpPlace(name=self.name, address=self.address, opening_hours=self.opening_hours, phone=self.phone)


@strawberry.type(description="The point as it is kept.")
class PickUpPointKept:
    """Success of pickUpPointCreate and pickUpPointChange."""

    point: OperatorPickUpPoint = strawberry.field(description="The point.")


PickUpPointResult = Annotated[
    PickUpPointKept | SimpleRefusal,
    strawberry.union("PickUpPointResult", description="The point, or why it was not kept."),
]
PointInput = Annotated[PickUpPointInput, strawberry.argument(description="What members read.")]
PointKey = Annotated[IdempotencyKey, strawberry.argument(description="Of this entry, made by the client.")]


@strawberry.type
class ShopQuery:
    """Points, for members."""

    @strawberry.field(description="Where orders can be picked up, newest first.", extensions=[ForEveryone()])
    async def pick_up_points(self, info: Info, first: First = 20, after: After = None) -> Connection[PickUpPoint]:
        """Those on offer."""
        found = await verbs.browse(page=page(verbs.NEWEST, first, after), hidden_too=False)
        return connection(found, PickUpPoint.from_row)


@strawberry.type
class OperatorQuery:
    """Points, for operators."""

    @strawberry.field(
        description="All pick-up points, newest first, hidden ones too.", extensions=[Needs(Right.ORDER_READ)]
    )
    async def pick_up_points(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[OperatorPickUpPoint]:
        """All of them."""
        found = await verbs.browse(page=page(verbs.NEWEST, first, after), hidden_too=True)
        return connection(found, OperatorPickUpPoint.from_row)


@strawberry.type
class OperatorMutation:
    """Keeping the list of points."""

    @strawberry.mutation(description="Open a pick-up point.", extensions=[Needs(Right.PICK_UP_WRITE)])
    async def pick_up_point_create(self, info: Info, input: PointInput, idempotency_key: PointKey) -> PickUpPointResult:
        """A new point."""
        row = await verbs.create(
            info.context.deps,
            operator_id=require_right(info, Right.PICK_UP_WRITE).subject_id,
            place=input.place(),
            idempotency_key=idempotency_key,
        )
        return PickUpPointKept(point=OperatorPickUpPoint.from_row(row))

    @strawberry.mutation(
        description="Write a pick-up point anew, and hide or show it. A hidden one still hands out what was ordered "
        "there.",
        extensions=[Needs(Right.PICK_UP_WRITE)],
    )
    async def pick_up_point_change(
        self,
        info: Info,
        point_id: Annotated[UUID, strawberry.argument(description="The point.")],
        input: PointInput,
        hidden: Annotated[bool, strawberry.argument(description="Whether it is not offered for new orders.")],
        idempotency_key: PointKey,
    ) -> PickUpPointResult:
        """The point as it is from now on."""
        row = await verbs.change(
            info.context.deps,
            operator_id=require_right(info, Right.PICK_UP_WRITE).subject_id,
            point_id=point_id,
            place=input.place(),
            is_hidden=hidden,
            idempotency_key=idempotency_key,
        )
        return PickUpPointKept(point=OperatorPickUpPoint.from_row(row))
