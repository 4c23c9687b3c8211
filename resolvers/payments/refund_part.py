"""Parts of orders that go back: opening one, previewing one, and booking it when its money is back.

Everything here runs inside the caller's transaction with the order's member locked. A preview is the refund itself in
a savepoint that is taken back, so that it can say nothing that the refund would not do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.orders.order import OrderKind, OrderState, OrderStateRefused
from loyalty.payments import refund as rule
from loyalty.payments.after_sale import AfterSaleState
from loyalty.payments.payment import RefundCause, RefundState
from loyalty.payments.refund import (
    ByHand,
    PaidLine,
    PartState,
    RefundChanged,
    RefundEffect,
    RefundInProgress,
    RefundLinesInvalid,
    RefundNotWhole,
    RefundPart,
    SentLine,
)
from loyalty.points.points import ClawBackMode, PointsProgramme
from models.engine import changed, in_transaction, rows, savepoint
from models.ids import new_id
from models.orders.order import Order
from models.payments.after_sale import OrderRefund, OrderRefundLine
from models.payments.payment import Refund
from resolvers.delivery import shipping_upload
from resolvers.delivery.fulfilment import recount
from resolvers.deps import Deps
from resolvers.group_buys.group_seat import vacate
from resolvers.orders.order_reversal import reverse
from resolvers.orders.order_row import note, step
from resolvers.payments.refund_request import payment_of, request, why_by_hand
from resolvers.points.mall_exchange import take_back
from resolvers.programme import InForce, version
from resolvers.referrals.referral_reward import order_refunded

_LINES = """
SELECT line.id, line.quantity, line.shipped_count, line.claimed_count, line.refunding_count, line.refunded_count,
    line.payable_fen, line.points_fen,
    coalesce((SELECT sum(gone.quantity - gone.sent_count) FROM order_refund_line gone WHERE gone.line_id = line.id), 0)
        ::int AS unsent_gone
FROM order_line line WHERE line.order_id = $1 ORDER BY line.position
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to go back: so many pieces of lines, or everything that is left (None).

    ``goods_come_back`` is false when the member keeps what was sent: it does not come back to the stock then.
    """

    pieces: Mapping[UUID, int] | None
    cause: RefundCause
    shops_fault: bool
    goods_come_back: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What of an order may still go back, and how far it has come."""

    lines: tuple[PaidLine, ...]
    sent: Mapping[UUID, SentLine]
    shipping_fen: int
    anything_sent: bool


class _TakenBack(Exception):
    """Ends a preview."""


async def standing(order: Order) -> Standing:
    """The order's lines as a refund meets them, read once."""
    found = await rows(_LINES, [order.id])
    used = rule.points_by_line(order.points_used, [row["points_fen"] + row["payable_fen"] for row in found])
    received = order.fulfilment_state == FulfilmentState.RECEIVED
    return Standing(
        lines=tuple(
            PaidLine(
                line_id=row["id"],
                quantity=row["quantity"],
                refunded=row["refunded_count"] + row["refunding_count"],
                claimed=row["claimed_count"],
                payable_fen=row["payable_fen"],
                points_used=points_used,
            )
            for row, points_used in zip(found, used, strict=True)
        ),
        sent={row["id"]: _sent(row, received=received) for row in found},
        shipping_fen=order.payable_fen - sum(row["payable_fen"] for row in found),
        anything_sent=received or any(row["shipped_count"] for row in found),
    )


def _sent(row: Mapping[str, Any], *, received: bool) -> SentLine:
    here: int = row["quantity"] - row["refunded_count"] - row["refunding_count"]
    unsent = 0 if received else min(here, max(0, row["quantity"] - row["shipped_count"] - row["unsent_gone"]))
    return SentLine(unsent=unsent, sent=here - unsent)


