"""After-sale requests as members make them, in the shop schema; operators see the same type with more on it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty.payments import after_sale as rule
from loyalty.payments.after_sale import SHOPS_FAULT, AfterSaleKind, AfterSaleReason, AfterSaleState
from models.payments.after_sale import AfterSale as AfterSaleRow
from models.payments.after_sale import AfterSaleLine as AfterSaleLineRow
from resolvers.payments import after_sale as verbs
from resolvers.payments import after_sale_view as views
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.orders.order import OrderId
from schema.orders.order_refusal import OrderStateRefusal
from schema.paging import After, Connection, First, connection, page
from schema.payments.refund_effect import (
    OrderRefund,
    RefundChangedRefusal,
    RefundEffect,
    RefundLineInput,
    RefundLinesRefusal,
    RefundPreviewResult,
    pieces,
)
from schema.permissions import ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type

describe(
    AfterSaleKind,
    "Whether the goods stay or go back.",
    {
        AfterSaleKind.REFUND_ONLY: "Refund only 仅退款: the member keeps what was sent.",
        AfterSaleKind.RETURN_AND_REFUND: "Return and refund 退货退款: the goods go back first.",
    },
)
describe(
    AfterSaleReason,
    "Why a member wants the money back.",
    {
        AfterSaleReason.NO_REASON: "Seven days without a reason 七天无理由.",
        AfterSaleReason.QUALITY: "The goods are faulty; the shop's fault.",
        AfterSaleReason.NOT_AS_DESCRIBED: "Not what the page says; the shop's fault.",
        AfterSaleReason.WRONG_ITEM: "Something else was sent; the shop's fault.",
        AfterSaleReason.MISSING: "Pieces are missing; the shop's fault.",
        AfterSaleReason.DAMAGED: "It arrived damaged; the shop's fault.",
        AfterSaleReason.LATE: "It was not sent in time; the shop's fault.",
        AfterSaleReason.AGREED: "Agreed with the shop.",
        AfterSaleReason.OTHER: "Another reason, in the text.",
    },
)
describe(
    AfterSaleState,
    "Where a request stands.",
    {
        AfterSaleState.REQUESTED: "The shop has not answered.",
        AfterSaleState.APPROVED: "The shop agrees; a return waits for its parcel.",
        AfterSaleState.REJECTED: "The shop refuses it, or what came back.",
        AfterSaleState.RETURNING: "The parcel is on its way back.",
        AfterSaleState.RECEIVED: "The parcel is there; the refund is about to begin.",
        AfterSaleState.REFUNDING: "The money is on its way.",
        AfterSaleState.REFUNDED: "The money is back.",
        AfterSaleState.WITHDRAWN: "The member took it back.",
        AfterSaleState.CLOSED: "No parcel came in time, or the shop refunded the order otherwise.",
    },
)


@strawberry.type(description="So many pieces of a line in a request.")
class AfterSaleLine:
    """One line."""

    line_id: UUID = strawberry.field(description="The order's line.")
    quantity: int = strawberry.field(description="How many pieces.")

    @classmethod
    def from_row(cls, row: AfterSaleLineRow) -> "AfterSaleLine":
        return cls(line_id=row.line_id, quantity=row.quantity)


@strawberry.type(description="What a member asks for after the sale.")
class AfterSale:
    """One request."""

    id: UUID = strawberry.field(description="Opaque id.")
    order_id: UUID = strawberry.field(description="The order.")
    kind: AfterSaleKind = strawberry.field(description="Whether the goods stay or go back.")
    state: AfterSaleState = strawberry.field(description="Where it stands.")
    reason: AfterSaleReason = strawberry.field(description="Why.")
    text: str = strawberry.field(description="What the member wrote, up to 200 characters.")
    pictures: list[str] = strawberry.field(description="Addresses of up to 9 pictures, https.")
    requested_at: datetime = strawberry.field(description="When it was made.")
    answer_by: datetime = strawberry.field(description="When the shop should have answered.")
    decision: str = strawberry.field(description="What the shop wrote, up to 200 characters; empty if nothing.")
    decided_at: datetime | None = strawberry.field(description="When the shop answered.")
    send_back_by: datetime | None = strawberry.field(
        description="A return whose parcel is not named before this instant is closed."
    )
    carrier: str = strawberry.field(description="The carrier of the return; empty until it is named.")
    parcel_number: str = strawberry.field(description="The number of the return parcel; empty until it is named.")
    sent_back_at: datetime | None = strawberry.field(description="When the parcel was named.")
    received_at: datetime | None = strawberry.field(description="When the shop had the goods.")
    ended_at: datetime | None = strawberry.field(description="When it ended, however it did.")
    order_refund_id: strawberry.Private[UUID | None]

    @strawberry.field(description="Its lines, 1 to 50.")
    async def lines(self, info: Info) -> list[AfterSaleLine]:
        found = await info.context.loaders.load(views.lines_by_request, self.id)
        return [AfterSaleLine.from_row(row) for row in found or ()]

    @strawberry.field(description="The refund that it led to; null before.")
    async def order_refund(self, info: Info) -> OrderRefund | None:
        if self.order_refund_id is None:
            return None
        found = await info.context.loaders.load(views.parts_by_id, self.order_refund_id)
        return OrderRefund.from_row(found) if found else None

    @classmethod
    def from_row(cls, row: AfterSaleRow) -> "AfterSale":
        return cls(**after_sale_fields(row))


def after_sale_fields(row: AfterSaleRow) -> dict[str, Any]:
    """The columns of a request as both schemas show them."""
    return {
        "id": row.id,
        "order_id": row.order_id,
        "kind": AfterSaleKind(row.kind),
        "state": AfterSaleState(row.state),
        "reason": AfterSaleReason(row.reason),
        "text": row.text,
        "pictures": row.pictures,
        "requested_at": row.requested_at,
        "answer_by": row.answer_by,
        "decision": row.decision,
        "decided_at": row.decided_at,
        "send_back_by": row.send_back_by,
        "carrier": row.carrier,
        "parcel_number": row.parcel_number,
        "sent_back_at": row.sent_back_at,
        "received_at": row.received_at,
        "ended_at": row.ended_at,
        "order_refund_id": row.order_refund_id,
    }


@strawberry.input(description="What a member asks for.")
class AfterSaleInput:
    """The content of a request."""

    kind: AfterSaleKind = strawberry.field(description="Whether the goods stay or go back.")
    reason: AfterSaleReason = strawberry.field(description="Why.")
    lines: list[RefundLineInput] = strawberry.field(description="1 to 50 lines, each once.")
    text: str = strawberry.field(default="", description=f"More about it, up to {rule.MAX_TEXT} characters.")
    pictures: list[str] = strawberry.field(
        default_factory=list, description=f"Up to {rule.MAX_PICTURES} https addresses of at most 500 characters."
    )
    expected: str | None = strawberry.field(
        default=None, description="The `digest` of the preview that the member confirmed; anything else is refused."
    )


@refusal_type(rule.AfterSaleStateRefused)
@strawberry.type(
    name="AfterSaleStateRefused", description="Not possible where the request stands. Code `AFTER_SALE_STATE_REFUSED`."
)
class AfterSaleStateRefusal(Refusal):
    """The wrong state."""

    state: str = strawberry.field(description="The request's state, in lower case.")


@refusal_type(rule.AfterSaleTooLate)
@strawberry.type(name="AfterSaleTooLate", description="The days for it have passed. Code `AFTER_SALE_TOO_LATE`.")
class AfterSaleTooLateRefusal(Refusal):
    """How many there are."""

    days: int = strawberry.field(description="So many shop days after the day of receipt.")


@refusal_type(rule.AfterSaleInvalid)
@strawberry.type(name="AfterSaleInvalid", description="A field is out of bounds. Code `AFTER_SALE_INVALID`.")
class AfterSaleInvalidRefusal(Refusal):
    """Which one."""

    field: str = strawberry.field(description="`text`, `pictures`, `reason`, `carrier` or `number`.")


@strawberry.type(description="The request as it stands now.")
class AfterSaleChanged:
    """Success of what members do with requests."""

    after_sale: AfterSale = strawberry.field(description="The request.")


AfterSaleResult = Annotated[
    AfterSaleChanged
    | RefundLinesRefusal
    | RefundChangedRefusal
    | OrderStateRefusal
    | AfterSaleStateRefusal
    | AfterSaleTooLateRefusal
    | AfterSaleInvalidRefusal
    | SimpleRefusal,
    strawberry.union("AfterSaleResult", description="The request, or why nothing was changed."),
]

AfterSaleId = Annotated[UUID, strawberry.argument(description="The request.")]
AfterSaleStateFilter = Annotated[
    AfterSaleState | None, strawberry.argument(description="Only requests that stand here.")
]
OrderFilter = Annotated[UUID | None, strawberry.argument(description="Only requests of this order.")]
Wish = Annotated[AfterSaleInput, strawberry.argument(description="What is asked for.")]
Lines = Annotated[
    list[RefundLineInput] | None,
    strawberry.argument(description="Lines and pieces, each line once; null for all that is left."),
]


def asked(input: AfterSaleInput) -> verbs.Asked:
    """The input as the verbs take it."""
    return verbs.Asked(
        kind=input.kind,
        reason=input.reason,
        pieces=pieces(input.lines),
        text=input.text,
        pictures=tuple(input.pictures),
        expected=input.expected,
    )


@strawberry.type
class ShopQuery:
    """A member's own requests."""

    @strawberry.field(description="The member's requests, newest first.", extensions=[ForMembers()])
    async def after_sales(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        order_id: OrderFilter = None,
        state: AfterSaleStateFilter = None,
    ) -> Connection[AfterSale]:
        found = await views.requests(
            page=page(views.NEWEST, first, after), member_id=require_member(info), order_id=order_id, state=state
        )
        return connection(found, AfterSale.from_row)

    @strawberry.field(description="One request of the member; null if there is none.", extensions=[ForMembers()])
    async def after_sale(self, info: Info, id: AfterSaleId) -> AfterSale | None:
        row = await views.request(id, member_id=require_member(info))
        return AfterSale.from_row(row) if row else None

    @strawberry.field(
        description="What a refund of pieces of an order would do now: money, points by lot, coupons, growth value, "
        "tier, stock. Nothing is kept.",
        extensions=[ForMembers()],
    )
    async def after_sale_preview(
        self,
        info: Info,
        order_id: OrderId,
        lines: Lines = None,
        kind: Annotated[
            AfterSaleKind, strawberry.argument(description="Whether the goods stay or go back.")
        ] = AfterSaleKind.REFUND_ONLY,
        reason: Annotated[
            AfterSaleReason, strawberry.argument(description="Why; the shop's fault brings shipping back.")
        ] = AfterSaleReason.NO_REASON,
    ) -> RefundPreviewResult:
        effect = await verbs.preview(
            info.context.deps,
            order_id=order_id,
            member_id=require_member(info),
            pieces=None if lines is None else pieces(lines),
            shops_fault=reason in SHOPS_FAULT,
            goods_come_back=kind is AfterSaleKind.RETURN_AND_REFUND,
        )
        return RefundEffect.from_effect(effect)

    @strawberry.field(
        description="What the refund of an open request would do now. Nothing is kept.", extensions=[ForMembers()]
    )
    async def after_sale_request_preview(self, info: Info, id: AfterSaleId) -> RefundPreviewResult:
        effect = await verbs.preview_request(info.context.deps, after_sale_id=id, member_id=require_member(info))
        return RefundEffect.from_effect(effect)


