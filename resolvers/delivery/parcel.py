"""What operators send: parcels of an order, one at a time or many by a list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.delivery import fulfilment as rule
from loyalty.delivery.fulfilment import (
    FulfilmentState,
    FulfilmentStateRefused,
    ParcelKnown,
    ParcelNotFound,
    ParcelTooMuch,
    Pieces,
)
from loyalty.orders.order import OrderNotFound, OrderState
from loyalty.orders.order_event import OrderEventKind
from loyalty.refusal import Refusal
from models.delivery.fulfilment import Parcel, ParcelLine
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.orders.order import Order
from resolvers.delivery import fulfilment, shipping_upload
from resolvers.deps import Deps
from resolvers.orders.order_row import member_of, note
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

_LEFT = (
    f"line.quantity - line.refunded_count + line.returned_count - line.shipped_count - {fulfilment.UNSENT_GOING_BACK}"
)
"""How many pieces of a line are left to send."""


@retried
async def create(
    deps: Deps,
    *,
    operator_id: UUID,
    order_id: UUID,
    carrier: str,
    tracking_number: str,
    pieces: Sequence[Pieces] | None,
    idempotency_key: str,
) -> Parcel:
    """Send a parcel with these pieces of an order, or with all that is left (None).

    Raises:
        OrderNotFound, OrderStateRefused, FulfilmentStateRefused: nothing of it can be sent.
        CarrierInvalid, TrackingNumberInvalid, ParcelKnown, ParcelLimitReached: the parcel.
        ParcelLinesInvalid, ParcelTooMuch, PiecesClaimed: what is in it.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {
        "order_id": str(order_id),
        "carrier": carrier,
        "tracking_number": tracking_number,
        "pieces": None if pieces is None else [[str(one.line_id), one.quantity] for one in pieces],
    }
    async with transaction(await member_of(order_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="parcelCreate", content=content)
        if before is not None:
            return await Parcel.get(id=UUID(before["parcel_id"]))
        parcel = await _send(deps, operator_id, await Order.get(id=order_id), carrier, tracking_number, pieces, now)
        await remember(
            operator_id,
            key=idempotency_key,
            operation="parcelCreate",
            content=content,
            result={"parcel_id": str(parcel.id)},
            now=now,
        )
        return parcel


async def _send(
    deps: Deps,
    operator_id: UUID,
    order: Order,
    carrier: str,
    tracking_number: str,
    pieces: Sequence[Pieces] | None,
    now: datetime,
) -> Parcel:
    rule.admit_paid(OrderState(order.state))
    standing = await Parcel.filter(order_id=order.id, voided_at__isnull=True)
    plan = rule.admit_parcel(
        state=FulfilmentState(order.fulfilment_state),
        lines=await fulfilment.pieces(order.id),
        parcels=[(one.carrier, one.tracking_number) for one in standing],
        carrier=carrier,
        tracking_number=tracking_number,
        wanted=pieces,
    )
    parcel = await Parcel.create(
        id=new_id(now),
        order_id=order.id,
        carrier=plan.carrier,
        tracking_number=plan.tracking_number,
        sent_at=now,
        sent_by_id=operator_id,
    )
    for one in plan.pieces:
        await ParcelLine.create(id=new_id(now), parcel_id=parcel.id, order_line_id=one.line_id, quantity=one.quantity)
        await _take(one)
    await note(order.id, OrderEventKind.PARCEL_SENT, now, parcel_id=str(parcel.id))
    await fulfilment.recount(deps, order, now)
    await shipping_upload.want(order, now)
    await record(
        operator_id,
        "parcel.create",
        "order",
        order.id,
        None,
        {"parcel_id": str(parcel.id), "carrier": plan.carrier, "tracking_number": plan.tracking_number},
        now,
    )
    return parcel


async def _take(pieces: Pieces) -> None:
    """Count pieces of a line as sent, if so many are left. The member's lock has seen to that; this makes sure."""
    taken = await changed(
        f"UPDATE order_line line SET shipped_count = shipped_count + $2 WHERE id = $1 AND {_LEFT} >= $2",
        [pieces.line_id, pieces.quantity],
    )
    if not taken:
        left = await rows(f"SELECT greatest({_LEFT}, 0) AS pieces FROM order_line line WHERE id = $1", [pieces.line_id])
        raise ParcelTooMuch(line_id=str(pieces.line_id), left=left[0]["pieces"])


@retried
async def correct(
    deps: Deps, *, operator_id: UUID, parcel_id: UUID, carrier: str, tracking_number: str, idempotency_key: str
) -> Parcel:
    """Correct a parcel's carrier and tracking number, until the order is received.

    Raises: ParcelNotFound, OrderStateRefused, FulfilmentStateRefused, CarrierInvalid, TrackingNumberInvalid,
        ParcelKnown, KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    content = {"parcel_id": str(parcel_id), "carrier": carrier, "tracking_number": tracking_number}
    async with transaction(await _member_of_parcel(parcel_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="parcelCorrect", content=content)
        if before is not None:
            return await Parcel.get(id=parcel_id)
        parcel, order = await _movable(parcel_id)
        code, number = rule.fit_carrier(carrier), rule.fit_tracking_number(tracking_number)
        was = {"carrier": parcel.carrier, "tracking_number": parcel.tracking_number}
        same = await Parcel.get_or_none(order_id=order.id, carrier=code, tracking_number=number, voided_at__isnull=True)
        if same is not None and same.id != parcel.id:
            raise ParcelKnown()
        if same is None:
            await changed(
                "UPDATE parcel SET carrier = $2, tracking_number = $3 WHERE id = $1", [parcel_id, code, number]
            )
            await note(order.id, OrderEventKind.PARCEL_CHANGED, now, parcel_id=str(parcel_id))
            await shipping_upload.want(order, now)
            is_now = {"carrier": code, "tracking_number": number}
            await record(operator_id, "parcel.correct", "order", order.id, was, is_now, now)
        await remember(
            operator_id,
            key=idempotency_key,
            operation="parcelCorrect",
            content=content,
            result={"parcel_id": str(parcel_id)},
            now=now,
        )
        return await Parcel.get(id=parcel_id)


async def _member_of_parcel(parcel_id: UUID) -> UUID:
    found = await rows(
        "SELECT o.member_id FROM parcel JOIN shop_order o ON o.id = parcel.order_id WHERE parcel.id = $1", [parcel_id]
    )
    if not found:
        raise ParcelNotFound()
    member_id: UUID = found[0]["member_id"]
    return member_id


async def _movable(parcel_id: UUID) -> tuple[Parcel, Order]:
    parcel = await Parcel.get(id=parcel_id)
    if parcel.voided_at is not None:
        raise ParcelNotFound()
    order = await Order.get(id=parcel.order_id)
    rule.admit_paid(OrderState(order.state))
    if order.fulfilment_state == FulfilmentState.RECEIVED:
        raise FulfilmentStateRefused(state=order.fulfilment_state)
    return parcel, order


@retried
async def void(deps: Deps, *, operator_id: UUID, parcel_id: UUID) -> Parcel:
    """Take back a parcel that was not sent after all: its pieces are to be shipped again. Harmless to repeat.

    Raises: ParcelNotFound, OrderStateRefused, FulfilmentStateRefused.
    """
    now = deps.clock.now()
    async with transaction(await _member_of_parcel(parcel_id)):
        await lock_operator(operator_id)
        parcel = await Parcel.get(id=parcel_id)
        if parcel.voided_at is not None:
            return parcel
        parcel, order = await _movable(parcel_id)
        await changed("UPDATE parcel SET voided_at = $2 WHERE id = $1", [parcel_id, now])
        await changed(
            "UPDATE order_line SET shipped_count = shipped_count - held.quantity FROM parcel_line held "
            "WHERE held.parcel_id = $1 AND held.order_line_id = order_line.id",
            [parcel_id],
        )
        await note(order.id, OrderEventKind.PARCEL_VOIDED, now, parcel_id=str(parcel_id))
        await fulfilment.recount(deps, order, now)
        await shipping_upload.want(order, now)
        was = {"parcel_id": str(parcel_id), "carrier": parcel.carrier, "tracking_number": parcel.tracking_number}
        await record(operator_id, "parcel.void", "order", order.id, was, None, now)
        return await Parcel.get(id=parcel_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One row of a carrier's list: all that is left of an order went off under this number."""

    order_number: str
    carrier: str
    tracking_number: str


async def import_rows(deps: Deps, *, operator_id: UUID, listed: Sequence[ImportRow]) -> list[Parcel | Refusal]:
    """Send a parcel for each row, each by itself: the parcel, or why there is none. 1 to 200 rows.

    A row whose parcel is there already is answered with it, so a list can be sent again.

    Raises: ParcelImportInvalid.
    """
    rule.admit_import(len(listed))
    answers: list[Parcel | Refusal] = []
    for row in listed:
        try:
            answers.append(await _import(deps, operator_id, row))
        except Refusal as refusal:
            answers.append(refusal)
    return answers


@retried
async def _import(deps: Deps, operator_id: UUID, row: ImportRow) -> Parcel:
    now = deps.clock.now()
    known = await Order.get_or_none(number=row.order_number.strip()[:32])
    if known is None:
        raise OrderNotFound()
    carrier, number = rule.fit_carrier(row.carrier), rule.fit_tracking_number(row.tracking_number)
    async with transaction(known.member_id):
        await lock_operator(operator_id)
        standing = await Parcel.get_or_none(
            order_id=known.id, carrier=carrier, tracking_number=number, voided_at__isnull=True
        )
        if standing is not None:
            return standing
        return await _send(deps, operator_id, await Order.get(id=known.id), carrier, number, None, now)


async def by_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[Parcel]]:
    """The parcels of each order that stand, oldest first."""
    groups: dict[UUID, list[Parcel]] = {order_id: [] for order_id in order_ids}
    for row in await Parcel.filter(order_id__in=list(order_ids), voided_at__isnull=True).order_by("id"):
        groups[row.order_id].append(row)
    return groups


async def lines_by_parcel(_: Deps, parcel_ids: Sequence[UUID]) -> Mapping[UUID, list[ParcelLine]]:
    """What is in each parcel, in the order of the order's lines."""
    groups: dict[UUID, list[ParcelLine]] = {parcel_id: [] for parcel_id in parcel_ids}
    found = await ParcelLine.filter(parcel_id__in=list(parcel_ids)).order_by("order_line__position")
    for row in found:
        groups[row.parcel_id].append(row)
    return groups
