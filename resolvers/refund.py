"""Money going back: the request row first, then WeChat under the same number until it is final, then the books."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from loyalty.order import OrderNotFound, OrderState
from loyalty.payment import PaymentOutcome, RefundCause, RefundState, admit_refund_reason
from loyalty.points import ClawBackMode
from loyalty.points_lot import claw_back
from models import points_ledger as ledger
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.order import Order
from models.payment import Payment, Refund
from resolvers import order_hold, points
from resolvers.audit import record
from resolvers.deps import Deps
from resolvers.exception_case import open_case
from resolvers.growth import reverse_growth
from resolvers.mall_exchange import take_back
from resolvers.operator import lock_operator
from resolvers.order_row import note, step
from resolvers.programme import tier_table, version
from resolvers.referral_reward import order_refunded
from resolvers.replay import remember, replayed
from wechat.errors import RefundNotExist, WeChatError
from wechat.pay_types import RefundNotice, RefundResult

log = structlog.get_logger()

RETRY_AFTER = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""How long an unfinished refund waits after each try; the last one repeats."""

TRIES_BEFORE_CASE = 5


async def request(order: Order, payment: Payment, *, cause: RefundCause, reason: str, now: datetime) -> Refund:
    """Write the request for all of a payment, in the caller's transaction.

    Each payment has one request that WeChat has not closed (unique).
    """
    refund_id = new_id(now)
    return await Refund.create(
        id=refund_id,
        order_id=order.id,
        payment_id=payment.id,
        out_refund_no=refund_id.hex,
        amount_fen=payment.total_fen,
        cause=cause,
        reason=reason,
        state=RefundState.REQUESTED,
        due_at=now + RETRY_AFTER[0],
        requested_at=now,
    )


async def refund_order(deps: Deps, *, operator_id: UUID, order_id: UUID, reason: str, idempotency_key: str) -> Order:
    """Refund a paid order in full: its money, coupons, points, growth value and stock all go back.

    The books change when WeChat says that the money is back; an order that cost no money is refunded at once. An order
    whose refund WeChat has closed is refunded anew, under another number.

    Raises:
        OrderNotFound, OrderStateRefused: there is nothing to refund.
        RefundReasonInvalid: the payer must be told why.
        MallNotReturnable: what a mall exchange gave is used, or was a gift to charity.
        ClawBackBlocked: the programme forbids it while earned points are spent.
        KeyInvalid, KeyReused: the idempotency key.
    """
    refund_id = await _open_refund(
        deps, operator_id=operator_id, order_id=order_id, reason=reason, idempotency_key=idempotency_key
    )
    if refund_id is not None:
        await send(deps, refund_id=refund_id)
    return await Order.get(id=order_id)


@retried
async def _open_refund(
    deps: Deps, *, operator_id: UUID, order_id: UUID, reason: str, idempotency_key: str
) -> UUID | None:
    now = deps.clock.now()
    found = await rows("SELECT member_id FROM shop_order WHERE id = $1", [order_id])
    if not found:
        raise OrderNotFound()
    content = {"order_id": str(order_id), "reason": reason}
    async with transaction(found[0]["member_id"]):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="orderRefund", content=content)
        if before is not None:
            return UUID(before["refund_id"]) if before["refund_id"] else None
        admit_refund_reason(reason)
        order = await Order.get(id=order_id)
        if not await _given_up_by_wechat(order):
            await step(order, OrderState.REFUNDING)
            await take_back(order, now)
            await _admit_claw_back(order, now)
        await note(order_id, "refund_requested", now, reason=reason, amount_fen=order.payable_fen)
        payment = await Payment.get_or_none(
            order_id=order_id, outcome__in=[PaymentOutcome.SETTLED, PaymentOutcome.REVIVED]
        )
        refund_id = None
        if payment is None:
            await _undo(deps, order, now)
        else:
            refund_id = (await request(order, payment, cause=RefundCause.BY_OPERATOR, reason=reason, now=now)).id
        await record(
            operator_id,
            "order.refund",
            "order",
            order_id,
            {"state": OrderState.PAID},
            {"state": order.state, "reason": reason},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="orderRefund",
            content=content,
            result={"refund_id": str(refund_id) if refund_id else None},
            now=now,
        )
        return refund_id


