"""What an order costs: one ordered pipeline over its lines, which explains each step and leaves shares on each line.

The preview, the order and the refund all come from here.

Source: docs/rules/pricing.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from loyalty.coupon import AppliedCoupon, CouponLine
from loyalty.money import apply_bp, next_share, prorate
from loyalty.points import PointsProgramme, admit_redemption, redeem_value, redeemable


class PriceSource(StrEnum):
    """Which price a unit is sold at."""

    LIST = "list"
    MEMBER = "member"
    TIER = "tier"


class PriceStep(StrEnum):
    """The steps of the pipeline, in their order."""

    LIST = "list"
    MEMBER = "member"
    TIER = "tier"
    COUPON = "coupon"
    POINTS = "points"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One line before pricing; prices are fen for one unit. ``member_price_fen`` None: the SKU has none.

    ``product_id`` and ``category_ids`` (its category and the one above) say which coupons are for it.
    """

    sku_id: UUID
    quantity: int
    list_price_fen: int
    member_price_fen: int | None = None
    product_id: UUID | None = None
    category_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """What the member's tier takes off the list price, in 1/10,000."""

    code: str
    discount_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedLine:
    """One line with every share that a refund needs. ``goods = discount + coupon + points + payable``, all in fen."""

    sku_id: UUID
    quantity: int
    list_price_fen: int
    unit_price_fen: int
    price_source: PriceSource
    goods_fen: int
    discount_fen: int
    coupon_fen: int = 0
    points_used: int = 0
    points_fen: int = 0
    payable_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One step that had an effect: its amount is 0 or less but for the first.

    ``code`` names the tier, or the coupon's template.
    """

    step: PriceStep
    amount_fen: int
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an order costs. The explanation adds up to ``payable_fen``; so do the lines."""

    lines: tuple[QuotedLine, ...]
    goods_fen: int
    discount_fen: int
    coupon_fen: int = 0
    points_used: int
    points_fen: int
    payable_fen: int
    points_most: int
    explain: tuple[Explanation, ...]
    coupons: tuple[AppliedCoupon, ...] = ()


def unit_price(
    *, list_price_fen: int, member_price_fen: int | None = None, tier: TierTerms | None = None
) -> tuple[int, PriceSource]:
    """The price of one unit: the lowest of list price, member price and list price less the tier discount.

    Member price and tier discount never add up. The discount is rounded half up to a fen and leaves at least 1 fen.
    At equal prices the member price is named before the tier, the list price before both.
    """
    best, source = list_price_fen, PriceSource.LIST
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
) -> Quote:
    """Price the lines of one order: list price, member price or tier discount, coupons, points.

    ``coupons`` are what the coupons take off the ``coupon_lines`` of these lines, as ``loyalty.coupon`` admitted them.
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
    goods_fen = sum(line.goods_fen for line in shared)
    coupon_fen = sum(line.coupon_fen for line in shared)
    return Quote(
        lines=shared,
        goods_fen=goods_fen,
        discount_fen=goods_fen - coupon_fen - before_points,
        coupon_fen=coupon_fen,
        points_used=points,
        points_fen=points_fen,
        payable_fen=before_points - points_fen,
        points_most=points_most,
        explain=_explain(shared, tier, coupons, points_fen),
        coupons=tuple(coupons),
    )


def _quote_line(line: PriceLine, tier: TierTerms | None) -> QuotedLine:
    assert min(line.quantity, line.list_price_fen) >= 1, "a line of nothing"
    unit_price_fen, source = unit_price(
        list_price_fen=line.list_price_fen, member_price_fen=line.member_price_fen, tier=tier
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
    lines: Sequence[QuotedLine], tier: TierTerms | None, coupons: Sequence[AppliedCoupon], points_fen: int
) -> tuple[Explanation, ...]:
    def taken_off(source: PriceSource) -> int:
        return -sum(line.discount_fen for line in lines if line.price_source is source)

    steps = (
        Explanation(step=PriceStep.LIST, amount_fen=sum(line.goods_fen for line in lines)),
        Explanation(step=PriceStep.MEMBER, amount_fen=taken_off(PriceSource.MEMBER)),
        Explanation(step=PriceStep.TIER, amount_fen=taken_off(PriceSource.TIER), code=tier.code if tier else None),
        *(Explanation(step=PriceStep.COUPON, amount_fen=-one.discount_fen, code=one.template_code) for one in coupons),
        Explanation(step=PriceStep.POINTS, amount_fen=-points_fen),
    )
    return tuple(step for step in steps if step.amount_fen or step.step is PriceStep.LIST)


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
