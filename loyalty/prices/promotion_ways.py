"""The ways to use promotions on an order with coupons: what to leave out of them, so that the whole costs least.

Source: docs/rules/promotion.md
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from uuid import UUID

from loyalty.coupons.coupon import MAX_COUPONS_PER_ORDER, CouponKind
from loyalty.coupons.coupon_choice import Joining, most_together
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon, covered_lines, most_off
from loyalty.prices.promotion import OfferedPromotion, Partner
from loyalty.prices.promotion_choice import Promoted, promote
from loyalty.prices.unit_price import PriceLine, TierTerms

MAX_WAYS = 16
"""So many ways are worked out; an order that has more gets the best of these."""

_LeftOut = frozenset[UUID]


def most_of_coupons(coupons: Sequence[HeldCoupon], lines: Sequence[PriceLine]) -> int:
    """No combination of these coupons takes more off the goods, in fen, whatever promotions leave of the lines."""
    whole = [
        CouponLine(
            product_id=line.product_id or line.sku_id,
            category_ids=line.category_ids,
            unit_price_fen=line.list_price_fen,
            payable_fen=line.list_price_fen * line.quantity,
        )
        for line in lines
    ]
    left = [*(line.payable_fen for line in whole), 0]
    found: list[Joining] = []
    for coupon in coupons:
        on = covered_lines(coupon.terms, whole)
        if coupon.terms.kind is not CouponKind.SHIPPING and sum(left[at] for at in on) >= coupon.terms.threshold_fen:
            found.append(Joining(len(found), coupon, most_off(coupon.terms, whole, on, left)))
    return most_together(found, MAX_COUPONS_PER_ORDER, sum(left))


class Ways:
    """All the ways to use promotions on these lines, by what is left out; those that make the goods cheapest first.

    To leave out a promotion that a way does not use is the same way, so each way leads to those that leave out one more
    of what it uses. Goods only get dearer by that, and ``most_off_fen`` is the most that coupons take off them.
    """

    def __init__(
        self,
        lines: Sequence[PriceLine],
        *,
        tier: TierTerms | None,
        promotions: Sequence[OfferedPromotion],
        most_off_fen: int,
        max_ways: int = MAX_WAYS,
    ) -> None:
        self._lines = lines
        self._tier = tier
        self._promotions = promotions
        self._most_off_fen = most_off_fen
        self._max_ways = max_ways
        self._seen: set[_LeftOut] = set()
        self._told: set[Promoted] = set()
        self._ahead: list[tuple[int, int, _LeftOut, Promoted | None]] = []
        self._numbers = count()
        self._worked_out = 0

    def first(self) -> Iterator[Promoted]:
        """All promotions, and those alone that go with coupons, if that is another way."""
        without = _LeftOut(one.id for one in self._promotions if not one.goes_with(Partner.COUPONS))
        both = dict.fromkeys((_LeftOut(), without))
        self._seen.update(both)
        for left_out in both:
            promoted = self._work_out(left_out)
            if self._is_new(left_out, promoted):
                yield promoted

    def another(self, best_fen: int) -> Promoted | None:
        """The next way; None when no other can cost less than ``best_fen``, what the best costs before points."""
        while self._ahead:
            least_fen, _, left_out, promoted = heappop(self._ahead)
            if least_fen - self._most_off_fen >= best_fen:
                return None
            if promoted is None:
                if self._worked_out == self._max_ways:
                    return None
                promoted = self._work_out(left_out)
                if self._ahead and promoted.payable_fen > self._ahead[0][0]:
                    heappush(self._ahead, (promoted.payable_fen, next(self._numbers), left_out, promoted))
                    continue
            if promoted.payable_fen - self._most_off_fen < best_fen and self._is_new(left_out, promoted):
                return promoted
        return None

    def _work_out(self, left_out: _LeftOut) -> Promoted:
        self._worked_out += 1
        return promote(
            self._lines, tier=self._tier, promotions=[one for one in self._promotions if one.id not in left_out]
        )

    def _is_new(self, left_out: _LeftOut, promoted: Promoted) -> bool:
        """Note where a way leads; False: it came out before."""
        for one in promoted.applied:
            wider = left_out | {one.promotion.id}
            if wider not in self._seen:
                self._seen.add(wider)
                heappush(self._ahead, (promoted.payable_fen, next(self._numbers), wider, None))
        is_new = promoted not in self._told
        self._told.add(promoted)
        return is_new
