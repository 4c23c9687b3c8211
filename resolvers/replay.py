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

from loyalty.idempotency import KeyReused, admit_key, admit_replay, fingerprint
from models.bulk import insert
from models.engine import changed, in_transaction, rows
from models.idempotency import IdempotencyRecord
from models.ids import new_id

KEPT = timedelta(days=90)
"""How long a key is remembered: longer than any client repeats a call."""


_KNOWN = """
SELECT known.* FROM unnest($1::uuid[], $2::text[]) AS asked(subject_id, key) CROSS JOIN LATERAL (
    SELECT record.subject_id, record.key, record.fingerprint, record.result::text AS result
    FROM idempotency_record record WHERE record.subject_id = asked.subject_id AND record.key = asked.key LIMIT 1
) known
"""
"""The limit keeps the database from reading the whole table for a group of calls."""


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
    admit_key(key)
    (answer,) = await replayed_each([call_of(subject_id, key=key, operation=operation, content=content)])
    if isinstance(answer, KeyReused):
        raise answer
    return answer


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


async def replayed_each(calls: Sequence[Call]) -> list[dict[str, Any] | KeyReused | None]:
    """``replayed`` for several calls of different subjects, in one statement; a reused key is among the answers."""
    assert in_transaction(), "a replay check outside the lock decides nothing"
    found = await rows(_KNOWN, [[call.subject_id for call in calls], [call.key for call in calls]])
    records = {(row["subject_id"], row["key"]): row for row in found}
    return [_answer(call, records.get((call.subject_id, call.key))) for call in calls]


def _answer(call: Call, record: Mapping[str, Any] | None) -> dict[str, Any] | KeyReused | None:
    if record is None:
        return None
    try:
        admit_replay(stored=record["fingerprint"], sent=call.fingerprint)
    except KeyReused as refusal:
        return refusal
    result: dict[str, Any] = orjson.loads(record["result"])
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