async def open_part(
    deps: Deps, order: Order, wish: Wish, *, now: datetime, expected: str | None = None
) -> tuple[OrderRefund, UUID | None]:
    """Write that a part of a paid order goes back, and ask for its money; what costs none is booked at once.

    ``expected`` is the fingerprint of the preview that was confirmed. Returns the part, and the id of the refund that
    is to be sent to WeChat after the commit; None when there is nothing to send, or the shop has to pay it by hand.

    Raises:
        OrderStateRefused, RefundInProgress: nothing can go back now.
        RefundLinesInvalid, RefundNotWhole: these pieces cannot.
        MallNotReturnable: what a mall exchange gave is used, or was a gift to charity.
        ClawBackBlocked: the programme forbids it while earned points are spent.
        RefundChanged: it would do something else than was previewed.
    """
    await _admit(order)
    programme: InForce[PointsProgramme] = await version("points", order.points_version_id)
    may_block = programme.rules.clawback_mode is ClawBackMode.BLOCK and wish.cause is not RefundCause.TEAM_FAILED
    if expected is not None or may_block:
        effect = await rehearsed(deps, order.id, wish, now)
        if expected is not None and effect.digest() != expected:
            raise RefundChanged(effect=orjson.dumps(effect.definition()).decode())
    part = await _write(order, wish, now)
    await note(order.id, "refund_requested", now, reason=part.reason, amount_fen=part.amount_fen)
    payment = await payment_of(order) if part.amount_fen else None
    if payment is None:
        await _book(deps, order, part, now)
        return part, None
    asked = await request(
        order,
        payment,
        cause=wish.cause,
        reason=part.reason,
        now=now,
        amount_fen=part.amount_fen,
        order_refund_id=part.id,
    )
    return part, asked.id if asked.state == RefundState.REQUESTED else None


async def rehearsed(deps: Deps, order_id: UUID, wish: Wish, now: datetime) -> RefundEffect:
    """What this refund would do now; nothing of it stays.

    Raises: what ``open_part`` raises, but for RefundChanged.
    """
    assert in_transaction(), "a rehearsal needs the member's lock"
    effect: RefundEffect | None = None
    try:
        async with savepoint():
            order = await Order.get(id=order_id)
            await _admit(order)
            part = await _write(order, wish, now)
            effect = await _book(deps, order, part, now, rehearsal=True)
            raise _TakenBack
    except _TakenBack:
        assert effect is not None, "the books were written"
        return effect


async def _admit(order: Order) -> None:
    if await OrderRefund.exists(order_id=order.id, state=PartState.REQUESTED):
        raise RefundInProgress
    if order.state != OrderState.PAID:
        raise OrderStateRefused(state=order.state)


async def _write(order: Order, wish: Wish, now: datetime) -> OrderRefund:
    found = await standing(order)
    pieces = rule.everything_left(found.lines) if wish.pieces is None else wish.pieces
    part = rule.part_of(
        found.lines,
        pieces,
        shipping_fen=found.shipping_fen,
        sent=found.anything_sent,
        shops_fault=wish.shops_fault,
    )
    if order.kind == OrderKind.MALL and not part.last:
        raise RefundNotWhole
    row = await OrderRefund.create(
        id=new_id(now),
        order_id=order.id,
        cause=wish.cause,
        reason=wish.reason,
        state=PartState.REQUESTED,
        amount_fen=part.amount_fen,
        shipping_fen=part.shipping_fen,
        shipping_back=part.shipping_back,
        points_used=part.points_used,
        requested_at=now,
    )
    await OrderRefundLine.bulk_create([_line(row.id, line, found.sent[line.line_id], wish, now) for line in part.lines])
    await _count_as_refunding(order, part)
    if part.last:
        await step(order, OrderState.REFUNDING)
        await take_back(order, now)
        await vacate(order, now)
    return row


def _line(order_refund_id: UUID, line: rule.RefundedLine, sent: SentLine, wish: Wish, now: datetime) -> OrderRefundLine:
    sent_count = rule.pieces_sent(sent, line.quantity, returned=wish.goods_come_back)
    return OrderRefundLine(
        id=new_id(now),
        order_refund_id=order_refund_id,
        line_id=line.line_id,
        quantity=line.quantity,
        sent_count=sent_count,
        restocked_count=line.quantity if wish.goods_come_back else line.quantity - sent_count,
        money_fen=line.money_fen,
        points_used=line.points_used,
    )


