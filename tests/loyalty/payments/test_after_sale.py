from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.payments import after_sale as rule
from loyalty.payments.after_sale import (
    TRANSITIONS,
    AfterSaleInvalid,
    AfterSaleKind,
    AfterSaleReason,
    AfterSaleState,
    AfterSaleStateRefused,
    AfterSaleTerms,
    Delivery,
    NoReturnNotAccepted,
)
from loyalty.payments.refund import (
    ByHand,
    CouponBack,
    PaidLine,
    PointsBack,
    RefundEffect,
    RefundLinesInvalid,
    by_hand,
    everything_left,
    part_of,
    points_by_line,
    shipping_comes_back,
    stays,
    to_take_back,
)
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

ZONE = ZoneInfo("Asia/Shanghai")
A, B = UUID(int=1), UUID(int=2)


def at(cell: str) -> datetime | None:
    return None if cell == "-" else datetime.fromisoformat(cell).replace(tzinfo=ZONE)


def test_a_request_takes_the_steps_of_the_page_and_no_others() -> None:
    for row in worked("after_sale.md", "Example: which step follows which"):
        current = AfterSaleState(row.pop("from").split()[0])
        for name, cell in row.items():
            wanted = AfterSaleState(name)
            assert (wanted in TRANSITIONS[current]) is (cell != "-"), (current, wanted)
            if cell == "-":
                with pytest.raises(AfterSaleStateRefused):
                    rule.admit_step(current, wanted)
            else:
                rule.admit_step(current, wanted)


def test_only_a_request_that_waits_for_its_answer_can_be_changed() -> None:
    rule.admit_change(AfterSaleState.REQUESTED)
    for state in set(AfterSaleState) - {AfterSaleState.REQUESTED}:
        with pytest.raises(AfterSaleStateRefused):
            rule.admit_change(state)


def test_what_may_be_asked_for_is_what_the_page_says() -> None:
    for row in worked("after_sale.md", "Example: what may be asked for"):
        asked = at(row["asked"])
        assert asked is not None
        answer = "ok"
        try:
            rule.admit_wish(
                AfterSaleKind(row["kind"].replace(" ", "_")),
                AfterSaleReason(row["reason"].replace(" ", "_")),
                Delivery(sent=row["sent"] == "yes", received_at=at(row["received"])),
                excepted=row["excepted"] == "yes",
                terms=AfterSaleTerms(),
                now=asked,
                zone=ZONE,
            )
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_an_order_is_refunded_in_pieces_as_the_page_says() -> None:
    gone = {A: 0, B: 0}
    for row in worked("after_sale.md", "Example: an order refunded in pieces"):
        lines = [
            PaidLine(line_id=A, quantity=3, refunded=gone[A], payable_fen=1_000, points_used=200),
            PaidLine(line_id=B, quantity=1, refunded=gone[B], payable_fen=500, points_used=100),
        ]
        wanted = {A: number(row["pieces of A"]), B: number(row["pieces of B"])}
        part = part_of(lines, {line: pieces for line, pieces in wanted.items() if pieces}, shipping_fen=800)
        assert part.amount_fen - part.shipping_fen == number(row["money"]), row
        assert part.shipping_fen == number(row["shipping"]), row
        assert part.points_used == number(row["points back"]), row
        assert stays(15, lines, part.pieces) == number(row["earned that stay"]), row
        for line_id, pieces in part.pieces.items():
            gone[line_id] += pieces
    assert gone == {A: 3, B: 1}


def test_the_shop_pays_by_hand_what_wechat_takes_no_more_as_the_page_says() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=ZONE)
    for row in worked("after_sale.md", "Example: who pays the money back"):
        paid_at = now - timedelta(seconds=number(row["seconds ago"]))
        why = by_hand(refunds=number(row["refunds before"]), paid_at=paid_at, now=now)
        assert (why or "-") == row["by hand"], row


def test_why_the_shop_pays_by_hand_is_read_in_both_languages() -> None:
    for why in ByHand:
        assert why.words("zh") != why.words("en")
        assert "线下退还" in why.words("zh")


def test_the_shipping_fee_comes_back_as_the_page_says() -> None:
    for row in worked("after_sale.md", "Example: the shipping fee"):
        comes_back = shipping_comes_back(
            last=row["last piece"] == "yes",
            sent=row["anything sent"] == "yes",
            shops_fault=row["the shop's fault"] == "yes",
        )
        assert comes_back is (row["comes back"] == "yes"), row


def test_what_was_earned_is_taken_back_as_the_page_says() -> None:
    for row in worked("after_sale.md", "Example: earned points and growth value that are taken back"):
        assert to_take_back(stay=number(row["stay"]), left=number(row["left"])) == number(row["taken back"]), row


@pytest.mark.parametrize(
    ("wanted", "left"),
    [({}, 3), ({A: 0}, 2), ({A: -1}, 2), ({A: 3}, 2), ({B: 2}, 1), ({UUID(int=9): 1}, 0), ({A: 1, B: 2}, 1)],
)
def test_pieces_that_are_not_there_are_refused(wanted: dict[UUID, int], left: int) -> None:
    lines = [
        PaidLine(line_id=A, quantity=4, refunded=1, claimed=1, payable_fen=1_000),
        PaidLine(line_id=B, quantity=1, payable_fen=500),
    ]
    with pytest.raises(RefundLinesInvalid) as refused:
        part_of(lines, wanted)
    assert refused.value.data["left"] == left


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[PaidLine], int, int, list[dict[UUID, int]]]:
    """Lines of an order, what it earned, its shipping fee, and a sequence of refunds that leaves nothing."""
    quantities = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    costs = [draw(st.integers(0, 50_000)) for _ in quantities]
    taken = [draw(st.integers(0, cost)) for cost in costs]
    points = points_by_line(sum(taken), costs)
    lines = [
        PaidLine(line_id=UUID(int=at), quantity=many, payable_fen=cost - off, points_used=used)
        for at, (many, cost, off, used) in enumerate(zip(quantities, costs, taken, points, strict=True))
    ]
    pieces = draw(st.permutations([line.line_id for line in lines for _ in range(line.quantity)]))
    cuts = sorted({0, len(pieces), *draw(st.lists(st.integers(0, len(pieces)), max_size=4))})
    parts = [pieces[start:end] for start, end in pairwise(cuts)]
    wanted = [{line_id: part.count(line_id) for line_id in set(part)} for part in parts]
    return lines, draw(st.integers(0, 9_999)) if sum(costs) > sum(taken) else 0, draw(st.integers(0, 2_000)), wanted


