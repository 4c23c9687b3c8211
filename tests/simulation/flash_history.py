"""What buyers saw of a flash sale, held against the books: a pure function that names what is wrong.

A call is known by the instants at which it was sent and answered, on the clock by which the server reckons. A buyer
surely had pieces from the answer to his purchase until he sent the cancellation, whatever lay between the two in the
server; a place in the queue surely waited from the answer that named it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.simulation import flash_ends
from tests.simulation.flash_seen import GONE, NEVER, Books, Call

REFUSED_CLAIMS = frozenset({"FLASH_OFFER_GONE", "FLASH_SOLD_OUT"})


def problems(calls: Sequence[Call], books: Books) -> list[str]:
    """Everything that is wrong, in words; empty when the sale kept its promises."""
    return [
        *_oversold(calls, books),
        *_lost(calls, books),
        *_twice(calls, books),
        *_passed_over(calls, books),
        *_offers(calls, books),
        *_apart(books),
        *flash_ends.closing(calls, books),
        *flash_ends.refunds(calls, books),
    ]


def _first(calls: Iterable[Call], by: str) -> dict[str, Call]:
    """By order or place the first answer that named it."""
    found: dict[str, Call] = {}
    answered = [call for call in calls if call.answered_at is not None and getattr(call, by)]
    for call in sorted(answered, key=lambda one: one.answered_at or 0.0):
        found.setdefault(getattr(call, by), call)
    return found


def _bought(calls: Iterable[Call]) -> dict[str, Call]:
    return _first([call for call in calls if call.what == "buy"], "order_id")


def _ends(calls: Iterable[Call], by: str, *whats: str) -> dict[str, float]:
    """By order or place the instant after which it may be over."""
    ends: dict[str, float] = {}
    for call in calls:
        if call.what in whats and getattr(call, by):
            ends[getattr(call, by)] = min(call.sent_at, ends.get(getattr(call, by), NEVER))
    return ends


@dataclass(frozen=True, slots=True)
class _Had:
    """Pieces that a member surely had: by an order or a standing offer."""

    member: str
    since: float
    until: float
    quantity: int


def _had(calls: Sequence[Call]) -> Iterable[_Had]:
    ends = _ends(calls, "order_id", "cancel", "deadline", "refund")
    for order_id, call in _bought(calls).items():
        yield _Had(call.member, call.answered_at or 0.0, ends.get(order_id, NEVER), call.quantity)


def _standing(calls: Sequence[Call], books: Books) -> dict[str, _Had]:
    """By place the offer that its member saw, for as long as nothing was done about it."""
    places = {place.id: place for place in books.places}
    ends = _ends(calls, "place_id", "buy", "leave", "deadline")
    close = min((call.sent_at for call in calls if call.what == "close"), default=NEVER)
    found: dict[str, _Had] = {}
    for place_id, call in _first([one for one in calls if one.answer == "OFFERED"], "place_id").items():
        if (place := places.get(place_id)) is not None:
            until = min(ends.get(place_id, NEVER), place.claim_by or NEVER, close)
            found[place_id] = _Had(call.member, call.answered_at or 0.0, until, place.quantity)
    return found


def _most(had: Iterable[_Had]) -> int:
    """The most pieces at one instant."""
    steps = []
    for one in had:
        if one.until > one.since:
            steps += [(one.since, 1, one.quantity), (one.until, 0, -one.quantity)]
    most = level = 0
    for _, _, change in sorted(steps):
        level += change
        most = max(most, level)
    return most


def _oversold(calls: Sequence[Call], books: Books) -> Iterable[str]:
    bought = list(_had(calls))
    if (most := _most([*bought, *_standing(calls, books).values()])) > books.carved:
        yield f"oversold: buyers held {most} of {books.carved} pieces at once"
    for level in books.levels:
        if level.taken > books.carved:
            yield f"oversold: the books had {level.taken} of {books.carved} pieces held and sold"
        if level.orders + level.offers + level.left > books.carved:
            yield f"oversold: orders, offers and what is left are {level}, of {books.carved} pieces"
        elif level.orders + level.offers != level.taken:
            yield f"apart: orders and offers are not what is held and sold: {level}"
    of_member = defaultdict(list)
    for one in bought:
        of_member[one.member].append(one)
    for member, theirs in of_member.items():
        if (most := _most(theirs)) > books.limit:
            yield f"limit: {member} held {most} pieces at once"
    yield from (
        f"limit: {member} has {many} pieces" for member, many in _of_members(books).items() if many > books.limit
    )


def _of_members(books: Books) -> dict[str, int]:
    had: Counter[str] = Counter()
    for order in books.orders:
        if order.state not in GONE:
            had[order.member] += order.quantity - order.returned
    return dict(had)


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
        if (
            call.what == "pay"
            and call.answer == "PAID"
            and order is not None
            and order.state not in ("PAID", "REFUNDED")
        ):
            yield f"lost: order {order.id} was paid for and is {order.state}"
    places = {place.id: place for place in books.places}
    for place_id, call in _first(calls, "place_id").items():
        place = places.get(place_id)
        if place is None:
            yield f"lost: place {place_id} was answered and is not there"
        elif place.member != call.member or (call.what == "wait" and place.quantity != call.quantity):
            yield f"lost: place {place_id} is another one than was answered"


def _twice(calls: Sequence[Call], books: Books) -> Iterable[str]:
    of_key: dict[tuple[str, str], set[str]] = defaultdict(set)
    of_claim: dict[str, set[str]] = defaultdict(set)
    of_order: Counter[str] = Counter(place.order_id for place in books.places if place.order_id)
    for call in calls:
        made = {"buy": call.order_id, "wait": call.place_id}.get(call.what)
        if made:
            of_key[call.member, call.key].add(made)
        if call.what == "buy" and call.place_id and call.order_id:
            of_claim[call.place_id].add(call.order_id)
    for order in books.orders:
        of_key[order.member, order.key].add(order.id)
        if order.tickets != 1:
            yield f"twice: order {order.id} has {order.tickets} tickets"
    for place in books.places:
        if place.order_id:
            of_claim[place.id].add(place.order_id)
    yield from (f"twice: one key made {sorted(made)}" for made in of_key.values() if len(made) > 1)
    yield from (f"twice: place {place} was claimed by {sorted(by)}" for place, by in of_claim.items() if len(by) > 1)
    yield from (f"twice: order {order_id} claimed {many} places" for order_id, many in of_order.items() if many > 1)


def _passed_over(calls: Sequence[Call], books: Books) -> Iterable[str]:
    """Offers that were somebody else's turn: of one who surely waited before, or that are still to be made."""
    known = _first(calls, "place_id")
    queue = sorted(books.places, key=lambda place: place.id)
    for at, later in enumerate(queue):
        if later.offered_at is None or later.turn is None:
            continue
        for place in queue[:at]:
            waited = place.id in known and (known[place.id].answered_at or NEVER) < later.offered_at
            if waited and (place.turn is None or place.turn > later.turn):
                yield f"queue: place {later.id} was offered pieces while {place.id} waited before it"
    first = next((place for place in queue if place.state == "WAITING"), None)
    if first is not None and first.quantity <= books.counts["left"]:
        yield f"queue: place {first.id} waits for {first.quantity} while {books.counts['left']} are left"


