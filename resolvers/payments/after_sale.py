"""What members ask for after the sale: previews, requests, changes, and the parcels in which goods come back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.orders.order import OrderState, OrderStateRefused
from loyalty.payments import after_sale as rule
from loyalty.payments.after_sale import (
    AfterSaleKind,
    AfterSaleNotFound,
    AfterSaleReason,
    AfterSaleState,
    AfterSaleStateRefused,
    Delivery,
)
from loyalty.payments.payment import RefundCause
from loyalty.payments.refund import RefundEffect, RefundLinesInvalid
from models.engine import retried, transaction
from models.ids import new_id
from models.orders.order import Order, OrderLine
from models.payments.after_sale import AfterSale, AfterSaleLine
from resolvers.deps import Deps
from resolvers.orders import order_row
from resolvers.orders.order_row import note, owned
from resolvers.payments import refund_part
from resolvers.payments.after_sale_refund import compare, rehearsed, wish_of
from resolvers.payments.after_sale_row import (
    changed_its_mind,
    claim,
    let_go,
    member_of,
    pieces_of,
    step,
    write_lines,
)
from resolvers.payments.refund_part import Standing, Wish
from resolvers.replay import remember, replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a member asks for. ``expected`` is the fingerprint of the preview that was confirmed, if it was sent."""

    kind: AfterSaleKind
    reason: AfterSaleReason
    pieces: Mapping[UUID, int]
    text: str = ""
    pictures: Sequence[str] = ()
    expected: str | None = None

    def content(self) -> dict[str, object]:
        """The request as JSON values."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "pieces": {str(line_id): quantity for line_id, quantity in sorted(self.pieces.items())},
            "text": self.text,
            "pictures": list(self.pictures),
            "expected": self.expected,
        }


async def preview(
    deps: Deps,
    *,
    order_id: UUID,
    member_id: UUID | None,
    pieces: Mapping[UUID, int] | None,
    shops_fault: bool,
    goods_come_back: bool,
) -> RefundEffect:
    """What a refund of so many pieces would do now, or of all that is left (None); nothing is kept.

    ``member_id`` None: an operator asks.

    Raises: what the refund itself would raise, but for RefundChanged.
    """
    now = deps.clock.now()
    wish = Wish(pieces=pieces, cause=RefundCause.BY_MEMBER, shops_fault=shops_fault, goods_come_back=goods_come_back)
    async with transaction(await order_row.member_of(order_id)):
        if member_id is not None:
            await owned(member_id, order_id)
        return await refund_part.rehearsed(deps, order_id, wish, now)


async def preview_request(deps: Deps, *, after_sale_id: UUID, member_id: UUID | None) -> RefundEffect:
    """What the refund of an open request would do now; nothing is kept. ``member_id`` None: an operator asks.

    Raises: AfterSaleNotFound, AfterSaleStateRefused (it is no longer open), and what the refund itself would raise.
    """
    owner_id = await member_of(after_sale_id)
    if member_id not in (None, owner_id):
        raise AfterSaleNotFound
    async with transaction(owner_id):
        row = await AfterSale.get(id=after_sale_id)
        if AfterSaleState(row.state) not in rule.OPEN:
            raise AfterSaleStateRefused(state=row.state)
        return await rehearsed(deps, row, deps.clock.now())


# What members do


@retried
async def request(deps: Deps, *, member_id: UUID, order_id: UUID, asked: Asked, idempotency_key: str) -> AfterSale:
    """Ask for money back for pieces of a paid order; they are kept for this request until it ends.

    Raises:
        OrderNotFound, OrderStateRefused: it is not a paid order of the member.
        AfterSaleInvalid: the words or pictures.
        RefundLinesInvalid: pieces that are not there, or stand in another request or refund.
        NothingToReturn, ReturnNeeded, NoReasonExcluded, AfterSaleTooLate: it cannot be asked for so.
        RefundChanged: the refund would do something else than was previewed; only with ``expected``.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"order_id": str(order_id), **asked.content()}
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="afterSaleRequest", content=content)
        if before is not None:
            return await AfterSale.get(id=UUID(before["after_sale_id"]))
        order = await owned(member_id, order_id)
        await _admit(deps, order, asked, now)
        await claim(order_id, asked.pieces)
        answer_by = now + deps.after_sale.answer
        row = await AfterSale.create(
            id=new_id(now),
            order_id=order_id,
            member_id=member_id,
            kind=asked.kind,
            state=AfterSaleState.REQUESTED,
            reason=asked.reason,
            text=asked.text,
            pictures=list(asked.pictures),
            answer_by=answer_by,
            due_at=answer_by,
            requested_at=now,
            changed_at=now,
        )
        await write_lines(row.id, asked.pieces, now)
        await note(order_id, "after_sale_requested", now, after_sale_id=str(row.id), reason=asked.reason)
        await remember(
            member_id,
            key=idempotency_key,
            operation="afterSaleRequest",
            content=content,
            result={"after_sale_id": str(row.id)},
            now=now,
        )
        return row


