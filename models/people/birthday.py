"""Birthdays as the store kept them: one row for each member and day, with the gift of the tier."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class Birthday(Row):
    """A member's birthday that the store has looked at, once a day (unique). Never changed (trigger).

    ``points`` and ``gift_code`` are what the tier ``tier_code`` gave; 0 and empty when it gives nothing.
    ``coupon_count`` coupons were given with them; ``coupon_refusal`` is the code of why not all that the tier gives.
    """

    member_id: UUID
    member = reference("Member")
    business_day = fields.DateField()
    tier_code = fields.CharField(max_length=40)
    points = fields.IntField()
    gift_code = fields.CharField(max_length=40, default="")
    coupon_count = fields.IntField(default=0, db_default=0)
    coupon_refusal = fields.CharField(max_length=40, default="", db_default="")
    version_id: UUID
    version = reference("ProgrammeVersion")
    at = fields.DatetimeField()

    class Meta:
        table = "birthday"
        unique_together = (("member_id", "business_day"),)
