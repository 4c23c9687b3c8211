"""What members ask for after the sale, what operators answer, and what time alone does with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from loyalty import after_sale as rule
from loyalty.after_sale import (
    SHOPS_FAULT,
    AfterSaleKind,
    AfterSaleNotFound,
    AfterSaleReason,
    AfterSaleState,
    AfterSaleStateRefused,
    Delivery,
)
from loyalty.fulfilment import FulfilmentState
from loyalty.order import OrderState, OrderStateRefused
from loyalty.payment import RefundCause
from loyalty.refund import PartState, RefundChanged, RefundEffect, RefundInProgress, RefundLinesInvalid
from loyalty.refusal import Refusal
from models.after_sale import AfterSale, AfterSaleLine
from models.engine import retried, rows, savepoint, transaction
from models.ids import new_id
from models.order import Order, OrderLine
from resolvers import refund, refund_part
from resolvers.after_sale_row import claim, let_go, member_of, pieces_of, step, write_lines
from resolvers.audit import record
from resolvers.deps import Deps
from resolvers.exception_case import cause_gone, open_case
from resolvers.operator import lock_operator
from resolvers.order_row import note, owned
from resolvers.refund_part import Standing, Wish
from resolvers.replay import remember, replayed

LEASE = timedelta(minutes=1)
"""How long a request whose time has come is one worker's, and how long it waits for another refund of its order."""

STUCK = timedelta(hours=6)
"""How long a refund that the rules refuse waits for its next try, while a person looks into it."""

CASE = "after_sale_overdue"


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


def _wish(kind: AfterSaleKind, reason: AfterSaleReason, pieces: Mapping[UUID, int]) -> Wish:
    return Wish(
        pieces=pieces,
        cause=RefundCause.BY_MEMBER,
        shops_fault=reason in SHOPS_FAULT,
        goods_come_back=kind is AfterSaleKind.RETURN_AND_REFUND,
        reason=_TOLD[reason],
    )


_TOLD: Mapping[AfterSaleReason, str] = {
    AfterSaleReason.NO_REASON: "七天无理由退货",
    AfterSaleReason.QUALITY: "商品质量问题",
    AfterSaleReason.NOT_AS_DESCRIBED: "商品与描述不符",
    AfterSaleReason.WRONG_ITEM: "商家发错货",
    AfterSaleReason.MISSING: "少件漏发",
    AfterSaleReason.DAMAGED: "商品破损",
    AfterSaleReason.LATE: "未按时发货",
    AfterSaleReason.AGREED: "协商一致退款",
    AfterSaleReason.OTHER: "其他原因",
}
"""What the payer reads in WeChat."""


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
    async with transaction(await refund.member_of(order_id)):
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
        return await _rehearsed(deps, row, deps.clock.now())


class _TakenBack(Exception):
    """Ends a preview."""


async def _rehearsed(deps: Deps, row: AfterSale, now: datetime) -> RefundEffect:
    pieces = await pieces_of(row.id)
    effect: RefundEffect | None = None
    try:
        async with savepoint():
            await let_go(pieces)
            wish = _wish(AfterSaleKind(row.kind), AfterSaleReason(row.reason), pieces)
            effect = await refund_part.rehearsed(deps, row.order_id, wish, now)
            raise _TakenBack
    except _TakenBack:
        assert effect is not None, "it was rehearsed"
        return effect


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
        wish = _wish(asked.kind, asked.reason, asked.pieces)
        _compare(await refund_part.rehearsed(deps, order.id, wish, now), asked.expected)


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


def _compare(effect: RefundEffect, expected: str) -> None:
    if effect.digest() != expected:
        raise RefundChanged(effect=orjson.dumps(effect.definition()).decode())


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
        row.kind, row.reason, row.text, row.pictures = asked.kind, asked.reason, asked.text, list(asked.pictures)
        row.changed_at, row.answer_by = now, now + deps.after_sale.answer
        row.due_at = row.answer_by
        await row.save()
        await cause_gone([_case_key(row.id)], how="会员修改了申请", now=now)
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
            await cause_gone([_case_key(row.id)], how="会员撤销了申请", now=now)
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
        rule.admit_parcel(carrier=carrier, number=number)
        parcel = {"carrier": carrier.strip(), "parcel_number": number.strip()}
        if row.state == AfterSaleState.RETURNING:
            await AfterSale.filter(id=row.id).update(changed_at=now, **parcel)
            return await AfterSale.get(id=row.id)
        if row.kind != AfterSaleKind.RETURN_AND_REFUND:
            raise AfterSaleStateRefused(state=row.state)
        due_at = now + deps.after_sale.receive
        await step(row, AfterSaleState.RETURNING, now, due_at=due_at, sent_back_at=now, **parcel)
        await note(row.order_id, "after_sale_sent_back", now, after_sale_id=str(row.id))
        return row


