from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.coupons.coupon_terms import CouponKind, CouponTerms, Scope
from loyalty.coupons.coupon_use import AppliedCoupon, HeldCoupon, admit_coupons
from loyalty.delivery.shipping import ShippingPart, ShippingQuote, Waiver
from loyalty.points import points
from loyalty.prices import pricing
from loyalty.prices.promotion_choice import promote
from loyalty.prices.unit_price import PriceLine, PriceSource, PriceStep, TierTerms, unit_price
from tests.loyalty.worked_examples import number, numbers, worked

PROGRAMME = points.PointsProgramme.parse({})


def tier(cell: str) -> TierTerms | None:
    return None if cell == "-" else TierTerms(code="gold", discount_bp=number(cell))


def price_lines(cell: str) -> list[PriceLine]:
    found = []
    for at, piece in enumerate(cell.split(", ")):
        quantity, _, prices = piece.partition(" × ")
        listed, _, member = prices.partition(" / ")
        found.append(
            PriceLine(
                sku_id=UUID(int=at),
                quantity=number(quantity),
                list_price_fen=number(listed),
                member_price_fen=number(member) or None,
            )
        )
    return found


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[PriceLine], TierTerms | None, points.PointsProgramme]:
    lines = [
        PriceLine(
            sku_id=UUID(int=at),
            quantity=draw(st.integers(1, 999)),
            list_price_fen=draw(st.integers(1, 10**9)),
            member_price_fen=draw(st.none() | st.integers(1, 10**9)),
        )
        for at in range(draw(st.integers(1, 8)))
    ]
    step = draw(st.integers(1, 200))
    programme = points.PointsProgramme.parse(
        {
            "redeem_cap_bp": draw(st.integers(0, 10_000)),
            "redeem_step_points": step,
            "redeem_min_points": step,
            "redeem_step_fen": draw(st.integers(1, 200)),
        }
    )
    discount = draw(st.none() | st.integers(0, 9_000).map(lambda bp: TierTerms(code="gold", discount_bp=bp)))
    return lines, discount, programme


def test_units_cost_what_the_page_says() -> None:
    for row in worked("pricing.md", "Example: the price of a unit"):
        costs, source = unit_price(
            list_price_fen=number(row["list"]),
            activity_price_fen=number(row["activity price"]) or None,
            member_price_fen=number(row["member price"]) or None,
            tier=tier(row["tier discount in bp"]),
        )
        assert (costs, source.value) == (number(row["costs"]), row["named"]), row


def test_orders_cost_what_the_page_says() -> None:
    for row in worked("pricing.md", "Example: orders"):
        quote = pricing.price(
            price_lines(row["lines"]),
            tier=tier(row["tier discount in bp"]),
            programme=PROGRAMME,
            points=number(row["points"]),
            available_points=100_000,
        )
        assert [line.payable_fen for line in quote.lines] == numbers(row["line payable"]), row
        assert [line.points_used for line in quote.lines] == numbers(row["line points"]), row
        assert (quote.goods_fen, quote.discount_fen, quote.payable_fen) == tuple(
            number(row[column]) for column in ("goods", "discount", "payable")
        ), row


def test_refunded_pieces_are_as_the_page_says() -> None:
    refunded = 0
    for row in worked("pricing.md", "Example: a line refunded in pieces"):
        back = pricing.refund_line(
            quantity=3,
            refunded=refunded,
            refunding=number(row["pieces"]),
            payable_fen=1_000,
            points_used=200,
            earned_points=10,
            growth=10,
        )
        refunded += number(row["pieces"])
        assert (back.money_fen, back.points_used, back.earned_points, back.growth) == tuple(
            number(row[column]) for column in ("money", "points back", "earned points taken back", "growth taken back")
        ), row


@given(orders(), st.integers(0, 10**9), st.data())
def test_lines_and_explanations_add_up_to_the_fen(
    order: tuple[list[PriceLine], TierTerms | None, points.PointsProgramme], there: int, data: st.DataObject
) -> None:
    lines, discount, programme = order
    most = pricing.price(lines, tier=discount, programme=programme, available_points=there).points_most
    wanted = data.draw(st.sampled_from(sorted({0, most, min(most, programme.redeem_step_points)})))
    quote = pricing.price(lines, tier=discount, programme=programme, points=wanted, available_points=there)
    assert sum(line.payable_fen for line in quote.lines) == quote.payable_fen
    assert sum(line.points_used for line in quote.lines) == quote.points_used == wanted
    assert sum(line.points_fen for line in quote.lines) == quote.points_fen
    assert sum(step.amount_fen for step in quote.explain) == quote.payable_fen
    assert quote.goods_fen - quote.discount_fen - quote.points_fen == quote.payable_fen
    for line in quote.lines:
        assert line.goods_fen - line.discount_fen - line.points_fen == line.payable_fen >= 0
        assert line.unit_price_fen * line.quantity == line.payable_fen + line.points_fen
    if programme.redeem_cap_bp < 10_000:
        assert quote.payable_fen > 0


@given(orders())
def test_a_member_never_pays_more_than_the_list_price_or_the_member_price(
    order: tuple[list[PriceLine], TierTerms | None, points.PointsProgramme],
) -> None:
    lines, discount, _ = order
    for before, after in zip(lines, pricing.price(lines, tier=discount).lines, strict=True):
        assert 1 <= after.unit_price_fen <= min(before.list_price_fen, before.member_price_fen or before.list_price_fen)


