"""Orders, their lines, and the timeline of what happened to them."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class Order(Row):
    """One purchase. All amounts in fen, frozen when it is placed; ``payable_fen`` is what WeChat Pay shall collect.

    ``goods_fen + shipping_fen = discount_fen + promotion_fen + coupon_fen + points_fen + payable_fen``; each line adds
    up likewise, without shipping. ``coupon_fen`` counts ``shipping_coupon_fen`` in. ``kind`` is a
    ``loyalty.orders.order.OrderKind``; the points of a mall exchange are its price and have no worth in fen.
    """

    number = fields.CharField(max_length=32, unique=True)
    member_id: UUID
    member = reference("Member")
    kind = fields.CharField(max_length=16)
    state = fields.CharField(max_length=16)
    goods_fen = fields.BigIntField()
    discount_fen = fields.BigIntField()
    promotion_fen = fields.BigIntField(default=0, db_default=0)
    coupon_fen = fields.BigIntField(default=0)
    shipping_fen = fields.BigIntField(default=0, db_default=0)
    shipping_coupon_fen = fields.BigIntField(default=0, db_default=0)
    points_used = fields.BigIntField()
    points_fen = fields.BigIntField()
    payable_fen = fields.BigIntField()
    explain: Any = fields.JSONField()
    remark = fields.CharField(max_length=200, default="")
    tier_code = fields.CharField(max_length=40)
    points_multiplier_bp = fields.IntField()
    tier_version_id: UUID
    tier_version = reference("ProgrammeVersion")
    points_version_id: UUID
    points_version = reference("ProgrammeVersion")
    pay_by = fields.DatetimeField()
    close_due_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    paid_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)
    refunded_at = fields.DatetimeField(null=True)
    refunding_fen = fields.BigIntField(default=0, db_default=0)
    refunded_fen = fields.BigIntField(default=0, db_default=0)
    fulfilment_state = fields.CharField(max_length=16, default="none", db_default="none")
    pick_up_point_id: UUID | None
    pick_up_point = reference("PickUpPoint", null=True)
    pick_up_ready_at = fields.DatetimeField(null=True)
    receive_due_at = fields.DatetimeField(null=True)
    completed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "shop_order"
        indexes = (("member_id", "id"),)


class OrderLine(Row):
    """One SKU of an order, with its names and prices as they were; a mall item may be no SKU.

    Of its pieces, ``claimed_count`` stand in open after-sale requests, ``refunding_count`` are on their way back and
    ``refunded_count`` have gone back, ``returned_count`` of these after they were sent. ``no_reason_return`` is whether
    they may be returned without a reason, as it was when the order was placed.
    """

    order_id: UUID
    order = reference("Order")
    position = fields.IntField()
    sku_id: UUID | None
    sku = reference("Sku", null=True)
    product_title = fields.CharField(max_length=60)
    sku_title = fields.CharField(max_length=60)
    quantity = fields.IntField()
    list_price_fen = fields.BigIntField()
    unit_price_fen = fields.BigIntField()
    goods_fen = fields.BigIntField()
    discount_fen = fields.BigIntField()
    promotion_fen = fields.BigIntField(default=0, db_default=0)
    coupon_fen = fields.BigIntField(default=0)
    points_fen = fields.BigIntField()
    payable_fen = fields.BigIntField()
    shipped_count = fields.IntField(default=0, db_default=0)
    claimed_count = fields.IntField(default=0, db_default=0)
    refunding_count = fields.IntField(default=0, db_default=0)
    refunded_count = fields.IntField(default=0, db_default=0)
    returned_count = fields.IntField(default=0, db_default=0)
    no_reason_return = fields.BooleanField(default=True, db_default=True)

    class Meta:
        table = "order_line"
        unique_together = (("order_id", "position"), ("order_id", "sku_id"))
        indexes = (("sku_id",),)


class OrderEvent(Row):
    """One line of an order's timeline. Never changed (trigger)."""

    order_id: UUID
    order = reference("Order")
    kind = fields.CharField(max_length=32)
    details: Any = fields.JSONField()
    at = fields.DatetimeField()

    class Meta:
        table = "order_event"
        indexes = (("order_id", "id"),)
