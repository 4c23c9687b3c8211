"""Money on its way: payment attempts, notices as they came, payments, refunds, and what a person must look at."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.fields.db_defaults import Now

from models.base import Row, reference


class PaymentAttempt(Row):
    """One number (``out_trade_no``) under which WeChat Pay is asked to collect an order. Its parameters never change.

    ``notify_url`` is one of them; null before a version that kept it. ``state`` is a
    ``loyalty.payments.payment.AttemptState``. ``poll_due_at`` is when WeChat is asked next whether it was paid.
    """

    order_id: UUID
    order = reference("Order")
    out_trade_no = fields.CharField(max_length=32, unique=True)
    total_fen = fields.BigIntField()
    openid = fields.CharField(max_length=64)
    state = fields.CharField(max_length=16)
    expires_at = fields.DatetimeField()
    notify_url = fields.CharField(max_length=256, null=True)
    prepay_id = fields.CharField(max_length=64, null=True)
    polls_done = fields.IntField(default=0)
    poll_due_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "payment_attempt"
        indexes = (("order_id",),)


class Payment(Row):
    """Money that WeChat says it collected, once for each of its transaction ids.

    ``outcome`` is a ``loyalty.payments.payment.PaymentOutcome``: what became of the money.
    """

    attempt_id: UUID
    attempt = reference("PaymentAttempt")
    order_id: UUID
    order = reference("Order")
    transaction_id = fields.CharField(max_length=64, unique=True)
    total_fen = fields.BigIntField()
    payer_total_fen = fields.BigIntField(null=True)
    outcome = fields.CharField(max_length=16)
    success_at = fields.DatetimeField(null=True)
    recorded_at = fields.DatetimeField()

    class Meta:
        table = "payment"
        indexes = (("order_id",),)


class PaymentNotice(Row):
    """A verified notice of WeChat Pay as it came, once for each notice id; ``handled_at`` is set when it is applied."""

    notice_id = fields.CharField(max_length=64, unique=True)
    event_type = fields.CharField(max_length=64)
    body = fields.TextField()
    resource: Any = fields.JSONField()
    outcome = fields.CharField(max_length=32, null=True)
    received_at = fields.DatetimeField()
    due_at = fields.DatetimeField(null=True)
    tries = fields.IntField(default=0)
    handled_at = fields.DatetimeField(null=True)

    class Meta:
        table = "payment_notice"


class Refund(Row):
    """Money to give back under one number (``out_refund_no``), the same on every try.

    ``state`` is a ``loyalty.payments.payment.RefundState``, ``cause`` a ``loyalty.payments.payment.RefundCause``.
    ``order_refund`` is the part of the order that it pays back; null for money that never paid the order. ``due_at`` is
    when it is sent, or asked about, next. ``last_error`` is WeChat's code, or why WeChat takes no more
    (``loyalty.payments.refund.ByHand``). ``evidence`` tells how a person paid it back by hand; empty when WeChat did.
    """

    order_id: UUID
    order = reference("Order")
    payment_id: UUID
    payment = reference("Payment")
    order_refund_id: UUID | None
    order_refund = reference("OrderRefund", null=True)
    out_refund_no = fields.CharField(max_length=64, unique=True)
    amount_fen = fields.BigIntField()
    cause = fields.CharField(max_length=32)
    reason = fields.CharField(max_length=80, default="")
    state = fields.CharField(max_length=16)
    wechat_refund_id = fields.CharField(max_length=64, null=True)
    tries = fields.IntField(default=0)
    due_at = fields.DatetimeField(null=True)
    last_error = fields.CharField(max_length=200, default="")
    evidence = fields.CharField(max_length=200, default="", db_default="")
    requested_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "refund"
        indexes = (("order_id",),)


class ExceptionCase(Row):
    """Something a machine cannot finish: one row with its cause until it is settled.

    ``kind`` is a ``loyalty.payments.exception_case.CaseKind``. ``due_at`` is when somebody must have seen to it; what
    was open before deadlines existed is due at once. It is settled by an operator, or by nobody when its cause is gone.
    """

    kind = fields.CharField(max_length=32)
    key = fields.CharField(max_length=96, unique=True)
    order_id: UUID | None
    order = reference("Order", null=True)
    details: Any = fields.JSONField()
    opened_at = fields.DatetimeField()
    due_at = fields.DatetimeField(db_default=Now())
    owner_id: UUID | None
    owner = reference("Operator", null=True)
    resolved_at = fields.DatetimeField(null=True)
    resolved_by_id: UUID | None
    resolved_by = reference("Operator", null=True)
    resolution = fields.CharField(max_length=200, default="")

    class Meta:
        table = "exception_case"
