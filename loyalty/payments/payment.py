"""Payments: what a success must agree with before it counts, when to ask WeChat, and how a notice ends.

Source: docs/rules/payment.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum

from loyalty.refusal import Refusal

CURRENCY = "CNY"

POLL_AFTER = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=10))
"""How long after its creation an unpaid attempt is asked about, once each."""

LAST_POLL_BEFORE = timedelta(seconds=20)
"""The last question comes this long before the order closes."""


class AttemptState(StrEnum):
    """One try to pay an order at WeChat, with its own number there."""

    CREATED = "created"
    PREPAID = "prepaid"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    FAILED = "failed"


ATTEMPT_TRANSITIONS: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.CREATED: frozenset(
        {AttemptState.PREPAID, AttemptState.SUCCEEDED, AttemptState.CLOSED, AttemptState.FAILED}
    ),
    AttemptState.PREPAID: frozenset({AttemptState.SUCCEEDED, AttemptState.CLOSED}),
    AttemptState.SUCCEEDED: frozenset(),
    AttemptState.CLOSED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.FAILED: frozenset({AttemptState.SUCCEEDED}),
}
"""Every step an attempt may take. A success counts whatever we believed before: the money is there."""


class RefundState(StrEnum):
    """One refund at WeChat. The number stays the same on every retry; ABNORMAL needs a person."""

    REQUESTED = "requested"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    ABNORMAL = "abnormal"


class RefundCause(StrEnum):
    """Why money goes back."""

    BY_OPERATOR = "by_operator"
    BY_MEMBER = "by_member"
    DUPLICATE_PAYMENT = "duplicate_payment"
    LATE_PAYMENT = "late_payment"
    MISMATCHED_PAYMENT = "mismatched_payment"
    TEAM_FAILED = "team_failed"


class PaymentOutcome(StrEnum):
    """What became of money that WeChat collected: it paid the order, revived a closed one, or is given back.

    REFUSED did not agree with its order, and an operator sent it back.
    """

    SETTLED = "settled"
    REVIVED = "revived"
    LATE = "late"
    SECOND = "second"
    REFUSED = "refused"


class NoticeOutcome(StrEnum):
    """How a verified notice ended. Only APPLIED has effects; every other one is kept with its reason."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    SECOND_PAYMENT = "second_payment"
    REVIVED = "revived"
    LATE_REFUNDED = "late_refunded"
    MISMATCH = "mismatch"
    UNKNOWN_ORDER = "unknown_order"
    IGNORED = "ignored"


class PaymentMismatch(Refusal):
    """A payment that does not agree with its order; ``fields`` names what differs. Nothing changes."""

    code = "PAYMENT_MISMATCH"
    zh = "支付结果与订单不一致：{fields}"
    en = "The payment does not agree with the order: {fields}."


class PaymentUnavailable(Refusal):
    """WeChat did not answer or refused the prepay; the order stands and may be paid again."""

    code = "PAYMENT_UNAVAILABLE"
    zh = "暂时无法发起支付，请稍后重试"
    en = "Payment cannot be started right now; please try again."


class PayDeadlinePassed(Refusal):
    """The order's pay deadline has passed; it is being closed."""

    code = "PAY_DEADLINE_PASSED"
    zh = "订单已超过支付时间"
    en = "The time to pay this order is over."


class RefundExceedsPayment(Refusal):
    """More than the ``left`` fen that were paid and not yet refunded."""

    code = "REFUND_EXCEEDS_PAYMENT"
    zh = "退款金额超过可退金额"
    en = "The refund exceeds what is left of the payment."


class RefundReasonInvalid(Refusal):
    """The payer is told why: 1 to ``most`` characters."""

    code = "REFUND_REASON_INVALID"
    zh = "退款原因须为 1 至 {most} 个字"
    en = "The reason for the refund must be 1 to {most} characters."


MAX_REFUND_REASON = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFacts:
    """What a payment is about, in WeChat's words; ``total`` is fen."""

    appid: str
    mchid: str
    total: int
    currency: str
    payer_openid: str


def compare(expected: PaymentFacts, actual: PaymentFacts) -> tuple[str, ...]:
    """The names of the facts that differ, in the order of the fields; empty when the payment is the expected one."""
    return tuple(
        fact.name for fact in fields(PaymentFacts) if getattr(expected, fact.name) != getattr(actual, fact.name)
    )


def admit_payment(expected: PaymentFacts, actual: PaymentFacts) -> None:
    """Whether a success may be booked on its order. Raises: PaymentMismatch."""
    differing = compare(expected, actual)
    if differing:
        raise PaymentMismatch(fields=", ".join(differing))


def admit_prepay(*, now: datetime, deadline: datetime) -> None:
    """Whether an order may still be sent to WeChat: a minute before its deadline at the latest, as WeChat requires.

    Raises: PayDeadlinePassed.
    """
    if now + timedelta(minutes=1) > deadline:
        raise PayDeadlinePassed()


def admit_refund(*, amount_fen: int, paid_fen: int, refunded_fen: int) -> None:
    """Whether ``amount_fen`` (1 or more) may go back. Raises: RefundExceedsPayment."""
    left = paid_fen - refunded_fen
    if not 1 <= amount_fen <= left:
        raise RefundExceedsPayment(left=left)


def admit_attempt_step(current: AttemptState, wanted: AttemptState) -> bool:
    """Whether an attempt may go from ``current`` to ``wanted``; a False is a replay, not anybody's mistake."""
    return wanted in ATTEMPT_TRANSITIONS[current]


def next_poll(*, created_at: datetime, polls_done: int, deadline: datetime) -> datetime | None:
    """When to ask WeChat about an unpaid attempt the next time: 30 s, 2, 5 and 10 minutes after its creation, and just
    before the order closes. Polls that would come at or after the last one are left out; None: no more polls.
    """
    assert polls_done >= 0, f"{polls_done} polls"
    last = deadline - LAST_POLL_BEFORE
    schedule = [created_at + after for after in POLL_AFTER if created_at + after < last]
    if last > created_at:
        schedule.append(last)
    return schedule[polls_done] if polls_done < len(schedule) else None


def admit_refund_reason(reason: str) -> None:
    """Whether ``reason`` may be told to the payer. Raises: RefundReasonInvalid."""
    if not 1 <= len(reason.strip()) <= MAX_REFUND_REASON:
        raise RefundReasonInvalid(most=MAX_REFUND_REASON)
