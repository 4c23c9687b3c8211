"""The refund that an after-sale request leads to: what it would do, and its beginning.

Everything here runs inside the caller's transaction with the request's member locked.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from loyalty.payments.after_sale import SHOPS_FAULT, AfterSaleKind, AfterSaleReason, AfterSaleState
from loyalty.payments.payment import RefundCause
from loyalty.payments.refund import PartState, RefundChanged, RefundEffect, RefundInProgress
from models.engine import savepoint
from models.orders.order import Order
from models.payments.after_sale import AfterSale
from resolvers.deps import Deps
from resolvers.payments import refund_part
from resolvers.payments.after_sale_row import let_go, pieces_of, step
from resolvers.payments.refund_part import Wish

LEASE = timedelta(minutes=1)
"""How long a request whose time has come is one worker's, and how long it waits for another refund of its order."""


def wish_of(kind: AfterSaleKind, reason: AfterSaleReason, pieces: Mapping[UUID, int]) -> Wish:
    """What a request for these pieces asks the refund to do."""
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


class _TakenBack(Exception):
    """Ends a preview."""


async def rehearsed(deps: Deps, row: AfterSale, now: datetime) -> RefundEffect:
    """What the refund of an open request would do now; nothing of it stays."""
    pieces = await pieces_of(row.id)
    effect: RefundEffect | None = None
    try:
        async with savepoint():
            await let_go(pieces)
            wish = wish_of(AfterSaleKind(row.kind), AfterSaleReason(row.reason), pieces)
            effect = await refund_part.rehearsed(deps, row.order_id, wish, now)
            raise _TakenBack
    except _TakenBack:
        assert effect is not None, "it was rehearsed"
        return effect


def compare(effect: RefundEffect, expected: str) -> None:
    """Whether a refund does what was previewed. Raises: RefundChanged."""
    if effect.digest() != expected:
        raise RefundChanged(effect=orjson.dumps(effect.definition()).decode())


async def begin(deps: Deps, row: AfterSale, expected: str | None, now: datetime) -> UUID | None:
    """Begin the refund, or wait until another one of the order is done; the id of what is to be sent to WeChat.

    Raises: what ``refund_part.open_part`` raises, but for RefundInProgress.
    """
    pieces = await pieces_of(row.id)
    wish = wish_of(AfterSaleKind(row.kind), AfterSaleReason(row.reason), pieces)
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
