"""Newcomer packs: what each member who joined is owed, or was given, once."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class NewcomerGrant(Row):
    """The pack of one member (unique), by the version that was in force when the member joined.

    It is owed until ``due_at`` is null. ``outcome`` says for each template how many were given, and why not all.
    """

    member_id: UUID
    member = reference("Member")
    version_id: UUID
    version = reference("ProgrammeVersion")
    joined_at = fields.DatetimeField()
    due_at = fields.DatetimeField(null=True)
    given_at = fields.DatetimeField(null=True)
    outcome: Any = fields.JSONField()

    class Meta:
        table = "newcomer_grant"
        unique_together = (("member_id",),)
        indexes = (("version_id", "id"),)
