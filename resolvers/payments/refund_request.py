"""Asking for money back: the row that keeps its number, written before WeChat hears of it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.exception_case import CaseKind
from loyalty.payments.payment import PaymentOutcome, RefundCause, RefundState
from loyalty.payments.refund import MOST_REFUNDS, RefundsUsedUp
from models.ids import new_id
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.payments.payment import Payment, Refund
from resolvers.orders.order_row import note
from resolvers.payments.exception_case import open_case

RETRY_AFTER = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""How long an unfinished refund waits after each try; the last one repeats."""


async def payment_of(order: Order) -> Payment | None:
    """The payment that paid the order; None when nothing was to be paid."""
    return await Payment.get_or_none(order_id=order.id, outcome__in=[PaymentOutcome.SETTLED, PaymentOutcome.REVIVED])


async def request(
    order: Order,
    payment: Payment,
    *,
    cause: RefundCause,
    reason: str,
    now: datetime,
    amount_fen: int | None = None,
    order_refund_id: UUID | None = None,
) -> Refund:
    """Write the request for all of a payment, or for ``amount_fen`` of it, in the caller's transaction.

    Money that never paid its order, and each part of an order that goes back, has one request that WeChat has not
    closed (unique).

    Raises:
        RefundsUsedUp: WeChat takes no more for this payment.
    """
    if await _used_up(payment):
        raise RefundsUsedUp(most=MOST_REFUNDS)
    return await _write(
        order,
        payment,
        now,
        order_refund_id=order_refund_id,
        amount_fen=payment.total_fen if amount_fen is None else amount_fen,
        cause=cause,
        reason=reason,
        state=RefundState.REQUESTED,
        due_at=now + RETRY_AFTER[0],
    )


async def request_part(order: Order, payment: Payment, part: OrderRefund, *, now: datetime) -> UUID | None:
    """Write the first request for a part of an order, in the caller's transaction; its id, to be sent after the commit.

    None where WeChat takes no more of the payment: the request is closed before it was sent, and a case asks for
    another way to pay.
    """
    asked = {"cause": part.cause, "reason": part.reason, "amount_fen": part.amount_fen, "order_refund_id": part.id}
    if not await _used_up(payment):
        return (await request(order, payment, now=now, **asked)).id
    refused = await _write(order, payment, now, **asked, state=RefundState.CLOSED, finished_at=now)
    await note(order.id, OrderEventKind.REFUND_FAILED, now, amount_fen=part.amount_fen)
    await open_case(
        kind=CaseKind.REFUNDS_USED_UP,
        key=f"{CaseKind.REFUNDS_USED_UP}:{refused.out_refund_no}",
        order_id=order.id,
        details={"refund_id": str(refused.id), "amount_fen": part.amount_fen},
        now=now,
    )
    return None


async def _used_up(payment: Payment) -> bool:
    return await Refund.filter(payment_id=payment.id).count() >= MOST_REFUNDS


async def _write(order: Order, payment: Payment, now: datetime, **columns: Any) -> Refund:
    refund_id = new_id(now)
    return await Refund.create(
        id=refund_id,
        order_id=order.id,
        payment_id=payment.id,
        out_refund_no=refund_id.hex,
        requested_at=now,
        **columns,
    )
