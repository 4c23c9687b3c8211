"""What every verb on an order shares: whose it is, its next state, its timeline, its quantities."""

from datetime import datetime
from uuid import UUID

from loyalty.orders import order as rule
from loyalty.orders.order import OrderNotFound, OrderState
from models.engine import rows
from models.ids import new_id
from models.orders.order import Order, OrderEvent
from models.turn import turn


async def owned(member_id: UUID, order_id: UUID) -> Order:
    """The member's order. Raises: OrderNotFound, also when it is somebody else's."""
    order = await Order.get_or_none(id=order_id, member_id=member_id)
    if order is None:
        raise OrderNotFound()
    return order


async def member_of(order_id: UUID) -> UUID:
    """Whose order it is. Raises: OrderNotFound."""
    found = await rows("SELECT member_id FROM shop_order WHERE id = $1", [order_id])
    if not found:
        raise OrderNotFound()
    member_id: UUID = found[0]["member_id"]
    return member_id


async def step(order: Order, wanted: OrderState, **columns: object) -> None:
    """Move the order to another state by compare-and-set, with the columns that go with it.

    Raises: OrderStateRefused.
    """
    rule.admit_step(OrderState(order.state), wanted)
    await turn(order, "state", wanted, **columns)


async def note(order_id: UUID, kind: str, at: datetime, **details: object) -> None:
    """Add a line to the order's timeline."""
    await OrderEvent.create(id=new_id(at), order_id=order_id, kind=kind, details=details, at=at)


async def quantities(order_id: UUID) -> dict[UUID, int]:
    """How many of each SKU the order has."""
    found = await rows("SELECT sku_id, quantity FROM order_line WHERE order_id = $1 AND sku_id IS NOT NULL", [order_id])
    return {row["sku_id"]: row["quantity"] for row in found}
