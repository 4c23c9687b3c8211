"""Idempotency keys: a call that comes again gets the first answer, a key with other content is refused.

Both functions run inside the verb's transaction, after the subject's lock: of two simultaneous first calls the second
waits, and then finds the record of the first.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from loyalty.idempotency import admit_key, admit_replay, fingerprint
from models.engine import changed, in_transaction
from models.idempotency import IdempotencyRecord
from models.ids import new_id

KEPT = timedelta(days=90)
"""How long a key is remembered: longer than any client repeats a call."""


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
    record = await IdempotencyRecord.get_or_none(subject_id=subject_id, key=key)
    if record is None:
        return None
    admit_replay(stored=record.fingerprint, sent=fingerprint({"operation": operation, **content}))
    result: dict[str, Any] = record.result
    return result


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
    await IdempotencyRecord.create(
        id=new_id(now),
        subject_id=subject_id,
        key=key,
        operation=operation,
        fingerprint=fingerprint({"operation": operation, **content}),
        result=dict(result),
        at=now,
    )


async def forget(now: datetime, *, at_most: int = 1000) -> int:
    """Drop records older than ``KEPT``, at most so many; how many were dropped."""
    return await changed(
        "DELETE FROM idempotency_record WHERE id IN (SELECT id FROM idempotency_record WHERE at < $1 LIMIT $2)",
        [now - KEPT, at_most],
    )
