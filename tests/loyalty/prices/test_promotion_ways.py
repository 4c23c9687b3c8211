"""Promotions and coupons together: the order that costs least, against trying every set of both."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.coupons.coupon_choice import best_plan
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms, Scope
from loyalty.coupons.coupon_use import HeldCoupon
from loyalty.prices.pricing import coupon_lines
from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import Promoted
from loyalty.prices.promotion_choice import exactly, promote
from loyalty.prices.promotion_ways import MAX_WAYS, Ways
from loyalty.prices.unit_price import PriceLine, TierTerms
from tests.loyalty.prices.test_promotion import TIERS, Order, offered, orders
from tests.loyalty.worked_examples import number, worked

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)

AMOUNTS = st.sampled_from([10, 40, 1_000, 5_000, 20_000])
COUPONS = st.lists(
    st.builds(
        CouponTerms,
        kind=st.sampled_from([CouponKind.AMOUNT, CouponKind.EXCHANGE, CouponKind.PERCENT, CouponKind.SHIPPING]),
        amount_fen=AMOUNTS,
        discount_bp=st.integers(1, 10_000),
        cap_fen=st.none() | AMOUNTS,
        threshold_fen=st.integers(0, 100) | st.integers(0, 60_000),
        scope=st.sets(st.integers(1, 4), max_size=2).map(
            lambda ids: Scope(product_ids=frozenset(UUID(int=one) for one in ids))
        ),
        valid_days=st.just(1),
        combines_with=st.sampled_from([frozenset({"standard"}), frozenset[str]()]),
    ),
    max_size=3,
).map(lambda terms: [held(one, at) for at, one in enumerate(terms)])


def held(terms: CouponTerms, at: int) -> HeldCoupon:
    return HeldCoupon(
        id=UUID(int=at),
        template_id=UUID(int=at),
        template_code=f"c{at}",
        version=1,
        terms=terms,
        usable_from=NOW,
        expires_at=NOW + timedelta(days=1),
    )


def amount(amount_fen: int, *, over: int) -> HeldCoupon:
    return held(CouponTerms(kind=CouponKind.AMOUNT, amount_fen=amount_fen, threshold_fen=over, valid_days=1), 1)


def costs(lines: Sequence[PriceLine], promoted: Promoted, wallet: Sequence[HeldCoupon], fee_fen: int) -> int:
    fee_fen = fee_fen if promoted.payable_fen < 20_000 else 0
    plan = best_plan(wallet, coupon_lines(lines, promoted), now=NOW, shipping_fen=fee_fen)
    assert plan.exact
    return promoted.payable_fen + fee_fen - plan.discount_fen


def cheapest(
    lines: Sequence[PriceLine],
    tier: TierTerms | None,
    promotions: Sequence[OfferedPromotion],
    wallet: Sequence[HeldCoupon],
    fee_fen: int,
    max_ways: int = 64,
) -> tuple[int, int, bool]:
    """What the order costs, how many ways were looked at, and whether these were all that could be best."""
    ways = Ways(
        lines,
        tier=tier,
        promotions=promotions,
        coupons=wallet,
        max_ways=max_ways,
    )
    found = [costs(lines, promoted, wallet, fee_fen) for promoted in ways.first()]
    while (promoted := ways.another(min(found))) is not None:
        found.append(costs(lines, promoted, wallet, fee_fen))
    return min(found), len(found), ways.exact


def of_every_set(
    lines: Sequence[PriceLine],
    tier: TierTerms | None,
    promotions: Sequence[OfferedPromotion],
    wallet: Sequence[HeldCoupon],
    fee_fen: int,
) -> int:
    return min(
        costs(lines, promoted, wallet, fee_fen)
        for many in range(len(promotions) + 1)
        for some in combinations(promotions, many)
        for promoted in [exactly(lines, tier=tier, promotions=some)]
        if promoted is not None
    )


@settings(max_examples=500, deadline=None)
@given(orders(), TIERS, COUPONS, st.sampled_from([0, 1_200]))
def test_the_member_pays_the_least_over_every_set_of_promotions_and_coupons(
    order: Order, tier: TierTerms | None, wallet: list[HeldCoupon], fee_fen: int
) -> None:
    lines, promotions = order
    found, _, exact = cheapest(lines, tier, promotions, wallet, fee_fen)
    assert exact
    assert found == of_every_set(lines, tier, promotions, wallet, fee_fen)


OFFERS: dict[str, dict[str, object]] = {
    "10 off": {"kind": "discount", "discount_bp": 1_000},
    "10 off not coupons": {"kind": "discount", "discount_bp": 1_000, "combines": ["promotions", "points"]},
    "step": {"kind": "amount_off", "steps": [{"threshold_fen": 10_000, "off_fen": 500}]},
}


def test_promotions_stand_beside_coupons_as_the_page_says() -> None:
    lines = [PriceLine(sku_id=UUID(int=1), quantity=1, list_price_fen=10_000)]
    for row in worked("promotion.md", "Example: promotions beside coupons"):
        named = [one.split(" 500 ")[0] for one in row["promotions"].split(", ")]
        promotions = [offered(OFFERS[one], at=at) for at, one in enumerate(named)]
        off_fen, over_fen = row["coupon"].split(" over ")
        wallet = [amount(number(off_fen), over=number(over_fen))]
        ways = Ways(lines, tier=None, promotions=promotions, coupons=wallet)
        found = list(ways.first())
        while (promoted := ways.another(min(costs(lines, one, wallet, 0) for one in found))) is not None:
            found.append(promoted)
        best = min(found, key=lambda one: costs(lines, one, wallet, 0))
        used = [named[one.promotion.id.int].removesuffix(" not coupons") for one in best.applied]
        used += ["coupon"] if best_plan(wallet, coupon_lines(lines, best), now=NOW).applied else []
        assert (", ".join(used), costs(lines, best, wallet, 0)) == (row["used"], number(row["to pay"])), row


def test_only_so_many_ways_are_worked_out_and_none_when_coupons_cannot_take_more() -> None:
    lines = [PriceLine(sku_id=UUID(int=at), quantity=1, list_price_fen=10_000) for at in range(1, 11)]
    promotions = [
        offered({"kind": "discount", "discount_bp": 500, "scope": {"sku_ids": [str(line.sku_id)]}}, at=at)
        for at, line in enumerate(lines)
    ]
    whole_fen = promote(lines, promotions=promotions).payable_fen

    def looked_at(wallet: list[HeldCoupon], max_ways: int = MAX_WAYS) -> tuple[int, bool]:
        _, many, exact = cheapest(lines, None, promotions, wallet, 0, max_ways)
        return many, exact

    assert whole_fen == 95_000
    assert looked_at([amount(2_000, over=95_000)]) == (1, True)
    assert looked_at([amount(2_000, over=200_000)]) == (1, True)
    assert looked_at([amount(20_000, over=96_000)]) == (2, True)
    assert looked_at([amount(20_000, over=96_000)], max_ways=1) == (1, False)
    assert looked_at([amount(20_000, over=100_000)]) == (2, False)
    assert cheapest(lines, None, promotions, [amount(20_000, over=100_000)], 0)[0] == 80_000
