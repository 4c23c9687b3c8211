"""The checker of flash-sale histories: an honest one is right, and each kind of forgery is caught."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.simulation.flash_history import problems
from tests.simulation.flash_seen import BookedOrder, BookedPlace, Books, Call, Level


def a_purchase(
    member: str, order_id: str, *, at: float, key: str = "", quantity: int = 1, place_id: str = "", answer: str = ""
) -> Call:
    """A purchase that was answered a moment after it was sent."""
    return Call(
        member=member,
        what="buy",
        key=key or order_id,
        quantity=quantity,
        sent_at=at,
        answered_at=at + 0.1,
        answer=answer or "FlashSalePurchased",
        order_id=order_id,
        place_id=place_id,
    )


def a_booking(member: str, order_id: str, *, state: str = "UNPAID", tickets: int = 1, quantity: int = 1) -> BookedOrder:
    """Its order in the books."""
    return BookedOrder(id=order_id, member=member, key=order_id, quantity=quantity, state=state, tickets=tickets)


def levels(*taken: int) -> list[Level]:
    """An item of two pieces without a queue."""
    return [Level(taken=many, left=max(0, 2 - many), orders=many, offers=0) for many in taken]


HONEST = [
    a_purchase("ann", "1", at=1),
    a_purchase("bob", "2", at=2),
    a_purchase("cai", "3", at=6),
    Call(member="bob", what="cancel", order_id="2", sent_at=4, answered_at=5, answer="CLOSED"),
    Call(member="dee", what="buy", key="4", quantity=1, sent_at=3),
]
RIGHT = Books(
    at=20,
    carved=2,
    limit=1,
    counts={"left": 0, "held": 2, "sold": 0, "returned": 0, "waiting": 0},
    orders=[a_booking("ann", "1"), a_booking("bob", "2", state="CLOSED"), a_booking("cai", "3")],
    levels=levels(1, 2, 1, 2),
    gate_left=0,
    gate_in_flight=0,
    gate_had={"ann": 1, "cai": 1},
)


def a_call(member: str, what: str, place_id: str, *, at: float, answer: str) -> Call:
    """Joining the queue, a look at it, or leaving it, answered a moment after it was sent."""
    return Call(
        member=member,
        what=what,
        key=place_id,
        quantity=1 if what == "wait" else 0,
        sent_at=at,
        answered_at=at + 0.1,
        answer=answer,
        place_id=place_id,
    )


QUEUED = [
    a_purchase("ann", "1", at=1),
    a_purchase("bob", "2", at=2),
    a_call("dee", "wait", "a", at=3.0, answer="WAITING"),
    a_call("eve", "wait", "b", at=3.2, answer="WAITING"),
    a_call("fay", "wait", "c", at=3.4, answer="WAITING"),
    a_call("gus", "wait", "d", at=3.6, answer="WAITING"),
    a_call("fay", "leave", "c", at=4.0, answer="LEFT"),
    Call(member="bob", what="deadline", order_id="2", sent_at=5.0),
    a_call("dee", "look", "a", at=5.5, answer="OFFERED"),
    Call(member="dee", what="deadline", place_id="a", sent_at=6.0),
    a_purchase("dee", "", at=6.4, key="late", place_id="a", answer="FLASH_OFFER_GONE"),
    a_call("eve", "look", "b", at=6.6, answer="OFFERED"),
    a_purchase("eve", "3", at=7.0, place_id="b"),
]
A = BookedPlace(id="a", member="dee", quantity=1, state="LAPSED", turn=2, offered_at=5.2, claim_by=6.1, settled_at=6.2)
B = BookedPlace(
    id="b",
    member="eve",
    quantity=1,
    state="CLAIMED",
    turn=3,
    offered_at=6.3,
    claim_by=16.3,
    settled_at=7.05,
    order_id="3",
)
C = BookedPlace(id="c", member="fay", quantity=1, state="LEFT", turn=1, settled_at=4.05)
D = BookedPlace(id="d", member="gus", quantity=1, state="WAITING")
IN_ORDER = Books(
    at=20,
    carved=2,
    limit=1,
    counts={"left": 0, "held": 2, "sold": 0, "returned": 0, "waiting": 1},
    orders=[a_booking("ann", "1"), a_booking("bob", "2", state="CLOSED"), a_booking("eve", "3")],
    levels=[
        *levels(1, 2, 1),
        Level(taken=2, left=0, orders=1, offers=1),
        Level(taken=1, left=1, orders=1, offers=0),
        Level(taken=2, left=0, orders=1, offers=1),
    ],
    gate_left=0,
    gate_in_flight=0,
    gate_had={"ann": 1, "eve": 1},
    places=[A, B, C, D],
)


def test_an_honest_history_is_right() -> None:
    assert problems(HONEST, RIGHT) == []
    assert problems(QUEUED, IN_ORDER) == []


@pytest.mark.parametrize(
    ("what", "calls", "books"),
    [
        ("oversold", [*HONEST, a_purchase("eve", "5", at=3)], replace(RIGHT, orders=[*RIGHT.orders])),
        ("oversold", HONEST, replace(RIGHT, levels=levels(1, 2, 3, 2))),
        ("limit", [*HONEST, a_purchase("ann", "5", at=5)], RIGHT),
        ("limit", HONEST, replace(RIGHT, orders=[*RIGHT.orders, a_booking("ann", "5")])),
        ("lost", HONEST, replace(RIGHT, orders=[*RIGHT.orders[1:]])),
        ("lost", HONEST, replace(RIGHT, orders=[RIGHT.orders[0], a_booking("bob", "2"), RIGHT.orders[2]])),
        ("lost", [*HONEST, Call(member="ann", what="pay", order_id="1", sent_at=7, answer="PAID")], RIGHT),
        ("twice", HONEST, replace(RIGHT, orders=[a_booking("ann", "1", tickets=2), *RIGHT.orders[1:]])),
        ("twice", [*HONEST, a_purchase("ann", "5", key="1", at=7)], RIGHT),
        ("apart", HONEST, replace(RIGHT, counts={**RIGHT.counts, "left": 1})),
        ("apart", HONEST, replace(RIGHT, counts={**RIGHT.counts, "left": 1, "held": 1})),
        ("apart", HONEST, replace(RIGHT, gate_left=1)),
        ("apart", HONEST, replace(RIGHT, gate_in_flight=1)),
        ("apart", HONEST, replace(RIGHT, gate_had={"ann": 1})),
    ],
)
def test_a_forged_history_is_caught(what: str, calls: Sequence[Call], books: Books) -> None:
    assert any(problem.startswith(what) for problem in problems(calls, books))


def books_with(*places: BookedPlace, **fields: object) -> Books:
    """The books of the queue, with other places of these ids."""
    other = {place.id: place for place in places}
    return replace(IN_ORDER, places=[other.get(place.id, place) for place in IN_ORDER.places], **fields)  # type: ignore[arg-type]


LOOKS = Level(taken=2, left=1, orders=1, offers=1)
BOTH = a_purchase("eve", "4", at=7.5, place_id="b")


@pytest.mark.parametrize(
    ("what", "calls", "books"),
    [
        pytest.param(
            "queue: place d was offered pieces while b",
            QUEUED,
            books_with(replace(D, state="LAPSED", turn=2, offered_at=5.2, claim_by=6, settled_at=6)),
            id="offered out of turn",
        ),
        pytest.param(
            "queue: place d waits for 1 while 1 are left",
            QUEUED,
            books_with(counts={**IN_ORDER.counts, "left": 1}),
            id="a lapsed offer does not go on to the next",
        ),
        pytest.param(
            "oversold: buyers held 3", [*QUEUED, a_purchase("hal", "5", at=5.7)], IN_ORDER, id="offered twice"
        ),
        pytest.param(
            "oversold: orders, offers and what is left",
            QUEUED,
            replace(IN_ORDER, levels=[*IN_ORDER.levels, LOOKS]),
            id="an offered piece is left for others",
        ),
        pytest.param(
            "apart: orders and offers are not",
            QUEUED,
            replace(IN_ORDER, levels=[*IN_ORDER.levels, Level(taken=2, left=0, orders=1, offers=0)]),
            id="an offer that holds nothing",
        ),
        pytest.param(
            "offer: place b had a standing offer",
            [
                *QUEUED[:-1],
                a_purchase("eve", "", at=6.8, key="no", place_id="b", answer="FLASH_OFFER_GONE"),
                QUEUED[-1],
            ],
            IN_ORDER,
            id="a standing offer is refused",
        ),
        pytest.param(
            "offer: the offer of place b was sold to hal",
            QUEUED,
            replace(IN_ORDER, orders=[*IN_ORDER.orders[:2], a_booking("hal", "3")]),
            id="an offered piece is sold to somebody else",
        ),
        pytest.param(
            "twice: place b was claimed by ['3', '4']", [*QUEUED, BOTH], IN_ORDER, id="an offer claimed twice"
        ),
        pytest.param(
            "twice: order 3 claimed 2 places",
            QUEUED,
            books_with(replace(A, state="CLAIMED", order_id="3", settled_at=5.8)),
            id="two offers claimed by one order",
        ),
        pytest.param("offer: place b was claimed after", QUEUED, books_with(replace(B, claim_by=6.9)), id="too late"),
        pytest.param(
            "offer: place a was claimed by order 4",
            [*QUEUED, a_purchase("dee", "4", at=6.5, place_id="a")],
            IN_ORDER,
            id="a lapsed offer is claimed",
        ),
        pytest.param(
            "offer: place a still stands",
            QUEUED,
            books_with(replace(A, state="OFFERED", settled_at=None)),
            id="no lapse",
        ),
        pytest.param(
            "offer: place a lapsed before", QUEUED, books_with(replace(A, claim_by=9.0)), id="a lapse too soon"
        ),
        pytest.param(
            "left: place c was left and is LAPSED",
            QUEUED,
            books_with(replace(C, state="LAPSED", turn=2, offered_at=5.2, claim_by=6.0, settled_at=6.0)),
            id="offered to one who had left",
        ),
        pytest.param("lost: place d", QUEUED, replace(IN_ORDER, places=[A, B, C]), id="a lost place"),
        pytest.param(
            "twice: one key made ['b', 'e']",
            [*QUEUED, replace(QUEUED[3], place_id="e", sent_at=8, answered_at=8.1)],
            IN_ORDER,
            id="two places by one key",
        ),
        pytest.param(
            "apart: the queue waits for 1",
            QUEUED,
            books_with(counts={**IN_ORDER.counts, "waiting": 0}),
            id="miscounted",
        ),
    ],
)
def test_a_forged_queue_is_caught(what: str, calls: Sequence[Call], books: Books) -> None:
    assert any(problem.startswith(what) for problem in problems(calls, books)), problems(calls, books)
