from datetime import UTC, date, datetime
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.coupons.coupon_use import AppliedCoupon, HeldCoupon
from loyalty.delivery.shipping import ShippingPart, ShippingQuote
from loyalty.points.points import PointsProgramme
from loyalty.prices import promotion as rule
from loyalty.prices.pricing import coupon_lines, price
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Cart, Promoted
from loyalty.prices.promotion_choice import EveryWay, exactly, promote
from loyalty.prices.promotion_hint import HintKind, hints
from loyalty.prices.promotion_terms import Partner, PromotionKind, PromotionTerms
from loyalty.prices.unit_price import PriceLine, TierTerms
from loyalty.programme import ProgrammeInvalid
from tests.loyalty.worked_examples import number, numbers, worked

LADDER = {
    "kind": "amount_off",
    "steps": [{"threshold_fen": 10_000, "off_fen": 1_000}, {"threshold_fen": 20_000, "off_fen": 3_000}],
}
EVERY = {
    "kind": "amount_off",
    "steps": [{"threshold_fen": 10_000, "off_fen": 1_000}],
    "repeat": True,
    "cap_fen": 2_500,
}


def offered(definition: dict[str, Any], *, at: int = 1, **left: Any) -> OfferedPromotion:
    return OfferedPromotion(
        id=UUID(int=at),
        version_id=UUID(int=100 + at),
        code=f"p{at}",
        title=f"促销 {at}",
        terms=PromotionTerms.parse(definition),
        **left,
    )


def lines_of(cell: str) -> list[PriceLine]:
    found = []
    for at, piece in enumerate(cell.split(", ")):
        quantity, _, listed = piece.partition(" × ")
        found.append(PriceLine(sku_id=UUID(int=at + 1), quantity=number(quantity), list_price_fen=number(listed)))
    return found


def tier(cell: str) -> TierTerms | None:
    return None if cell == "-" else TierTerms(code="gold", discount_bp=number(cell))


def sets(cell: str) -> dict[str, Any]:
    if cell == "ladder":
        return LADDER
    if cell == "every":
        return EVERY
    words = cell.replace(",", "").split()
    if words[0] == "any":
        return {"kind": "bundle", "pieces": int(words[1]), "price_fen": int(words[3])}
    return {"kind": "pieces", "pieces": int(words[1]), "rewarded": int(words[2]), "discount_bp": int(words[4])}


def test_pieces_cost_what_the_page_says() -> None:
    names = {"percent": "discount_bp", "amount": "amount_fen", "price": "price_fen"}
    for row in worked("promotion.md", "Example: one piece"):
        effect, amount = row["promotion"].split()
        combines = [one.value for one in Partner if one is not Partner.TIER or row["goes with tier"] == "yes"]
        one = offered({"kind": "discount", names[effect]: number(amount), "combines": combines})
        line = PriceLine(sku_id=UUID(int=1), quantity=1, list_price_fen=number(row["list"]))
        found = promote([line], tier=tier(row["tier discount in bp"]), promotions=[one])
        taken = sum(each.discount_fen for each in found.applied)
        assert (found.payable_fen, taken) == (number(row["costs"]), number(row["taken off by promotion"])), row


def test_a_limited_price_goes_where_it_saves_most() -> None:
    for row in worked("promotion.md", "Example: a limited price"):
        left = None if row["uses left"] == "-" else number(row["uses left"])
        found = promote(
            lines_of(row["lines"]), promotions=[offered({"kind": "newcomer", "price_fen": 500}, uses_left=left)]
        )
        assert [line.payable_fen for line in found.lines] == numbers(row["line payable"]), row
        assert [(one.discount_fen, one.uses) for one in found.applied] == [
            (number(row["taken off"]), number(row["uses"]))
        ], row


