"""Where an order goes, when that was not said as it was placed: flash sales, group-buys and exchanges ask later."""

from uuid import UUID

from loyalty.delivery.fulfilment import FulfilmentState, FulfilmentStateRefused
from loyalty.delivery.pick_up import DeliveryUnclear
from loyalty.orders.order import OrderState, OrderStateRefused
from loyalty.orders.order_event import OrderEventKind
from loyalty.people.address import OrderAddressKept
from models.engine import retried, transaction
from models.orders.order import Order, OrderLine
from resolvers.delivery import fulfilment, pick_up_point
from resolvers.deps import Deps
from resolvers.orders import order_shipping
from resolvers.orders.order_row import note, owned
from resolvers.orders.order_shipping import Goods
from resolvers.orders.order_write import placed_under
from resolvers.people import address


@retried
async def set_address(deps: Deps, *, member_id: UUID, order_id: UUID, address_id: UUID) -> Order:
    """Send an order that has no address to one of the member's. Its price stays what it is. Harmless to repeat.

    Raises, in this order:
        OrderNotFound: there is no such order of the member.
        OrderStateRefused, FulfilmentStateRefused: it is closed, refunded, or has nothing that is still to be sent.
        DeliveryUnclear: it is picked up.
        AddressNotFound: there is no such address.
        OrderAddressKept: it goes somewhere else already.
        RegionNotDelivered: some of its goods are not delivered there.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        order = await owned(member_id, order_id)
        await _admit_unsent(order)
        if order.pick_up_point_id is not None:
            raise DeliveryUnclear
        there = await address.chosen(member_id, address_id)
        before = await address.of_order(deps, order.id)
        if before is not None:
            if before != address.destination(deps.seal, there):
                raise OrderAddressKept
            return order
        goods = [
            Goods(
                sku_id=line.sku_id,
                quantity=line.quantity,
                goods_fen=line.goods_fen - line.discount_fen - line.promotion_fen,
            )
            for line in await OrderLine.filter(order_id=order.id).order_by("position")
            if line.sku_id is not None
        ]
        # The fee itself is not asked for: the price is frozen, and goods that cost one had an address from the start.
        tier = (await placed_under(member_id, now)).tier
        await order_shipping.quote(member_id, goods, address=there, tier=tier, now=now, zone=deps.zone)
        await address.freeze(deps, order_id=order.id, address=there, now=now)
        await note(order.id, OrderEventKind.ADDRESS_SET, now)
        return order


@retried
async def set_pick_up(deps: Deps, *, member_id: UUID, order_id: UUID, point_id: UUID) -> Order:
    """Have an order that goes nowhere yet wait at a pick-up point. Its price stays what it is. Harmless to repeat.

    Raises, in this order:
        OrderNotFound: there is no such order of the member.
        OrderStateRefused, FulfilmentStateRefused: it is closed, refunded, or has nothing that is still to be sent.
        OrderAddressKept: it goes somewhere else already.
        PickUpPointNotFound: there is no such point, or it is hidden.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        order = await owned(member_id, order_id)
        if order.pick_up_point_id == point_id:
            return order
        await _admit_unsent(order)
        if order.pick_up_point_id is not None or await address.of_order(deps, order.id) is not None:
            raise OrderAddressKept
        await pick_up_point.choose(order, point_id)
        if order.fulfilment_state == FulfilmentState.TO_SHIP:
            await fulfilment.step(order, FulfilmentState.TO_PICK_UP, now)
        await note(order.id, OrderEventKind.PICK_UP_SET, now)
        return order


async def _admit_unsent(order: Order) -> None:
    if order.state not in (OrderState.UNPAID, OrderState.PAID):
        raise OrderStateRefused(state=order.state)
    waiting = (FulfilmentState.NONE, FulfilmentState.TO_SHIP, FulfilmentState.TO_PICK_UP)
    is_over = order.fulfilment_state not in waiting or order.completed_at is not None
    if is_over or not await fulfilment.has_goods(order):
        raise FulfilmentStateRefused(state=order.fulfilment_state)
