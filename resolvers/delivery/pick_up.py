"""Picking up: the goods are ready, the phone shows a code, the till reads it once."""

from uuid import UUID

from loyalty.delivery.fulfilment import FulfilmentState, FulfilmentStateRefused, ReceivedBy, admit_hand_out, admit_paid
from loyalty.delivery.pick_up import PICK_UP_CODE, PickUpCodeInvalid
from loyalty.orders.order import OrderNotFound, OrderState
from loyalty.orders.order_event import OrderEventKind
from models.engine import changed, retried, transaction
from models.orders.order import Order
from resolvers import one_time_code
from resolvers.delivery import fulfilment, shipping_upload, unshipped_watch
from resolvers.deps import Deps
from resolvers.one_time_code import ShownCode
from resolvers.orders.order_row import member_of, note, owned
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed


@retried
async def tell_ready(deps: Deps, *, operator_id: UUID, order_id: UUID) -> Order:
    """Tell the member that the goods wait at the point. Harmless to repeat; the first time stands.

    Raises: OrderNotFound, OrderStateRefused, FulfilmentStateRefused.
    """
    now = deps.clock.now()
    async with transaction(await member_of(order_id)):
        await lock_operator(operator_id)
        order = await Order.get(id=order_id)
        _admit_waiting(order)
        if order.pick_up_ready_at is None:
            await changed("UPDATE shop_order SET pick_up_ready_at = $2 WHERE id = $1", [order_id, now])
            order.pick_up_ready_at = now
            await note(order_id, OrderEventKind.PICK_UP_READY, now)
            await unshipped_watch.no_longer(order_id, now)
            await record(operator_id, "pick_up.ready", "order", order_id, None, None, now)
        return order


def _admit_waiting(order: Order) -> None:
    admit_paid(OrderState(order.state))
    if order.fulfilment_state != FulfilmentState.TO_PICK_UP:
        raise FulfilmentStateRefused(state=order.fulfilment_state)


async def show(deps: Deps, *, member_id: UUID, order_id: UUID) -> ShownCode:
    """A new code for the member's order, good for 5 minutes. Those shown before live on until they end.

    Raises:
        OrderNotFound, OrderStateRefused, FulfilmentStateRefused: nothing waits for the member.
        TooMany: the phone asks for more codes than it can show.
        OUTAGES: Redis is away, and no code can be kept.
    """
    _admit_waiting(await owned(member_id, order_id))
    await one_time_code.take_turn(deps, "pickUpCode", member_id)
    return await one_time_code.show(deps, PICK_UP_CODE, order_id, deps.clock.now())


async def verify(deps: Deps, *, operator_id: UUID, code: str, idempotency_key: str) -> Order:
    """Hand out the order whose code a till has read: it is received, once. The order decides, not the code.

    Raises:
        PickUpCodeInvalid: unknown, over, or of an order that was handed out.
        OrderStateRefused, PiecesClaimed: the order is being refunded, or the member asks for it.
        KeyInvalid, KeyReused: the idempotency key.
        OUTAGES: Redis is away; the same key may be sent again.
    """
    known = await _handed_out(operator_id, code, idempotency_key)
    if known is not None:
        return known
    order_id = await one_time_code.read(deps, PICK_UP_CODE, code, deps.clock.now())
    try:
        member_id = await member_of(order_id)
    except OrderNotFound:
        raise PickUpCodeInvalid() from None
    return await _hand_out(deps, operator_id, order_id, member_id, code, idempotency_key)


@retried
async def _handed_out(operator_id: UUID, code: str, key: str) -> Order | None:
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="pickUpVerify", content={"code": code})
        return await Order.get(id=UUID(before["order_id"])) if before else None


@retried
async def _hand_out(deps: Deps, operator_id: UUID, order_id: UUID, member_id: UUID, code: str, key: str) -> Order:
    now = deps.clock.now()
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="pickUpVerify", content={"code": code})
        order = await Order.get(id=order_id)
        if before is not None:
            return order
        if order.fulfilment_state != FulfilmentState.TO_PICK_UP:
            raise PickUpCodeInvalid()
        admit_paid(OrderState(order.state))
        admit_hand_out(await fulfilment.pieces(order_id))
        await fulfilment.receive(order, ReceivedBy.TILL, now)
        await shipping_upload.want(order, now)
        await record(operator_id, "pick_up.verify", "order", order_id, None, None, now)
        await remember(
            operator_id,
            key=key,
            operation="pickUpVerify",
            content={"code": code},
            result={"order_id": str(order_id)},
            now=now,
        )
        return order
