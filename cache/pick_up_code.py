"""Pick-up codes: shown by a phone, read by a till, forgotten after minutes.

Only a hint lives here: whether goods are handed out is decided by the order. A flushed Redis means that the phone shows
a new code.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client

MICROSECOND = timedelta(microseconds=1)


def _key(code: str) -> str:
    return f"pick_up_code:{hashlib.sha256(code.encode()).hexdigest()[:32]}"


async def keep(redis: Client, code: str, *, order_id: UUID, ends_at: datetime, ttl: timedelta) -> bool:
    """Keep a code for its time; False if there is one like it already.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    kept = f"{order_id} {(ends_at - datetime.fromtimestamp(0, UTC)) // MICROSECOND}"
    return bool(await redis.set(_key(code), kept, nx=True, px=ttl // timedelta(milliseconds=1)))


async def find(redis: Client, code: str, *, now: datetime) -> UUID | None:
    """The order whose code this is at ``now``.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    found = await redis.get(_key(code))
    if found is None:
        return None
    order_id, ends_us = (found.decode() if isinstance(found, bytes) else found).split(" ")
    return UUID(order_id) if now < datetime.fromtimestamp(0, UTC) + int(ends_us) * MICROSECOND else None
