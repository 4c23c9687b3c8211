from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.prices.price_history import Deal, Listed, struck_through
from tests.loyalty.worked_examples import number, worked

BEGAN = datetime(2026, 11, 20, 4, tzinfo=UTC)


def ago(days: str) -> datetime:
    return BEGAN - timedelta(days=int(days))


@pytest.mark.parametrize("row", worked("price_history.md", "Example: what may be struck through"), ids=str)
def test_what_may_be_struck_through(row: dict[str, str]) -> None:
    listed, deals = [], []
    for text in row["listed"].split("; "):
        price, _, since, _, until = text.split(" ")
        listed.append(Listed(price_fen=number(price), from_at=ago(since), until_at=ago(until)))
    for text in row["deals"].split("; ") if row["deals"] != "-" else []:
        price, _, day = text.split(" ")
        deals.append(Deal(price_fen=number(price), at=ago(day)))
    found = struck_through(present_fen=number(row["present"]), began_at=BEGAN, listed=listed, deals=deals)
    assert (found or 0) == number(row["struck through"])


@given(
    present_fen=st.integers(1, 1_000),
    prices=st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_nothing_is_struck_through_that_was_not_charged_in_the_last_days(
    present_fen: int, prices: list[tuple[int, int]]
) -> None:
    deals = [Deal(price_fen=price, at=BEGAN - timedelta(days=day)) for price, day in prices]
    found = struck_through(present_fen=present_fen, began_at=BEGAN, listed=[], deals=deals)
    if found is None:
        return
    recent = [price for price, day in prices if 1 <= day <= 7]
    assert found > present_fen
    if recent:
        assert found == min(recent)
    else:
        last = min(day for _, day in prices if day)
        assert found in [price for price, day in prices if day == last]
