"""The gate of a flash sale and the database: entering, loading, telling, and holding the one against the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import OutOfMemoryError

from cache import flash_gate as gate
from cache.flash_gate import Asked, Fate, GateAnswer, GateContent
from cache.outage import OUTAGES
from loyalty.flash_sales.flash_sale import (
    MAX_EARLY,
    FlashLimitReached,
    FlashNotOffered,
    FlashNotOpen,
    FlashOver,
    FlashSoldOut,
    TicketState,
    open_count,
)
from loyalty.tiers.tier_benefit import Benefit, BenefitKind
from models.engine import changed, rows, transaction
from resolvers.deps import Deps
from resolvers.tiers.tier import benefits_of

log = structlog.get_logger(__name__)

AWAY: tuple[type[Exception], ...] = (*OUTAGES, OutOfMemoryError)
OLD_AFTER = timedelta(seconds=60)
"""A ticket in flight for so long is looked up in the database: no request takes that long."""

CHECK_EVERY = timedelta(seconds=3)
TELL_AGAIN = timedelta(seconds=5)
BACK = frozenset({TicketState.RELEASED, TicketState.RETURNED})

_PIECES = "quantity - CASE state WHEN 'posted' THEN returned_count ELSE 0 END AS quantity"
"""What a ticket's order still has, or had when it gave back the last of it."""

_OPEN = """
SELECT left_count, waiting_count, closed_at IS NOT NULL AND gate_due_at IS NOT NULL AS missed_close
FROM flash_item WHERE id = $1
"""
"""What anybody may take; and whether the gate has not been loaded since the session was closed."""


class Entry(StrEnum):
    """With what a request goes on to the database: a new ticket, one of before, or nobody knows."""

    TAKEN = "taken"
    KNOWN = "known"
    UNSURE = "unsure"


def early_access(benefits: Sequence[Benefit]) -> Benefit | None:
    """The early access among a tier's benefits."""
    return next((one for one in benefits if one.kind is BenefitKind.EARLY_ACCESS), None)


async def enter(deps: Deps, item_id: UUID, asked: Asked, now: datetime) -> Entry:
    """Take a ticket at the gate. Without Redis, or while somebody else loads the gate, the database decides alone.

    Raises: FlashNotOffered, FlashNotOpen, FlashOver, FlashLimitReached, FlashSoldOut.
    """
    try:
        told = await gate.take(deps.redis, item_id, asked, now=now, most_early=MAX_EARLY)
        if told.answer is GateAnswer.GONE and await load(deps, item_id):
            told = await gate.take(deps.redis, item_id, asked, now=now, most_early=MAX_EARLY)
        if told.answer is GateAnswer.ASK_EARLY:
            benefit = early_access((await benefits_of(deps, [asked.member_id]))[asked.member_id])
            early = timedelta(minutes=benefit.figure) if benefit else timedelta(0)
            told = await gate.take(deps.redis, item_id, asked, now=now, most_early=MAX_EARLY, early=early)
    except AWAY as error:
        log.warning("the flash gate is away, the database decides", item_id=str(item_id), reason=type(error).__name__)
        return Entry.UNSURE
    match told.answer:
        case GateAnswer.CLOSED:
            raise FlashNotOffered
        case GateAnswer.NOT_OPEN:
            raise FlashNotOpen
        case GateAnswer.OVER:
            raise FlashOver
        case GateAnswer.LIMIT:
            raise FlashLimitReached(limit=told.limit, bought=told.had)
        case GateAnswer.SOLD_OUT:
            raise FlashSoldOut
        case GateAnswer.TAKEN:
            return Entry.TAKEN
        case GateAnswer.KNOWN:
            return Entry.KNOWN
    return Entry.UNSURE


async def settle(deps: Deps, item_id: UUID, fates: Sequence[tuple[Fate, Asked]]) -> None:
    """Say at the gate what became of tickets; what cannot be said now is found by reconciliation."""
    if not fates:
        return
    try:
        await gate.settle(deps.redis, item_id, fates)
    except AWAY as error:
        log.warning("the flash gate was not told", item_id=str(item_id), reason=type(error).__name__)