def test_sets_cost_what_the_page_says() -> None:
    for row in worked("promotion.md", "Example: N for M"):
        found = promote(lines_of(row["lines"]), promotions=[offered(sets(row["promotion"]))])
        assert [line.promotion_fen for line in found.lines] == numbers(row["line shares"]), row
        assert sum(one.discount_fen for one in found.applied) == number(row["taken off"]), row
        assert sum(one.uses for one in found.applied) == number(row["uses"]), row


def test_steps_take_off_what_the_page_says() -> None:
    for row in worked("promotion.md", "Example: amount-off steps"):
        on = [offered(sets(row["promotion"]), at=1)]
        if row["timed discount on all"] != "-":
            on.append(offered({"kind": "discount", "discount_bp": number(row["timed discount on all"])}, at=2))
        found = promote(lines_of(row["lines"]), promotions=on)
        assert found.payable_fen == number(row["goods after promotions"]), row
        assert [line.promotion_fen for line in found.lines] == numbers(row["line shares"]), row
        assert sum(line.promotion_fen for line in found.lines) == number(row["taken off by steps"]), row


def test_the_cheapest_of_what_may_be_used_is_used() -> None:
    for row in worked("promotion.md", "Example: which of them"):
        on = []
        for at, text in enumerate(row["promotions"].split(", ")):
            name, _, without = text.partition(" not ")
            combines = [one.value for one in Partner if one.value != without]
            definition: dict[str, Any] = {"kind": "discount"}
            if name == "step":
                definition = {"kind": "amount_off", "steps": [{"threshold_fen": 10_000, "off_fen": 1_000}]}
            else:
                definition["discount_bp"] = int(name.split()[0]) * 100
            on.append((name, offered({**definition, "combines": combines}, at=at)))
        found = promote(
            lines_of("1 × 10,000"), tier=tier(row["tier discount in bp"]), promotions=[one for _, one in on]
        )
        names = {one.id: name for name, one in on}
        used = [names[one.promotion.id] for one in found.applied]
        assert used == ([] if row["used"] == "nothing" else row["used"].split(", ")), row
        assert found.payable_fen == number(row["goods after promotions"]), row


def test_what_leaves_the_others_less_to_take_is_left_out_as_the_page_says() -> None:
    lines = lines_of("1 × 3,200, 1 × 3,200")
    first = {"sku_ids": [str(lines[0].sku_id)]}
    known: dict[str, dict[str, Any]] = {
        "bundle": {"kind": "bundle", "pieces": 2, "price_fen": 3_200},
        "step": {"kind": "amount_off", "steps": [{"threshold_fen": 3_200, "off_fen": 1_600}], "scope": first},
        "new price": {"kind": "discount", "price_fen": 100, "scope": first},
    }
    names = list(known)
    for row in worked("promotion.md", "Example: a promotion that is left out"):
        on = [offered(known[name], at=names.index(name)) for name in row["promotions"].split(", ")]
        promoted = promote(lines, promotions=on)
        assert [names[one.promotion.id.int] for one in promoted.applied] == row["used"].split(", "), row
        assert promoted.payable_fen == number(row["goods after promotions"]), row


def test_only_so_many_ways_to_leave_out_are_priced() -> None:
    lines = lines_of("1 × 3,200, 1 × 3,200")
    first = {"sku_ids": [str(lines[0].sku_id)]}
    on = [
        offered({"kind": "bundle", "pieces": 2, "price_fen": 3_200}, at=1),
        offered({"kind": "amount_off", "steps": [{"threshold_fen": 3_200, "off_fen": 1_600}], "scope": first}, at=2),
        *(offered({"kind": "discount", "price_fen": 100 * at, "scope": first}, at=at) for at in range(3, 9)),
    ]
    every, few = EveryWay(Cart(lines, None, on)), EveryWay(Cart(lines, None, on), max_priced=3)
    assert (every.cheapest().payable_fen, every.exact) == (1_600, True)
    assert few.cheapest().payable_fen > 1_600
    assert not few.exact


