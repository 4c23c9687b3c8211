"""Fulfilment: how the goods of a paid order reach the member, and what may be put into a parcel.

Source: docs/rules/fulfilment.md
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final
from uuid import UUID

from loyalty.orders.order import OrderState, OrderStateRefused
from loyalty.refusal import Refusal
from loyalty.typed import half_width

MAX_PARCELS: Final = 15
"""WeChat takes no more for one payment."""

MAX_IMPORT_ROWS: Final = 200
MAX_TRACKING_NUMBER: Final = 64

RECEIVE_AFTER: Final = timedelta(days=10)
MIN_RECEIVE_AFTER: Final = timedelta(days=3)
MAX_RECEIVE_AFTER: Final = timedelta(days=60)

RECEIPT_WAITS: Final = timedelta(days=1)
"""How long the automatic receipt of an order waits while it is being refunded."""

UNSHIPPED_AFTER: Final = timedelta(hours=36)
"""How long after the payment somebody is told that goods are still here. WeChat wants them sent within 48 hours."""

_CARRIER = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TRACKING_NUMBER = re.compile(r"[A-Za-z0-9-]{4,64}")


class FulfilmentState(StrEnum):
    """How far the goods of an order have come."""

    NONE = "none"
    TO_SHIP = "to_ship"
    PARTLY_SHIPPED = "partly_shipped"
    SHIPPED = "shipped"
    TO_PICK_UP = "to_pick_up"
    RECEIVED = "received"


TRANSITIONS: Mapping[FulfilmentState, frozenset[FulfilmentState]] = {
    FulfilmentState.NONE: frozenset({FulfilmentState.TO_SHIP, FulfilmentState.TO_PICK_UP}),
    FulfilmentState.TO_SHIP: frozenset(
        {
            FulfilmentState.NONE,
            FulfilmentState.PARTLY_SHIPPED,
            FulfilmentState.SHIPPED,
            FulfilmentState.TO_PICK_UP,
        }
    ),
    FulfilmentState.PARTLY_SHIPPED: frozenset({FulfilmentState.TO_SHIP, FulfilmentState.SHIPPED}),
    FulfilmentState.SHIPPED: frozenset(
        {FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED, FulfilmentState.RECEIVED}
    ),
    FulfilmentState.TO_PICK_UP: frozenset({FulfilmentState.NONE, FulfilmentState.RECEIVED}),
    FulfilmentState.RECEIVED: frozenset(),
}


WAITING: Final = frozenset({FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED, FulfilmentState.TO_PICK_UP})
"""Something of the order is still here."""


class ReceivedBy(StrEnum):
    """Who said that an order was received."""

    MEMBER = "member"
    TIME = "time"
    TILL = "till"


class FulfilmentStateRefused(Refusal):
    """What was asked for is not possible in the ``state`` that the order's goods are in."""

    code = "FULFILMENT_STATE_REFUSED"
    zh = "订单当前履约状态（{state}）不支持此操作"
    en = "This is not possible while the goods are {state}."
    zh_words: ClassVar = {
        FulfilmentState.NONE: "无需发货",
        FulfilmentState.TO_SHIP: "待发货",
        FulfilmentState.PARTLY_SHIPPED: "部分发货",
        FulfilmentState.SHIPPED: "已发货",
        FulfilmentState.TO_PICK_UP: "待自提",
        FulfilmentState.RECEIVED: "已收货",
    }


class CarrierInvalid(Refusal):
    """Not a carrier's code."""

    code = "CARRIER_INVALID"
    zh = "快递公司编码无效"
    en = "This is not a carrier's code."


class TrackingNumberInvalid(Refusal):
    """Not a tracking number."""

    code = "TRACKING_NUMBER_INVALID"
    zh = "运单号须为 4 到 {most} 位字母、数字或连字符"
    en = "A tracking number is 4 to {most} letters, digits and hyphens."


class ParcelKnown(Refusal):
    """The order has a parcel with this carrier and number."""

    code = "PARCEL_KNOWN"
    zh = "该运单号已录入"
    en = "This parcel is known already."