async def load(deps: Deps, item_id: UUID, *, mark: str | None = None) -> bool:
    """Load the gate of an item from the database, under the next epoch; False when it was not.

    One process loads it at a time. With ``mark``, only if nothing has happened at the gate since it was seen so.

    Raises: the errors in ``AWAY``.
    """
    if not await gate.begin_loading(deps.redis, item_id):
        return False
    try:
        content = await _content(item_id, deps.clock.now())
        if content is None:
            return False
        loaded = await gate.load(deps.redis, item_id, content, now=deps.clock.now(), mark=mark)
        if content.closed:
            await changed("UPDATE flash_item SET gate_due_at = NULL WHERE id = $1", [item_id])
        log.info("flash_gate_loaded", item_id=str(item_id), epoch=content.epoch, loaded=loaded)
        return loaded
    finally:
        await gate.end_loading(deps.redis, item_id)


async def _content(item_id: UUID, now: datetime) -> GateContent | None:
    async with transaction():
        # The row stays locked until the tickets are read, so that both are of one moment.
        found = await rows(
            "UPDATE flash_item item SET epoch = epoch + 1, gate_due_at = $2 "
            "FROM flash_sale sale WHERE item.id = $1 AND sale.id = item.sale_id "
            "AND sale.state <> 'draft' RETURNING item.epoch, item.member_limit, item.left_count, item.waiting_count, "
            "item.closed_at, sale.opens_at, sale.closes_at",
            [item_id, now + CHECK_EVERY],
        )
        if not found:
            return None
        tickets = await rows(
            f"SELECT reservation, member_id, {_PIECES}, state FROM flash_ticket WHERE item_id = $1", [item_id]
        )
    row = found[0]
    return GateContent(
        epoch=row["epoch"],
        opens_at=row["opens_at"],
        closes_at=row["closes_at"],
        member_limit=row["member_limit"],
        open_count=open_count(left=row["left_count"], waiting=row["waiting_count"]),
        closed=row["closed_at"] is not None,
        tickets=[(_asked(ticket), ticket["state"] in BACK) for ticket in tickets],
    )


def _asked(ticket: dict[str, Any]) -> Asked:
    return Asked(request=ticket["reservation"], member_id=ticket["member_id"], quantity=ticket["quantity"])


# Holding the gate against the database