def test_exactly_these_are_used_or_none() -> None:
    lines = lines_of("1 × 10,000")
    alone = [one.value for one in Partner if one is not Partner.PROMOTIONS]
    off = offered({"kind": "discount", "discount_bp": 1_000, "combines": alone}, at=2)
    cheaper = offered({"kind": "discount", "discount_bp": 2_000}, at=3)
    found = exactly(lines, promotions=[off])
    assert found is not None
    assert found.payable_fen == 9_000
    assert exactly(lines, promotions=[off, cheaper]) is None
    assert exactly(lines, promotions=[off, offered(LADDER)]) is None
    assert exactly(lines, promotions=[offered(LADDER), offered(EVERY, at=2)]) is None


def test_hints_say_what_the_page_says() -> None:
    lines = lines_of("2 × 3,000")
    for row in worked("promotion.md", "Example: what more unlocks the next"):
        on = [offered(sets(row["promotion"]))]
        found = hints(lines, promote(lines, promotions=on), promotions=on)
        expected = (number(row["missing fen"]), number(row["missing pieces"]), number(row["saves"]))
        told = [(one.missing_fen or 0, one.missing_pieces or 0, one.saves_fen) for one in found]
        assert told == ([] if row["saves"] == "-" else [expected]), row


def test_hints_come_nearest_first() -> None:
    lines = lines_of("2 × 3,000")
    on = [offered(LADDER, at=1), offered(sets("of 3, 1 at 10,000 bp off"), at=2)]
    found = hints(lines, promote(lines, promotions=on), promotions=on)
    assert [one.code for one in found] == ["p2", "p1"]


def test_a_hint_counts_what_it_would_drive_out() -> None:
    alone = [one.value for one in Partner if one is not Partner.PROMOTIONS]
    half = {"kind": "pieces", "pieces": 2, "rewarded": 1, "discount_bp": 5_000, "combines": alone}
    lines = lines_of("2 × 3,000, 1 × 9,000")
    beside = offered({"kind": "amount_off", "steps": [{"threshold_fen": 10_000, "off_fen": 1_000}]}, at=1)
    small = offered({**half, "scope": {"sku_ids": [str(lines[0].sku_id)]}}, at=2)
    on = [beside, small]
    assert promote(lines, promotions=on).payable_fen == 15_000 - 1_500
    told = {one.code: one.saves_fen for one in hints(lines, promote(lines, promotions=on), promotions=on)}
    assert told == {"p2": 1_500}
    lines = lines_of("1 × 300, 1 × 14,700")
    on = [beside, offered({**half, "scope": {"sku_ids": [str(lines[0].sku_id)]}}, at=2)]
    assert promote(lines, promotions=on).payable_fen == 15_000 - 1_000
    assert hints(lines, promote(lines, promotions=on), promotions=on) == ()


def test_a_step_behind_a_better_promotion_is_no_hint() -> None:
    lines = lines_of("1 × 9,500")
    timed = {"kind": "discount", "discount_bp": 2_000, "combines": [Partner.COUPONS.value]}
    on = [offered(LADDER, at=1), offered(timed, at=2)]
    assert [one.missing_fen for one in hints(lines, promote(lines, promotions=on), promotions=on)] == []
    on = [offered(LADDER, at=1), offered({**timed, "discount_bp": 500}, at=2)]
    told = [(one.missing_fen, one.saves_fen) for one in hints(lines, promote(lines, promotions=on), promotions=on)]
    assert told == [(500, 1_000 - 475)]


