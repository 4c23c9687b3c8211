"""Money going back: the request row first, then WeChat under the same number until it is final, then the books."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from loyalty.orders.order import OrderNotFound, OrderState
from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.payment import RefundCause, RefundState, admit_refund_reason
from loyalty.payments.refund import PartState, RefundNotStuck
from models.engine import changed, retried, rows, transaction
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.payments.payment import Payment, Refund
from resolvers.deps import Deps
from resolvers.orders.order_row import note
from resolvers.payments.after_sale_row import close_open
from resolvers.payments.exception_case import cause_gone, open_case
from resolvers.payments.refund_part import Wish, finish, open_part
from resolvers.payments.refund_request import RETRY_AFTER, payment_of, request
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed
from wechat.errors import RefundNotExist, WeChatError
from wechat.pay_types import RefundNotice, RefundResult

log = structlog.get_logger()

TRIES_BEFORE_CASE = 5

SLOW = timedelta(days=3)
"""How long WeChat may take for a refund that it has accepted before a person looks: a bank takes 3 days at most."""


async def refund_order(deps: Deps, *, operator_id: UUID, order_id: UUID, reason: str, idempotency_key: str) -> Order:
    """Refund all that is left of a paid order, as the shop's affair: shipping and stock come back too.

    Open after-sale requests of the order are closed. The books change when WeChat says that the money is back; what
    costs no money is refunded at once. An order whose refund WeChat has closed is refunded anew, under another number.

    Raises:
        OrderNotFound, OrderStateRefused: there is nothing to refund.
        RefundReasonInvalid: the payer must be told why.
        RefundInProgress, RefundsUsedUp: another refund is on its way, or WeChat takes no other number for it.
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


async def member_of(order_id: UUID) -> UUID:
    """Whose order it is. Raises: OrderNotFound."""
    found = await rows("SELECT member_id FROM shop_order WHERE id = $1", [order_id])
    if not found:
        raise OrderNotFound()
    member_id: UUID = found[0]["member_id"]
    return member_id


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
        RefundsUsedUp: WeChat takes no more refunds of the payment.
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
    """Bring a refund one step further: ask for it, or ask how it stands. Harmless to repeat, always the same number."""
    refund = await Refund.get(id=refund_id)
    if refund.state not in (RefundState.REQUESTED, RefundState.PROCESSING):
        return
    payment = await Payment.get(id=refund.payment_id)
    attempts = await rows("SELECT out_trade_no FROM payment_attempt WHERE id = $1", [payment.attempt_id])
    try:
        # Once a request went out, WeChat may have it although its answer was lost.
        result = await _known(deps, refund) if refund.tries or refund.state == RefundState.PROCESSING else None
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
        await _postpone(deps, refund, error)
    else:
        await conclude(deps, result)


async def _known(deps: Deps, refund: Refund) -> RefundResult | None:
    try:
        return await deps.pay.query_refund(refund.out_refund_no)
    except RefundNotExist:
        return None


async def _postpone(deps: Deps, refund: Refund, error: WeChatError) -> None:
    now = deps.clock.now()
    log.warning("refund_postponed", refund_id=str(refund.id), error=error.code, tries=refund.tries)
    async with transaction():
        await changed(
            "UPDATE refund SET tries = tries + 1, due_at = $2, last_error = $3 "
            "WHERE id = $1 AND state IN ('requested', 'processing')",
            [refund.id, now + _wait(refund.tries), str(error.code)[:200]],
        )
        if refund.tries + 1 >= TRIES_BEFORE_CASE:
            await open_case(
                kind="refund_stuck",
                key=f"refund_stuck:{refund.out_refund_no}",
                order_id=refund.order_id,
                details={"refund_id": str(refund.id), "error": str(error.code)},
                now=now,
            )


def _wait(tries: int) -> timedelta:
    return RETRY_AFTER[min(tries, len(RETRY_AFTER) - 1)]