class Repair(StrEnum):
    """What reconciliation did to a gate."""

    NONE = "none"
    LOADED = "loaded"
    LOWERED = "lowered"
    RAISED = "raised"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """By how many pieces the gate let too many (positive) or too few through, and what was done."""

    item_id: UUID
    pieces: int
    repair: Repair


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Items whose gate is to be looked at, each leased to the caller for one round.

    A row that is being sold from just now is left for the next round, rather than waited for.
    """
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE flash_item SET gate_due_at = $2 WHERE id IN (SELECT id FROM flash_item WHERE gate_due_at <= $1 "
        "ORDER BY gate_due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + CHECK_EVERY, limit],
    )
    return [row["id"] for row in claimed]


async def reconcile(deps: Deps, *, item_id: UUID) -> Drift:
    """Hold a gate against the database and repair it: downward at once, upward when nothing is in flight.

    A gate that was lowered has missed orders, and what it counts for their members is wrong as well; one whose server
    came back, or left its place to a replica, may have missed orders and releases and still have the right number of
    pieces. Both are loaded anew as soon as nothing is in flight. Tickets that are in flight for too long become an
    order's, or are taken back.
    A gate that is gone is loaded, and so is once more that of a session that was closed.

    Raises: the errors in ``AWAY``.
    """
    now = deps.clock.now()
    seen = await gate.look(deps.redis, item_id, old_before=now - OLD_AFTER)
    if seen is None:
        loaded = await load(deps, item_id)
        return Drift(item_id=item_id, pieces=0, repair=Repair.LOADED if loaded else Repair.POSTPONED)
    if seen.old:
        await gate.settle(deps.redis, item_id, await _fates(seen.old))
    row = (await rows(_OPEN, [item_id]))[0]
    if row["missed_close"]:
        loaded = await load(deps, item_id)
        return Drift(item_id=item_id, pieces=0, repair=Repair.LOADED if loaded else Repair.POSTPONED)
    open_now = open_count(left=row["left_count"], waiting=row["waiting_count"])
    seen = await gate.look(deps.redis, item_id, old_before=now - OLD_AFTER, lower_to=open_now)
    if seen is None or (seen.left == open_now and not seen.missed):
        return Drift(item_id=item_id, pieces=0, repair=Repair.NONE)
    pieces = seen.left - open_now
    if pieces > 0:
        log.info("flash_gate_lowered", item_id=str(item_id), pieces=pieces)
        return Drift(item_id=item_id, pieces=pieces, repair=Repair.LOWERED)
    if seen.in_flight:
        # Pieces of tickets in flight are missing here and not yet there: that is no drift.
        return Drift(item_id=item_id, pieces=0, repair=Repair.POSTPONED)
    loaded = await load(deps, item_id, mark=seen.mark)
    repair = Repair.POSTPONED if not loaded else Repair.RAISED if pieces else Repair.LOADED
    return Drift(item_id=item_id, pieces=pieces, repair=repair)


async def _fates(old: Sequence[Asked]) -> list[tuple[Fate, Asked]]:
    found = await rows(
        "SELECT reservation, state FROM flash_ticket WHERE reservation = ANY($1::text[])",
        [[asked.request for asked in old]],
    )
    states = {row["reservation"]: row["state"] for row in found}
    return [(_fate(states.get(asked.request)), asked) for asked in old]


def _fate(state: str | None) -> Fate:
    if state is None:
        return Fate.DROP
    return Fate.RELEASE if state in BACK else Fate.KEEP


# Telling the gate what the database has decided


async def untold(deps: Deps, limit: int) -> list[UUID]:
    """Items with tickets that changed in the database and not yet at the gate."""
    found = await rows(
        "SELECT item_id FROM flash_ticket WHERE gate_due_at <= $1 GROUP BY 1 ORDER BY min(gate_due_at) LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [row["item_id"] for row in found]


async def tell(deps: Deps, *, item_id: UUID) -> None:
    """Tell the gate of tickets that were released, wholly or in part, or had again by late money. Harmless to repeat.

    What came back raises the gate no higher than the queue leaves to everybody.
    """
    now = deps.clock.now()
    due = await rows(
        f"SELECT id, reservation, member_id, {_PIECES}, state, gate_due_at FROM flash_ticket "
        "WHERE item_id = $1 AND gate_due_at <= $2 ORDER BY gate_due_at LIMIT 500",
        [item_id, now],
    )
    row = (await rows(_OPEN, [item_id]))[0]
    open_now = open_count(left=row["left_count"], waiting=row["waiting_count"])
    try:
        await gate.settle(deps.redis, item_id, [(_fate(one["state"]), _asked(one)) for one in due], open_count=open_now)
    except AWAY as error:
        log.warning("the flash gate was not told", item_id=str(item_id), reason=type(error).__name__)
        await changed(
            "UPDATE flash_ticket SET gate_due_at = $2 WHERE id = ANY($1::uuid[]) AND gate_due_at <= $3",
            [[one["id"] for one in due], now + TELL_AGAIN, now],
        )
        return
    # Only what was told as it stands: a ticket that moved on meanwhile is told again.
    await changed(
        "UPDATE flash_ticket ticket SET gate_due_at = NULL FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) "
        "AS told(id, state, due_at) WHERE ticket.id = told.id AND ticket.state = told.state "
        "AND ticket.gate_due_at = told.due_at",
        [[one[name] for one in due] for name in ("id", "state", "gate_due_at")],
    )
