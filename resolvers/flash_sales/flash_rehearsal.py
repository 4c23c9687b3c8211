"""Rehearsing a flash sale: made-up buyers run against a copy of a session, through the same gate and the same verb.

The copy, the buyers and their orders live in tables beside the books (``models.workspace``) and go with them; the
copy's gates have ids of their own and are taken away.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError

from cache import flash_gate as cached_gate
from loyalty.flash_sales import flash_sale as rule
from loyalty.flash_sales.flash_sale import FlashRehearsalRunning, FlashSaleNotFound, FlashSaleState, RehearsalState
from loyalty.refusal import Refusal
from models.asyncpg_backend import Unavailable
from models.catalogue.catalogue import Category, Product, Sku
from models.engine import retried, rows, slow_rows, transaction
from models.flash_sales.flash_sale import FlashItem, FlashRehearsal, FlashSale
from models.ids import new_id, new_secret
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.member import Member
from models.points.points import PointsAccount
from models.tiers.tier import Membership
from models.workspace import workspace
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales import flash_sale
from resolvers.flash_sales.flash_gate import AWAY
from resolvers.group_commit import GroupCommit
from resolvers.invariants.verify import INVARIANTS
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.programme import tier_table
from resolvers.replay import remember, replayed

log = structlog.get_logger(__name__)

NEWEST = Keyset("flash_rehearsal.newest", (Key("id", UUID),))
LEASE = timedelta(seconds=60)
TOLD_EVERY_S = 1.0
POOL_SIZE = 8
AT_ONCE = 128
"""So many buyers tap at the same time: a rehearsal must leave the store's customers some room."""

REPEATS_ONE_IN = 10
"""One buyer in so many taps twice with the same key, as phones do that lost an answer."""

CHECKED = ("flash_pieces", "flash_orders", "order_lines")


async def rehearsals(deps: Deps, *, page: Page, sale_id: UUID) -> Slice[FlashRehearsal]:
    """The rehearsals of a session, newest first."""
    return await fetch(FlashRehearsal.filter(sale_id=sale_id), page)


async def one(deps: Deps, rehearsal_id: UUID) -> FlashRehearsal | None:
    """A rehearsal."""
    return await FlashRehearsal.get_or_none(id=rehearsal_id)


async def start(deps: Deps, *, operator_id: UUID, sale_id: UUID, buyers: int, idempotency_key: str) -> FlashRehearsal:
    """Start a rehearsal of a session, in whatever state it is, by 1 to 2,000 made-up buyers; the worker runs it.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: the number of buyers.
        FlashSaleNotFound: there is no such session.
        FlashRehearsalRunning: another one is running.
    """
    try:
        return await _start(deps, operator_id, sale_id, buyers, idempotency_key)
    except IntegrityError:
        raise FlashRehearsalRunning from None


