"""What promotions take off an order: of all the ways to use them, the one that makes the goods cheapest.

Source: docs/rules/promotion.md
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from loyalty.money import apply_bp, prorate
from loyalty.prices.promotion import MAX_ORDER_WIDE, OfferedPromotion, Partner, PromotionKind
from loyalty.prices.unit_price import PriceLine, PriceSource, TierTerms, unit_price


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPromotion:
    """What one promotion takes off an order in fen, altogether and of each line, and how often it is used for that."""

    promotion: OfferedPromotion
    uses: int
    discount_fen: int
    shares: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotedLine:
    """A line after promotions, in fen: ``list price x quantity = discount + promotion + payable``.

    ``base_fen`` is what one piece costs before promotions, by ``price_source``; ``unit_price_fen`` the dearest piece
    after those of single pieces.
    """

    base_fen: int
    price_source: PriceSource
    unit_price_fen: int
    goods_fen: int
    discount_fen: int
    promotion_fen: int
    payable_fen: int
    takes_coupons: bool
    takes_points: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """The lines after promotions, and the promotions that were used, in the order in which they apply."""

    lines: tuple[PromotedLine, ...]
    applied: tuple[AppliedPromotion, ...] = ()

    @property
    def payable_fen(self) -> int:
        """What the goods cost after promotions, before coupons and points."""
        return sum(line.payable_fen for line in self.lines)


def covered(promotion: OfferedPromotion, lines: Sequence[PriceLine]) -> tuple[int, ...]:
    """The positions of the lines that a promotion is for; a line in an activity takes none."""
    scope = promotion.terms.scope
    return tuple(
        at
        for at, line in enumerate(lines)
        if line.activity_price_fen is None
        and scope.covers(line.sku_id, line.product_id or line.sku_id, line.category_ids)
    )


def promote(
    lines: Sequence[PriceLine], *, tier: TierTerms | None = None, promotions: Sequence[OfferedPromotion] = ()
) -> Promoted:
    """Use the promotions that are on offer in the way that makes the goods cheapest.

    Of ways that cost the same the one with fewer promotions, then the higher priority, then the code. Every promotion
    of single pieces helps as far as those of the whole order that are used let it.
    """
    cart = _Cart(lines, tier, promotions)
    chosen: list[OfferedPromotion] = []
    for group in cart.groups():
        cheapest = min(cart.ways(group), key=lambda way: _rank(cart.price(way)))
        chosen.extend(cheapest)
    return cart.price(chosen)


_NO_BOUND = 1 << 62

_Rank = tuple[int, int, tuple[tuple[int, str], ...]]


def _rank(promoted: Promoted) -> _Rank:
    used = promoted.applied
    return (promoted.payable_fen, len(used), tuple(sorted(one.promotion.rank() for one in used)))


@dataclass(slots=True)
class _Pieces:
    """So many pieces of one line at one price."""

    line: int
    count: int
    price_fen: int


class _Cart:
    """The lines with what each promotion covers of them, worked out once for all the ways to use promotions."""

    def __init__(
        self, lines: Sequence[PriceLine], tier: TierTerms | None, promotions: Sequence[OfferedPromotion]
    ) -> None:
        assert all(min(line.quantity, line.list_price_fen) >= 1 for line in lines), "a line of nothing"
        self.lines = lines
        with_tier, without_tier = [], []
        for line in lines:
            activity_price_fen = line.activity_price_fen
            with_tier.append(
                unit_price(
                    list_price_fen=line.list_price_fen,
                    member_price_fen=line.member_price_fen,
                    tier=tier,
                    activity_price_fen=activity_price_fen,
                )
            )
            without_tier.append(unit_price(list_price_fen=line.list_price_fen, activity_price_fen=activity_price_fen))
        self.bases = {True: with_tier, False: without_tier}
        on_lines = {one.id: covered(one, lines) for one in promotions}
        self.covers = {id_: frozenset(at) for id_, at in on_lines.items()}
        usable = sorted((one for one in promotions if on_lines[one.id]), key=OfferedPromotion.rank)
        self.of_pieces = [one for one in usable if one.terms.kind.of_pieces]
        self.known: dict[tuple[int, bool, bool, bool], list[tuple[int, int, int]]] = {}
        order_wide = [one for one in usable if not one.terms.kind.of_pieces and self._reachable(one)]
        self.order_wide = order_wide[:MAX_ORDER_WIDE]

    def _reachable(self, promotion: OfferedPromotion) -> bool:
        terms, on = promotion.terms, self.covers[promotion.id]
        if terms.kind is PromotionKind.AMOUNT_OFF:
            return terms.off_at(sum(self.lines[at].list_price_fen * self.lines[at].quantity for at in on)) > 0
        return sum(self.lines[at].quantity for at in on) >= (terms.pieces or 0)

    def groups(self) -> list[list[OfferedPromotion]]:
        """The promotions of the whole order, those together that have lines in common and so depend on each other.

        A promotion of single pieces that is limited makes the lines that it covers depend on each other too.
        """
        limited = [one for one in self.of_pieces if one.uses_left is not None or one.budget_left_fen is not None]
        found: list[tuple[frozenset[int], list[OfferedPromotion]]] = []
        for one in (*limited, *self.order_wide):
            on, together = self.covers[one.id], [] if one in limited else [one]
            apart = []
            for lines, others in found:
                if on.isdisjoint(lines):
                    apart.append((lines, others))
                else:
                    on, together = on | lines, others + together
            found = [*apart, (on, together)]
        return [together for _, together in found if together]

    def ways(self, group: Sequence[OfferedPromotion]) -> Iterator[tuple[OfferedPromotion, ...]]:
        """Every set of these promotions of the whole order that may be used together, the empty one first."""
        against = {(a.id, b.id) for a, b in combinations(group, 2) if not self._together(a, b)}
        for many in range(len(group) + 1):
            for chosen in combinations(group, many):
                if not any((a.id, b.id) in against for a, b in combinations(chosen, 2)):
                    yield chosen

    def _together(self, one: OfferedPromotion, other: OfferedPromotion) -> bool:
        if self.covers[one.id].isdisjoint(self.covers[other.id]):
            return True
        same_place = (one.terms.kind is PromotionKind.AMOUNT_OFF) == (other.terms.kind is PromotionKind.AMOUNT_OFF)
        return not same_place and one.goes_with(Partner.PROMOTIONS) and other.goes_with(Partner.PROMOTIONS)

    def price(self, chosen: Sequence[OfferedPromotion]) -> Promoted:
        """The lines when exactly these promotions of the whole order are used, as far as they take something off."""
        on_line = [[one for one in chosen if at in self.covers[one.id]] for at in range(len(self.lines))]
        tiered = [all(one.goes_with(Partner.TIER) for one in those) for those in on_line]
        bases = [self.bases[with_tier][at] for at, with_tier in enumerate(tiered)]
        pieces, applied = self._price_pieces(on_line, tiered, [price_fen for price_fen, _ in bases])
        left = [0] * len(self.lines)
        dearest = [0] * len(self.lines)
        for some in pieces:
            left[some.line] += some.count * some.price_fen
            dearest[some.line] = max(dearest[some.line], some.price_fen)
        after_pieces = tuple(left)
        for one in sorted(chosen, key=lambda each: (each.terms.kind is PromotionKind.AMOUNT_OFF, *each.rank())):
            on = sorted(self.covers[one.id])
            if one.terms.kind is PromotionKind.AMOUNT_OFF:
                before_fen = sum(bases[at][0] * self.lines[at].quantity for at in on)
                found = _apply(one, one.terms.off_at(before_fen), 1, {at: left[at] for at in on}, len(left))
            else:
                found = _apply_set(one, [some for some in pieces if some.line in self.covers[one.id]], left)
            if found.discount_fen:
                applied.append(found)
                left = [rest - share for rest, share in zip(left, found.shares, strict=True)]
        return Promoted(
            lines=tuple(
                self._line(at, bases[at], dearest[at], after_pieces[at], left[at], applied)
                for at in range(len(self.lines))
            ),
            applied=tuple(applied),
        )

    def _line(
        self,
        at: int,
        base: tuple[int, PriceSource],
        dearest_fen: int,
        after_pieces_fen: int,
        payable_fen: int,
        applied: Sequence[AppliedPromotion],
    ) -> PromotedLine:
        here = [one.promotion for one in applied if one.shares[at]]
        goods_fen = self.lines[at].list_price_fen * self.lines[at].quantity
        return PromotedLine(
            base_fen=base[0],
            price_source=base[1],
            unit_price_fen=dearest_fen,
            goods_fen=goods_fen,
            discount_fen=goods_fen - after_pieces_fen,
            promotion_fen=after_pieces_fen - payable_fen,
            payable_fen=payable_fen,
            takes_coupons=all(one.goes_with(Partner.COUPONS) for one in here),
            takes_points=all(one.goes_with(Partner.POINTS) for one in here),
        )

    def _price_pieces(
        self, on_line: Sequence[Sequence[OfferedPromotion]], tiered: Sequence[bool], bases: Sequence[int]
    ) -> tuple[list[_Pieces], list[AppliedPromotion]]:
        """Each piece at the lowest price that a promotion of single pieces gives it; what saves most comes first."""
        savings = [
            (change_fen, rank, at, price_fen)
            for at, others in enumerate(on_line)
            for change_fen, rank, price_fen in self._savings(
                at, tiered[at], bool(others), all(one.goes_with(Partner.PROMOTIONS) for one in others)
            )
        ]
        pieces: list[_Pieces] = []
        waiting = [line.quantity for line in self.lines]
        uses = [_NO_BOUND if one.uses_left is None else one.uses_left for one in self.of_pieces]
        budgets = [_NO_BOUND if one.budget_left_fen is None else one.budget_left_fen for one in self.of_pieces]
        taken: dict[int, tuple[int, list[int]]] = {}
        for change_fen, rank, at, price_fen in sorted(savings):
            count = min(waiting[at], uses[rank], budgets[rank] // -change_fen)
            if count <= 0:
                continue
            waiting[at] -= count
            used, shares = taken.setdefault(rank, (0, [0] * len(self.lines)))
            shares[at] -= count * change_fen
            taken[rank] = (used + count, shares)
            uses[rank] -= count
            budgets[rank] += count * change_fen
            pieces.append(_Pieces(at, count, price_fen))
        pieces.extend(_Pieces(at, count, bases[at]) for at, count in enumerate(waiting) if count)
        return pieces, [
            AppliedPromotion(promotion=self.of_pieces[rank], uses=used, discount_fen=sum(shares), shares=tuple(shares))
            for rank, (used, shares) in sorted(taken.items())
        ]

    def _savings(self, at: int, tiered: bool, beside_others: bool, others_agree: bool) -> list[tuple[int, int, int]]:
        """What each promotion of single pieces changes of a piece's price, and the price; what saves most comes first.

        What comes after one without limits has nothing left to do.
        """
        key = (at, tiered, beside_others, others_agree)
        found = self.known.get(key)
        if found is None:
            found = []
            base_fen = self.bases[tiered][at][0]
            for rank, one in enumerate(self.of_pieces):
                if at not in self.covers[one.id]:
                    continue
                if beside_others and not (others_agree and one.goes_with(Partner.PROMOTIONS)):
                    continue
                price_fen = one.terms.piece_price(self.bases[tiered and one.goes_with(Partner.TIER)][at][0])
                if price_fen < base_fen:
                    found.append((price_fen - base_fen, rank, price_fen))
            found.sort()
            for place, (_, rank, _) in enumerate(found):
                if self.of_pieces[rank].uses_left is None and self.of_pieces[rank].budget_left_fen is None:
                    found = found[: place + 1]
                    break
            self.known[key] = found
        return found


def _apply(
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


def _apply_set(promotion: OfferedPromotion, pieces: Sequence[_Pieces], left: Sequence[int]) -> AppliedPromotion:
    if promotion.terms.kind is PromotionKind.BUNDLE:
        off_fen, uses, weights = _bundles(promotion, pieces)
    else:
        off_fen, uses, weights = _rewarded(promotion, pieces)
    return _apply(promotion, off_fen, uses, weights, len(left))


def _bundles(promotion: OfferedPromotion, pieces: Sequence[_Pieces]) -> tuple[int, int, dict[int, int]]:
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


def _rewarded(promotion: OfferedPromotion, pieces: Sequence[_Pieces]) -> tuple[int, int, dict[int, int]]:
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


def _dearest(some: _Pieces) -> tuple[int, int]:
    return (-some.price_fen, some.line)


def _cheapest(some: _Pieces) -> tuple[int, int]:
    return (some.price_fen, some.line)


def used(promoted: Promoted) -> dict[UUID, AppliedPromotion]:
    """The promotions that were used, by their ids."""
    return {one.promotion.id: one for one in promoted.applied}
