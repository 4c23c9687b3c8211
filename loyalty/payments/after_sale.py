"""After-sale requests: what members may ask for and until when, and the states that a request goes through.

Source: docs/rules/after_sale.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import ClassVar
from urllib.parse import urlsplit

from loyalty.refusal import Refusal
from loyalty.shop_time import business_day, day_end
from loyalty.typed import half_width

MAX_PICTURES = 9
MAX_PICTURE_URL = 500
MAX_TEXT = 200
MAX_CARRIER = 40
MAX_PARCEL_NUMBER = 40
LEAST_DAYS = 7
"""The law's days without a reason; no shop has fewer."""


class AfterSaleKind(StrEnum):
    """Whether the goods stay with the member or go back."""

    REFUND_ONLY = "refund_only"
    RETURN_AND_REFUND = "return_and_refund"


class AfterSaleReason(StrEnum):
    """Why a member wants the money back."""

    NO_REASON = "no_reason"
    QUALITY = "quality"
    NOT_AS_DESCRIBED = "not_as_described"
    WRONG_ITEM = "wrong_item"
    MISSING = "missing"
    DAMAGED = "damaged"
    LATE = "late"
    AGREED = "agreed"
    OTHER = "other"


SHOPS_FAULT = frozenset(
    {
        AfterSaleReason.QUALITY,
        AfterSaleReason.NOT_AS_DESCRIBED,
        AfterSaleReason.WRONG_ITEM,
        AfterSaleReason.MISSING,
        AfterSaleReason.DAMAGED,
        AfterSaleReason.LATE,
    }
)
"""For these the shop answers, so the shipping fee comes back too."""


class NoReturnCause(StrEnum):
    """Why goods cannot be returned without a reason: the exceptions of the law."""

    CUSTOM_MADE = "custom_made"
    PERISHABLE = "perishable"
    DIGITAL = "digital"
    NEWSPAPER = "newspaper"
    BY_NATURE = "by_nature"


class AfterSaleState(StrEnum):
    """Where a request stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNING = "returning"
    RECEIVED = "received"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


TRANSITIONS: Mapping[AfterSaleState, frozenset[AfterSaleState]] = {
    AfterSaleState.REQUESTED: frozenset(
        {AfterSaleState.APPROVED, AfterSaleState.REJECTED, AfterSaleState.WITHDRAWN, AfterSaleState.CLOSED}
    ),
    AfterSaleState.APPROVED: frozenset(
        {AfterSaleState.RETURNING, AfterSaleState.REFUNDING, AfterSaleState.WITHDRAWN, AfterSaleState.CLOSED}
    ),
    AfterSaleState.REJECTED: frozenset(),
    AfterSaleState.RETURNING: frozenset({AfterSaleState.REJECTED, AfterSaleState.RECEIVED, AfterSaleState.CLOSED}),
    AfterSaleState.RECEIVED: frozenset({AfterSaleState.REJECTED, AfterSaleState.REFUNDING, AfterSaleState.CLOSED}),
    AfterSaleState.REFUNDING: frozenset({AfterSaleState.REFUNDED}),
    AfterSaleState.REFUNDED: frozenset(),
    AfterSaleState.WITHDRAWN: frozenset(),
    AfterSaleState.CLOSED: frozenset(),
}
"""Every step that a request may take."""

OPEN = frozenset({AfterSaleState.REQUESTED, AfterSaleState.APPROVED, AfterSaleState.RETURNING, AfterSaleState.RECEIVED})
"""While a request stands here, its pieces stand in no other one and in no refund."""


class AfterSaleNotFound(Refusal):
    """No such request, or not this member's."""

    code = "AFTER_SALE_NOT_FOUND"
    zh = "售后申请不存在"
    en = "There is no such request."


class AfterSaleStateRefused(Refusal):
    """What was asked for is not possible in the request's ``state``."""

    code = "AFTER_SALE_STATE_REFUSED"
    zh = "售后申请当前状态（{state}）不支持此操作"
    en = "This is not possible while the request is {state}."
    zh_words: ClassVar = {
        AfterSaleState.REQUESTED: "待审核",
        AfterSaleState.APPROVED: "已同意",
        AfterSaleState.REJECTED: "已拒绝",
        AfterSaleState.RETURNING: "退货中",
        AfterSaleState.RECEIVED: "已收到退货",
        AfterSaleState.REFUNDING: "退款中",
        AfterSaleState.REFUNDED: "已退款",
        AfterSaleState.WITHDRAWN: "已撤销",
        AfterSaleState.CLOSED: "已关闭",
    }


class AfterSaleInvalid(Refusal):
    """``field`` is out of its bounds."""

    code = "AFTER_SALE_INVALID"
    zh = "售后申请有误：{field}"
    en = "The request is invalid: {field}."
    zh_words: ClassVar = {
        "text": "说明",
        "pictures": "图片",
        "reason": "处理说明",
        "carrier": "快递公司",
        "number": "运单号",
    }


class NothingToReturn(Refusal):
    """A return of goods that were never sent."""

    code = "NOTHING_TO_RETURN"
    zh = "商品尚未发货，请申请仅退款"
    en = "Nothing was sent yet; ask for a refund only."


