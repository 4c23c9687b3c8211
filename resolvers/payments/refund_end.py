"""How a refund goes on and ends: booked when its money is back, or closed, or a person's affair."""

from datetime import datetime, timedelta

import structlog

from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.payment import RefundState
from loyalty.payments.refund import ByHand
from models.engine import changed, retried, rows, transaction
from models.payments.payment import Refund
from resolvers.deps import Deps
from resolvers.orders.order_row import member_of, note
from resolvers.payments.exception_case import cause_gone, open_case
from resolvers.payments.refund_part import finish
from resolvers.payments.refund_request import RETRY_AFTER, tell_by_hand
from wechat.errors import WeChatError
from wechat.pay_types import RefundNotice, RefundResult

log = structlog.get_logger()

TRIES_BEFORE_CASE = 5

GIVEN_UP_AFTER = timedelta(hours=1)
"""How long a request is tried at least, however often somebody asks: WeChat wants a minute between two of one order."""

SLOW = timedelta(days=3)
"""How long WeChat may take for a refund that it has accepted before a person looks: a bank takes 3 days at most."""

ABNORMAL_AGAIN = timedelta(days=1)
"""How often WeChat is asked about an abnormal refund, which a person may settle in its console."""


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
        if not await _is_open_to(refund, result, now):
            return True
        if result.refund_fen != refund.amount_fen:
            await _later(refund, now)
            await _case(refund, "refund_mismatch", now)
            return True
        match result.status:
            case "SUCCESS":
                await _set(refund, RefundState.SUCCEEDED, result.refund_id, due_at=None, finished_at=now)
                await money_is_back(deps, refund, now)
            case "CLOSED":
                await _set(refund, RefundState.CLOSED, result.refund_id, due_at=None, finished_at=now)
                await _has_failed(refund, "refund_closed", now)
            case "ABNORMAL":
                again = now + ABNORMAL_AGAIN
                await _set(refund, RefundState.ABNORMAL, result.refund_id, due_at=again, finished_at=now)
                await _has_failed(refund, "refund_abnormal", now)
            case _:
                again = now + _wait(refund.tries + 1)
                await _set(refund, RefundState.PROCESSING, result.refund_id, due_at=again, finished_at=None)
                if now >= refund.requested_at + SLOW:
                    await _case(refund, "refund_stuck", now)
    return True


async def _is_open_to(refund: Refund, result: RefundResult | RefundNotice, now: datetime) -> bool:
    """Whether a refund may still become what WeChat says: a final one only if WeChat pays what was closed here.

    A person is told if WeChat pays what went back in another way.
    """
    if refund.state not in (RefundState.SUCCEEDED, RefundState.CLOSED):
        return True
    is_by_wechat = refund.state == RefundState.SUCCEEDED and not refund.evidence
    if result.status != "SUCCESS" or is_by_wechat:
        return False
    if refund.state == RefundState.CLOSED and not await pays_otherwise(refund):
        return True
    await _case(refund, "refund_twice", now)
    return False


async def pays_otherwise(refund: Refund) -> bool:
    """Whether another refund has brought, or may still bring, the same money back."""
    others = Refund.filter(payment_id=refund.payment_id, order_refund_id=refund.order_refund_id)
    return await others.exclude(id=refund.id).exclude(state=RefundState.CLOSED).exists()


async def _set(
    refund: Refund, state: RefundState, wechat_refund_id: str, *, due_at: datetime | None, finished_at: datetime | None
) -> None:
    await changed(
        "UPDATE refund SET state = $2, wechat_refund_id = $3, finished_at = $4, due_at = $5, tries = tries + 1 "
        "WHERE id = $1",
        [refund.id, state, wechat_refund_id, finished_at, due_at],
    )


async def _later(refund: Refund, now: datetime) -> None:
    await changed(
        "UPDATE refund SET tries = tries + 1, due_at = $2 WHERE id = $1", [refund.id, now + _wait(refund.tries + 1)]
    )


