"""Saying where an order goes once it is placed."""

from typing import Annotated
from uuid import UUID

import strawberry

from resolvers.orders import order_address as verbs
from schema.context import Info
from schema.delivery.fulfilment import FulfilmentStateRefusal
from schema.orders.order import Order, OrderId
from schema.orders.order_refusal import OrderStateRefusal, RegionNotDeliveredRefusal
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal


@strawberry.type(description="The order goes to the address.")
class OrderAddressSet:
    """Success of orderAddressSet."""

    order: Order = strawberry.field(description="The order; its price is what it was.")


OrderAddressSetResult = Annotated[
    OrderAddressSet | OrderStateRefusal | FulfilmentStateRefusal | RegionNotDeliveredRefusal | SimpleRefusal,
    strawberry.union("OrderAddressSetResult", description="The order with its address, or why it got none."),
]


@strawberry.type(description="The order waits at the pick-up point once it is paid.")
class OrderPickUpSet:
    """Success of orderPickUpSet."""

    order: Order = strawberry.field(description="The order; its price is what it was.")


OrderPickUpSetResult = Annotated[
    OrderPickUpSet | OrderStateRefusal | FulfilmentStateRefusal | SimpleRefusal,
    strawberry.union("OrderPickUpSetResult", description="The order with its point, or why it got none."),
]


@strawberry.type
class ShopMutation:
    """For orders that were placed without saying where they go."""

    @strawberry.mutation(
        description="Give an address to an order that was placed without one, such as a flash sale's, a group-buy's or "
        "an exchange's, until its goods are sent. The price stays. Harmless to repeat. Refusals: `ORDER_NOT_FOUND`, "
        "`ORDER_STATE_REFUSED`, `DELIVERY_UNCLEAR` (it is picked up), `FULFILMENT_STATE_REFUSED`, `ADDRESS_NOT_FOUND`, "
        "`ORDER_ADDRESS_KEPT`, `REGION_NOT_DELIVERED`.",
        extensions=[ForMembers()],
    )
    async def order_address_set(
        self,
        info: Info,
        order_id: OrderId,
        address_id: Annotated[UUID, strawberry.argument(description="An address in the member's book.")],
    ) -> OrderAddressSetResult:
        """One call."""
        row = await verbs.set_address(
            info.context.deps, member_id=require_member(info), order_id=order_id, address_id=address_id
        )
        return OrderAddressSet(order=Order.from_row(row))

    @strawberry.mutation(
        description="Have an order that was placed without saying where it goes, such as a flash sale's, a group-buy's "
        "or an exchange's, wait at a pick-up point 到店自提, until its goods are sent. The price stays. Harmless to "
        "repeat. Refusals: `ORDER_NOT_FOUND`, `ORDER_STATE_REFUSED`, `FULFILMENT_STATE_REFUSED`, `ORDER_ADDRESS_KEPT` "
        "(it goes somewhere else already), `PICK_UP_POINT_NOT_FOUND`.",
        extensions=[ForMembers()],
    )
    async def order_pick_up_set(
        self,
        info: Info,
        order_id: OrderId,
        pick_up_point_id: Annotated[UUID, strawberry.argument(description="A point on offer.")],
    ) -> OrderPickUpSetResult:
        """One call."""
        row = await verbs.set_pick_up(
            info.context.deps, member_id=require_member(info), order_id=order_id, point_id=pick_up_point_id
        )
        return OrderPickUpSet(order=Order.from_row(row))
