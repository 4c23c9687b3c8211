"""The operators' side of orders and money: every order, and refunds."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.orders.order import OrderKind
from loyalty.payments.payment import RefundCause, RefundState
from loyalty.people.rights import Right
from models.orders.order import Order as OrderRow
from models.payments.payment import Refund as RefundRow
from resolvers.orders import order_view as views
from resolvers.payments import refund as verbs
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.group_buys.operator_group_buy import SeatView, seat_of_order
from schema.orders.order import FulfilmentFilter, KindFilter, Order, OrderId, StateFilter, order_fields
from schema.orders.order_refusal import OrderStateRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_operator
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    RefundState,
    "How a refund stands at WeChat.",
    {
        RefundState.REQUESTED: "To be sent, or sent without a clear answer; it is repeated under the same number.",
        RefundState.PROCESSING: "Accepted by WeChat, not done yet.",
        RefundState.SUCCEEDED: "The money is back.",
        RefundState.CLOSED: "WeChat closed it; a person must look.",
        RefundState.ABNORMAL: "The payer's account cannot take it; a person must act in WeChat's console.",
    },
)
describe(
    RefundCause,
    "Why money goes back.",
    {
        RefundCause.BY_OPERATOR: "An operator refunded the order.",
        RefundCause.BY_MEMBER: "The member asked for it.",
        RefundCause.DUPLICATE_PAYMENT: "The order was paid twice.",
        RefundCause.LATE_PAYMENT: "The payment came after the order was closed for good.",
        RefundCause.MISMATCHED_PAYMENT: "The payment did not agree with the order, and an operator sent it back.",
        RefundCause.TEAM_FAILED: "The team of a group-buy did not come together.",
    },
)


@strawberry.type(description="Money that goes back under one number.")
class Refund:
    """One refund."""

    id: UUID = strawberry.field(description="Opaque id.")
    out_refund_no: str = strawberry.field(description="The number at WeChat, the same on every try.")
    amount: Fen = strawberry.field(description="How much goes back, in fen.")
    cause: RefundCause = strawberry.field(description="Why.")
    state: RefundState = strawberry.field(description="How it stands.")
    reason: str = strawberry.field(description="What the payer is told, up to 80 characters.")
    tries: int = strawberry.field(description="How often WeChat was asked.")
    last_error: str = strawberry.field(
        description="The code of the last failed try; used_up or overdue for what WeChat takes no more; empty: none."
    )
    requested_at: datetime = strawberry.field(description="When it was requested.")
    finished_at: datetime | None = strawberry.field(description="When it became final.")

    @classmethod
    def from_row(cls, row: RefundRow) -> "Refund":
        return cls(
            id=row.id,
            out_refund_no=row.out_refund_no,
            amount=Fen(row.amount_fen),
            cause=RefundCause(row.cause),
            state=RefundState(row.state),
            reason=row.reason,
            tries=row.tries,
            last_error=row.last_error,
            requested_at=row.requested_at,
            finished_at=row.finished_at,
        )


@strawberry.type(description="An order as operators see it.")
class OperatorOrder(Order):
    """An order with whose it is and its refunds."""

    member_id: UUID = strawberry.field(description="The member who placed it.")

    @strawberry.field(description="Its seat in a team of a group-buy 拼团; null unless its kind is GROUP.")
    async def group_seat(self, info: Info) -> SeatView | None:
        return await seat_of_order(info, self.id) if self.kind is OrderKind.GROUP else None

    @strawberry.field(description="Its refunds, oldest first.")
    async def refunds(self, info: Info) -> list[Refund]:
        found = await info.context.loaders.load(views.refunds_by_order, self.id)
        return [Refund.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: OrderRow) -> "OperatorOrder":
        return cls(**order_fields(row), member_id=row.member_id)


@strawberry.type(description="The order after the refund was requested; it is REFUNDED once the money is back.")
class OrderRefunded:
    """Success of orderRefund."""

    order: OperatorOrder = strawberry.field(description="The order as it stands now.")


OrderRefundResult = Annotated[
    OrderRefunded | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderRefundResult", description="The order, or why it cannot be refunded."),
]


@strawberry.type
class OperatorQuery:
    """Orders and money, for operators."""

    @strawberry.field(description="All orders, newest first.", extensions=[Needs(Right.ORDER_READ)])
    async def orders(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: StateFilter = None,
        kind: KindFilter = None,
        fulfilment: FulfilmentFilter = None,
        member_id: Annotated[UUID | None, strawberry.argument(description="Only this member's.")] = None,
    ) -> Connection[OperatorOrder]:
        found = await views.orders(
            page=page(views.NEWEST, first, after), member_id=member_id, state=state, kind=kind, fulfilment=fulfilment
        )
        return connection(found, OperatorOrder.from_row)

    @strawberry.field(description="One order; null if there is none.", extensions=[Needs(Right.ORDER_READ)])
    async def order(self, info: Info, id: OrderId) -> OperatorOrder | None:
        row = await OrderRow.get_or_none(id=id)
        return OperatorOrder.from_row(row) if row else None


@strawberry.type
class OperatorMutation:
    """What operators do about money."""

    @strawberry.mutation(
        description="Refund a paid order in full: money, points, growth value and stock go back. An order whose refund "
        "WeChat closed unpaid is refunded anew.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def order_refund(
        self,
        info: Info,
        order_id: OrderId,
        reason: Annotated[str, strawberry.argument(description="Shown to the payer, 1 to 80 characters.")],
        idempotency_key: Key,
    ) -> OrderRefundResult:
        order = await verbs.refund_order(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            order_id=order_id,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return OrderRefunded(order=OperatorOrder.from_row(order))