@retried
async def conclude(deps: Deps, result: RefundResult | RefundNotice) -> bool:
    """Book how a refund stands at WeChat, by answer, query or notice. False when the number is not ours.

    What WeChat cannot finish (ABNORMAL, CLOSED) opens a case.
    """
    now = deps.clock.now()
    found = await rows(
        "SELECT refund.id, o.member_id FROM refund JOIN shop_order o ON o.id = refund.order_id "
        "WHERE refund.out_refund_no = $1",
        [result.out_refund_no],
    )
    if not found:
        return False
    async with transaction(found[0]["member_id"]):
        refund = await Refund.get(id=found[0]["id"])
        if refund.state in (RefundState.SUCCEEDED, RefundState.CLOSED):
            return True
        if result.refund_fen != refund.amount_fen:
            await _refund_case(refund, "refund_mismatch", now)
            return True
        match result.status:
            case "SUCCESS":
                await _set(refund, RefundState.SUCCEEDED, result.refund_id, now, finished=True)
                await money_is_back(deps, refund, now)
            case "CLOSED":
                await _set(refund, RefundState.CLOSED, result.refund_id, now, finished=True)
                await _tell_failed(refund, now)
                await _refund_case(refund, "refund_closed", now)
            case "ABNORMAL":
                await _set(refund, RefundState.ABNORMAL, result.refund_id, now, finished=True)
                await _tell_failed(refund, now)
                await _refund_case(refund, "refund_abnormal", now)
            case _:
                await _set(refund, RefundState.PROCESSING, result.refund_id, now, finished=False)
                if now >= refund.requested_at + SLOW:
                    await _refund_case(refund, "refund_stuck", now)
    return True


async def _set(refund: Refund, state: RefundState, wechat_refund_id: str, now: datetime, *, finished: bool) -> None:
    await changed(
        "UPDATE refund SET state = $2, wechat_refund_id = $3, finished_at = $4, due_at = $5, tries = tries + 1 "
        "WHERE id = $1",
        [
            refund.id,
            state,
            wechat_refund_id,
            now if finished else None,
            None if finished else now + _wait(refund.tries + 1),
        ],
    )


async def _tell_failed(refund: Refund, now: datetime) -> None:
    """Once for each request: one that was abnormal already has told it."""
    if refund.state != RefundState.ABNORMAL:
        await note(refund.order_id, OrderEventKind.REFUND_FAILED, now, amount_fen=refund.amount_fen)


async def _refund_case(refund: Refund, kind: str, now: datetime) -> None:
    await open_case(
        kind=kind,
        key=f"{kind}:{refund.out_refund_no}",
        order_id=refund.order_id,
        details={"refund_id": str(refund.id), "amount_fen": refund.amount_fen},
        now=now,
    )


async def money_is_back(deps: Deps, refund: Refund, now: datetime) -> None:
    """Book what it means that a refund reached the payer, by WeChat or by hand, and settle the cases about it.

    In the caller's transaction with the member locked.
    """
    asked = await rows(
        "SELECT out_refund_no, transaction_id FROM refund JOIN payment ON payment.id = refund.payment_id "
        "WHERE payment_id = $1 AND order_refund_id IS NOT DISTINCT FROM $2",
        [refund.payment_id, refund.order_refund_id],
    )
    kinds = ("refund_stuck", "refund_closed", "refund_abnormal", "refund_mismatch")
    keys = [f"{kind}:{row['out_refund_no']}" for row in asked for kind in kinds]
    await cause_gone([*keys, f"{refund.cause}:{asked[0]['transaction_id']}"], how="款项已退回", now=now)
    if refund.order_refund_id is not None:
        await finish(deps, refund.order_refund_id, now)
    else:
        await note(refund.order_id, "payment_returned", now, amount_fen=refund.amount_fen)


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of refunds whose next try is due, each leased to the caller for the first retry interval."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE refund SET due_at = $2 WHERE id IN (SELECT id FROM refund WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + RETRY_AFTER[0], limit],
    )
    return [row["id"] for row in claimed]
