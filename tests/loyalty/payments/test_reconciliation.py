from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.payments.reconciliation import Booking, Difference, MoneyMove, bill_day, bill_days, day_bounds, reconcile
from tests.loyalty.worked_examples import worked

MOVES = {"P": MoneyMove.PAYMENT, "R": MoneyMove.REFUND}
BOOKINGS = st.lists(
    st.builds(Booking, move=st.sampled_from(MoneyMove), number=st.sampled_from("abcdef"), amount_fen=st.integers(0, 3)),
    unique_by=lambda booking: (booking.move, booking.number),
)


def book(cell: str) -> list[Booking]:
    parts = [part.split() for part in cell.split(",") if part.strip()]
    return [Booking(move=MOVES[name[0]], number=name, amount_fen=int(amount)) for name, amount in parts]


@pytest.mark.parametrize("example", worked("reconciliation.md", "Example: a day"))
def test_the_examples_of_the_page(example: dict[str, str]) -> None:
    found = reconcile(book(example["ours"]), book(example["theirs"]))
    for difference in Difference:
        named = [finding.number for finding in found if finding.difference is difference]
        assert named == [name for name in example[difference.replace("_", " ")].split(",") if name]


@given(BOOKINGS, BOOKINGS)
def test_the_lists_lead_from_one_book_to_the_other(ours: list[Booking], theirs: list[Booking]) -> None:
    led = {(booking.move, booking.number): booking.amount_fen for booking in ours}
    for finding in reconcile(ours, theirs):
        if finding.theirs_fen is None:
            del led[finding.move, finding.number]
        else:
            led[finding.move, finding.number] = finding.theirs_fen
    assert led == {(booking.move, booking.number): booking.amount_fen for booking in theirs}


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2026-11-21T01:59:59Z", "2026-11-18", "2026-11-19"),
        ("2026-11-21T02:00:00Z", "2026-11-18", "2026-11-20"),
        ("2026-12-31T16:00:00Z", "2026-12-01", "2026-12-30"),
    ],
)
def test_a_bill_is_ready_at_ten_on_the_next_day(now: str, first: str, last: str) -> None:
    days = bill_days(now=datetime.fromisoformat(now), first=date.fromisoformat(first))
    assert (days[0].isoformat(), days[-1].isoformat()) == (first, last)


def test_no_more_than_thirty_days_are_caught_up() -> None:
    days = bill_days(now=datetime(2026, 11, 21, 4, tzinfo=UTC), first=date(2020, 1, 1))
    assert (len(days), days[-1]) == (30, date(2026, 11, 20))
    assert bill_days(now=datetime(2026, 11, 21, 4, tzinfo=UTC), first=date(2026, 11, 21)) == ()


def test_a_day_is_that_of_china() -> None:
    start, end = day_bounds(date(2026, 11, 20))
    assert start == datetime(2026, 11, 19, 16, tzinfo=UTC)
    assert end == datetime(2026, 11, 20, 16, tzinfo=UTC)
    assert bill_day(start) == date(2026, 11, 20)
    assert bill_day(end) == date(2026, 11, 21)
