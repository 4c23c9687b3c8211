"""Growth value and tiers: a ledger of its own, apart from points."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, owner, reference


class Membership(Model):
    """Where a member stands. ``growth_value`` is the sum of the growth entries, ``seq`` their count.

    The keep period began after the growth entry ``keep_seq`` and ends at ``keep_until``; null: the tier is for ever.
    ``keep_due_at`` is when the period is to be decided: at its end, then at the end of the grace.
    """

    member_id: UUID
    member = owner()
    growth_value = fields.BigIntField(default=0)
    seq = fields.IntField(default=0)
    tier_code = fields.CharField(max_length=40)
    tier_since = fields.DatetimeField()
    keep_until = fields.DatetimeField(null=True)
    keep_due_at = fields.DatetimeField(null=True)
    keep_seq = fields.IntField(default=0)

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
    from_code = fields.CharField(max_length=40)
    to_code = fields.CharField(max_length=40)
    reason = fields.CharField(max_length=32)
    growth_seq = fields.IntField()
    inputs: Any = fields.JSONField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    at = fields.DatetimeField()

    class Meta:
        table = "tier_change"
        indexes = (("member_id", "at"),)


class TierOverlay(Row):
    """A tier lent (a trial) or set by hand (``manual``), from ``starts_at`` until before ``ends_at``.

    A cause lends one trial (unique); a member has one manual tier that is not closed (partial unique index).
    ``due_at`` is when the clock has its start or its end to write into the history; ``begun_at`` and ``closed_at`` say
    that it did. Taking one back moves ``ends_at`` to that instant.
    """

    member_id: UUID
    member = reference("Member")
    manual = fields.BooleanField()
    tier_code = fields.CharField(max_length=40)
    starts_at = fields.DatetimeField()
    ends_at = fields.DatetimeField(null=True)
    begun_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)
    due_at = fields.DatetimeField(null=True)
    reason = fields.CharField(max_length=200, default="")
    operator_id: UUID | None
    operator = reference("Operator", null=True)
    cause_kind = fields.CharField(max_length=32)
    cause_id = fields.UUIDField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    created_at = fields.DatetimeField()

    class Meta:
        table = "tier_overlay"
        unique_together = (("cause_kind", "cause_id"),)
        indexes = (("member_id", "id"),)
