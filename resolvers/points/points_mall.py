"""The points mall: what operators offer, what members see of it, and the exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import orjson
from tortoise.expressions import Q

from loyalty.catalogue import catalogue as catalogue_rule
from loyalty.catalogue.catalogue import SkuNotFound, StockKind
from loyalty.coupons.coupon import CouponTemplateNotFound
from loyalty.orders.order import OrderKind, OutOfStock, admit_amount
from loyalty.points import points_mall as rule
from loyalty.points.points_lot import available
from loyalty.points.points_mall import (
    MallItemKind,
    MallItemNotFound,
    MallItemNotOffered,
    MallItemState,
    MallOffer,
    MallStockNotCounted,
)
from loyalty.programme import Definition
from models.catalogue.catalogue import Sku
from models.coupons.coupon import CouponTemplate
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order
from models.points import points_ledger as ledger
from models.points.points_mall import MallExchange, MallItem, MallItemVersion, MallStockEntry
from resolvers.catalogue.catalogue import differences, told
from resolvers.deps import Deps
from resolvers.naming import admit_names
from resolvers.orders import order_hold
from resolvers.orders.order_write import LineOf, placed_under, write_order
from resolvers.payments.settlement import book
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.points import mall_exchange
from resolvers.replay import remember, replayed

OFFERED = Keyset("mall_item.offered", (Key("published_at", datetime), Key("id", UUID)))
"""As members see items: what was published last comes first."""

MADE = Keyset("mall_item.made", (Key("id", UUID),))
VERSIONS = Keyset("mall_item_version.newest", (Key("version", int),))
STOCK_ENTRIES = Keyset("mall_stock_entry.newest", (Key("id", UUID),))

_SUPPLY = """
WITH supplied AS (
    UPDATE mall_item SET stock_left = stock_left + $2 WHERE id = $1 AND stock_left + $2 >= 0 RETURNING id, stock_left
)
INSERT INTO mall_stock_entry (id, item_id, kind, amount, left_after, cause_id, note, at)
SELECT $3, id, 'supply', $2, stock_left, $4, $5, $6 FROM supplied RETURNING left_after
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item that does not exist yet. ``stock`` None: it has no stock of its own."""

    title: str
    description: str = ""
    image_url: str = ""
    terms: Definition
    sku_id: UUID | None = None
    stock: int | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None


class ItemChanges(TypedDict, total=False):
    """What is to be changed of an item; what is absent stays, also within ``terms``."""

    title: str
    description: str
    image_url: str
    opens_at: datetime | None
    closes_at: datetime | None
    terms: Definition


# For members


async def offered(deps: Deps, *, page: Page, kind: MallItemKind | None = None) -> Slice[MallItem]:
    """What is in the mall by ``OFFERED``, also what is still to open; what has closed is gone."""
    return await fetch(_in_the_mall(deps.clock.now(), **({"kind": kind} if kind else {})), page)


async def offered_one(deps: Deps, item_id: UUID) -> MallItem | None:
    """One item in the mall."""
    found: MallItem | None = await _in_the_mall(deps.clock.now(), id=item_id).first()
    return found


def _in_the_mall(now: datetime, **wanted: object) -> Any:
    still_there = Q(closes_at=None) | Q(closes_at__gt=now)
    return MallItem.filter(still_there, state=MallItemState.PUBLISHED, **wanted)


async def exchanged_counts(_: Deps, keys: Sequence[tuple[UUID, UUID]]) -> Mapping[tuple[UUID, UUID], int]:
    """How many pieces members have in exchanges that were not given back, by (member, item)."""
    found = await rows(
        "SELECT exchange.member_id, exchange.item_id, sum(exchange.quantity)::int AS pieces "
        "FROM mall_exchange exchange JOIN shop_order o ON o.id = exchange.order_id "
        "JOIN unnest($1::uuid[], $2::uuid[]) AS wanted(member_id, item_id) "
        "ON wanted.member_id = exchange.member_id AND wanted.item_id = exchange.item_id "
        "WHERE o.state NOT IN ('closed', 'refunded') GROUP BY 1, 2",
        [[member_id for member_id, _ in keys], [item_id for _, item_id in keys]],
    )
    return {(row["member_id"], row["item_id"]): row["pieces"] for row in found}


@retried
async def exchange(
    deps: Deps,
    *,
    member_id: UUID,
    item_id: UUID,
    quantity: int,
    expected_points: int,
    expected_fen: int,
    idempotency_key: str,
) -> Order:
    """Exchange an item: an order whose points are held and whose pieces are taken until it is paid or closed.

    ``expected_points`` and ``expected_fen`` are what the member saw and agreed to, all pieces together. An exchange
    without cash is paid at once.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key.
        MallItemNotOffered, QuantityInvalid, MallTierRefused, MallLimitReached, OutOfStock, PointsShort: see
            ``loyalty.points.points_mall.admit_exchange``; OutOfStock also when somebody else was faster.
        TierNotFound, TierTrialRefused: a tier trial that is not above the member's own tier.
        CouponNotOffered, CouponsGone: the coupon's template gives out none, or no more.
        OrderAmountTooLarge, MallPriceChanged: what it costs.
    """
    now = deps.clock.now()
    content = {
        "item_id": str(item_id),
        "quantity": quantity,
        "expected_points": expected_points,
        "expected_fen": expected_fen,
    }
    key, operation = idempotency_key, "mallExchange"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Order.get(id=UUID(before["order_id"]))
        item = await MallItem.get_or_none(id=item_id)
        if item is None:
            raise MallItemNotOffered
        version = await MallItemVersion.get(item_id=item.id, version=item.version)
        sku = await Sku.get(id=item.sku_id) if item.sku_id else None
        terms = rule.MallItem.parse(version.definition)
        under = await placed_under(member_id, now)
        rule.admit_exchange(
            terms,
            _offer(item, sku),
            quantity=quantity,
            tier_code=under.tier.code,
            exchanged_count=await mall_exchange.exchanged_count(member_id, item.id),
            available_points=available(await ledger.open_lots(member_id), now),
            now=now,
        )
        await mall_exchange.admit_delivery(member_id, terms, now)
        quote = rule.quote_exchange(terms, sku_id=item.sku_id or item.id, quantity=quantity)
        admit_amount(payable_fen=quote.payable_fen)
        rule.admit_agreed(quote, points=expected_points, cash_fen=expected_fen)
        order = await write_order(
            deps,
            member_id,
            kind=OrderKind.MALL,
            quote=quote,
            lines_of=[LineOf(sku_id=item.sku_id, product_title=item.title, sku_title=sku.title if sku else "")],
            under=under,
            remark="",
            now=now,
        )
        await MallExchange.create(
            id=new_id(now),
            order_id=order.id,
            member_id=member_id,
            item_id=item.id,
            version_id=version.id,
            quantity=quantity,
            points=quote.points_used,
        )
        result = {"order_id": str(order.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await order_hold.hold(deps, order, order.id, now)
        if quote.payable_fen == 0:
            await book(deps, order, paid_fen=0, now=now)
        return order


def _offer(item: MallItem, sku: Sku | None) -> MallOffer:
    return MallOffer(
        published=item.state == MallItemState.PUBLISHED,
        stock_left=sku.stock_left if sku else item.stock_left,
        opens_at=item.opens_at,
        closes_at=item.closes_at,
    )


# For operators


async def items(
    deps: Deps, *, page: Page, state: MallItemState | None = None, kind: MallItemKind | None = None
) -> Slice[MallItem]:
    """Every item by ``MADE``, or those in a state or of a kind."""
    wanted = {"state": state, "kind": kind}
    return await fetch(MallItem.filter(**{name: value for name, value in wanted.items() if value is not None}), page)


async def one(deps: Deps, item_id: UUID) -> MallItem | None:
    """An item in whatever state."""
    return await MallItem.get_or_none(id=item_id)


async def versions(deps: Deps, item_id: UUID, *, page: Page) -> Slice[MallItemVersion]:
    """The versions of an item's terms, newest first."""
    return await fetch(MallItemVersion.filter(item_id=item_id), page)


