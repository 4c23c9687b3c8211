"""The cart: what members put in and take out, what a phone kept before its owner logged in, and what an order takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.orders import cart as rule
from loyalty.orders.cart import Availability, CartLineNotFound
from loyalty.orders.order import OrderLine, SkuNotOnSale, SkuTerms
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from models.orders.cart import CartLine
from resolvers.deps import Deps
from resolvers.replay import remember, replayed

_CART = """
SELECT line.sku_id, line.quantity, line.selected, line.added_at, line.updated_at,
    sku.product_id, sku.title AS sku_title, product.title AS product_title,
    sku.price_fen, sku.member_price_fen, sku.stock_left, sku.purchase_limit,
    (product.state = 'published' AND NOT sku.hidden) AS on_sale,
    (SELECT media.url FROM product_media media WHERE media.product_id = product.id AND media.kind = 'image'
        ORDER BY media.position LIMIT 1) AS image_url,
    coalesce((SELECT sum(bought.quantity) FROM order_line bought JOIN shop_order o ON o.id = bought.order_id
        WHERE bought.sku_id = sku.id AND o.member_id = $1 AND o.kind = 'purchase'
        AND o.state NOT IN ('closed', 'refunded')), 0)::int AS bought
FROM cart_line line JOIN sku ON sku.id = line.sku_id JOIN product ON product.id = sku.product_id
WHERE line.member_id = $1 ORDER BY line.id DESC
"""

_ON_SALE = """
SELECT sku.id FROM sku JOIN product ON product.id = sku.product_id
WHERE sku.id = ANY($1::uuid[]) AND product.state = 'published' AND NOT sku.hidden
"""

_KEEP = """
INSERT INTO cart_line (id, member_id, sku_id, quantity, selected, added_at, updated_at)
VALUES ($1, $2, $3, $4, true, $5, $5)
ON CONFLICT (member_id, sku_id) DO UPDATE SET quantity = $4, selected = true, updated_at = $5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineInCart:
    """One line of a cart as it stands now. Prices are fen for one piece; ``left`` is the stock."""

    sku_id: UUID
    product_id: UUID
    product_title: str
    sku_title: str
    image_url: str | None
    list_price_fen: int
    member_price_fen: int | None
    quantity: int
    selected: bool
    availability: Availability
    left: int
    updated_at: datetime


# Reading


async def lines(deps: Deps, *, member_id: UUID) -> Sequence[LineInCart]:
    """A member's cart in one statement, what was put in last first."""
    return [
        LineInCart(
            sku_id=row["sku_id"],
            product_id=row["product_id"],
            product_title=row["product_title"],
            sku_title=row["sku_title"],
            image_url=row["image_url"],
            list_price_fen=row["price_fen"],
            member_price_fen=row["member_price_fen"],
            quantity=row["quantity"],
            selected=row["selected"],
            availability=rule.availability(
                row["quantity"],
                SkuTerms(
                    sku_id=row["sku_id"],
                    on_sale=row["on_sale"],
                    stock_left=row["stock_left"],
                    purchase_limit=row["purchase_limit"],
                    bought_count=row["bought"],
                ),
            ),
            left=row["stock_left"],
            updated_at=row["updated_at"],
        )
        for row in await rows(_CART, [member_id])
    ]


def wanted_now(found: Sequence[LineInCart]) -> list[OrderLine]:
    """The selected lines that can be had, as an order takes them."""
    return [
        OrderLine(sku_id=line.sku_id, quantity=line.quantity)
        for line in reversed(found)
        if line.selected and line.availability is Availability.AVAILABLE
    ]


# Changing


@retried
async def add(deps: Deps, *, member_id: UUID, sku_id: UUID, quantity: int, idempotency_key: str) -> None:
    """Put pieces of a SKU into the cart, on top of those that are in it, and select the line.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        SkuNotOnSale: there is no such SKU on sale.
        QuantityInvalid, CartFull: the line or the cart would be too large.
    """
    now = deps.clock.now()
    content = {"sku_id": str(sku_id), "quantity": quantity}
    key, operation = idempotency_key, "cartAdd"
    async with transaction(member_id):
        if await replayed(member_id, key=key, operation=operation, content=content) is not None:
            return
        if not await rows(_ON_SALE, [[sku_id]]):
            raise SkuNotOnSale(sku_id=str(sku_id))
        there = await _quantities(member_id)
        total = rule.add(sku_id=sku_id, had=there.get(sku_id, 0), adding=quantity, line_count=len(there))
        await _keep(member_id, sku_id, total, now)
        await remember(member_id, key=key, operation=operation, content=content, result={}, now=now)


