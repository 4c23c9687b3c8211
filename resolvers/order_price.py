"""What an order would cost a member now: the lines, the rules and the promotions that it is priced from."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from loyalty import order as rule
from loyalty.coupon import CouponChoiceUnclear, CouponNotUsable
from loyalty.coupon_choice import Plan, best_plan
from loyalty.coupon_use import AppliedCoupon, CouponLine, HeldCoupon, admit_coupons, unusable
from loyalty.order import OrderLine, SkuTerms
from loyalty.points_lot import available
from loyalty.pricing import Quote, coupon_lines, price
from loyalty.promotion import OfferedPromotion
from loyalty.promotion_choice import Promoted, beside_coupons, promote
from loyalty.promotion_hint import Hint, hints
from loyalty.shipping import ShippingQuote
from loyalty.unit_price import PriceLine, TierTerms
from models import points_ledger as ledger
from models.engine import rows
from resolvers import coupon_hold
from resolvers.order_write import PlacedUnder, placed_under
from resolvers.promotion_offer import frozen, offered, thawed


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponWish:
    """The coupons that an order is to use: these, or the best combination of those the member has."""

    ids: tuple[UUID, ...] = ()
    best: bool = False


NO_COUPONS = CouponWish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """What an order is decided and priced from, read once. ``prices`` are the lines before anything is taken off.

    ``is_kept``: prices and promotions are those of a kept quote, and there is nothing left to choose.
    """

    member_id: UUID
    lines: tuple[OrderLine, ...]
    skus: dict[UUID, dict[str, Any]]
    under: PlacedUnder
    tier: TierTerms
    prices: tuple[PriceLine, ...]
    promotions: tuple[OfferedPromotion, ...]
    is_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A quote, and how it came about: the promotions, the shipping fee, the coupons if all were weighed."""

    quote: Quote
    promoted: Promoted
    shipping: ShippingQuote | None = None
    plan: Plan | None = None


Ship = Callable[[Promoted], Awaitable[ShippingQuote]]
"""How the shipping fee of goods is found, once promotions have said what they cost."""


async def read_basket(
    member_id: UUID, lines: Sequence[OrderLine], now: datetime, *, zone: tzinfo, without: UUID | None = None
) -> Basket:
    """Read what an order of these lines is priced from, as if the kept quote ``without`` held nothing.

    Raises: LineCountInvalid, QuantityInvalid, SkuNotOnSale, PurchaseLimitReached, OutOfStock.
    """
    found = await rows(
        "SELECT sku.id, sku.title, sku.price_fen, sku.member_price_fen, sku.stock_left, sku.purchase_limit, "
        "product.title AS product_title, product.id AS product_id, product.category_id, category.parent_id, "
        "product.no_return_cause, "
        "(product.state = 'published' AND NOT sku.hidden) AS on_sale, "
        "coalesce((SELECT sum(line.quantity - line.refunded_count) FROM order_line line "
        "JOIN shop_order o ON o.id = line.order_id "
        "WHERE line.sku_id = sku.id AND o.member_id = $2 AND o.kind = 'purchase' "
        "AND o.state NOT IN ('closed', 'refunded')), 0)::int AS bought "
        "FROM sku JOIN product ON product.id = sku.product_id LEFT JOIN category ON category.id = product.category_id "
        "WHERE sku.id = ANY($1::uuid[])",
        [[line.sku_id for line in lines[: rule.MAX_LINES]], member_id],
    )
    skus = {row["id"]: row for row in found}
    admitted = rule.admit_lines(
        lines,
        {
            sku_id: SkuTerms(
                sku_id=sku_id,
                on_sale=row["on_sale"],
                stock_left=row["stock_left"],
                purchase_limit=row["purchase_limit"],
                bought_count=row["bought"],
            )
            for sku_id, row in skus.items()
        },
    )
    under = await placed_under(member_id, now)
    return Basket(
        member_id=member_id,
        lines=admitted,
        skus=skus,
        under=under,
        tier=TierTerms(code=under.tier.code, discount_bp=under.tier.discount_bp),
        prices=tuple(_price_line(line, skus[line.sku_id]) for line in admitted),
        promotions=await offered(member_id, tier_code=under.tier.code, now=now, zone=zone, without=without),
    )


def _price_line(line: OrderLine, sku: dict[str, Any]) -> PriceLine:
    categories = (sku["category_id"], sku["parent_id"])
    return PriceLine(
        sku_id=line.sku_id,
        quantity=line.quantity,
        list_price_fen=sku["price_fen"],
        member_price_fen=sku["member_price_fen"],
        product_id=sku["product_id"],
        category_ids=frozenset(one for one in categories if one is not None),
    )


