"""What a member does when the goods come: confirm the receipt, or show a code at the till."""

from datetime import datetime
from typing import Annotated

import strawberry

from loyalty.delivery.fulfilment import FulfilmentStateRefused
from resolvers.delivery import fulfilment as verbs
from resolvers.delivery import pick_up
from schema.context import Info
from schema.orders.order import Order, OrderChanged, OrderId
from schema.orders.order_refusal import OrderStateRefusal
from schema.permissions import ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type


@refusal_type(FulfilmentStateRefused)
@strawberry.type(
    name="FulfilmentStateRefused",
    description="Not possible in the state the goods are in. Code `FULFILMENT_STATE_REFUSED`.",
)
class FulfilmentStateRefusal(Refusal):
    """The wrong state."""

    state: str = strawberry.field(description="The state of the goods, as `FulfilmentState` in lower case.")


@strawberry.type(description="A code to be shown as a bar code or QR code where the order is picked up 提货码.")
class PickUpCode:
    """A new code."""

    code: str = strawberry.field(description="18 digits that begin with 85.")
    ends_at: datetime = strawberry.field(description="It can be read until before this instant, 5 minutes ahead.")


OrderReceiptResult = Annotated[
    OrderChanged | OrderStateRefusal | FulfilmentStateRefusal | SimpleRefusal,
    strawberry.union("OrderReceiptResult", description="The order, or why it was not changed."),
]
PickUpCodeResult = Annotated[
    PickUpCode | OrderStateRefusal | FulfilmentStateRefusal | SimpleRefusal,
    strawberry.union("PickUpCodeResult", description="The code, or why there is none."),
]


@strawberry.type
class ShopMutation:
    """The member's side."""

    @strawberry.mutation(
        description="Confirm that a shipped order arrived 确认收货. There is no way back. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def order_confirm_receipt(self, info: Info, order_id: OrderId) -> OrderReceiptResult:
        """The order is complete."""
        row = await verbs.confirm_receipt(info.context.deps, member_id=require_member(info), order_id=order_id)
        return OrderChanged(order=Order.from_row(row))

    @strawberry.mutation(
        description="A new code for an order that waits at a pick-up point, good for 5 minutes. Codes shown before "
        "live on until they end. Answers RATE_LIMITED beyond 10 at once and then one in 5 s, TRY_AGAIN while codes "
        "cannot be kept.",
        extensions=[ForMembers()],
    )
    async def pick_up_code(self, info: Info, order_id: OrderId) -> PickUpCodeResult:
        """One code."""
        shown = await pick_up.show(info.context.deps, member_id=require_member(info), order_id=order_id)
        return PickUpCode(code=shown.code, ends_at=shown.ends_at)
