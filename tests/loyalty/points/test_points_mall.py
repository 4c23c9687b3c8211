from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.orders.order import QuantityInvalid
from loyalty.points import points_mall
from loyalty.points.points_mall import MallItem, MallItemKind, MallOffer
from loyalty.prices.pricing import refund_line
from loyalty.prices.unit_price import PriceSource
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

SKU = UUID(int=7)
FULL: dict[str, object] = {
    "kind": "goods",
    "points": 500,
    "cash_fen": 1_000,
    "member_limit": 2,
    "tier_codes": ["silver", "gold"],
    "tier_limits": [{"tier_code": "gold", "limit": 5}],
}
TRIAL: dict[str, object] = {"kind": "tier_trial", "points": 900, "target_code": "gold", "trial_days": 30}
ITEM = MallItem.parse(FULL)
OPEN = MallOffer(published=True, stock_left=None)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_exchanges_are_as_the_page_says() -> None:
    offer = MallOffer(
        published=True,
        stock_left=3,
        opens_at=datetime(2026, 11, 20, tzinfo=UTC),
        closes_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    for row in worked("points_mall.md", "Example: exchanging"):
        answer = "ok"
        try:
            points_mall.admit_exchange(
                ITEM,
                offer,
                quantity=number(row["pieces"]),
                tier_code=row["tier"],
                exchanged_count=number(row["had"]),
                available_points=number(row["points there"]),
                now=datetime.fromisoformat(row["time"]).replace(tzinfo=UTC),
            )
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_returns_are_as_the_page_says() -> None:
    for row in worked("points_mall.md", "Example: giving back"):
        item = MallItem(kind=MallItemKind(row["kind"]), points=1)
        if row["answer"] == "ok":
            points_mall.admit_return(item, used=row["used"] == "yes")
        else:
            with pytest.raises(points_mall.MallNotReturnable):
                points_mall.admit_return(item, used=row["used"] == "yes")


def test_an_item_that_is_not_published_is_not_offered() -> None:
    with pytest.raises(points_mall.MallItemNotOffered):
        points_mall.admit_exchange(
            ITEM,
            MallOffer(published=False, stock_left=3),
            quantity=1,
            tier_code="gold",
            exchanged_count=0,
            available_points=9_000,
            now=NOW,
        )


@pytest.mark.parametrize(
    ("definition", "most"), [(TRIAL, 1), ({"kind": "coupon", "points": 1, "target_code": "tea"}, 99)]
)
def test_a_trial_is_exchanged_one_at_a_time(definition: dict[str, object], most: int) -> None:
    item = MallItem.parse(definition)

    def exchange(quantity: int) -> None:
        points_mall.admit_exchange(
            item, OPEN, quantity=quantity, tier_code="basic", exchanged_count=0, available_points=10**9, now=NOW
        )

    exchange(most)
    with pytest.raises(QuantityInvalid) as refused:
        exchange(most + 1)
    assert refused.value.data["most"] == most


@given(st.integers(1, 99), st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 99))
def test_an_exchange_is_an_order_that_gives_back_exactly_what_it_took(
    quantity: int, points: int, cash: int, first: int
) -> None:
    item = MallItem(kind=MallItemKind.GOODS, points=points, cash_fen=cash)
    quote = points_mall.quote_exchange(item, sku_id=SKU, quantity=quantity)
    assert (quote.points_used, quote.payable_fen) == (points * quantity, cash * quantity)
    assert sum(step.amount_fen for step in quote.explain) == quote.payable_fen
    (line,) = quote.lines
    assert line.price_source is PriceSource.LIST
    first = min(first, quantity)
    back = [
        refund_line(
            quantity=quantity,
            refunded=refunded,
            refunding=refunding,
            payable_fen=line.payable_fen,
            points_used=line.points_used,
            earned_points=0,
            growth=0,
        )
        for refunded, refunding in ((0, first), (first, quantity - first))
    ]
    assert sum(part.money_fen for part in back) == quote.payable_fen
    assert sum(part.points_used for part in back) == quote.points_used


