"""The cart: how many lines and pieces it takes, what becomes of a phone's own cart, and whether a line can be had.

Source: docs/rules/cart.md
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from loyalty.orders.order import MAX_QUANTITY, OrderLine, QuantityInvalid, SkuTerms
from loyalty.refusal import Refusal

MAX_CART_LINES = 100


class Availability(StrEnum):
    """Whether a line of a cart could be ordered now."""

    AVAILABLE = "available"
    SHORT = "short"
    OUT_OF_STOCK = "out_of_stock"
    LIMIT_REACHED = "limit_reached"
    GONE = "gone"


class CartFull(Refusal):
    """A cart has ``most`` lines at most."""

    code = "CART_FULL"
    zh = "购物车最多 {most} 种商品，请先清理"
    en = "The cart is full: {most} lines at most."


class CartLineNotFound(Refusal):
    """The SKU is not in the cart."""

    code = "CART_LINE_NOT_FOUND"
    zh = "购物车中没有该商品"
    en = "This item is not in the cart."


def availability(quantity: int, terms: SkuTerms) -> Availability:
    """Whether so many pieces could be ordered: first if they are on sale, then the limit, then the stock."""
    if not terms.on_sale:
        return Availability.GONE
    if terms.purchase_limit is not None and terms.bought_count + quantity > terms.purchase_limit:
        return Availability.LIMIT_REACHED
    if terms.stock_left <= 0:
        return Availability.OUT_OF_STOCK
    return Availability.AVAILABLE if quantity <= terms.stock_left else Availability.SHORT


def admit_quantity(quantity: int, *, sku_id: UUID) -> int:
    """A line's quantity, 1..999. Raises: QuantityInvalid."""
    if not 1 <= quantity <= MAX_QUANTITY:
        raise QuantityInvalid(sku_id=str(sku_id), most=MAX_QUANTITY)
    return quantity


def add(*, sku_id: UUID, had: int, adding: int, line_count: int) -> int:
    """How many pieces a line has once ``adding`` come to the ``had`` of it (0: no line yet) in a cart of so many lines.

    Raises, in this order: QuantityInvalid, CartFull.
    """
    admit_quantity(adding, sku_id=sku_id)
    if had == 0 and line_count >= MAX_CART_LINES:
        raise CartFull(most=MAX_CART_LINES)
    return admit_quantity(had + adding, sku_id=sku_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge does: the lines that it writes, with their new quantities, and the SKUs that it leaves out."""

    quantities: Mapping[UUID, int]
    left_out: tuple[UUID, ...]


def merge(
    cart: Mapping[UUID, int],
    lines: Sequence[OrderLine],
    *,
    on_sale: Collection[UUID],
    most_lines: int = MAX_CART_LINES,
) -> Merged:
    """Add the lines of a phone's own cart to a cart, in their order; a line never gets more than 999 pieces.

    Raises: CartFull (more than 100 lines come), QuantityInvalid.
    """
    if len(lines) > MAX_CART_LINES:
        raise CartFull(most=MAX_CART_LINES)
    quantities: dict[UUID, int] = {}
    left_out: dict[UUID, None] = {}
    for line in lines:
        admit_quantity(line.quantity, sku_id=line.sku_id)
        taken = cart.keys() | quantities.keys()
        if line.sku_id not in on_sale or (line.sku_id not in taken and len(taken) >= most_lines):
            left_out[line.sku_id] = None
            continue
        had = quantities.get(line.sku_id, cart.get(line.sku_id, 0))
        quantities[line.sku_id] = min(had + line.quantity, MAX_QUANTITY)
    return Merged(quantities=quantities, left_out=tuple(left_out))
