"""Money coming in: sending an order to WeChat Pay, asking whether it was paid, and booking a payment once.

Money that cannot pay its order, because this is closed for good or paid already, is given back, never kept.
"""

from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError

from loyalty.orders.order import OrderState, OrderStateRefused
from loyalty.payments import payment as rule
from loyalty.payments.payment import (
    CURRENCY,
    AttemptState,
    NoticeOutcome,
    PaymentFacts,
    PaymentOutcome,
    PaymentUnavailable,
    RefundCause,
)
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.orders.order import Order
from models.payments.payment import Payment, PaymentAttempt
from resolvers.deps import Deps
from resolvers.orders.order_row import note, owned
from resolvers.payments import refund, refund_request
from resolvers.payments.exception_case import cause_gone, open_case
from resolvers.payments.settlement import book, revive
from wechat.errors import OrderClosed, OrderNotExist, OrderPaid, WeChatError
from wechat.pay_types import PayParams, Transaction

log = structlog.get_logger()

POLL_LEASE = timedelta(seconds=60)
"""How long a poll that was begun keeps others from the same attempt."""


async def pay(deps: Deps, *, member_id: UUID, order_id: UUID) -> PayParams:
    """Send an unpaid order to WeChat Pay and return what ``wx.requestPayment`` takes.

    Asking again meets the same attempt with the same parameters, so that nobody pays twice.

    Raises:
        OrderNotFound, OrderStateRefused, PayDeadlinePassed: it cannot be paid.
        PaymentUnavailable: WeChat did not take it; the order stands.
    """
    attempt = await _attempt(deps, member_id, order_id)
    order = await owned(member_id, order_id)
    try:
        prepay_id = await deps.pay.prepay(
            out_trade_no=attempt.out_trade_no,
            description=f"订单 {order.number}",
            total_fen=attempt.total_fen,
            openid=attempt.openid,
            notify_url=attempt.notify_url or deps.pay_notify_url,
            time_expire=attempt.expires_at,
        )
    except OrderPaid:
        await query(deps, out_trade_no=attempt.out_trade_no)
        order = await owned(member_id, order_id)
        raise OrderStateRefused(state=order.state) from None
    except OrderClosed:
        await changed(
            "UPDATE payment_attempt SET state = 'closed', poll_due_at = NULL "
            "WHERE id = $1 AND state IN ('created', 'prepaid')",
            [attempt.id],
        )
        raise PaymentUnavailable() from None
    except WeChatError as error:
        log.warning("prepay_failed", order_id=str(order_id), error=error.code)
        raise PaymentUnavailable() from error
    kept = await changed(
        "UPDATE payment_attempt SET state = 'prepaid', prepay_id = $2 "
        "WHERE id = $1 AND state IN ('created', 'prepaid')",
        [attempt.id, prepay_id],
    )
    if not kept:
        return await _overtaken(deps, attempt, member_id, order_id)
    return deps.pay.pay_params(prepay_id)


async def _overtaken(deps: Deps, attempt: PaymentAttempt, member_id: UUID, order_id: UUID) -> NoReturn:
    """While WeChat opened the payment, the order was cancelled or paid: take the payment back, hand out nothing."""
    try:
        await deps.pay.close(attempt.out_trade_no)
    except OrderPaid:
        await query(deps, out_trade_no=attempt.out_trade_no)
    except WeChatError as error:
        log.warning("close_failed", order_id=str(order_id), error=error.code)
    order = await owned(member_id, order_id)
    if order.state == OrderState.UNPAID:
        raise PaymentUnavailable()
    raise OrderStateRefused(state=order.state)


@retried
async def _attempt(deps: Deps, member_id: UUID, order_id: UUID) -> PaymentAttempt:
    now = deps.clock.now()
    async with transaction(member_id):
        order = await owned(member_id, order_id)
        if order.state != OrderState.UNPAID:
            raise OrderStateRefused(state=order.state)
        rule.admit_prepay(now=now, deadline=order.pay_by)
        attempt = await PaymentAttempt.get_or_none(order_id=order_id, state__in=["created", "prepaid"])
        if attempt is not None:
            return attempt
        openid = (await rows("SELECT openid FROM member WHERE id = $1", [member_id]))[0]["openid"]
        attempt_id = new_id(now)
        return await PaymentAttempt.create(
            id=attempt_id,
            order_id=order_id,
            out_trade_no=attempt_id.hex,
            total_fen=order.payable_fen,
            openid=openid,
            state=AttemptState.CREATED,
            expires_at=order.pay_by,
            notify_url=deps.pay_notify_url,
            poll_due_at=rule.next_poll(created_at=now, polls_done=0, deadline=order.pay_by),
            created_at=now,
        )


