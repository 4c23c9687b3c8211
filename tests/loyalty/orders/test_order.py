from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.orders import order
from loyalty.orders.order import OrderLine, OrderState, SkuTerms
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import worked

SKUS = {letter: UUID(int=at) for at, letter in enumerate("ABCD", start=1)}
LETTERS = {sku_id: letter for letter, sku_id in SKUS.items()}
TERMS = {
    SKUS["A"]: SkuTerms(sku_id=SKUS["A"], on_sale=True, stock_left=10),
    SKUS["B"]: SkuTerms(sku_id=SKUS["B"], on_sale=True, stock_left=5, purchase_limit=3, bought_count=1),
    SKUS["C"]: SkuTerms(sku_id=SKUS["C"], on_sale=False, stock_left=10),
}


def lines(text: str) -> list[OrderLine]:
    pieces = [piece.split("×") for piece in text.split(", ") if piece]
    return [OrderLine(sku_id=SKUS[letter], quantity=int(quantity)) for letter, quantity in pieces]


def test_lines_are_taken_as_the_page_says() -> None:
    for row in worked("order.md", "Example: which lines are taken"):
        try:
            taken = order.admit_lines(lines(row["lines"]), TERMS)
            answer = ", ".join(f"{LETTERS[line.sku_id]}×{line.quantity}" for line in taken)
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_steps_are_as_the_page_says() -> None:
    for row in worked("order.md", "Example: which step follows which"):
        current = OrderState(row["from"].split()[0])
        for wanted in OrderState:
            if row[wanted.value] == "-":
                with pytest.raises(order.OrderStateRefused) as refused:
                    order.admit_step(current, wanted)
                assert refused.value.data == {"state": current.value}
            else:
                order.admit_step(current, wanted)


@pytest.mark.parametrize(("count", "fine"), [(0, False), (1, True), (50, True), (51, False)])
def test_an_order_has_one_to_fifty_lines(count: int, fine: bool) -> None:
    wanted = [OrderLine(sku_id=UUID(int=at), quantity=1) for at in range(count)]
    terms = {line.sku_id: SkuTerms(sku_id=line.sku_id, on_sale=True, stock_left=1) for line in wanted}
    if fine:
        assert list(order.admit_lines(wanted, terms)) == wanted
    else:
        with pytest.raises(order.LineCountInvalid):
            order.admit_lines(wanted, terms)


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(-1, 6)), max_size=8))
def test_whatever_is_taken_keeps_stock_and_limits(wanted: list[tuple[str, int]]) -> None:
    try:
        taken = order.admit_lines([OrderLine(sku_id=SKUS[sku], quantity=quantity) for sku, quantity in wanted], TERMS)
    except Refusal:
        return
    assert sum(line.quantity for line in taken) == sum(quantity for _, quantity in wanted)
    assert len({line.sku_id for line in taken}) == len(taken)
    for line in taken:
        sku = TERMS[line.sku_id]
        assert sku.on_sale
        assert line.quantity <= sku.stock_left
        assert sku.purchase_limit is None or line.quantity + sku.bought_count <= sku.purchase_limit


def test_stock_below_nothing_is_told_as_nothing() -> None:
    sku = SkuTerms(sku_id=SKUS["A"], on_sale=True, stock_left=-3)
    with pytest.raises(order.OutOfStock) as refused:
        order.admit_lines(lines("A×1"), {sku.sku_id: sku})
    assert refused.value.data["left"] == 0


def test_the_amount_must_be_the_one_the_member_saw() -> None:
    order.admit_amount(payable_fen=100, expected_fen=100)
    order.admit_amount(payable_fen=100)
    with pytest.raises(order.AmountChanged) as refused:
        order.admit_amount(payable_fen=100, expected_fen=99)
    assert refused.value.data == {"expected": 99, "actual": 100}


def test_an_order_has_a_largest_amount() -> None:
    order.admit_amount(payable_fen=1_000_000_000)
    with pytest.raises(order.OrderAmountTooLarge):
        order.admit_amount(payable_fen=1_000_000_001, expected_fen=5)


def test_a_remark_has_a_most_length() -> None:
    order.admit_remark("")
    order.admit_remark("x" * 200)
    with pytest.raises(order.RemarkTooLong):
        order.admit_remark("x" * 201)


def test_the_pay_window_has_bounds() -> None:
    placed = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert order.pay_deadline(placed) == placed + timedelta(minutes=30)
    assert order.pay_deadline(placed, timedelta(minutes=5)) == placed + timedelta(minutes=5)
    for window in (timedelta(minutes=4, seconds=59), timedelta(hours=24, seconds=1)):
        with pytest.raises(AssertionError):
            order.pay_deadline(placed, window)


def test_every_order_can_still_end() -> None:
    ends = {OrderState.CLOSED, OrderState.REFUNDED}
    for state in OrderState:
        reached = {state}
        while grown := {wanted for one in reached for wanted in order.TRANSITIONS[one]} - reached:
            reached |= grown
        assert reached & ends
