"""Check-ins: one row for each member and shop-local day."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class CheckIn(Row):
    """A day on which a member checked in, with the three counts as they stand after it and what it paid.

    A day that was made up has ``made_up_on``, the shop day on which that was done, its price, and what was set against
    its streak rewards because two runs had been paid the same milestone.
    """

    member_id: UUID
    member = reference("Member")
    business_day = fields.DateField()
    cycle_started_on = fields.DateField()
    cycle_day = fields.IntField()
    streak_days = fields.IntField()
    total_days = fields.IntField()
    points = fields.IntField(default=0)
    growth = fields.IntField(default=0)
    version_id: UUID
    version = reference("ProgrammeVersion")
    rewards: Any = fields.JSONField()
    made_up_on = fields.DateField(null=True)
    price_points = fields.IntField(default=0)
    offset_points = fields.IntField(default=0)
    offset_growth = fields.IntField(default=0)
    at = fields.DatetimeField()

    class Meta:
        table = "check_in"
        unique_together = (("member_id", "business_day"),)


class ProtectedDay(Row):
    """A missed day that protection covered, so that the streak of the check-in that follows it did not break."""

    member_id: UUID
    member = reference("Member")
    business_day = fields.DateField()
    check_in_id: UUID
    check_in = reference("CheckIn")

    class Meta:
        table = "protected_day"
        unique_together = (("member_id", "business_day"),)
