"""The operators' side of refunds in pieces and after-sale requests."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.payments.after_sale import AfterSale as AfterSaleRow
from resolvers.payments import after_sale
from resolvers.payments import after_sale_decision as verbs
from resolvers.payments import after_sale_view as views
from resolvers.payments import refund as refund_verbs
from schema.arguments import Key
from schema.context import Info
from schema.orders.order import OrderId
from schema.orders.order_refusal import OrderStateRefusal
from schema.paging import After, Connection, First, connection, page
from schema.payments.after_sale import (
    AfterSale,
    AfterSaleId,
    AfterSaleInvalidRefusal,
    AfterSaleStateFilter,
    AfterSaleStateRefusal,
    Lines,
    OrderFilter,
    after_sale_fields,
)
from schema.payments.refund import OperatorOrder, OrderRefunded
from schema.payments.refund_effect import (
    RefundChangedRefusal,
    RefundEffect,
    RefundLineInput,
    RefundLinesRefusal,
    RefundPreviewResult,
    pieces,
)
from schema.permissions import Needs, require_operator
from schema.refusal import SimpleRefusal


@strawberry.type(description="An after-sale request as operators see it.")
class OperatorAfterSale(AfterSale):
    """A request with whose it is and who answered."""

    member_id: UUID = strawberry.field(description="The member who made it.")
    decided_by_id: UUID | None = strawberry.field(description="The operator who answered; null for the shop's silence.")

    @classmethod
    def from_row(cls, row: AfterSaleRow) -> "OperatorAfterSale":
        return cls(**after_sale_fields(row), member_id=row.member_id, decided_by_id=row.decided_by_id)


@strawberry.type(description="The request after the decision.")
class AfterSaleDecided:
    """Success of a decision."""

    after_sale: OperatorAfterSale = strawberry.field(description="The request as it stands now.")


AfterSaleDecisionResult = Annotated[
    AfterSaleDecided
    | RefundChangedRefusal
    | RefundLinesRefusal
    | OrderStateRefusal
    | AfterSaleStateRefusal
    | AfterSaleInvalidRefusal
    | SimpleRefusal,
    strawberry.union("AfterSaleDecisionResult", description="The request, or why nothing was decided."),
]
OrderRefundLinesResult = Annotated[
    OrderRefunded | RefundChangedRefusal | RefundLinesRefusal | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderRefundLinesResult", description="The order, or why these pieces cannot be refunded."),
]

Expected = Annotated[
    str | None,
    strawberry.argument(description="The `digest` of the preview that was confirmed; anything else is refused."),
]
ShopsFault = Annotated[
    bool, strawberry.argument(description="Whether the shop is at fault: shipping goes back with the last piece then.")
]
GoodsComeBack = Annotated[
    bool,
    strawberry.argument(description="Whether sent pieces come back to the stock; what was not sent always does."),
]


@strawberry.type
class OperatorQuery:
    """After-sale requests and previews of refunds, for operators."""

    @strawberry.field(description="All requests, newest first.", extensions=[Needs(Right.ORDER_READ)])
    async def after_sales(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: AfterSaleStateFilter = None,
        order_id: OrderFilter = None,
        member_id: Annotated[UUID | None, strawberry.argument(description="Only this member's.")] = None,
    ) -> Connection[OperatorAfterSale]:
        found = await views.requests(
            page=page(views.NEWEST, first, after), member_id=member_id, order_id=order_id, state=state
        )
        return connection(found, OperatorAfterSale.from_row)

    @strawberry.field(description="One request; null if there is none.", extensions=[Needs(Right.ORDER_READ)])
    async def after_sale(self, info: Info, id: AfterSaleId) -> OperatorAfterSale | None:
        row = await views.request(id, member_id=None)
        return OperatorAfterSale.from_row(row) if row else None

    @strawberry.field(
        description="What a refund of pieces of an order would do now. Nothing is kept.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def after_sale_preview(
        self,
        info: Info,
        order_id: OrderId,
        lines: Lines = None,
        shops_fault: ShopsFault = False,
        goods_come_back: GoodsComeBack = True,
    ) -> RefundPreviewResult:
        effect = await after_sale.preview(
            info.context.deps,
            order_id=order_id,
            member_id=None,
            pieces=None if lines is None else pieces(lines),
            shops_fault=shops_fault,
            goods_come_back=goods_come_back,
        )
        return RefundEffect.from_effect(effect)

    @strawberry.field(
        description="What the refund of an open request would do now. Nothing is kept.",
        extensions=[Needs(Right.AFTER_SALE_DECIDE)],
    )
    async def after_sale_request_preview(self, info: Info, id: AfterSaleId) -> RefundPreviewResult:
        effect = await after_sale.preview_request(info.context.deps, after_sale_id=id, member_id=None)
        return RefundEffect.from_effect(effect)


@strawberry.type
class OperatorMutation:
    """What operators decide after the sale."""

    @strawberry.mutation(
        description="Refund so many pieces of lines of a paid order; what open requests claim is left alone.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def order_refund_lines(
        self,
        info: Info,
        order_id: OrderId,
        lines: Annotated[list[RefundLineInput], strawberry.argument(description="Lines and pieces, each line once.")],
        reason: Annotated[str, strawberry.argument(description="Shown to the payer, 1 to 80 characters.")],
        idempotency_key: Key,
        shops_fault: ShopsFault = False,
        goods_come_back: GoodsComeBack = True,
        expected: Expected = None,
    ) -> OrderRefundLinesResult:
        order = await refund_verbs.refund_lines(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            order_id=order_id,
            pieces=pieces(lines),
            reason=reason,
            shops_fault=shops_fault,
            goods_come_back=goods_come_back,
            expected=expected,
            idempotency_key=idempotency_key,
        )
        return OrderRefunded(order=OperatorOrder.from_row(order))

    @strawberry.mutation(
        description="Ask for a refund that WeChat has closed unpaid once more, under a new number.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def order_refund_ask_anew(
        self,
        info: Info,
        order_refund_id: Annotated[UUID, strawberry.argument(description="The part of the order that goes back.")],
        idempotency_key: Key,
    ) -> OrderRefundLinesResult:
        order = await refund_verbs.ask_anew(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            order_refund_id=order_refund_id,
            idempotency_key=idempotency_key,
        )
        return OrderRefunded(order=OperatorOrder.from_row(order))

    @strawberry.mutation(
        description="Agree to a request: the refund begins, or the member may send the goods back.",
        extensions=[Needs(Right.AFTER_SALE_DECIDE)],
    )
    async def after_sale_approve(
        self,
        info: Info,
        id: AfterSaleId,
        idempotency_key: Key,
        words: Annotated[
            str, strawberry.argument(description="For the member, such as where to send it; up to 200 characters.")
        ] = "",
        expected: Expected = None,
    ) -> AfterSaleDecisionResult:
        row = await verbs.approve(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            after_sale_id=id,
            words=words,
            expected=expected,
            idempotency_key=idempotency_key,
        )
        return AfterSaleDecided(after_sale=OperatorAfterSale.from_row(row))

    @strawberry.mutation(
        description="Refuse a request, or what came back.", extensions=[Needs(Right.AFTER_SALE_DECIDE)]
    )
    async def after_sale_reject(
        self,
        info: Info,
        id: AfterSaleId,
        words: Annotated[str, strawberry.argument(description="Why, for the member, 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> AfterSaleDecisionResult:
        row = await verbs.reject(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            after_sale_id=id,
            words=words,
            idempotency_key=idempotency_key,
        )
        return AfterSaleDecided(after_sale=OperatorAfterSale.from_row(row))

    @strawberry.mutation(
        description="The return parcel is there and fine: the refund begins.",
        extensions=[Needs(Right.AFTER_SALE_DECIDE)],
    )
    async def after_sale_receive(
        self, info: Info, id: AfterSaleId, idempotency_key: Key, expected: Expected = None
    ) -> AfterSaleDecisionResult:
        row = await verbs.receive(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            after_sale_id=id,
            expected=expected,
            idempotency_key=idempotency_key,
        )
        return AfterSaleDecided(after_sale=OperatorAfterSale.from_row(row))