class ParcelLimitReached(Refusal):
    """An order has ``most`` parcels at most."""

    code = "PARCEL_LIMIT_REACHED"
    zh = "一个订单最多 {most} 个包裹"
    en = "An order has {most} parcels at most."


class ParcelLinesInvalid(Refusal):
    """No piece, a quantity below 1, or a line of another order."""

    code = "PARCEL_LINES_INVALID"
    zh = "包裹中的商品无效"
    en = "The pieces of this parcel are not of this order."


class ParcelTooMuch(Refusal):
    """Of ``line_id`` only ``left`` pieces are left to send."""

    code = "PARCEL_TOO_MUCH"
    zh = "可发货数量不足，剩余 {left} 件"
    en = "Only {left} are left to send."


class PiecesClaimed(Refusal):
    """The member asks for the money of pieces that are still here; who sends them all the same loses both."""

    code = "PIECES_CLAIMED"
    zh = "会员正在申请退款，请先处理售后申请"
    en = "The member asks for a refund of these pieces; decide that request first."


class ParcelNotFound(Refusal):
    """No such parcel, or it was voided."""

    code = "PARCEL_NOT_FOUND"
    zh = "包裹不存在或已作废"
    en = "There is no such parcel."


class ParcelImportInvalid(Refusal):
    """An import has 1 to ``most`` rows."""

    code = "PARCEL_IMPORT_INVALID"
    zh = "一次导入须为 1 到 {most} 行"
    en = "An import has 1 to {most} rows."


def admit_step(current: FulfilmentState, wanted: FulfilmentState) -> None:
    """Whether the goods may go from ``current`` to ``wanted``. Raises: FulfilmentStateRefused."""
    if wanted not in TRANSITIONS[current]:
        raise FulfilmentStateRefused(state=current.value)


def admit_paid(state: OrderState) -> None:
    """Whether goods may move at all: only while the order is paid. Raises: OrderStateRefused."""
    if state is not OrderState.PAID:
        raise OrderStateRefused(state=state.value)


def at_payment(*, has_goods: bool, picked_up: bool) -> FulfilmentState:
    """Where the goods of an order stand when it is paid."""
    if not has_goods:
        return FulfilmentState.NONE
    return FulfilmentState.TO_PICK_UP if picked_up else FulfilmentState.TO_SHIP


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePieces:
    """The pieces of one order line: ordered, given back, on their way back without having been sent, sent in parcels.

    ``returned_count`` of those given back had been sent. ``claimed_count`` are asked back without a return in open
    requests, those that are not sent first.
    """

    line_id: UUID
    quantity: int
    refunded_count: int = 0
    refunding_count: int = 0
    shipped_count: int = 0
    returned_count: int = 0
    claimed_count: int = 0

    @property
    def left(self) -> int:
        """How many are owed: neither sent, nor given back before they were."""
        return max(self.quantity - self.refunded_count + self.returned_count - self.shipped_count, 0)

    @property
    def here(self) -> int:
        """How many of them are to stay the member's: not those that are being refunded."""
        return max(self.left - self.refunding_count, 0)

    @property
    def sendable(self) -> int:
        """How many can be sent now: not those either that are asked back."""
        return max(self.here - self.claimed_count, 0)


def state_of(current: FulfilmentState, lines: Sequence[LinePieces]) -> FulfilmentState:
    """The state that follows from the pieces, after a parcel or a refund."""
    if current in (FulfilmentState.NONE, FulfilmentState.RECEIVED):
        return current
    is_left = any(line.left for line in lines)
    if current is FulfilmentState.TO_PICK_UP:
        return current if is_left else FulfilmentState.NONE
    if any(line.shipped_count for line in lines):
        return FulfilmentState.PARTLY_SHIPPED if is_left else FulfilmentState.SHIPPED
    return FulfilmentState.TO_SHIP if is_left else FulfilmentState.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """So many pieces of an order line."""

    line_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelPlan:
    """A parcel as it is written: carrier and number as they are kept, and what is in it."""

    carrier: str
    tracking_number: str
    pieces: tuple[Pieces, ...]


