"""What operators answer to after-sale requests, and what time alone does with them."""

from datetime import datetime, timedelta
from uuid import UUID

from loyalty.payments import after_sale as rule
from loyalty.payments.after_sale import AfterSaleKind, AfterSaleState
from loyalty.refusal import Refusal
from models.engine import retried, rows, transaction
from models.payments.after_sale import AfterSale
from resolvers.deps import Deps
from resolvers.orders.order_row import note
from resolvers.payments import refund
from resolvers.payments.after_sale_refund import LEASE, begin, compare, rehearsed
from resolvers.payments.after_sale_row import member_of, step, tell_of_refusal, tell_of_silence
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

STUCK = timedelta(hours=6)
"""How long a refund that the rules refuse waits for its next try, while a person looks into it."""


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
        RefundChanged, ClawBackBlocked, MallNotReturnable: the refund cannot begin so.
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
                refund_id = await begin(deps, row, expected, now)
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
            compare(await rehearsed(deps, row, now), expected)
        send_back_by = now + deps.after_sale.send_back
        await step(row, AfterSaleState.APPROVED, now, due_at=send_back_by, send_back_by=send_back_by, **decided)
        await note(row.order_id, "after_sale_approved", now, after_sale_id=str(row.id))
        return None
    await step(row, AfterSaleState.APPROVED, now, **decided)
    await note(row.order_id, "after_sale_approved", now, after_sale_id=str(row.id))
    return await begin(deps, row, expected, now)


async def _receive(row: AfterSale, now: datetime) -> None:
    await step(row, AfterSaleState.RECEIVED, now, received_at=now)
    await note(row.order_id, "after_sale_received", now, after_sale_id=str(row.id))


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
                return await begin(deps, row, None, now)
            case AfterSaleState.APPROVED | AfterSaleState.RECEIVED:
                return await begin(deps, row, None, now)
            case _:
                return None


async def _answer_silence(deps: Deps, row: AfterSale, now: datetime) -> UUID | None:
    if deps.after_sale.approves_on_silence:
        return await _approve(deps, row, None, "", None, now)
    await AfterSale.filter(id=row.id).update(due_at=None)
    await tell_of_silence(row, now)
    return None


async def _tell(deps: Deps, after_sale_id: UUID, code: str) -> None:
    now = deps.clock.now()
    async with transaction(await member_of(after_sale_id)):
        row = await AfterSale.get(id=after_sale_id)
        if AfterSaleState(row.state) in rule.OPEN:
            await AfterSale.filter(id=row.id).update(due_at=now + STUCK)
            await tell_of_refusal(row, code, now)
