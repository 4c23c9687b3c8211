"""What one promotion of the whole order takes off, and how that is shared over lines.

Source: docs/rules/promotion.md
"""

from collections.abc import Sequence
from dataclasses import dataclass

from loyalty.money import apply_bp, prorate
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_terms import PromotionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPromotion:
    """What one promotion takes off an order in fen, altogether and of each line, and how often it is used for that."""

    promotion: OfferedPromotion
    uses: int
    discount_fen: int
    shares: tuple[int, ...]


@dataclass(slots=True)
class Pieces:
    """So many pieces of one line at one price."""

    line: int
    count: int
    price_fen: int


def take_off(
    promotion: OfferedPromotion, off_fen: int, uses: int, weights: dict[int, int], lines: int
) -> AppliedPromotion:
    """Share what comes off over lines by their weights, as far as there is something left of them and of the budget."""
    total = min(off_fen, sum(weights.values()))
    if promotion.budget_left_fen is not None:
        total = min(total, promotion.budget_left_fen)
    shares = [0] * lines
    if total:
        for at, share in zip(weights, prorate(total, list(weights.values())), strict=True):
            shares[at] = share
    return AppliedPromotion(promotion=promotion, uses=uses, discount_fen=total, shares=tuple(shares))


def take_off_sets(promotion: OfferedPromotion, pieces: Sequence[Pieces], lines: int) -> AppliedPromotion:
    """What a bundle or ``pieces`` takes off these pieces of so many lines."""
    if promotion.terms.kind is PromotionKind.BUNDLE:
        off_fen, uses, weights = _bundles(promotion, pieces)
    else:
        off_fen, uses, weights = _rewarded(promotion, pieces)
    return take_off(promotion, off_fen, uses, weights, lines)


def _bundles(promotion: OfferedPromotion, pieces: Sequence[Pieces]) -> tuple[int, int, dict[int, int]]:
    """What bundles save: the dearest pieces first, as long as a bundle is cheaper than its pieces."""
    size, price_fen = promotion.terms.pieces, promotion.terms.price_fen
    assert size is not None, "a bundle has a size"
    assert price_fen is not None, "a bundle has a price"
    most = sum(some.count for some in pieces) // size
    if promotion.uses_left is not None:
        most = min(most, promotion.uses_left)
    waiting = [[some.line, some.count, some.price_fen] for some in sorted(pieces, key=_dearest)]
    off_fen, weights, at, uses = 0, dict.fromkeys(sorted({some.line for some in pieces}), 0), 0, 0
    while uses < most:
        taken, need, cursor = [], size, at
        while need:
            line, count, each_fen = waiting[cursor]
            some = min(count, need)
            taken.append((cursor, line, some, each_fen))
            need -= some
            cursor += 1
        whole_fen = sum(some * each_fen for _, _, some, each_fen in taken)
        if whole_fen <= price_fen:
            break
        # As many bundles at once as are made of the same pieces.
        again = min([waiting[cursor][1] // some for cursor, _, some, _ in taken] + [most - uses])
        for cursor, line, some, each_fen in taken:
            waiting[cursor][1] -= some * again
            weights[line] += some * each_fen * again
        off_fen += (whole_fen - price_fen) * again
        uses += again
        while at < len(waiting) and waiting[at][1] == 0:
            at += 1
    return off_fen, uses, weights


def _rewarded(promotion: OfferedPromotion, pieces: Sequence[Pieces]) -> tuple[int, int, dict[int, int]]:
    """What the cheapest pieces of full sets save."""
    size, rewarded, discount_bp = promotion.terms.pieces, promotion.terms.rewarded, promotion.terms.discount_bp
    assert size is not None, "a set has a size"
    assert rewarded is not None, "a set has pieces that are cheaper"
    assert discount_bp is not None, "a set has a rate"
    uses = sum(some.count for some in pieces) // size
    if promotion.uses_left is not None:
        uses = min(uses, promotion.uses_left)
    need = uses * rewarded
    weights = dict.fromkeys(sorted({some.line for some in pieces}), 0)
    for some in sorted(pieces, key=_cheapest):
        count = min(some.count, need)
        weights[some.line] += count * apply_bp(some.price_fen, discount_bp)
        need -= count
    return sum(weights.values()), uses, weights


def _dearest(some: Pieces) -> tuple[int, int]:
    return (-some.price_fen, some.line)


def _cheapest(some: Pieces) -> tuple[int, int]:
    return (some.price_fen, some.line)
