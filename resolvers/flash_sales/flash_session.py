"""What operators do with sessions of a flash sale: make, change, publish, close."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import structlog

from loyalty.catalogue.catalogue import SkuNotFound, StockKind
from loyalty.flash_sales import flash_sale as rule
from loyalty.flash_sales.flash_sale import FlashSaleNotFound, FlashSaleState, NewFlashItem
from models.catalogue.catalogue import Sku
from models.engine import changed, in_transaction, retried, rows, transaction
from models.flash_sales.flash_sale import FlashItem, FlashSale
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.catalogue import stock
from resolvers.catalogue.catalogue import told
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales.flash_gate import AWAY
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

log = structlog.get_logger(__name__)

MADE = Keyset("flash_sale.made", (Key("id", UUID),))

_WITHDRAW = """
WITH withdrawn AS (
    UPDATE flash_wait wait SET state = 'ended', settled_at = $2 FROM flash_item item
    WHERE item.id = wait.item_id AND item.sale_id = $1 AND wait.state = 'offered'
    RETURNING wait.item_id, wait.quantity
)
SELECT item_id, sum(quantity)::int AS pieces FROM withdrawn GROUP BY 1
"""

_END_QUEUE = """
UPDATE flash_wait wait SET state = 'ended', settled_at = $2 FROM flash_item item
WHERE item.id = wait.item_id AND item.sale_id = $1 AND wait.state = 'waiting'
"""

_CLOSE_ITEM = """
UPDATE flash_item SET closed_at = $2, left_count = 0, waiting_count = 0, held_count = held_count - $3,
    returned_count = returned_count + left_count + $3, gate_due_at = $2 WHERE id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemWish:
    """An item as an operator wants it, in the order of the list."""

    sku_id: UUID
    price_fen: int
    stock: int
    member_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSale:
    """A session that does not exist yet."""

    title: str
    opens_at: datetime
    closes_at: datetime
    claim_minutes: int
    items: Sequence[ItemWish]


class SaleChanges(TypedDict, total=False):
    """What is to be changed of a draft; what is absent stays. ``items`` are all of them anew."""

    title: str
    opens_at: datetime
    closes_at: datetime
    claim_minutes: int
    items: Sequence[ItemWish]


async def sales(deps: Deps, *, page: Page, state: FlashSaleState | None = None) -> Slice[FlashSale]:
    """Every session by ``MADE``, or those in a state."""
    return await fetch(FlashSale.filter(state=state) if state else FlashSale.all(), page)


async def one(deps: Deps, sale_id: UUID) -> FlashSale | None:
    """A session in whatever state."""
    return await FlashSale.get_or_none(id=sale_id)


@retried
async def create(deps: Deps, *, operator_id: UUID, sale: NewSale, idempotency_key: str) -> FlashSale:
    """Make a session as a draft.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        SkuNotFound: an item names a SKU that is not there.
        ProgrammeInvalid: the values cannot work.
    """
    now = deps.clock.now()
    content = told(asdict(sale))
    key, operation = idempotency_key, "flashSaleCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await FlashSale.get(id=UUID(before["sale_id"]))
        await _admit(sale, now)
        made = await FlashSale.create(
            id=new_id(now),
            title=sale.title.strip(),
            state=FlashSaleState.DRAFT,
            opens_at=sale.opens_at,
            closes_at=sale.closes_at,
            claim_minutes=sale.claim_minutes,
            created_at=now,
            updated_at=now,
        )
        await _write_items(made.id, sale.items, now)
        await record(operator_id, "flash_sale.create", "flash_sale", made.id, None, content, now)
        result = {"sale_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(
    deps: Deps, *, operator_id: UUID, sale_id: UUID, changes: SaleChanges, idempotency_key: str
) -> FlashSale:
    """Change what ``changes`` names of a draft.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        FlashSaleNotFound, FlashSaleStateRefused: there is no such draft.
        SkuNotFound, ProgrammeInvalid: what it would become cannot work.
    """
    now = deps.clock.now()
    wanted: dict[str, Any] = dict(changes)
    content = {"sale_id": str(sale_id), **_told_changes(changes)}
    key, operation = idempotency_key, "flashSaleChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            sale = await _locked(sale_id)
            rule.admit_state(FlashSaleState(sale.state), wanted=FlashSaleState.DRAFT)
            was = await _as_new(sale)
            renewed = NewSale(**{**_fields(was), **wanted})
            await _admit(renewed, now)
            await FlashSale.filter(id=sale_id).update(
                title=renewed.title.strip(),
                opens_at=renewed.opens_at,
                closes_at=renewed.closes_at,
                claim_minutes=renewed.claim_minutes,
                updated_at=now,
            )
            if "items" in wanted:
                await FlashItem.filter(sale_id=sale_id).delete()
                await _write_items(sale_id, renewed.items, now)
            await record(
                operator_id, "flash_sale.change", "flash_sale", sale_id, told(asdict(was)), told(asdict(renewed)), now
            )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await FlashSale.get(id=sale_id)


