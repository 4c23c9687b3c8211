"""Telling WeChat's order shipping management how goods reach their buyer: after the commit, until it knows.

Everything that changes an order's goods wants an upload; the sweep sends what the order looks like by then. So a try
that failed, or that was overtaken, never sends yesterday's parcels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from loyalty.delivery import shipping_upload as rule
from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.delivery.shipping_upload import LogisticsType, ShippingUploadNotFailed, UploadState
from loyalty.orders.order import OrderNotFound, OrderState
from models.delivery.fulfilment import ShippingUpload
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from models.orders.order import Order
from models.payments.payment import ExceptionCase
from resolvers.deps import Deps
from resolvers.payments.exception_case import cause_gone, open_case
from resolvers.people import address
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from wechat.errors import QuotaExhausted, ShippingUnchanged, TokenRejected, WeChatError
from wechat.shipping import Shipment, ShippedParcel

log = structlog.get_logger()

LEASE = timedelta(minutes=1)
"""How long a claimed upload belongs to who claimed it: longer than WeChat may take to answer."""


async def want(order: Order, now: datetime) -> None:
    """Have WeChat told how the order's goods stand, in the transaction that changed them.

    Only orders with money to pay are paid over WeChat; of the others it knows nothing.
    """
    assert in_transaction(), "an upload is wanted together with what it tells"
    if order.payable_fen == 0:
        return
    assert order.paid_at is not None, "goods move after the payment"
    due = max(now, order.paid_at + rule.FIRST_AFTER_PAYMENT)
    await rows(
        "INSERT INTO shipping_upload (id, order_id, state, wanted, done, tries, unclear, due_at, last_error) "
        "VALUES ($1, $2, 'waiting', 1, 0, 0, false, $3, '') ON CONFLICT (order_id) DO UPDATE SET "
        "state = 'waiting', wanted = shipping_upload.wanted + 1, tries = 0, due_at = $3",
        [new_id(now), order.id, due],
    )


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of uploads whose next try is due, each leased to the caller."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE shipping_upload SET due_at = $2 WHERE id IN (SELECT id FROM shipping_upload WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + LEASE, limit],
    )
    return [row["id"] for row in claimed]


PASSING = (QuotaExhausted, TokenRejected)
"""What a later try may well not meet, although the same call is not to be repeated at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One try: what the order looks like, and the change that this tells."""

    upload: ShippingUpload
    shipment: Shipment | None


async def send(deps: Deps, *, upload_id: UUID) -> None:
    """Tell WeChat, once; what comes of it is kept. Harmless to repeat.

    When the try before may have taken effect, WeChat is asked first: what was told completely can be told anew only
    once. So it is when a lone parcel was told before, perhaps as the first of several: another mode counts as anew.
    """
    one = await _begin(deps, upload_id)
    if one is None:
        return
    if one.shipment is None or not await _is_managed(deps):
        await _finish(deps, one, UploadState.NOT_NEEDED)
        return
    shipment, upload = one.shipment, one.upload
    was_told = upload.done > 0 and shipment.logistics_type == LogisticsType.EXPRESS and not shipment.is_split
    try:
        known = await deps.shipping.status(shipment.transaction_id) if upload.unclear or was_told else None
        if known is not None and known.is_split:
            shipment = replace(shipment, is_split=shipment.logistics_type == LogisticsType.EXPRESS)
        if known is None or not known.has(shipment):
            assert upload.told_at is not None, "a try has its time"
            await deps.shipping.upload(shipment, upload_at=upload.told_at)
    except ShippingUnchanged:
        await _finish(deps, one, UploadState.DONE)
    except WeChatError as error:
        await _postpone(deps, one, error)
    else:
        await _finish(deps, one, UploadState.DONE)


async def _is_managed(deps: Deps) -> bool:
    try:
        return await deps.shipping.is_trade_managed()
    except WeChatError as error:
        # An upload that was not needed harms nobody; one that is missing freezes money.
        log.warning("trade_managed_unknown", error=error.code)
        return True


@retried
async def _begin(deps: Deps, upload_id: UUID) -> _Try | None:
    now = deps.clock.now()
    async with transaction():
        begun = await rows(
            "UPDATE shipping_upload SET told_at = greatest($2, told_at + interval '1 millisecond') "
            "WHERE id = $1 AND state = 'waiting' RETURNING order_id",
            [upload_id, now],
        )
        if not begun:
            return None
        return _Try(upload=await ShippingUpload.get(id=upload_id), shipment=await _shipment(deps, begun[0]["order_id"]))


async def _shipment(deps: Deps, order_id: UUID) -> Shipment | None:
    order = await Order.get(id=order_id)
    if order.state != OrderState.PAID:
        return None
    paid = await rows(
        "SELECT payment.transaction_id, attempt.openid FROM payment JOIN payment_attempt attempt "
        "ON attempt.id = payment.attempt_id WHERE payment.order_id = $1 AND payment.outcome IN ('settled', 'revived')",
        [order_id],
    )
    state = FulfilmentState(order.fulfilment_state)
    parcels = await _parcels(deps, order_id)
    how = rule.logistics_type(state, len(parcels))
    if how is None or not paid:
        return None
    return Shipment(
        transaction_id=paid[0]["transaction_id"],
        openid=paid[0]["openid"],
        logistics_type=how,
        is_split=rule.is_split(state, len(parcels)),
        is_all_delivered=rule.is_complete(state),
        parcels=tuple(parcels) or (ShippedParcel(item_desc=await _everything(order_id)),),
    )


async def _parcels(deps: Deps, order_id: UUID) -> list[ShippedParcel]:
    found = await rows(
        "SELECT parcel.id, parcel.carrier, parcel.tracking_number, line.product_title, line.sku_title, held.quantity "
        "FROM parcel JOIN parcel_line held ON held.parcel_id = parcel.id "
        "JOIN order_line line ON line.id = held.order_line_id "
        "WHERE parcel.order_id = $1 AND parcel.voided_at IS NULL ORDER BY parcel.id, line.position",
        [order_id],
    )
    grouped: dict[UUID, list[dict[str, Any]]] = {}
    for row in found:
        grouped.setdefault(row["id"], []).append(row)
    there = await address.of_order(deps, order_id)
    phone = rule.masked_phone(there.contact.phone) if there else None
    return [
        ShippedParcel(
            item_desc=rule.describe([_named(row) for row in held]),
            express_company=held[0]["carrier"],
            tracking_no=held[0]["tracking_number"],
            receiver_contact=phone if held[0]["carrier"] in rule.WANTS_CONTACT else None,
        )
        for held in grouped.values()
    ]


async def _everything(order_id: UUID) -> str:
    """All of an order, but for the pieces whose money went or goes back."""
    found = await rows(
        "SELECT product_title, sku_title, quantity - refunded_count - refunding_count AS quantity FROM order_line "
        "WHERE order_id = $1 AND quantity > refunded_count + refunding_count ORDER BY position",
        [order_id],
    )
    return rule.describe([_named(row) for row in found])


def _named(row: Mapping[str, Any]) -> tuple[str, int]:
    return f"{row['product_title']} {row['sku_title']}".strip(), row["quantity"]


@retried
async def _finish(deps: Deps, one: _Try, state: UploadState) -> None:
    """Keep that WeChat has what was wanted then. What was wanted meanwhile is sent next."""
    now = deps.clock.now()
    async with transaction():
        await changed(
            "UPDATE shipping_upload SET done = CASE WHEN $4::text = 'done' THEN $2 ELSE done END, "
            "done_at = CASE WHEN $4::text = 'done' THEN $3 ELSE done_at END, tries = 0, unclear = false, "
            "last_error = '', state = CASE WHEN wanted = $2 THEN $4::text ELSE state END, "
            "due_at = CASE WHEN wanted = $2 THEN NULL ELSE $3::timestamptz END WHERE id = $1 AND state = 'waiting'",
            [one.upload.id, one.upload.wanted, now, state],
        )
        await cause_gone(_case_keys(one.upload), how="发货信息已上传", now=now)


def _case_keys(upload: ShippingUpload) -> list[str]:
    """The keys of the cases that an order's uploads may have opened, the newest last."""
    return [f"shipping_upload_failed:{upload.order_id.hex}:{at}" for at in range(1, upload.wanted + 1)]