@given(
    st.integers(1, 999),
    st.lists(st.integers(1, 50), max_size=30),
    st.tuples(*[st.integers(0, 10**9)] * 4),
)
def test_a_line_refunded_in_any_pieces_gives_back_exactly_what_it_took(
    quantity: int, steps: list[int], took: tuple[int, int, int, int]
) -> None:
    refunded, back = 0, [0, 0, 0, 0]
    for step in [*steps, quantity]:
        refunding = min(step, quantity - refunded)
        part = pricing.refund_line(
            quantity=quantity,
            refunded=refunded,
            refunding=refunding,
            payable_fen=took[0],
            points_used=took[1],
            earned_points=took[2],
            growth=took[3],
        )
        back = [
            sum(pair)
            for pair in zip(back, (part.money_fen, part.points_used, part.earned_points, part.growth), strict=True)
        ]
        refunded += refunding
    assert tuple(back) == took


def shipped(fee_fen: int, why_free: str) -> ShippingQuote:
    return ShippingQuote(
        fee_fen=fee_fen,
        full_fen=1_000,
        waived_by=None if why_free == "-" else Waiver(why_free),
        missing_fen=None,
        parts=(ShippingPart(code="standard", version_id=UUID(int=3), fee_fen=1_000, free=False),),
    )


def test_shipping_is_added_as_the_page_says() -> None:
    line = PriceLine(
        sku_id=UUID(int=1), quantity=2, list_price_fen=5_000, activity_price_fen=4_000, activity_code="flash_1"
    )
    for row in worked("pricing.md", "Example: an order with shipping"):
        off = number(row["coupon on shipping"])
        coupon = AppliedCoupon(coupon_id=UUID(int=2), template_code="post", discount_fen=off, shares=(0,))
        quote = pricing.price(
            [line],
            coupons=[coupon] if off else [],
            shipping=shipped(number(row["shipping fee"]), row["why free"]),
        )
        assert (quote.goods_fen, quote.shipping_fen, quote.coupon_fen, quote.payable_fen) == tuple(
            number(row[column]) for column in ("goods", "shipping", "coupons", "payable")
        ), row
        assert [f"{step.step.value} {step.amount_fen:,}" for step in quote.explain] == (
            row["explained"].replace(", ", "\n").split("\n")
        ), row
        assert quote.goods_fen + quote.shipping_fen == quote.discount_fen + quote.coupon_fen + quote.payable_fen
        assert quote.shipping_coupon_fen == off


def test_only_steps_with_an_effect_are_explained() -> None:
    quote = pricing.price(
        price_lines("2 × 5,000 / 4,500, 1 × 1,000"),
        tier=tier("500"),
        programme=PROGRAMME,
        points=100,
        available_points=100,
    )
    assert [(step.step, step.amount_fen, step.code) for step in quote.explain] == [
        (PriceStep.LIST, 11_000, None),
        (PriceStep.MEMBER, -1_000, None),
        (PriceStep.TIER, -50, "gold"),
        (PriceStep.POINTS, -100, None),
    ]
    plain = pricing.price(price_lines("1 × 100"))
    assert [step.step for step in plain.explain] == [PriceStep.LIST]
    assert plain.lines[0].price_source is PriceSource.LIST


def test_an_order_paid_by_points_alone_costs_nothing() -> None:
    everything = points.PointsProgramme(redeem_cap_bp=10_000)
    quote = pricing.price(price_lines("1 × 500"), programme=everything, points=500, available_points=500)
    assert (quote.payable_fen, quote.points_fen) == (0, 500)


def test_points_that_are_not_there_are_refused() -> None:
    with pytest.raises(points.PointsShort):
        pricing.price(price_lines("1 × 10,000"), programme=PROGRAMME, points=200, available_points=199)


def two_coupons(lines: list[PriceLine], tier_terms: TierTerms | None) -> tuple[AppliedCoupon, ...]:
    first = Scope(product_ids=frozenset({lines[0].sku_id}))
    terms = [
        CouponTerms(kind=CouponKind.PERCENT, discount_bp=1_000, scope=first, valid_days=1, **TOGETHER),
        CouponTerms(kind=CouponKind.AMOUNT, amount_fen=600, valid_days=1, **TOGETHER),
    ]
    now = datetime(2026, 11, 20, tzinfo=UTC)
    held = [
        HeldCoupon(
            id=UUID(int=at),
            template_id=UUID(int=at),
            template_code=f"c{at}",
            version=1,
            terms=one,
            usable_from=now,
            expires_at=now + timedelta(days=1),
        )
        for at, one in enumerate(terms)
    ]
    return admit_coupons(held, pricing.coupon_lines(lines, promote(lines, tier=tier_terms)), now=now)


TOGETHER: dict[str, Any] = {"group": "g", "combines_with": frozenset({"g"})}


def test_coupons_come_between_the_tier_and_the_points() -> None:
    for row in worked("pricing.md", "Example: an order with coupons and points"):
        lines, terms = price_lines(row["lines"]), tier(row["tier discount in bp"])
        coupons = two_coupons(lines, terms)
        quote = pricing.price(
            lines,
            tier=terms,
            coupons=coupons,
            programme=PROGRAMME,
            points=number(row["points"]),
            available_points=100_000,
        )
        assert [line.coupon_fen for line in quote.lines] == numbers(row["line coupons"]), row
        assert [line.points_used for line in quote.lines] == numbers(row["line points"]), row
        assert [line.payable_fen for line in quote.lines] == numbers(row["line payable"]), row
        assert [abs(step.amount_fen) for step in quote.explain] == [
            number(cell) for cell in row["explained"].split(" - ")
        ]
        assert sum(step.amount_fen for step in quote.explain) == quote.payable_fen
        for line in quote.lines:
            assert line.goods_fen == line.discount_fen + line.coupon_fen + line.points_fen + line.payable_fen
        assert quote.coupons == coupons
