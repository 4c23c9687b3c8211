"""The operators' side of fulfilment: sending parcels, handing out, and what WeChat was told."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty import refusal
from loyalty.delivery import fulfilment as rule
from loyalty.delivery.fulfilment import Pieces
from loyalty.delivery.shipping_upload import UploadState
from loyalty.people.rights import Right
from models.delivery.fulfilment import Parcel as ParcelRow
from models.delivery.fulfilment import ShippingUpload as ShippingUploadRow
from resolvers.delivery import parcel as verbs
from resolvers.delivery import pick_up, shipping_upload
from resolvers.delivery.parcel import ImportRow
from schema.arguments import Key
from schema.context import Info
from schema.delivery.fulfilment import FulfilmentStateRefusal
from schema.delivery.parcel import Parcel
from schema.enums import describe
from schema.orders.order import OrderId
from schema.orders.order_refusal import OrderStateRefusal
from schema.payments.refund import OperatorOrder
from schema.permissions import Needs, require_right
from schema.refusal import Refusal, SimpleRefusal, refusal_type

describe(
    UploadState,
    "Whether WeChat knows how the goods reach the buyer 发货信息录入.",
    {
        UploadState.WAITING: "It will be told, or told again.",
        UploadState.DONE: "It knows.",
        UploadState.FAILED: "It refuses; a case is open, and `shippingUploadRetry` tries again.",
        UploadState.NOT_NEEDED: "It need not know: nothing was sent after all, or the app is not under management.",
    },
)


@refusal_type(rule.ParcelTooMuch)
@strawberry.type(name="ParcelTooMuch", description="Fewer pieces are left to send. Code `PARCEL_TOO_MUCH`.")
class ParcelTooMuchRefusal(Refusal):
    """Too many."""

    line_id: UUID = strawberry.field(description="The order line.")
    left: int = strawberry.field(description="How many of it are left to send.")


@strawberry.input(description="So many pieces of an order line. Entries of the same line are added up.")
class ParcelLineInput:
    """Pieces."""

    line_id: UUID = strawberry.field(description="The order line.")
    quantity: int = strawberry.field(description="How many pieces, 1 to what is left to send.")


@strawberry.input(description="A parcel to send.")
class ParcelCreateInput:
    """A parcel."""

    order_id: UUID = strawberry.field(description="The order.")
    carrier: str = strawberry.field(description="The carrier by WeChat's `delivery_id`, such as SF.")
    tracking_number: str = strawberry.field(description="4 to 64 letters, digits and hyphens.")
    lines: list[ParcelLineInput] | None = strawberry.field(
        default=None,
        description="What is in it; null for all that is left to send, without what the member asks back in open "
        "requests for a refund only: that cannot be sent (`PIECES_CLAIMED`).",
    )


@strawberry.input(description="One row of a carrier's list: all that is left of an order went off under this number.")
class ParcelImportRow:
    """One row."""

    order_number: str = strawberry.field(description="The order's number, 24 digits.")
    carrier: str = strawberry.field(description="The carrier by WeChat's `delivery_id`, such as SF.")
    tracking_number: str = strawberry.field(description="4 to 64 letters, digits and hyphens.")


@strawberry.type(description="The parcel, with the order as it stands now.")
class ParcelKept:
    """Success of parcelCreate, parcelCorrect and parcelVoid."""

    parcel: Parcel = strawberry.field(description="The parcel.")


@strawberry.type(description="What became of one row of an import.")
class ParcelImported:
    """The parcel, or why there is none."""

    position: int = strawberry.field(description="Which row, from 0 on.")
    parcel: Parcel | None = strawberry.field(description="The parcel, also if it was there already; null if refused.")
    code: str | None = strawberry.field(description="The refusal's code; null if there is a parcel.")
    message: str | None = strawberry.field(description="The refusal's sentence; null if there is a parcel.")


@strawberry.type(description="What became of each row, in the order of the rows.")
class ParcelsImported:
    """Success of parcelImport, also if every row was refused."""

    rows: list[ParcelImported] = strawberry.field(description="One for each row.")


@strawberry.type(description="The order after the change.")
class OrderHandled:
    """Success of pickUpReady and pickUpVerify."""

    order: OperatorOrder = strawberry.field(description="The order as it stands now.")


@strawberry.type(description="What WeChat has to be told of an order's goods.")
class ShippingUpload:
    """How the upload stands."""

    state: UploadState = strawberry.field(description="Where it stands.")
    tries: int = strawberry.field(description="How many tries failed since the last change.")
    last_error: str = strawberry.field(description="WeChat's code of the last failure; empty when there was none.")
    due_at: datetime | None = strawberry.field(description="When it is tried next.")
    done_at: datetime | None = strawberry.field(description="When WeChat last took it.")

    @classmethod
    def from_row(cls, row: ShippingUploadRow) -> "ShippingUpload":
        return cls(
            state=UploadState(row.state),
            tries=row.tries,
            last_error=row.last_error,
            due_at=row.due_at,
            done_at=row.done_at,
        )


@strawberry.type(description="The upload, which is tried again.")
class ShippingUploadRetried:
    """Success of shippingUploadRetry."""

    upload: ShippingUpload = strawberry.field(description="How it stands.")


ParcelResult = Annotated[
    ParcelKept | OrderStateRefusal | FulfilmentStateRefusal | ParcelTooMuchRefusal | SimpleRefusal,
    strawberry.union("ParcelResult", description="The parcel, or why nothing was changed."),
]
ParcelImportResult = Annotated[
    ParcelsImported | SimpleRefusal,
    strawberry.union("ParcelImportResult", description="What became of each row, or why none was looked at."),
]
OrderHandledResult = Annotated[
    OrderHandled | OrderStateRefusal | FulfilmentStateRefusal | SimpleRefusal,
    strawberry.union("OrderHandledResult", description="The order, or why nothing was changed."),
]
ShippingUploadRetryResult = Annotated[
    ShippingUploadRetried | SimpleRefusal,
    strawberry.union("ShippingUploadRetryResult", description="The upload, or why there is none to retry."),
]
ParcelId = Annotated[UUID, strawberry.argument(description="The parcel.")]


@strawberry.type
class OperatorQuery:
    """What WeChat was told."""

    @strawberry.field(
        description="What WeChat has to be told of an order's goods; null if nothing.",
        extensions=[Needs(Right.ORDER_READ)],
    )
    async def shipping_upload(self, info: Info, order_id: OrderId) -> ShippingUpload | None:
        """How it stands."""
        row = await info.context.loaders.load(shipping_upload.by_orders, order_id)
        return ShippingUpload.from_row(row) if row else None


@strawberry.type
class OperatorMutation:
    """Sending and handing out."""

    @strawberry.mutation(
        description="Send a parcel of a paid order. Never more than was ordered less what was refunded.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def parcel_create(
        self,
        info: Info,
        input: Annotated[ParcelCreateInput, strawberry.argument(description="The parcel.")],
        idempotency_key: Key,
    ) -> ParcelResult:
        """One parcel."""
        wanted = None
        if input.lines is not None:
            wanted = [Pieces(line_id=line.line_id, quantity=line.quantity) for line in input.lines]
        row = await verbs.create(
            info.context.deps,
            operator_id=require_right(info, Right.ORDER_SHIP).subject_id,
            order_id=input.order_id,
            carrier=input.carrier,
            tracking_number=input.tracking_number,
            pieces=wanted,
            idempotency_key=idempotency_key,
        )
        return ParcelKept(parcel=Parcel.from_row(row))

    @strawberry.mutation(
        description="Correct a parcel's carrier and tracking number, until the order is received. WeChat lets what "
        "was told completely be corrected once.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def parcel_correct(
        self,
        info: Info,
        parcel_id: ParcelId,
        carrier: Annotated[str, strawberry.argument(description="The carrier by WeChat's `delivery_id`.")],
        tracking_number: Annotated[str, strawberry.argument(description="4 to 64 letters, digits and hyphens.")],
        idempotency_key: Key,
    ) -> ParcelResult:
        """The parcel as it is from now on."""
        row = await verbs.correct(
            info.context.deps,
            operator_id=require_right(info, Right.ORDER_SHIP).subject_id,
            parcel_id=parcel_id,
            carrier=carrier,
            tracking_number=tracking_number,
            idempotency_key=idempotency_key,
        )
        return ParcelKept(parcel=Parcel.from_row(row))

    @strawberry.mutation(
        description="Take back a parcel that was not sent after all, until the order is received; its pieces are to "
        "be shipped again. Harmless to repeat.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def parcel_void(self, info: Info, parcel_id: ParcelId) -> ParcelResult:
        """No parcel any more."""
        row = await verbs.void(
            info.context.deps,
            operator_id=require_right(info, Right.ORDER_SHIP).subject_id,
            parcel_id=parcel_id,
        )
        return ParcelKept(parcel=Parcel.from_row(row))

    @strawberry.mutation(
        description="Send a parcel with all that is left for each of 1 to 200 orders, each row by itself, as "
        "parcelCreate does without lines. A row whose "
        "parcel is there already is answered with it, so a list can be sent again; it needs no idempotency key.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def parcel_import(
        self,
        info: Info,
        rows: Annotated[list[ParcelImportRow], strawberry.argument(description="1 to 200 rows.")],
    ) -> ParcelImportResult:
        """A carrier's list."""
        answers = await verbs.import_rows(
            info.context.deps,
            operator_id=require_right(info, Right.ORDER_SHIP).subject_id,
            listed=[
                ImportRow(order_number=row.order_number, carrier=row.carrier, tracking_number=row.tracking_number)
                for row in rows
            ],
        )
        return ParcelsImported(
            rows=[_imported(position, answer, info.context.language) for position, answer in enumerate(answers)]
        )

    @strawberry.mutation(
        description="Tell the member that the goods wait at the pick-up point 备货完成. Harmless to repeat.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def pick_up_ready(self, info: Info, order_id: OrderId) -> OrderHandledResult:
        """They wait."""
        operator_id = require_right(info, Right.ORDER_SHIP).subject_id
        row = await pick_up.tell_ready(info.context.deps, operator_id=operator_id, order_id=order_id)
        return OrderHandled(order=OperatorOrder.from_row(row))

    @strawberry.mutation(
        description="Hand out the order whose pick-up code was read: once, to the first till that reads it. "
        "PICK_UP_CODE_INVALID to every other, and for a code that is unknown or older than 5 minutes. After TRY_AGAIN "
        "the same key is sent again.",
        extensions=[Needs(Right.PICK_UP_VERIFY)],
    )
    async def pick_up_verify(
        self,
        info: Info,
        code: Annotated[str, strawberry.argument(description="What was read; blanks around it are dropped.")],
        idempotency_key: Key,
    ) -> OrderHandledResult:
        """One reading."""
        row = await pick_up.verify(
            info.context.deps,
            operator_id=require_right(info, Right.PICK_UP_VERIFY).subject_id,
            code=code,
            idempotency_key=idempotency_key,
        )
        return OrderHandled(order=OperatorOrder.from_row(row))

    @strawberry.mutation(
        description="Have WeChat told again what it has refused. Harmless to repeat.",
        extensions=[Needs(Right.ORDER_SHIP)],
    )
    async def shipping_upload_retry(self, info: Info, order_id: OrderId) -> ShippingUploadRetryResult:
        """From the first try on."""
        operator_id = require_right(info, Right.ORDER_SHIP).subject_id
        row = await shipping_upload.try_again(info.context.deps, operator_id=operator_id, order_id=order_id)
        return ShippingUploadRetried(upload=ShippingUpload.from_row(row))


def _imported(position: int, answer: ParcelRow | refusal.Refusal, language: refusal.Language) -> ParcelImported:
    if isinstance(answer, refusal.Refusal):
        return ParcelImported(position=position, parcel=None, code=answer.code, message=answer.message(language))
    return ParcelImported(position=position, parcel=Parcel.from_row(answer), code=None, message=None)
