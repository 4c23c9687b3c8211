"""Money going back: the request row first, then WeChat under the same number until it is final, then the books."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import structlog

from loyalty.orders.order import OrderState
from loyalty.payments.payment import RefundCause, RefundState, admit_refund_reason
from loyalty.payments.refund import PartState, RefundNotStuck, is_overdue
from models.engine import changed, retried, rows, transaction
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.payments.payment import Payment, Refund
from resolvers.deps import Deps
from resolvers.orders.order_row import member_of, note
from resolvers.payments.after_sale_row import close_open
from resolvers.payments.refund_end import (
    ABNORMAL_AGAIN,
    GIVEN_UP_AFTER,
    TRIES_BEFORE_CASE,
    conclude,
    give_up,
    postpone,
)
from resolvers.payments.refund_part import Wish, open_part
from resolvers.payments.refund_request import RETRY_AFTER, admit_anew, paid_at, payment_of, request
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed
from wechat.errors import Misconfigured, RefundNotExist, RequestRefused, WeChatError
from wechat.pay_types import RefundResult

log = structlog.get_logger()


async def refund_order(deps: Deps, *, operator_id: UUID, order_id: UUID, reason: str, idempotency_key: str) -> Order:
    """Refund all that is left of a paid order, as the shop's affair: shipping and stock come back too.

    Open after-sale requests of the order are closed. The books change when WeChat says that the money is back; what
    costs no money is refunded at once. An order whose refund WeChat has closed is refunded anew, under another number.

    Raises:
        OrderNotFound, OrderStateRefused: there is nothing to refund.
        RefundReasonInvalid: the payer must be told why.
        RefundInProgress, RefundsUsedUp, RefundOverdue: another refund is on its way, or WeChat takes no other number
            for it.
        MallNotReturnable: what a mall exchange gave is used, or was a gift to charity.
        ClawBackBlocked: the programme forbids it while earned points are spent.
        KeyInvalid, KeyReused: the idempotency key.
    """
    wish = Wish(pieces=None, cause=RefundCause.BY_OPERATOR, shops_fault=True, goods_come_back=True, reason=reason)
    return await _refund(deps, operator_id, order_id, wish, operation="orderRefund", key=idempotency_key)


async def refund_lines(
    deps: Deps,
    *,
    operator_id: UUID,
    order_id: UUID,
    pieces: Mapping[UUID, int],
    reason: str,
    shops_fault: bool,
    goods_come_back: bool,
    expected: str | None,
    idempotency_key: str,
) -> Order:
    """Refund so many pieces of lines of a paid order; pieces in open after-sale requests are left alone.

    ``expected`` is the fingerprint of the preview that was confirmed.

    Raises:
        RefundLinesInvalid, RefundNotWhole, RefundChanged: these pieces cannot go back so.
        What ``refund_order`` raises.
    """
    wish = Wish(
        pieces=pieces,
        cause=RefundCause.BY_OPERATOR,
        shops_fault=shops_fault,
        goods_come_back=goods_come_back,
        reason=reason,
    )
    return await _refund(
        deps, operator_id, order_id, wish, operation="orderRefundLines", key=idempotency_key, expected=expected
    )


async def _refund(
    deps: Deps,
    operator_id: UUID,
    order_id: UUID,
    wish: Wish,
    *,
    operation: str,
    key: str,
    expected: str | None = None,
) -> Order:
    refund_id = await _open_refund(deps, operator_id, order_id, wish, operation=operation, key=key, expected=expected)
    if refund_id is not None:
        await send(deps, refund_id=refund_id)
    return await Order.get(id=order_id)


@retried
async def _open_refund(
    deps: Deps,
    operator_id: UUID,
    order_id: UUID,
    wish: Wish,
    *,
    operation: str,
    key: str,
    expected: str | None,
) -> UUID | None:
    now = deps.clock.now()
    content: dict[str, object] = {"order_id": str(order_id), "reason": wish.reason}
    if wish.pieces is not None:
        content["pieces"] = {str(line_id): quantity for line_id, quantity in sorted(wish.pieces.items())}
        content |= {"shops_fault": wish.shops_fault, "goods_come_back": wish.goods_come_back, "expected": expected}
    async with transaction(await member_of(order_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return UUID(before["refund_id"]) if before["refund_id"] else None
        admit_refund_reason(wish.reason)
        order = await Order.get(id=order_id)
        stuck = await _given_up_by_wechat(order) if wish.pieces is None else None
        if stuck is not None:
            refund_id: UUID | None = (await _ask_anew(order, stuck, wish.reason, now)).id
        else:
            if wish.pieces is None:
                await close_open(order.id, now)
            part, refund_id = await open_part(deps, order, wish, now=now, expected=expected)
            content |= {"order_refund_id": str(part.id), "amount_fen": part.amount_fen}
        await record(
            operator_id,
            "order.refund",
            "order",
            order_id,
            {"state": OrderState.PAID},
            {**content, "state": order.state},
            now,
        )
        await remember(
            operator_id,
            key=key,
            operation=operation,
            content={name: value for name, value in content.items() if name not in ("order_refund_id", "amount_fen")},
            result={"refund_id": str(refund_id) if refund_id else None},
            now=now,
        )
        return refund_id


async def _given_up_by_wechat(order: Order) -> OrderRefund | None:
    """The last part of this order, if WeChat has closed its refund unpaid, so that it takes a new number."""
    if order.state != OrderState.REFUNDING:
        return None
    part = await OrderRefund.get_or_none(order_id=order.id, state=PartState.REQUESTED)
    return part if part is not None and await _is_stuck(part) else None


async def _is_stuck(part: OrderRefund) -> bool:
    return not await Refund.filter(order_refund_id=part.id).exclude(state=RefundState.CLOSED).exists()


async def _ask_anew(order: Order, part: OrderRefund, reason: str, now: datetime) -> Refund:
    payment = await payment_of(order)
    assert payment is not None, "a part that waits for money was paid"
    await admit_anew(payment, now)
    await note(order.id, "refund_requested", now, reason=reason, amount_fen=part.amount_fen)
    return await request(
        order,
        payment,
        cause=RefundCause(part.cause),
        reason=reason,
        now=now,
        amount_fen=part.amount_fen,
        order_refund_id=part.id,
    )


async def ask_anew(deps: Deps, *, operator_id: UUID, order_refund_id: UUID, idempotency_key: str) -> Order:
    """Ask for a refund that WeChat has closed unpaid once more, under a new number.

    Raises:
        RefundNotStuck: there is no such part, or WeChat has not closed its refund.
        RefundsUsedUp, RefundOverdue: WeChat takes no more refunds of the payment.
        KeyInvalid, KeyReused: the idempotency key.
    """
    order_id, refund_id = await _open_anew(deps, operator_id, order_refund_id, idempotency_key)
    await send(deps, refund_id=refund_id)
    return await Order.get(id=order_id)


@retried
async def _open_anew(deps: Deps, operator_id: UUID, order_refund_id: UUID, key: str) -> tuple[UUID, UUID]:
    now = deps.clock.now()
    content = {"order_refund_id": str(order_refund_id)}
    part = await OrderRefund.get_or_none(id=order_refund_id)
    if part is None:
        raise RefundNotStuck()
    async with transaction(await member_of(part.order_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="orderRefundAskAnew", content=content)
        if before is not None:
            return part.order_id, UUID(before["refund_id"])
        await part.refresh_from_db()
        if part.state != PartState.REQUESTED or not await _is_stuck(part):
            raise RefundNotStuck()
        refund = await _ask_anew(await Order.get(id=part.order_id), part, part.reason, now)
        after = {"refund_id": str(refund.id), "amount_fen": refund.amount_fen}
        await record(operator_id, "order.refund_anew", "order", part.order_id, None, after, now)
        await remember(
            operator_id,
            key=key,
            operation="orderRefundAskAnew",
            content=content,
            result={"refund_id": str(refund.id)},
            now=now,
        )
        return part.order_id, refund.id


async def send(deps: Deps, *, refund_id: UUID) -> None:
    """Bring a refund one step further: ask for it, or ask how it stands. Harmless to repeat, always the same number.

    What WeChat takes no more, or refuses again and again for good, is closed and comes to a person.
    """
    refund = await Refund.get(id=refund_id)
    match refund.state:
        case RefundState.REQUESTED | RefundState.PROCESSING:
            await _ask_for(deps, refund)
        case RefundState.ABNORMAL:
            await _look_again(deps, refund)


async def _ask_for(deps: Deps, refund: Refund) -> None:
    payment = await Payment.get(id=refund.payment_id)
    attempts = await rows("SELECT out_trade_no FROM payment_attempt WHERE id = $1", [payment.attempt_id])
    overdue = is_overdue(paid_at=paid_at(payment), now=deps.clock.now())
    try:
        # Once a request went out, WeChat may have it although its answer was lost.
        may_be_known = refund.tries > 0 or refund.state == RefundState.PROCESSING or overdue
        result = await _known(deps, refund) if may_be_known else None
        if result is None and overdue:
            await give_up(deps, refund, None)
            return
        if result is None:
            result = await deps.pay.refund(
                out_trade_no=attempts[0]["out_trade_no"],
                out_refund_no=refund.out_refund_no,
                refund_fen=refund.amount_fen,
                total_fen=payment.total_fen,
                reason=refund.reason,
                notify_url=deps.pay_notify_url,
            )
    except WeChatError as error:
        await _failed(deps, refund, error)
    else:
        await conclude(deps, result)


async def _known(deps: Deps, refund: Refund) -> RefundResult | None:
    try:
        return await deps.pay.query_refund(refund.out_refund_no)
    except RefundNotExist:
        return None


FOR_GOOD = (RequestRefused, RefundNotExist)
"""Refusals that the same request will meet again, unless the cause is a setting of the store (Misconfigured)."""


async def _failed(deps: Deps, refund: Refund, error: WeChatError) -> None:
    for_good = isinstance(error, FOR_GOOD) and not isinstance(error, Misconfigured)
    is_young = deps.clock.now() < refund.requested_at + GIVEN_UP_AFTER
    if not for_good or is_young or refund.tries + 1 < TRIES_BEFORE_CASE:
        await postpone(deps, refund, error)
        return
    try:
        result = await _known(deps, refund)
    except WeChatError as silent:
        await postpone(deps, refund, silent)
        return
    if result is None:
        await give_up(deps, refund, error)
    else:
        await conclude(deps, result)


async def _look_again(deps: Deps, refund: Refund) -> None:
    """Ask about an abnormal refund, and again tomorrow, whatever becomes of this."""
    again = deps.clock.now() + ABNORMAL_AGAIN
    await changed("UPDATE refund SET due_at = $2 WHERE id = $1 AND state = 'abnormal'", [refund.id, again])
    try:
        await conclude(deps, await deps.pay.query_refund(refund.out_refund_no))
    except WeChatError as error:
        log.warning("query_failed", refund_id=str(refund.id), error=error.code)


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of refunds whose next try is due, each leased to the caller for the first retry interval."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE refund SET due_at = $2 WHERE id IN (SELECT id FROM refund WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + RETRY_AFTER[0], limit],
    )
    return [row["id"] for row in claimed]
