"""What more a member would have to buy to save more: the next step, the next set, the next coupon, free shipping.

Source: docs/rules/promotion.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from loyalty.coupons.coupon_terms import CouponKind
from loyalty.coupons.coupon_use import HeldCoupon, combinable
from loyalty.delivery.shipping import ShippingQuote
from loyalty.money import apply_bp
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Promoted, covered
from loyalty.prices.promotion_choice import promote
from loyalty.prices.promotion_terms import OffStep, PromotionKind
from loyalty.prices.unit_price import PriceLine, TierTerms


class HintKind(StrEnum):
    """What a hint is about."""

    PROMOTION = "promotion"
    COUPON = "coupon"
    SHIPPING = "shipping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """``missing_fen`` more of goods, or ``missing_pieces`` more pieces, would save ``saves_fen``.

    ``code`` and ``title`` are the promotion's, ``code`` the coupon template's.
    """

    kind: HintKind
    code: str | None = None
    title: str | None = None
    missing_fen: int | None = None
    missing_pieces: int | None = None
    saves_fen: int


def hints(
    lines: Sequence[PriceLine],
    promoted: Promoted,
    *,
    tier: TierTerms | None = None,
    promotions: Sequence[OfferedPromotion] = (),
    lacking: Sequence[tuple[HeldCoupon, int]] = (),
    using: Sequence[tuple[HeldCoupon, int]] = (),
    shipping: ShippingQuote | None = None,
) -> tuple[Hint, ...]:
    """What more unlocks the next saving, the nearest first.

    What pieces save is reckoned with more pieces of the cheapest goods in scope, and is what the promotion then takes
    off more; what lacks pieces counts as what those would cost when it is compared. Neither counts what it would drive
    out: a promotion that does not go with those in use saves only what it is better than these, and so does a coupon.
    ``lacking`` are the member's coupons below their threshold, with what is missing in fen; ``using`` those of the
    order, with what each takes off.
    """
    found: list[tuple[int, Hint]] = []
    for one in promotions:
        if one.terms.kind is PromotionKind.AMOUNT_OFF:
            found += _of_steps(lines, promoted, tier, promotions, one)
        elif not one.terms.kind.of_pieces:
            found += _of_sets(lines, promoted, tier, promotions, one)
    found += [(hint.missing_fen or 0, hint) for hint in _of_coupons(lacking, using)]
    if shipping is not None:
        found += _of_shipping(shipping)
    return tuple(hint for _, hint in sorted(found, key=_nearest))


def _nearest(found: tuple[int, Hint]) -> tuple[int, int, str, str]:
    away_fen, hint = found
    return (away_fen, -hint.saves_fen, hint.kind, hint.code or "")


def _of_steps(
    lines: Sequence[PriceLine],
    promoted: Promoted,
    tier: TierTerms | None,
    promotions: Sequence[OfferedPromotion],
    promotion: OfferedPromotion,
) -> list[tuple[int, Hint]]:
    on = covered(promotion, lines)
    if not on:
        return []
    terms = promotion.terms
    have_fen = sum(promoted.lines[at].base_fen * lines[at].quantity for at in on)
    if terms.repeat:
        every_fen = terms.steps[0].threshold_fen
        next_fen = (have_fen // every_fen + 1) * every_fen
    else:
        ahead = [step.threshold_fen for step in terms.steps if step.threshold_fen > have_fen]
        if not ahead:
            return []
        next_fen = ahead[0]
    reached = (OffStep(threshold_fen=1, off_fen=terms.off_at(next_fen)),)
    as_if = replace(promotion, terms=replace(terms, steps=reached, repeat=False, cap_fen=None))
    then = promote(lines, tier=tier, promotions=[as_if if one is promotion else one for one in promotions])
    saves_fen = min(terms.off_at(next_fen) - terms.off_at(have_fen), promoted.payable_fen - then.payable_fen)
    if saves_fen <= 0:
        return []
    missing_fen = next_fen - have_fen
    return [(missing_fen, _hint(promotion, missing_fen=missing_fen, saves_fen=saves_fen))]


def _of_sets(
    lines: Sequence[PriceLine],
    promoted: Promoted,
    tier: TierTerms | None,
    promotions: Sequence[OfferedPromotion],
    promotion: OfferedPromotion,
) -> list[tuple[int, Hint]]:
    on = covered(promotion, lines)
    size = promotion.terms.pieces
    if not on or size is None:
        return []
    missing = -sum(lines[at].quantity for at in on) % size or size
    cheapest = min(on, key=lambda at: (lines[at].list_price_fen, at))
    more = [replace(line, quantity=line.quantity + missing * (at == cheapest)) for at, line in enumerate(lines)]
    then = promote(more, tier=tier, promotions=promotions)
    added_fen = missing * promoted.lines[cheapest].unit_price_fen
    saves_fen = min(
        _taken_off(promotion, then) - _taken_off(promotion, promoted),
        promoted.payable_fen + added_fen - then.payable_fen,
    )
    if saves_fen <= 0:
        return []
    away_fen = missing * lines[cheapest].list_price_fen
    return [(away_fen, _hint(promotion, missing_pieces=missing, saves_fen=saves_fen))]


def _taken_off(promotion: OfferedPromotion, promoted: Promoted) -> int:
    return sum(one.discount_fen for one in promoted.applied if one.promotion.id == promotion.id)


def _hint(
    promotion: OfferedPromotion,
    *,
    saves_fen: int,
    missing_fen: int | None = None,
    missing_pieces: int | None = None,
) -> Hint:
    return Hint(
        kind=HintKind.PROMOTION,
        code=promotion.code,
        title=promotion.title,
        missing_fen=missing_fen,
        missing_pieces=missing_pieces,
        saves_fen=saves_fen,
    )


def _of_shipping(shipping: ShippingQuote) -> list[tuple[int, Hint]]:
    found = []
    if shipping.missing_fen:
        hint = Hint(kind=HintKind.SHIPPING, missing_fen=shipping.missing_fen, saves_fen=shipping.fee_fen)
        found.append((shipping.missing_fen, hint))
    if lacking := shipping.missing_pieces:
        hint = Hint(kind=HintKind.SHIPPING, missing_pieces=lacking.pieces, saves_fen=shipping.fee_fen)
        found.append((lacking.cost_fen, hint))
    return found


def _of_coupons(lacking: Sequence[tuple[HeldCoupon, int]], using: Sequence[tuple[HeldCoupon, int]]) -> list[Hint]:
    """One hint for each template: of several coupons of one template the nearest."""
    found: dict[str, Hint] = {}
    for coupon, missing_fen in lacking:
        terms, code = coupon.terms, coupon.template_code
        if terms.kind is CouponKind.PERCENT:
            saves_fen = apply_bp(terms.threshold_fen, terms.discount_bp or 0)
        else:
            saves_fen = terms.amount_fen or 0
        saves_fen = saves_fen if terms.cap_fen is None else min(saves_fen, terms.cap_fen)
        saves_fen -= sum(off_fen for other, off_fen in using if not combinable(coupon, [other]))
        known = found.get(code)
        if saves_fen > 0 and (known is None or missing_fen < (known.missing_fen or 0)):
            found[code] = Hint(kind=HintKind.COUPON, code=code, missing_fen=missing_fen, saves_fen=saves_fen)
    return list(found.values())