@retried
async def set_quantity(deps: Deps, *, member_id: UUID, sku_id: UUID, quantity: int) -> None:
    """Let a line have exactly so many pieces. Harmless to repeat.

    Raises: QuantityInvalid, CartLineNotFound.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        rule.admit_quantity(quantity, sku_id=sku_id)
        moved = await changed(
            "UPDATE cart_line SET quantity = $3, updated_at = $4 WHERE member_id = $1 AND sku_id = $2",
            [member_id, sku_id, quantity, now],
        )
        if not moved:
            raise CartLineNotFound


@retried
async def select(deps: Deps, *, member_id: UUID, sku_ids: Sequence[UUID] | None, selected: bool) -> None:
    """Select lines, or take them out of the selection; None is all lines. Others are no error."""
    async with transaction(member_id):
        await changed(
            "UPDATE cart_line SET selected = $3 WHERE member_id = $1 AND ($2::uuid[] IS NULL OR sku_id = ANY($2))",
            [member_id, None if sku_ids is None else list(sku_ids), selected],
        )


@retried
async def remove(deps: Deps, *, member_id: UUID, sku_ids: Sequence[UUID] | None) -> None:
    """Take lines out of the cart; None is all of them. SKUs that are not in it are no error."""
    async with transaction(member_id):
        await changed(
            "DELETE FROM cart_line WHERE member_id = $1 AND ($2::uuid[] IS NULL OR sku_id = ANY($2))",
            [member_id, None if sku_ids is None else list(sku_ids)],
        )


@retried
async def merge(deps: Deps, *, member_id: UUID, lines: Sequence[OrderLine], idempotency_key: str) -> tuple[UUID, ...]:
    """Take over what a phone kept before its owner logged in; the SKUs that are left out.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CartFull, QuantityInvalid: what comes is more than any cart has, or odd.
    """
    now = deps.clock.now()
    content = {"lines": [[str(line.sku_id), line.quantity] for line in lines]}
    key, operation = idempotency_key, "cartMerge"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return tuple(UUID(one) for one in before["left_out"])
        on_sale = {row["id"] for row in await rows(_ON_SALE, [[line.sku_id for line in lines]])}
        merged = rule.merge(await _quantities(member_id), lines, on_sale=on_sale)
        for sku_id, quantity in merged.quantities.items():
            await _keep(member_id, sku_id, quantity, now)
        result = {"left_out": [str(one) for one in merged.left_out]}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        return merged.left_out


async def take_ordered(member_id: UUID, ordered: Sequence[OrderLine], now: datetime) -> None:
    """Take what was ordered out of the member's cart, in the order's transaction; other pieces of a line stay."""
    assert in_transaction(), "an order and its cart change together"
    skus, quantities = [line.sku_id for line in ordered], [line.quantity for line in ordered]
    await rows(
        "WITH ordered AS (SELECT * FROM unnest($2::uuid[], $3::int[]) AS one(sku_id, quantity)), gone AS ("
        "DELETE FROM cart_line line USING ordered WHERE line.member_id = $1 AND line.sku_id = ordered.sku_id "
        "AND line.quantity <= ordered.quantity) "
        "UPDATE cart_line line SET quantity = line.quantity - ordered.quantity, updated_at = $4 FROM ordered "
        "WHERE line.member_id = $1 AND line.sku_id = ordered.sku_id AND line.quantity > ordered.quantity",
        [member_id, skus, quantities, now],
    )


async def _quantities(member_id: UUID) -> dict[UUID, int]:
    """How many pieces of what there are."""
    return {line.sku_id: line.quantity for line in await CartLine.filter(member_id=member_id)}


async def _keep(member_id: UUID, sku_id: UUID, quantity: int, now: datetime) -> None:
    await rows(_KEEP, [new_id(now), member_id, sku_id, quantity, now])
