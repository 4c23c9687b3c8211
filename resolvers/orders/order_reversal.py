"""What a refund does to the books: points, coupons, growth value and stock, as if its pieces had never been bought.

Everything here runs inside the caller's transaction with the order's member locked, after the pieces were counted as
gone; each part of the books looks at what is gone and gives back what it may.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.payments.refund import CouponBack, PaidLine, PointsBack, RefundEffect, StockBack, stays, to_take_back
from loyalty.points.points import ClawBackMode, EntryKind, PointsProgramme
from loyalty.tiers.tier import GrowthEntryKind
from models.coupons.coupon import Coupon
from models.engine import rows
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.points.points import PointsAccount, PointsEntry
from models.tiers import growth_ledger
from models.tiers.tier import GrowthEntry, Membership
from resolvers.deps import Deps
from resolvers.orders import order_hold
from resolvers.points import points
from resolvers.programme import InForce, tier_table, version
from resolvers.tiers.growth import reverse_growth

_POINTS_BACK = """
SELECT draw.amount, lot.expires_at, kept.lot_id IS NULL AS renewed,
    CASE WHEN kept.lot_id IS NULL THEN lot.origin_id ELSE lot.id END AS lot_id
FROM points_entry entry
JOIN points_draw draw ON draw.entry_id = entry.id
JOIN points_lot lot ON lot.id = draw.lot_id
LEFT JOIN points_draw kept ON kept.entry_id = entry.reverses_id AND kept.lot_id = lot.id
WHERE entry.member_id = $1 AND entry.cause_id = $2 AND entry.seq > $3 AND entry.kind = 'spend_reversal'
ORDER BY lot.expires_at NULLS LAST, lot_id
"""

_TAKEN = """
SELECT coalesce(-sum(amount), 0)::bigint AS taken, coalesce(sum(debt_change), 0)::bigint AS owed FROM points_entry
WHERE member_id = $1 AND cause_id = $2 AND seq > $3 AND kind = 'earn_reversal'
"""

_GROWTH_TAKEN = """
SELECT coalesce(-sum(amount), 0)::bigint AS taken FROM growth_entry
WHERE member_id = $1 AND cause_id = $2 AND seq > $3 AND kind = 'earn_reversal'
"""

_STOCK_BACK = """
SELECT line.sku_id, sum(gone.restocked_count)::int AS quantity FROM order_refund_line gone
JOIN order_line line ON line.id = gone.line_id
WHERE gone.order_refund_id = $1 AND line.sku_id IS NOT NULL AND gone.restocked_count > 0
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """Where the member stood before the refund."""

    points_seq: int
    growth_seq: int
    tier_code: str
    coupons: dict[UUID, datetime]


async def reverse(
    deps: Deps,
    order: Order,
    part: OrderRefund,
    lines: Sequence[PaidLine],
    *,
    now: datetime,
    mode: ClawBackMode,
    shared: bool = True,
) -> RefundEffect:
    """Give back and take back what the part is about, and say what was done. ``lines`` count it as gone.

    Without ``shared`` nothing is written that other members want too: so a preview keeps nobody waiting.

    Raises:
        ClawBackBlocked: the mode is ``block`` and points are missing.
    """
    before = await _before(order)
    await order_hold.give_back_own(deps, order, now)
    demanded = await _take_points(order, part, lines, now=now, mode=mode)
    await _take_growth(deps, order, part, lines, now)
    if shared:
        await order_hold.give_back_shared(deps, order, now)
    return await _observed(order, part, before, demanded)


async def _before(order: Order) -> _Before:
    account = await PointsAccount.get(member_id=order.member_id)
    membership = await Membership.get(member_id=order.member_id)
    return _Before(
        points_seq=account.seq,
        growth_seq=membership.seq,
        tier_code=membership.tier_code,
        coupons={row.id: row.expires_at for row in await Coupon.filter(order_id=order.id)},
    )


async def _take_points(
    order: Order, part: OrderRefund, lines: Sequence[PaidLine], *, now: datetime, mode: ClawBackMode
) -> int:
    earned = await PointsEntry.get_or_none(
        member_id=order.member_id, cause_kind="order", cause_id=order.id, kind=EntryKind.EARN
    )
    if earned is None:
        return 0
    settled = await rows(
        "SELECT coalesce(sum(earned_reversed), 0)::bigint AS amount FROM order_refund WHERE order_id = $1", [order.id]
    )
    left = await points.left_of_earned(order.member_id, cause_kind="order", cause_id=order.id, now=now)
    demanded = to_take_back(stay=stays(earned.amount, lines, {}), left=max(0, left - settled[0]["amount"]))
    if demanded:
        programme: InForce[PointsProgramme] = await version("points", order.points_version_id)
        await points.take_back(
            order.member_id,
            cause_kind="order",
            cause_id=order.id,
            amount=demanded,
            key=f"order_refund:{part.id}:take_back",
            now=now,
            programme=programme,
            mode=mode,
        )
    return demanded


async def _take_growth(deps: Deps, order: Order, part: OrderRefund, lines: Sequence[PaidLine], now: datetime) -> None:
    given = await GrowthEntry.filter(member_id=order.member_id, cause_id=order.id, kind=GrowthEntryKind.EARN)
    left = await growth_ledger.left_of(order.member_id, order.id)
    await reverse_growth(
        order.member_id,
        cause_id=order.id,
        amount=to_take_back(stay=stays(sum(entry.amount for entry in given), lines, {}), left=left),
        key=f"order_refund:{part.id}:growth_back",
        now=now,
        zone=deps.zone,
        table=await tier_table(now),
    )


async def _observed(order: Order, part: OrderRefund, before: _Before, demanded: int) -> RefundEffect:
    member = [order.member_id, order.id]
    programme: InForce[PointsProgramme] = await version("points", order.points_version_id)
    taken = (await rows(_TAKEN, [*member, before.points_seq]))[0]
    growth = (await rows(_GROWTH_TAKEN, [*member, before.growth_seq]))[0]
    membership = await Membership.get(member_id=order.member_id)
    free = await Coupon.filter(id__in=list(before.coupons), order_id__isnull=True).order_by("id")
    return RefundEffect(
        cash_fen=part.amount_fen,
        shipping_fen=part.shipping_fen,
        points_back=tuple(PointsBack(**row) for row in await rows(_POINTS_BACK, [*member, before.points_seq])),
        coupons_back=tuple(
            CouponBack(coupon_id=row.id, expires_at=row.expires_at, extended=row.expires_at > before.coupons[row.id])
            for row in free
        ),
        claw_back=programme.rules.clawback_mode,
        points_taken=taken["taken"],
        points_owed=taken["owed"],
        points_forgiven=demanded - taken["taken"] - taken["owed"],
        growth_taken=growth["taken"],
        tier_before=before.tier_code,
        tier_after=membership.tier_code,
        stock_back=tuple(StockBack(**row) for row in await rows(_STOCK_BACK, [part.id])),
    )
