"""The pieces that a flash order holds, as the order machine sees them, and where each of them is.

Whatever moves a piece changes the item's row by one guarded statement, the last but for the SKU's stock. The gate is
told afterwards, by the sweep that finds ``gate_due_at``: the database first, then Redis.
"""

from datetime import datetime
from uuid import UUID

from loyalty.catalogue.catalogue import StockKind
from loyalty.flash_sales.flash_sale import TicketState
from loyalty.orders.order import OrderKind, OrderState, OutOfStock, PurchaseLimitReached
from models.engine import in_transaction, rows
from models.flash_sales.flash_sale import FlashTicket
from models.orders.order import Order
from resolvers.catalogue import stock
from resolvers.deps import Deps

TAKE = """
UPDATE flash_item SET left_count = left_count - $2, held_count = held_count + $2
WHERE id = $1 AND closed_at IS NULL AND left_count - waiting_count >= $2 RETURNING id
"""
"""The guarded write that decides: so many pieces that the queue does not wait for, while the session runs."""


def had(item: str, members: str) -> str:
    """A query for the pieces that members have of an item in unpaid and paid orders, by the names of its values."""
    return (
        "SELECT member_id, sum(quantity - returned_count)::int AS pieces FROM flash_ticket "
        f"WHERE item_id = {item} AND member_id = ANY({members}::uuid[]) AND state IN ('pending', 'posted') GROUP BY 1"
    )


HAD = had("$1", "$2")

_RESTOCKED = """
SELECT part.id, sum(gone.restocked_count) OVER ()::int AS pieces FROM order_refund part
JOIN order_refund_line gone ON gone.order_refund_id = part.id WHERE part.order_id = $1 AND part.state = 'done'
ORDER BY part.id DESC LIMIT 1
"""
"""The part that went back last, and how many pieces all of them brought back; a flash order has one line."""

_GIVEN_BACK = "UPDATE flash_ticket SET returned_count = $2, gate_due_at = $3 WHERE id = $1 RETURNING id"

_POST = "UPDATE flash_item SET held_count = held_count - $2, sold_count = sold_count + $2 WHERE id = $1 RETURNING id"


async def hold(_: Deps, order: Order, cause_id: UUID, now: datetime) -> None:
    """Hold the pieces of a closed order again, for late money.

    Raises: OutOfStock, PurchaseLimitReached.
    """
    if order.kind != OrderKind.FLASH:
        return
    assert cause_id != order.id, "a purchase holds its pieces together with those of others"
    ticket = await _move(order, TicketState.RELEASED, TicketState.PENDING, now)
    item = (await rows("SELECT sku_id, member_limit FROM flash_item WHERE id = $1", [ticket.item_id]))[0]
    had = sum(row["pieces"] for row in await rows(HAD, [ticket.item_id, [order.member_id]]))
    if had > item["member_limit"]:
        bought = had - ticket.quantity
        raise PurchaseLimitReached(sku_id=str(item["sku_id"]), limit=item["member_limit"], bought=bought)
    if not await rows(TAKE, [ticket.item_id, ticket.quantity]):
        raise OutOfStock(sku_id=str(item["sku_id"]), left=0)


async def post(_: Deps, order: Order, now: datetime) -> None:
    """What was held is sold."""
    if order.kind == OrderKind.FLASH:
        ticket = await _move(order, TicketState.PENDING, TicketState.POSTED, now)
        await rows(_POST, [ticket.item_id, ticket.quantity])


async def release(_: Deps, order: Order, now: datetime) -> None:
    """The pieces of a closed order may be taken again, or go back to the SKU once the session is closed."""
    if order.kind == OrderKind.FLASH:
        ticket = await _move(order, TicketState.PENDING, TicketState.RELEASED, now)
        await put_back(ticket.item_id, ticket.quantity, "held_count", order.id, now)


async def give_back(_: Deps, order: Order, now: datetime) -> None:
    """Pieces that have gone back may be taken again, or are the SKU's once the session is closed; each once.

    What the member keeps stays sold.
    """
    if order.kind != OrderKind.FLASH:
        return
    if order.state == OrderState.REFUNDED:
        ticket = await _move(order, TicketState.POSTED, TicketState.RETURNED, now)
    else:
        ticket = await FlashTicket.get(order_id=order.id, state=TicketState.POSTED)
    part = (await rows(_RESTOCKED, [order.id]))[0]
    more = part["pieces"] - ticket.returned_count
    if more:
        await rows(_GIVEN_BACK, [ticket.id, part["pieces"], now])
        await put_back(ticket.item_id, more, "sold_count", part["id"], now)


async def put_back(item_id: UUID, pieces: int, out_of: str, cause_id: UUID, now: datetime) -> None:
    """Pieces leave ``held_count`` or ``sold_count``, as the last statements of a transaction.

    While the session runs they are left, after it they are the SKU's.
    """
    assert out_of in ("held_count", "sold_count"), out_of
    moved = await rows(
        f"UPDATE flash_item SET {out_of} = {out_of} - $2, "
        "left_count = left_count + CASE WHEN closed_at IS NULL THEN $2 ELSE 0 END, "
        "returned_count = returned_count + CASE WHEN closed_at IS NULL THEN 0 ELSE $2 END "
        "WHERE id = $1 RETURNING sku_id, closed_at",
        [item_id, pieces],
    )
    if moved[0]["closed_at"] is not None:
        await stock.move(StockKind.CARVE_BACK, cause_id, {moved[0]["sku_id"]: pieces}, now)


async def _move(order: Order, current: TicketState, wanted: TicketState, now: datetime) -> FlashTicket:
    assert in_transaction(), "a ticket moves with its order"
    tells_gate = wanted is not TicketState.POSTED
    moved = await rows(
        "UPDATE flash_ticket SET state = $3, resolved_at = $4, gate_due_at = coalesce($5, gate_due_at) "
        "WHERE order_id = $1 AND state = $2 RETURNING id, item_id, quantity, returned_count",
        [
            order.id,
            current,
            wanted,
            None if wanted is TicketState.PENDING else now,
            now if tells_gate else None,
        ],
    )
    assert len(moved) == 1, "a flash order has one ticket, which moves with it"
    return FlashTicket(**moved[0])
