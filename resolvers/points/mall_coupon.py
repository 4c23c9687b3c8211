"""Coupons that points buy: given when the exchange is paid, taken away again when it is given back unused."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from uuid import UUID

from loyalty.coupons import coupon_issue as issue_rule
from loyalty.coupons.coupon import CouponChannel, CouponEventKind, CouponNotOffered, CouponState
from models.coupons.coupon import Coupon
from models.engine import savepoint
from resolvers.coupons import coupon_issue as gate


async def admit(template_code: str | None, now: datetime) -> None:
    """Whether the template gives coupons out now. Raises: CouponNotOffered."""
    template = await gate.offered_template(code=template_code)
    if not template.offer().offered(now):
        raise CouponNotOffered


async def give(
    member_id: UUID, *, template_code: str | None, quantity: int, order_id: UUID, now: datetime, zone: tzinfo
) -> None:
    """Give the coupons of a paid exchange, all or none. The mall's own limits count, not those for a member.

    Raises: CouponNotOffered, CouponsGone.
    """
    async with savepoint():
        template = await gate.offered_template(code=template_code)
        good = issue_rule.admit_issue(template.terms, template.offer(), had_count=0, had_today=0, now=now, zone=zone)
        await gate.write(
            template,
            [(member_id, f"mall:{order_id}:{number}") for number in range(1, quantity + 1)],
            channel=CouponChannel.MALL,
            cause_id=order_id,
            good=good,
            now=now,
            zone=zone,
        )
        await gate.take(template, quantity, now=now, zone=zone)


async def given(order_id: UUID) -> Sequence[Coupon]:
    """The coupons that an exchange gave."""
    return await Coupon.filter(channel=CouponChannel.MALL, cause_id=order_id).order_by("id")


async def take_back(coupons: Sequence[Coupon], now: datetime) -> bool:
    """Take the coupons of an exchange away again; False, and nothing done, when one is used or on an order."""
    if any(coupon.state != CouponState.ISSUED for coupon in coupons):
        return False
    await gate.give_up(coupons, CouponState.VOID, CouponEventKind.VOIDED, now)
    return True
