"""Paying an order, or cancelling it unpaid."""

from typing import Annotated

import strawberry

from resolvers.orders import order as order_verbs
from resolvers.payments import payment as verbs
from schema.context import Info
from schema.orders.order import Order, OrderChanged, OrderId
from schema.orders.order_refusal import OrderStateRefusal
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal


@strawberry.type(
    description="What `wx.requestPayment` takes. The payment counts when the server knows of it, "
    "so ask `orderConfirmPayment` after the dialog closes."
)
class PaymentRequested:
    """Success of orderPay; the fields are WeChat's."""

    time_stamp: str = strawberry.field(description="timeStamp: unix seconds.")
    nonce_str: str = strawberry.field(description="nonceStr.")
    package: str = strawberry.field(description="package: `prepay_id=…`.")
    sign_type: str = strawberry.field(description="signType: RSA.")
    pay_sign: str = strawberry.field(description="paySign.")


OrderPayResult = Annotated[
    PaymentRequested | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderPayResult", description="What opens the payment, or why it cannot be paid."),
]
OrderChangeResult = Annotated[
    OrderChanged | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderChangeResult", description="The order, or why it was not changed."),
]


@strawberry.type
class ShopMutation:
    """What a member does with an unpaid order."""

    @strawberry.mutation(
        description="Open the payment of an unpaid order at WeChat Pay. Asking again opens the same payment, "
        "so it needs no idempotency key.",
        extensions=[ForMembers()],
    )
    async def order_pay(self, info: Info, order_id: OrderId) -> OrderPayResult:
        params = await verbs.pay(info.context.deps, member_id=require_member(info), order_id=order_id)
        return PaymentRequested(
            time_stamp=params.time_stamp,
            nonce_str=params.nonce_str,
            package=params.package,
            sign_type=params.sign_type,
            pay_sign=params.pay_sign,
        )

    @strawberry.mutation(
        description="Ask WeChat Pay whether an unpaid order was paid, and book it. Call it when the payment dialog "
        "closes. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def order_confirm_payment(self, info: Info, order_id: OrderId) -> OrderChangeResult:
        order = await verbs.confirm(info.context.deps, member_id=require_member(info), order_id=order_id)
        return OrderChanged(order=Order.from_row(order))

    @strawberry.mutation(
        description="Cancel an unpaid order. A payment that was faster wins. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def order_cancel(self, info: Info, order_id: OrderId) -> OrderChangeResult:
        order = await order_verbs.cancel(info.context.deps, member_id=require_member(info), order_id=order_id)
        return OrderChanged(order=Order.from_row(order))
