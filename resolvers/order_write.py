"""Writing a new order, whatever it is of: frozen prices and names, and the rules it is placed under."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from uuid import UUID

from loyalty.order import OrderKind, OrderState, order_number, pay_deadline
from loyalty.points import PointsProgramme, multiplier_bp
from loyalty.points_window import BoostOccasion
from loyalty.pricing import Quote
from loyalty.shop_time import business_day
from loyalty.tier import TierLevel, TierTable
from models.engine import in_transaction, rows
from models.ids import new_id
from models.order import Order, OrderEvent, OrderLine
from resolvers.deps import Deps
from resolvers.programme import InForce, points_programme, tier_table
from resolvers.tier import standings_at


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedUnder:
    """The member's tier and the versions of the rules that an order keeps for its life, and the birthday boosts see."""

    tier: TierLevel
    tier_version: InForce[TierTable]
    programme: InForce[PointsProgramme]
    birthday: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOf:
    """What a line is of, and its names as they are now. ``sku_id`` None: a mall item that is no SKU.

    ``no_reason_return`` is false when the member confirmed that it cannot be returned without a reason.
    """

    sku_id: UUID | None
    product_title: str
    sku_title: str
    no_reason_return: bool = True


async def placed_under_each(member_ids: Sequence[UUID], now: datetime) -> Mapping[UUID, PlacedUnder]:
    """What an order of each of these members is placed under at ``now``, in four statements."""
    table = await tier_table(now)
    standings = await standings_at(member_ids, table.rules, now)
    programme = await points_programme(now)
    found = await rows("SELECT id, birthday FROM member WHERE id = ANY($1::uuid[])", [list(member_ids)])
    return {
        row["id"]: PlacedUnder(
            tier=standings[row["id"]].applies, tier_version=table, programme=programme, birthday=row["birthday"]
        )
        for row in found
    }


async def placed_under(member_id: UUID, now: datetime) -> PlacedUnder:
    """What an order of this member is placed under at ``now``."""
    return (await placed_under_each([member_id], now))[member_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An unpaid order that is not written yet, with its lines and the first line of its timeline."""

    order: Order
    lines: Sequence[OrderLine]
    event: OrderEvent


def compose(
    deps: Deps,
    member_id: UUID,
    *,
    kind: OrderKind,
    quote: Quote,
    lines_of: Sequence[LineOf],
    under: PlacedUnder,
    remark: str,
    now: datetime,
) -> NewOrder:
    """An unpaid order with its lines, one for each line of the quote."""
    order_id = new_id(now)
    day = business_day(now, deps.zone)
    pay_by = pay_deadline(now, deps.pay_window)
    occasion = BoostOccasion(day=day, birthday=under.birthday, tier_code=under.tier.code)
    order = Order(
        id=order_id,
        number=order_number(day, order_id),
        member_id=member_id,
        kind=kind,
        state=OrderState.UNPAID,
        goods_fen=quote.goods_fen,
        discount_fen=quote.discount_fen,
        promotion_fen=quote.promotion_fen,
        coupon_fen=quote.coupon_fen,
        shipping_fen=quote.shipping_fen,
        shipping_coupon_fen=quote.shipping_coupon_fen,
        points_used=quote.points_used,
        points_fen=quote.points_fen,
        payable_fen=quote.payable_fen,
        explain=[asdict(step) for step in quote.explain],
        remark=remark,
        tier_code=under.tier.code,
        points_multiplier_bp=multiplier_bp(
            under.programme.rules, tier_bp=under.tier.points_multiplier_bp, occasion=occasion
        ),
        tier_version_id=under.tier_version.version_id,
        points_version_id=under.programme.version_id,
        pay_by=pay_by,
        close_due_at=pay_by,
        created_at=now,
    )
    lines = [
        OrderLine(
            id=new_id(now),
            order_id=order_id,
            position=position,
            sku_id=of.sku_id,
            product_title=of.product_title,
            sku_title=of.sku_title,
            quantity=line.quantity,
            list_price_fen=line.list_price_fen,
            unit_price_fen=line.unit_price_fen,
            goods_fen=line.goods_fen,
            discount_fen=line.discount_fen,
            promotion_fen=line.promotion_fen,
            coupon_fen=line.coupon_fen,
            points_fen=line.points_fen,
            payable_fen=line.payable_fen,
            no_reason_return=of.no_reason_return,
        )
        for position, (line, of) in enumerate(zip(quote.lines, lines_of, strict=True))
    ]
    details = {"payable_fen": quote.payable_fen, "points_used": quote.points_used}
    event = OrderEvent(id=new_id(now), order_id=order_id, kind="placed", details=details, at=now)
    return NewOrder(order=order, lines=lines, event=event)


async def write_orders(composed: Sequence[NewOrder]) -> None:
    """Write these orders in three statements, however many they are. What they hold is up to the caller."""
    assert in_transaction(), "an order is written together with what it holds"
    await Order.bulk_create([one.order for one in composed])
    for one in composed:
        # The bulk insert forgets to note it, and the order could not be read again.
        one.order._saved_in_db = True
    await OrderLine.bulk_create([line for one in composed for line in one.lines])
    await OrderEvent.bulk_create([one.event for one in composed])


async def write_order(
    deps: Deps,
    member_id: UUID,
    *,
    kind: OrderKind,
    quote: Quote,
    lines_of: Sequence[LineOf],
    under: PlacedUnder,
    remark: str,
    now: datetime,
) -> Order:
    """Write an unpaid order with its lines, one for each line of the quote. What it holds is up to the caller."""
    composed = compose(deps, member_id, kind=kind, quote=quote, lines_of=lines_of, under=under, remark=remark, now=now)
    await write_orders([composed])
    return composed.order
