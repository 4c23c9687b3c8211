"""Fulfilment, by the tables of docs/rules/fulfilment.md."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.delivery import fulfilment as rule
from loyalty.delivery.fulfilment import FulfilmentState, LinePieces, Pieces
from loyalty.orders.order import OrderState, OrderStateRefused
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

PAGE = "fulfilment.md"
LINES = {letter: UUID(int=at) for at, letter in enumerate("ABC", start=1)}
LETTERS = {line_id: letter for letter, line_id in LINES.items()}


def test_steps_are_as_the_page_says() -> None:
    for row in worked(PAGE, "Example: which step follows which"):
        current = FulfilmentState(row["from"].split()[0])
        for wanted in FulfilmentState:
            if row[wanted.value] == "-":
                with pytest.raises(rule.FulfilmentStateRefused) as refused:
                    rule.admit_step(current, wanted)
                assert refused.value.data == {"state": current.value}
            else:
                rule.admit_step(current, wanted)


@pytest.mark.parametrize("row", worked(PAGE, "Example: the state that pieces make"), ids=str)
def test_the_state_follows_from_the_pieces(row: dict[str, str]) -> None:
    lines = [_pieces(LINES[letter], row[column]) for letter, column in (("A", "first"), ("B", "second"))]
    assert " + ".join(str(line.left) for line in lines) == row["left"]
    assert rule.state_of(FulfilmentState(row["was"]), lines) == row["is"]


def _pieces(line_id: UUID, text: str) -> LinePieces:
    quantity, refunded, shipped = (int(part) for part in text.split("/"))
    return LinePieces(line_id=line_id, quantity=quantity, refunded_count=refunded, shipped_count=shipped)


@pytest.mark.parametrize("row", worked(PAGE, "Example: which parcels are taken"), ids=str)
def test_parcels_are_taken_as_the_page_says(row: dict[str, str]) -> None:
    lines = [
        LinePieces(line_id=LINES["A"], quantity=3, shipped_count=1, claimed_count=number(row["asked"])),
        LinePieces(line_id=LINES["B"], quantity=1, refunded_count=1),
    ]
    wanted = [
        Pieces(line_id=LINES[letter], quantity=int(count))
        for letter, count in (piece.split("×") for piece in row["pieces"].split(", ") if piece)
    ]
    try:
        plan = rule.admit_parcel(
            state=FulfilmentState(row["state"]),
            lines=lines,
            parcels=[("ZTO", f"ZTO{at}") for at in range(number(row["parcels"]))],
            carrier=row["carrier"].strip("`"),
            tracking_number=row["number"].strip("`"),
            wanted=wanted or None,
        )
        answer = ", ".join(f"{LETTERS[piece.line_id]}×{piece.quantity}" for piece in plan.pieces)
        assert plan.carrier == row["carrier"].strip("`").upper()
        assert plan.tracking_number == row["number"].strip("` ")
    except Refusal as refusal:
        answer = f"`{refusal.code}`"
    assert answer == row["answer"]


def test_pieces_on_their_way_back_are_owed_still_but_not_sent() -> None:
    lines = [LinePieces(line_id=LINES["A"], quantity=3, refunding_count=2, shipped_count=1)]
    assert rule.state_of(FulfilmentState.PARTLY_SHIPPED, lines) is FulfilmentState.PARTLY_SHIPPED
    with pytest.raises(rule.ParcelLinesInvalid):
        rule.admit_parcel(
            state=FulfilmentState.PARTLY_SHIPPED,
            lines=lines,
            parcels=(),
            carrier="SF",
            tracking_number="SF1234567890",
            wanted=None,
        )


def test_a_parcel_is_known_by_its_carrier_and_number() -> None:
    with pytest.raises(rule.ParcelKnown):
        rule.admit_parcel(
            state=FulfilmentState.TO_SHIP,
            lines=[LinePieces(line_id=LINES["A"], quantity=1)],
            parcels=[("SF", "SF1234567890")],
            carrier="sf",
            tracking_number="SF1234567890",
            wanted=None,
        )


@pytest.mark.parametrize("row", worked(PAGE, "Example: when an order counts as received"), ids=str)
def test_an_order_counts_as_received_when_the_page_says(row: dict[str, str]) -> None:
    shipped, due = (datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in ("shipped at", "received from"))
    assert rule.receive_due(shipped, timedelta(days=number(row["days"]))) == due


def test_goods_move_only_while_the_order_is_paid() -> None:
    for state in OrderState:
        if state is OrderState.PAID:
            rule.admit_paid(state)
            continue
        with pytest.raises(OrderStateRefused):
            rule.admit_paid(state)


@pytest.mark.parametrize(("rows", "fine"), [(0, False), (1, True), (200, True), (201, False)])
def test_an_import_has_one_to_two_hundred_rows(rows: int, fine: bool) -> None:
    if fine:
        rule.admit_import(rows)
        return
    with pytest.raises(rule.ParcelImportInvalid):
        rule.admit_import(rows)


COUNTS = st.tuples(st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))


@given(
    st.sampled_from([FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED, FulfilmentState.SHIPPED]),
    st.lists(COUNTS, min_size=1, max_size=4),
)
def test_whatever_is_left_to_send_can_be_sent_and_then_nothing_is(
    current: FulfilmentState, counts: list[tuple[int, int, int]]
) -> None:
    lines = [
        LinePieces(
            line_id=UUID(int=at),
            quantity=quantity,
            refunded_count=min(back, quantity),
            shipped_count=min(sent, quantity),
        )
        for at, (quantity, back, sent) in enumerate(counts)
    ]
    state = rule.state_of(current, lines)
    assert (state in (FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED)) == any(line.left for line in lines)
    if state not in (FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED):
        return
    plan = rule.admit_parcel(
        state=state, lines=lines, parcels=(), carrier="SF", tracking_number="SF1234567890", wanted=None
    )
    sent = {piece.line_id: piece.quantity for piece in plan.pieces}
    after = [
        LinePieces(
            line_id=line.line_id,
            quantity=line.quantity,
            refunded_count=line.refunded_count,
            shipped_count=line.shipped_count + sent.get(line.line_id, 0),
        )
        for line in lines
    ]
    assert rule.state_of(state, after) is FulfilmentState.SHIPPED
    assert all(line.shipped_count <= line.quantity for line in after)