async def publish(deps: Deps, *, operator_id: UUID, sale_id: UUID, idempotency_key: str) -> FlashSale:
    """Publish a draft: its pieces are carved out of the SKUs' stock, all of them or none, and its gates are loaded.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        FlashSaleNotFound, FlashSaleStateRefused: there is no such draft.
        ProgrammeInvalid: its values cannot work any more, as its time is over or a list price fell below its price.
        OutOfStock: a SKU has fewer pieces.
    """
    sale = await _publish(deps, operator_id, sale_id, idempotency_key)
    await _load_gates(deps, sale_id)
    return sale


@retried
async def _publish(deps: Deps, operator_id: UUID, sale_id: UUID, key: str) -> FlashSale:
    now = deps.clock.now()
    content, operation = {"sale_id": str(sale_id)}, "flashSalePublish"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            sale = await _locked(sale_id)
            rule.admit_state(FlashSaleState(sale.state), wanted=FlashSaleState.DRAFT)
            await _admit(await _as_new(sale), now)
            await FlashSale.filter(id=sale_id).update(state=FlashSaleState.PUBLISHED, published_at=now, updated_at=now)
            await record(
                operator_id,
                "flash_sale.publish",
                "flash_sale",
                sale_id,
                {"state": FlashSaleState.DRAFT},
                {"state": FlashSaleState.PUBLISHED},
                now,
            )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            carved = await rows(
                "UPDATE flash_item SET carved_count = stock, left_count = stock, gate_due_at = $2 WHERE sale_id = $1 "
                "RETURNING sku_id, stock",
                [sale_id, now],
            )
            await stock.move(StockKind.CARVE_OUT, sale_id, {row["sku_id"]: -row["stock"] for row in carved}, now)
        return await FlashSale.get(id=sale_id)


async def close(deps: Deps, *, operator_id: UUID, sale_id: UUID, idempotency_key: str) -> FlashSale:
    """Close a published session at once: what is left goes back to the SKUs, the queue ends with its offers.

    Unpaid orders stay as they are; what they give back goes to the SKUs.

    Raises: KeyInvalid, KeyReused, FlashSaleNotFound, FlashSaleStateRefused.
    """
    sale = await _close_by_operator(deps, operator_id, sale_id, idempotency_key)
    await _load_gates(deps, sale_id)
    return sale


@retried
async def _close_by_operator(deps: Deps, operator_id: UUID, sale_id: UUID, key: str) -> FlashSale:
    now = deps.clock.now()
    content, operation = {"sale_id": str(sale_id)}, "flashSaleClose"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            sale = await _locked(sale_id)
            rule.admit_state(FlashSaleState(sale.state), wanted=FlashSaleState.PUBLISHED)
            await record(
                operator_id,
                "flash_sale.close",
                "flash_sale",
                sale_id,
                {"state": FlashSaleState.PUBLISHED},
                {"state": FlashSaleState.CLOSED},
                now,
            )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            await _close(sale_id, now)
        return await FlashSale.get(id=sale_id)


