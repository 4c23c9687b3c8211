"""What an order costs: one ordered pipeline over its lines, which explains each step and leaves shares on each line.

The preview, the order and the refund all come from here.

Source: docs/rules/pricing.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from loyalty.coupons.coupon_use import AppliedCoupon, CouponLine
from loyalty.delivery.shipping import ShippingQuote
from loyalty.money import next_share, prorate
from loyalty.points.points import PointsProgramme, admit_redemption, redeem_value, redeemable
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Promoted, PromotedLine
from loyalty.prices.promotion_choice import promote
from loyalty.prices.promotion_effect import AppliedPromotion
from loyalty.prices.promotion_terms import PromotionKind
from loyalty.prices.unit_price import PriceLine, PriceSource, PriceStep, TierTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedLine:
    """One line with every share that a refund needs, in fen.

    ``goods = discount + promotion + coupon + points + payable``.
    """

    sku_id: UUID
    quantity: int
    list_price_fen: int
    unit_price_fen: int
    price_source: PriceSource
    goods_fen: int
    discount_fen: int
    promotion_fen: int = 0
    coupon_fen: int = 0
    points_used: int = 0
    points_fen: int = 0
    payable_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One step that had an effect: it takes something off, but for the first one and the shipping fee.

    ``code`` names the activity, the tier, the promotion or the coupon's template, or says what waived the shipping fee;
    ``title`` is the promotion's.
    """

    step: PriceStep
    amount_fen: int
    code: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an order costs, in fen: ``goods + shipping = discount + promotion + coupon + points + payable``.

    The explanation adds up to ``payable_fen``; so do the lines with the shipping fee less its coupon.
    ``coupon_fen`` counts ``shipping_coupon_fen`` in.
    """

    lines: tuple[QuotedLine, ...]
    goods_fen: int
    discount_fen: int
    promotion_fen: int = 0
    coupon_fen: int = 0
    shipping_fen: int = 0
    shipping_coupon_fen: int = 0
    points_used: int
    points_fen: int
    payable_fen: int
    points_most: int
    explain: tuple[Explanation, ...]
    coupons: tuple[AppliedCoupon, ...] = ()
    promotions: tuple[AppliedPromotion, ...] = ()


def coupon_lines(lines: Sequence[PriceLine], promoted: Promoted) -> list[CouponLine]:
    """The lines as the coupon step meets them: after promotions, before points.

    Nothing is left for coupons on a line with a promotion that does not go with them.
    """
    return [
        CouponLine(
            product_id=line.product_id or line.sku_id,
            category_ids=line.category_ids,
            unit_price_fen=after.unit_price_fen if after.takes_coupons else 0,
            payable_fen=after.payable_fen if after.takes_coupons else 0,
        )
        for line, after in zip(lines, promoted.lines, strict=True)
    ]


def price(
    lines: Sequence[PriceLine],
    *,
    tier: TierTerms | None = None,
    promotions: Sequence[OfferedPromotion] = (),
    promoted: Promoted | None = None,
    coupons: Sequence[AppliedCoupon] = (),
    programme: PointsProgramme | None = None,
    points: int = 0,
    available_points: int = 0,
    shipping: ShippingQuote | None = None,
) -> Quote:
    """Price the lines of one order: list price, activity price, member price or tier discount, promotions, coupons,
    points, shipping.

    ``promoted`` is what ``promote`` made of these very lines, tier and promotions, for who has it at hand. ``coupons``
    are what the coupons take off the ``coupon_lines`` of these lines, as ``loyalty.coupons.coupon_use`` admitted them;
    what one takes off beyond its shares comes off the shipping fee. ``points`` is what the member wants to use,
    ``available_points`` what there is; without a programme nothing can be used. Points and their fen are shared over
    the lines by what each line costs, largest remainder, earlier line first.

    Raises: PointsStep, PointsCapExceeded, PointsShort.
    """
    assert lines, "an order without lines"
    assert programme is not None or points == 0, "points need a programme"
    if promoted is None:
        promoted = promote(lines, tier=tier, promotions=promotions)
    quoted = [
        _take_coupons(_quote_line(line, after), [one.shares[at] for one in coupons])
        for at, (line, after) in enumerate(zip(lines, promoted.lines, strict=True))
    ]
    before_points = sum(line.payable_fen for line in quoted)
    for_points = [
        line.payable_fen if after.takes_points else 0 for line, after in zip(quoted, promoted.lines, strict=True)
    ]
    points_fen = points_most = 0
    if programme is not None:
        admit_redemption(programme, points=points, payable_fen=sum(for_points), available=available_points)
        points_fen = redeem_value(programme, points) if points else 0
        points_most = redeemable(programme, payable_fen=sum(for_points), available=available_points)
    shared = _share_points(quoted, for_points, points, points_fen)
    shipping_fen = shipping.fee_fen if shipping else 0
    shipping_coupon_fen = sum(one.discount_fen - sum(one.shares) for one in coupons)
    assert 0 <= shipping_coupon_fen <= shipping_fen, "coupons that were admitted for another shipping fee"
    return Quote(
        lines=shared,
        goods_fen=sum(line.goods_fen for line in shared),
        discount_fen=sum(line.discount_fen for line in shared),
        promotion_fen=sum(line.promotion_fen for line in shared),
        coupon_fen=sum(line.coupon_fen for line in shared) + shipping_coupon_fen,
        shipping_fen=shipping_fen,
        shipping_coupon_fen=shipping_coupon_fen,
        points_used=points,
        points_fen=points_fen,
        payable_fen=before_points - points_fen + shipping_fen - shipping_coupon_fen,
        points_most=points_most,
        explain=_explain(lines, promoted, tier, coupons, points_fen, shipping),
        coupons=tuple(coupons),
        promotions=promoted.applied,
    )


def _quote_line(line: PriceLine, after: PromotedLine) -> QuotedLine:
    return QuotedLine(
        sku_id=line.sku_id,
        quantity=line.quantity,
        list_price_fen=line.list_price_fen,
        unit_price_fen=after.unit_price_fen,
        price_source=after.price_source,
        goods_fen=after.goods_fen,
        discount_fen=after.discount_fen,
        promotion_fen=after.promotion_fen,
        payable_fen=after.payable_fen,
    )


def _take_coupons(line: QuotedLine, shares: Sequence[int]) -> QuotedLine:
    coupon_fen = sum(shares)
    assert 0 <= coupon_fen <= line.payable_fen, "coupons that were admitted for other lines"
    return replace(line, coupon_fen=coupon_fen, payable_fen=line.payable_fen - coupon_fen)


def _share_points(
    lines: Sequence[QuotedLine], weights: Sequence[int], points: int, points_fen: int
) -> tuple[QuotedLine, ...]:
    shares = zip(lines, prorate(points, weights), prorate(points_fen, weights), strict=True)
    return tuple(
        replace(line, points_used=used, points_fen=worth, payable_fen=line.payable_fen - worth)
        for line, used, worth in shares
    )


_STEPS = {PromotionKind.BUNDLE: PriceStep.BUNDLE, PromotionKind.PIECES: PriceStep.BUNDLE}


def _explain(
    lines: Sequence[PriceLine],
    promoted: Promoted,
    tier: TierTerms | None,
    coupons: Sequence[AppliedCoupon],
    points_fen: int,
    shipping: ShippingQuote | None,
) -> tuple[Explanation, ...]:
    taken: dict[tuple[PriceSource, str | None], int] = {}
    for line, after in zip(lines, promoted.lines, strict=True):
        code = line.activity_code if after.price_source is PriceSource.ACTIVITY else None
        off_fen = (after.base_fen - line.list_price_fen) * line.quantity
        taken[after.price_source, code] = taken.get((after.price_source, code), 0) + off_fen

    def bases(source: PriceSource, step: PriceStep) -> list[Explanation]:
        name = tier.code if tier and source is PriceSource.TIER else None
        return [
            Explanation(step=step, amount_fen=off_fen, code=code or name)
            for (whose, code), off_fen in taken.items()
            if whose is source
        ]

    found = [
        Explanation(step=PriceStep.LIST, amount_fen=sum(line.goods_fen for line in promoted.lines)),
        *bases(PriceSource.ACTIVITY, PriceStep.ACTIVITY),
        *bases(PriceSource.MEMBER, PriceStep.MEMBER),
        *bases(PriceSource.TIER, PriceStep.TIER),
    ]
    for one in promoted.applied:
        kind = one.promotion.terms.kind
        step = PriceStep.DISCOUNT if kind.of_pieces else _STEPS.get(kind, PriceStep.AMOUNT_OFF)
        found.append(
            Explanation(step=step, amount_fen=-one.discount_fen, code=one.promotion.code, title=one.promotion.title)
        )
    found += [
        Explanation(step=PriceStep.COUPON, amount_fen=-one.discount_fen, code=one.template_code) for one in coupons
    ]
    if points_fen:
        found.append(Explanation(step=PriceStep.POINTS, amount_fen=-points_fen))
    if shipping is not None and shipping.parts:
        why = shipping.waived_by.value if shipping.waived_by else None
        found.append(Explanation(step=PriceStep.SHIPPING, amount_fen=shipping.fee_fen, code=why))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRefund:
    """What comes back for some units of a line: money in fen, points that were used, points and growth to take back."""

    money_fen: int
    points_used: int
    earned_points: int
    growth: int


def refund_line(
    *,
    quantity: int,
    refunded: int,
    refunding: int,
    payable_fen: int,
    points_used: int,
    earned_points: int,
    growth: int,
) -> LineRefund:
    """The share of ``refunding`` units of a line after ``refunded`` of its ``quantity`` were refunded before.

    Each figure is the line's own, as stored when it was ordered and settled. Rounded down in running sums, so the
    residue comes with the last unit and the whole line gives back exactly what it took.
    """

    def part(total: int) -> int:
        return next_share(total, done=refunded, doing=refunding, whole=quantity)

    return LineRefund(
        money_fen=part(payable_fen),
        points_used=part(points_used),
        earned_points=part(earned_points),
        growth=part(growth),
    )