def fit_carrier(written: str) -> str:
    """The carrier's code as WeChat writes it, in upper case. Raises: CarrierInvalid."""
    code = half_width(written)
    if not _CARRIER.fullmatch(code):
        raise CarrierInvalid()
    return code.upper()


def fit_tracking_number(written: str) -> str:
    """The tracking number in half width, without blanks around it. Raises: TrackingNumberInvalid."""
    number = half_width(written)
    if not _TRACKING_NUMBER.fullmatch(number):
        raise TrackingNumberInvalid(most=MAX_TRACKING_NUMBER)
    return number


def admit_parcel(
    *,
    state: FulfilmentState,
    lines: Sequence[LinePieces],
    parcels: Sequence[tuple[str, str]],
    carrier: str,
    tracking_number: str,
    wanted: Sequence[Pieces] | None,
) -> ParcelPlan:
    """What a new parcel of a paid order has in it; None wanted is all that is left. Pieces of a line add up.

    ``parcels`` are carrier and number of those that stand, ``lines`` all lines of the order.

    Raises, in this order: FulfilmentStateRefused, CarrierInvalid, TrackingNumberInvalid, ParcelKnown,
    ParcelLimitReached, ParcelLinesInvalid, ParcelTooMuch, PiecesClaimed.
    """
    if state not in (FulfilmentState.TO_SHIP, FulfilmentState.PARTLY_SHIPPED):
        raise FulfilmentStateRefused(state=state.value)
    code, number = fit_carrier(carrier), fit_tracking_number(tracking_number)
    if (code, number) in parcels:
        raise ParcelKnown()
    if len(parcels) >= MAX_PARCELS:
        raise ParcelLimitReached(most=MAX_PARCELS)
    return ParcelPlan(carrier=code, tracking_number=number, pieces=_admit_pieces(lines, wanted))


def _admit_pieces(lines: Sequence[LinePieces], wanted: Sequence[Pieces] | None) -> tuple[Pieces, ...]:
    if wanted is None:
        wanted = [Pieces(line_id=line.line_id, quantity=line.sendable) for line in lines if line.sendable]
        if not wanted and any(line.here for line in lines):
            raise PiecesClaimed()
    by_id = {line.line_id: line for line in lines}
    summed: dict[UUID, int] = {}
    for pieces in wanted:
        if pieces.quantity < 1 or pieces.line_id not in by_id:
            raise ParcelLinesInvalid()
        summed[pieces.line_id] = summed.get(pieces.line_id, 0) + pieces.quantity
    if not summed:
        raise ParcelLinesInvalid()
    for line_id, quantity in summed.items():
        if quantity > by_id[line_id].here:
            raise ParcelTooMuch(line_id=str(line_id), left=by_id[line_id].sendable)
        if quantity > by_id[line_id].sendable:
            raise PiecesClaimed()
    return tuple(Pieces(line_id=line_id, quantity=quantity) for line_id, quantity in summed.items())


def admit_hand_out(lines: Sequence[LinePieces]) -> None:
    """Whether a till may hand out all that is left of an order. Raises: PiecesClaimed."""
    if any(line.sendable < line.here for line in lines):
        raise PiecesClaimed()


def receive_due(shipped_at: datetime, after: timedelta = RECEIVE_AFTER) -> datetime:
    """The instant from which a shipped order counts as received. ``after`` is 3 to 60 days."""
    assert MIN_RECEIVE_AFTER <= after <= MAX_RECEIVE_AFTER, f"a receipt after {after}"
    return shipped_at + after


def admit_import(rows: int) -> None:
    """Whether an import may have so many rows. Raises: ParcelImportInvalid."""
    if not 1 <= rows <= MAX_IMPORT_ROWS:
        raise ParcelImportInvalid(most=MAX_IMPORT_ROWS)