def test_coupons_and_free_shipping_say_what_they_lack() -> None:
    lines = lines_of("2 × 3,000")
    promoted = promote(lines)
    coupons = [
        HeldCoupon(
            id=UUID(int=at),
            template_id=UUID(int=at),
            template_code=f"c{at % 2}",
            version=1,
            terms=CouponTerms(kind=kind, amount_fen=amount_fen, discount_bp=rate, threshold_fen=8_000, cap_fen=cap_fen),
            usable_from=datetime(2026, 11, 20, tzinfo=UTC),
            expires_at=datetime(2026, 11, 21, tzinfo=UTC),
        )
        for at, (kind, amount_fen, rate, cap_fen) in enumerate(
            [(CouponKind.AMOUNT, 700, None, None), (CouponKind.PERCENT, None, 1_000, 500)]
        )
    ]
    shipping = ShippingQuote(fee_fen=900, full_fen=900, waived_by=None, missing_fen=1_500, parts=())
    lacking = [(coupons[0], 2_000), (coupons[1], 2_500), (coupons[0], 2_200)]
    assert [
        (one.kind, one.code, one.missing_fen, one.saves_fen)
        for one in hints(lines, promoted, lacking=lacking, shipping=shipping)
    ] == [
        (HintKind.SHIPPING, None, 1_500, 900),
        (HintKind.COUPON, "c0", 2_000, 700),
        (HintKind.COUPON, "c1", 2_500, 500),
    ]


def test_a_coupon_that_drives_others_out_saves_what_it_is_better_than_these() -> None:
    lines = lines_of("2 × 3,000")
    used, lacking = (
        HeldCoupon(
            id=UUID(int=at),
            template_id=UUID(int=at),
            template_code=f"c{at}",
            version=1,
            terms=CouponTerms(kind=CouponKind.AMOUNT, amount_fen=amount_fen, exclusive=exclusive),
            usable_from=datetime(2026, 11, 20, tzinfo=UTC),
            expires_at=datetime(2026, 11, 21, tzinfo=UTC),
        )
        for at, amount_fen, exclusive in ((1, 700, False), (2, 1_000, True))
    )
    for off_fen, saves in ((700, [300]), (1_000, [])):
        found = hints(lines, promote(lines), lacking=[(lacking, 2_000)], using=[(used, off_fen)])
        assert [one.saves_fen for one in found] == saves


def test_a_line_in_an_activity_takes_no_promotion() -> None:
    line = PriceLine(
        sku_id=UUID(int=1), quantity=1, list_price_fen=10_000, activity_price_fen=9_000, activity_code="flash"
    )
    found = promote([line], promotions=[offered(LADDER), offered({"kind": "discount", "discount_bp": 5_000}, at=2)])
    assert (found.payable_fen, found.applied) == (9_000, ())


def test_goods_of_a_promotion_without_coupons_leave_nothing_to_them() -> None:
    lines = lines_of("1 × 10,000, 1 × 5,000")
    scope = {"sku_ids": [str(lines[0].sku_id)]}
    one = offered({"kind": "discount", "discount_bp": 1_000, "scope": scope, "combines": ["points"]})
    promoted = promote(lines, promotions=[one])
    assert [line.payable_fen for line in coupon_lines(lines, promoted)] == [0, 5_000]
    assert [line.payable_fen for line in promoted.lines] == [9_000, 5_000]


def test_an_order_goes_through_every_step_as_the_page_says() -> None:
    lines = lines_of("3 × 10,000")
    on = [
        offered({"kind": "member_day", "discount_bp": 1_000, "weekdays": [5]}, at=1),
        offered({"kind": "bundle", "pieces": 3, "price_fen": 20_000}, at=2),
        offered(LADDER, at=3),
    ]
    quote = price(
        lines,
        tier=TierTerms(code="gold", discount_bp=500),
        promotions=on,
        coupons=[AppliedCoupon(coupon_id=UUID(int=9), template_code="c", discount_fen=1_000, shares=(1_000,))],
        programme=PointsProgramme.parse({}),
        points=800,
        available_points=800,
        shipping=ShippingQuote(
            fee_fen=1_000,
            full_fen=1_000,
            waived_by=None,
            missing_fen=None,
            parts=(ShippingPart(code="standard", version_id=UUID(int=3), fee_fen=1_000, free=False),),
        ),
    )
    left, told = 0, []
    for step in quote.explain:
        left += step.amount_fen
        told.append((step.step.value, step.amount_fen, left))
    assert told == [
        (row["step"], number(row["amount"]), number(row["left"]))
        for row in worked("pricing.md", "Example: an order through every step")
    ]
    assert [(step.code, step.title) for step in quote.explain if step.title] == [
        ("p1", "促销 1"),
        ("p2", "促销 2"),
        ("p3", "促销 3"),
    ]
    assert (quote.discount_fen, quote.promotion_fen, quote.coupon_fen) == (4_350, 8_650, 1_000)
    assert quote.goods_fen + quote.shipping_fen == 4_350 + 8_650 + 1_000 + quote.points_fen + quote.payable_fen


