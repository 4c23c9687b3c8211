"""Payments: what a success must agree with before it counts, when to ask WeChat, and how a notice ends.

Source: docs/rules/payment.md
"""

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


def admit_prepay(*, now: datetime, deadline: datetime) -> None:
    """Whether an order may still be sent to WeChat: a minute before its deadline at the latest, as WeChat requires.

    Raises: PayDeadlinePassed.
    """
    if now + timedelta(minutes=1) > deadline:
        raise PayDeadlinePassed()


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
