"""What a payment means for the store: the order is paid, points are spent and earned, growth value comes.

Everything here runs inside the caller's transaction with the order's member locked.
"""

from datetime import datetime
from uuid import UUID

from loyalty.coupons.coupon import CouponNotOffered, CouponNotUsable
from loyalty.group_buys.group_buy import GroupLimitReached, GroupNewcomersOnly, GroupTeamFull, GroupTeamOver
from loyalty.orders.order import OrderKind, OrderState, OutOfStock, PurchaseLimitReached
from loyalty.points import points as points_rule
from loyalty.points.points import EntryKind, PointsProgramme, PointsShort
from loyalty.points.points_mall import MallLimitReached
from loyalty.prices.promotion import PromotionGone
from loyalty.tiers.tier import GrowthEntryKind, TierNotFound, TierTable, growth_for
from loyalty.tiers.tier_overlay import TierTrialRefused
from models.engine import savepoint
from models.orders.order import Order
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.orders import order_hold
from resolvers.orders.order_row import note, step
from resolvers.orders.order_stock import admit_again
from resolvers.points import points
from resolvers.points.mall_exchange import admit_revival, deliver
from resolvers.programme import InForce, tier_table, version
from resolvers.referrals.referral_reward import order_settled
from resolvers.tiers.growth import grow


async def book(deps: Deps, order: Order, *, paid_fen: int, now: datetime) -> None:
    """The order is paid: what it held is spent, what it earns is credited under the rules it was placed with.

    Points, growth value and what a referral rests on are earned with goods; what shipping cost earns nothing.
    """
    goods_fen = paid_fen - (order.shipping_fen - order.shipping_coupon_fen)
    await step(order, OrderState.PAID, paid_at=now, close_due_at=None, closed_at=None)
    await note(order.id, "paid", now, paid_fen=paid_fen)
    programme: InForce[PointsProgramme] = await version("points", order.points_version_id)
    await order_hold.post_own(deps, order, now)
    earned = points_rule.earn(programme.rules, paid_fen=goods_fen, multiplier_bp=order.points_multiplier_bp)
    earned = await points.within_caps(order.member_id, programme.rules, earned, now=now, zone=deps.zone)
    if earned:
        await points.credit(
            order.member_id,
            amount=earned,
            kind=EntryKind.EARN,
            cause_kind="order",
            cause_id=order.id,
            key=f"order:{order.id}:earn",
            now=now,
            zone=deps.zone,
            programme=programme,
            opens_at=points_rule.available_at(programme.rules, now),
        )
    placed_with: InForce[TierTable] = await version("tier", order.tier_version_id)
    await grow(
        order.member_id,
        amount=growth_for(placed_with.rules, goods_fen),
        kind=GrowthEntryKind.EARN,
        cause_kind="order",
        cause_id=order.id,
        key=f"order:{order.id}:growth",
        now=now,
        zone=deps.zone,
        table=await tier_table(now),
    )
    await deliver(order, now=now, zone=deps.zone)
    if order.kind != OrderKind.GROUP:
        await fulfilment.begin(order, now)
    await order_settled(order, paid_fen=goods_fen, now=now)
    await order_hold.post_shared(deps, order, now)


async def revive(deps: Deps, order: Order, *, payment_id: UUID, paid_fen: int, now: datetime) -> bool:
    """Pay an order that had been closed, if everything that it held can be had again; else change nothing.

    What it takes from stock is booked on the payment, because the order's own hold was released.
    """
    try:
        async with savepoint():
            await admit_again(order)
            await admit_revival(order, now)
            await note(order.id, "revived", now)
            await order_hold.hold(deps, order, payment_id, now)
            await book(deps, order, paid_fen=paid_fen, now=now)
    except (
        OutOfStock,
        PurchaseLimitReached,
        PointsShort,
        PromotionGone,
        CouponNotUsable,
        CouponNotOffered,
        GroupNewcomersOnly,
        GroupLimitReached,
        GroupTeamFull,
        GroupTeamOver,
        MallLimitReached,
        TierNotFound,
        TierTrialRefused,
    ):
        await order.refresh_from_db()
        return False
    return True
