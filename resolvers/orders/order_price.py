"""What an order would cost a member now: the lines, the rules and the promotions that it is priced from."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from loyalty.coupons.coupon import CouponChoiceUnclear, CouponNotUsable
from loyalty.coupons.coupon_choice import MAX_STEPS, Plan, best_plan
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon, admit_coupons, unusable
from loyalty.delivery.shipping import ShippingQuote
from loyalty.orders import order as rule
from loyalty.orders.order import OrderLine, SkuTerms
from loyalty.points.points import PointsCapExceeded
from loyalty.points.points_lot import available
from loyalty.prices.pricing import Quote, coupon_lines, price
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Promoted
from loyalty.prices.promotion_choice import exactly, promote
from loyalty.prices.promotion_hint import Hint, hints
from loyalty.prices.promotion_ways import MAX_WAYS, Ways
from loyalty.prices.unit_price import PriceLine, TierTerms
from models.engine import rows
from models.points import points_ledger as ledger
from resolvers.coupons import coupon_hold
from resolvers.orders.order_write import PlacedUnder, placed_under
from resolvers.prices.promotion_offer import frozen, offered, thawed


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

    @property
    def before_points_fen(self) -> int:
        """What it costs before points, which are the same in every way to price it."""
        return self.quote.payable_fen + self.quote.points_fen


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

    An order with coupons leaves promotions out, if it costs less by that. Without ``ship`` nothing is shipped.

    Raises:
        CouponChoiceUnclear, CouponNotFound, TooManyCoupons, CouponNotUsable, CouponsNotCombinable: the coupons.
        PointsStep, PointsCapExceeded, PointsShort: the points.
    """
    if wish.best and wish.ids:
        raise CouponChoiceUnclear
    chosen = await coupon_hold.chosen(basket.member_id, wish.ids) if wish.ids else []
    held = await coupon_hold.held(basket.member_id, now) if wish.best else []
    pricing = _Pricing(
        basket=basket,
        chosen=chosen,
        held=held if wish.best else None,
        points_wanted=points_wanted,
        points_there=available(await ledger.open_lots(basket.member_id), now),
        ship=ship,
        now=now,
    )
    if not basket.is_kept and wish != NO_COUPONS:
        return await pricing.price_cheapest()
    promoted = None
    if basket.is_kept:
        promoted = exactly(basket.prices, tier=basket.tier, promotions=basket.promotions)
    if promoted is None:
        promoted = promote(basket.prices, tier=basket.tier, promotions=basket.promotions)
    return await pricing.price(promoted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pricing:
    """What prices a basket once it is said which promotions are used. ``held`` None: no best coupons are asked for."""

    basket: Basket
    chosen: Sequence[HeldCoupon]
    held: Sequence[HeldCoupon] | None
    points_wanted: int
    points_there: int
    ship: Ship | None
    now: datetime

    async def price_cheapest(self) -> Priced:
        """The way to use promotions by which an order with coupons costs least; the first of those that cost the same.

        Coupons that cannot be used beside the promotions may drive them out if the order costs less with them than
        without. Raises: what ``price`` raises.
        """
        basket = self.basket
        ways = Ways(
            basket.prices,
            tier=basket.tier,
            promotions=basket.promotions,
            coupons=[*(self.held or ()), *self.chosen],
        )
        plans: list[Plan] = []
        best: Priced | None = None
        refused: CouponNotUsable | None = None
        without_fen: int | None = None
        for promoted in ways.first():
            try:
                found = await self.price(promoted)
            except CouponNotUsable as refusal:
                refused = refusal
                if without_fen is None:
                    without_fen = promoted.payable_fen + await self._fee_fen(promoted)
            except PointsCapExceeded:
                # The less an order costs, the fewer points it takes; who wants more of them has a way that takes them.
                if best is None:
                    raise
            else:
                plans += [found.plan] if found.plan else []
                best = found if best is None or found.quote.payable_fen < best.quote.payable_fen else best
        least_fen = without_fen if best is None else best.before_points_fen
        assert least_fen is not None, "a way has a price or is refused"
        while (way := await asyncio.to_thread(ways.another, least_fen)) is not None:
            try:
                found = await self.price(way, max_steps=MAX_STEPS // MAX_WAYS)
            except CouponNotUsable:
                continue
            except PointsCapExceeded:
                if best is None:
                    raise
                continue
            plans += [found.plan] if found.plan else []
            if found.before_points_fen < least_fen:
                best, least_fen = found, found.before_points_fen
        if best is None:
            assert refused is not None, "only a refusal leaves no price"
            raise refused
        if best.plan is None:
            return best
        exact = ways.exact and all(plan.exact for plan in plans)
        return replace(best, plan=replace(best.plan, exact=exact))

    async def price(self, promoted: Promoted, *, max_steps: int = MAX_STEPS) -> Priced:
        """What the basket costs with these promotions and the coupons. Raises: as ``price_basket``."""
        shipping = await self.ship(promoted) if self.ship else None
        shipping_fen = shipping.fee_fen if shipping else 0
        for_coupons = coupon_lines(self.basket.prices, promoted)
        plan: Plan | None = None
        if self.held is not None:
            plan = await _weigh(self.held, for_coupons, self.now, shipping_fen, max_steps)
        applied = (
            admit_coupons(self.chosen, for_coupons, now=self.now, shipping_fen=shipping_fen)
            if plan is None
            else plan.applied
        )
        quote = price(
            self.basket.prices,
            tier=self.basket.tier,
            promoted=promoted,
            coupons=applied,
            programme=self.basket.under.programme.rules,
            points=self.points_wanted,
            available_points=self.points_there,
            shipping=shipping,
        )
        return Priced(quote=quote, promoted=promoted, shipping=shipping, plan=plan)

    async def _fee_fen(self, promoted: Promoted) -> int:
        return (await self.ship(promoted)).fee_fen if self.ship else 0


async def _weigh(
    held: Sequence[HeldCoupon], lines: Sequence[CouponLine], now: datetime, shipping_fen: int, max_steps: int
) -> Plan:
    # In a thread, because a full wallet is a second's arithmetic for which nobody else is to wait.
    return await asyncio.to_thread(best_plan, held, lines, now=now, shipping_fen=shipping_fen, max_steps=max_steps)


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
