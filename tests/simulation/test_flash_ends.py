"""The checker on closed sessions and refunds of a flash sale: an honest history is right, each forgery is caught."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.simulation.flash_history import problems
from tests.simulation.flash_seen import BookedOrder, BookedPlace, BookedRefund, Books, Call, Level


def a_call(member: str, what: str, *, at: float, **about: Any) -> Call:
    """Answered a moment after it was sent."""
    return Call(member=member, what=what, sent_at=at, answered_at=at + 0.1, **about)


def a_purchase(member: str, order_id: str, quantity: int, *, at: float) -> Call:
    """It was sold."""
    return a_call(member, "buy", at=at, key=order_id, quantity=quantity, order_id=order_id, answer="FlashSalePurchased")


def a_refund(key: str, order_id: str, quantity: int, *, at: float, keeps: bool = False) -> Call:
    """It was taken."""
    return a_call(
        "", "refund", at=at, key=key, order_id=order_id, quantity=quantity, keeps=keeps, answer="OrderRefunded"
    )


CLOSE = a_call("", "close", at=6.0, key="shut", answer="CLOSED")
CALLS = [
    a_purchase("ann", "1", 2, at=1.0),
    a_purchase("bob", "2", 1, at=1.2),
    a_purchase("cai", "3", 1, at=1.4),
    a_call("ann", "pay", at=2.0, order_id="1", answer="PAID"),
    a_call("cai", "pay", at=2.2, order_id="3", answer="PAID"),
    a_call("dee", "wait", at=3.0, key="a", quantity=1, place_id="a", answer="WAITING"),
    a_call("eve", "wait", at=3.2, key="b", quantity=1, place_id="b", answer="WAITING"),
    a_refund("r1", "1", 1, at=4.0),
    a_call("dee", "look", at=5.0, place_id="a", answer="OFFERED"),
    CLOSE,
    a_call("dee", "buy", at=6.5, key="late", quantity=1, place_id="a", answer="FLASH_NOT_OFFERED"),
    a_call("bob", "cancel", at=7.0, order_id="2", answer="CLOSED"),
    a_refund("r2", "3", 1, at=8.0, keeps=True),
    a_refund("r3", "1", 0, at=9.0),
]
ANN = BookedOrder(id="1", member="ann", key="1", quantity=2, state="REFUNDED", returned=2)
BOB = BookedOrder(id="2", member="bob", key="2", quantity=1, state="CLOSED")
CAI = BookedOrder(id="3", member="cai", key="3", quantity=1, state="REFUNDED", sent=1)
DEE = BookedPlace(
    id="a", member="dee", quantity=1, state="ENDED", turn=1, offered_at=4.5, claim_by=99.0, settled_at=6.0
)
EVE = BookedPlace(id="b", member="eve", quantity=1, state="ENDED", turn=2, settled_at=6.0)
FIRST, SECOND = (
    BookedRefund(key="r1", order_id="1", pieces=1, came_back=1),
    BookedRefund(key="r2", order_id="3", pieces=1, came_back=0),
)
REST = BookedRefund(key="r3", order_id="1", pieces=1, came_back=1)
OPEN = [
    Level(taken=4, left=0, orders=4, offers=0),
    Level(taken=3, left=1, orders=3, offers=0),
    Level(taken=4, left=0, orders=3, offers=1),
]
CLOSED = [
    Level(taken=3, left=0, orders=3, offers=0, returned=1, closed=True),
    Level(taken=2, left=0, orders=2, offers=0, returned=2, closed=True),
    Level(taken=1, left=0, orders=1, offers=0, returned=3, closed=True),
]
BOOKS = Books(
    at=20,
    carved=4,
    limit=2,
    counts={"left": 0, "held": 0, "sold": 1, "returned": 3, "waiting": 0},
    orders=[ANN, BOB, CAI],
    levels=[*OPEN, *CLOSED],
    gate_left=0,
    gate_in_flight=0,
    places=[DEE, EVE],
    refunds=[FIRST, SECOND, REST],
    closed=True,
    sku_got=3,
)


def without(call: Call) -> list[Call]:
    """The calls, but for one."""
    return [one for one in CALLS if one is not call]


def ordered(*orders: BookedOrder) -> Books:
    """The books with other orders of these ids, or more of them."""
    return replace(BOOKS, orders=list({one.id: one for one in [*BOOKS.orders, *orders]}.values()))


def placed(*places: BookedPlace) -> Books:
    """The books with other places of these ids, or more of them."""
    return replace(BOOKS, places=list({one.id: one for one in [*BOOKS.places, *places]}.values()))


def refunded(*refunds: BookedRefund) -> Books:
    """The books with other refunds of these keys, or more of them."""
    return replace(BOOKS, refunds=list({one.key: one for one in [*BOOKS.refunds, *refunds]}.values()))


def test_an_honest_history_is_right() -> None:
    assert problems(CALLS, BOOKS) == []


@pytest.mark.parametrize(
    ("what", "calls", "books"),
    [
        pytest.param("closed: nobody closed", without(CLOSE), BOOKS, id="closed by nobody"),
        pytest.param("lost: the close was", CALLS, replace(BOOKS, closed=False), id="a lost close"),
        pytest.param(
            "closed: fay was told so",
            [*CALLS, a_call("fay", "buy", at=5.0, key="f", quantity=1, answer="FLASH_NOT_OFFERED")],
            BOOKS,
            id="told of a close that was not asked for",
        ),
        pytest.param(
            "closed: order 4 was asked for after",
            [*CALLS, a_purchase("fay", "4", 1, at=6.2)],
            ordered(BookedOrder(id="4", member="fay", key="4", quantity=1, state="UNPAID")),
            id="sold after the close",
        ),
        pytest.param(
            "closed: order 4 was asked for after",
            [*CALLS, Call(member="fay", what="buy", key="4", quantity=1, sent_at=6.2)],
            ordered(BookedOrder(id="4", member="fay", key="4", quantity=1, state="CLOSED")),
            id="sold after the close without an answer",
        ),
        pytest.param(
            "closed: place c was asked for after",
            [*CALLS, a_call("fay", "wait", at=6.2, key="c", quantity=1, place_id="c", answer="WAITING")],
            placed(BookedPlace(id="c", member="fay", quantity=1, state="ENDED", turn=3, settled_at=6.3)),
            id="queued after the close",
        ),
        pytest.param(
            "closed: place b is still WAITING",
            CALLS,
            placed(replace(EVE, state="WAITING", turn=None)),
            id="the queue waits on",
        ),
        pytest.param(
            "closed: place a is still OFFERED", CALLS, placed(replace(DEE, state="OFFERED")), id="an offer stands on"
        ),
        pytest.param(
            "closed: place b has ended while", CALLS, replace(BOOKS, closed=False), id="a queue ended without a close"
        ),
        pytest.param(
            "closed: pieces went to the SKU",
            CALLS,
            replace(BOOKS, levels=[OPEN[0], replace(OPEN[1], left=0, returned=1), *OPEN[2:], *CLOSED]),
            id="a refunded piece goes to the SKU while the session runs",
        ),
        pytest.param(
            "closed: pieces are left or offered",
            CALLS,
            replace(BOOKS, levels=[*OPEN, *CLOSED[:2], replace(CLOSED[2], left=1, returned=2)]),
            id="a refunded piece may be taken after the close",
        ),
        pytest.param(
            "closed: pieces are left or offered",
            CALLS,
            replace(BOOKS, levels=[*OPEN, replace(CLOSED[0], taken=4, offers=1, returned=0), *CLOSED]),
            id="an offer holds its pieces after the close",
        ),
        pytest.param(
            "closed: 4 pieces were carved out",
            CALLS,
            replace(BOOKS, levels=[*OPEN, replace(CLOSED[0], returned=0), *CLOSED[1:]]),
            id="what is not sold does not go back",
        ),
        pytest.param(
            "closed: 4 pieces were carved out",
            CALLS,
            replace(BOOKS, levels=[*OPEN, *CLOSED[:2], replace(CLOSED[2], returned=4)]),
            id="what is sold goes back",
        ),
        pytest.param(
            "closed: a piece was taken after it",
            CALLS,
            replace(BOOKS, levels=[*OPEN, *CLOSED, CLOSED[1]]),
            id="taken after the close",
        ),
        pytest.param(
            "closed: a piece was taken after it",
            CALLS,
            replace(BOOKS, levels=[*OPEN, CLOSED[0], OPEN[1], *CLOSED[1:]]),
            id="opened again",
        ),
        pytest.param("apart: the SKU has got 2", CALLS, replace(BOOKS, sku_got=2), id="the SKU has too few"),
        pytest.param("apart: the SKU has got 4", CALLS, replace(BOOKS, sku_got=4), id="the SKU has too many"),
    ],
)
def test_a_forged_close_is_caught(what: str, calls: Sequence[Call], books: Books) -> None:
    assert any(problem.startswith(what) for problem in problems(calls, books)), problems(calls, books)


@pytest.mark.parametrize(
    ("what", "calls", "books"),
    [
        pytest.param("lost: refund r1 was answered", CALLS, replace(BOOKS, refunds=[SECOND, REST]), id="a lost refund"),
        pytest.param(
            "lost: refund r1 is another", CALLS, refunded(replace(FIRST, order_id="3")), id="a refund of another order"
        ),
        pytest.param(
            "lost: refund r1 is another", CALLS, refunded(replace(FIRST, pieces=2)), id="a refund of more pieces"
        ),
        pytest.param("refund: nobody asked", CALLS, refunded(replace(FIRST, key="r4")), id="a refund by nobody"),
        pytest.param(
            "refund: 3 of the 2 pieces", CALLS, refunded(replace(REST, pieces=2)), id="more refunded than bought"
        ),
        pytest.param(
            "refund: order 1 is PAID", CALLS, ordered(replace(ANN, state="PAID")), id="all back and still paid"
        ),
        pytest.param(
            "refund: order 1 is REFUNDED with 1",
            CALLS,
            replace(BOOKS, refunds=[FIRST, SECOND]),
            id="refunded with a piece that did not go back",
        ),
        pytest.param(
            "refund: order 1 gave back 1", CALLS, ordered(replace(ANN, returned=1)), id="a refunded piece stays sold"
        ),
        pytest.param(
            "refund: order 3 gave back 1", CALLS, ordered(replace(CAI, returned=1)), id="a kept piece goes back"
        ),
        pytest.param(
            "refund: not all pieces came back",
            CALLS,
            refunded(replace(REST, came_back=0)),
            id="kept without being asked",
        ),
        pytest.param("refund: the member kept 1", CALLS, ordered(replace(CAI, sent=0)), id="kept without being sent"),
        pytest.param(
            "apart: orders and offers have 0", CALLS, ordered(replace(CAI, returned=1)), id="a kept piece is not sold"
        ),
        pytest.param(
            "limit: ann has 3 pieces",
            CALLS,
            ordered(
                replace(ANN, state="PAID", returned=1),
                BookedOrder(id="5", member="ann", key="5", quantity=2, state="UNPAID"),
            ),
            id="more than the limit after a refund",
        ),
        pytest.param(
            "lost: order 1 was paid for and is UNPAID",
            CALLS,
            ordered(replace(ANN, state="UNPAID")),
            id="a lost payment",
        ),
    ],
)
def test_a_forged_refund_is_caught(what: str, calls: Sequence[Call], books: Books) -> None:
    assert any(problem.startswith(what) for problem in problems(calls, books)), problems(calls, books)
