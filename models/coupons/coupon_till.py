"""Coupons that are used at a till in a shop, and what was taken back of it."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class CouponTillUse(Row):
    """A coupon used at a till, once as long as it is not reversed (partial unique index).

    ``code_mark`` keeps the code that was read from being used again. ``amount_fen`` is what the goods cost at the till,
    null for an exchange that named no price; ``discount_fen`` what the coupon took off it. ``place`` is the name of the
    pick-up point, or, as ``note`` always is, the staff's own words.
    """

    coupon_id: UUID
    coupon = reference("Coupon")
    member_id: UUID
    member = reference("Member")
    operator_id: UUID
    operator = reference("Operator")
    code_mark = fields.CharField(max_length=64, unique=True)
    pick_up_point_id: UUID | None
    pick_up_point = reference("PickUpPoint", null=True)
    amount_fen = fields.BigIntField(null=True)
    discount_fen = fields.BigIntField(null=True)
    place = fields.CharField(max_length=60)
    note = fields.CharField(max_length=200, default="")
    used_at = fields.DatetimeField()
    reversed_at = fields.DatetimeField(null=True)
    reversed_by_id: UUID | None
    reversed_by = reference("Operator", null=True)
    reverse_reason = fields.CharField(max_length=200, default="")

    class Meta:
        table = "coupon_till_use"
        indexes = (("member_id", "id"),)
