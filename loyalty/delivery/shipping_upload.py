"""What WeChat's order shipping management is told about an order, and how long it is tried.

Source: docs/rules/fulfilment.md
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Final

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.refusal import Refusal

MAX_DESCRIPTION: Final = 120

RETRY_AFTER: Final = (
    timedelta(minutes=1),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
)
"""How long an upload waits after each try that failed. One try more than these, and a person has to look."""

FIRST_AFTER_PAYMENT: Final = timedelta(minutes=1)
"""WeChat's shipping management learns of a payment a moment after the payment itself."""


WANTS_CONTACT: Final = frozenset({"SF"})
"""Carriers of whose parcels WeChat wants the receiver's masked phone."""


class UploadState(StrEnum):
    """Where the upload of an order stands."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    NOT_NEEDED = "not_needed"


class LogisticsType(IntEnum):
    """WeChat's ``logistics_type``, as far as the store uses it."""

    EXPRESS = 1
    VIRTUAL = 3
    PICK_UP = 4


class ShippingUploadNotFailed(Refusal):
    """Only what WeChat has refused is tried again by hand."""

    code = "SHIPPING_UPLOAD_NOT_FAILED"
    zh = "该订单没有上传失败的发货信息"
    en = "WeChat has not refused anything about this order."


def logistics_type(state: FulfilmentState, parcels: int) -> LogisticsType | None:
    """How the goods come, by WeChat's word; None while there is nothing to tell. ``parcels`` are those that stand."""
    if parcels:
        return LogisticsType.EXPRESS
    if state is FulfilmentState.RECEIVED:
        return LogisticsType.PICK_UP
    return LogisticsType.VIRTUAL if state is FulfilmentState.NONE else None


def is_complete(state: FulfilmentState) -> bool:
    """Whether nothing more will be sent."""
    return state is not FulfilmentState.PARTLY_SHIPPED


def is_split(state: FulfilmentState, parcels: int) -> bool:
    """Whether WeChat's mode is split (分拆发货): several parcels, or the first of several."""
    return parcels > 1 or (parcels == 1 and not is_complete(state))


def retry_after(tries: int) -> timedelta | None:
    """How long to wait after ``tries`` tries that failed (1 and more); None when it was the last one."""
    return RETRY_AFTER[tries - 1] if tries <= len(RETRY_AFTER) else None


def masked_phone(phone: str) -> str:
    """A phone as WeChat takes it: nothing but the first three and the last four characters."""
    return f"{phone[:3]}****{phone[-4:]}"


def describe(pieces: Sequence[tuple[str, int]]) -> str:
    """What is in a parcel, as the buyer reads it in WeChat: names with quantities, at most 120 characters."""
    text = ";".join(f"{name}*{quantity}" for name, quantity in pieces)
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"
