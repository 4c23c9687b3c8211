"""What every verb on an after-sale request shares: whose it is, its next state, and the pieces that it claims."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from loyalty.payments import after_sale as rule
from loyalty.payments.after_sale import OPEN, AfterSaleNotFound, AfterSaleState
from loyalty.payments.refund import RefundLinesInvalid
from models.engine import changed
from models.ids import new_id
from models.payments.after_sale import AfterSale, AfterSaleLine
from models.turn import turn
from resolvers.orders.order_row import note

ENDED = frozenset({AfterSaleState.REJECTED, AfterSaleState.REFUNDED, AfterSaleState.WITHDRAWN, AfterSaleState.CLOSED})


async def member_of(after_sale_id: UUID) -> UUID:
    """Whose request it is. Raises: AfterSaleNotFound."""
    row = await AfterSale.get_or_none(id=after_sale_id)
    if row is None:
        raise AfterSaleNotFound
    return row.member_id


async def pieces_of(after_sale_id: UUID) -> dict[UUID, int]:
    """How many pieces of which lines it is about."""
    return {row.line_id: row.quantity for row in await AfterSaleLine.filter(after_sale_id=after_sale_id)}


async def step(row: AfterSale, wanted: AfterSaleState, now: datetime, **columns: object) -> None:
    """Move the request to another state by compare-and-set; one that ends without a refund lets go of its pieces.

    Those of a refund are let go before it is opened, because they are its own from then on.

    Raises: AfterSaleStateRefused.
    """
    current = AfterSaleState(row.state)
    rule.admit_step(current, wanted)
    ended_at = now if wanted in ENDED else None
    await turn(row, "state", wanted, **{"changed_at": now, "due_at": None, "ended_at": ended_at, **columns})
    if current in OPEN and wanted in ENDED:
        await let_go(await pieces_of(row.id))


async def claim(order_id: UUID, pieces: Mapping[UUID, int]) -> None:
    """Keep pieces of an order for one request.

    Raises: RefundLinesInvalid: they are gone, on their way back, or in another request.
    """
    for line_id, quantity in pieces.items():
        claimed = await changed(
            "UPDATE order_line SET claimed_count = claimed_count + $3 WHERE id = $1 AND order_id = $2 "
            "AND claimed_count + refunding_count + refunded_count + $3 <= quantity",
            [line_id, order_id, quantity],
        )
        if not claimed:
            raise RefundLinesInvalid(left=0, line_id=str(line_id))


async def let_go(pieces: Mapping[UUID, int]) -> None:
    """Let go of pieces that a request kept."""
    for line_id, quantity in pieces.items():
        await changed("UPDATE order_line SET claimed_count = claimed_count - $2 WHERE id = $1", [line_id, quantity])


async def write_lines(after_sale_id: UUID, pieces: Mapping[UUID, int], now: datetime) -> None:
    """Write down which pieces a request is about."""
    await AfterSaleLine.bulk_create(
        [
            AfterSaleLine(id=new_id(now), after_sale_id=after_sale_id, line_id=line_id, quantity=quantity)
            for line_id, quantity in pieces.items()
        ]
    )


async def close_open(order_id: UUID, now: datetime) -> None:
    """The shop refunds all of the order: its open requests are closed, and their pieces free for that refund."""
    for row in await AfterSale.filter(order_id=order_id, state__in=list(OPEN)).order_by("id"):
        await step(row, AfterSaleState.CLOSED, now)
        await note(order_id, "after_sale_closed", now, after_sale_id=str(row.id))
