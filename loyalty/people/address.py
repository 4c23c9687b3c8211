"""Addresses: what a member may keep in the address book, and what of it others see.

Source: docs/rules/address.md
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from loyalty.refusal import Refusal
from loyalty.typed import half_width

MAX_ADDRESSES = 20
MAX_RECIPIENT = 25
MAX_REGION_NAME = 32
MAX_STREET = 120
MAX_LABEL = 16

PROVINCES: Mapping[str, str] = {
    "11": "北京",
    "12": "天津",
    "13": "河北",
    "14": "山西",
    "15": "内蒙古",
    "21": "辽宁",
    "22": "吉林",
    "23": "黑龙江",
    "31": "上海",
    "32": "江苏",
    "33": "浙江",
    "34": "安徽",
    "35": "福建",
    "36": "江西",
    "37": "山东",
    "41": "河南",
    "42": "湖北",
    "43": "湖南",
    "44": "广东",
    "45": "广西",
    "46": "海南",
    "50": "重庆",
    "51": "四川",
    "52": "贵州",
    "53": "云南",
    "54": "西藏",
    "61": "陕西",
    "62": "甘肃",
    "63": "青海",
    "64": "宁夏",
    "65": "新疆",
    "71": "台湾",
    "81": "香港",
    "82": "澳门",
}
"""The first two digits of a GB/T 2260 code, and how the name of that province begins."""

_WHOLE_PROVINCES = frozenset({"71", "81", "82"})
"""Provinces whose code WeChat gives without a city."""

_PHONE = re.compile(r"1[3-9]\d{9}|0\d{2,3}\d{7,8}|\+85[23]\d{8}|\+886\d{8,9}", re.ASCII)


class AddressNotFound(Refusal):
    """No such address, or not this member's: the two are not told apart."""

    code = "ADDRESS_NOT_FOUND"
    zh = "收货地址不存在"
    en = "There is no such address."


class AddressInvalid(Refusal):
    """A field that cannot be kept; ``field`` is its name in the API."""

    code = "ADDRESS_INVALID"
    zh = "收货地址有误，请检查 {field}"
    en = "The address cannot be used: please check {field}."
    zh_words: ClassVar = {
        "recipient": "收货人",
        "phone": "电话",
        "street": "详细地址",
        "regionCode": "地区编码",
        "province": "省份",
        "city": "城市",
        "district": "区县",
        "label": "标签",
    }


class AddressLimitReached(Refusal):
    """A member keeps ``most`` addresses at most."""

    code = "ADDRESS_LIMIT_REACHED"
    zh = "最多保存 {most} 个收货地址"
    en = "You can keep {most} addresses at most."


class OrderAddressKept(Refusal):
    """The order goes somewhere already, and that stays."""

    code = "ORDER_ADDRESS_KEPT"
    zh = "该订单已有收货地址，不能再次填写"
    en = "This order has an address already."


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A district, or a city without districts: its six-digit code and its names. ``district`` may be empty."""

    code: str
    province: str
    city: str
    district: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Whom a parcel is for, and the door: what is never kept or shown in the open."""

    recipient: str
    phone: str
    street: str


def admit_contact(contact: Contact) -> Contact:
    """The contact as it is kept: without blanks around it, the phone in one spelling.

    Raises, in this order: AddressInvalid for ``recipient``, ``phone``, ``street``.
    """
    recipient = _admit_text("recipient", contact.recipient, 1, MAX_RECIPIENT)
    return Contact(
        recipient=recipient,
        phone=admit_phone(contact.phone),
        street=_admit_text("street", contact.street, 1, MAX_STREET),
    )


def admit_phone(given: str) -> str:
    """A phone number as it is kept: digits, with a plus before the code of Hong Kong, Macao or Taiwan.

    Raises: AddressInvalid.
    """
    phone = half_width(given).replace(" ", "").replace("-", "")
    for country in ("+86", "86"):
        if phone.startswith(country) and len(phone) - len(country) >= 10:
            phone = phone.removeprefix(country)
            break
    if not _PHONE.fullmatch(phone):
        raise AddressInvalid(field="phone")
    return phone


def admit_region(region: Region) -> Region:
    """The region as it is kept. Its code and the name of its province must agree.

    Raises, in this order: AddressInvalid for ``regionCode``, ``province``, ``city``, ``district``.
    """
    code = half_width(region.code)
    head = code[:2]
    is_code = len(code) == 6 and code.isascii() and code.isdigit()
    if not is_code or head not in PROVINCES or (code[2:] == "0000" and head not in _WHOLE_PROVINCES):
        raise AddressInvalid(field="regionCode")
    province = _admit_text("province", region.province, 1, MAX_REGION_NAME)
    if not province.startswith(PROVINCES[head]):
        raise AddressInvalid(field="province")
    return Region(
        code=code,
        province=province,
        city=_admit_text("city", region.city, 1, MAX_REGION_NAME),
        district=_admit_text("district", region.district, 0, MAX_REGION_NAME),
    )


def admit_label(label: str) -> str:
    """A label as it is kept, 0..16 characters. Raises: AddressInvalid."""
    return _admit_text("label", label, 0, MAX_LABEL)


def admit_another(count: int) -> None:
    """Whether a member who has ``count`` addresses may keep one more. Raises: AddressLimitReached."""
    if count >= MAX_ADDRESSES:
        raise AddressLimitReached(most=MAX_ADDRESSES)


def masked_recipient(recipient: str) -> str:
    """The first character, and a star for each other one; a single character is a star."""
    return "*" if len(recipient) == 1 else recipient[:1] + "*" * (len(recipient) - 1)


def phone_ending(phone: str) -> str:
    """The last four digits."""
    return phone[-4:]


def _admit_text(field: str, given: str, least: int, most: int) -> str:
    text = given.strip()
    if not least <= len(text) <= most or not text.isprintable():
        raise AddressInvalid(field=field)
    return text
