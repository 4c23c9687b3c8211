"""Codes that a phone shows and a till reads, forgotten after minutes. ``kind`` keeps those of one purpose apart.

Only here do they live: a flushed Redis means that the phone shows a new one. With Redis away none is read.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client
from cache.script import Script

KEEP = Script("one_time_code_keep.lua")
CLAIM = Script("one_time_code_claim.lua")
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class KeptCode:
    """Whose code it is (a member's, a coupon's, an order's), and the instant from which it is none."""

    owner_id: UUID
    ends_at: datetime


def key_of(kind: str, code: str) -> str:
    """Where a code is kept: it cannot be read from the key."""
    return f"{kind}:{hashlib.sha256(code.encode()).hexdigest()[:32]}"


async def keep(redis: Client, kind: str, code: str, kept: KeptCode, *, ttl: timedelta) -> bool:
    """Keep a code for its time; False if there is one like it already.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    ends_us = (kept.ends_at - datetime.fromtimestamp(0, UTC)) // MICROSECOND
    content = f"{kept.owner_id} {ends_us}"
    return bool(await KEEP.run(redis, [key_of(kind, code)], content, ttl // timedelta(milliseconds=1)))


async def find(redis: Client, kind: str, code: str) -> KeptCode | None:
    """The code for whoever asks; None for one that is not kept.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    return _read(await redis.hget(key_of(kind, code), "kept"))


async def claim(redis: Client, kind: str, code: str, *, resolver: str) -> KeptCode | None:
    """The code for whoever claims it first; None for everybody else, and for a code that is not kept.

    Raises: the errors in ``cache.outage`` while Redis is away; a claim whose answer was lost stands, and its resolver
    hears the answer by asking again.
    """
    return _read(await CLAIM.run(redis, [key_of(kind, code)], resolver))


def _read(found: bytes | str | None) -> KeptCode | None:
    if found is None:
        return None
    assert isinstance(found, bytes), "clients answer in bytes"
    owner_id, ends_us = found.decode().split(" ")
    return KeptCode(UUID(owner_id), datetime.fromtimestamp(0, UTC) + int(ends_us) * MICROSECOND)