# What operators do


async def approve(
    deps: Deps,
    *,
    operator_id: UUID,
    after_sale_id: UUID,
    words: str,
    expected: str | None,
    idempotency_key: str,
) -> AfterSale:
    """Agree to a request: the refund begins, or the member may send the goods back. ``words`` may say where to.

    ``expected`` is the fingerprint of the preview that was confirmed.

    Raises:
        AfterSaleNotFound, AfterSaleStateRefused, AfterSaleInvalid (words above 200 characters).
        RefundChanged, ClawBackBlocked, MallNotReturnable, RefundsUsedUp: the refund cannot begin so.
        KeyInvalid, KeyReused: the idempotency key.
    """
    refund_id = await _decide(
        deps, operator_id, after_sale_id, "approve", words=words, expected=expected, key=idempotency_key
    )
    return await _sent(deps, after_sale_id, refund_id)


async def reject(deps: Deps, *, operator_id: UUID, after_sale_id: UUID, words: str, idempotency_key: str) -> AfterSale:
    """Refuse a request, or what came back, with 1 to 200 characters of why.

    Raises: AfterSaleNotFound, AfterSaleStateRefused, AfterSaleInvalid, KeyInvalid, KeyReused.
    """
    await _decide(deps, operator_id, after_sale_id, "reject", words=words, expected=None, key=idempotency_key)
    return await AfterSale.get(id=after_sale_id)


async def receive(
    deps: Deps, *, operator_id: UUID, after_sale_id: UUID, expected: str | None, idempotency_key: str
) -> AfterSale:
    """The parcel is there and fine: the refund begins.

    Raises: what ``approve`` raises.
    """
    refund_id = await _decide(
        deps, operator_id, after_sale_id, "receive", words="", expected=expected, key=idempotency_key
    )
    return await _sent(deps, after_sale_id, refund_id)


async def _sent(deps: Deps, after_sale_id: UUID, refund_id: UUID | None) -> AfterSale:
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)
    return await AfterSale.get(id=after_sale_id)


