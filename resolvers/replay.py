"""Idempotency keys: a call that comes again gets the first answer, a key with other content is refused.

Both functions run inside the verb's transaction, after the subject's lock: of two simultaneous first calls the second
waits, and then finds the record of the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from loyalty.idempotency import admit_key, admit_replay, fingerprint
from models.bulk import insert
from models.engine import changed, in_transaction, rows
from models.idempotency import IdempotencyRecord
from models.ids import new_id

KEPT = timedelta(days=90)
"""How long a key is remembered: longer than any client repeats a call."""

RECORD = """
SELECT record.fingerprint, record.result::text AS result FROM idempotency_record record
WHERE record.subject_id = asked.subject_id AND record.key = asked.key LIMIT 1
"""
"""The columns for ``answer_of``, of the subject and the key of ``asked``, to which a query joins it laterally.

The limit keeps the database from reading the whole table for a group of calls.
"""

_KNOWN = f"SELECT * FROM (VALUES ($1::uuid, $2::text)) AS asked(subject_id, key) CROSS JOIN LATERAL ({RECORD}) record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call under a key, with what its content comes to."""

    subject_id: UUID
    key: str
    operation: str
    fingerprint: str


def call_of(subject_id: UUID, *, key: str, operation: str, content: Mapping[str, object]) -> Call:
    """The call of that content."""
    sent = fingerprint({"operation": operation, **content})
    return Call(subject_id=subject_id, key=key, operation=operation, fingerprint=sent)


async def replayed(
    subject_id: UUID, *, key: str, operation: str, content: Mapping[str, object]
) -> dict[str, Any] | None:
    """What the first call under this key answered, or None when this is the first.

    Raises:
        KeyInvalid: the key is not 8 to 64 visible ASCII characters.
        KeyReused: the key stands for another operation or other content.
    """
    assert in_transaction(), "a replay check outside the lock decides nothing"
    admit_key(key)
    found = await rows(_KNOWN, [subject_id, key])
    return answer_of(call_of(subject_id, key=key, operation=operation, content=content), found[0]) if found else None


async def remember(
    subject_id: UUID,
    *,
    key: str,
    operation: str,
    content: Mapping[str, object],
    result: Mapping[str, object],
    now: datetime,
) -> None:
    """Keep what this call answered (JSON values, such as the id of the row it made) for those that come again."""
    call = call_of(subject_id, key=key, operation=operation, content=content)
    await insert((IdempotencyRecord, records_of([(call, result)], now)))


def answer_of(call: Call, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the first call under this one's key answered, by the columns of ``RECORD``; None when this is the first.

    Raises:
        KeyReused: the key stands for another operation or other content.
    """
    if row["fingerprint"] is None:
        return None
    admit_replay(stored=row["fingerprint"], sent=call.fingerprint)
    result: dict[str, Any] = orjson.loads(row["result"])
    return result


def records_of(calls: Sequence[tuple[Call, Mapping[str, object]]], now: datetime) -> Sequence[Mapping[str, Any]]:
    """The rows that ``remember`` would write for these calls with their results."""
    return [
        {
            "id": new_id(now),
            "subject_id": call.subject_id,
            "key": call.key,
            "operation": call.operation,
            "fingerprint": call.fingerprint,
            "result": dict(result),
            "at": now,
        }
        for call, result in calls
    ]


async def forget(now: datetime, *, at_most: int = 1000) -> int:
    """Drop records older than ``KEPT``, at most so many; how many were dropped."""
    return await changed(
        "DELETE FROM idempotency_record WHERE id IN (SELECT id FROM idempotency_record WHERE at < $1 LIMIT $2)",
        [now - KEPT, at_most],
    )
