"""Which of all the ways to use promotions makes the goods of an order cheapest.

What a way takes off is worked out in ``loyalty.prices.promotion_cart``.

Source: docs/rules/promotion.md
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count, product
from uuid import UUID

from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Cart, Promoted, Way
from loyalty.prices.unit_price import PriceLine, TierTerms

MAX_PRICED = 256
MAX_PRICED_LINES = 2_048
"""So many ways beyond those with all promotions of single pieces are priced, of long orders so many lines of them; an
order that has more gets the best of these."""


def promote(
    lines: Sequence[PriceLine], *, tier: TierTerms | None = None, promotions: Sequence[OfferedPromotion] = ()
) -> Promoted:
    """Use the promotions that are on offer in the way that makes the goods cheapest.

    Of ways that cost the same the one with fewer promotions, then the higher priority, then the code. Promotions of
    single pieces help as far as those of the whole order that are used let them, and are left out only if the goods
    are cheaper without them.
    """
    return EveryWay(Cart(lines, tier, promotions)).cheapest()


def exactly(
    lines: Sequence[PriceLine], *, tier: TierTerms | None = None, promotions: Sequence[OfferedPromotion]
) -> Promoted | None:
    """Use these promotions and no others; None if they may not be used together or one of them takes nothing off."""
    cart = Cart(lines, tier, promotions)
    chosen = tuple(cart.order_wide)
    if chosen not in cart.ways(chosen):
        return None
    promoted = cart.price(chosen).promoted
    return promoted if len(promoted.applied) == len(promotions) else None


_Rank = tuple[int, tuple[tuple[int, str], ...]]


def _rank(promoted: Promoted) -> _Rank:
    used = promoted.applied
    return (len(used), tuple(sorted(one.promotion.rank() for one in used)))


def _cost(way: Way) -> tuple[int, _Rank]:
    return (way.promoted.payable_fen, _rank(way.promoted))


def _least(way: Way) -> int:
    return way.least_fen


class EveryWay:
    """All the ways to use promotions on a cart, those that make the goods cheapest first.

    They are told by the promotions of the whole order that are used, and by those of single pieces that are left out.
    To leave out one that a way does not use is the same way, so each way leads to those that leave out one more of what
    it uses. ``exact`` False: there were more than ``max_priced`` to look at.
    """

    def __init__(self, cart: Cart, max_priced: int = MAX_PRICED) -> None:
        self.exact = True
        self._cart = cart
        self._to_price = min(max_priced, MAX_PRICED_LINES // max(1, len(cart.lines)))
        self._groups = [[cart.price(chosen) for chosen in cart.ways(group)] for group in cart.groups()]
        self._nothing = self._groups[0][0] if self._groups else cart.price(())
        self._chosen: list[tuple[OfferedPromotion, ...]] = []
        self._seen: set[tuple[int, frozenset[UUID]]] = set()
        self._ahead: list[tuple[int, _Rank | tuple[()], int, int, frozenset[UUID], Promoted | None]] = []
        self._numbers = count()

    def cheapest(self) -> Promoted:
        """The way that makes the goods cheapest; one that leaves out promotions of pieces only if it is cheaper."""
        best = [min((way for way in ways if way.is_whole), key=_cost) for ways in self._groups]
        if len(best) > 1:
            found = self._cart.price(tuple(one for way in best for one in way.chosen)).promoted
        else:
            found = best[0].promoted if best else self._nothing.promoted
        if self._together([min(ways, key=_least) for ways in self._groups]) < found.payable_fen:
            return self.next(found.payable_fen) or found
        return found

    def next(self, below_fen: int) -> Promoted | None:
        """The next way by which the goods cost less than ``below_fen``; None: there is no more."""
        if not self._chosen:
            self._start()
        while self._ahead and self._ahead[0][0] < below_fen:
            fen, _, _, at, left_out, promoted = heappop(self._ahead)
            if promoted is not None:
                return promoted
            if self._to_price == 0:
                self.exact = False
                continue
            self._to_price -= 1
            way = self._cart.price(self._chosen[at], left_out)
            for one in way.promoted.applied:
                if one.promotion.terms.kind.of_pieces:
                    self._push(max(fen, way.least_fen), at, left_out | {one.promotion.id})
            if way.is_whole:
                entry = (way.promoted.payable_fen, _rank(way.promoted), next(self._numbers))
                heappush(self._ahead, (*entry, at, left_out, way.promoted))
        return None

    def bare(self) -> Promoted:
        """The goods without any promotion."""
        return self._cart.price((), frozenset(one.id for one in self._cart.of_pieces)).promoted

    def _start(self) -> None:
        for ways in product(*self._groups):
            self._chosen.append(tuple(one for way in ways for one in way.chosen))
            self._push(self._together(ways), len(self._chosen) - 1, frozenset())

    def _together(self, ways: Sequence[Way]) -> int:
        """The least that the goods cost with a way of each group; no group changes what another does."""
        return self._nothing.least_fen + sum(way.least_fen - self._nothing.least_fen for way in ways)

    def _push(self, least_fen: int, at: int, left_out: frozenset[UUID]) -> None:
        if (at, left_out) not in self._seen:
            self._seen.add((at, left_out))
            heappush(self._ahead, (least_fen, (), next(self._numbers), at, left_out, None))
