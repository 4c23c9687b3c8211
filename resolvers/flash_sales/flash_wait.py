"""The queue of a sold-out item: joining, leaving, and offering what comes back in the order of the queue.

An offer holds its pieces in the database until its claim window ends; it is claimed by an ordinary purchase. Whatever
changes both a place and the item's counts writes the place first and the item last.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from loyalty.flash_sales import flash_sale as rule
from loyalty.flash_sales.flash_sale import (
    FlashAlreadyWaiting,
    FlashNotOffered,
    FlashNotSoldOut,
    FlashSaleState,
    FlashSoldOut,
    FlashTerms,
    FlashWaitNotFound,
    WaitState,
    open_count,
)
from models.asyncpg_backend import Conflict
from models.engine import changed, retried, rows, transaction
from models.flash_sales.flash_sale import FlashWait
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales.flash_gate import AWAY, early_access
from resolvers.flash_sales.flash_hold import HAD, put_back
from resolvers.replay import remember, replayed
from resolvers.tiers.tier import benefits_of

log = structlog.get_logger(__name__)

NEWEST = Keyset("flash_wait.newest", (Key("id", UUID),))
OFFERS = 50
"""So many offers in one transaction."""

_ITEM = """
SELECT item.member_limit, item.carved_count, item.left_count, item.waiting_count, item.closed_at, sale.state,
    sale.opens_at, sale.closes_at, sale.claim_minutes
FROM flash_item item JOIN flash_sale sale ON sale.id = item.sale_id WHERE item.id = $1
"""

_KEPT_OPEN = _ITEM + " FOR SHARE OF sale"
"""The same, of a session that cannot be closed until the transaction has ended: closing ends only offers it can see."""

_QUEUE = """
UPDATE flash_item SET waiting_count = waiting_count + $2
WHERE id = $1 AND closed_at IS NULL AND left_count - waiting_count < $2 AND waiting_count + $2 <= carved_count * $3
RETURNING id
"""

_OFFER = """
UPDATE flash_item SET left_count = left_count - $2, held_count = held_count + $2, waiting_count = waiting_count - $2
WHERE id = $1 AND closed_at IS NULL AND left_count >= $2 RETURNING id
"""


async def places(deps: Deps, *, member_id: UUID, page: Page) -> Slice[FlashWait]:
    """A member's places in queues, newest first."""
    return await fetch(FlashWait.filter(member_id=member_id), page)


