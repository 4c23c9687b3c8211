"""The points ledger: append-only entries, the lots they fill and draw, and holds.

``balance`` (the sum of a member's entries, and of what remains in the lots) includes points that are held for an order
or still pending; what a member may spend is what remains in lots that are open and unexpired, less what is held.
"""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, owner, reference


class PointsAccount(Model):
    """One member's caches of the ledger, changed only together with it. ``debt`` is what a claw-back could not take."""

    member_id: UUID
    member = owner()
    balance = fields.BigIntField(default=0)
    held = fields.BigIntField(default=0)
    debt = fields.BigIntField(default=0)
    seq = fields.IntField(default=0)

    class Meta:
        table = "points_account"


class PointsEntry(Row):
    """One signed change of a balance; its draws say which lots it filled or emptied. Never changed (trigger)."""

    member_id: UUID
    member = reference("Member")
    seq = fields.IntField()
    kind = fields.CharField(max_length=32)
    amount = fields.BigIntField()
    debt_change = fields.BigIntField(default=0)
    balance_after = fields.BigIntField()
    cause_kind = fields.CharField(max_length=32)
    cause_id = fields.UUIDField()
    reverses_id: UUID | None
    reverses = reference("PointsEntry", null=True)
    key = fields.CharField(max_length=96)
    note = fields.CharField(max_length=200, default="")
    at = fields.DatetimeField()
    version_id: UUID | None
    version = reference("ProgrammeVersion", null=True)

    class Meta:
        table = "points_entry"
        unique_together = (("member_id", "seq"), ("member_id", "key"))


class PointsLot(Row):
    """Points earned together, which open and expire together. ``held`` of what remains is promised to open holds.

    ``origin`` is the lot that this one replaces: given back after the origin had expired, with a grace of its own.
    """

    member_id: UUID
    member = reference("Member")
    amount = fields.BigIntField()
    remaining = fields.BigIntField()
    held = fields.BigIntField(default=0)
    opens_at = fields.DatetimeField()
    expires_at = fields.DatetimeField(null=True)
    origin_id: UUID | None
    origin = reference("PointsLot", null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "points_lot"


class PointsDraw(Row):
    """How much of an entry went into (+) or came out of (-) a lot. Never changed (trigger)."""

    entry_id: UUID
    entry = reference("PointsEntry")
    lot_id: UUID
    lot = reference("PointsLot")
    amount = fields.BigIntField()

    class Meta:
        table = "points_draw"
        unique_together = (("entry_id", "lot_id"),)
        indexes = (("lot_id",),)


class PointsHold(Row):
    """Points promised to one cause: ``pending`` until it is paid (``posted``) or closed (``released``), once.

    A cause has one hold that is not released (partial unique index): a revived order holds its points anew.
    """

    member_id: UUID
    member = reference("Member")
    amount = fields.BigIntField()
    state = fields.CharField(max_length=16)
    cause_kind = fields.CharField(max_length=32)
    cause_id = fields.UUIDField()
    created_at = fields.DatetimeField()
    resolved_at = fields.DatetimeField(null=True)

    class Meta:
        table = "points_hold"


class PointsHoldDraw(Row):
    """How much of a hold stands on which lot."""

    hold_id: UUID
    hold = reference("PointsHold")
    lot_id: UUID
    lot = reference("PointsLot")
    amount = fields.BigIntField()

    class Meta:
        table = "points_hold_draw"
        unique_together = (("hold_id", "lot_id"),)
        indexes = (("lot_id",),)


class PointsNotice(Row):
    """A member was told, so many days before, that points end. Once for each (unique)."""

    member_id: UUID
    member = reference("Member")
    ends_at = fields.DatetimeField()
    days_before = fields.IntField()
    points = fields.BigIntField()
    at = fields.DatetimeField()

    class Meta:
        table = "points_notice"
        unique_together = (("member_id", "ends_at", "days_before"),)
