"""Refunds of orders in pieces, and what members ask for after the sale."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class OrderRefund(Row):
    """A part of an order that goes back together. One of an order is on its way at a time (partial unique index).

    ``cause`` is a ``loyalty.payments.payment.RefundCause``, ``state`` a ``loyalty.payments.refund.PartState``.
    ``amount_fen`` is the money of its lines and ``shipping_fen``; WeChat knows it by the ``refund`` rows that name it,
    none if it is 0. ``shipping_back`` says that shipping goes back, and its coupon with it. ``earned_reversed`` is how
    many earned points it settled, taken, owed or forgiven. ``effect`` is what it did, as
    ``loyalty.payments.refund.RefundEffect`` tells it; null until it is done.
    """

    order_id: UUID
    order = reference("Order")
    cause = fields.CharField(max_length=32)
    reason = fields.CharField(max_length=80)
    state = fields.CharField(max_length=16)
    amount_fen = fields.BigIntField()
    shipping_fen = fields.BigIntField(default=0)
    shipping_back = fields.BooleanField()
    points_used = fields.BigIntField(default=0)
    earned_reversed = fields.BigIntField(default=0)
    effect: Any = fields.JSONField(null=True)
    requested_at = fields.DatetimeField()
    done_at = fields.DatetimeField(null=True)

    class Meta:
        table = "order_refund"
        indexes = (("order_id", "id"),)


class OrderRefundLine(Row):
    """So many pieces of a line in a refund; ``sent_count`` of them were sent, ``restocked_count`` come back to stock.

    Never changed (trigger).
    """

    order_refund_id: UUID
    order_refund = reference("OrderRefund")
    line_id: UUID
    line = reference("OrderLine")
    quantity = fields.IntField()
    sent_count = fields.IntField(default=0)
    restocked_count = fields.IntField()
    money_fen = fields.BigIntField()
    points_used = fields.BigIntField()

    class Meta:
        table = "order_refund_line"
        unique_together = (("order_refund_id", "line_id"),)
        indexes = (("line_id",),)


class AfterSale(Row):
    """What a member asks for after the sale. ``state`` is a ``loyalty.payments.after_sale.AfterSaleState``.

    ``due_at`` is when time alone does the next thing: the shop's silence, a parcel that never came, a refund to begin.
    """

    order_id: UUID
    order = reference("Order")
    member_id: UUID
    member = reference("Member")
    kind = fields.CharField(max_length=24)
    state = fields.CharField(max_length=16)
    reason = fields.CharField(max_length=24)
    text = fields.CharField(max_length=200, default="")
    pictures: Any = fields.JSONField()
    answer_by = fields.DatetimeField()
    decision = fields.CharField(max_length=200, default="")
    decided_by_id: UUID | None
    decided_by = reference("Operator", null=True)
    decided_at = fields.DatetimeField(null=True)
    carrier = fields.CharField(max_length=40, default="")
    parcel_number = fields.CharField(max_length=40, default="")
    send_back_by = fields.DatetimeField(null=True)
    sent_back_at = fields.DatetimeField(null=True)
    received_at = fields.DatetimeField(null=True)
    order_refund_id: UUID | None
    order_refund = reference("OrderRefund", null=True)
    due_at = fields.DatetimeField(null=True)
    requested_at = fields.DatetimeField()
    changed_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)

    class Meta:
        table = "after_sale"
        indexes = (("member_id", "id"), ("order_id", "id"), ("state", "id"))


class AfterSaleLine(Row):
    """So many pieces of a line in a request."""

    after_sale_id: UUID
    after_sale = reference("AfterSale")
    line_id: UUID
    line = reference("OrderLine")
    quantity = fields.IntField()

    class Meta:
        table = "after_sale_line"
        unique_together = (("after_sale_id", "line_id"),)
        indexes = (("line_id",),)