@retried
async def _start(deps: Deps, operator_id: UUID, sale_id: UUID, buyers: int, key: str) -> FlashRehearsal:
    now = deps.clock.now()
    content, operation = {"sale_id": str(sale_id), "buyers": buyers}, "flashSaleRehearse"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await FlashRehearsal.get(id=UUID(before["rehearsal_id"]))
        rule.admit_rehearsal(buyers=buyers)
        if not await FlashSale.exists(id=sale_id):
            raise FlashSaleNotFound
        if await FlashRehearsal.exists(state=RehearsalState.RUNNING):
            raise FlashRehearsalRunning
        rehearsal = await FlashRehearsal.create(
            id=new_id(now),
            sale_id=sale_id,
            state=RehearsalState.RUNNING,
            buyers=buyers,
            due_at=now,
            started_at=now,
            started_by_id=operator_id,
        )
        await record(operator_id, "flash_sale.rehearse", "flash_sale", sale_id, None, content, now)
        result = {"rehearsal_id": str(rehearsal.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return rehearsal


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of rehearsals to run, each leased to the caller, who renews it while it runs."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE flash_rehearsal SET due_at = $2 WHERE id IN (SELECT id FROM flash_rehearsal WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + LEASE, limit],
    )
    return [row["id"] for row in claimed]


@dataclass(slots=True)
class _Tally:
    """What the buyers have been told so far."""

    answered: int = 0
    bought: int = 0
    ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


async def run(deps: Deps, *, rehearsal_id: UUID) -> None:
    """Run a rehearsal to its end. One that was cut off is run again from the start: it has left nothing behind."""
    rehearsal = await FlashRehearsal.get(id=rehearsal_id)
    if rehearsal.state != RehearsalState.RUNNING:
        return
    sale = await FlashSale.get(id=rehearsal.sale_id)
    items = await FlashItem.filter(sale_id=sale.id).select_related("sku__product").order_by("position")
    tally = _Tally()
    telling = asyncio.create_task(_tell(deps, rehearsal_id, tally))
    try:
        result = await _rehearsed(deps, rehearsal, sale, items, tally)
    except Unavailable:
        raise
    except Exception as error:
        log.exception("a rehearsal failed", rehearsal_id=str(rehearsal_id))
        await _finish(deps, rehearsal_id, RehearsalState.FAILED, tally, failure=type(error).__name__)
    else:
        await _finish(deps, rehearsal_id, RehearsalState.DONE, tally, result=result)
    finally:
        telling.cancel()


async def _tell(deps: Deps, rehearsal_id: UUID, tally: _Tally) -> None:
    while True:
        await FlashRehearsal.filter(id=rehearsal_id, state=RehearsalState.RUNNING).update(
            answered_count=tally.answered, due_at=deps.clock.now() + LEASE
        )
        await asyncio.sleep(TOLD_EVERY_S)


async def _finish(
    deps: Deps,
    rehearsal_id: UUID,
    state: RehearsalState,
    tally: _Tally,
    *,
    result: dict[str, object] | None = None,
    failure: str = "",
) -> None:
    await FlashRehearsal.filter(id=rehearsal_id, state=RehearsalState.RUNNING).update(
        state=state,
        answered_count=tally.answered,
        result=result,
        failure=failure,
        due_at=None,
        finished_at=deps.clock.now(),
    )


async def _rehearsed(
    deps: Deps, rehearsal: FlashRehearsal, sale: FlashSale, items: Sequence[FlashItem], tally: _Tally
) -> dict[str, object]:
    backstage = replace(deps, group_commit=GroupCommit())
    async with workspace(rehearsal.id, filled_from=("programme_version",), pool_size=POOL_SIZE):
        copies = await _set_the_stage(backstage, sale, items)
        try:
            for copy in copies:
                await _load(backstage, copy.id)
            members = await _made_up(rehearsal.buyers, deps.clock.now())
            begun = time.perf_counter()
            turns = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as buyers:
                for number, member_id in enumerate(members):
                    item = copies[number % len(copies)]
                    buyers.create_task(_buy(backstage, turns, tally, member_id, item, number % REPEATS_ONE_IN == 0))
            seconds = time.perf_counter() - begun
            await backstage.group_commit.idle()
            return await _result(copies, tally, seconds)
        finally:
            for copy in copies:
                await _forget(backstage, copy.id)


async def _set_the_stage(deps: Deps, sale: FlashSale, items: Sequence[FlashItem]) -> list[FlashItem]:
    """The session again, opened now and published, with the SKUs that it is of."""
    now = deps.clock.now()
    products = {item.sku.product.id: item.sku.product for item in items}
    categories = {product.category_id for product in products.values() if product.category_id is not None}
    for category_id in categories:
        await Category.create(id=category_id, name=category_id.hex, created_at=now)
    await Product.bulk_create(list(products.values()))
    await Sku.bulk_create([item.sku for item in items])
    copy_id = new_id(now)
    await FlashSale.create(
        id=copy_id,
        title=sale.title,
        state=FlashSaleState.PUBLISHED,
        opens_at=now,
        closes_at=now + rule.MAX_WINDOW,
        claim_minutes=sale.claim_minutes,
        created_at=now,
        updated_at=now,
        published_at=now,
    )
    copies = [
        FlashItem(
            id=new_id(now),
            sale_id=copy_id,
            sku_id=item.sku_id,
            position=item.position,
            price_fen=item.price_fen,
            stock=item.stock,
            member_limit=item.member_limit,
            carved_count=item.stock,
            left_count=item.stock,
        )
        for item in items
    ]
    await FlashItem.bulk_create(copies)
    return copies


async def _made_up(many: int, now: datetime) -> list[UUID]:
    tier = (await tier_table(now)).rules.lowest
    ids = [new_id(now) for _ in range(many)]
    await Member.bulk_create([Member(id=one, openid=f"rehearsal-{one}", created_at=now) for one in ids])
    await Membership.bulk_create([Membership(member_id=one, tier_code=tier.code, tier_since=now) for one in ids])
    await PointsAccount.bulk_create([PointsAccount(member_id=one) for one in ids])
    return ids


async def _buy(
    deps: Deps, turns: asyncio.Semaphore, tally: _Tally, member_id: UUID, item: FlashItem, repeats: bool
) -> None:
    """One buyer, who wants all that the limit allows and then at least one piece."""
    async with turns:
        for quantity in sorted({item.member_limit, 1}, reverse=True):
            key = new_secret(12)
            bought = [await _tap(deps, tally, member_id, item.id, quantity, key) for _ in range(2 if repeats else 1)]
            if any(bought):
                tally.bought += 1
                break
    tally.answered += 1


async def _tap(deps: Deps, tally: _Tally, member_id: UUID, item_id: UUID, quantity: int, key: str) -> bool:
    begun = time.perf_counter()
    try:
        await flash_sale.purchase(deps, member_id=member_id, item_id=item_id, quantity=quantity, idempotency_key=key)
    except Refusal as refusal:
        tally.refused[refusal.code] += 1
        return False
    finally:
        tally.ms.append((time.perf_counter() - begun) * 1_000)
    return True


async def _result(copies: Sequence[FlashItem], tally: _Tally, seconds: float) -> dict[str, object]:
    found = {row["id"]: row for row in await rows("SELECT id, held_count FROM flash_item")}
    broken = [
        invariant.name
        for invariant in INVARIANTS
        if invariant.name in CHECKED and await slow_rows(f"{invariant.offenders} LIMIT 1", within_s=60.0)
    ]
    return {
        "items": [
            {"sku_id": str(copy.sku_id), "stock": copy.stock, "sold": found[copy.id]["held_count"]} for copy in copies
        ],
        "orders": tally.bought,
        "refusals": dict(tally.refused),
        "p50_ms": _percentile(tally.ms, 50),
        "p99_ms": _percentile(tally.ms, 99),
        "seconds": round(seconds, 3),
        "broken": broken,
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, len(ranked) * percent // 100)], 2)


async def _load(deps: Deps, item_id: UUID) -> None:
    try:
        await gate.load(deps, item_id)
    except AWAY as error:
        log.warning("rehearsing without a gate", reason=type(error).__name__)


async def _forget(deps: Deps, item_id: UUID) -> None:
    try:
        await cached_gate.forget(deps.redis, item_id)
    except AWAY as error:
        log.warning("a rehearsal's gate was left behind and ends by itself", reason=type(error).__name__)