def test_a_budget_is_never_exceeded_by_one_order() -> None:
    lines = lines_of("5 × 10,000")
    steps = promote(lines, promotions=[offered(LADDER, budget_left_fen=700)])
    assert [one.discount_fen for one in steps.applied] == [700]
    pieces = promote(lines, promotions=[offered({"kind": "discount", "amount_fen": 300}, budget_left_fen=1_000)])
    assert [(one.discount_fen, one.uses) for one in pieces.applied] == [(900, 3)]


def test_scopes_name_skus_products_and_categories_and_exclusions_win() -> None:
    sku, product, category, other = (UUID(int=at) for at in range(4))

    def covers(**scope: Any) -> bool:
        named = {name: [str(one) for one in ids] for name, ids in scope.items()}
        terms = PromotionTerms.parse({**LADDER, "scope": named})
        return terms.scope.covers(sku, product, frozenset({category}))

    assert covers()
    assert covers(sku_ids=[sku])
    assert not covers(sku_ids=[other])
    assert covers(sku_ids=[other], product_ids=[product])
    assert covers(category_ids=[category])
    assert not covers(category_ids=[category], excluded_sku_ids=[sku])
    assert not covers(sku_ids=[sku], excluded_product_ids=[product])
    assert not covers(excluded_category_ids=[category])


