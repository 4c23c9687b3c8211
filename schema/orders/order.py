"""Orders in both schemas: what they cost, how they stand, what became of them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.orders.order import OrderKind, OrderState
from models.orders.order import Order as OrderRow
from models.orders.order import OrderLine as OrderLineRow
from models.points.points_mall import MallExchange as MallExchangeRow
from resolvers.delivery import parcel, pick_up_point
from resolvers.orders import order_shipping
from resolvers.orders import order_view as views
from resolvers.payments import after_sale_view
from resolvers.points import mall_exchange
from schema.context import Info
from schema.delivery.parcel import Parcel
from schema.delivery.pick_up_point import PickUpPoint
from schema.enums import describe
from schema.group_buys.group_team import GroupSeat, seat_of_order
from schema.orders.order_event import OrderEvent
from schema.orders.order_price import PriceExplanation
from schema.orders.order_shipping import OrderShipping
from schema.paging import After, Connection, First, connection, page
from schema.payments.refund_effect import OrderRefund
from schema.people.address import ShippingAddress, address_of_order
from schema.permissions import ForMembers, require_member
from schema.scalars import Fen, Points

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

    @strawberry.field(description="What happened to it, oldest first: the newest 200.")
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
        "explain": [PriceExplanation.from_row(step) for step in row.explain],
    }


@strawberry.type(description="The order after the change.")
class OrderChanged:
    """Success of orderCancel and orderConfirmPayment."""

    order: Order = strawberry.field(description="The order as it stands now.")


OrderId = Annotated[UUID, strawberry.argument(description="The order.")]
StateFilter = Annotated[OrderState | None, strawberry.argument(description="Only orders in this state.")]
FulfilmentFilter = Annotated[
    FulfilmentState | None, strawberry.argument(description="Only orders whose goods are in this state.")
]
KindFilter = Annotated[OrderKind | None, strawberry.argument(description="Only orders of this kind.")]


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