class ReturnNeeded(Refusal):
    """Who wants the money back without a reason sends the goods back."""

    code = "RETURN_NEEDED"
    zh = "七天无理由需退回商品，请申请退货退款"
    en = "Without a reason the goods go back; ask for a return and refund."


class NoReasonExcluded(Refusal):
    """The goods are excepted from the return without a reason, as was confirmed with the order."""

    code = "NO_REASON_EXCLUDED"
    zh = "该商品不支持七天无理由退货"
    en = "These goods cannot be returned without a reason."


class AfterSaleTooLate(Refusal):
    """More than ``days`` shop days after the day of receipt."""

    code = "AFTER_SALE_TOO_LATE"
    zh = "已超过签收后 {days} 天的售后期限"
    en = "More than {days} days have passed since receipt."


class NoReturnNotAccepted(Refusal):
    """The order has goods that are excepted from the return without a reason, and the member did not confirm it."""

    code = "NO_RETURN_NOT_ACCEPTED"
    zh = "订单含不支持七天无理由退货的商品，请确认后再下单"
    en = "Some goods cannot be returned without a reason; please confirm that first."


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterSaleTerms:
    """What the shop has set: deadlines, and what its silence means."""

    answer: timedelta = timedelta(hours=48)
    approves_on_silence: bool = False
    send_back: timedelta = timedelta(days=7)
    receive: timedelta = timedelta(days=10)
    no_reason_days: int = LEAST_DAYS
    fault_days: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far the goods of a request have come. ``received_at`` None: not received, as far as the shop knows."""

    sent: bool
    received_at: datetime | None = None


def admit_step(current: AfterSaleState, wanted: AfterSaleState) -> None:
    """Whether a request may go from ``current`` to ``wanted``. Raises: AfterSaleStateRefused."""
    if wanted not in TRANSITIONS[current]:
        raise AfterSaleStateRefused(state=current.value)


def admit_change(current: AfterSaleState) -> None:
    """Whether the member may still change what was asked for. Raises: AfterSaleStateRefused."""
    if current is not AfterSaleState.REQUESTED:
        raise AfterSaleStateRefused(state=current.value)


def last_instant(received_at: datetime, days: int, zone: tzinfo) -> datetime:
    """Until before when something may be asked for: the end of the ``days``-th shop day after the day of receipt."""
    return day_end(business_day(received_at, zone) + timedelta(days=days), zone)


def admit_wish(
    kind: AfterSaleKind,
    reason: AfterSaleReason,
    delivery: Delivery,
    *,
    excepted: bool,
    terms: AfterSaleTerms,
    now: datetime,
    zone: tzinfo,
) -> None:
    """Whether this may be asked for. ``excepted``: one of the goods cannot be returned without a reason.

    Raises, in this order: NothingToReturn, ReturnNeeded, NoReasonExcluded, AfterSaleTooLate.
    """
    without_reason = reason is AfterSaleReason.NO_REASON
    if not delivery.sent:
        if kind is AfterSaleKind.RETURN_AND_REFUND:
            raise NothingToReturn
        return
    if without_reason and kind is AfterSaleKind.REFUND_ONLY:
        raise ReturnNeeded
    if without_reason and excepted:
        raise NoReasonExcluded
    days = terms.no_reason_days if without_reason else terms.fault_days
    if delivery.received_at is not None and now >= last_instant(delivery.received_at, days, zone):
        raise AfterSaleTooLate(days=days)


def admit_words(*, text: str = "", pictures: Sequence[str] = ()) -> None:
    """Whether a request may carry these words and pictures. Raises: AfterSaleInvalid."""
    if len(text) > MAX_TEXT:
        raise AfterSaleInvalid(field="text")
    if len(pictures) > MAX_PICTURES or not all(_is_picture(url) for url in pictures):
        raise AfterSaleInvalid(field="pictures")


def _is_picture(url: str) -> bool:
    if len(url) > MAX_PICTURE_URL:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and url.isascii() and url.isprintable()


def admit_decision_words(words: str) -> None:
    """Whether an operator may decide with these words: 1 to 200 characters. Raises: AfterSaleInvalid."""
    if not 1 <= len(words.strip()) <= MAX_TEXT:
        raise AfterSaleInvalid(field="reason")


def fit_parcel(*, carrier: str, number: str) -> tuple[str, str]:
    """Carrier and number of a return parcel as they are kept, in half width. Raises: AfterSaleInvalid."""
    carrier, number = half_width(carrier), half_width(number)
    if not 1 <= len(carrier) <= MAX_CARRIER:
        raise AfterSaleInvalid(field="carrier")
    if not 1 <= len(number) <= MAX_PARCEL_NUMBER or not number.isascii():
        raise AfterSaleInvalid(field="number")
    return carrier, number


def admit_purchase(*, excepted: bool, accepted: bool) -> None:
    """Whether an order may be placed: goods that are excepted need the member's word. Raises: NoReturnNotAccepted."""
    if excepted and not accepted:
        raise NoReturnNotAccepted