def test_member_days_are_weekdays_month_days_or_dates() -> None:
    def runs(day: date, **days: Any) -> bool:
        return PromotionTerms.parse({"kind": "member_day", "discount_bp": 100, **days}).on_day(day)

    friday = date(2026, 11, 20)
    assert runs(friday, weekdays=[5])
    assert runs(friday, month_days=[20], weekdays=[1])
    assert runs(friday, dates=["2026-11-20"])
    assert not runs(friday, dates=["2026-11-21"], month_days=[21], weekdays=[6])


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"kind": "discount"}, "discount_bp"),
        ({"kind": "discount", "discount_bp": 1, "amount_fen": 1}, "discount_bp"),
        ({"kind": "discount", "discount_bp": 10_001}, "discount_bp"),
        ({"kind": "newcomer"}, "price_fen"),
        ({"kind": "member_day", "discount_bp": 1}, "weekdays"),
        ({"kind": "member_day", "discount_bp": 1, "dates": ["2026-02-30"]}, "dates[0]"),
        ({"kind": "bundle", "pieces": 1, "price_fen": 1}, "pieces"),
        ({"kind": "pieces", "pieces": 3, "rewarded": 3}, "rewarded"),
        ({"kind": "amount_off"}, "steps"),
        ({"kind": "amount_off", "steps": [{"threshold_fen": 5, "off_fen": 6}]}, "steps[0].off_fen"),
        ({**LADDER, "repeat": True}, "steps"),
        ({**LADDER, "steps": [LADDER["steps"][1], LADDER["steps"][0]]}, "steps[1]"),
        ({**LADDER, "pieces": 3}, "pieces"),
        ({**LADDER, "combines": ["luck"]}, "combines[0]"),
        ({**LADDER, "colour": 1}, "colour"),
    ],
)
def test_terms_that_cannot_work_are_refused(definition: dict[str, Any], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        PromotionTerms.parse(definition)
    assert refused.value.data["field"] == field


def test_terms_come_back_from_their_definition() -> None:
    for definition in (
        LADDER,
        EVERY,
        {"kind": "discount", "amount_fen": 5, "tier_codes": ["gold"], "combines": []},
        {"kind": "newcomer", "price_fen": 5},
        {"kind": "member_day", "discount_bp": 5, "dates": ["2026-11-11"]},
        {"kind": "bundle", "pieces": 3, "price_fen": 5, "member_limit": 2, "newcomers_only": True},
        {"kind": "pieces", "pieces": 2},
    ):
        terms = PromotionTerms.parse(definition)
        assert PromotionTerms.parse(terms.definition()) == terms


def test_only_so_many_run_at_a_time() -> None:
    rule.admit_number(PromotionKind.AMOUNT_OFF, published=199, order_wide=7)
    rule.admit_number(PromotionKind.DISCOUNT, published=199, order_wide=8)
    for kind, published, order_wide in ((PromotionKind.BUNDLE, 8, 8), (PromotionKind.DISCOUNT, 200, 0)):
        with pytest.raises(rule.TooManyPromotions):
            rule.admit_number(kind, published=published, order_wide=order_wide)


# Properties

TIERS = st.none() | st.integers(0, 3_000).map(lambda bp: TierTerms(code="gold", discount_bp=bp))
SCOPES = st.sets(st.integers(1, 4), max_size=3).map(lambda ids: {"sku_ids": [str(UUID(int=at)) for at in ids]})
COMBINES = st.sets(st.sampled_from(sorted(one.value for one in Partner))).map(sorted)


def lines_up_to(most_fen: int) -> st.SearchStrategy[list[PriceLine]]:
    return st.lists(st.tuples(st.integers(1, 9), st.integers(1, most_fen)), min_size=1, max_size=4).map(
        lambda made: [
            PriceLine(sku_id=UUID(int=at + 1), quantity=quantity, list_price_fen=listed)
            for at, (quantity, listed) in enumerate(made)
        ]
    )


def effects(most_fen: int) -> st.SearchStrategy[dict[str, Any]]:
    fen = st.integers(1, most_fen)
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("discount"), "discount_bp": st.integers(1, 9_000)}),
        st.fixed_dictionaries({"kind": st.just("discount"), "price_fen": fen}),
        st.fixed_dictionaries({"kind": st.just("newcomer"), "price_fen": fen}),
        st.fixed_dictionaries(
            {"kind": st.just("bundle"), "pieces": st.integers(2, 5), "price_fen": st.integers(1, 2 * most_fen)}
        ),
        st.fixed_dictionaries(
            {"kind": st.just("pieces"), "pieces": st.integers(2, 5), "discount_bp": st.integers(1, 10_000)}
        ),
        st.tuples(st.integers(2, 2 * most_fen), st.integers(1, 10_000)).map(
            lambda step: {
                "kind": "amount_off",
                "steps": [{"threshold_fen": step[0], "off_fen": max(1, step[0] * step[1] // 10_000)}],
            }
        ),
    )


SCALES = [
    (lines_up_to(most_fen), effects(most_fen), st.none() | st.integers(1, 2 * most_fen)) for most_fen in (40, 30_000)
]
USES_LEFT = st.none() | st.integers(1, 6)

Order = tuple[list[PriceLine], list[OfferedPromotion]]


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Up to 4 lines and 5 promotions. Of small prices, promotions easily leave each other too little to take."""
    lines, effect, budget_left = SCALES[draw(st.integers(0, 1))]
    found = []
    for at in range(draw(st.integers(0, 5))):
        definition = {**draw(effect), "scope": draw(SCOPES), "combines": draw(COMBINES)}
        left = {"uses_left": draw(USES_LEFT), "budget_left_fen": draw(budget_left)}
        found.append(offered(definition, at=at, priority=draw(st.integers(0, 2)), **left))
    return draw(lines), found


def least_of_every_set(lines: list[PriceLine], terms: TierTerms | None, on: list[OfferedPromotion]) -> int:
    return min(
        promoted.payable_fen
        for many in range(len(on) + 1)
        for some in combinations(on, many)
        for promoted in [exactly(lines, tier=terms, promotions=some)]
        if promoted is not None
    )


def adds_up(lines: list[PriceLine], promoted: Promoted) -> None:
    for at, (line, after) in enumerate(zip(lines, promoted.lines, strict=True)):
        assert after.goods_fen == line.list_price_fen * line.quantity
        assert after.goods_fen == after.discount_fen + after.promotion_fen + after.payable_fen
        assert min(after.discount_fen, after.promotion_fen, after.payable_fen) >= 0
        wide = [one.shares[at] for one in promoted.applied if not one.promotion.terms.kind.of_pieces]
        of_pieces = [one.shares[at] for one in promoted.applied if one.promotion.terms.kind.of_pieces]
        assert sum(wide) == after.promotion_fen
        base_off = (line.list_price_fen - after.base_fen) * line.quantity
        assert base_off + sum(of_pieces) == after.discount_fen
    for one in promoted.applied:
        assert sum(one.shares) == one.discount_fen >= 1
        assert one.uses >= 1
        assert one.promotion.uses_left is None or one.uses <= one.promotion.uses_left


@settings(max_examples=150, deadline=None)
@given(orders(), TIERS)
def test_promotions_add_up_on_every_line(order: Order, terms: TierTerms | None) -> None:
    lines, on = order
    promoted = promote(lines, tier=terms, promotions=on)
    adds_up(lines, promoted)
    quote = price(lines, tier=terms, promotions=on)
    assert sum(step.amount_fen for step in quote.explain) == quote.payable_fen == promoted.payable_fen
    assert quote.goods_fen == quote.discount_fen + quote.promotion_fen + quote.payable_fen
    assert sum(line.payable_fen for line in quote.lines) == quote.payable_fen >= 0


@settings(max_examples=200, deadline=None)
@given(orders(), TIERS)
def test_goods_cost_the_least_over_every_set_of_promotions(order: Order, terms: TierTerms | None) -> None:
    lines, on = order
    promoted = promote(lines, tier=terms, promotions=on)
    assert promoted.payable_fen == least_of_every_set(lines, terms, on)
    used = [one.promotion for one in promoted.applied]
    assert exactly(lines, tier=terms, promotions=used) == promoted


@settings(max_examples=200, deadline=None)
@given(orders(), TIERS)
def test_another_promotion_never_makes_the_goods_dearer(order: Order, terms: TierTerms | None) -> None:
    lines, on = order
    dearest = None
    for many in range(len(on) + 1):
        payable_fen = promote(lines, tier=terms, promotions=on[:many]).payable_fen
        assert dearest is None or payable_fen <= dearest
        dearest = payable_fen


@settings(max_examples=150, deadline=None)
@given(orders(), TIERS, st.randoms(use_true_random=False))
def test_the_order_in_which_promotions_are_named_does_not_matter(
    order: Order, terms: TierTerms | None, chance: Any
) -> None:
    lines, on = order
    mixed = list(on)
    chance.shuffle(mixed)
    assert promote(lines, tier=terms, promotions=on) == promote(lines, tier=terms, promotions=mixed)


@settings(max_examples=150, deadline=None)
@given(orders(), TIERS, st.integers(1, 20_000))
def test_coupons_find_what_promotions_leave(order: Order, terms: TierTerms | None, face_fen: int) -> None:
    lines, on = order
    promoted = promote(lines, tier=terms, promotions=on)
    for_coupons = coupon_lines(lines, promoted)
    left, shares = face_fen, []
    for line in for_coupons:
        shares.append(min(left, line.payable_fen))
        left -= shares[-1]
    coupon = AppliedCoupon(coupon_id=UUID(int=9), template_code="c", discount_fen=sum(shares), shares=tuple(shares))
    quote = price(lines, tier=terms, promotions=on, promoted=promoted, coupons=[coupon])
    for after in quote.lines:
        assert after.goods_fen == after.discount_fen + after.promotion_fen + after.coupon_fen + after.payable_fen
        assert after.payable_fen >= 0
    assert quote.payable_fen == promoted.payable_fen - sum(shares)