async def _admit(deps: Deps, order: Order, asked: Asked, now: datetime) -> None:
    if order.state != OrderState.PAID:
        raise OrderStateRefused(state=order.state)
    rule.admit_words(text=asked.text, pictures=asked.pictures)
    standing = await refund_part.standing(order)
    _admit_pieces(standing, asked.pieces)
    excepted = await OrderLine.exists(id__in=list(asked.pieces), no_reason_return=False)
    rule.admit_wish(
        asked.kind,
        asked.reason,
        _delivery(order, standing, asked),
        excepted=excepted,
        terms=deps.after_sale,
        now=now,
        zone=deps.zone,
    )
    if asked.expected is not None:
        wish = wish_of(asked.kind, asked.reason, asked.pieces)
        compare(await refund_part.rehearsed(deps, order.id, wish, now), asked.expected)


def _admit_pieces(standing: Standing, pieces: Mapping[UUID, int]) -> None:
    left = {line.line_id: line.left for line in standing.lines}
    if not pieces:
        raise RefundLinesInvalid(left=sum(left.values()), line_id=None)
    for line_id, quantity in pieces.items():
        if not 1 <= quantity <= left.get(line_id, 0):
            raise RefundLinesInvalid(left=left.get(line_id, 0), line_id=str(line_id))


def _delivery(order: Order, standing: Standing, asked: Asked) -> Delivery:
    """Pieces that go back are those that were sent; of pieces that stay, those are meant first that were not."""
    if asked.kind is AfterSaleKind.RETURN_AND_REFUND:
        sent = all(quantity <= standing.sent[line_id].sent for line_id, quantity in asked.pieces.items())
    else:
        sent = any(quantity > standing.sent[line_id].unsent for line_id, quantity in asked.pieces.items())
    received = sent and order.fulfilment_state == FulfilmentState.RECEIVED
    return Delivery(sent=sent, received_at=order.completed_at if received else None)


@retried
async def change(deps: Deps, *, member_id: UUID, after_sale_id: UUID, asked: Asked) -> AfterSale:
    """Ask for something else while the shop has not answered; the shop's time begins anew. Harmless to repeat.

    Raises: AfterSaleNotFound, AfterSaleStateRefused, and what ``request`` raises.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        row = await _own(member_id, after_sale_id)
        rule.admit_change(AfterSaleState(row.state))
        await let_go(await pieces_of(row.id))
        await _admit(deps, await Order.get(id=row.order_id), asked, now)
        await claim(row.order_id, asked.pieces)
        await AfterSaleLine.filter(after_sale_id=row.id).delete()
        await write_lines(row.id, asked.pieces, now)
        await changed_its_mind(row, now)
        row.kind, row.reason, row.text, row.pictures = asked.kind, asked.reason, asked.text, list(asked.pictures)
        row.changed_at, row.answer_by = now, now + deps.after_sale.answer
        row.due_at = row.answer_by
        await row.save()
        await note(row.order_id, "after_sale_changed", now, after_sale_id=str(row.id), reason=asked.reason)
        return row


async def _own(member_id: UUID, after_sale_id: UUID) -> AfterSale:
    row = await AfterSale.get_or_none(id=after_sale_id, member_id=member_id)
    if row is None:
        raise AfterSaleNotFound
    return row


@retried
async def withdraw(deps: Deps, *, member_id: UUID, after_sale_id: UUID) -> AfterSale:
    """Take a request back before anything was sent back or refunded. Harmless to repeat.

    Raises: AfterSaleNotFound, AfterSaleStateRefused.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        row = await _own(member_id, after_sale_id)
        if row.state != AfterSaleState.WITHDRAWN:
            await step(row, AfterSaleState.WITHDRAWN, now)
            await note(row.order_id, "after_sale_withdrawn", now, after_sale_id=str(row.id))
        return row


@retried
async def send_back(deps: Deps, *, member_id: UUID, after_sale_id: UUID, carrier: str, number: str) -> AfterSale:
    """Name the parcel in which the goods come back; until it is received, naming another one corrects it.

    Raises: AfterSaleNotFound, AfterSaleInvalid, AfterSaleStateRefused.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        row = await _own(member_id, after_sale_id)
        carrier, number = rule.fit_parcel(carrier=carrier, number=number)
        parcel = {"carrier": carrier, "parcel_number": number}
        if row.state == AfterSaleState.RETURNING:
            await AfterSale.filter(id=row.id).update(changed_at=now, **parcel)
            return await AfterSale.get(id=row.id)
        if row.kind != AfterSaleKind.RETURN_AND_REFUND:
            raise AfterSaleStateRefused(state=row.state)
        due_at = now + deps.after_sale.receive
        await step(row, AfterSaleState.RETURNING, now, due_at=due_at, sent_back_at=now, **parcel)
        await note(row.order_id, "after_sale_sent_back", now, after_sale_id=str(row.id))
        return row
