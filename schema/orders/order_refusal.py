"""What an order is refused with, where the refusal tells more than its code."""

from uuid import UUID

import strawberry

from loyalty.coupons import coupon as coupon_rule
from loyalty.delivery import shipping as shipping_rule
from loyalty.orders import order as rule
from loyalty.points import points as points_rule
from schema.refusal import Refusal, refusal_type
from schema.scalars import Fen, Points


@refusal_type(rule.OutOfStock)
@strawberry.type(name="OutOfStock", description="Fewer pieces are left than wanted.")
class OutOfStockRefusal(Refusal):
    """Stock ran out."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    left: int = strawberry.field(description="How many are left.")


@refusal_type(rule.PurchaseLimitReached)
@strawberry.type(name="PurchaseLimitReached", description="The member may not buy so many of it.")
class PurchaseLimitRefusal(Refusal):
    """A limit per member."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    limit: int = strawberry.field(description="How many a member may buy.")
    bought: int = strawberry.field(description="How many the member has, open orders included.")


@refusal_type(rule.SkuNotOnSale)
@strawberry.type(name="SkuNotOnSale", description="The SKU does not exist or is not on sale.")
class SkuNotOnSaleRefusal(Refusal):
    """Not on the shelf."""

    sku_id: UUID = strawberry.field(description="The SKU.")


@refusal_type(shipping_rule.RegionNotDelivered)
@strawberry.type(
    name="RegionNotDelivered", description="A line is not delivered to the address. Code `REGION_NOT_DELIVERED`."
)
class RegionNotDeliveredRefusal(Refusal):
    """Which line."""

    sku_id: UUID = strawberry.field(description="The SKU of the line.")


@refusal_type(rule.AmountChanged)
@strawberry.type(name="AmountChanged", description="The price is not what the member agreed to.")
class AmountChangedRefusal(Refusal):
    """Another price."""

    expected: Fen = strawberry.field(description="What was sent, in fen.")
    actual: Fen = strawberry.field(description="What it costs now, in fen.")


@refusal_type(points_rule.PointsShort)
@strawberry.type(name="PointsShort", description="The member cannot spend so many points.")
class PointsShortRefusal(Refusal):
    """Too few points."""

    available: Points = strawberry.field(description="What can be spent.")
    wanted: Points = strawberry.field(description="What was asked for.")


@refusal_type(points_rule.PointsCapExceeded)
@strawberry.type(name="PointsCapExceeded", description="The order does not take so many points.")
class PointsCapRefusal(Refusal):
    """A cap per order."""

    most: Points = strawberry.field(description="What it takes at most; 0 when it takes none.")


@refusal_type(coupon_rule.CouponNotUsable)
@strawberry.type(name="CouponNotUsable", description="A coupon takes nothing off this order. Code `COUPON_NOT_USABLE`.")
class CouponNotUsableRefusal(Refusal):
    """Which one, and why."""

    coupon_id: UUID = strawberry.field(description="The coupon.")
    reason: str = strawberry.field(description="Why, as `UnusableReason` in lower case, such as `below_threshold`.")
    missing: Fen | None = strawberry.field(
        description="What the goods that it is for lack to its threshold, in fen; null for other reasons."
    )


@refusal_type(coupon_rule.CouponsNotCombinable)
@strawberry.type(
    name="CouponsNotCombinable", description="Two coupons do not go together. Code `COUPONS_NOT_COMBINABLE`."
)
class CouponsNotCombinableRefusal(Refusal):
    """Which two."""

    coupon_id: UUID = strawberry.field(description="The one coupon.")
    other_id: UUID = strawberry.field(description="The other coupon.")


@refusal_type(rule.OrderStateRefused)
@strawberry.type(name="OrderStateRefused", description="Not possible in the order's state.")
class OrderStateRefusal(Refusal):
    """The wrong state."""

    state: str = strawberry.field(description="The order's state, in lower case.")
