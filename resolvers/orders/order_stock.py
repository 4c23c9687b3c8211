"""The stock that an order takes and gives back: of its mall item, then of its SKUs."""

from datetime import datetime
from uuid import UUID

from loyalty.catalogue.catalogue import StockKind
from loyalty.orders.order import OrderKind, OrderState, PurchaseLimitReached
from models.engine import rows
from models.orders.order import Order
from resolvers.catalogue import stock
from resolvers.deps import Deps
from resolvers.orders.order_row import quantities
from resolvers.points import mall_exchange

_NOT_RETURNED = """
SELECT part.id, line.sku_id, gone.restocked_count AS amount FROM order_refund part
JOIN order_refund_line gone ON gone.order_refund_id = part.id JOIN order_line line ON line.id = gone.line_id
WHERE part.order_id = $1 AND part.state = 'done' AND line.sku_id IS NOT NULL AND gone.restocked_count > 0
    AND NOT EXISTS (SELECT 1 FROM stock_entry WHERE cause_id = part.id AND sku_id = line.sku_id AND kind = 'return')
"""


async def hold(_: Deps, order: Order, cause_id: UUID, now: datetime) -> None:
    """Take the order's pieces. Raises: OutOfStock: there are less."""
    await _shift(StockKind.HOLD, cause_id, order, now)


async def post(_: Deps, __: Order, ___: datetime) -> None:
    """What was taken stays taken."""


async def release(_: Deps, order: Order, now: datetime) -> None:
    """Put the pieces of a closed order back."""
    await _shift(StockKind.RELEASE, order.id, order, now)


async def give_back(_: Deps, order: Order, now: datetime) -> None:
    """Put the pieces back that have gone back to the shop, and all that a mall exchange took once it is refunded."""
    if order.kind == OrderKind.MALL and order.state == OrderState.REFUNDED:
        await mall_exchange.shift(StockKind.RETURN, order.id, order.id, now)
    if order.kind == OrderKind.FLASH:
        return
    found = await rows(_NOT_RETURNED, [order.id])
    for part_id in sorted({row["id"] for row in found}):
        amounts = {row["sku_id"]: row["amount"] for row in found if row["id"] == part_id}
        await stock.move(StockKind.RETURN, part_id, amounts, now)


async def _shift(kind: StockKind, cause_id: UUID, order: Order, now: datetime) -> None:
    if order.kind == OrderKind.FLASH:
        # Its pieces were carved out of the SKU when the session was published.
        return
    if order.kind == OrderKind.MALL:
        await mall_exchange.shift(kind, cause_id, order.id, now)
    sign = -1 if kind is StockKind.HOLD else 1
    amounts = {sku_id: sign * quantity for sku_id, quantity in (await quantities(order.id)).items()}
    await stock.move(kind, cause_id, amounts, now)


async def admit_again(order: Order) -> None:
    """Whether the member may have a closed order after all: its limits may have been used up by others since.

    Raises:
        PurchaseLimitReached: more than the limit of one of its SKUs.
    """
    found = await rows(
        "SELECT line.sku_id, line.quantity, sku.purchase_limit, "
        "coalesce((SELECT sum(other.quantity - other.refunded_count) FROM order_line other "
        "JOIN shop_order o ON o.id = other.order_id WHERE other.sku_id = line.sku_id "
        "AND o.member_id = $2 AND o.kind = 'purchase' AND o.state NOT IN ('closed', 'refunded')), 0)::int AS bought "
        "FROM order_line line JOIN sku ON sku.id = line.sku_id WHERE line.order_id = $1 AND sku.purchase_limit > 0",
        [order.id, order.member_id],
    )
    for line in found:
        if order.kind == OrderKind.PURCHASE and line["bought"] + line["quantity"] > line["purchase_limit"]:
            raise PurchaseLimitReached(sku_id=str(line["sku_id"]), limit=line["purchase_limit"], bought=line["bought"])