async def query(deps: Deps, *, out_trade_no: str) -> NoticeOutcome | None:
    """Ask WeChat about an attempt and book it if it was paid; None when it was not, or WeChat did not say."""
    try:
        found = await deps.pay.query(out_trade_no)
    except OrderNotExist:
        return None
    except WeChatError as error:
        log.warning("query_failed", error=error.code)
        return None
    if found.paid:
        return await apply(deps, found)
    if found.trade_state == "CLOSED":
        await changed(
            "UPDATE payment_attempt SET state = 'closed', poll_due_at = NULL "
            "WHERE out_trade_no = $1 AND state IN ('created', 'prepaid')",
            [out_trade_no],
        )
    return None


async def confirm(deps: Deps, *, member_id: UUID, order_id: UUID) -> Order:
    """The member's order after asking WeChat whether it was paid, if it is not known yet."""
    order = await owned(member_id, order_id)
    if order.state in (OrderState.UNPAID, OrderState.CLOSING):
        open_attempts = await PaymentAttempt.filter(order_id=order_id, state__in=["created", "prepaid"])
        for attempt in open_attempts:
            await query(deps, out_trade_no=attempt.out_trade_no)
        order = await owned(member_id, order_id)
    return order


async def apply(deps: Deps, paid: Transaction) -> NoticeOutcome:
    """Book what WeChat says was paid, once for each of its transaction ids, whoever brings the news.

    What does not agree with the order (merchant, app, amount, payer) changes nothing and opens a case.
    """
    try:
        outcome, refund_id = await _apply(deps, paid)
    except IntegrityError:
        # The same payment was booked between our look and our write; its record decides now.
        outcome, refund_id = await _apply(deps, paid)
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)
    return outcome


@retried
async def _apply(deps: Deps, paid: Transaction) -> tuple[NoticeOutcome, UUID | None]:
    now = deps.clock.now()
    found = await rows(
        "SELECT attempt.id, attempt.order_id, o.member_id FROM payment_attempt attempt "
        "JOIN shop_order o ON o.id = attempt.order_id WHERE attempt.out_trade_no = $1",
        [paid.out_trade_no],
    )
    if not found:
        await _case(deps, "unknown_order", paid, None, {})
        return NoticeOutcome.UNKNOWN_ORDER, None
    async with transaction(found[0]["member_id"]):
        if await Payment.exists(transaction_id=paid.transaction_id):
            return NoticeOutcome.DUPLICATE, None
        attempt = await PaymentAttempt.get(id=found[0]["id"])
        order = await Order.get(id=found[0]["order_id"])
        differing = rule.compare(_expected(deps, attempt), _actual(paid))
        if await Payment.exists(attempt_id=attempt.id):
            # A number is paid once; a refund under it would send back the payment that counts.
            differing = (*differing, "transaction_id")
        if differing:
            await open_case(
                kind="payment_mismatch",
                key=f"payment_mismatch:{paid.transaction_id}",
                order_id=order.id,
                details={
                    "fields": list(differing),
                    "transaction_id": paid.transaction_id,
                    "out_trade_no": paid.out_trade_no,
                },
                now=now,
            )
            return NoticeOutcome.MISMATCH, None
        return await take(deps, order, attempt, paid, now)


def _expected(deps: Deps, attempt: PaymentAttempt) -> PaymentFacts:
    return PaymentFacts(
        appid=deps.pay.config.appid,
        mchid=deps.pay.config.mchid,
        total=attempt.total_fen,
        currency=CURRENCY,
        payer_openid=attempt.openid,
    )


def _actual(paid: Transaction) -> PaymentFacts:
    return PaymentFacts(
        appid=paid.appid,
        mchid=paid.mchid,
        total=-1 if paid.total_fen is None else paid.total_fen,
        currency=paid.currency or "",
        payer_openid=paid.openid or "",
    )


