"""The stock that an order takes and gives back: of its mall item, then of its SKUs."""

from datetime import datetime
from uuid import UUID

from loyalty.catalogue import StockKind
from loyalty.order import OrderKind
from models.order import Order
from resolvers import mall_exchange, stock
from resolvers.order_row import quantities


async def shift(kind: StockKind, cause_id: UUID, order: Order, now: datetime) -> None:
    """Hold, release or return all of it, inside the caller's transaction and as its last statements.

    Raises:
        OutOfStock: there is less than is to be held.
    """
    if order.kind == OrderKind.MALL:
        await mall_exchange.shift(kind, cause_id, order.id, now)
    sign = -1 if kind is StockKind.HOLD else 1
    amounts = {sku_id: sign * quantity for sku_id, quantity in (await quantities(order.id)).items()}
    await stock.move(kind, cause_id, amounts, now)
