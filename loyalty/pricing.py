"""What an order costs: one ordered pipeline over its lines, which explains each step and leaves shares on each line.

The preview, the order and the refund all come from here.

Source: docs/rules/pricing.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from loyalty.coupon_use import AppliedCoupon, CouponLine
from loyalty.money import apply_bp, next_share, prorate
from loyalty.points import PointsProgramme, admit_redemption, redeem_value, redeemable


class PriceSource(StrEnum):
    """Which price a unit is sold at."""

    LIST = "list"
    ACTIVITY = "activity"
    MEMBER = "member"
    TIER = "tier"


class PriceStep(StrEnum):
    """The steps of the pipeline, in their order."""

    LIST = "list"
    ACTIVITY = "activity"
    MEMBER = "member"
    TIER = "tier"
    COUPON = "coupon"
    POINTS = "points"
    SHIPPING = "shipping"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One line before pricing; prices are fen for one unit. ``member_price_fen`` None: the SKU has none.

    ``activity_price_fen`` is what an activity asks for each of its pieces, such as a flash sale or a group-buy, and
    ``activity_code`` names it; None: the line is in no activity. ``product_id`` and ``category_ids`` (its category and
    the one above) say which coupons are for it.
    """

    sku_id: UUID
    quantity: int
    list_price_fen: int
    member_price_fen: int | None = None
    activity_price_fen: int | None = None
    activity_code: str | None = None
    product_id: UUID | None = None
    category_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """What the member's tier takes off the list price, in 1/10,000."""

    code: str
    discount_bp: int


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

    ``code`` names the activity, the tier or the coupon's template, or says why shipping is free.
    """

    step: PriceStep
    amount_fen: int
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingQuote:
    """What sending the order costs in fen, and why nothing: ``free_reason`` is a short code, such as ``tier``.

    ``free_from_fen`` is what the goods must cost to be sent free, None: no amount makes it free.
    """

    fee_fen: int
    free_reason: str | None = None
    free_from_fen: int | None = None


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


def unit_price(
    *,
    list_price_fen: int,
    member_price_fen: int | None = None,
    tier: TierTerms | None = None,
    activity_price_fen: int | None = None,
) -> tuple[int, PriceSource]:
    """The price of one unit: the lowest of list price, activity price, member price, list price less the tier discount.

    They never add up. The discount is rounded half up to a fen and leaves at least 1 fen. At equal prices the list
    price is named first, then the activity, the member price, the tier.
    """
    best, source = list_price_fen, PriceSource.LIST
    if activity_price_fen is not None and activity_price_fen < best:
        best, source = activity_price_fen, PriceSource.ACTIVITY
    if member_price_fen is not None and member_price_fen < best:
        best, source = member_price_fen, PriceSource.MEMBER
    if tier is not None:
        discounted = max(1, list_price_fen - apply_bp(list_price_fen, tier.discount_bp))
        if discounted < best:
            best, source = discounted, PriceSource.TIER
    return best, source


def coupon_lines(lines: Sequence[PriceLine], *, tier: TierTerms | None = None) -> list[CouponLine]:
    """The lines as the coupon step meets them: at member price or tier discount, before points."""
    priced = [(line, _quote_line(line, tier)) for line in lines]
    return [
        CouponLine(
            product_id=line.product_id or line.sku_id,
            category_ids=line.category_ids,
            unit_price_fen=quoted.unit_price_fen,
            payable_fen=quoted.payable_fen,
        )
        for line, quoted in priced
    ]


def price(
    lines: Sequence[PriceLine],
    *,
    tier: TierTerms | None = None,
    coupons: Sequence[AppliedCoupon] = (),
    programme: PointsProgramme | None = None,
    points: int = 0,
    available_points: int = 0,
    shipping: ShippingQuote | None = None,
) -> Quote:
    """Price the lines of one order: list price, activity price, member price or tier discount, coupons, points,
    shipping.

    ``coupons`` are what the coupons take off the ``coupon_lines`` of these lines, as ``loyalty.coupon`` admitted them;
    what one takes off beyond its shares comes off the shipping fee.
    ``points`` is what the member wants to use, ``available_points`` what there is; without a programme nothing can be
    used. Points and their fen are shared over the lines by what each line costs, largest remainder, earlier line first.

    Raises: PointsStep, PointsCapExceeded, PointsShort.
    """
    assert lines, "an order without lines"
    assert programme is not None or points == 0, "points need a programme"
    undiscounted = [_quote_line(line, tier) for line in lines]
    quoted = [_take_coupons(line, [one.shares[at] for one in coupons]) for at, line in enumerate(undiscounted)]
    before_points = sum(line.payable_fen for line in quoted)
    points_fen = points_most = 0
    if programme is not None:
        admit_redemption(programme, points=points, payable_fen=before_points, available=available_points)
        points_fen = redeem_value(programme, points) if points else 0
        points_most = redeemable(programme, payable_fen=before_points, available=available_points)
    shared = _share_points(quoted, points, points_fen)
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
        explain=_explain(shared, lines, tier, coupons, points_fen, shipping),
        coupons=tuple(coupons),
    )


def _quote_line(line: PriceLine, tier: TierTerms | None) -> QuotedLine:
    assert min(line.quantity, line.list_price_fen) >= 1, "a line of nothing"
    unit_price_fen, source = unit_price(
        list_price_fen=line.list_price_fen,
        member_price_fen=line.member_price_fen,
        tier=tier,
        activity_price_fen=line.activity_price_fen,
    )
    goods_fen = line.list_price_fen * line.quantity
    payable_fen = unit_price_fen * line.quantity
    return QuotedLine(
        sku_id=line.sku_id,
        quantity=line.quantity,
        list_price_fen=line.list_price_fen,
        unit_price_fen=unit_price_fen,
        price_source=source,
        goods_fen=goods_fen,
        discount_fen=goods_fen - payable_fen,
        payable_fen=payable_fen,
    )


def _take_coupons(line: QuotedLine, shares: Sequence[int]) -> QuotedLine:
    coupon_fen = sum(shares)
    assert 0 <= coupon_fen <= line.payable_fen, "coupons that were admitted for other lines"
    return replace(line, coupon_fen=coupon_fen, payable_fen=line.payable_fen - coupon_fen)


def _share_points(lines: Sequence[QuotedLine], points: int, points_fen: int) -> tuple[QuotedLine, ...]:
    weights = [line.payable_fen for line in lines]
    shares = zip(lines, prorate(points, weights), prorate(points_fen, weights), strict=True)
    return tuple(
        replace(line, points_used=used, points_fen=worth, payable_fen=line.payable_fen - worth)
        for line, used, worth in shares
    )


def _explain(
    quoted: Sequence[QuotedLine],
    lines: Sequence[PriceLine],
    tier: TierTerms | None,
    coupons: Sequence[AppliedCoupon],
    points_fen: int,
    shipping: ShippingQuote | None,
) -> tuple[Explanation, ...]:
    def taken_off(source: PriceSource) -> int:
        return -sum(line.discount_fen for line in quoted if line.price_source is source)

    activities: dict[str | None, int] = {}
    for line, before in zip(quoted, lines, strict=True):
        if line.price_source is PriceSource.ACTIVITY:
            activities[before.activity_code] = activities.get(before.activity_code, 0) - line.discount_fen
    steps = (
        Explanation(step=PriceStep.LIST, amount_fen=sum(line.goods_fen for line in quoted)),
        *(Explanation(step=PriceStep.ACTIVITY, amount_fen=off, code=code) for code, off in activities.items()),
        Explanation(step=PriceStep.MEMBER, amount_fen=taken_off(PriceSource.MEMBER)),
        Explanation(step=PriceStep.TIER, amount_fen=taken_off(PriceSource.TIER), code=tier.code if tier else None),
        *(Explanation(step=PriceStep.COUPON, amount_fen=-one.discount_fen, code=one.template_code) for one in coupons),
        Explanation(step=PriceStep.POINTS, amount_fen=-points_fen),
    )
    found = [step for step in steps if step.amount_fen or step.step is PriceStep.LIST]
    if shipping is not None and (shipping.fee_fen or shipping.free_reason):
        fee = Explanation(step=PriceStep.SHIPPING, amount_fen=shipping.fee_fen, code=shipping.free_reason)
        found.append(fee)
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