@pytest.mark.parametrize("definition", [FULL, TRIAL, {"kind": "charity", "points": 100, "target_code": "trees"}])
def test_terms_read_back_what_they_wrote(definition: dict[str, object]) -> None:
    item = MallItem.parse(definition)
    assert MallItem.parse(item.definition()) == item


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({}, "kind"),
        ({"kind": "lottery", "points": 1}, "kind"),
        ({"kind": "goods"}, "points"),
        ({"kind": "goods", "points": 0}, "points"),
        ({"kind": "goods", "points": 100_000_001}, "points"),
        ({"kind": "goods", "points": 1, "cash_fen": -1}, "cash_fen"),
        ({"kind": "goods", "points": 1, "target_code": "x"}, "target_code"),
        ({"kind": "coupon", "points": 1}, "target_code"),
        ({"kind": "coupon", "points": 1, "target_code": "x", "trial_days": 3}, "trial_days"),
        ({"kind": "tier_trial", "points": 1, "target_code": "gold"}, "trial_days"),
        ({"kind": "tier_trial", "points": 1, "target_code": "gold", "trial_days": 366}, "trial_days"),
        ({"kind": "charity", "points": 1, "target_code": "trees", "cash_fen": 1}, "cash_fen"),
        ({**FULL, "member_limit": 0}, "member_limit"),
        ({**FULL, "tier_codes": ["gold", "gold"]}, "tier_codes[1]"),
        ({**FULL, "tier_limits": [{"tier_code": "black", "limit": 1}]}, "tier_limits[0].tier_code"),
        ({**FULL, "tier_limits": [{"tier_code": "gold", "limit": 1}] * 2}, "tier_limits[1].tier_code"),
        ({**FULL, "price": 3}, "price"),
    ],
)
def test_impossible_terms_are_refused_with_the_field(definition: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        MallItem.parse(definition)
    assert refused.value.data["field"] == field


def test_items_are_counted_as_the_page_says() -> None:
    for row in worked("points_mall.md", "Example: what is counted"):
        stock = None if row["stock"] == "-" else number(row["stock"])
        answer = "ok"
        try:
            points_mall.admit_counting(MallItemKind(row["kind"]), has_sku=row["SKU"] == "yes", stock=stock)
        except ProgrammeInvalid as refused:
            answer = f"`{refused.data['field']}`"
        assert answer == row["answer"], row


def test_a_window_has_some_length() -> None:
    for opens_at, closes_at in ((None, None), (NOW, None), (None, NOW), (NOW, NOW + timedelta(microseconds=1))):
        points_mall.admit_window(opens_at=opens_at, closes_at=closes_at)
    for closes_at in (NOW, NOW - timedelta(microseconds=1)):
        with pytest.raises(ProgrammeInvalid) as refused:
            points_mall.admit_window(opens_at=NOW, closes_at=closes_at)
        assert refused.value.data["field"] == "closes_at"


def test_an_item_names_the_tiers_of_its_limits_and_of_its_trial() -> None:
    def named(definition: dict[str, object]) -> list[tuple[str, str]]:
        return [(name.path, name.value) for name in MallItem.parse(definition).names()]

    tiers = [("tier_codes[0]", "silver"), ("tier_codes[1]", "gold"), ("tier_limits[0].tier_code", "gold")]
    assert named(FULL) == tiers
    assert named(TRIAL) == [("target_code", "gold")]
    assert named({"kind": "charity", "points": 1, "target_code": "trees"}) == []


def test_an_item_stays_of_its_kind() -> None:
    points_mall.admit_same_kind(ITEM, MallItem.parse({**FULL, "points": 1}))
    with pytest.raises(ProgrammeInvalid) as refused:
        points_mall.admit_same_kind(ITEM, MallItem.parse(TRIAL))
    assert refused.value.data["field"] == "kind"


def test_an_exchange_costs_what_the_member_agreed_to() -> None:
    quote = points_mall.quote_exchange(ITEM, sku_id=SKU, quantity=2)
    points_mall.admit_agreed(quote, points=1_000, cash_fen=2_000)
    for points, cash_fen in ((999, 2_000), (1_000, 1_999), (500, 1_000)):
        with pytest.raises(points_mall.MallPriceChanged) as refused:
            points_mall.admit_agreed(quote, points=points, cash_fen=cash_fen)
        assert refused.value.data == {"points": 1_000, "cash": 2_000}
