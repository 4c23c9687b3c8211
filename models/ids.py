"""The one place where ids, secrets and chance are made."""

import secrets
from datetime import datetime
from uuid import UUID

_COUNTER_BITS = 42
_count = secrets.randbits(_COUNTER_BITS - 1)


def new_id(at: datetime) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of unix milliseconds of ``at``, a 42-bit counter, 32 random bits.

    Ids made later sort later, so lists can be paged by id; within one millisecond and process the counter sees to it
    (§6.2, method 1, over all milliseconds alike), from a random start and for 2⁴¹ ids.
    """
    global _count
    ms = int(at.timestamp() * 1000) & 0xFFFFFFFFFFFF
    _count += 1
    high, low = divmod(_count & ((1 << _COUNTER_BITS) - 1), 1 << 30)
    return UUID(int=(ms << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | (low << 32) | secrets.randbits(32))


def first_id(at: datetime) -> UUID:
    """The lowest id that ``new_id`` can make at ``at``: rows since then are a range of the primary key."""
    ms = int(at.timestamp() * 1000) & 0xFFFFFFFFFFFF
    return UUID(int=(ms << 80) | (0x7 << 76) | (0b10 << 62))


def new_secret(nbytes: int = 32) -> str:
    """An unguessable URL-safe text made of ``nbytes`` random bytes."""
    return secrets.token_urlsafe(nbytes)


def new_bytes(nbytes: int) -> bytes:
    """So many random bytes, for a text of another alphabet."""
    return secrets.token_bytes(nbytes)


def new_digits(count: int) -> str:
    """So many random decimal digits, for what a till scans or a person types."""
    return f"{secrets.randbelow(10**count):0{count}d}"


def jitter(most_s: float) -> float:
    """A chance wait of 0 to ``most_s`` seconds, so that what collided does not collide again."""
    return secrets.randbelow(1_000_001) * most_s / 1_000_000