async def take(
    deps: Deps, order: Order, attempt: PaymentAttempt, paid: Transaction, now: datetime
) -> tuple[NoticeOutcome, UUID | None]:
    """Book a payment of an attempt, in the caller's transaction with the member locked.

    How it ended, and the id of the refund to send if the money cannot pay the order.
    """
    await changed("UPDATE payment_attempt SET state = 'succeeded', poll_due_at = NULL WHERE id = $1", [attempt.id])
    payment = Payment(
        id=new_id(now),
        attempt_id=attempt.id,
        order_id=order.id,
        transaction_id=paid.transaction_id,
        total_fen=attempt.total_fen,
        payer_total_fen=paid.payer_total_fen,
        success_at=paid.success_time,
        recorded_at=now,
    )
    match OrderState(order.state):
        case OrderState.UNPAID | OrderState.CLOSING:
            payment.outcome = PaymentOutcome.SETTLED
            await payment.save(force_create=True)
            await book(deps, order, paid_fen=payment.total_fen, now=now)
            await cause_gone([f"close_stuck:{order.id}", f"hold_stuck:{order.id}"], how="已付款", now=now)
            return NoticeOutcome.APPLIED, None
        case OrderState.CLOSED:
            revived = await revive(deps, order, payment_id=payment.id, paid_fen=payment.total_fen, now=now)
            payment.outcome = PaymentOutcome.REVIVED if revived else PaymentOutcome.LATE
            await payment.save(force_create=True)
            if revived:
                return NoticeOutcome.REVIVED, None
            return NoticeOutcome.LATE_REFUNDED, await _give_back(order, payment, RefundCause.LATE_PAYMENT, now)
        case OrderState.PAID | OrderState.REFUNDING | OrderState.REFUNDED:
            payment.outcome = PaymentOutcome.SECOND
            await payment.save(force_create=True)
            return NoticeOutcome.SECOND_PAYMENT, await _give_back(order, payment, RefundCause.DUPLICATE_PAYMENT, now)


async def refuse(order: Order, attempt: PaymentAttempt, paid: Transaction, *, reason: str, now: datetime) -> UUID:
    """Book a payment that does not agree with its order as one to give back; the id of its refund.

    In the caller's transaction with the member locked. The order may still be paid or closed.
    """
    assert paid.total_fen is not None, "money that was collected has an amount"
    await changed("UPDATE payment_attempt SET state = 'succeeded', poll_due_at = NULL WHERE id = $1", [attempt.id])
    payment = await Payment.create(
        id=new_id(now),
        attempt_id=attempt.id,
        order_id=order.id,
        transaction_id=paid.transaction_id,
        total_fen=paid.total_fen,
        payer_total_fen=paid.payer_total_fen,
        outcome=PaymentOutcome.REFUSED,
        success_at=paid.success_time,
        recorded_at=now,
    )
    await note(order.id, RefundCause.MISMATCHED_PAYMENT, now, amount_fen=payment.total_fen)
    asked = await refund_request.request(order, payment, cause=RefundCause.MISMATCHED_PAYMENT, reason=reason, now=now)
    return asked.id


async def _give_back(order: Order, payment: Payment, cause: RefundCause, now: datetime) -> UUID:
    await note(order.id, cause, now, amount_fen=payment.total_fen)
    request = await refund_request.request(order, payment, cause=cause, reason="重复或超时支付退回", now=now)
    await open_case(
        kind=cause,
        key=f"{cause}:{payment.transaction_id}",
        order_id=order.id,
        details={"transaction_id": payment.transaction_id, "refund_id": str(request.id)},
        now=now,
    )
    return request.id


async def _case(deps: Deps, kind: str, paid: Transaction, order_id: UUID | None, details: dict[str, Any]) -> None:
    async with transaction():
        await open_case(
            kind=kind,
            key=f"{kind}:{paid.transaction_id}",
            order_id=order_id,
            details={"out_trade_no": paid.out_trade_no, "transaction_id": paid.transaction_id, **details},
            now=deps.clock.now(),
        )


async def claim_polls(deps: Deps, limit: int) -> list[str]:
    """Numbers of attempts whose poll is due, each leased to the caller and moved on to its next poll."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE payment_attempt SET polls_done = polls_done + 1, poll_due_at = $2 WHERE id IN ("
        "SELECT id FROM payment_attempt WHERE poll_due_at <= $1 ORDER BY poll_due_at LIMIT $3 FOR UPDATE SKIP LOCKED"
        ") RETURNING id, out_trade_no, created_at, expires_at, polls_done",
        [now, now + POLL_LEASE, limit],
    )
    for attempt in claimed:
        next_at = rule.next_poll(
            created_at=attempt["created_at"], polls_done=attempt["polls_done"], deadline=attempt["expires_at"]
        )
        await changed(
            "UPDATE payment_attempt SET poll_due_at = $2 WHERE id = $1 AND state IN ('created', 'prepaid')",
            [attempt["id"], next_at],
        )
    return [attempt["out_trade_no"] for attempt in claimed]
