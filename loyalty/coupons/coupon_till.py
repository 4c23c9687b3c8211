"""A coupon at the till of a shop: the code that is shown, what the coupon is worth there, and taking a use back.

Source: docs/rules/coupon_till.md
"""

from datetime import datetime, timedelta
from typing import Final

from loyalty.coupons.coupon import CouponNotUsable, UnusableReason
from loyalty.coupons.coupon_terms import MAX_COUPON_FEN, CouponKind
from loyalty.coupons.coupon_use import HeldCoupon
from loyalty.money import apply_bp
from loyalty.one_time_code import CodeKind
from loyalty.programme import Reason, invalid
from loyalty.refusal import Refusal

REVERSIBLE_FOR: Final = timedelta(hours=24)
MAX_PLACE: Final = 60
MAX_NOTE: Final = 200


class CouponTillCodeInvalid(Refusal):
    """No code that a till can use: unknown, used, or over. Which one is not told."""

    code = "COUPON_TILL_CODE_INVALID"
    zh = "券码无效或已过期，请刷新后重试"
    en = "The coupon's code is not valid or has ended; please show a new one."


TILL_CODE: Final = CodeKind(name="coupon_till", prefix="89", ttl=timedelta(minutes=2), invalid=CouponTillCodeInvalid)


class CouponNotForTill(Refusal):
    """A shipping coupon has nothing to take off in a shop."""

    code = "COUPON_NOT_FOR_TILL"
    zh = "包邮券不可到店使用"
    en = "A shipping coupon cannot be used in a shop."


class CouponTillAmountMissing(Refusal):
    """What the goods cost must be known."""

    code = "COUPON_TILL_AMOUNT_MISSING"
    zh = "请输入消费金额"
    en = "Enter what the goods cost."


class CouponTillUseNotFound(Refusal):
    """No such use at a till."""

    code = "COUPON_TILL_USE_NOT_FOUND"
    zh = "核销记录不存在"
    en = "There is no such use at a till."


class CouponTillUseFinal(Refusal):
    """It was taken back already, or its time is over."""

    code = "COUPON_TILL_USE_FINAL"
    zh = "该核销已撤销或已超过可撤销时间"
    en = "This use was taken back already, or can no longer be taken back."


def admit_words(*, place: str, note: str) -> None:
    """Whether a till's words can be kept: a place of 1 to 60 characters, a note of at most 200.

    Raises: ProgrammeInvalid, which names ``place`` or ``note``.
    """
    if not 1 <= len(place.strip()) <= MAX_PLACE:
        raise invalid("place", Reason(f"must be 1 to {MAX_PLACE} characters", f"须为 1 至 {MAX_PLACE} 个字符"))
    if len(note.strip()) > MAX_NOTE:
        raise invalid("note", Reason(f"must be at most {MAX_NOTE} characters", f"不能超过 {MAX_NOTE} 个字符"))


def till_worth(coupon: HeldCoupon, *, amount_fen: int | None, now: datetime) -> int | None:
    """What a coupon takes off goods of ``amount_fen`` (1 to 1,000,000,000) at a till; None for a piece of no price.

    Without an amount only an exchange coupon without a threshold can be used. The scope is for the staff to see.

    Raises, in this order: CouponNotForTill, CouponNotUsable (not available, not started, expired), ProgrammeInvalid
    (names ``amount``), CouponTillAmountMissing, CouponNotUsable (below the threshold, nothing left).
    """
    terms = coupon.terms
    if terms.kind is CouponKind.SHIPPING:
        raise CouponNotForTill()
    if not coupon.available:
        raise _unusable(coupon, UnusableReason.NOT_AVAILABLE)
    if now < coupon.usable_from:
        raise _unusable(coupon, UnusableReason.NOT_STARTED)
    if now >= coupon.expires_at:
        raise _unusable(coupon, UnusableReason.EXPIRED)
    if amount_fen is None:
        if terms.kind is not CouponKind.EXCHANGE or terms.threshold_fen:
            raise CouponTillAmountMissing()
        return None
    if not 1 <= amount_fen <= MAX_COUPON_FEN:
        raise invalid("amount", Reason(f"must be 1 to {MAX_COUPON_FEN}", f"须为 1 至 {MAX_COUPON_FEN}"))
    if amount_fen < terms.threshold_fen:
        raise _unusable(coupon, UnusableReason.BELOW_THRESHOLD, terms.threshold_fen - amount_fen)
    if terms.kind is CouponKind.AMOUNT:
        assert terms.amount_fen is not None, "an amount coupon has an amount"
        worth_fen = min(terms.amount_fen, amount_fen)
    elif terms.kind is CouponKind.PERCENT:
        assert terms.discount_bp is not None, "a percent coupon has a rate"
        worth_fen = apply_bp(amount_fen, terms.discount_bp)
    else:
        worth_fen = amount_fen
    if terms.cap_fen is not None:
        worth_fen = min(worth_fen, terms.cap_fen)
    if worth_fen == 0:
        raise _unusable(coupon, UnusableReason.NOTHING_LEFT)
    return worth_fen


def _unusable(coupon: HeldCoupon, reason: UnusableReason, missing_fen: int | None = None) -> CouponNotUsable:
    return CouponNotUsable(coupon_id=str(coupon.id), reason=reason.value, missing=missing_fen)


def admit_reversal(*, used_at: datetime, reversed_at: datetime | None, now: datetime) -> None:
    """Whether a use can be taken back: once, until before 24 hours have passed. Raises: CouponTillUseFinal."""
    if reversed_at is not None or now >= used_at + REVERSIBLE_FOR:
        raise CouponTillUseFinal()
