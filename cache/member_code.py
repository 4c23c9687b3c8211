"""Member codes: made by a phone, resolved by one till in one atomic step, forgotten after a minute.

Only here do they live: a flushed Redis means that the phone shows a new one. With Redis away nothing is resolved.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client
from cache.script import Script

KEEP = Script("member_code_keep.lua")
CLAIM = Script("member_code_claim.lua")


@dataclass(frozen=True, slots=True)
class ShownCode:
    """Whose code it is, and the instant from which it is none."""

    member_id: UUID
    ends_at: datetime


def _key(code: str) -> str:
    return f"member_code:{hashlib.sha256(code.encode()).hexdigest()[:32]}"


async def keep(redis: Client, code: str, *, member_id: UUID, ends_at: datetime, ttl: timedelta) -> bool:
    """Keep a code for its time; False if there is one like it already.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    kept = f"{member_id} {int(ends_at.timestamp() * 1_000_000)}"
    return bool(await KEEP.run(redis, [_key(code)], kept, ttl // timedelta(milliseconds=1)))


async def claim(redis: Client, code: str, *, resolver: str) -> ShownCode | None:
    """The code for whoever claims it first; None for everybody else, and for a code that is not kept.

    Raises: the errors in ``cache.outage`` while Redis is away; a claim whose answer was lost stands, and its resolver
    hears the answer by asking again.
    """
    found = await CLAIM.run(redis, [_key(code)], resolver)
    if found is None:
        return None
    member_id, ends_us = bytes(found).decode().split(" ")
    return ShownCode(UUID(member_id), datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(ends_us)))
