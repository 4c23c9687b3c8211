"""The one place where ids, secrets and chance are made."""

import secrets
from datetime import datetime
from uuid import UUID


def new_id(at: datetime) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of unix milliseconds of ``at``, then 74 random bits.

    Ids made later sort later to the millisecond, so lists can be paged by id.
    """
    ms = int(at.timestamp() * 1000) & 0xFFFFFFFFFFFF
    value = (ms << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return UUID(int=value)


def new_secret(nbytes: int = 32) -> str:
    """An unguessable URL-safe text made of ``nbytes`` random bytes."""
    return secrets.token_urlsafe(nbytes)


def jitter(most_s: float) -> float:
    """A chance wait of 0 to ``most_s`` seconds, so that what collided does not collide again."""
    return secrets.randbelow(1_000_001) * most_s / 1_000_000
