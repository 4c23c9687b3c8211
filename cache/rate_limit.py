"""How often something may be done: GCRA in one Lua call on the server's time, several limits at once.

A limit allows ``burst`` calls at once and then one each ``every``; a call may weigh several. A call that one limit
refuses is taken from none, and the answer says when to come again. ``docs/rules/rate_limit.md`` says what is limited.

When Redis is away a bucket of this process decides instead, looser by the number of processes but never open; or the
call passes, where being closed would do more harm than being open (``Ask.falls_back``).
"""

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from redis import asyncio as aioredis
from redis.exceptions import OutOfMemoryError

from cache.client import Client
from cache.outage import OUTAGES
from cache.script import Script
from cache.session_state import known_state, state_key

log = structlog.get_logger(__name__)

TAKE = Script("rate_limit.lua")
RETURN = Script("rate_limit_return.lua")
UNKNOWN = 0
"""Says the script instead of a limit's place, of a session."""

LOCAL_KEYS = 20_000
QUIET_US = 5e6
AWAY: tuple[type[Exception], ...] = (*OUTAGES, OutOfMemoryError)

_refused = Counter("youli_rate_limited_total", "Calls refused by a rate limit.", ["operation", "limit"])
_without_redis = Counter(
    "youli_rate_limit_without_redis_total", "Calls whose limits Redis did not decide, by what did.", ["decided_by"]
)


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


@dataclass(frozen=True, slots=True)
class Ask:
    """``weight`` calls of ``operation`` to be taken from ``limit`` of ``subject`` (a login, an address, a member id).

    A weight above the burst counts as the burst, so that it passes when nothing else was taken. With Redis away the
    call is taken from this process's own bucket, or passes if it does not fall back.
    """

    operation: str
    limit: Limit
    subject: str
    weight: int = 1
    falls_back: bool = True

    @property
    def cost_us(self) -> int:
        """What this costs, in microseconds."""
        return min(self.weight, self.limit.burst) * self.limit.cost_us

    @property
    def most_us(self) -> int:
        """How much may be owed, in microseconds."""
        return self.limit.burst * self.limit.cost_us


class LocalBuckets:
    """The same rule in this process's memory, on its monotonic clock; the least used keys are forgotten."""

    def __init__(self, size: int = LOCAL_KEYS) -> None:
        self._paid_us: OrderedDict[str, float] = OrderedDict()
        self._size = size

    def take(self, keys: Sequence[str], asked: Sequence[Ask], now_us: float) -> tuple[float, int]:
        """0 and taken; or the microseconds to wait, and the place of the limit that takes longest, from 1."""
        paid = [max(self._paid_us.get(key, now_us), now_us) + ask.cost_us for key, ask in zip(keys, asked, strict=True)]
        over = [at - ask.most_us - now_us for at, ask in zip(paid, asked, strict=True)]
        wait = max(over, default=0)
        if wait > 0:
            return wait, over.index(wait) + 1
        for key, at in zip(keys, paid, strict=True):
            self._paid_us[key] = at
            self._paid_us.move_to_end(key)
        while len(self._paid_us) > self._size:
            self._paid_us.popitem(last=False)
        return 0, 0


class _Told:
    """Says that Redis is away, and not again with every call."""

    def __init__(self) -> None:
        self._quiet_until_us = 0.0

    def tell(self, now_us: float, reason: str) -> None:
        if now_us >= self._quiet_until_us:
            self._quiet_until_us = now_us + QUIET_US
            log.warning("redis does not decide the rate limits", reason=reason)


_local = LocalBuckets()
_told = _Told()


async def take(redis: Client, operation: str, *asked: tuple[Limit, str]) -> None:
    """Take one call of ``operation`` from each limit for its subject; with Redis away this process decides.

    Raises:
        TooMany: a limit is used up; nothing was taken from the others.
    """
    await take_all(redis, [Ask(operation, limit, subject) for limit, subject in asked])


