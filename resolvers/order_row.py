"""What every verb on an order shares: whose it is, its next state, its timeline, its quantities."""

from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty import order as rule
from loyalty.order import OrderNotFound, OrderState
from models.engine import changed, in_transaction, rows
from models.ids import new_id
from models.order import Order, OrderEvent


async def owned(member_id: UUID, order_id: UUID) -> Order:
    """The member's order. Raises: OrderNotFound, also when it is somebody else's."""
    order = await Order.get_or_none(id=order_id, member_id=member_id)
    if order is None:
        raise OrderNotFound()
    return order


async def step(order: Order, wanted: OrderState, **columns: Any) -> None:
    """Move the order to another state by compare-and-set, with the columns that go with it.

    Raises: OrderStateRefused.
    """
    assert in_transaction(), "an order moves under its member's lock"
    current = OrderState(order.state)
    rule.admit_step(current, wanted)
    values = {"state": wanted, **columns}
    sets = ", ".join(f"{name} = ${position}" for position, name in enumerate(values, start=3))
    moved = await changed(
        f"UPDATE shop_order SET {sets} WHERE id = $1 AND state = $2", [order.id, current, *values.values()]
    )
    assert moved == 1, "the member's lock keeps the order as it was read"
    order.update_from_dict(values)


async def note(order_id: UUID, kind: str, at: datetime, **details: object) -> None:
    """Add a line to the order's timeline."""
    await OrderEvent.create(id=new_id(at), order_id=order_id, kind=kind, details=details, at=at)


async def quantities(order_id: UUID) -> dict[UUID, int]:
    """How many of each SKU the order has."""
    found = await rows("SELECT sku_id, quantity FROM order_line WHERE order_id = $1 AND sku_id IS NOT NULL", [order_id])
    return {row["sku_id"]: row["quantity"] for row in found}
