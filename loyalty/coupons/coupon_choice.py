"""The best combination of coupons for a cart: exact by branch and bound, with an explanation of every coupon.

Source: docs/rules/coupon.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from loyalty.coupons.coupon_terms import MAX_COUPONS_PER_ORDER
from loyalty.coupons.coupon_use import (
    AppliedCoupon,
    CouponLine,
    HeldCoupon,
    Unusable,
    apply_coupons,
    combinable,
    covered_lines,
    face_wasted,
    most_off,
    payable,
    take_off,
    unusable,
)

MAX_STEPS = 50_000
"""So often a coupon is weighed up; a cart that needs more gets the best that was found, and is told so."""


class Verdict(StrEnum):
    """What became of a coupon when the best combination was looked for."""

    APPLIED = "applied"
    NOT_CHOSEN = "not_chosen"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponVerdict:
    """One coupon of the plan. ``alone_fen`` is what it would take off by itself, None when it cannot be used."""

    coupon: HeldCoupon
    verdict: Verdict
    discount_fen: int = 0
    alone_fen: int | None = None
    why: Unusable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The best combination. ``exact`` False: the search was cut short, and a better one may exist.

    Of an order with promotions, ``exact`` is about both: the promotions that are used beside coupons, and the coupons.
    """

    applied: tuple[AppliedCoupon, ...]
    discount_fen: int
    exact: bool
    verdicts: tuple[CouponVerdict, ...]


_Rank = tuple[int, tuple[datetime, ...], int, tuple[UUID, ...]]


def rank(chosen: Sequence[HeldCoupon], applied: Sequence[AppliedCoupon]) -> _Rank:
    """How good a combination is, the least first: most taken off, soonest to expire, least face wasted, ids."""
    return (
        -sum(one.discount_fen for one in applied),
        tuple(sorted(coupon.expires_at for coupon in chosen)),
        face_wasted(chosen, applied),
        tuple(sorted(coupon.id for coupon in chosen)),
    )


def best_plan(
    coupons: Sequence[HeldCoupon],
    lines: Sequence[CouponLine],
    *,
    now: datetime,
    shipping_fen: int = 0,
    max_steps: int = MAX_STEPS,
) -> Plan:
    """The coupons that take the most off these lines and their shipping together, and what became of the others.

    ``shipping_fen`` is the fee before coupons, 0 while it is not known. Of combinations that take the same, the one
    whose coupons end sooner; then the one that wastes less face value. A coupon that would find nothing left is never
    used.
    """
    reasons = {coupon.id: unusable(coupon, lines, now=now, shipping_fen=shipping_fen) for coupon in coupons}
    usable = sorted((coupon for coupon in coupons if reasons[coupon.id] is None), key=HeldCoupon.position)
    whole = payable(lines, shipping_fen)
    search = _Search(usable, lines, shipping_fen, max_steps)
    search.greedy()
    search.walk(0, (), whole, 0)
    applied = apply_coupons(search.best, lines, shipping_fen=shipping_fen)
    taken = {one.coupon_id: one.discount_fen for one in applied}
    verdicts = []
    for coupon in sorted(coupons, key=HeldCoupon.position):
        why = reasons[coupon.id]
        if why is not None:
            verdicts.append(CouponVerdict(coupon=coupon, verdict=Verdict.UNUSABLE, why=why))
            continue
        verdicts.append(
            CouponVerdict(
                coupon=coupon,
                verdict=Verdict.APPLIED if coupon.id in taken else Verdict.NOT_CHOSEN,
                discount_fen=taken.get(coupon.id, 0),
                alone_fen=most_off(coupon.terms, lines, covered_lines(coupon.terms, lines), whole),
            )
        )
    return Plan(
        applied=applied,
        discount_fen=sum(taken.values()),
        exact=search.steps <= max_steps,
        verdicts=tuple(verdicts),
    )


class _Search:
    """Depth first over the usable coupons in the order in which they apply, so that what is left is always known."""

    def __init__(
        self, usable: Sequence[HeldCoupon], lines: Sequence[CouponLine], shipping_fen: int, max_steps: int
    ) -> None:
        self.usable = usable
        self.covered = [covered_lines(coupon.terms, lines) for coupon in usable]
        self.lines = lines
        self.shipping_fen = shipping_fen
        self.max_steps = max_steps
        self.steps = 0
        self.best: tuple[HeldCoupon, ...] = ()
        self.best_rank = rank((), ())

    def greedy(self) -> None:
        """Coupon after coupon, each time the one that adds most: the answer to beat."""
        chosen: tuple[HeldCoupon, ...] = ()
        while True:
            before = self.best
            for coupon in self.usable:
                if coupon not in chosen and combinable(coupon, chosen):
                    self._offer((*chosen, coupon))
            if self.best is before:
                return
            chosen = self.best

    def _offer(self, chosen: tuple[HeldCoupon, ...]) -> None:
        """Take the combination if it is better than the best. One with a coupon that finds nothing left is not."""
        applied = apply_coupons(chosen, self.lines, shipping_fen=self.shipping_fen)
        found = rank(chosen, applied)
        if found < self.best_rank and all(one.discount_fen for one in applied):
            self.best, self.best_rank = chosen, found

    def walk(self, start: int, chosen: tuple[HeldCoupon, ...], left: Sequence[int], taken: int) -> None:
        """Every way to add coupons from ``start`` on; ``left`` is what the chosen leave of each line and the fee."""
        if self.steps > self.max_steps or len(chosen) == MAX_COUPONS_PER_ORDER:
            return
        joining = []
        for at in range(start, len(self.usable)):
            coupon = self.usable[at]
            if combinable(coupon, chosen):
                self.steps += 1
                gain = most_off(coupon.terms, self.lines, self.covered[at], left)
                if gain:
                    joining.append(Joining(at, coupon, gain))
        skipped: set[tuple[UUID, int]] = set()
        for index, (at, coupon, gain) in enumerate(joining):
            # Later ones can only take less than now, because there is less left for them.
            if (
                taken + most_together(joining[index:], MAX_COUPONS_PER_ORDER - len(chosen), sum(left))
                < -self.best_rank[0]
            ):
                return
            same = (coupon.template_id, coupon.version)
            if same in skipped:
                # One of the same terms that ends sooner could have been used in its place.
                continue
            skipped.add(same)
            wider = (*chosen, coupon)
            if taken + gain >= -self.best_rank[0]:
                self._offer(wider)
            shares = take_off(coupon.terms, self.lines, self.covered[at], left)
            self.walk(at + 1, wider, [a - b for a, b in zip(left, shares, strict=True)], taken + gain)


class Joining(NamedTuple):
    """A coupon that may join, and what it would take off now."""

    at: int
    coupon: HeldCoupon
    gain: int


def most_together(joining: Sequence[Joining], places: int, left: int) -> int:
    """No combination of these takes more. Of a group whose coupons do not go together only one counts."""
    alone: dict[str, int] = {}
    gains: list[int] = []
    for _, coupon, gain in joining:
        terms = coupon.terms
        if terms.exclusive or terms.group not in terms.combines_with:
            alone[terms.group] = max(gain, alone.get(terms.group, 0))
        else:
            gains.append(gain)
    return min(sum(sorted([*gains, *alone.values()], reverse=True)[:places]), left)