async def stock_entries(deps: Deps, item_id: UUID, *, page: Page) -> Slice[MallStockEntry]:
    """The ledger of an item's own stock, newest first."""
    return await fetch(MallStockEntry.filter(item_id=item_id), page)


@retried
async def create(deps: Deps, *, operator_id: UUID, item: NewItem, idempotency_key: str) -> MallItem:
    """Make an item as a draft, with the first version of its terms.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CatalogueInvalid, MediaUrlInvalid: the texts or the picture.
        ProgrammeInvalid: the terms, the stock or the window cannot work.
        SkuNotFound: there is no such SKU.
    """
    now = deps.clock.now()
    content = told(asdict(item))
    key, operation = idempotency_key, "mallItemCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await MallItem.get(id=UUID(before["item_id"]))
        _admit_texts(item.title, item.description, item.image_url)
        terms = rule.MallItem.parse(item.terms)
        rule.admit_counting(terms.kind, has_sku=item.sku_id is not None, stock=item.stock)
        rule.admit_window(opens_at=item.opens_at, closes_at=item.closes_at)
        await admit_names(terms.names(), now)
        if item.sku_id is not None and not await Sku.exists(id=item.sku_id):
            raise SkuNotFound
        made = await MallItem.create(
            id=new_id(now),
            kind=terms.kind,
            title=item.title.strip(),
            description=item.description.strip(),
            image_url=item.image_url,
            sku_id=item.sku_id,
            stock_left=None if item.stock is None else 0,
            version=1,
            opens_at=item.opens_at,
            closes_at=item.closes_at,
            created_at=now,
            updated_at=now,
        )
        await _write_version(made.id, 1, terms, operator_id, now)
        await record(operator_id, "mall_item.create", "mall_item", made.id, None, content, now)
        result = {"item_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        if item.stock:
            await _supply(made.id, item.stock, made.id, "", now)
        return await MallItem.get(id=made.id)


@retried
async def change(
    deps: Deps, *, operator_id: UUID, item_id: UUID, changes: ItemChanges, idempotency_key: str
) -> MallItem:
    """Change what ``changes`` names of an item. Other terms are a new version, for the exchanges after it.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        MallItemNotFound: there is no such item.
        CatalogueInvalid, MediaUrlInvalid: the texts or the picture.
        ProgrammeInvalid: the terms or the window cannot work, or would make another kind of it.
        CouponTemplateNotFound: it is in the mall, and there is no such template.
    """
    now = deps.clock.now()
    content = {"item_id": str(item_id), **told(changes)}
    key, operation = idempotency_key, "mallItemChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            item = await _lock(item_id)
            values = {name: value.strip() if isinstance(value, str) else value for name, value in changes.items()}
            values.pop("terms", None)
            wanted: dict[str, Any] = {**_shown(item), **values}
            _admit_texts(wanted["title"], wanted["description"], wanted["image_url"])
            rule.admit_window(opens_at=wanted["opens_at"], closes_at=wanted["closes_at"])
            after = differences(item, values)
            was = {name: getattr(item, name) for name in after}
            terms = await MallItemVersion.get(item_id=item.id, version=item.version)
            renewed = await _renewed(terms.definition, changes.get("terms", {}), now)
            if renewed is not None:
                if item.state == MallItemState.PUBLISHED:
                    await _admit_template(renewed)
                was |= {"version": item.version, "terms": terms.definition}
                after |= {"version": item.version + 1, "terms": renewed.definition()}
                await _write_version(item.id, item.version + 1, renewed, operator_id, now)
            if after:
                columns = {name: value for name, value in after.items() if name != "terms"}
                await MallItem.filter(id=item.id).update(**columns, updated_at=now)
                await record(operator_id, "mall_item.change", "mall_item", item.id, told(was), told(after), now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await MallItem.get(id=item_id)


async def publish(deps: Deps, *, operator_id: UUID, item_id: UUID, idempotency_key: str) -> MallItem:
    """Put an item into the mall; one that is there already stays as it is.

    Raises: KeyInvalid, KeyReused, MallItemNotFound, CouponTemplateNotFound.
    """
    return await _turn(deps, operator_id, item_id, MallItemState.PUBLISHED, idempotency_key)


async def hide(deps: Deps, *, operator_id: UUID, item_id: UUID, idempotency_key: str) -> MallItem:
    """Take an item out of the mall; one that is not there stays as it is. Exchanges that have it keep it.

    Raises: KeyInvalid, KeyReused, MallItemNotFound.
    """
    return await _turn(deps, operator_id, item_id, MallItemState.HIDDEN, idempotency_key)


@retried
async def _turn(deps: Deps, operator_id: UUID, item_id: UUID, state: MallItemState, key: str) -> MallItem:
    now = deps.clock.now()
    content = {"item_id": str(item_id)}
    publishing = state is MallItemState.PUBLISHED
    operation = "mallItemPublish" if publishing else "mallItemHide"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            item = await _lock(item_id)
            if (item.state == MallItemState.PUBLISHED) is not publishing:
                if publishing:
                    await _admit_template((await _terms_of([item.id]))[item.id])
                published = {"published_at": now} if publishing else {}
                await MallItem.filter(id=item.id).update(state=state, updated_at=now, **published)
                action = "mall_item.publish" if publishing else "mall_item.hide"
                await record(operator_id, action, "mall_item", item.id, {"state": item.state}, {"state": state}, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await MallItem.get(id=item_id)


@retried
async def adjust_stock(
    deps: Deps, *, operator_id: UUID, item_id: UUID, amount: int, reason: str, idempotency_key: str
) -> tuple[MallItem, MallStockEntry]:
    """Supply or correct an item's own stock by ``amount``, up or down. Returns the item and the entry.

    Raises: KeyInvalid, KeyReused, CatalogueInvalid, MallItemNotFound, MallStockNotCounted, OutOfStock.
    """
    now = deps.clock.now()
    content = {"item_id": str(item_id), "amount": amount, "reason": reason}
    key, operation = idempotency_key, "mallStockAdjust"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        cause_id = UUID(before["cause_id"]) if before is not None else new_id(now)
        if before is None:
            catalogue_rule.admit_adjustment(amount=amount, reason=reason)
            item = await MallItem.get_or_none(id=item_id)
            if item is None:
                raise MallItemNotFound
            if item.stock_left is None:
                raise MallStockNotCounted
            after = {"amount": amount, "reason": reason.strip(), "cause_id": str(cause_id)}
            await record(operator_id, "mall_stock.adjust", "mall_item", item_id, None, after, now)
            result = {"cause_id": str(cause_id)}
            await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
            catalogue_rule.admit_stock(await _supply(item_id, amount, cause_id, reason.strip(), now))
    return await MallItem.get(id=item_id), await MallStockEntry.get(
        cause_id=cause_id, item_id=item_id, kind=StockKind.SUPPLY
    )


async def _supply(item_id: UUID, amount: int, cause_id: UUID, reason: str, now: datetime) -> int:
    supplied = await rows(_SUPPLY, [item_id, amount, new_id(now), cause_id, reason, now])
    if not supplied:
        found = await rows("SELECT stock_left FROM mall_item WHERE id = $1", [item_id])
        raise OutOfStock(left=found[0]["stock_left"])
    return int(supplied[0]["left_after"])


async def _lock(item_id: UUID) -> MallItem:
    assert in_transaction(), "a lock outside a transaction protects nothing"
    item = await MallItem.filter(id=item_id).select_for_update(no_key=True).get_or_none()
    if item is None:
        raise MallItemNotFound
    return item


def _shown(item: MallItem) -> dict[str, object]:
    return {name: getattr(item, name) for name in ("title", "description", "image_url", "opens_at", "closes_at")}


def _admit_texts(title: str, description: str, image_url: str) -> None:
    catalogue_rule.admit_product(title=title, description=description, media_urls=[image_url] if image_url else [])


async def _admit_template(terms: rule.MallItem) -> None:
    if terms.kind is MallItemKind.COUPON and not await CouponTemplate.exists(code=terms.target_code):
        raise CouponTemplateNotFound


async def _renewed(current: Definition, changes: Definition, now: datetime) -> rule.MallItem | None:
    """The terms with these changes, or None when they stay as they are."""
    was, renewed = rule.MallItem.parse(current), rule.MallItem.parse({**current, **changes})
    if renewed == was:
        return None
    rule.admit_same_kind(was, renewed)
    await admit_names(renewed.names(), now)
    return renewed


async def _write_version(
    item_id: UUID, version: int, terms: rule.MallItem, operator_id: UUID, now: datetime
) -> MallItemVersion:
    return await MallItemVersion.create(
        id=new_id(now),
        item_id=item_id,
        version=version,
        definition=terms.definition(),
        made_at=now,
        made_by_id=operator_id,
    )


# For both


async def terms_of(_: Deps, item_ids: Sequence[UUID]) -> Mapping[UUID, rule.MallItem]:
    """The terms in force of each of the items."""
    return await _terms_of(item_ids)


async def _terms_of(item_ids: Sequence[UUID]) -> Mapping[UUID, rule.MallItem]:
    found = await rows(
        "SELECT item.id, terms.definition::text FROM mall_item item JOIN mall_item_version terms "
        "ON terms.item_id = item.id AND terms.version = item.version WHERE item.id = ANY($1::uuid[])",
        [list(item_ids)],
    )
    return {row["id"]: rule.MallItem.parse(orjson.loads(row["definition"])) for row in found}


async def skus(_: Deps, sku_ids: Sequence[UUID]) -> Mapping[UUID, Sku]:
    """The SKUs that goods are tied to."""
    return {row.id: row for row in await Sku.filter(id__in=list(sku_ids))}
