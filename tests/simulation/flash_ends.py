"""What the end of a flash sale, and refunds in it, must leave: held against the books like all that buyers saw.

Once the close is answered nobody buys and nobody queues. Closing gives the SKU everything that is not sold, and what
comes back later. Before that what comes back is left for others, and the SKU has none of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tests.simulation.flash_seen import NEVER, BookedOrder, BookedRefund, Books, Call


def closing(calls: Sequence[Call], books: Books) -> Iterable[str]:
    """What is wrong about the end of the session."""
    closes = [call for call in calls if call.what == "close"]
    asked = min((call.sent_at for call in closes), default=NEVER)
    known = min((call.answered_at or NEVER for call in closes if call.answer == "CLOSED"), default=NEVER)
    if books.closed and asked == NEVER:
        yield "closed: nobody closed the session"
    if known < NEVER and not books.closed:
        yield "lost: the close was answered and the session is not closed"
    for call in calls:
        if call.answer == "FLASH_NOT_OFFERED" and (call.answered_at or NEVER) < asked:
            yield f"closed: {call.member} was told so before anybody closed the session"
    first: dict[tuple[str, str], float] = {}
    for call in calls:
        first[call.member, call.key] = min(call.sent_at, first.get((call.member, call.key), NEVER))
    for order in books.orders:
        if first.get((order.member, order.key), 0.0) > known:
            yield f"closed: order {order.id} was asked for after the close was answered"
    for call in calls:
        if call.what == "wait" and call.place_id and first[call.member, call.key] > known:
            yield f"closed: place {call.place_id} was asked for after the close was answered"
    for place in books.places:
        if books.closed and place.state in ("WAITING", "OFFERED"):
            yield f"closed: place {place.id} is still {place.state}"
        if not books.closed and place.state == "ENDED":
            yield f"closed: place {place.id} has ended while the session runs"
    yield from _stock(books)


def _stock(books: Books) -> Iterable[str]:
    for level in books.levels:
        if not level.closed and level.returned:
            yield f"closed: pieces went to the SKU while the session ran: {level}"
        if level.closed and (level.left or level.offers):
            yield f"closed: pieces are left or offered after it: {level}"
        if level.closed and level.returned != books.carved - level.taken:
            yield f"closed: {books.carved} pieces were carved out, the SKU has not got those that are not sold: {level}"
    for before, after in pairwise(books.levels):
        if before.closed and not (after.closed and after.taken <= before.taken):
            yield f"closed: a piece was taken after it: {before}, then {after}"
    if books.sku_got != books.counts["returned"]:
        yield f"apart: the SKU has got {books.sku_got} pieces, the item says {books.counts['returned']}"


def refunds(calls: Sequence[Call], books: Books) -> Iterable[str]:
    """What is wrong about pieces that paid orders gave back."""
    asked = {call.key: call for call in calls if call.what == "refund"}
    done = {refund.key: refund for refund in books.refunds}
    for call in asked.values():
        refund = done.get(call.key)
        if call.answer == "OrderRefunded" and refund is None:
            yield f"lost: refund {call.key} was answered and is not there"
    of_order: dict[str, list[BookedRefund]] = defaultdict(list)
    for refund in books.refunds:
        of_order[refund.order_id].append(refund)
        wish = asked.get(refund.key)
        if wish is None:
            yield f"refund: nobody asked for {refund}"
        elif refund.order_id != wish.order_id or wish.quantity not in (0, refund.pieces):
            yield f"lost: refund {refund.key} is another one than was asked for"
        elif not wish.keeps and refund.came_back != refund.pieces:
            yield f"refund: not all pieces came back: {refund}"
    for order in books.orders:
        yield from _pieces_of(order, of_order.get(order.id, []), asked)


def _pieces_of(order: BookedOrder, parts: Sequence[BookedRefund], asked: dict[str, Call]) -> Iterable[str]:
    pieces = sum(part.pieces for part in parts)
    back = sum(part.came_back for part in parts)
    if pieces > order.quantity:
        yield f"refund: {pieces} of the {order.quantity} pieces of order {order.id} were refunded"
    if (pieces == order.quantity) != (order.state == "REFUNDED"):
        yield f"refund: order {order.id} is {order.state} with {pieces} of {order.quantity} pieces refunded"
    if back != order.returned:
        yield f"refund: order {order.id} gave back {order.returned} pieces, its refunds {back}"
    if pieces - back > order.sent:
        yield f"refund: the member kept {pieces - back} pieces of order {order.id}, of which {order.sent} were sent"
