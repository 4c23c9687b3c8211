"""What a flash sale is judged by: the calls of buyers and shopkeeper, and the books that the store has of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NEVER = float("inf")
GONE = frozenset({"CLOSED", "REFUNDED"})


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a member or of the shopkeeper, or the passing of a deadline.

    ``answered_at`` None: nobody knows what became of it. ``order_id`` is the order that a purchase was answered with,
    or that a cancellation, payment, refund or deadline is of; ``place_id`` the place in the queue that was joined,
    looked at, left or claimed, or whose deadline it is. A refund of 0 pieces is one of all that is left; with ``keeps``
    the member keeps what was sent.
    """

    member: str
    what: str
    key: str = ""
    quantity: int = 0
    sent_at: float
    answered_at: float | None = None
    answer: str = ""
    order_id: str = ""
    place_id: str = ""
    keeps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedOrder:
    """An order as the database has it, with its tickets: ``sent`` pieces in parcels, ``returned`` pieces given back."""

    id: str
    member: str
    key: str
    quantity: int
    state: str
    tickets: int = 1
    sent: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedRefund:
    """A refund whose money is back: of so many pieces, of which ``came_back`` are the shop's again."""

    key: str
    order_id: str
    pieces: int
    came_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedPlace:
    """A place in the queue as the database has it. Ids are in the order of the queue.

    ``turn`` counts the changes of the queue, and is the one in which the place stopped waiting, None if it still does.
    Offers that were made together have one turn. An offer was made at ``offered_at`` or a moment after.
    """

    id: str
    member: str
    quantity: int
    state: str
    turn: int | None = None
    offered_at: float | None = None
    claim_by: float | None = None
    settled_at: float | None = None
    order_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """An item after a change: ``taken`` is held + sold; ``orders`` and ``offers`` are the pieces that these have.

    ``returned`` are the pieces that are the SKU's again, ``closed`` says whether the session was.
    """

    taken: int
    left: int
    orders: int
    offers: int
    returned: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The database and the gate, read at ``at`` when nothing is under way.

    ``sku_got`` are the pieces that the SKU has more than when the session had taken its own, ``closed`` says whether
    the session is.
    """

    at: float
    carved: int
    limit: int
    counts: Mapping[str, int]
    orders: Sequence[BookedOrder]
    levels: Sequence[Level]
    gate_left: int
    gate_in_flight: int
    gate_had: Mapping[str, int] = field(default_factory=dict)
    places: Sequence[BookedPlace] = ()
    refunds: Sequence[BookedRefund] = ()
    closed: bool = False
    sku_got: int = 0
