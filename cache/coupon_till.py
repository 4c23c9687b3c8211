"""Codes of coupons that a phone shows to a till. That a coupon is used once is the database's part.

Only here do the codes live: a flushed Redis means that the phone shows a new one. With Redis away none can be read.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client


@dataclass(frozen=True, slots=True)
class ShownCoupon:
    """Which coupon it is, and the instant from which the code is none."""

    coupon_id: UUID
    ends_at: datetime


def _key(code: str) -> str:
    return f"coupon_till:{hashlib.sha256(code.encode()).hexdigest()[:32]}"


async def keep(redis: Client, code: str, *, coupon_id: UUID, ends_at: datetime, ttl: timedelta) -> bool:
    """Keep a code for its time; False if there is one like it already.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    kept = f"{coupon_id} {int(ends_at.timestamp() * 1_000_000)}"
    return bool(await redis.set(_key(code), kept, nx=True, px=ttl // timedelta(milliseconds=1)))


async def shown(redis: Client, code: str) -> ShownCoupon | None:
    """The coupon of a code; None for a code that is not kept.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    found = await redis.get(_key(code))
    if found is None:
        return None
    assert isinstance(found, bytes), "clients answer in bytes"
    coupon_id, ends_us = found.decode().split(" ")
    return ShownCoupon(UUID(coupon_id), datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(ends_us)))
