"""How far the goods of an order have come: from the payment to the receipt, one compare-and-set at a time."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loyalty.delivery import fulfilment as rule
from loyalty.delivery.fulfilment import FulfilmentState, FulfilmentStateRefused, LinePieces, ReceivedBy
from loyalty.orders.order import OrderKind, OrderState
from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.after_sale import OPEN, AfterSaleKind
from loyalty.points.points_mall import MallItemKind
from models.engine import changed, in_transaction, retried, rows, transaction
from models.orders.order import Order
from models.turn import turn
from resolvers.delivery import shipping_upload, unshipped_watch
from resolvers.deps import Deps
from resolvers.orders.order_row import note, owned


async def begin(order: Order, now: datetime) -> None:
    """The order was paid: its goods are to be shipped or picked up; without any it is complete.

    Runs in the transaction of the payment, with the member locked.
    """
    state = rule.at_payment(has_goods=await has_goods(order), picked_up=order.pick_up_point_id is not None)
    if state is not FulfilmentState.NONE:
        await step(order, state, now)
        return
    await changed("UPDATE shop_order SET completed_at = $2 WHERE id = $1", [order.id, now])
    order.completed_at = now
    await shipping_upload.want(order, now)


async def has_goods(order: Order) -> bool:
    """Whether there is anything to send; of the points mall not everything is goods."""
    if order.kind != OrderKind.MALL:
        return True
    found = await rows(
        "SELECT 1 FROM mall_exchange exchange JOIN mall_item item ON item.id = exchange.item_id "
        "WHERE exchange.order_id = $1 AND item.kind = $2",
        [order.id, MallItemKind.GOODS],
    )
    return bool(found)


async def step(order: Order, wanted: FulfilmentState, now: datetime, **columns: object) -> None:
    """Move the goods to another state by compare-and-set, with the columns that go with it.

    Raises: FulfilmentStateRefused.
    """
    was_waiting = order.fulfilment_state in rule.WAITING
    rule.admit_step(FulfilmentState(order.fulfilment_state), wanted)
    await turn(order, "fulfilment_state", wanted, **columns)
    if was_waiting and wanted not in rule.WAITING:
        await unshipped_watch.no_longer(order.id, now)


UNSENT_GOING_BACK = """
coalesce((SELECT sum(gone.quantity - gone.sent_count) FROM order_refund_line gone
    JOIN order_refund part ON part.id = gone.order_refund_id
    WHERE gone.line_id = line.id AND part.state = 'requested'), 0)::int
"""
"""How many pieces of an ``order_line line`` are on their way back without having been sent."""

_PIECES = f"""
SELECT line.id, line.quantity, line.refunded_count, line.returned_count, line.shipped_count,
    {UNSENT_GOING_BACK} AS refunding_count,
    coalesce((SELECT sum(asked.quantity) FROM after_sale_line asked
        JOIN after_sale request ON request.id = asked.after_sale_id
        WHERE asked.line_id = line.id AND request.kind = $2 AND request.state = ANY($3::text[])), 0)::int
        AS claimed_count
FROM order_line line WHERE line.order_id = $1 ORDER BY line.position
"""


async def pieces(order_id: UUID) -> list[LinePieces]:
    """The pieces of each line, in the order of the lines."""
    found = await rows(_PIECES, [order_id, AfterSaleKind.REFUND_ONLY, list(OPEN)])
    return [
        LinePieces(
            line_id=row["id"],
            quantity=row["quantity"],
            refunded_count=row["refunded_count"],
            refunding_count=row["refunding_count"],
            shipped_count=row["shipped_count"],
            returned_count=row["returned_count"],
            claimed_count=row["claimed_count"],
        )
        for row in found
    ]


async def recount(deps: Deps, order: Order, now: datetime) -> None:
    """Bring the state to what the pieces say, after a parcel was made or voided, or pieces were refunded.

    Runs in the transaction that changed the pieces, with the member locked.
    """
    assert in_transaction(), "the state changes together with the pieces"
    current = FulfilmentState(order.fulfilment_state)
    wanted = rule.state_of(current, await pieces(order.id))
    if wanted is not current:
        is_shipped = wanted is FulfilmentState.SHIPPED and order.state == OrderState.PAID
        due = rule.receive_due(now, deps.receive_after) if is_shipped else None
        await step(order, wanted, now, receive_due_at=due)
        if is_shipped:
            await note(order.id, OrderEventKind.SHIPPED, now)
    elif wanted is FulfilmentState.SHIPPED and order.state == OrderState.REFUNDED:
        await changed("UPDATE shop_order SET receive_due_at = NULL WHERE id = $1", [order.id])
        order.receive_due_at = None


async def receive(order: Order, by: ReceivedBy, now: datetime) -> None:
    """The member has the goods; the order is complete. Raises: FulfilmentStateRefused."""
    await step(order, FulfilmentState.RECEIVED, now, receive_due_at=None, completed_at=now)
    await note(order.id, OrderEventKind.RECEIVED, now, by=by)


@retried
async def confirm_receipt(deps: Deps, *, member_id: UUID, order_id: UUID) -> Order:
    """The member says that everything arrived. Harmless to repeat.

    Raises: OrderNotFound, OrderStateRefused (it is being refunded), FulfilmentStateRefused (it is not shipped).
    """
    now = deps.clock.now()
    async with transaction(member_id):
        order = await owned(member_id, order_id)
        if order.fulfilment_state == FulfilmentState.RECEIVED:
            return order
        rule.admit_paid(OrderState(order.state))
        if order.fulfilment_state != FulfilmentState.SHIPPED:
            raise FulfilmentStateRefused(state=order.fulfilment_state)
        await receive(order, ReceivedBy.MEMBER, now)
        return order


async def due_receipts(deps: Deps, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Ids of shipped orders, with their members, whose time for a word has passed."""
    found = await rows(
        "SELECT id, member_id FROM shop_order WHERE receive_due_at <= $1 ORDER BY receive_due_at LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [(row["id"], row["member_id"]) for row in found]


@retried
async def receive_by_time(deps: Deps, *, order_id: UUID, member_id: UUID) -> None:
    """Count a shipped order as received when its time has passed; while it is being refunded, a day later."""
    now = deps.clock.now()
    async with transaction(member_id):
        order = await Order.get(id=order_id)
        if order.receive_due_at is None or order.receive_due_at > now:
            return
        match OrderState(order.state):
            case OrderState.PAID:
                await receive(order, ReceivedBy.TIME, now)
            case OrderState.REFUNDING:
                await changed(
                    "UPDATE shop_order SET receive_due_at = $2 WHERE id = $1", [order_id, now + rule.RECEIPT_WAITS]
                )
            case _:
                await changed("UPDATE shop_order SET receive_due_at = NULL WHERE id = $1", [order_id])
