"""Deeds that earned fixed points: one row for each deed, whatever the caps left of its points."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class PointsAction(Row):
    """A member's deed of one kind, told apart by ``cause``. Never changed (trigger); its entry names it as the cause.

    ``points`` is what was credited: the programme's points, cut to what the caps left.
    """

    member_id: UUID
    member = reference("Member")
    code = fields.CharField(max_length=40)
    cause = fields.CharField(max_length=64)
    business_day = fields.DateField()
    points = fields.IntField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    at = fields.DatetimeField()

    class Meta:
        table = "points_action"
        unique_together = (("member_id", "code", "cause"),)
