"""Placing an order: what is ordered, and how it is wished for."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.orders import order as rule
from loyalty.orders.order import OrderLine as OrderLineWish
from resolvers.orders import order as verbs
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.orders.order_price import CouponWish
from schema.arguments import Key
from schema.context import Info
from schema.orders.order import Order
from schema.orders.order_refusal import (
    AmountChangedRefusal,
    CouponNotUsableRefusal,
    CouponsNotCombinableRefusal,
    OutOfStockRefusal,
    PointsCapRefusal,
    PointsShortRefusal,
    PurchaseLimitRefusal,
    RegionNotDeliveredRefusal,
    SkuNotOnSaleRefusal,
)
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points


@strawberry.input(description="So many of one SKU. Lines of the same SKU are merged.")
class OrderLineInput:
    """One wish."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 999.")


@strawberry.input(description="What to order.")
class OrderPlaceInput:
    """The content of an order."""

    lines: list[OrderLineInput] = strawberry.field(description="1 to 50 lines.")
    coupon_ids: list[UUID] = strawberry.field(
        default_factory=list, description="Coupons to use on it, at most 5; empty for none."
    )
    best_coupons: bool = strawberry.field(
        default=False, description="Use the best combination of the member's coupons instead of naming any."
    )
    points: Points = strawberry.field(default=Points(0), description="Points to use on it; 0 for none.")
    expected_payable: Fen | None = strawberry.field(
        default=None,
        description="What the member saw and agreed to, in fen; another price is refused. From a "
        "kept price it is that price, and the order may cost less.",
    )
    address_id: UUID | None = strawberry.field(
        default=None,
        description="The address in the member's book that it is shipped to. Goods with a shipping template need one, "
        "or a pick-up point.",
    )
    pick_up_point_id: UUID | None = strawberry.field(
        default=None, description="The pick-up point where the member fetches it 自提; null to have it shipped."
    )
    from_cart: bool = strawberry.field(
        default=False, description="Whether what is ordered leaves the cart; other pieces of a line stay in it."
    )
    accepts_no_return: bool = strawberry.field(
        default=False,
        description="The member's word that goods with a `noReturnCause` cannot be returned without a reason; without "
        "it such an order is refused with `NO_RETURN_NOT_ACCEPTED`.",
    )
    remark: str = strawberry.field(default="", description=f"For the shop, up to {rule.MAX_REMARK} characters.")
    quote_id: UUID | None = strawberry.field(
        default=None,
        description="A kept price of `orderQuoteKeep` for the same lines, coupons, points and delivery, if it is not "
        "cheaper now; null: what it costs now.",
    )


@strawberry.type(description="The order as it was placed.")
class OrderPlaced:
    """Success of orderPlace."""

    order: Order = strawberry.field(description="The order; pay it with `orderPay` unless payable is 0.")


OrderPlaceResult = Annotated[
    OrderPlaced
    | OutOfStockRefusal
    | PurchaseLimitRefusal
    | SkuNotOnSaleRefusal
    | RegionNotDeliveredRefusal
    | AmountChangedRefusal
    | CouponNotUsableRefusal
    | CouponsNotCombinableRefusal
    | PointsShortRefusal
    | PointsCapRefusal
    | SimpleRefusal,
    strawberry.union("OrderPlaceResult", description="The order, or why it could not be placed."),
]


def wishes(lines: list[OrderLineInput]) -> list[OrderLineWish]:
    """The lines as the verbs take them."""
    return [OrderLineWish(sku_id=line.sku_id, quantity=line.quantity) for line in lines]


def delivery_wish(input: OrderPlaceInput) -> DeliveryWish:
    return DeliveryWish(address_id=input.address_id, pick_up_point_id=input.pick_up_point_id)


def coupon_wish(input: OrderPlaceInput) -> CouponWish:
    """The coupons as the verbs take them."""
    return CouponWish(ids=tuple(input.coupon_ids), best=input.best_coupons)


@strawberry.type
class ShopMutation:
    """What a member orders."""

    @strawberry.mutation(
        description="Place an order: its price is frozen; its stock, coupons and points are held until the pay "
        "deadline.",
        extensions=[ForMembers()],
    )
    async def order_place(
        self,
        info: Info,
        input: Annotated[OrderPlaceInput, strawberry.argument(description="What to order.")],
        idempotency_key: Key,
    ) -> OrderPlaceResult:
        order = await verbs.place(
            info.context.deps,
            member_id=require_member(info),
            lines=wishes(input.lines),
            points_wanted=input.points,
            expected_fen=input.expected_payable,
            remark=input.remark,
            idempotency_key=idempotency_key,
            coupons=coupon_wish(input),
            delivery=delivery_wish(input),
            from_cart=input.from_cart,
            accepts_no_return=input.accepts_no_return,
            quote_id=input.quote_id,
        )
        return OrderPlaced(order=Order.from_row(order))
