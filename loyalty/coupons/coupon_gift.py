"""Giving a coupon to a friend: what can be given, for how long, and who can take it.

Source: docs/rules/coupon_gift.md
"""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from loyalty.coupons.coupon import CouponState, CouponStateRefused
from loyalty.coupons.coupon_terms import CouponTerms
from loyalty.refusal import Refusal


class GiftState(StrEnum):
    """Where a gift stands. Only an offered one can change, once."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class CouponNotGivable(Refusal):
    """The terms let a coupon be given on ``limit`` times, and it was ``given``."""

    code = "COUPON_NOT_GIVABLE"
    zh = "该优惠券不可转赠"
    en = "This coupon cannot be given to a friend."


class CouponGiftInvalid(Refusal):
    """No such token, or its gift was taken, taken back, or has ended: which one is not told."""

    code = "COUPON_GIFT_INVALID"
    zh = "赠券已被领取或已失效"
    en = "This gift was taken already or has ended."


class CouponGiftOwn(Refusal):
    """The giver opened the link."""

    code = "COUPON_GIFT_OWN"
    zh = "不能领取自己赠送的优惠券"
    en = "You cannot take a coupon that you are giving away."


class CouponGiftNotFound(Refusal):
    """No such gift of this member."""

    code = "COUPON_GIFT_NOT_FOUND"
    zh = "赠券记录不存在"
    en = "There is no such gift."


class CouponGiftEnded(Refusal):
    """There is nothing to take back."""

    code = "COUPON_GIFT_ENDED"
    zh = "赠券已被领取或已退回"
    en = "The gift was taken or has come back already."


def admit_gift(
    terms: CouponTerms, *, state: CouponState, gift_count: int, expires_at: datetime, now: datetime
) -> datetime:
    """Whether a coupon can be offered at ``now``, and until before when a friend can take it.

    ``gift_count`` is how often it was given on. Raises, in this order: CouponStateRefused (also when it has ended),
    CouponNotGivable.
    """
    if state is not CouponState.ISSUED:
        raise CouponStateRefused(state=state.value)
    if now >= expires_at:
        raise CouponStateRefused(state=CouponState.EXPIRED.value)
    if gift_count >= terms.gift_limit:
        raise CouponNotGivable(limit=terms.gift_limit, given=gift_count)
    return min(now + timedelta(hours=terms.gift_hours), expires_at)


def admit_acceptance(*, state: GiftState, expires_at: datetime, giver_id: UUID, friend_id: UUID, now: datetime) -> None:
    """Whether a friend can take a gift. Raises, in this order: CouponGiftOwn, CouponGiftInvalid."""
    if giver_id == friend_id:
        raise CouponGiftOwn()
    if state is not GiftState.OFFERED or now >= expires_at:
        raise CouponGiftInvalid()


def admit_withdrawal(state: GiftState) -> None:
    """Whether the giver can take a gift back. Raises: CouponGiftEnded."""
    if state is not GiftState.OFFERED:
        raise CouponGiftEnded()
