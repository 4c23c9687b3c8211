"""Writing a new order, whatever it is of: frozen prices and names, and the rules it is placed under."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from loyalty.orders.order import OrderKind, OrderState, order_number, pay_deadline
from loyalty.points.points import PointsProgramme, multiplier_bp
from loyalty.points.points_window import BoostOccasion
from loyalty.prices.pricing import Quote
from loyalty.shop_time import business_day
from loyalty.tiers.tier import TierLevel, TierTable
from models.base import Row
from models.bulk import insert, inserted
from models.engine import in_transaction, rows
from models.ids import new_id
from models.orders.order import Order, OrderEvent, OrderLine
from resolvers.deps import Deps
from resolvers.programme import InForce, for_ordering
from resolvers.tiers.tier import applies
from resolvers.tiers.tier_overlay import RUNNING


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


PLACING = f"""
SELECT membership.member_id, growth_value, tier_code, member.birthday, {RUNNING}
FROM membership JOIN member ON member.id = membership.member_id WHERE membership.member_id = ANY($1::uuid[])
"""
"""The columns for ``placed_by``, of the members ``$1`` at ``$2``."""


def placed_by(
    row: Mapping[str, Any], table: InForce[TierTable], programme: InForce[PointsProgramme], now: datetime
) -> PlacedUnder:
    """What an order of the member of a row of ``PLACING`` is placed under."""
    return PlacedUnder(
        tier=applies(row, table.rules, now), tier_version=table, programme=programme, birthday=row["birthday"]
    )


async def placed_under(member_id: UUID, now: datetime) -> PlacedUnder:
    """What an order of this member is placed under at ``now``, in two statements."""
    table, programme = await for_ordering(now)
    (row,) = await rows(PLACING, [[member_id], now])
    return placed_by(row, table, programme, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Unpaid orders of the same goods at the same price and under the same rules: what their rows have in common."""

    day: date
    order: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    event: Mapping[str, Any]

    @property
    def payable_fen(self) -> int:
        """What one of them costs."""
        found: int = self.order["payable_fen"]
        return found


def draft(
    deps: Deps,
    *,
    kind: OrderKind,
    quote: Quote,
    lines_of: Sequence[LineOf],
    under: PlacedUnder,
    remark: str,
    now: datetime,
) -> Draft:
    """Unpaid orders with their lines, one for each line of the quote."""
    day = business_day(now, deps.zone)
    pay_by = pay_deadline(now, deps.pay_window)
    occasion = BoostOccasion(day=day, birthday=under.birthday, tier_code=under.tier.code)
    order = {
        "kind": kind,
        "state": OrderState.UNPAID,
        "goods_fen": quote.goods_fen,
        "discount_fen": quote.discount_fen,
        "promotion_fen": quote.promotion_fen,
        "coupon_fen": quote.coupon_fen,
        "shipping_fen": quote.shipping_fen,
        "shipping_coupon_fen": quote.shipping_coupon_fen,
        "points_used": quote.points_used,
        "points_fen": quote.points_fen,
        "payable_fen": quote.payable_fen,
        "explain": [asdict(step) for step in quote.explain],
        "remark": remark,
        "tier_code": under.tier.code,
        "points_multiplier_bp": multiplier_bp(
            under.programme.rules, tier_bp=under.tier.points_multiplier_bp, occasion=occasion
        ),
        "tier_version_id": under.tier_version.version_id,
        "points_version_id": under.programme.version_id,
        "pay_by": pay_by,
        "close_due_at": pay_by,
        "created_at": now,
    }
    lines = [
        {
            "position": position,
            "sku_id": of.sku_id,
            "product_title": of.product_title,
            "sku_title": of.sku_title,
            "quantity": line.quantity,
            "list_price_fen": line.list_price_fen,
            "unit_price_fen": line.unit_price_fen,
            "goods_fen": line.goods_fen,
            "discount_fen": line.discount_fen,
            "promotion_fen": line.promotion_fen,
            "coupon_fen": line.coupon_fen,
            "points_fen": line.points_fen,
            "payable_fen": line.payable_fen,
            "no_reason_return": of.no_reason_return,
        }
        for position, (line, of) in enumerate(zip(quote.lines, lines_of, strict=True))
    ]
    details = {"payable_fen": quote.payable_fen, "points_used": quote.points_used}
    return Draft(day=day, order=order, lines=lines, event={"kind": "placed", "details": details, "at": now})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """The rows of an unpaid order that is not written yet, its lines and the first line of its timeline."""

    id: UUID
    order: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    event: Mapping[str, Any]

    def row(self) -> Order:
        """The order, once it is written."""
        return inserted(Order, self.order)


def compose(common: Draft, member_id: UUID, now: datetime) -> NewOrder:
    """The member's order by that draft."""
    order_id = new_id(now)
    own = {"id": order_id, "number": order_number(common.day, order_id), "member_id": member_id}
    return NewOrder(
        id=order_id,
        order={**common.order, **own},
        lines=[{**line, "id": new_id(now), "order_id": order_id} for line in common.lines],
        event={**common.event, "id": new_id(now), "order_id": order_id},
    )


async def write_orders(composed: Sequence[NewOrder], *with_them: tuple[type[Row], Sequence[Mapping[str, Any]]]) -> None:
    """Write these orders in one statement, however many they are, and rows of other tables that may refer to them.

    What the orders hold is up to the caller.
    """
    assert in_transaction(), "an order is written together with what it holds"
    await insert(
        (Order, [one.order for one in composed]),
        (OrderLine, [line for one in composed for line in one.lines]),
        (OrderEvent, [one.event for one in composed]),
        *with_them,
    )


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
    common = draft(deps, kind=kind, quote=quote, lines_of=lines_of, under=under, remark=remark, now=now)
    composed = compose(common, member_id, now)
    await write_orders([composed])
    return composed.row()
