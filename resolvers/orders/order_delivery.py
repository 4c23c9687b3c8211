"""How an order reaches the member: shipped to an address for a fee, picked up, or neither."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.delivery.pick_up import admit_delivery
from loyalty.delivery.shipping import ShippingQuote
from loyalty.prices.promotion_cart import Promoted
from models.engine import in_transaction
from models.orders.order import Order
from models.people.address import Address
from resolvers.delivery import pick_up_point
from resolvers.deps import Deps
from resolvers.orders import order_shipping
from resolvers.orders.order_price import Basket, Ship
from resolvers.orders.order_shipping import Goods
from resolvers.people import address


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryWish:
    """Where an order is to go: to one of the member's addresses, to a pick-up point, or nowhere."""

    address_id: UUID | None = None
    pick_up_point_id: UUID | None = None

    def content(self) -> dict[str, str]:
        """What an idempotency key stands for; nothing for an order that goes nowhere."""
        named = {"address_id": self.address_id, "pick_up_point_id": self.pick_up_point_id}
        return {name: str(one) for name, one in named.items() if one is not None}


NOWHERE = DeliveryWish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where an order goes, and how its shipping fee is found; ``ship`` None: there is none to be found."""

    address: Address | None
    pick_up_point_id: UUID | None
    ship: Ship | None


async def read(
    deps: Deps, basket: Basket, wish: DeliveryWish | None, now: datetime, *, terms_of: datetime | None = None
) -> Delivery:
    """Where an order of this basket would go. ``wish`` None: that is not asked yet, and no fee is either.

    Fees are found under the templates' terms of ``terms_of``, such as when a price was kept; None: of now.

    Raises: DeliveryUnclear (both were named), AddressNotFound, PickUpPointNotFound; the fee, when it is asked for:
        AddressRequired, RegionNotDelivered.
    """
    if wish is None:
        return Delivery(address=None, pick_up_point_id=None, ship=None)
    admit_delivery(to_address=wish.address_id is not None, to_point=wish.pick_up_point_id is not None)
    if wish.pick_up_point_id is not None:
        point = await pick_up_point.chosen(wish.pick_up_point_id)
        return Delivery(address=None, pick_up_point_id=point.id, ship=None)
    there = await address.chosen(basket.member_id, wish.address_id) if wish.address_id else None

    async def ship(promoted: Promoted) -> ShippingQuote:
        goods = [
            Goods(sku_id=line.sku_id, quantity=line.quantity, goods_fen=after.payable_fen)
            for line, after in zip(basket.prices, promoted.lines, strict=True)
        ]
        return await order_shipping.quote(
            basket.member_id,
            goods,
            address=there,
            tier=basket.under.tier,
            now=now,
            zone=deps.zone,
            terms_of=terms_of,
        )

    return Delivery(address=there, pick_up_point_id=None, ship=ship)


async def write(deps: Deps, order: Order, delivery: Delivery, shipping: ShippingQuote | None, now: datetime) -> None:
    """Keep with a new order where it goes, and how its fee came about, in its transaction.

    Raises: PickUpPointNotFound: the point was hidden meanwhile.
    """
    assert in_transaction(), "an order is written together with where it goes"
    if delivery.pick_up_point_id is not None:
        await pick_up_point.choose(order, delivery.pick_up_point_id)
    if delivery.address is not None:
        await address.freeze(deps, order_id=order.id, address=delivery.address, now=now)
    if shipping is not None:
        await order_shipping.write(deps, order, shipping, now)