@retried
async def _decide(
    deps: Deps,
    operator_id: UUID,
    after_sale_id: UUID,
    decision: str,
    *,
    words: str,
    expected: str | None,
    key: str,
) -> UUID | None:
    now = deps.clock.now()
    operation = f"afterSale{decision.capitalize()}"
    content = {"after_sale_id": str(after_sale_id), "words": words, "expected": expected}
    async with transaction(await member_of(after_sale_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return UUID(before["refund_id"]) if before["refund_id"] else None
        row = await AfterSale.get(id=after_sale_id)
        told = row.state
        refund_id = None
        match decision:
            case "approve":
                refund_id = await _approve(deps, row, operator_id, words, expected, now)
            case "reject":
                rule.admit_decision_words(words)
                decided = {"decision": words.strip(), "decided_by_id": operator_id, "decided_at": now}
                await step(row, AfterSaleState.REJECTED, now, **decided)
                await note(row.order_id, "after_sale_rejected", now, after_sale_id=str(row.id))
            case _:
                await _receive(row, now)
                refund_id = await _begin(deps, row, expected, now)
        await cause_gone([_case_key(row.id)], how="已处理", now=now)
        after = {"state": row.state, "words": words.strip()}
        await record(operator_id, f"after_sale.{decision}", "after_sale", row.id, {"state": told}, after, now)
        await remember(
            operator_id,
            key=key,
            operation=operation,
            content=content,
            result={"refund_id": str(refund_id) if refund_id else None},
            now=now,
        )
        return refund_id


async def _approve(
    deps: Deps, row: AfterSale, operator_id: UUID | None, words: str, expected: str | None, now: datetime
) -> UUID | None:
    rule.admit_words(text=words)
    decided = {"decision": words.strip(), "decided_by_id": operator_id, "decided_at": now}
    if row.kind == AfterSaleKind.RETURN_AND_REFUND:
        if expected is not None:
            _compare(await _rehearsed(deps, row, now), expected)
        send_back_by = now + deps.after_sale.send_back
        await step(row, AfterSaleState.APPROVED, now, due_at=send_back_by, send_back_by=send_back_by, **decided)
        await note(row.order_id, "after_sale_approved", now, after_sale_id=str(row.id))
        return None
    await step(row, AfterSaleState.APPROVED, now, **decided)
    await note(row.order_id, "after_sale_approved", now, after_sale_id=str(row.id))
    return await _begin(deps, row, expected, now)


async def _receive(row: AfterSale, now: datetime) -> None:
    await step(row, AfterSaleState.RECEIVED, now, received_at=now)
    await note(row.order_id, "after_sale_received", now, after_sale_id=str(row.id))


async def _begin(deps: Deps, row: AfterSale, expected: str | None, now: datetime) -> UUID | None:
    """Begin the refund, or wait until another one of the order is done."""
    pieces = await pieces_of(row.id)
    wish = _wish(AfterSaleKind(row.kind), AfterSaleReason(row.reason), pieces)
    try:
        async with savepoint():
            await let_go(pieces)
            order = await Order.get(id=row.order_id)
            part, refund_id = await refund_part.open_part(deps, order, wish, now=now, expected=expected)
    except RefundInProgress:
        await AfterSale.filter(id=row.id).update(due_at=now + LEASE)
        row.due_at = now + LEASE
        return None
    await step(row, AfterSaleState.REFUNDING, now, order_refund_id=part.id)
    await part.refresh_from_db()
    if part.state == PartState.DONE:
        await step(row, AfterSaleState.REFUNDED, now)
    return refund_id


# What time does


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of requests for which time alone does something, each leased to the caller for a minute."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE after_sale SET due_at = $2 WHERE id IN (SELECT id FROM after_sale WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + LEASE, limit],
    )
    return [row["id"] for row in claimed]


async def carry_on(deps: Deps, *, after_sale_id: UUID) -> None:
    """Do what time alone does with a request: the shop was silent, no parcel came, one was long on its way, or its
    refund had to wait. Harmless to repeat.

    A refund that the rules refuse stays in the exceptions inbox and is tried again.
    """
    try:
        refund_id = await _carry_on(deps, after_sale_id)
    except Refusal as refusal:
        await _tell(deps, after_sale_id, refusal.code)
        return
    await _sent(deps, after_sale_id, refund_id)


@retried
async def _carry_on(deps: Deps, after_sale_id: UUID) -> UUID | None:
    now = deps.clock.now()
    async with transaction(await member_of(after_sale_id)):
        row = await AfterSale.get(id=after_sale_id)
        match AfterSaleState(row.state):
            case AfterSaleState.REQUESTED if now >= row.answer_by:
                return await _answer_silence(deps, row, now)
            case AfterSaleState.APPROVED if row.send_back_by is not None:
                if now >= row.send_back_by:
                    await step(row, AfterSaleState.CLOSED, now)
                    await note(row.order_id, "after_sale_closed", now, after_sale_id=str(row.id))
                return None
            case AfterSaleState.RETURNING if row.sent_back_at is not None:
                if now < row.sent_back_at + deps.after_sale.receive:
                    return None
                await _receive(row, now)
                return await _begin(deps, row, None, now)
            case AfterSaleState.APPROVED | AfterSaleState.RECEIVED:
                return await _begin(deps, row, None, now)
            case _:
                return None


async def _answer_silence(deps: Deps, row: AfterSale, now: datetime) -> UUID | None:
    if deps.after_sale.approves_on_silence:
        return await _approve(deps, row, None, "", None, now)
    await AfterSale.filter(id=row.id).update(due_at=None)
    await _open_case(row, {"answer_by": row.answer_by.isoformat()}, now)
    return None


async def _tell(deps: Deps, after_sale_id: UUID, code: str) -> None:
    now = deps.clock.now()
    async with transaction(await member_of(after_sale_id)):
        row = await AfterSale.get(id=after_sale_id)
        if AfterSaleState(row.state) in rule.OPEN:
            await AfterSale.filter(id=row.id).update(due_at=now + STUCK)
            await _open_case(row, {"reason": code}, now)


async def _open_case(row: AfterSale, details: Mapping[str, object], now: datetime) -> None:
    await open_case(
        kind=CASE,
        key=_case_key(row.id),
        order_id=row.order_id,
        details={"after_sale_id": str(row.id), **details},
        now=now,
    )


def _case_key(after_sale_id: UUID) -> str:
    return f"{CASE}:{after_sale_id}"
