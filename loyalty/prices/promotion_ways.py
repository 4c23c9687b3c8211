"""The ways to use promotions on an order with coupons: what to leave out of them, so that the whole costs least.

Source: docs/rules/promotion.md
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from loyalty.coupons.coupon_choice import Joining, most_together
from loyalty.coupons.coupon_terms import MAX_COUPONS_PER_ORDER, CouponKind
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon, covered_lines, most_off
from loyalty.prices.pricing import coupon_lines
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Cart, Promoted
from loyalty.prices.promotion_choice import EveryWay, promote
from loyalty.prices.promotion_terms import Partner
from loyalty.prices.unit_price import PriceLine, TierTerms

MAX_WAYS = 16
"""So many ways are worked out with coupons; an order that has more gets the best of these."""


class Ways:
    """The ways to use promotions on these lines that may be best with coupons, those with the cheapest goods first.

    ``exact`` False: there were more than ``max_ways``, or more to price than are priced.
    """

    def __init__(
        self,
        lines: Sequence[PriceLine],
        *,
        tier: TierTerms | None,
        promotions: Sequence[OfferedPromotion],
        coupons: Sequence[HeldCoupon],
        max_ways: int = MAX_WAYS,
    ) -> None:
        self._lines = lines
        self._tier = tier
        self._promotions = promotions
        self._every = EveryWay(Cart(lines, tier, promotions))
        self._coupons = _Coupons(coupons, lines)
        self._left = max_ways
        self._told: set[frozenset[UUID]] = set()

    @property
    def exact(self) -> bool:
        """Whether no way was passed over that could have cost less."""
        return self._left >= 0 and self._every.exact

    def first(self) -> Iterator[Promoted]:
        """All promotions, and those alone that go with coupons, if that is another way."""
        with_coupons = [one for one in self._promotions if one.goes_with(Partner.COUPONS)]
        for found in (self._every.cheapest(), promote(self._lines, tier=self._tier, promotions=with_coupons)):
            if self._is_new(found):
                self._left -= 1
                yield found

    def another(self, best_fen: int) -> Promoted | None:
        """The next way; None when no other can cost less than ``best_fen``, what the best costs before points.

        When there are more than can be looked at, the last is the one without any promotion: its goods reach the most.
        """
        while (found := self._every.next(best_fen + self._coupons.most_fen)) is not None:
            if self._may_be_best(found, best_fen):
                return self._within(found)
        bare = self._every.bare()
        return self._within(bare) if not self._every.exact and self._may_be_best(bare, best_fen) else None

    def _may_be_best(self, promoted: Promoted, best_fen: int) -> bool:
        most_fen = self._coupons.most_off(coupon_lines(self._lines, promoted))
        return promoted.payable_fen - most_fen < best_fen and self._is_new(promoted)

    def _within(self, promoted: Promoted) -> Promoted | None:
        self._left -= 1
        return promoted if self._left >= 0 else None

    def _is_new(self, promoted: Promoted) -> bool:
        used = frozenset(one.promotion.id for one in promoted.applied)
        is_new = used not in self._told
        self._told.add(used)
        return is_new


class _Coupons:
    """The most that coupons can take off the goods of a cart. ``most_fen``: whatever promotions leave of it."""

    def __init__(self, coupons: Sequence[HeldCoupon], lines: Sequence[PriceLine]) -> None:
        whole = [
            CouponLine(
                product_id=line.product_id or line.sku_id,
                category_ids=line.category_ids,
                unit_price_fen=line.list_price_fen,
                payable_fen=line.list_price_fen * line.quantity,
            )
            for line in lines
        ]
        self._covered = [
            (coupon, covered_lines(coupon.terms, whole))
            for coupon in coupons
            if coupon.terms.kind is not CouponKind.SHIPPING
        ]
        self.most_fen = self.most_off(whole)

    def most_off(self, lines: Sequence[CouponLine]) -> int:
        """No combination of the coupons takes more off these lines, in fen."""
        left = [*(line.payable_fen for line in lines), 0]
        found = [
            Joining(at, coupon, most_off(coupon.terms, lines, on, left))
            for at, (coupon, on) in enumerate(self._covered)
            if sum(left[line] for line in on) >= coupon.terms.threshold_fen
        ]
        return most_together(found, MAX_COUPONS_PER_ORDER, sum(left))
