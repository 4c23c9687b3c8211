"""What a client's idempotency key already did."""

from typing import Any

from tortoise import fields

from models.base import Row


class IdempotencyRecord(Row):
    """One successful call: who, under which key, doing what, with which content, and which row came of it.

    ``subject_id`` is a member or an operator. Refused calls leave no record, because their transaction rolls back.
    """

    subject_id = fields.UUIDField()
    key = fields.CharField(max_length=64)
    operation = fields.CharField(max_length=64)
    fingerprint = fields.CharField(max_length=64)
    result: Any = fields.JSONField()
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "idempotency_record"
        unique_together = (("subject_id", "key"),)
