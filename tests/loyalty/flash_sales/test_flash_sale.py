from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.flash_sales import flash_sale
from loyalty.flash_sales.flash_sale import FlashSaleState, FlashSaleStateRefused, FlashTerms, NewFlashItem
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from loyalty.tiers.tier_benefit import Benefit, BenefitKind
from tests.loyalty.worked_examples import number, numbers, worked

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TERMS = FlashTerms(opens_at=NOON, closes_at=NOON + timedelta(hours=1), member_limit=2)
ITEM = NewFlashItem(sku_id=UUID(int=1), price_fen=100, list_price_fen=200, stock=10, member_limit=2)


def early(cell: str) -> Benefit | None:
    return Benefit(kind=BenefitKind.EARLY_ACCESS, figure=number(cell)) if number(cell) else None


def test_buying_is_as_the_page_says() -> None:
    for row in worked("flash_sale.md", "Example: who may buy"):
        hour, minute = (int(part) for part in row["time"].split(":"))
        answer = "ok"
        try:
            flash_sale.admit(
                TERMS,
                quantity=number(row["pieces"]),
                early=early(row["early"]),
                had_count=number(row["had"]),
                left=number(row["left"]),
                waiting=number(row["waiting"]),
                now=NOON.replace(hour=hour, minute=minute),
            )
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_offers_are_as_the_page_says() -> None:
    for row in worked("flash_sale.md", "Example: who is offered what is left"):
        assert flash_sale.offers_due(numbers(row["queue"]), left=number(row["left"])) == number(row["offered"]), row


@given(st.lists(st.integers(1, 9)), st.integers(0, 40))
def test_offers_never_exceed_what_is_left_and_stop_only_at_who_cannot_be_served(queue: list[int], left: int) -> None:
    served = flash_sale.offers_due(queue, left=left)
    assert sum(queue[:served]) <= left
    assert served == len(queue) or sum(queue[: served + 1]) > left


def test_an_offer_ends_with_the_window() -> None:
    late = TERMS.closes_at - timedelta(minutes=3)
    assert flash_sale.claim_by(TERMS, offered_at=NOON, claim_minutes=10) == NOON + timedelta(minutes=10)
    assert flash_sale.claim_by(TERMS, offered_at=late, claim_minutes=10) == TERMS.closes_at


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("title", {"title": " "}),
        ("title", {"title": "秒" * 61}),
        ("closes_at", {"closes_at": NOON}),
        ("closes_at", {"closes_at": NOON + timedelta(days=7, seconds=1)}),
        ("closes_at", {"opens_at": NOON - timedelta(days=1), "closes_at": NOON - timedelta(hours=2)}),
        ("claim_minutes", {"claim_minutes": 0}),
        ("claim_minutes", {"claim_minutes": 61}),
    ],
)
def test_a_session_that_cannot_work_is_refused_by_the_first_field(field: str, changes: dict[str, object]) -> None:
    good: dict[str, object] = {
        "title": "双十一",
        "opens_at": NOON,
        "closes_at": NOON + timedelta(days=7),
        "claim_minutes": 60,
        "now": NOON - timedelta(hours=1),
    }
    flash_sale.admit_session(**good)  # type: ignore[arg-type]
    with pytest.raises(ProgrammeInvalid) as refused:
        flash_sale.admit_session(**{**good, **changes})  # type: ignore[arg-type]
    assert refused.value.data["field"] == field


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("price_fen", {"price_fen": 0}),
        ("price_fen", {"price_fen": 201}),
        ("stock", {"stock": 0}),
        ("stock", {"stock": 100_001}),
        ("member_limit", {"member_limit": 0}),
        ("member_limit", {"member_limit": 100}),
    ],
)
def test_an_item_that_cannot_work_is_refused_by_its_field(field: str, changes: dict[str, int]) -> None:
    good = {"sku_id": UUID(int=2), "price_fen": 200, "list_price_fen": 200, "stock": 100_000, "member_limit": 99}
    flash_sale.admit_items([ITEM, NewFlashItem(**good)])  # type: ignore[arg-type]
    with pytest.raises(ProgrammeInvalid) as refused:
        flash_sale.admit_items([ITEM, NewFlashItem(**{**good, **changes})])  # type: ignore[arg-type]
    assert refused.value.data["field"] == f"items[1].{field}"


def test_a_session_has_items_each_of_another_sku() -> None:
    for items, field in (([], "items"), ([ITEM] * 51, "items"), ([ITEM, ITEM], "items[1].sku_id")):
        with pytest.raises(ProgrammeInvalid) as refused:
            flash_sale.admit_items(items)
        assert refused.value.data["field"] == field


def test_a_rehearsal_has_1_to_2000_buyers() -> None:
    flash_sale.admit_rehearsal(buyers=1)
    flash_sale.admit_rehearsal(buyers=2_000)
    for buyers in (0, 2_001):
        with pytest.raises(ProgrammeInvalid):
            flash_sale.admit_rehearsal(buyers=buyers)


def test_only_the_wanted_state_is_admitted() -> None:
    flash_sale.admit_state(FlashSaleState.DRAFT, wanted=FlashSaleState.DRAFT)
    with pytest.raises(FlashSaleStateRefused):
        flash_sale.admit_state(FlashSaleState.CLOSED, wanted=FlashSaleState.PUBLISHED)
