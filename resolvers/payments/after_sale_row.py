"""What every verb on an after-sale request shares: whose it is, its next state, its pieces, its cases in the inbox."""

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
from resolvers.payments.exception_case import cause_gone, open_case

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

    Those of a refund are let go before it is opened, because they are its own from then on. What the inbox says about
    the request is settled.

    Raises: AfterSaleStateRefused.
    """
    current = AfterSaleState(row.state)
    rule.admit_step(current, wanted)
    ended_at = now if wanted in ENDED else None
    await turn(row, "state", wanted, **{"changed_at": now, "due_at": None, "ended_at": ended_at, **columns})
    if current in OPEN and wanted in ENDED:
        await let_go(await pieces_of(row.id))
    how = "会员撤销了申请" if wanted is AfterSaleState.WITHDRAWN else "已处理"
    await cause_gone(_case_keys(row), how=how, now=now)


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


def _case_keys(row: AfterSale) -> list[str]:
    """What the inbox knows the request by: one key each for the shop's silence and a refused refund, in its term."""
    term = f"after_sale_overdue:{row.id}:{row.answer_by:%Y%m%dT%H%M%S}"
    # The last one is that of a version which told a request once.
    return [term, f"{term}:refund", f"after_sale_overdue:{row.id}"]


async def tell_of_silence(row: AfterSale, now: datetime) -> None:
    """A person must answer the request."""
    await _tell(row, _case_keys(row)[0], {"answer_by": row.answer_by.isoformat()}, now)


async def tell_of_refusal(row: AfterSale, code: str, now: datetime) -> None:
    """A person must see why the rules refuse its refund."""
    await _tell(row, _case_keys(row)[1], {"reason": code}, now)


async def _tell(row: AfterSale, key: str, details: Mapping[str, str], now: datetime) -> None:
    about = {"after_sale_id": str(row.id), **details}
    await open_case(kind="after_sale_overdue", key=key, order_id=row.order_id, details=about, now=now)


async def changed_its_mind(row: AfterSale, now: datetime) -> None:
    """The member asks for something else: what the inbox says about the request is settled. Before its term is new."""
    await cause_gone(_case_keys(row), how="会员修改了申请", now=now)


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
