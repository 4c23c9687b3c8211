"""What operators do about cases of the exceptions inbox: try again, refund again, accept, pay back by hand."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from uuid import UUID

import structlog

from loyalty.coupons.coupon import CouponNotOffered, CouponsGone
from loyalty.delivery.shipping_upload import ShippingUploadNotFailed
from loyalty.orders.order import CloseReason, OrderState
from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.exception_case import (
    CaseAction,
    CaseActionRefused,
    CaseKind,
    admit_accept,
    admit_action,
    admit_resolution,
)
from loyalty.payments.payment import RefundCause, RefundState, admit_refund_reason
from loyalty.payments.reconciliation import MoneyMove
from loyalty.tiers.tier import TierNotFound
from loyalty.tiers.tier_overlay import TierTrialRefused
from models.engine import changed, retried, rows, transaction
from models.orders.order import Order
from models.payments.payment import ExceptionCase, Payment, PaymentAttempt, Refund
from resolvers.delivery import shipping_upload
from resolvers.deps import Deps
from resolvers.orders import order, order_hold, order_row
from resolvers.payments import notice, payment, reconciliation, refund, refund_end
from resolvers.payments.exception_case import cause_gone, open_one, settled_by
from resolvers.payments.refund_request import admit_anew, request
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.points import mall_exchange
from resolvers.replay import remember, replayed
from wechat.errors import OrderNotExist, RefundNotExist, WeChatError
from wechat.pay_types import Transaction

log = structlog.get_logger()


# --- try again ----------------------------------------------------------------------------------------------------


async def retry(deps: Deps, *, operator_id: UUID, case_id: UUID, idempotency_key: str) -> ExceptionCase:
    """Do the machine's part of a case again, now. The case as it stands then: settled if that helped, else open.

    Raises: CaseNotFound, CaseActionRefused, KeyInvalid, KeyReused.
    """
    case = await _begin_retry(deps, operator_id, case_id, idempotency_key)
    if case is not None:
        try:
            await RETRIES[CaseKind(case.kind)](deps, case, operator_id)
        except WeChatError as error:
            log.warning("retry_failed", case_id=str(case_id), error=error.code)
    return await ExceptionCase.get(id=case_id)


@retried
async def _begin_retry(deps: Deps, operator_id: UUID, case_id: UUID, key: str) -> ExceptionCase | None:
    now = deps.clock.now()
    operation, content = "exceptionCaseRetry", {"case_id": str(case_id)}
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is not None:
            return None
        case = await open_one(case_id)
        admit_action(CaseKind(case.kind), CaseAction.RETRY)
        told = {"kind": case.kind}
        await record(operator_id, "exception_case.retry", "exception_case", case_id, None, told, now)
        await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return case


async def _close(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    one = await _order(case)
    await order.close(deps, order_id=one.id, member_id=one.member_id, reason=CloseReason.BY_OPERATOR)


async def _notice(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    found = await rows("SELECT id FROM payment_notice WHERE notice_id = $1", [case.details["notice_id"]])
    await notice.retry(deps, notice_row_id=found[0]["id"])


async def _query(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    if await payment.query(deps, out_trade_no=case.details["out_trade_no"]) is None:
        return
    async with transaction():
        if await Payment.exists(transaction_id=case.details["transaction_id"]):
            await cause_gone([case.key], how="款项已入账", now=deps.clock.now())


async def _ask_for_refund(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    await refund.send(deps, refund_id=(await _refund_of(case)).id)


async def _release(deps: Deps, case: ExceptionCase, operator_id: UUID) -> None:
    one = await _order(case)
    if one.state in (OrderState.UNPAID, OrderState.CLOSING):
        await _close(deps, case, operator_id)
        return
    now = deps.clock.now()
    async with transaction(one.member_id):
        await lock_operator(operator_id)
        one = await Order.get(id=one.id)
        if one.state != OrderState.CLOSED:
            return
        for held in order_hold.OWN:
            await held.release(deps, one, now)
        await settled_by(operator_id, await open_one(case.id), action="release", how="已释放占用", now=now)


async def _deliver(deps: Deps, case: ExceptionCase, operator_id: UUID) -> None:
    one = await _order(case)
    now = deps.clock.now()
    try:
        async with transaction(one.member_id):
            await lock_operator(operator_id)
            one = await Order.get(id=one.id)
            if one.state != OrderState.PAID:
                raise CaseActionRefused()
            case = await open_one(case.id)
            await mall_exchange.deliver_again(one, now=now, zone=deps.zone)
            await settled_by(operator_id, case, action="deliver", how="已重新发放", now=now)
    except (TierNotFound, TierTrialRefused, CouponNotOffered, CouponsGone) as refusal:
        log.warning("still_undelivered", case_id=str(case.id), reason=refusal.code)


async def _compare(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    """Ask WeChat about what its bill and our books tell differently; book it, and see whether they agree now."""
    number = case.details["number"]
    if case.details["move"] == MoneyMove.PAYMENT:
        agrees = await _payment_agrees(deps, number, date.fromisoformat(case.details["day"]))
    else:
        agrees = await _refund_agrees(deps, number)
    if agrees:
        async with transaction():
            await cause_gone([case.key], how="微信查询结果与账一致", now=deps.clock.now())


async def _read_bill(deps: Deps, case: ExceptionCase, _: UUID) -> None:
    await reconciliation.reconcile(deps, day=date.fromisoformat(case.details["day"]))


async def _payment_agrees(deps: Deps, transaction_id: str, day: date) -> bool:
    found = await rows(
        "SELECT attempt.out_trade_no FROM payment JOIN payment_attempt attempt ON attempt.id = payment.attempt_id "
        "WHERE payment.transaction_id = $1 UNION SELECT billed.out_trade_no FROM bill_row billed "
        "JOIN bill_run run ON run.id = billed.run_id WHERE run.day = $2 AND move = 'payment' AND number = $1",
        [transaction_id, day],
    )
    for row in found:
        try:
            told = await deps.pay.query(row["out_trade_no"])
        except OrderNotExist:
            continue
        if not told.paid or told.transaction_id != transaction_id:
            continue
        await payment.apply(deps, told)
        booked = await Payment.get_or_none(transaction_id=transaction_id)
        return booked is not None and booked.total_fen == told.total_fen
    return False


async def _refund_agrees(deps: Deps, out_refund_no: str) -> bool:
    try:
        told = await deps.pay.query_refund(out_refund_no)
    except RefundNotExist:
        return False
    await refund_end.conclude(deps, told)
    booked = await Refund.get_or_none(out_refund_no=out_refund_no)
    return booked is not None and booked.amount_fen == told.refund_fen


async def _upload(deps: Deps, case: ExceptionCase, operator_id: UUID) -> None:
    try:
        upload = await shipping_upload.try_again(deps, operator_id=operator_id, order_id=(await _order(case)).id)
    except ShippingUploadNotFailed:
        raise CaseActionRefused() from None
    await shipping_upload.send(deps, upload_id=upload.id)


Retry = Callable[[Deps, ExceptionCase, UUID], Awaitable[None]]
RETRIES: Mapping[CaseKind, Retry] = {
    CaseKind.UNKNOWN_ORDER: _query,
    CaseKind.LATE_PAYMENT: _ask_for_refund,
    CaseKind.DUPLICATE_PAYMENT: _ask_for_refund,
    CaseKind.NOTICE_STUCK: _notice,
    CaseKind.CLOSE_STUCK: _close,
    CaseKind.HOLD_STUCK: _release,
    CaseKind.REFUND_STUCK: _ask_for_refund,
    CaseKind.REFUND_ABNORMAL: _ask_for_refund,
    CaseKind.REFUND_MISMATCH: _ask_for_refund,
    CaseKind.EXCHANGE_UNDELIVERED: _deliver,
    CaseKind.SHIPPING_UPLOAD_FAILED: _upload,
    CaseKind.BILL_MISSING: _read_bill,
    CaseKind.BILL_OURS_ONLY: _compare,
    CaseKind.BILL_THEIRS_ONLY: _compare,
    CaseKind.BILL_AMOUNT_DIFFERS: _compare,
}
"""What trying again means for each kind that has it."""


# --- refund -------------------------------------------------------------------------------------------------------


async def refund_again(
    deps: Deps, *, operator_id: UUID, case_id: UUID, reason: str, idempotency_key: str
) -> ExceptionCase:
    """Ask for the money of a case back: what WeChat closed anew, a payment that does not agree, an exchange.

    Raises: CaseNotFound, CaseActionRefused, RefundReasonInvalid, RefundsUsedUp, RefundOverdue, MallNotReturnable,
        ClawBackBlocked, KeyInvalid, KeyReused.
    """
    case = await ExceptionCase.get_or_none(id=case_id)
    stray = await _paid_of(deps, case) if case and case.kind == CaseKind.PAYMENT_MISMATCH else None
    if case is not None and case.kind == CaseKind.EXCHANGE_UNDELIVERED and case.resolved_at is None:
        # Under a key of the case's own, so that whoever asks again meets the same refund.
        await refund.refund_order(
            deps,
            operator_id=operator_id,
            order_id=(await _order(case)).id,
            reason=reason,
            idempotency_key=f"case:{case_id}",
        )
    refund_id = await _request(deps, operator_id, case_id, reason, stray, idempotency_key)
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)
    return await ExceptionCase.get(id=case_id)


@retried
async def _request(
    deps: Deps, operator_id: UUID, case_id: UUID, reason: str, stray: Transaction | None, key: str
) -> UUID | None:
    now = deps.clock.now()
    operation, content = "exceptionCaseRefund", {"case_id": str(case_id), "reason": reason}
    async with transaction(*await _members(case_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return UUID(before["refund_id"]) if before["refund_id"] else None
        admit_refund_reason(reason)
        case = await open_one(case_id)
        admit_action(CaseKind(case.kind), CaseAction.REFUND)
        refund_id: UUID | None = None
        match CaseKind(case.kind):
            case CaseKind.EXCHANGE_UNDELIVERED:
                pass
            case CaseKind.PAYMENT_MISMATCH:
                one, attempt = await _unbooked(case, stray)
                assert stray is not None, "only what WeChat collected is unbooked"
                refund_id = await payment.refuse(one, attempt, stray, reason=reason, now=now)
            case _:
                refund_id = await _anew(await _refund_of(case), reason, now)
        await settled_by(operator_id, case, action="refund", how=f"已申请退款：{reason.strip()}", now=now)
        result = {"refund_id": str(refund_id) if refund_id else None}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return refund_id


async def _anew(closed: Refund, reason: str, now: datetime) -> UUID:
    await _admit_closed(closed, RefundState.CLOSED)
    paid = await Payment.get(id=closed.payment_id)
    await admit_anew(paid, now)
    await order_row.note(
        closed.order_id, OrderEventKind.REFUND_REQUESTED, now, reason=reason, amount_fen=closed.amount_fen
    )
    asked = await request(
        await Order.get(id=closed.order_id),
        paid,
        cause=RefundCause(closed.cause),
        reason=reason,
        now=now,
        amount_fen=closed.amount_fen,
        order_refund_id=closed.order_refund_id,
    )
    return asked.id


async def _admit_closed(one: Refund, *states: RefundState) -> None:
    """Whether a refund stands in one of these states and nothing else pays the same money back."""
    if one.state not in states or await refund_end.pays_otherwise(one):
        raise CaseActionRefused()


# --- accept -------------------------------------------------------------------------------------------------------


async def accept(deps: Deps, *, operator_id: UUID, case_id: UUID, note: str, idempotency_key: str) -> ExceptionCase:
    """Book a payment that does not agree with its order, though never one of another amount.

    Raises: CaseNotFound, CaseActionRefused, ResolutionInvalid, KeyInvalid, KeyReused.
    """
    case = await ExceptionCase.get_or_none(id=case_id)
    stray = await _paid_of(deps, case) if case and case.kind == CaseKind.PAYMENT_MISMATCH else None
    refund_id = await _accept(deps, operator_id, case_id, note, stray, idempotency_key)
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)
    return await ExceptionCase.get(id=case_id)


@retried
async def _accept(
    deps: Deps, operator_id: UUID, case_id: UUID, note: str, stray: Transaction | None, key: str
) -> UUID | None:
    now = deps.clock.now()
    operation, content = "exceptionCaseAccept", {"case_id": str(case_id), "note": note}
    async with transaction(*await _members(case_id)):
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is not None:
            return None
        admit_resolution(note)
        case = await open_one(case_id)
        admit_action(CaseKind(case.kind), CaseAction.ACCEPT)
        one, attempt = await _unbooked(case, stray)
        assert stray is not None, "only what WeChat collected is unbooked"
        admit_accept(paid_fen=stray.total_fen, expected_fen=attempt.total_fen)
        _, refund_id = await payment.take(deps, one, attempt, stray, now)
        await settled_by(operator_id, case, action="accept", how=note.strip(), now=now)
        await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return refund_id


async def _paid_of(deps: Deps, case: ExceptionCase) -> Transaction | None:
    """What WeChat says today about the payment of a mismatch; None when it does not say that it was paid."""
    attempts = await PaymentAttempt.filter(order_id=case.order_id).order_by("id")
    for attempt in attempts:
        try:
            told = await deps.pay.query(attempt.out_trade_no)
        except WeChatError as error:
            log.warning("query_failed", error=error.code)
            continue
        if told.paid and told.transaction_id == case.details["transaction_id"]:
            return told
    return None


async def _unbooked(case: ExceptionCase, stray: Transaction | None) -> tuple[Order, PaymentAttempt]:
    """The order and attempt of a payment that is not booked yet, the first of its number.

    Raises: CaseActionRefused.
    """
    if stray is None or stray.total_fen is None or await Payment.exists(transaction_id=stray.transaction_id):
        raise CaseActionRefused()
    attempt = await PaymentAttempt.get(out_trade_no=stray.out_trade_no)
    if await Payment.exists(attempt_id=attempt.id):
        raise CaseActionRefused()
    return await _order(case), attempt


# --- paid by hand -------------------------------------------------------------------------------------------------


@retried
async def paid_by_hand(
    deps: Deps, *, operator_id: UUID, case_id: UUID, evidence: str, idempotency_key: str
) -> ExceptionCase:
    """Book a refund that WeChat closed, or cannot bring to the payer, as paid back in another way.

    Raises: CaseNotFound, CaseActionRefused, ResolutionInvalid, KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    key, operation = idempotency_key, "exceptionCasePaidByHand"
    content = {"case_id": str(case_id), "evidence": evidence}
    async with transaction(*await _members(case_id)):
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            admit_resolution(evidence)
            case = await open_one(case_id)
            admit_action(CaseKind(case.kind), CaseAction.PAID_BY_HAND)
            one = await _refund_of(case)
            await _admit_closed(one, RefundState.CLOSED, RefundState.ABNORMAL)
            await changed(
                "UPDATE refund SET state = 'succeeded', evidence = $2, finished_at = $3, due_at = NULL WHERE id = $1",
                [one.id, evidence.strip(), now],
            )
            await order_row.note(one.order_id, OrderEventKind.REFUND_BY_HAND, now, amount_fen=one.amount_fen)
            await settled_by(operator_id, case, action="paid_by_hand", how=evidence.strip(), now=now)
            await refund_end.money_is_back(deps, await Refund.get(id=one.id), now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await ExceptionCase.get(id=case_id)


# --- what a case is about -----------------------------------------------------------------------------------------


async def _members(case_id: UUID) -> list[UUID]:
    found = await rows(
        "SELECT o.member_id FROM exception_case JOIN shop_order o ON o.id = order_id WHERE exception_case.id = $1",
        [case_id],
    )
    return [row["member_id"] for row in found]


async def _order(case: ExceptionCase) -> Order:
    assert case.order_id is not None, "this kind of case is about an order"
    return await Order.get(id=case.order_id)


async def _refund_of(case: ExceptionCase) -> Refund:
    """The refund a case names; of a payment that was given back, the latest one."""
    named = await Refund.get(id=UUID(case.details["refund_id"]))
    if case.kind not in (CaseKind.LATE_PAYMENT, CaseKind.DUPLICATE_PAYMENT):
        return named
    latest = await Refund.filter(payment_id=named.payment_id).order_by("-id").first()
    assert latest is not None, "it has one at least"
    return latest