@retried
async def _postpone(deps: Deps, one: _Try, error: WeChatError) -> None:
    now = deps.clock.now()
    tries = one.upload.tries + 1
    wait = rule.retry_after(tries) if error.retriable or isinstance(error, PASSING) else None
    log.warning("shipping_upload_failed", order_id=str(one.upload.order_id), error=error.code, tries=tries)
    async with transaction():
        kept = await changed(
            "UPDATE shipping_upload SET tries = $3, unclear = unclear OR $4, last_error = $5, due_at = $6, "
            "state = CASE WHEN $6::timestamptz IS NULL THEN 'failed' ELSE 'waiting' END "
            "WHERE id = $1 AND wanted = $2 AND state = 'waiting'",
            [
                one.upload.id,
                one.upload.wanted,
                tries,
                error.unclear,
                str(error.code)[:200],
                None if wait is None else now + wait,
            ],
        )
        keys = _case_keys(one.upload)
        # What stands in the inbox already, and was tried again in vain, is not put in a second time.
        if kept and wait is None and not await ExceptionCase.exists(key__in=keys, resolved_at__isnull=True):
            await open_case(
                kind="shipping_upload_failed",
                key=keys[-1],
                order_id=one.upload.order_id,
                details={"error": str(error.code), "tries": tries},
                now=now,
            )


@retried
async def try_again(deps: Deps, *, operator_id: UUID, order_id: UUID) -> ShippingUpload:
    """Have what WeChat has refused tried again, from the first try on. The order is the key.

    Raises: OrderNotFound, ShippingUploadNotFailed.
    """
    now = deps.clock.now()
    async with transaction():
        await lock_operator(operator_id)
        if not await Order.exists(id=order_id):
            raise OrderNotFound()
        wanted = await rows(
            "UPDATE shipping_upload SET state = 'waiting', tries = 0, wanted = wanted + 1, due_at = $2 "
            "WHERE order_id = $1 AND state = 'failed' RETURNING id, last_error",
            [order_id, now],
        )
        upload = await ShippingUpload.get_or_none(order_id=order_id)
        if upload is None or (not wanted and upload.state != UploadState.WAITING):
            raise ShippingUploadNotFailed()
        if wanted:
            await record(
                operator_id,
                "shipping_upload.try_again",
                "order",
                order_id,
                {"error": wanted[0]["last_error"]},
                None,
                now,
            )
        return upload


async def by_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, ShippingUpload]:
    """What WeChat has to be told of these orders, as far as it has to."""
    return {one.order_id: one for one in await ShippingUpload.filter(order_id__in=list(order_ids))}
