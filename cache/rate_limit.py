"""How often something may be done: GCRA in one Lua call on the server's time, several limits at once.

A limit allows ``burst`` calls at once and then one each ``every``. A call that one limit refuses is taken from none,
and the answer says when to come again. When Redis is away a bucket of this process decides instead: looser by the
number of processes, but never open.
"""

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from redis import asyncio as aioredis
from redis.exceptions import NoScriptError, OutOfMemoryError

from cache.outage import OUTAGES

log = structlog.get_logger(__name__)

SCRIPT = (Path(__file__).parent / "rate_limit.lua").read_text(encoding="utf-8")
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
LOCAL_KEYS = 20_000
AWAY: tuple[type[Exception], ...] = (*OUTAGES, OutOfMemoryError)


class TooMany(Exception):
    """Refused for now; the same call is allowed after ``retry_after_s`` whole seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"come again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` calls at once, then one each ``every``. ``name`` says whose calls are counted together."""

    name: str
    burst: int
    every: timedelta

    def __post_init__(self) -> None:
        assert self.burst >= 1, "a limit allows something"
        assert self.every > timedelta(0), "a limit limits something"

    @property
    def cost_us(self) -> int:
        """What one call costs, in microseconds."""
        return self.every // timedelta(microseconds=1)


class LocalBuckets:
    """The same rule in this process's memory, on its monotonic clock; the least used keys are forgotten."""

    def __init__(self, size: int = LOCAL_KEYS) -> None:
        self._paid_us: OrderedDict[str, float] = OrderedDict()
        self._size = size

    def take(self, keys: Sequence[str], limits: Sequence[Limit], now_us: float) -> float:
        """0 and taken, or the microseconds to wait."""
        paid = [
            max(self._paid_us.get(key, now_us), now_us) + limit.cost_us for key, limit in zip(keys, limits, strict=True)
        ]
        wait = max(at - limit.burst * limit.cost_us - now_us for at, limit in zip(paid, limits, strict=True))
        if wait > 0:
            return wait
        for key, at in zip(keys, paid, strict=True):
            self._paid_us[key] = at
            self._paid_us.move_to_end(key)
        while len(self._paid_us) > self._size:
            self._paid_us.popitem(last=False)
        return 0


_local = LocalBuckets()


async def take(redis: aioredis.Redis, operation: str, *asked: tuple[Limit, str]) -> None:
    """Take one call of ``operation`` from each limit for its subject (a login, an address, a member id).

    All limits of an operation lie in one slot of a cluster. Subjects are hashed: neither logins nor addresses stand in
    Redis.

    Raises:
        TooMany: a limit is used up; nothing was taken from the others.
    """
    limits = [limit for limit, _ in asked]
    keys = [f"rate:{{{operation}}}:{limit.name}:{_hashed(subject)}" for limit, subject in asked]
    wait_us: float
    try:
        wait_us = await _take(redis, keys, limits)
    except AWAY as error:
        log.warning("rate limits are kept by this process alone", operation=operation, reason=type(error).__name__)
        wait_us = _local.take(keys, limits, time.monotonic() * 1e6)
    if wait_us > 0:
        raise TooMany(math.ceil(wait_us / 1e6))


def network_of(address: str) -> str:
    """Whose address it is: an IPv4 address itself, the /64 of an IPv6 address, which one customer has whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


async def _take(redis: aioredis.Redis, keys: Sequence[str], limits: Sequence[Limit]) -> int:
    arguments = [str(number) for limit in limits for number in (limit.cost_us, limit.burst)]
    try:
        return int(await redis.evalsha(SCRIPT_SHA, len(keys), *keys, *arguments))
    except NoScriptError:
        return int(await redis.eval(SCRIPT, len(keys), *keys, *arguments))


def _hashed(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