@strawberry.type
class ShopMutation:
    """What a member does after the sale."""

    @strawberry.mutation(
        description="Ask for money back for pieces of a paid order; the shop answers in 48 hours or what it has set.",
        extensions=[ForMembers()],
    )
    async def after_sale_request(
        self, info: Info, order_id: OrderId, input: Wish, idempotency_key: Key
    ) -> AfterSaleResult:
        row = await verbs.request(
            info.context.deps,
            member_id=require_member(info),
            order_id=order_id,
            asked=asked(input),
            idempotency_key=idempotency_key,
        )
        return AfterSaleChanged(after_sale=AfterSale.from_row(row))

    @strawberry.mutation(
        description="Ask for something else while the shop has not answered. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def after_sale_change(self, info: Info, id: AfterSaleId, input: Wish) -> AfterSaleResult:
        row = await verbs.change(
            info.context.deps, member_id=require_member(info), after_sale_id=id, asked=asked(input)
        )
        return AfterSaleChanged(after_sale=AfterSale.from_row(row))

    @strawberry.mutation(
        description="Take a request back before anything was sent back or refunded. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def after_sale_withdraw(self, info: Info, id: AfterSaleId) -> AfterSaleResult:
        row = await verbs.withdraw(info.context.deps, member_id=require_member(info), after_sale_id=id)
        return AfterSaleChanged(after_sale=AfterSale.from_row(row))

    @strawberry.mutation(
        description="Name the parcel in which the goods of an approved return come back; until it is received, naming "
        "another one corrects it. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def after_sale_send_back(
        self,
        info: Info,
        id: AfterSaleId,
        carrier: Annotated[str, strawberry.argument(description=f"The carrier, 1 to {rule.MAX_CARRIER} characters.")],
        number: Annotated[
            str,
            strawberry.argument(description=f"The parcel's number, 1 to {rule.MAX_PARCEL_NUMBER} ASCII characters."),
        ],
    ) -> AfterSaleResult:
        row = await verbs.send_back(
            info.context.deps, member_id=require_member(info), after_sale_id=id, carrier=carrier, number=number
        )
        return AfterSaleChanged(after_sale=AfterSale.from_row(row))