async def over(deps: Deps, limit: int) -> list[UUID]:
    """Published sessions whose window has ended."""
    found = await rows(
        "SELECT id FROM flash_sale WHERE state = 'published' AND closes_at <= $1 ORDER BY closes_at LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [row["id"] for row in found]


async def end(deps: Deps, *, sale_id: UUID) -> None:
    """Close a session whose window has ended. Harmless to repeat."""
    if await _end(deps, sale_id):
        await _load_gates(deps, sale_id)


@retried
async def _end(deps: Deps, sale_id: UUID) -> bool:
    now = deps.clock.now()
    async with transaction():
        sale = await _locked(sale_id)
        is_over = sale.state == FlashSaleState.PUBLISHED and now >= sale.closes_at
        if is_over:
            await _close(sale_id, now)
        return is_over


async def _close(sale_id: UUID, now: datetime) -> None:
    assert in_transaction(), "a session closes whole"
    await FlashSale.filter(id=sale_id).update(state=FlashSaleState.CLOSED, closed_at=now, updated_at=now)
    withdrawn = {row["item_id"]: row["pieces"] for row in await rows(_WITHDRAW, [sale_id, now])}
    back: dict[UUID, int] = {}
    # Locked by a statement of its own: what it reads is what the next one finds.
    items = await rows(
        "SELECT id, sku_id, left_count FROM flash_item WHERE sale_id = $1 ORDER BY id FOR NO KEY UPDATE", [sale_id]
    )
    for item in items:
        from_offers = withdrawn.get(item["id"], 0)
        await changed(_CLOSE_ITEM, [item["id"], now, from_offers])
        if item["left_count"] + from_offers:
            back[item["sku_id"]] = item["left_count"] + from_offers
    # After the items, because from now on nobody joins a queue any more.
    await changed(_END_QUEUE, [sale_id, now])
    await stock.move(StockKind.CARVE_BACK, sale_id, back, now)


async def _locked(sale_id: UUID) -> FlashSale:
    sale = await FlashSale.filter(id=sale_id).select_for_update(no_key=True).get_or_none()
    if sale is None:
        raise FlashSaleNotFound
    return sale


async def _load_gates(deps: Deps, sale_id: UUID) -> None:
    """Load the gates anew; what cannot be loaded now is loaded by who comes first, or by reconciliation."""
    for row in await rows("SELECT id FROM flash_item WHERE sale_id = $1 ORDER BY position", [sale_id]):
        try:
            await gate.load(deps, row["id"])
        except AWAY as error:
            log.warning("a flash gate was not loaded", item_id=str(row["id"]), reason=type(error).__name__)


async def _admit(sale: NewSale, now: datetime) -> None:
    rule.admit_session(
        title=sale.title,
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        claim_minutes=sale.claim_minutes,
        now=now,
    )
    prices = {sku.id: sku.price_fen for sku in await Sku.filter(id__in=[item.sku_id for item in sale.items])}
    if any(item.sku_id not in prices for item in sale.items):
        raise SkuNotFound
    rule.admit_items(
        [
            NewFlashItem(
                sku_id=item.sku_id,
                price_fen=item.price_fen,
                list_price_fen=prices[item.sku_id],
                stock=item.stock,
                member_limit=item.member_limit,
            )
            for item in sale.items
        ]
    )


async def _write_items(sale_id: UUID, items: Sequence[ItemWish], now: datetime) -> None:
    await FlashItem.bulk_create(
        [
            FlashItem(
                id=new_id(now),
                sale_id=sale_id,
                sku_id=item.sku_id,
                position=position,
                price_fen=item.price_fen,
                stock=item.stock,
                member_limit=item.member_limit,
            )
            for position, item in enumerate(items)
        ]
    )


async def _as_new(sale: FlashSale) -> NewSale:
    items = await FlashItem.filter(sale_id=sale.id).order_by("position")
    return NewSale(
        title=sale.title,
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        claim_minutes=sale.claim_minutes,
        items=[
            ItemWish(sku_id=item.sku_id, price_fen=item.price_fen, stock=item.stock, member_limit=item.member_limit)
            for item in items
        ],
    )


def _fields(sale: NewSale) -> dict[str, Any]:
    return {name: getattr(sale, name) for name in ("title", "opens_at", "closes_at", "claim_minutes", "items")}


def _told_changes(changes: SaleChanges) -> Mapping[str, object]:
    plain: dict[str, Any] = dict(changes)
    if "items" in plain:
        plain["items"] = [asdict(item) for item in plain["items"]]
    return told(plain)
