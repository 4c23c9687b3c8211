"""What the order machine needs to know of a mall exchange: its item's stock, and whether it can come back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from loyalty import points_mall as rule
from loyalty.catalogue import StockKind
from loyalty.order import OrderKind, OutOfStock
from loyalty.points_mall import MallItem
from models.asyncpg_backend import Conflict
from models.engine import in_transaction, rows
from models.ids import new_id
from models.order import Order
from models.points_mall import MallExchange, MallItemVersion
from resolvers.deps import Deps

_SHIFT = """
WITH shifted AS (
    UPDATE mall_item SET stock_left = stock_left + $2, exchanged_count = exchanged_count - $2,
        exchanged_points = exchanged_points + $3
    WHERE id = $1 AND (stock_left IS NULL OR stock_left + $2 >= 0)
        AND ($8::int IS NULL OR (version = $8 AND state = 'published'))
    RETURNING id, stock_left
), told AS (
    INSERT INTO mall_stock_entry (id, item_id, kind, amount, left_after, cause_id, note, at)
    SELECT $4, id, $5, $2, stock_left, $6, '', $7 FROM shifted WHERE stock_left IS NOT NULL
)
SELECT id FROM shifted
"""


async def hold(exchange: MallExchange, *, version: int, now: datetime) -> None:
    """Take the pieces of a new exchange, if the item is still published under these terms.

    Raises:
        OutOfStock: fewer are left.
        Conflict: an operator was faster; run again, the verb meets the new terms.
    """
    await _shift(StockKind.HOLD, exchange.order_id, exchange, now, version=version)


async def shift(kind: StockKind, cause_id: UUID, order_id: UUID, now: datetime) -> None:
    """Hold anew, release or return the pieces of an exchange, whatever has become of the item since.

    Raises:
        OutOfStock: fewer are left than are to be held.
    """
    await _shift(kind, cause_id, await MallExchange.get(order_id=order_id), now, version=None)


async def _shift(
    kind: StockKind, cause_id: UUID, exchange: MallExchange, now: datetime, *, version: int | None
) -> None:
    assert in_transaction(), "an item's stock moves together with its cause"
    sign = -1 if kind is StockKind.HOLD else 1
    amount, points = sign * exchange.quantity, -sign * exchange.points
    shifted = await rows(_SHIFT, [exchange.item_id, amount, points, new_id(now), kind, cause_id, now, version])
    if not shifted:
        found = await rows("SELECT stock_left FROM mall_item WHERE id = $1", [exchange.item_id])
        left = found[0]["stock_left"]
        if left is not None and left < exchange.quantity:
            raise OutOfStock(left=left)
        raise Conflict("the item's terms have changed meanwhile")


async def exchanged_count(member_id: UUID, item_id: UUID) -> int:
    """How many pieces of an item a member has in exchanges that were not given back."""
    found = await rows(
        "SELECT coalesce(sum(exchange.quantity), 0)::int AS pieces FROM mall_exchange exchange "
        "JOIN shop_order o ON o.id = exchange.order_id "
        "WHERE exchange.item_id = $1 AND exchange.member_id = $2 AND o.state NOT IN ('closed', 'refunded')",
        [item_id, member_id],
    )
    return int(found[0]["pieces"])


async def admit_revival(order: Order) -> None:
    """Whether a closed order may hold its pieces anew: the member may have used the limit up since.

    Raises: MallLimitReached.
    """
    if order.kind != OrderKind.MALL:
        return
    exchange, terms = await _terms(order.id)
    had = await exchanged_count(order.member_id, exchange.item_id)
    rule.admit_limit(terms, quantity=exchange.quantity, tier_code=order.tier_code, exchanged_count=had)


async def admit_return(order: Order) -> None:
    """Whether an order may be refunded as far as the mall has a say. Raises: MallNotReturnable."""
    if order.kind == OrderKind.MALL:
        _, terms = await _terms(order.id)
        rule.admit_return(terms, used=False)


async def _terms(order_id: UUID) -> tuple[MallExchange, MallItem]:
    exchange = await MallExchange.get(order_id=order_id)
    version = await MallItemVersion.get(id=exchange.version_id)
    return exchange, MallItem.parse(version.definition)


async def by_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, tuple[MallExchange, int]]:
    """What these orders are about, as far as they are exchanges, each with the number of its version."""
    found = await MallExchange.filter(order_id__in=list(order_ids)).select_related("version")
    return {one.order_id: (one, one.version.version) for one in found}
