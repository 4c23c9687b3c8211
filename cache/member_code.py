"""Member codes: made by a phone, resolved by one till in one atomic step, forgotten after a minute.

Only here do they live: a flushed Redis means that the phone shows a new one. With Redis away nothing is resolved.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from redis import asyncio as aioredis
from redis.exceptions import NoScriptError

SCRIPT = (Path(__file__).parent / "member_code.lua").read_text(encoding="utf-8")
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class ShownCode:
    """Whose code it is, and the instant from which it is none."""

    member_id: UUID
    ends_at: datetime


def _key(code: str) -> str:
    return f"member_code:{hashlib.sha256(code.encode()).hexdigest()[:32]}"


async def keep(redis: aioredis.Redis, code: str, *, member_id: UUID, ends_at: datetime, ttl: timedelta) -> bool:
    """Keep a code for its time; False if there is one like it already.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    key = _key(code)
    kept = f"{member_id} {int(ends_at.timestamp() * 1_000_000)}"
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(key, "kept", kept)
        pipe.pexpire(key, ttl)
        is_new, _ = await pipe.execute()
    return bool(is_new)


async def claim(redis: aioredis.Redis, code: str, *, resolver: str) -> ShownCode | None:
    """The code for whoever claims it first; None for everybody else, and for a code that is not kept.

    Raises: the errors in ``cache.outage`` while Redis is away; a claim whose answer was lost stands, and its resolver
    hears the answer by asking again.
    """
    try:
        found = await redis.evalsha(SCRIPT_SHA, 1, _key(code), resolver)
    except NoScriptError:
        found = await redis.eval(SCRIPT, 1, _key(code), resolver)
    if found is None:
        return None
    member_id, ends_us = bytes(found).decode().split(" ")
    return ShownCode(UUID(member_id), datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(ends_us)))
