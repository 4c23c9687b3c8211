"""Operators: the people who run the store, and the record of what they did."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class Operator(Row):
    """One account of the operator API. ``role`` names a set of rights (``loyalty.people.rights``)."""

    login = fields.CharField(max_length=64, unique=True)
    display_name = fields.CharField(max_length=64, default="")
    password_hash = fields.CharField(max_length=255)
    role = fields.CharField(max_length=32)
    disabled_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "operator"


class AuditRow(Row):
    """One thing an operator did, written in the same transaction. Rows are never changed (trigger)."""

    operator_id: UUID
    operator = reference("Operator")
    action = fields.CharField(max_length=64)
    subject_kind = fields.CharField(max_length=32)
    subject_id = fields.CharField(max_length=64)
    before: Any = fields.JSONField(null=True)
    after: Any = fields.JSONField(null=True)
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "audit_row"
