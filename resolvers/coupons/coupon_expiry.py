"""Coupons that end: what the clock does to them."""

from datetime import datetime
from uuid import UUID

from loyalty.coupons.coupon import CouponEventKind, CouponState
from models.coupons.coupon import Coupon
from models.engine import retried, rows, transaction
from resolvers.coupons.coupon_issue import give_up
from resolvers.deps import Deps

MOST_AT_ONCE = 200


async def ended(deps: Deps, limit: int) -> list[UUID]:
    """Members with coupons that are over."""
    found = await rows(
        "SELECT DISTINCT member_id FROM (SELECT member_id FROM coupon WHERE due_at <= $1 ORDER BY due_at LIMIT $2) due",
        [deps.clock.now(), limit],
    )
    return [row["member_id"] for row in found]


@retried
async def expire(deps: Deps, *, member_id: UUID) -> int:
    """Expire the member's coupons that are over; how many. Harmless to repeat."""
    now: datetime = deps.clock.now()
    async with transaction(member_id):
        over = await Coupon.filter(member_id=member_id, due_at__lte=now).order_by("due_at").limit(MOST_AT_ONCE)
        await give_up(over, CouponState.EXPIRED, CouponEventKind.EXPIRED, now)
        return len(over)
