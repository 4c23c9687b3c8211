"""Coupons that members give to friends: one row for each time a coupon is offered."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class CouponGift(Row):
    """A coupon that ``giver`` offers to whoever brings the token first, until before ``expires_at``.

    At most one row of a coupon is open or accepted (partial unique index). ``token_mark`` finds the row of a token,
    which itself is kept sealed. The friend has a coupon of their own, ``received``; the given one stays the giver's.
    """

    coupon_id: UUID
    coupon = reference("Coupon")
    giver_id: UUID
    giver = reference("Member")
    state = fields.CharField(max_length=16)
    token_mark = fields.CharField(max_length=64, unique=True)
    token_sealed = fields.TextField()
    made_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    due_at = fields.DatetimeField(null=True)
    ended_at = fields.DatetimeField(null=True)
    friend_id: UUID | None
    friend = reference("Member", null=True)
    received_id: UUID | None
    received = reference("Coupon", null=True)

    class Meta:
        table = "coupon_gift"
        unique_together = (("received_id",),)
        indexes = (("giver_id", "id"), ("coupon_id",))
