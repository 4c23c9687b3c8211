"""Growth value and tiers: a ledger of its own, apart from points."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, owner, reference


class Membership(Model):
    """Where a member stands. ``growth_value`` is the sum of the growth entries, ``seq`` their count."""

    member_id: UUID
    member = owner()
    growth_value = fields.BigIntField(default=0)
    seq = fields.IntField(default=0)
    tier_code = fields.CharField(max_length=32)
    tier_since = fields.DatetimeField()
    keep_until = fields.DatetimeField(null=True)

    class Meta:
        table = "membership"
        indexes = (("tier_code", "growth_value"),)


class GrowthEntry(Row):
    """One signed change of a member's growth value. Rows are never changed (trigger)."""

    member_id: UUID
    member = reference("Member")
    seq = fields.IntField()
    kind = fields.CharField(max_length=32)
    amount = fields.BigIntField()
    balance_after = fields.BigIntField()
    cause_kind = fields.CharField(max_length=32)
    cause_id = fields.UUIDField()
    key = fields.CharField(max_length=96)
    at = fields.DatetimeField()
    version_id: UUID | None
    version = reference("ProgrammeVersion", null=True)

    class Meta:
        table = "growth_entry"
        unique_together = (("member_id", "seq"), ("member_id", "key"))


class TierChange(Row):
    """One change of tier with what decided it. Rows are never changed (trigger)."""

    member_id: UUID
    member = reference("Member")
    from_code = fields.CharField(max_length=32)
    to_code = fields.CharField(max_length=32)
    reason = fields.CharField(max_length=32)
    growth_seq = fields.IntField()
    inputs: Any = fields.JSONField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    at = fields.DatetimeField()

    class Meta:
        table = "tier_change"
        indexes = (("member_id", "at"),)