def _offers(calls: Sequence[Call], books: Books) -> Iterable[str]:
    """Offers that were not the member's alone, or not for their time, or made to one who had left."""
    orders = {order.id: order for order in books.orders}
    places = {place.id: place for place in books.places}
    standing = _standing(calls, books)
    for place in books.places:
        claim_by, order = place.claim_by or NEVER, orders.get(place.order_id)
        if (place.state == "CLAIMED") != (order is not None):
            yield f"offer: place {place.id} is {place.state} with order {place.order_id or None}"
        elif order is not None and (order.member, order.quantity) != (place.member, place.quantity):
            yield f"offer: the offer of place {place.id} was sold to {order.member} as {order.quantity}"
        if place.state == "CLAIMED" and (place.settled_at or NEVER) >= claim_by:
            yield f"offer: place {place.id} was claimed after its time"
        if place.state == "OFFERED" and books.at >= claim_by:
            yield f"offer: place {place.id} still stands after its time"
        if place.state == "LAPSED" and (place.settled_at or NEVER) < claim_by:
            yield f"offer: place {place.id} lapsed before its time"
    for call in calls:
        claimed = places.get(call.place_id)
        if claimed is None or call.answered_at is None:
            continue
        offered_later = (claimed.offered_at or 0.0) > call.answered_at
        if (call.what, call.answer) == ("leave", "LEFT") and (claimed.state != "LEFT" or offered_later):
            yield f"left: place {claimed.id} was left and is {claimed.state}, offered at {claimed.offered_at}"
        if call.what == "buy" and call.order_id and claimed.order_id != call.order_id:
            yield f"offer: place {claimed.id} was claimed by order {call.order_id} and has {claimed.order_id or None}"
        if call.what == "buy" and call.answer in REFUSED_CLAIMS and claimed.id in standing:
            over_at = min(claimed.claim_by or NEVER, claimed.settled_at or NEVER)
            if standing[claimed.id].since < call.sent_at and call.answered_at < over_at:
                yield f"offer: place {claimed.id} had a standing offer and was refused it"


def _apart(books: Books) -> Iterable[str]:
    counts = books.counts
    if sum(counts[name] for name in ("left", "held", "sold", "returned")) != books.carved:
        yield f"apart: {dict(counts)} do not add up to {books.carved}"
    of_state: Counter[str] = Counter()
    for place in books.places:
        of_state[place.state] += place.quantity
    of_member = _of_members(books)
    kept = sum(order.quantity - order.returned for order in books.orders if order.state == "REFUNDED")
    had = sum(of_member.values()) + kept + of_state["OFFERED"]
    if had != counts["held"] + counts["sold"]:
        yield f"apart: orders and offers have {had} pieces, the item says {counts['held'] + counts['sold']}"
    if of_state["WAITING"] != counts["waiting"]:
        yield f"apart: the queue waits for {of_state['WAITING']}, the item says {counts['waiting']}"
    open_count = max(0, counts["left"] - counts["waiting"])
    if books.gate_left != open_count:
        yield f"apart: the gate lets {books.gate_left} through, the database {open_count}"
    if books.gate_in_flight:
        yield f"apart: {books.gate_in_flight} tickets are in flight"
    if of_member != dict(books.gate_had):
        yield f"apart: the gate counts {dict(books.gate_had)}, the database {of_member}"