async def _count_as_refunding(order: Order, part: RefundPart) -> None:
    for line_id, quantity in part.pieces.items():
        counted = await changed(
            "UPDATE order_line SET refunding_count = refunding_count + $2 "
            "WHERE id = $1 AND claimed_count + refunding_count + refunded_count + $2 <= quantity",
            [line_id, quantity],
        )
        if not counted:
            raise RefundLinesInvalid(left=0, line_id=str(line_id))
    counted = await changed(
        "UPDATE shop_order SET refunding_fen = refunding_fen + $2 "
        "WHERE id = $1 AND refunding_fen + refunded_fen + $2 <= payable_fen",
        [order.id, part.amount_fen],
    )
    assert counted, "the shares of a payment never exceed it"


async def finish(deps: Deps, order_refund_id: UUID, now: datetime) -> None:
    """The money of a part is back: book it."""
    part = await OrderRefund.get(id=order_refund_id)
    if part.state == PartState.REQUESTED:
        await _book(deps, await Order.get(id=part.order_id), part, now)


async def _book(deps: Deps, order: Order, part: OrderRefund, now: datetime, *, rehearsal: bool = False) -> RefundEffect:
    programme: InForce[PointsProgramme] = await version("points", order.points_version_id)
    mode = programme.rules.clawback_mode
    if mode is ClawBackMode.BLOCK and not rehearsal:
        # The money is back already, so a programme that blocks can only write down what is missing.
        mode = ClawBackMode.DEBT
    await _count_as_refunded(part, now)
    found = await standing(order)
    if all(line.refunded == line.quantity for line in found.lines):
        await step(order, OrderState.REFUNDED, refunded_at=now)
        await note(order.id, "refunded", now, amount_fen=part.amount_fen)
    else:
        await note(order.id, "part_refunded", now, amount_fen=part.amount_fen)
    await order.refresh_from_db()
    if not rehearsal:
        was = order.fulfilment_state
        await recount(deps, order, now)
        if (was, order.fulfilment_state) == (FulfilmentState.PARTLY_SHIPPED, FulfilmentState.SHIPPED):
            await shipping_upload.want(order, now)
        await order_refunded(order, now=now)
    effect = await reverse(deps, order, part, found.lines, now=now, mode=mode, shared=not rehearsal)
    effect = replace(effect, by_hand=await (_foreseen if rehearsal else _was_by_hand)(order, part, now))
    if not rehearsal:
        await _keep(part, effect, now)
    return effect


async def _foreseen(order: Order, part: OrderRefund, now: datetime) -> ByHand | None:
    """Why the shop will have to pay the part back."""
    payment = await payment_of(order) if part.amount_fen else None
    return await why_by_hand(payment, now) if payment is not None else None


async def _was_by_hand(_: Order, part: OrderRefund, __: datetime) -> ByHand | None:
    """Why the shop has paid the part back."""
    paid = await Refund.get_or_none(order_refund_id=part.id, state=RefundState.SUCCEEDED)
    if paid is None or not paid.evidence:
        return None
    return ByHand(paid.last_error) if paid.last_error in list(ByHand) else ByHand.REFUSED


async def _count_as_refunded(part: OrderRefund, now: datetime) -> None:
    done = await changed(
        "UPDATE order_refund SET state = 'done', done_at = $2 WHERE id = $1 AND state = 'requested'", [part.id, now]
    )
    assert done == 1, "a part is booked once"
    await changed(
        "UPDATE order_line SET refunding_count = refunding_count - gone.quantity, "
        "refunded_count = refunded_count + gone.quantity, returned_count = returned_count + gone.sent_count "
        "FROM order_refund_line gone WHERE gone.order_refund_id = $1 AND order_line.id = gone.line_id",
        [part.id],
    )
    await changed(
        "UPDATE shop_order SET refunding_fen = refunding_fen - $2, refunded_fen = refunded_fen + $2 WHERE id = $1",
        [part.order_id, part.amount_fen],
    )


async def _keep(part: OrderRefund, effect: RefundEffect, now: datetime) -> None:
    await changed(
        "UPDATE order_refund SET effect = $2::jsonb, earned_reversed = $3 WHERE id = $1",
        [part.id, orjson.dumps(effect.definition()).decode(), effect.earned_reversed],
    )
    await changed(
        "UPDATE after_sale SET state = $2, ended_at = $3, changed_at = $3 "
        "WHERE order_refund_id = $1 AND state = 'refunding'",
        [part.id, AfterSaleState.REFUNDED, now],
    )
