"""Orders in both schemas: what they cost, how they stand, what became of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty import coupon as coupon_rule
from loyalty import order as rule
from loyalty import points as points_rule
from loyalty import shipping as shipping_rule
from loyalty.fulfilment import FulfilmentState
from loyalty.order import OrderKind, OrderState
from loyalty.order import OrderLine as OrderLineWish
from loyalty.pricing import Quote
from loyalty.promotion_hint import Hint
from loyalty.unit_price import PriceSource, PriceStep
from models.order import Order as OrderRow
from models.order import OrderLine as OrderLineRow
from models.points_mall import MallExchange as MallExchangeRow
from resolvers import after_sale_view, mall_exchange, order_shipping, parcel, pick_up_point
from resolvers import order as verbs
from resolvers import order_view as views
from resolvers import payment as payment_verbs
from resolvers.order_delivery import DeliveryWish
from resolvers.order_price import CouponWish
from schema.address import ShippingAddress, address_of_order
from schema.context import Info
from schema.enums import describe
from schema.group_team import GroupSeat, seat_of_order
from schema.order_event import OrderEvent
from schema.order_preview import OrderHint, QuotedLine
from schema.order_shipping import OrderShipping
from schema.paging import After, Connection, First, connection, page
from schema.parcel import Parcel
from schema.permissions import ForMembers, require_member
from schema.pick_up_point import PickUpPoint
from schema.refund_effect import OrderRefund
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen, IdempotencyKey, Points

describe(
    OrderKind,
    "What an order is of.",
    {
        OrderKind.PURCHASE: "SKUs at their price.",
        OrderKind.MALL: "An item of the points mall 积分兑换: its points are its price, and are worth no fen.",
        OrderKind.FLASH: "An item of a flash sale 秒杀, at its flash price.",
        OrderKind.GROUP: "An item of a group-buy 拼团, at the price for the size of its team.",
    },
)
describe(
    OrderState,
    "Where an order stands.",
    {
        OrderState.UNPAID: "Placed; stock, coupons and points are held until the pay deadline.",
        OrderState.CLOSING: "WeChat Pay is being asked to close it; nothing is given back yet.",
        OrderState.CLOSED: "Cancelled or timed out; everything it held is given back.",
        OrderState.PAID: "Paid; points and growth value are booked.",
        OrderState.REFUNDING: "The money is on its way back.",
        OrderState.REFUNDED: "Money, coupons, points, growth value and stock went back.",
    },
)
describe(
    PriceSource,
    "Which price a unit is sold at: the lowest that applies.",
    {
        PriceSource.LIST: "The list price.",
        PriceSource.ACTIVITY: "What an activity asks, such as a flash sale or a group-buy.",
        PriceSource.MEMBER: "The SKU's member price.",
        PriceSource.TIER: "The list price less the tier's discount.",
    },
)
describe(
    PriceStep,
    "A step of the price, in the order in which they apply.",
    {
        PriceStep.LIST: "The goods at list price.",
        PriceStep.ACTIVITY: "What the price of an activity takes off.",
        PriceStep.MEMBER: "What member prices take off.",
        PriceStep.TIER: "What the tier's discount takes off.",
        PriceStep.DISCOUNT: "What a timed discount, newcomer price or member day takes off beyond the steps before.",
        PriceStep.BUNDLE: "What an N-for-M promotion takes off.",
        PriceStep.AMOUNT_OFF: "What an amount-off promotion takes off.",
        PriceStep.COUPON: "What a coupon takes off.",
        PriceStep.POINTS: "What points take off.",
        PriceStep.SHIPPING: "The shipping fee; 0 with the reason when it is free.",
    },
)


@strawberry.type(description="One step of a price that had an effect.")
class PriceExplanation:
    """One line of the explanation."""

    step: PriceStep = strawberry.field(description="Which step.")
    amount: Fen = strawberry.field(description="What it adds (goods, shipping) or takes off (negative), in fen.")
    code: str | None = strawberry.field(
        description="The code of the activity, the tier, the promotion or the coupon's template; of a waived shipping "
        "fee, what waived it."
    )
    title: str | None = strawberry.field(description="The promotion's title; null for other steps.")


@strawberry.type(description="One SKU or mall item of an order, with names and prices as they were when it was placed.")
class OrderLine:
    """One line; ``goods = discount + promotionAmount + couponAmount + pointsAmount + payable``."""

    id: UUID = strawberry.field(description="Opaque id; parcels and refunds name it.")
    sku_id: UUID | None = strawberry.field(description="The SKU; null for a mall item that is no SKU.")
    product_title: str = strawberry.field(description="The product's title, or the mall item's.")
    sku_title: str = strawberry.field(description="The SKU's title; empty where there is no SKU.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 999.")
    shipped_count: int = strawberry.field(description="How many of them are sent, in parcels that stand.")
    refunded_count: int = strawberry.field(description="How many have gone back.")
    refunding_count: int = strawberry.field(description="How many are on their way back.")
    claimed_count: int = strawberry.field(description="How many stand in open after-sale requests.")
    no_reason_return: bool = strawberry.field(
        description="Whether they may be returned within seven days without a reason."
    )
    list_price: Fen = strawberry.field(description="List price of one piece, in fen.")
    unit_price: Fen = strawberry.field(description="Price of one piece after member price or tier discount, in fen.")
    goods: Fen = strawberry.field(description="List price times quantity, in fen.")
    discount: Fen = strawberry.field(description="What prices and tier took off this line, in fen.")
    promotion_amount: Fen = strawberry.field(
        description="This line's share of what N-for-M and amount-off promotions took off, in fen."
    )
    coupon_amount: Fen = strawberry.field(description="This line's share of what coupons took off, in fen.")
    points_amount: Fen = strawberry.field(description="This line's share of what points paid, in fen.")
    payable: Fen = strawberry.field(description="This line's share of the money to pay, in fen.")

    @classmethod
    def from_row(cls, row: OrderLineRow) -> "OrderLine":
        return cls(
            id=row.id,
            sku_id=row.sku_id,
            product_title=row.product_title,
            sku_title=row.sku_title,
            quantity=row.quantity,
            shipped_count=row.shipped_count,
            refunded_count=row.refunded_count,
            refunding_count=row.refunding_count,
            claimed_count=row.claimed_count,
            no_reason_return=row.no_reason_return,
            list_price=Fen(row.list_price_fen),
            unit_price=Fen(row.unit_price_fen),
            goods=Fen(row.goods_fen),
            discount=Fen(row.discount_fen),
            promotion_amount=Fen(row.promotion_fen),
            coupon_amount=Fen(row.coupon_fen),
            points_amount=Fen(row.points_fen),
            payable=Fen(row.payable_fen),
        )


@strawberry.type(description="What an order of the points mall is about.")
class MallExchange:
    """An item under a version of its terms."""

    item_id: UUID = strawberry.field(description="The item.")
    version: int = strawberry.field(description="The version of the item's terms that it was exchanged under.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 99.")
    points: Points = strawberry.field(description="What they cost together, in points.")

    @classmethod
    def from_row(cls, row: MallExchangeRow, version: int) -> "MallExchange":
        return cls(item_id=row.item_id, version=version, quantity=row.quantity, points=Points(row.points))


@strawberry.type(
    description="An order. All amounts are frozen when it is placed: "
    "goods + shipping = discount + promotions + coupons + points + payable."
)
class Order:
    """One order."""

    id: UUID = strawberry.field(description="Opaque id.")
    number: str = strawberry.field(description="The number to read to a shop assistant, 24 digits.")
    kind: OrderKind = strawberry.field(description="What it is of.")
    state: OrderState = strawberry.field(description="Where it stands.")
    goods: Fen = strawberry.field(description="The goods at list price, in fen.")
    discount: Fen = strawberry.field(description="What lower prices of single pieces took off, in fen.")
    promotion_amount: Fen = strawberry.field(description="What N-for-M and amount-off promotions took off, in fen.")
    coupon_amount: Fen = strawberry.field(description="What coupons took off, the one for shipping counted in, in fen.")
    shipping: Fen = strawberry.field(description="The shipping fee before a coupon for it, in fen.")
    shipping_coupon_amount: Fen = strawberry.field(
        description="What a coupon took off the shipping fee, in fen; part of `couponAmount`."
    )
    points_used: Points = strawberry.field(description="Points used on it.")
    points_amount: Fen = strawberry.field(description="What these points paid, in fen.")
    payable: Fen = strawberry.field(description="The money to pay or paid, in fen. 0: paid with points alone.")
    remark: str = strawberry.field(description="The member's remark, up to 200 characters.")
    pay_by: datetime = strawberry.field(description="An unpaid order is closed from this instant on.")
    created_at: datetime = strawberry.field(description="When it was placed.")
    paid_at: datetime | None = strawberry.field(description="When the payment was booked.")
    closed_at: datetime | None = strawberry.field(description="When it was closed.")
    refunded_at: datetime | None = strawberry.field(description="When everything had gone back.")
    refunded: Fen = strawberry.field(description="The money that has gone back, in fen.")
    refunding: Fen = strawberry.field(description="The money on its way back, in fen.")
    fulfilment: FulfilmentState = strawberry.field(description="How far its goods have come.")
    pick_up_ready_at: datetime | None = strawberry.field(description="When the goods were ready to be picked up.")
    receive_by: datetime | None = strawberry.field(
        description="A shipped order counts as received from this instant on; null otherwise."
    )
    completed_at: datetime | None = strawberry.field(
        description="When the member had everything: at the receipt, or at the payment of an order without goods."
    )
    pick_up_point_id: strawberry.Private[UUID | None]
    explain: list[PriceExplanation] = strawberry.field(description="How the price came about; it adds up to payable.")

    @strawberry.field(description="Its lines, 1 to 50.")
    async def lines(self, info: Info) -> list[OrderLine]:
        found = await info.context.loaders.load(views.lines_by_order, self.id)
        return [OrderLine.from_row(row) for row in found or ()]

    @strawberry.field(description="What was exchanged; null unless its kind is MALL.")
    async def mall_exchange(self, info: Info) -> MallExchange | None:
        if self.kind is not OrderKind.MALL:
            return None
        found = await info.context.loaders.load(mall_exchange.by_orders, self.id)
        return MallExchange.from_row(*found) if found else None

    @strawberry.field(description="Its seat in a team of a group-buy 拼团; null unless its kind is GROUP.")
    async def group_seat(self, info: Info) -> GroupSeat | None:
        return await seat_of_order(info, self.id) if self.kind is OrderKind.GROUP else None

    @strawberry.field(description="How its shipping fee came about; null if none of its goods has a shipping template.")
    async def shipping_detail(self, info: Info) -> OrderShipping | None:
        found = await info.context.loaders.load(order_shipping.of_orders, self.id)
        return OrderShipping.from_row(found) if found else None

    @strawberry.field(
        description="Where it is shipped to, as it was when it was placed; null if it is not shipped. Masked for "
        "operators."
    )
    async def address(self, info: Info) -> ShippingAddress | None:
        return await address_of_order(info, self.id)

    @strawberry.field(description="Its parcels, oldest first, up to 15.")
    async def parcels(self, info: Info) -> list[Parcel]:
        found = await info.context.loaders.load(parcel.by_orders, self.id)
        return [Parcel.from_row(row) for row in found or ()]

    @strawberry.field(description="Where it is picked up; null if it is shipped or has no goods.")
    async def pick_up_point(self, info: Info) -> PickUpPoint | None:
        if self.pick_up_point_id is None:
            return None
        found = await info.context.loaders.load(pick_up_point.by_ids, self.pick_up_point_id)
        return PickUpPoint.from_row(found) if found else None

    @strawberry.field(description="Its refunds in parts, oldest first.")
    async def refund_parts(self, info: Info) -> list[OrderRefund]:
        found = await info.context.loaders.load(after_sale_view.parts_by_order, self.id)
        return [OrderRefund.from_row(row) for row in found or ()]

    @strawberry.field(description="Everything that happened to it, oldest first.")
    async def timeline(self, info: Info) -> list[OrderEvent]:
        found = await info.context.loaders.load(views.events_by_order, self.id)
        return [OrderEvent.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: OrderRow) -> "Order":
        return cls(**order_fields(row))


def order_fields(row: OrderRow) -> dict[str, Any]:
    """The columns of an order as both schemas show them."""
    return {
        "id": row.id,
        "number": row.number,
        "kind": OrderKind(row.kind),
        "state": OrderState(row.state),
        "goods": Fen(row.goods_fen),
        "discount": Fen(row.discount_fen),
        "promotion_amount": Fen(row.promotion_fen),
        "coupon_amount": Fen(row.coupon_fen),
        "shipping": Fen(row.shipping_fen),
        "shipping_coupon_amount": Fen(row.shipping_coupon_fen),
        "points_used": Points(row.points_used),
        "points_amount": Fen(row.points_fen),
        "payable": Fen(row.payable_fen),
        "remark": row.remark,
        "pay_by": row.pay_by,
        "created_at": row.created_at,
        "paid_at": row.paid_at,
        "closed_at": row.closed_at,
        "refunded_at": row.refunded_at,
        "refunded": Fen(row.refunded_fen),
        "refunding": Fen(row.refunding_fen),
        "fulfilment": FulfilmentState(row.fulfilment_state),
        "pick_up_ready_at": row.pick_up_ready_at,
        "receive_by": row.receive_due_at,
        "completed_at": row.completed_at,
        "pick_up_point_id": row.pick_up_point_id,
        "explain": [
            PriceExplanation(
                step=PriceStep(step["step"]),
                amount=Fen(step["amount_fen"]),
                code=step["code"],
                title=step.get("title"),
            )
            for step in row.explain
        ],
    }


@strawberry.type(description="What an order of these lines would cost now. Nothing is kept for it.")
class OrderQuote:
    """A preview."""

    goods: Fen = strawberry.field(description="The goods at list price, in fen.")
    discount: Fen = strawberry.field(description="What lower prices of single pieces take off, in fen.")
    promotion_amount: Fen = strawberry.field(description="What N-for-M and amount-off promotions take off, in fen.")
    coupon_amount: Fen = strawberry.field(description="What coupons take off, in fen.")
    shipping: Fen = strawberry.field(description="The shipping fee before a coupon for it, in fen.")
    shipping_coupon_amount: Fen = strawberry.field(
        description="What a coupon takes off the shipping fee, in fen; part of `couponAmount`."
    )
    coupon_ids: list[UUID] = strawberry.field(
        description="The coupons it would use; send them as `couponIds` to have the same ones."
    )
    points_used: Points = strawberry.field(description="Points it would use.")
    points_amount: Fen = strawberry.field(description="What these points pay, in fen.")
    points_most: Points = strawberry.field(description="The most points this order takes from this member.")
    payable: Fen = strawberry.field(description="The money to pay, in fen; send it as `expectedPayable`.")
    explain: list[PriceExplanation] = strawberry.field(description="How the price came about; it adds up to payable.")
    lines: list[QuotedLine] = strawberry.field(description="Its lines, 1 to 50, lines of one SKU merged.")
    hints: list[OrderHint] = strawberry.field(description="What more would save more, the nearest first.")

    @classmethod
    def from_quote(cls, quote: Quote, hints: Sequence[Hint] = ()) -> "OrderQuote":
        return cls(
            goods=Fen(quote.goods_fen),
            discount=Fen(quote.discount_fen),
            promotion_amount=Fen(quote.promotion_fen),
            coupon_amount=Fen(quote.coupon_fen),
            shipping=Fen(quote.shipping_fen),
            shipping_coupon_amount=Fen(quote.shipping_coupon_fen),
            coupon_ids=[one.coupon_id for one in quote.coupons],
            points_used=Points(quote.points_used),
            points_amount=Fen(quote.points_fen),
            points_most=Points(quote.points_most),
            payable=Fen(quote.payable_fen),
            explain=[
                PriceExplanation(step=step.step, amount=Fen(step.amount_fen), code=step.code, title=step.title)
                for step in quote.explain
            ],
            lines=[QuotedLine.from_rule(line) for line in quote.lines],
            hints=[OrderHint.from_rule(hint) for hint in hints],
        )


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
        default=None, description="What the member saw and agreed to, in fen; another price is refused."
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
        description="A kept price of `orderQuoteKeep` for the same lines, coupons, points and delivery; null: what "
        "it costs now.",
    )


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


@strawberry.type(description="The order as it was placed.")
class OrderPlaced:
    """Success of orderPlace."""

    order: Order = strawberry.field(description="The order; pay it with `orderPay` unless payable is 0.")


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


@strawberry.type(description="The order after the change.")
class OrderChanged:
    """Success of orderCancel and orderConfirmPayment."""

    order: Order = strawberry.field(description="The order as it stands now.")


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
OrderPreviewResult = Annotated[
    OrderQuote
    | OutOfStockRefusal
    | PurchaseLimitRefusal
    | SkuNotOnSaleRefusal
    | RegionNotDeliveredRefusal
    | CouponNotUsableRefusal
    | CouponsNotCombinableRefusal
    | PointsShortRefusal
    | PointsCapRefusal
    | SimpleRefusal,
    strawberry.union("OrderPreviewResult", description="The price, or why it could not be ordered."),
]
OrderPayResult = Annotated[
    PaymentRequested | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderPayResult", description="What opens the payment, or why it cannot be paid."),
]
OrderChangeResult = Annotated[
    OrderChanged | OrderStateRefusal | SimpleRefusal,
    strawberry.union("OrderChangeResult", description="The order, or why it was not changed."),
]

OrderId = Annotated[UUID, strawberry.argument(description="The order.")]
Key = Annotated[
    IdempotencyKey,
    strawberry.argument(description="Made by the client before sending, 8 to 64 visible ASCII characters."),
]
StateFilter = Annotated[OrderState | None, strawberry.argument(description="Only orders in this state.")]
FulfilmentFilter = Annotated[
    FulfilmentState | None, strawberry.argument(description="Only orders whose goods are in this state.")
]
KindFilter = Annotated[OrderKind | None, strawberry.argument(description="Only orders of this kind.")]


def wishes(lines: list[OrderLineInput]) -> list[OrderLineWish]:
    """The lines as the verbs take them."""
    return [OrderLineWish(sku_id=line.sku_id, quantity=line.quantity) for line in lines]


def delivery_wish(input: OrderPlaceInput) -> DeliveryWish:
    return DeliveryWish(address_id=input.address_id, pick_up_point_id=input.pick_up_point_id)


def coupon_wish(input: OrderPlaceInput) -> CouponWish:
    """The coupons as the verbs take them."""
    return CouponWish(ids=tuple(input.coupon_ids), best=input.best_coupons)


@strawberry.type
class ShopQuery:
    """A member's own orders."""

    @strawberry.field(description="The member's orders, newest first.", extensions=[ForMembers()])
    async def orders(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: StateFilter = None,
        kind: KindFilter = None,
        fulfilment: FulfilmentFilter = None,
    ) -> Connection[Order]:
        found = await views.orders(
            page=page(views.NEWEST, first, after),
            member_id=require_member(info),
            state=state,
            kind=kind,
            fulfilment=fulfilment,
        )
        return connection(found, Order.from_row)

    @strawberry.field(description="One order of the member; null if there is none.", extensions=[ForMembers()])
    async def order(self, info: Info, id: OrderId) -> Order | None:
        row = await OrderRow.get_or_none(id=id, member_id=require_member(info))
        return Order.from_row(row) if row else None

    @strawberry.field(description="What an order would cost now.", extensions=[ForMembers()])
    async def order_preview(
        self, info: Info, input: Annotated[OrderPlaceInput, strawberry.argument(description="What to order.")]
    ) -> OrderPreviewResult:
        found = await verbs.preview_with_hints(
            info.context.deps,
            member_id=require_member(info),
            lines=wishes(input.lines),
            points_wanted=input.points,
            coupons=coupon_wish(input),
            delivery=delivery_wish(input),
        )
        return OrderQuote.from_quote(found.quote, found.hints)


@strawberry.type
class ShopMutation:
    """What a member does with an order."""

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

    @strawberry.mutation(
        description="Open the payment of an unpaid order at WeChat Pay. Asking again opens the same payment, "
        "so it needs no idempotency key.",
        extensions=[ForMembers()],
    )
    async def order_pay(self, info: Info, order_id: OrderId) -> OrderPayResult:
        params = await payment_verbs.pay(info.context.deps, member_id=require_member(info), order_id=order_id)
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
        order = await payment_verbs.confirm(info.context.deps, member_id=require_member(info), order_id=order_id)
        return OrderChanged(order=Order.from_row(order))

    @strawberry.mutation(
        description="Cancel an unpaid order. A payment that was faster wins. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def order_cancel(self, info: Info, order_id: OrderId) -> OrderChangeResult:
        order = await verbs.cancel(info.context.deps, member_id=require_member(info), order_id=order_id)
        return OrderChanged(order=Order.from_row(order))
