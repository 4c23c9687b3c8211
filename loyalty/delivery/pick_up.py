"""Picking up 自提: the points where goods wait, and the code that a till reads.

Source: docs/rules/fulfilment.md
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from loyalty.one_time_code import CodeKind
from loyalty.refusal import Refusal
from loyalty.typed import half_width

MAX_NAME: Final = 40
MAX_ADDRESS: Final = 200
MAX_OPENING_HOURS: Final = 100
MAX_PHONE: Final = 20


class PickUpPointNotFound(Refusal):
    """No such point, or for a new order a hidden one."""

    code = "PICK_UP_POINT_NOT_FOUND"
    zh = "自提点不存在"
    en = "There is no such pick-up point."


class PickUpPointInvalid(Refusal):
    """``field`` is empty, or longer than ``most`` characters."""

    code = "PICK_UP_POINT_INVALID"
    zh = "自提点信息无效：{field}须为 1 到 {most} 个字"
    en = "The point's {field} must have 1 to {most} characters."
    zh_words: ClassVar = {
        "name": "名称",
        "address": "地址",
        "opening hours": "营业时间",
        "phone": "电话",
    }


class PickUpCodeInvalid(Refusal):
    """No code that a till can read: unknown, used, or over. Which one is not told."""

    code = "PICK_UP_CODE_INVALID"
    zh = "提货码无效或已过期，请刷新后重试"
    en = "The pick-up code is not valid or has ended; please show a new one."


PICK_UP_CODE: Final = CodeKind(name="pick_up_code", prefix="85", ttl=timedelta(minutes=5), invalid=PickUpCodeInvalid)


class DeliveryUnclear(Refusal):
    """Both an address and a pick-up point were named."""

    code = "DELIVERY_UNCLEAR"
    zh = "收货地址与自提点只能选择一个"
    en = "Choose either an address or a pick-up point."


@dataclass(frozen=True, slots=True, kw_only=True)
class PickUpPlace:
    """What members read about a point. Opening hours and phone may be empty."""

    name: str
    address: str
    opening_hours: str = ""
    phone: str = ""


def fit_place(place: PickUpPlace) -> PickUpPlace:
    """The place without blanks around its texts, its phone in half width.

    Raises: PickUpPointInvalid, in the order of the fields.
    """
    return PickUpPlace(
        name=_fit("name", place.name, MAX_NAME, needed=True),
        address=_fit("address", place.address, MAX_ADDRESS, needed=True),
        opening_hours=_fit("opening hours", place.opening_hours, MAX_OPENING_HOURS, needed=False),
        phone=_fit("phone", half_width(place.phone), MAX_PHONE, needed=False),
    )


def _fit(field: str, written: str, most: int, *, needed: bool) -> str:
    text = written.strip()
    if len(text) > most or (needed and not text):
        raise PickUpPointInvalid(field=field, most=most)
    return text


def admit_delivery(*, to_address: bool, to_point: bool) -> None:
    """Whether it is clear how an order reaches the member. Raises: DeliveryUnclear."""
    if to_address and to_point:
        raise DeliveryUnclear()
