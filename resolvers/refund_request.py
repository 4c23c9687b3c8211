"""Asking for money back: the row that keeps its number, written before WeChat hears of it."""

from datetime import datetime, timedelta
from uuid import UUID

from loyalty.payment import PaymentOutcome, RefundCause, RefundState
from loyalty.refund import MOST_REFUNDS, RefundsUsedUp
from models.ids import new_id
from models.order import Order
from models.payment import Payment, Refund

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
    if await Refund.filter(payment_id=payment.id).count() >= MOST_REFUNDS:
        raise RefundsUsedUp(most=MOST_REFUNDS)
    refund_id = new_id(now)
    return await Refund.create(
        id=refund_id,
        order_id=order.id,
        payment_id=payment.id,
        order_refund_id=order_refund_id,
        out_refund_no=refund_id.hex,
        amount_fen=payment.total_fen if amount_fen is None else amount_fen,
        cause=cause,
        reason=reason,
        state=RefundState.REQUESTED,
        due_at=now + RETRY_AFTER[0],
        requested_at=now,
    )
