"""Published versions of what operators configure: tier table, points programme, check-in programme, and the like."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class ProgrammeVersion(Row):
    """One immutable, dated version (trigger). The one in force is the latest whose ``effective_at`` has come.

    ``kind`` is ``tier``, ``points``, ``check_in`` …; ``version`` counts from 1 within a kind; ``definition`` is what
    the rule of that name parses.
    """

    kind = fields.CharField(max_length=32)
    version = fields.IntField()
    definition: Any = fields.JSONField()
    effective_at = fields.DatetimeField()
    published_at = fields.DatetimeField()
    published_by_id: UUID | None
    published_by = reference("Operator", null=True)
    note = fields.CharField(max_length=200, default="")

    class Meta:
        table = "programme_version"
        unique_together = (("kind", "version"),)