async def price_basket(
    basket: Basket, wish: CouponWish, points_wanted: int, now: datetime, *, ship: Ship | None = None
) -> Priced:
    """Price a basket in every way that promotions and coupons leave, and take the cheapest.

    An order with coupons is priced with all promotions, and with those alone that go with coupons. Without ``ship``
    nothing is shipped.

    Raises:
        CouponChoiceUnclear, CouponNotFound, TooManyCoupons, CouponNotUsable, CouponsNotCombinable: the coupons.
        PointsStep, PointsCapExceeded, PointsShort: the points.
    """
    if wish.best and wish.ids:
        raise CouponChoiceUnclear
    chosen = await coupon_hold.chosen(basket.member_id, wish.ids) if wish.ids else []
    held = await coupon_hold.held(basket.member_id, now) if wish.best else []
    points_there = available(await ledger.open_lots(basket.member_id), now)
    best: Priced | None = None
    refused: CouponNotUsable | None = None
    for promoted in _ways(basket, with_coupons=wish != NO_COUPONS):
        shipping = await ship(promoted) if ship else None
        shipping_fen = shipping.fee_fen if shipping else 0
        plan: Plan | None = None
        applied: tuple[AppliedCoupon, ...] = ()
        for_coupons = coupon_lines(basket.prices, promoted)
        if wish.best:
            plan = await _weigh(held, for_coupons, now, shipping_fen)
            applied = plan.applied
        elif chosen:
            try:
                applied = admit_coupons(chosen, for_coupons, now=now, shipping_fen=shipping_fen)
            except CouponNotUsable as refusal:
                refused = refusal
                continue
        quote = price(
            basket.prices,
            tier=basket.tier,
            promoted=promoted,
            coupons=applied,
            programme=basket.under.programme.rules,
            points=points_wanted,
            available_points=points_there,
            shipping=shipping,
        )
        if best is None or quote.payable_fen < best.quote.payable_fen:
            best = Priced(quote=quote, promoted=promoted, shipping=shipping, plan=plan)
    if best is None:
        assert refused is not None, "an order without coupons has a price"
        raise refused
    return best


def _ways(basket: Basket, *, with_coupons: bool) -> list[Promoted]:
    """What promotions make of the basket: all of them, and for an order with coupons those alone that go with these.

    A kept quote has chosen between the two, and its order is priced in the same way.
    """
    ways = [promote(basket.prices, tier=basket.tier, promotions=basket.promotions)]
    if with_coupons and not basket.is_kept and not all(line.takes_coupons for line in ways[0].lines):
        others = beside_coupons(basket.promotions)
        ways.append(promote(basket.prices, tier=basket.tier, promotions=others))
    return ways


async def _weigh(held: Sequence[HeldCoupon], lines: Sequence[CouponLine], now: datetime, shipping_fen: int) -> Plan:
    # In a thread, because a full wallet is a second's arithmetic for which nobody else is to wait.
    return await asyncio.to_thread(best_plan, held, lines, now=now, shipping_fen=shipping_fen)


async def weigh_basket(basket: Basket, now: datetime, *, ship: Ship | None = None) -> Plan:
    """The best combination of the member's coupons for a basket, and what becomes of each of the others.

    Without ``ship`` there is no shipping fee that one could take off.
    """
    priced = await price_basket(basket, CouponWish(best=True), 0, now, ship=ship)
    assert priced.plan is not None, "the best coupons were asked for"
    return priced.plan


async def what_more(basket: Basket, priced: Priced, now: datetime) -> tuple[Hint, ...]:
    """What more would save more on this basket, the nearest first."""
    for_coupons = coupon_lines(basket.prices, priced.promoted)
    held = await coupon_hold.held(basket.member_id, now)
    taken_off = {one.coupon_id: one.discount_fen for one in priced.quote.coupons}
    lacking = [
        (coupon, why.missing_fen)
        for coupon in held
        for why in [unusable(coupon, for_coupons, now=now, shipping_fen=priced.quote.shipping_fen)]
        if why is not None and why.missing_fen is not None
    ]
    return hints(
        basket.prices,
        priced.promoted,
        tier=basket.tier,
        promotions=basket.promotions,
        lacking=lacking,
        using=[(coupon, taken_off[coupon.id]) for coupon in held if coupon.id in taken_off],
        shipping=priced.shipping,
    )


def freeze(basket: Basket, promoted: Promoted) -> dict[str, Any]:
    """The prices, the tier and the used promotions of a basket as JSON, for a quote that is kept."""
    return {
        "prices": {
            str(line.sku_id): {"list_price_fen": line.list_price_fen, "member_price_fen": line.member_price_fen}
            for line in basket.prices
        },
        "tier": {"code": basket.tier.code, "discount_bp": basket.tier.discount_bp},
        "promotions": frozen([one.promotion for one in promoted.applied]),
    }


def thaw(basket: Basket, stored: Mapping[str, Any]) -> Basket:
    """The basket at the prices, the tier and the promotions of a kept quote."""
    return replace(
        basket,
        tier=TierTerms(**stored["tier"]),
        promotions=thawed(stored["promotions"]),
        is_kept=True,
        prices=tuple(replace(line, **stored["prices"][str(line.sku_id)]) for line in basket.prices),
    )
