"""Using coupons: when one can be used on a cart, what it takes off, and which go together.

Which of the usable ones are best is decided in ``loyalty.coupons.coupon_choice``.

Source: docs/rules/coupon.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.coupons.coupon import (
    CouponNotUsable,
    CouponsNotCombinable,
    TooManyCoupons,
    UnusableReason,
)
from loyalty.coupons.coupon_terms import APPLY_ORDER, MAX_COUPONS_PER_ORDER, CouponKind, CouponTerms
from loyalty.money import apply_bp, prorate


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponLine:
    """A line of the cart as coupons see it: after member price or tier discount, before points. Prices in fen."""

    product_id: UUID
    category_ids: frozenset[UUID] = frozenset()
    unit_price_fen: int
    payable_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCoupon:
    """A member's coupon. ``available``: issued, and not on another order."""

    id: UUID
    template_id: UUID
    template_code: str
    version: int
    terms: CouponTerms
    usable_from: datetime
    expires_at: datetime
    available: bool = True

    def position(self) -> tuple[int, UUID, int, datetime, UUID]:
        """Its place among the coupons of an order: kind, older template, older terms, sooner end."""
        return (APPLY_ORDER.index(self.terms.kind), self.template_id, self.version, self.expires_at, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Why a coupon takes nothing off; ``missing_fen`` is what the goods in scope lack to the threshold."""

    reason: UnusableReason
    missing_fen: int | None = None


def unusable(
    coupon: HeldCoupon, lines: Sequence[CouponLine], *, now: datetime, shipping_fen: int = 0
) -> Unusable | None:
    """Why this coupon alone cannot be used on these lines; None if it can. The first of the reasons that applies.

    The threshold is measured on what the lines in scope cost before any coupon; reaching it exactly is enough.
    ``shipping_fen`` is the shipping fee, 0 while it is not known.
    """
    if not coupon.available:
        return Unusable(reason=UnusableReason.NOT_AVAILABLE)
    if now < coupon.usable_from:
        return Unusable(reason=UnusableReason.NOT_STARTED)
    if now >= coupon.expires_at:
        return Unusable(reason=UnusableReason.EXPIRED)
    covered = [line for line in lines if coupon.terms.scope.covers(line.product_id, line.category_ids)]
    if not covered:
        return Unusable(reason=UnusableReason.OUT_OF_SCOPE)
    missing_fen = coupon.terms.threshold_fen - sum(line.payable_fen for line in covered)
    if missing_fen > 0:
        return Unusable(reason=UnusableReason.BELOW_THRESHOLD, missing_fen=missing_fen)
    if coupon.terms.kind is CouponKind.SHIPPING and shipping_fen == 0:
        return Unusable(reason=UnusableReason.NO_SHIPPING_FEE)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedCoupon:
    """What one coupon takes off an order in fen, altogether, off each line, and off the shipping fee."""

    coupon_id: UUID
    template_code: str
    discount_fen: int
    shares: tuple[int, ...]
    shipping_fen: int = 0


def covered_lines(terms: CouponTerms, lines: Sequence[CouponLine]) -> tuple[int, ...]:
    """The positions of the lines that a coupon takes something off; that of the shipping fee is after the last."""
    if terms.kind is CouponKind.SHIPPING:
        return (len(lines),)
    return tuple(at for at, line in enumerate(lines) if terms.scope.covers(line.product_id, line.category_ids))


def most_off(terms: CouponTerms, lines: Sequence[CouponLine], covered: Sequence[int], left: Sequence[int]) -> int:
    """What a coupon takes off the ``covered`` lines altogether, of which ``left`` fen each are still to pay.

    The last of ``left`` is the shipping fee. An amount takes up to its face, a percentage its part rounded half up and
    up to its cap. An exchange takes the price of one piece of the dearest line, and a shipping coupon the fee, up to
    their caps.
    """
    if terms.kind is CouponKind.EXCHANGE:
        total = max((min(lines[at].unit_price_fen, left[at]) for at in covered), default=0)
    else:
        whole = sum(left[at] for at in covered)
        if terms.kind is CouponKind.AMOUNT:
            assert terms.amount_fen is not None, "an amount coupon has an amount"
            total = min(terms.amount_fen, whole)
        elif terms.kind is CouponKind.SHIPPING:
            total = whole
        else:
            assert terms.discount_bp is not None, "a percent coupon has a rate"
            total = apply_bp(whole, terms.discount_bp)
    return total if terms.cap_fen is None else min(total, terms.cap_fen)


def take_off(terms: CouponTerms, lines: Sequence[CouponLine], covered: Sequence[int], left: Sequence[int]) -> list[int]:
    """What a coupon takes off each of the lines: ``most_off``, shared over the covered ones by what is left of them.

    The last share is that of the shipping fee. Largest remainder, earlier line first. An exchange is about one line; of
    equally dear ones the earlier.
    """
    shares = [0] * len(left)
    total = most_off(terms, lines, covered, left)
    if total == 0:
        return shares
    if terms.kind is CouponKind.EXCHANGE:
        dearest = max(covered, key=lambda at: (min(lines[at].unit_price_fen, left[at]), -at))
        shares[dearest] = total
        return shares
    for at, share in zip(covered, prorate(total, [left[at] for at in covered]), strict=True):
        shares[at] = share
    return shares


def payable(lines: Sequence[CouponLine], shipping_fen: int) -> list[int]:
    """What is to pay before coupons: for each of the lines, and for shipping last."""
    return [*(line.payable_fen for line in lines), shipping_fen]


def apply_coupons(
    coupons: Sequence[HeldCoupon], lines: Sequence[CouponLine], *, shipping_fen: int = 0
) -> tuple[AppliedCoupon, ...]:
    """Apply coupons to lines in their fixed order, whatever order they are given in; each sees what is left."""
    left = payable(lines, shipping_fen)
    applied = []
    for coupon in sorted(coupons, key=HeldCoupon.position):
        shares = take_off(coupon.terms, lines, covered_lines(coupon.terms, lines), left)
        left = [rest - share for rest, share in zip(left, shares, strict=True)]
        applied.append(
            AppliedCoupon(
                coupon_id=coupon.id,
                template_code=coupon.template_code,
                discount_fen=sum(shares),
                shares=tuple(shares[:-1]),
                shipping_fen=shares[-1],
            )
        )
    return tuple(applied)


def most_of_template(coupons: Sequence[HeldCoupon]) -> int:
    """How many coupons of one template may be on an order, by the strictest of their terms."""
    return min(coupon.terms.max_per_order for coupon in coupons)


def combinable(coupon: HeldCoupon, others: Sequence[HeldCoupon]) -> bool:
    """Whether a coupon may join these on one order, as far as groups and the numbers of its template go."""
    same = [coupon, *(other for other in others if other.template_id == coupon.template_id)]
    if len(same) > most_of_template(same) or len(others) >= MAX_COUPONS_PER_ORDER:
        return False
    return all(coupon.terms.combines(other.terms) for other in others)


def admit_coupons(
    coupons: Sequence[HeldCoupon], lines: Sequence[CouponLine], *, now: datetime, shipping_fen: int = 0
) -> tuple[AppliedCoupon, ...]:
    """What the coupons that a member chose take off these lines and off the fee ``shipping_fen``.

    Raises, in this order: TooManyCoupons (altogether), then coupon by coupon in their fixed order CouponNotUsable,
    TooManyCoupons (of one template), CouponsNotCombinable, and at last CouponNotUsable for one that finds nothing left.
    """
    if len(coupons) > MAX_COUPONS_PER_ORDER:
        raise TooManyCoupons(most=MAX_COUPONS_PER_ORDER)
    chosen: list[HeldCoupon] = []
    for coupon in sorted(coupons, key=HeldCoupon.position):
        why = unusable(coupon, lines, now=now, shipping_fen=shipping_fen)
        if why is not None:
            raise CouponNotUsable(coupon_id=str(coupon.id), reason=why.reason.value, missing=why.missing_fen)
        same = [coupon, *(other for other in chosen if other.template_id == coupon.template_id)]
        if len(same) > most_of_template(same):
            raise TooManyCoupons(most=most_of_template(same))
        for other in chosen:
            if not coupon.terms.combines(other.terms):
                raise CouponsNotCombinable(coupon_id=str(coupon.id), other_id=str(other.id))
        chosen.append(coupon)
    applied = apply_coupons(chosen, lines, shipping_fen=shipping_fen)
    for one in applied:
        if one.discount_fen == 0:
            raise CouponNotUsable(coupon_id=str(one.coupon_id), reason=UnusableReason.NOTHING_LEFT.value, missing=None)
    return applied


def face_wasted(coupons: Sequence[HeldCoupon], applied: Sequence[AppliedCoupon]) -> int:
    """How much of the face values of amount coupons an order leaves unused, in fen."""
    faces = {coupon.id: coupon.terms.amount_fen for coupon in coupons}
    return sum(face - one.discount_fen for one in applied if (face := faces[one.coupon_id]) is not None)