def _wait(tries: int) -> timedelta:
    return RETRY_AFTER[min(tries, len(RETRY_AFTER) - 1)]


async def _has_failed(refund: Refund, kind: str, now: datetime, **why: str) -> None:
    """The order tells it, once for each request: one that was abnormal already has. A person is told why."""
    if refund.state != RefundState.ABNORMAL:
        await note(refund.order_id, OrderEventKind.REFUND_FAILED, now, amount_fen=refund.amount_fen)
    await _no_longer_stuck(refund, now)
    await _case(refund, kind, now, **why)


async def _no_longer_stuck(refund: Refund, now: datetime) -> None:
    await cause_gone([f"refund_stuck:{refund.out_refund_no}"], how="退款已有结果", now=now)


async def _case(refund: Refund, kind: str, now: datetime, **more: str) -> None:
    await open_case(
        kind=kind,
        key=f"{kind}:{refund.out_refund_no}",
        order_id=refund.order_id,
        details={"refund_id": str(refund.id), "amount_fen": refund.amount_fen, **more},
        now=now,
    )


async def postpone(deps: Deps, refund: Refund, error: WeChatError) -> None:
    """WeChat did not take a request, or did not answer: it is tried again later, and at last a person is told."""
    now = deps.clock.now()
    log.warning("refund_postponed", refund_id=str(refund.id), error=error.code, tries=refund.tries)
    async with transaction():
        kept = await changed(
            "UPDATE refund SET tries = tries + 1, due_at = $2, last_error = $3 "
            "WHERE id = $1 AND state IN ('requested', 'processing')",
            [refund.id, now + _wait(refund.tries), str(error.code)[:200]],
        )
        if kept and refund.tries + 1 >= TRIES_BEFORE_CASE:
            await _case(refund, "refund_stuck", now, error=error.code)


@retried
async def give_up(deps: Deps, refund: Refund, error: WeChatError | None) -> None:
    """Close a request that WeChat does not have and does not take: it refuses it for good, or no ``error``: overdue."""
    now = deps.clock.now()
    log.warning("refund_given_up", refund_id=str(refund.id), error=error.code if error else ByHand.OVERDUE)
    async with transaction(await member_of(refund.order_id)):
        closed = await changed(
            "UPDATE refund SET state = 'closed', finished_at = $2, due_at = NULL, tries = tries + 1, last_error = $3 "
            "WHERE id = $1 AND state IN ('requested', 'processing')",
            [refund.id, now, error.code[:200] if error else ByHand.OVERDUE],
        )
        if closed and error is None:
            await _no_longer_stuck(refund, now)
            await tell_by_hand(refund, ByHand.OVERDUE, now)
        elif closed and error is not None:
            await _has_failed(refund, "refund_closed", now, error=error.code, message=error.message[:200])


async def money_is_back(deps: Deps, refund: Refund, now: datetime) -> None:
    """Book what it means that a refund reached the payer, by WeChat or by hand, and settle the cases about it.

    In the caller's transaction with the member locked.
    """
    asked = await rows(
        "SELECT out_refund_no, transaction_id FROM refund JOIN payment ON payment.id = refund.payment_id "
        "WHERE payment_id = $1 AND order_refund_id IS NOT DISTINCT FROM $2",
        [refund.payment_id, refund.order_refund_id],
    )
    kinds = ("refund_stuck", "refund_closed", "refund_abnormal", "refund_mismatch", "refunds_used_up")
    keys = [f"{kind}:{row['out_refund_no']}" for row in asked for kind in kinds]
    await cause_gone([*keys, f"{refund.cause}:{asked[0]['transaction_id']}"], how="款项已退回", now=now)
    if refund.order_refund_id is not None:
        await finish(deps, refund.order_refund_id, now)
    else:
        await note(refund.order_id, OrderEventKind.PAYMENT_RETURNED, now, amount_fen=refund.amount_fen)
