"""The gate of a flash sale: one Lua call says who may go on to the database, and holds their ticket.

One item has one gate: a hash with its window, limit, pieces, what each member has and every ticket by its request, and
a sorted set of the tickets in flight, whose orders are not written yet. Both share the item's hash tag, so that in a
cluster they lie together and items spread over the nodes. All of it may be lost: the database decides.

The gate's time is the ``now`` that it is handed and not Redis's own, because the order that follows is decided by the
same instant: two clocks would let a buyer through the gate and refuse him behind it. It also lets tests set the clock.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from cache.client import Client
from cache.script import Script

TAKE = Script("flash_gate_take.lua")
SETTLE = Script("flash_gate_settle.lua")
LOAD = Script("flash_gate_load.lua")
LOOK = Script("flash_gate_look.lua")
EARLY_KEPT = timedelta(seconds=60)
"""How long the gate remembers a member's early access, so that who waits for the opening asks the database once."""

KEPT_AFTER_CLOSING = timedelta(days=1)
OLD_TICKETS = 100
LOADING_MS = 10_000


class GateAnswer(StrEnum):
    """What the gate says to a request."""

    TAKEN = "TAKEN"
    KNOWN = "KNOWN"
    GONE = "GONE"
    CLOSED = "CLOSED"
    NOT_OPEN = "NOT_OPEN"
    ASK_EARLY = "ASK_EARLY"
    OVER = "OVER"
    LIMIT = "LIMIT"
    SOLD_OUT = "SOLD_OUT"


class Fate(StrEnum):
    """What became of a ticket."""

    KEEP = "keep"
    CLAIM = "claim"
    DROP = "drop"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for pieces. ``request`` is the member's id and idempotency key: the same tap is the same request."""

    request: str
    member_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The gate's answer; ``limit`` and ``had`` are set for LIMIT alone."""

    answer: GateAnswer
    limit: int = 0
    had: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContent:
    """All that a gate knows, as the database has it. ``open_count`` is what anybody may take.

    ``tickets`` are the requests of all orders, with whether they gave their pieces back.
    """

    epoch: int
    opens_at: datetime
    closes_at: datetime
    member_limit: int
    open_count: int
    closed: bool
    tickets: Sequence[tuple[Asked, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a gate stands: ``mark`` changes with every change, ``old`` are tickets that are in flight for too long.

    ``missed``: since it was loaded it once had too many pieces, or another server has taken its place or the same one
    has begun anew, so there may be orders and releases that it does not know of.
    """

    mark: str
    left: int
    in_flight: int
    missed: bool
    old: Sequence[Asked]


def _keys(item_id: UUID) -> list[str]:
    return [f"flash:{{sale:{item_id}}}:gate", f"flash:{{sale:{item_id}}}:flight"]


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


async def take(
    redis: Client,
    item_id: UUID,
    asked: Asked,
    *,
    now: datetime,
    most_early: timedelta,
    early: timedelta | None = None,
) -> Told:
    """Take a ticket. Asking again with the same request is harmless, also when the first answer was lost.

    ``early`` is how much sooner the item opens for this member; None: the caller does not know, and is told ASK_EARLY
    if it matters.

    Raises: the errors in ``cache.outage`` while Redis is away; the ticket may have been taken.
    """
    early_ms = "" if early is None else str(early // timedelta(milliseconds=1))
    found = await TAKE.run(
        redis,
        _keys(item_id),
        asked.request,
        str(asked.member_id),
        asked.quantity,
        _ms(now),
        most_early // timedelta(milliseconds=1),
        early_ms,
        _ms(now + EARLY_KEPT),
    )
    answer = GateAnswer(found[0].decode())
    return Told(answer=answer, limit=found[1], had=found[2]) if answer is GateAnswer.LIMIT else Told(answer=answer)


async def settle(
    redis: Client, item_id: UUID, fates: Sequence[tuple[Fate, Asked]], *, open_count: int | None = None
) -> None:
    """Say what became of tickets. Harmless to repeat.

    With ``open_count``, what the database would let anybody take, pieces that come back raise the gate no higher.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    told = [
        part for fate, asked in fates for part in (fate.value, asked.request, str(asked.member_id), str(asked.quantity))
    ]
    await SETTLE.run(redis, _keys(item_id), -1 if open_count is None else open_count, *told)


async def load(redis: Client, item_id: UUID, content: GateContent, *, now: datetime, mark: str | None = None) -> bool:
    """Load a gate; False when it was not, because a newer one is there.

    With ``mark`` only in the place of the gate that was seen with it, if nothing has happened there since and nothing
    is in flight.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    had: dict[UUID, int] = {}
    for asked, is_back in content.tickets:
        if not is_back:
            had[asked.member_id] = had.get(asked.member_id, 0) + asked.quantity
    fields: dict[str, str | int] = {
        "state": "closed" if content.closed else "open",
        "opens": _ms(content.opens_at),
        "closes": _ms(content.closes_at),
        "limit": content.member_limit,
        "left": content.open_count,
    }
    fields |= {f"m:{member_id}": count for member_id, count in had.items()}
    fields |= {
        f"t:{asked.request}": f"{asked.quantity}:{'r' if is_back else 'k'}:{asked.member_id}"
        for asked, is_back in content.tickets
    }
    lives = max(content.closes_at - now, timedelta(0)) + KEPT_AFTER_CLOSING
    told = [part for name, value in fields.items() for part in (name, value)]
    return bool(
        await LOAD.run(redis, _keys(item_id), content.epoch, mark or "", lives // timedelta(milliseconds=1), *told)
    )


async def look(redis: Client, item_id: UUID, *, old_before: datetime, lower_to: int | None = None) -> Seen | None:
    """How the gate stands; None when there is none. With ``lower_to`` it then has no more pieces than that.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    lowest = -1 if lower_to is None else lower_to
    found: list[Any] = await LOOK.run(redis, _keys(item_id), lowest, f"({_ms(old_before)}", OLD_TICKETS)
    if not found:
        return None
    named = iter(found[4:])
    old = [
        Asked(request=request.decode(), member_id=UUID(member.decode()), quantity=int(pieces))
        for request, member, pieces in zip(named, named, named, strict=True)
        if member
    ]
    return Seen(mark=found[0].decode(), left=found[1], in_flight=found[2], missed=bool(found[3]), old=old)


async def left_of(redis: Client, item_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many pieces each gate lets through at this moment, those that are there.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    asked = [redis.execute_command("HGET", _keys(item_id)[0], "left") for item_id in item_ids]
    found = zip(item_ids, await asyncio.gather(*asked), strict=True)
    return {item_id: int(left) for item_id, left in found if left is not None}


async def begin_loading(redis: Client, item_id: UUID) -> bool:
    """Whether the caller is the one who loads this gate now; who does is alone for ``LOADING_MS``.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    return bool(await redis.set(f"flash:{{sale:{item_id}}}:loading", b"1", nx=True, px=LOADING_MS))


async def end_loading(redis: Client, item_id: UUID) -> None:
    """The caller has loaded it, or given up.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    await redis.execute_command("DEL", f"flash:{{sale:{item_id}}}:loading")


async def forget(redis: Client, item_id: UUID) -> None:
    """Take a gate away.

    Raises: the errors in ``cache.outage`` while Redis is away.
    """
    await redis.execute_command("DEL", *_keys(item_id))