async def _given_up_by_wechat(order: Order) -> bool:
    """Whether WeChat has closed the refund of this order unpaid, so that it takes another one under a new number."""
    if order.state != OrderState.REFUNDING:
        return False
    live = Refund.filter(order_id=order.id, cause=RefundCause.BY_OPERATOR).exclude(state=RefundState.CLOSED)
    return not await live.exists()


async def _admit_claw_back(order: Order, now: datetime) -> None:
    programme = await version("points", order.points_version_id)
    if programme.rules.clawback_mode is not ClawBackMode.BLOCK:
        return
    earned = await points.left_of_earned(order.member_id, cause_kind="order", cause_id=order.id, now=now)
    if earned:
        lots = await ledger.open_lots(order.member_id)
        claw_back(ClawBackMode.BLOCK, own=(), others=lots, amount=earned, now=now)


async def send(deps: Deps, *, refund_id: UUID) -> None:
    """Bring a refund one step further: ask for it, or ask how it stands. Harmless to repeat, always the same number."""
    refund = await Refund.get(id=refund_id)
    if refund.state not in (RefundState.REQUESTED, RefundState.PROCESSING):
        return
    payment = await Payment.get(id=refund.payment_id)
    attempts = await rows("SELECT out_trade_no, total_fen FROM payment_attempt WHERE id = $1", [payment.attempt_id])
    try:
        # Once a request went out, WeChat may have it although its answer was lost.
        result = await _known(deps, refund) if refund.tries or refund.state == RefundState.PROCESSING else None
        if result is None:
            result = await deps.pay.refund(
                out_trade_no=attempts[0]["out_trade_no"],
                out_refund_no=refund.out_refund_no,
                refund_fen=refund.amount_fen,
                total_fen=attempts[0]["total_fen"],
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
                await _finish(deps, refund, now)
            case "CLOSED":
                await _set(refund, RefundState.CLOSED, result.refund_id, now, finished=True)
                await _refund_case(refund, "refund_closed", now)
            case "ABNORMAL":
                await _set(refund, RefundState.ABNORMAL, result.refund_id, now, finished=True)
                await _refund_case(refund, "refund_abnormal", now)
            case _:
                await _set(refund, RefundState.PROCESSING, result.refund_id, now, finished=False)
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


async def _refund_case(refund: Refund, kind: str, now: datetime) -> None:
    await open_case(
        kind=kind,
        key=f"{kind}:{refund.out_refund_no}",
        order_id=refund.order_id,
        details={"refund_id": str(refund.id), "amount_fen": refund.amount_fen},
        now=now,
    )


async def _finish(deps: Deps, refund: Refund, now: datetime) -> None:
    order = await Order.get(id=refund.order_id)
    if refund.cause in (RefundCause.BY_OPERATOR, RefundCause.BY_MEMBER):
        await _undo(deps, order, now)
    else:
        await note(order.id, "payment_returned", now, amount_fen=refund.amount_fen)


async def _undo(deps: Deps, order: Order, now: datetime) -> None:
    await step(order, OrderState.REFUNDED, refunded_at=now)
    await note(order.id, "refunded", now, amount_fen=order.payable_fen)
    programme = await version("points", order.points_version_id)
    await order_hold.give_back_own(deps, order, now)
    earned = await points.left_of_earned(order.member_id, cause_kind="order", cause_id=order.id, now=now)
    if earned:
        # The money is back already, so a programme that blocks can only write down what is missing.
        mode = programme.rules.clawback_mode
        await points.take_back(
            order.member_id,
            cause_kind="order",
            cause_id=order.id,
            amount=earned,
            key=f"order:{order.id}:take_back",
            now=now,
            programme=programme,
            mode=ClawBackMode.DEBT if mode is ClawBackMode.BLOCK else mode,
        )
    table = await tier_table(now)
    await reverse_growth(
        order.member_id, cause_id=order.id, key=f"order:{order.id}:growth_back", now=now, zone=deps.zone, table=table
    )
    await order_refunded(order, now=now)
    await order_hold.give_back_shared(deps, order, now)


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of refunds whose next try is due, each leased to the caller for the first retry interval."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE refund SET due_at = $2 WHERE id IN (SELECT id FROM refund WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + RETRY_AFTER[0], limit],
    )
    return [row["id"] for row in claimed]