async def give_back(redis: Client, operation: str, *asked: tuple[Limit, str]) -> None:
    """Give back what ``take`` took, for a call that turned out not to be one of those that are limited.

    With Redis away nothing is given back.
    """
    asks = [Ask(operation, limit, subject) for limit, subject in asked]
    with suppress(*AWAY):
        await _give_back([_key(ask) for ask in asks], asks, redis)


async def take_all(redis: Client, asked: Sequence[Ask]) -> None:
    """Take what is asked from every limit at once, or nothing.

    Subjects are hashed: neither logins nor addresses stand in Redis. The limits of one subject lie in one slot of a
    cluster. There, those of several subjects are taken one subject after the other, and given back when a later one
    refuses: write the one that a flood runs into first.

    Raises:
        TooMany: a limit is used up; nothing was taken from the others.
    """
    keys = [_key(ask) for ask in asked]
    slots = [ask.subject if isinstance(redis, aioredis.RedisCluster) else "" for ask in asked]
    places: dict[str, list[int]] = {}
    for place, slot in enumerate(slots):
        places.setdefault(slot, []).append(place)
    taken: list[int] = []
    wait_us: float = 0
    refused = 0
    try:
        for together in places.values():
            wait_us, at = await _take([keys[i] for i in together], [asked[i] for i in together], redis)
            if wait_us > 0:
                refused = together[at - 1]
                await _give_back([keys[i] for i in taken], [asked[i] for i in taken], redis)
                break
            taken += together
    except AWAY as error:
        if wait_us == 0:
            wait_us, refused = _without(keys, asked, error)
    if wait_us > 0:
        raise _too_many(asked[refused], wait_us)


async def take_if_alive(redis: Client, session_id: UUID, asked: Sequence[Ask]) -> bool | None:
    """``take_all`` for a request of a session, if that is known to be alive: one step, but two in a cluster.

    Answers what is known of the session, as ``session_state.known_state`` does. Unless that is True nothing was taken,
    or Redis went away over it.

    Raises:
        TooMany: a limit is used up; nothing was taken from the others.
    """
    if not asked or isinstance(redis, aioredis.RedisCluster):
        alive = await known_state(redis, session_id)
        if alive:
            await take_all(redis, asked)
        return alive
    try:
        wait_us, at = await _take([*map(_key, asked), state_key(session_id)], asked, redis)
    except AWAY:
        return None
    if wait_us < 0:
        return None if at == UNKNOWN else False
    if wait_us > 0:
        raise _too_many(asked[at - 1], wait_us)
    return True


def _too_many(ask: Ask, wait_us: float) -> TooMany:
    _refused.labels(ask.operation, ask.limit.name).inc()
    return TooMany(math.ceil(wait_us / 1e6))


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


async def _take(keys: list[str], asked: Sequence[Ask], redis: Client) -> tuple[int, int]:
    answer = await TAKE.run(redis, keys, *(number for ask in asked for number in (ask.cost_us, ask.most_us)))
    return (int(answer[0]), int(answer[1])) if len(answer) > 1 else (0, 0)


async def _give_back(keys: list[str], asked: Sequence[Ask], redis: Client) -> None:
    by_slot: dict[str, list[int]] = {}
    for place, ask in enumerate(asked):
        by_slot.setdefault(ask.subject, []).append(place)
    for together in by_slot.values():
        await RETURN.run(redis, [keys[i] for i in together], *(asked[i].cost_us for i in together))


def _without(keys: Sequence[str], asked: Sequence[Ask], error: Exception) -> tuple[float, int]:
    """What this process decides alone: the microseconds to wait, and the place of the ask that is refused."""
    kept = [place for place, ask in enumerate(asked) if ask.falls_back]
    decided_by = "process" if kept else "nobody"
    _without_redis.labels(decided_by).inc()
    now_us = time.monotonic() * 1e6
    _told.tell(now_us, type(error).__name__)
    if not kept:
        return 0, 0
    wait_us, at = _local.take([keys[i] for i in kept], [asked[i] for i in kept], now_us)
    return wait_us, kept[at - 1] if at else 0


def _key(ask: Ask) -> str:
    tag = hashlib.sha256(ask.subject.encode()).hexdigest()[:32]
    return f"rate:{{{tag}}}:{ask.operation}:{ask.limit.name}"
