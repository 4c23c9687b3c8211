"""What promotions take off an order when exactly these are used.

Which of all the ways to use them makes the goods cheapest is decided in ``loyalty.prices.promotion_choice``.

Source: docs/rules/promotion.md
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from loyalty.prices.promotion import MAX_ORDER_WIDE, OfferedPromotion
from loyalty.prices.promotion_effect import AppliedPromotion, Pieces, take_off, take_off_sets
from loyalty.prices.promotion_terms import Partner, PromotionKind
from loyalty.prices.unit_price import PriceLine, PriceSource, TierTerms, unit_price


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to use promotions: those of the whole order that are used, those of single pieces that are left out.

    ``is_whole``: every one of ``chosen`` takes something off; what does not is no way. ``least_fen``: leaving out more
    promotions of single pieces beside the same ``chosen`` never makes the goods cheaper than that.
    """

    chosen: tuple[OfferedPromotion, ...]
    left_out: frozenset[UUID]
    promoted: Promoted
    is_whole: bool
    least_fen: int


_NO_BOUND = 1 << 62
_SETS = frozenset({PromotionKind.BUNDLE, PromotionKind.PIECES})


class Cart:
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
        self.pieces_cover = [self.covers[one.id] for one in self.of_pieces]
        self.uses, self.budgets = self._limits()
        self.scarce = frozenset(rank for rank in range(len(self.of_pieces)) if self._is_scarce(rank))
        self.known: dict[tuple[int, bool, bool, bool], list[tuple[int, int, int]]] = {}
        order_wide = [one for one in usable if not one.terms.kind.of_pieces and self._reachable(one)]
        self.order_wide = order_wide[:MAX_ORDER_WIDE]

    def _limits(self) -> tuple[list[int], list[int]]:
        """How often each promotion of single pieces can be used and what it may cost; what is enough is no limit."""
        uses, budgets = [_NO_BOUND] * len(self.of_pieces), [_NO_BOUND] * len(self.of_pieces)
        for rank, (one, covers) in enumerate(zip(self.of_pieces, self.pieces_cover, strict=True)):
            on = [self.lines[at] for at in covers]
            if one.uses_left is not None and one.uses_left < sum(line.quantity for line in on):
                uses[rank] = one.uses_left
            if one.budget_left_fen is not None:
                most_fen = [
                    (line.list_price_fen - one.terms.piece_price(line.list_price_fen)) * line.quantity for line in on
                ]
                if one.budget_left_fen < sum(most_fen):
                    budgets[rank] = one.budget_left_fen
        return uses, budgets

    def _is_scarce(self, rank: int) -> bool:
        """Whether its budget may end, and goods of it are those of another one too, so that each changes the other."""
        if self.budgets[rank] == _NO_BOUND:
            return False
        on = self.pieces_cover[rank]
        return any(on & other for other_rank, other in enumerate(self.pieces_cover) if other_rank != rank)

    def _reachable(self, promotion: OfferedPromotion) -> bool:
        terms, on = promotion.terms, self.covers[promotion.id]
        if terms.kind is PromotionKind.AMOUNT_OFF:
            return terms.off_at(sum(self.lines[at].list_price_fen * self.lines[at].quantity for at in on)) > 0
        return sum(self.lines[at].quantity for at in on) >= (terms.pieces or 0)

    def groups(self) -> list[list[OfferedPromotion]]:
        """The promotions of the whole order, those together that have lines in common and so depend on each other.

        A promotion of single pieces that is limited makes the lines that it covers depend on each other too.
        """
        limits = zip(self.of_pieces, self.uses, self.budgets, strict=True)
        limited = [one for one, uses, budget_fen in limits if min(uses, budget_fen) != _NO_BOUND]
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

    def price(self, chosen: tuple[OfferedPromotion, ...], left_out: frozenset[UUID] = frozenset()) -> Way:
        """The lines when these promotions of the whole order are used, and those of single pieces but ``left_out``.

        Lower prices of pieces never make the goods dearer before ``amount_off``. That takes the same amount, so goods
        get dearer by lower prices only where it finds too little left to take, and a bundle or ``pieces`` could have
        shared what it takes off otherwise: at most by what it could not take. Where a budget may end, leaving out one
        promotion of pieces may move another; then they save no more than without limits, and these budgets.
        """
        promoted, lacking_fen = self._price(chosen, left_out, self.uses, self.budgets)
        least_fen = promoted.payable_fen - lacking_fen
        if self.scarce:
            scarce = [self.of_pieces[rank] for rank in self.scarce]
            uses = [_NO_BOUND if fen == _NO_BOUND else many for many, fen in zip(self.uses, self.budgets, strict=True)]
            beside, lacking_fen = self._price(chosen, left_out.union(one.id for one in scarce), uses, self.budgets)
            budgets_fen = sum(self.budgets[rank] for rank in self.scarce if self.of_pieces[rank].id not in left_out)
            least_fen = beside.payable_fen - lacking_fen - budgets_fen
        taken = sum(not one.promotion.terms.kind.of_pieces for one in promoted.applied)
        return Way(
            chosen=chosen,
            left_out=left_out,
            promoted=promoted,
            is_whole=taken == len(chosen),
            least_fen=least_fen,
        )

    def _price(
        self,
        chosen: Sequence[OfferedPromotion],
        left_out: frozenset[UUID],
        uses: Sequence[int],
        budgets: Sequence[int],
    ) -> tuple[Promoted, int]:
        """The lines, and what each ``amount_off`` lacks where a set of pieces shares across its goods and others."""
        covers = [(one, self.covers[one.id]) for one in chosen]
        on_line = [[one for one, on in covers if at in on] for at in range(len(self.lines))]
        tiered = [all(one.goes_with(Partner.TIER) for one in those) for those in on_line]
        bases = [self.bases[with_tier][at] for at, with_tier in enumerate(tiered)]
        out = {rank for rank, one in enumerate(self.of_pieces) if one.id in left_out}
        savings = []
        for at, others in enumerate(on_line):
            agreed = all(one.goes_with(Partner.PROMOTIONS) for one in others)
            for change_fen, rank, price_fen in self._savings(at, tiered[at], bool(others), agreed):
                if rank not in out:
                    savings.append((change_fen, rank, at, price_fen))
                    if uses[rank] == budgets[rank] == _NO_BOUND:
                        # What saves less than one without limits has nothing left to do.
                        break
        pieces, applied = self._price_pieces(savings, list(uses), list(budgets), [price_fen for price_fen, _ in bases])
        left = [0] * len(self.lines)
        dearest = [0] * len(self.lines)
        for some in pieces:
            left[some.line] += some.count * some.price_fen
            dearest[some.line] = max(dearest[some.line], some.price_fen)
        after_pieces = tuple(left)
        sets = [on for one, on in covers if one.terms.kind in _SETS]
        lacking_fen = 0
        for one, on in sorted(covers, key=_in_order):
            if one.terms.kind is PromotionKind.AMOUNT_OFF:
                off_fen = one.terms.off_at(sum(bases[at][0] * self.lines[at].quantity for at in on))
                if one.budget_left_fen is not None:
                    off_fen = min(off_fen, one.budget_left_fen)
                found = take_off(one, off_fen, 1, {at: left[at] for at in sorted(on)}, len(left))
                if found.discount_fen < off_fen and any(on & those and those - on for those in sets):
                    lacking_fen += off_fen - found.discount_fen
            else:
                found = take_off_sets(one, [some for some in pieces if some.line in on], len(left))
            if found.discount_fen:
                applied.append(found)
                left = [rest - share for rest, share in zip(left, found.shares, strict=True)]
        promoted = Promoted(
            lines=tuple(
                self._line(at, bases[at], dearest[at], after_pieces[at], left[at], applied)
                for at in range(len(self.lines))
            ),
            applied=tuple(applied),
        )
        return promoted, lacking_fen

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
        self,
        savings: Sequence[tuple[int, int, int, int]],
        uses: list[int],
        budgets: list[int],
        bases: Sequence[int],
    ) -> tuple[list[Pieces], list[AppliedPromotion]]:
        """Each piece at the lowest price that a promotion of single pieces gives it; what saves most comes first.

        ``savings`` are what a piece changes by, the promotion, the line and the price. ``uses`` and ``budgets`` are
        used up.
        """
        pieces: list[Pieces] = []
        waiting = [line.quantity for line in self.lines]
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
            pieces.append(Pieces(at, count, price_fen))
        pieces.extend(Pieces(at, count, bases[at]) for at, count in enumerate(waiting) if count)
        return pieces, [
            AppliedPromotion(promotion=self.of_pieces[rank], uses=used, discount_fen=sum(shares), shares=tuple(shares))
            for rank, (used, shares) in sorted(taken.items())
        ]

    def _savings(self, at: int, tiered: bool, beside_others: bool, others_agree: bool) -> list[tuple[int, int, int]]:
        """What each promotion of pieces changes of a piece's price, and the price; what saves most comes first."""
        key = (at, tiered, beside_others, others_agree)
        found = self.known.get(key)
        if found is None:
            found = []
            base_fen = self.bases[tiered][at][0]
            for rank, (one, on) in enumerate(zip(self.of_pieces, self.pieces_cover, strict=True)):
                if at not in on:
                    continue
                if beside_others and not (others_agree and one.goes_with(Partner.PROMOTIONS)):
                    continue
                price_fen = one.terms.piece_price(self.bases[tiered and one.goes_with(Partner.TIER)][at][0])
                if price_fen < base_fen:
                    found.append((price_fen - base_fen, rank, price_fen))
            found.sort()
            self.known[key] = found
        return found


def _in_order(used: tuple[OfferedPromotion, frozenset[int]]) -> tuple[bool, int, str]:
    return (used[0].terms.kind is PromotionKind.AMOUNT_OFF, *used[0].rank())
