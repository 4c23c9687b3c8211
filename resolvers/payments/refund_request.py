"""Asking for money back: the row that keeps its number, written before WeChat hears of it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.exception_case import CaseKind
from loyalty.payments.payment import PaymentOutcome, RefundCause, RefundState
from loyalty.payments.refund import MOST_REFUNDS, REFUNDED_WITHIN, ByHand, RefundOverdue, RefundsUsedUp, by_hand
from models.ids import new_id
from models.orders.order import Order
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


async def why_by_hand(payment: Payment, now: datetime) -> ByHand | None:
    """Why WeChat takes no more refunds of a payment; None: it does."""
    return by_hand(refunds=await Refund.filter(payment_id=payment.id).count(), paid_at=paid_at(payment), now=now)


def paid_at(payment: Payment) -> datetime:
    """When WeChat collected it, as far as is known."""
    return payment.success_at or payment.recorded_at


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

    It is to be sent after the commit; where WeChat takes no more of the payment, it is closed already, and a case asks
    for another way to pay. Money that never paid its order, and each part of an order that goes back, has one request
    that is not closed (unique).
    """
    why = await why_by_hand(payment, now)
    is_sent: dict[str, Any] = {"state": RefundState.REQUESTED, "due_at": now + RETRY_AFTER[0]}
    is_not: dict[str, Any] = {"state": RefundState.CLOSED, "finished_at": now, "last_error": why}
    refund_id = new_id(now)
    made = await Refund.create(
        id=refund_id,
        order_id=order.id,
        payment_id=payment.id,
        order_refund_id=order_refund_id,
        out_refund_no=refund_id.hex,
        amount_fen=payment.total_fen if amount_fen is None else amount_fen,
        cause=cause,
        reason=reason,
        requested_at=now,
        **(is_sent if why is None else is_not),
    )
    if why is not None:
        await tell_by_hand(made, why, now)
    return made


async def tell_by_hand(closed: Refund, why: ByHand, now: datetime) -> None:
    """A refund is not WeChat's: its order tells so, and a person has to pay it."""
    await note(closed.order_id, OrderEventKind.REFUND_FAILED, now, amount_fen=closed.amount_fen)
    await open_case(
        kind=CaseKind.REFUNDS_USED_UP,
        key=f"{CaseKind.REFUNDS_USED_UP}:{closed.out_refund_no}",
        order_id=closed.order_id,
        details={"refund_id": str(closed.id), "amount_fen": closed.amount_fen, "because": why},
        now=now,
    )


async def admit_anew(payment: Payment, now: datetime) -> None:
    """Whether a refund that was closed may be asked for again. Raises: RefundsUsedUp, RefundOverdue."""
    match await why_by_hand(payment, now):
        case ByHand.USED_UP:
            raise RefundsUsedUp(most=MOST_REFUNDS)
        case ByHand.OVERDUE:
            raise RefundOverdue(days=REFUNDED_WITHIN.days)