@given(sequences())
def test_any_sequence_of_refunds_gives_back_exactly_what_was_paid_and_takes_back_all_that_was_earned(
    drawn: tuple[list[PaidLine], int, int, list[dict[UUID, int]]],
) -> None:
    lines, earned, shipping_fen, sequence = drawn
    money = points = taken = 0
    for at, wanted in enumerate(sequence, start=1):
        part = part_of(lines, wanted, shipping_fen=shipping_fen)
        assert part.last is (at == len(sequence))
        stay = stays(earned, lines, part.pieces)
        back = to_take_back(stay=stay, left=earned - taken)
        assert earned - taken - back == stay
        money, points, taken = money + part.amount_fen, points + part.points_used, taken + back
        lines = [
            PaidLine(
                line_id=line.line_id,
                quantity=line.quantity,
                refunded=line.refunded + wanted.get(line.line_id, 0),
                payable_fen=line.payable_fen,
                points_used=line.points_used,
            )
            for line in lines
        ]
    assert everything_left(lines) == {}
    assert money == sum(line.payable_fen for line in lines) + shipping_fen
    assert points == sum(line.points_used for line in lines)
    assert taken == earned


def effect(**changed: object) -> RefundEffect:
    values: dict[str, object] = {
        "cash_fen": 100,
        "shipping_fen": 0,
        "points_back": (PointsBack(lot_id=A, amount=5, expires_at=at("2026-11-28T12:00"), renewed=True),),
        "coupons_back": (CouponBack(coupon_id=B, expires_at=datetime(2026, 12, 1, tzinfo=ZONE), extended=False),),
        "claw_back": "debt",
        "points_taken": 1,
        "points_owed": 2,
        "points_forgiven": 0,
        "growth_taken": 3,
        "tier_before": "gold",
        "tier_after": "silver",
        "stock_back": (),
        **changed,
    }
    return RefundEffect(**values)  # type: ignore[arg-type]


def test_the_fingerprint_sees_every_change_but_the_moving_end_of_a_grace() -> None:
    later = PointsBack(lot_id=A, amount=5, expires_at=at("2026-11-28T12:01"), renewed=True)
    assert effect(points_back=(later,)).digest() == effect().digest()
    kept = PointsBack(lot_id=A, amount=5, expires_at=at("2026-11-28T12:00"), renewed=False)
    others = [
        effect(points_back=(kept,)),
        effect(cash_fen=101),
        effect(points_owed=3),
        effect(tier_after="gold"),
        effect(coupons_back=()),
        effect(by_hand=ByHand.USED_UP),
        effect(by_hand=ByHand.OVERDUE),
    ]
    assert len({one.digest() for one in [effect(), *others]}) == 1 + len(others)


@pytest.mark.parametrize(
    ("pictures", "fine"),
    [
        ([], True),
        (["https://img.example.com/1.jpg"] * 9, True),
        (["https://img.example.com/1.jpg"] * 10, False),
        (["http://img.example.com/1.jpg"], False),
        (["https://"], False),
        (["https://[bad"], False),
        ([f"https://img.example.com/{'x' * 476}"], True),
        ([f"https://img.example.com/{'x' * 477}"], False),
    ],
)
def test_pictures_are_few_and_addresses_that_are_safe(pictures: list[str], fine: bool) -> None:
    if fine:
        rule.admit_words(pictures=pictures)
    else:
        with pytest.raises(AfterSaleInvalid):
            rule.admit_words(pictures=pictures)


def test_words_within_their_bounds_are_taken() -> None:
    rule.admit_words(text="x" * 200)
    rule.admit_decision_words("x" * 200)
    assert rule.fit_parcel(carrier=" 顺丰 ", number="ＳＦ１２３４ ") == ("顺丰", "SF1234")


@pytest.mark.parametrize("words", ["", "  ", "x" * 201])
def test_a_decision_without_words_or_with_too_many_is_refused(words: str) -> None:
    with pytest.raises(AfterSaleInvalid):
        rule.admit_decision_words(words)
    if len(words) > 200:
        with pytest.raises(AfterSaleInvalid):
            rule.admit_words(text=words)


@pytest.mark.parametrize(
    ("carrier", "parcel"), [(" ", "SF1"), ("x" * 41, "SF1"), ("顺丰", ""), ("顺丰", "单号"), ("顺丰", "1" * 41)]
)
def test_a_parcel_has_a_carrier_and_a_number(carrier: str, parcel: str) -> None:
    with pytest.raises(AfterSaleInvalid):
        rule.fit_parcel(carrier=carrier, number=parcel)


def test_goods_that_cannot_be_returned_need_the_members_word() -> None:
    rule.admit_purchase(excepted=False, accepted=False)
    rule.admit_purchase(excepted=True, accepted=True)
    with pytest.raises(NoReturnNotAccepted):
        rule.admit_purchase(excepted=True, accepted=False)