async def ahead_counts(_: Deps, wait_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many wait before each of these places that still wait."""
    found = await rows(
        "SELECT mine.id, (SELECT count(*) FROM flash_wait other WHERE other.item_id = mine.item_id "
        "AND other.state = 'waiting' AND other.id < mine.id)::int AS ahead "
        "FROM flash_wait mine WHERE mine.id = ANY($1::uuid[]) AND mine.state = 'waiting'",
        [list(wait_ids)],
    )
    return {row["id"]: row["ahead"] for row in found}


async def join(deps: Deps, *, member_id: UUID, item_id: UUID, quantity: int, idempotency_key: str) -> FlashWait:
    """Queue for ``quantity`` pieces of an item that is sold out. It waits for ten times the stock at most.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        QuantityInvalid, FlashNotOffered, FlashNotOpen, FlashOver, FlashLimitReached: it could not be bought either.
        FlashAlreadyWaiting, FlashNotSoldOut: there is no need to.
        FlashSoldOut: the queue is full.
    """
    wait = await _join(deps, member_id, item_id, quantity, idempotency_key)
    deps.group_commit.follow(_adjust_gate(deps, item_id))
    return wait


@retried
async def _join(deps: Deps, member_id: UUID, item_id: UUID, quantity: int, key: str) -> FlashWait:
    now = deps.clock.now()
    content = {"item_id": str(item_id), "quantity": quantity}
    operation = "flashSaleWait"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await FlashWait.get(id=UUID(before["wait_id"]))
        rule.admit_quantity(quantity)
        found = await rows(_ITEM, [item_id])
        if not found or found[0]["state"] != FlashSaleState.PUBLISHED:
            raise FlashNotOffered
        item = found[0]
        terms = FlashTerms(opens_at=item["opens_at"], closes_at=item["closes_at"], member_limit=item["member_limit"])
        early = early_access((await benefits_of(deps, [member_id]))[member_id])
        rule.admit_window(terms, early=early, now=now)
        had = sum(row["pieces"] for row in await rows(HAD, [item_id, [member_id]]))
        rule.admit_limit(terms, quantity=quantity, had_count=had)
        live = [WaitState.WAITING, WaitState.OFFERED]
        if await FlashWait.exists(item_id=item_id, member_id=member_id, state__in=live):
            raise FlashAlreadyWaiting
        wait = await FlashWait.create(
            id=new_id(now),
            item_id=item_id,
            member_id=member_id,
            quantity=quantity,
            state=WaitState.WAITING,
            created_at=now,
        )
        result = {"wait_id": str(wait.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        if not await rows(_QUEUE, [item_id, quantity, rule.QUEUE_TIMES_STOCK]):
            item = (await rows(_ITEM, [item_id]))[0]
            if item["closed_at"] is not None:
                raise FlashNotOffered
            if open_count(left=item["left_count"], waiting=item["waiting_count"]) >= quantity:
                raise FlashNotSoldOut
            if item["waiting_count"] + quantity <= item["carved_count"] * rule.QUEUE_TIMES_STOCK:
                raise Conflict("the last piece was sold meanwhile")
            raise FlashSoldOut
        return wait


async def leave(deps: Deps, *, member_id: UUID, wait_id: UUID) -> FlashWait:
    """Leave a queue, or give an offer back. Harmless to repeat; what has ended otherwise stays as it is.

    Raises: FlashWaitNotFound.
    """
    wait = await _leave(deps, member_id, wait_id)
    deps.group_commit.follow(_adjust_gate(deps, wait.item_id))
    return wait


@retried
async def _leave(deps: Deps, member_id: UUID, wait_id: UUID) -> FlashWait:
    now = deps.clock.now()
    async with transaction(member_id):
        wait = await FlashWait.filter(id=wait_id, member_id=member_id).select_for_update(no_key=True).get_or_none()
        if wait is None:
            raise FlashWaitNotFound
        state = WaitState(wait.state)
        if state in (WaitState.WAITING, WaitState.OFFERED):
            await FlashWait.filter(id=wait_id).update(state=WaitState.LEFT, settled_at=now)
            if state is WaitState.OFFERED:
                await put_back(wait.item_id, wait.quantity, "held_count", wait_id, now)
            else:
                await changed(
                    "UPDATE flash_item SET waiting_count = waiting_count - $2 WHERE id = $1 AND closed_at IS NULL",
                    [wait.item_id, wait.quantity],
                )
        return await FlashWait.get(id=wait_id)


async def queued(deps: Deps, limit: int) -> list[UUID]:
    """Items with pieces left for which somebody waits."""
    found = await rows(
        "SELECT id FROM flash_item WHERE waiting_count > 0 AND left_count > 0 ORDER BY id LIMIT $1", [limit]
    )
    return [row["id"] for row in found]


@retried
async def offer(deps: Deps, *, item_id: UUID) -> int:
    """Offer what is left to those who wait, in their order; how many offers were made."""
    now = deps.clock.now()
    async with transaction():
        item = (await rows(_KEPT_OPEN, [item_id]))[0]
        terms = FlashTerms(opens_at=item["opens_at"], closes_at=item["closes_at"], member_limit=item["member_limit"])
        if item["state"] != FlashSaleState.PUBLISHED or now >= terms.closes_at:
            return 0
        queue = await rows(
            "SELECT id, quantity FROM flash_wait WHERE item_id = $1 AND state = 'waiting' ORDER BY id LIMIT $2 "
            "FOR NO KEY UPDATE",
            [item_id, OFFERS],
        )
        served = queue[: rule.offers_due([row["quantity"] for row in queue], left=item["left_count"])]
        if not served:
            return 0
        await changed(
            "UPDATE flash_wait SET state = 'offered', offered_at = $2, claim_by = $3 WHERE id = ANY($1::uuid[])",
            [
                [row["id"] for row in served],
                now,
                rule.claim_by(terms, offered_at=now, claim_minutes=item["claim_minutes"]),
            ],
        )
        if not await rows(_OFFER, [item_id, sum(row["quantity"] for row in served)]):
            raise Conflict("somebody took a piece meanwhile")
        log.info("flash_offers_made", item_id=str(item_id), offers=len(served))
        return len(served)


async def lapsed(deps: Deps, limit: int) -> list[UUID]:
    """Offers whose claim window has ended."""
    found = await rows(
        "SELECT id FROM flash_wait WHERE state = 'offered' AND claim_by <= $1 ORDER BY claim_by LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [row["id"] for row in found]


async def lapse(deps: Deps, *, wait_id: UUID) -> None:
    """End an offer that nobody claimed in time, and pass its pieces on. Harmless to repeat."""
    item_id = await _lapse(deps, wait_id, deps.clock.now())
    if item_id is not None:
        await offer(deps, item_id=item_id)
        await _adjust_gate(deps, item_id)


@retried
async def _lapse(deps: Deps, wait_id: UUID, now: datetime) -> UUID | None:
    async with transaction():
        ended = await rows(
            "UPDATE flash_wait SET state = 'lapsed', settled_at = $2 "
            "WHERE id = $1 AND state = 'offered' AND claim_by <= $2 RETURNING item_id, quantity",
            [wait_id, now],
        )
        if not ended:
            return None
        item_id: UUID = ended[0]["item_id"]
        await put_back(item_id, ended[0]["quantity"], "held_count", wait_id, now)
        return item_id


async def _adjust_gate(deps: Deps, item_id: UUID) -> None:
    """What anybody may take has changed without a ticket: the gate follows now rather than in a few seconds."""
    try:
        await gate.reconcile(deps, item_id=item_id)
    except AWAY as error:
        log.warning("the flash gate was not told", item_id=str(item_id), reason=type(error).__name__)
