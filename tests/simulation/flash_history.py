"""What buyers saw of a flash sale, held against the books: a pure function that names what is wrong.

A call is known by the instants at which it was sent and answered. A buyer surely had pieces from the answer to his
purchase until he sent the cancellation, whatever lay between the two in the server.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a member. ``answered_at`` None: nobody knows what became of it.

    ``order_id`` is the order that a purchase was answered with, or that a cancellation or payment is of.
    """

    member: str
    what: str
    key: str = ""
    quantity: int = 0
    sent_at: float
    answered_at: float | None = None
    answer: str = ""
    order_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedOrder:
    """An order as the database has it, with its tickets."""

    id: str
    member: str
    key: str
    quantity: int
    state: str
    tickets: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The database and the gate after everything is over. ``levels`` is held + sold after each change of the item."""

    carved: int
    limit: int
    counts: Mapping[str, int]
    orders: Sequence[BookedOrder]
    levels: Sequence[int]
    gate_left: int
    gate_in_flight: int
    gate_had: Mapping[str, int] = field(default_factory=dict)


GONE = frozenset({"CLOSED", "REFUNDED"})


def problems(calls: Sequence[Call], books: Books) -> list[str]:
    """Everything that is wrong, in words; empty when the sale kept its promises."""
    return [*_oversold(calls, books), *_lost(calls, books), *_twice(calls, books), *_apart(books)]


def _bought(calls: Iterable[Call]) -> dict[str, Call]:
    """By order the first answer that named it."""
    found: dict[str, Call] = {}
    for call in sorted(calls, key=lambda one: one.answered_at or 0.0):
        if call.what == "buy" and call.order_id:
            found.setdefault(call.order_id, call)
    return found


def _most(bought: Iterable[Call], ends: Mapping[str, float]) -> int:
    """The most pieces that these orders surely held at one instant."""
    steps = []
    for call in bought:
        assert call.answered_at is not None, "an order is known from an answer"
        end = ends.get(call.order_id, float("inf"))
        if end > call.answered_at:
            steps += [(call.answered_at, 1, call.quantity), (end, 0, -call.quantity)]
    most = level = 0
    for _, _, change in sorted(steps):
        level += change
        most = max(most, level)
    return most


def _oversold(calls: Sequence[Call], books: Books) -> Iterable[str]:
    bought = _bought(calls)
    ends: dict[str, float] = {}
    for call in calls:
        if call.what == "cancel":
            ends[call.order_id] = min(call.sent_at, ends.get(call.order_id, call.sent_at))
    if (most := _most(bought.values(), ends)) > books.carved:
        yield f"oversold: buyers held {most} of {books.carved} pieces at once"
    for level in books.levels:
        if level > books.carved:
            yield f"oversold: the books had {level} of {books.carved} pieces held and sold"
    of_member = defaultdict(list)
    for call in bought.values():
        of_member[call.member].append(call)
    for member, theirs in of_member.items():
        if (most := _most(theirs, ends)) > books.limit:
            yield f"limit: {member} held {most} pieces at once"
    had: Counter[str] = Counter()
    for order in books.orders:
        if order.state not in GONE:
            had[order.member] += order.quantity
    yield from (f"limit: {member} has {many} pieces" for member, many in had.items() if many > books.limit)


def _lost(calls: Sequence[Call], books: Books) -> Iterable[str]:
    there = {order.id: order for order in books.orders}
    for order_id, call in _bought(calls).items():
        order = there.get(order_id)
        if order is None:
            yield f"lost: order {order_id} was answered and is not there"
        elif (order.member, order.key, order.quantity) != (call.member, call.key, call.quantity):
            yield f"lost: order {order_id} is another one than was answered"
    for call in calls:
        order = there.get(call.order_id)
        if call.what == "cancel" and call.answer == "CLOSED" and order is not None and order.state not in GONE:
            yield f"lost: order {order.id} was answered as closed and is {order.state}"
        if call.what == "pay" and call.answer == "PAID" and order is not None and order.state != "PAID":
            yield f"lost: order {order.id} was paid for and is {order.state}"


def _twice(calls: Sequence[Call], books: Books) -> Iterable[str]:
    of_key: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in calls:
        if call.what == "buy" and call.order_id:
            of_key[call.member, call.key].add(call.order_id)
    for order in books.orders:
        of_key[order.member, order.key].add(order.id)
        if order.tickets != 1:
            yield f"twice: order {order.id} has {order.tickets} tickets"
    yield from (f"twice: one key made {sorted(made)}" for made in of_key.values() if len(made) > 1)


def _apart(books: Books) -> Iterable[str]:
    counts = books.counts
    if sum(counts[name] for name in ("left", "held", "sold", "returned")) != books.carved:
        yield f"apart: {dict(counts)} do not add up to {books.carved}"
    had = sum(order.quantity for order in books.orders if order.state not in GONE)
    if had != counts["held"] + counts["sold"]:
        yield f"apart: orders have {had} pieces, the item says {counts['held'] + counts['sold']}"
    if books.gate_left != counts["left"] - counts["waiting"]:
        yield f"apart: the gate lets {books.gate_left} through, the database {counts['left'] - counts['waiting']}"
    if books.gate_in_flight:
        yield f"apart: {books.gate_in_flight} tickets are in flight"
    of_member: Counter[str] = Counter()
    for order in books.orders:
        if order.state not in GONE:
            of_member[order.member] += order.quantity
    if dict(of_member) != dict(books.gate_had):
        yield f"apart: the gate counts {dict(books.gate_had)}, the database {dict(of_member)}"
