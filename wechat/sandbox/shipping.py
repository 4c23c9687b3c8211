"""Order shipping management: what the merchant tells of an order's goods, checked as strictly as WeChat does.

Official sources: "发货信息录入", "查询订单发货状态" and the rules of the service. Error numbers are those that the
community's threads quote; docs/wechat_sandbox.md lists what is assumed.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from wechat.sandbox.answers import MiniRefusal, OperatorRefusal, json_body
from wechat.sandbox.mini import check_token
from wechat.sandbox.records import Order, Shipment

if TYPE_CHECKING:
    from wechat.sandbox.world import World

EXPRESS, SAME_CITY, VIRTUAL, PICK_UP = 1, 2, 3, 4
UNIFIED, SPLIT = 1, 2
MAX_PARCELS: Final = 15
MAX_PAGE: Final = 100
TO_SHIP, SHIPPED, RECEIVED, DONE, REFUNDED, TO_SETTLE = 1, 2, 3, 4, 5, 6
RECEIVED_AFTER_S: Final = {EXPRESS: 10 * 86400, SAME_CITY: 2 * 86400, VIRTUAL: 2 * 86400, PICK_UP: 2 * 86400}
"""Seconds from the shipping until WeChat counts an order as received by itself."""

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)")
_MASKED: Final = re.compile(r"[+\d*-]*\*[+\d*-]*\d{4}")
_NEEDED: Final = {"order_key", "logistics_type", "delivery_mode", "shipping_list", "upload_time", "payer"}


def upload(world: "World", access_token: str | None, raw: bytes) -> dict[str, Any]:
    """Take what the merchant tells, or refuse it."""
    check_token(world, access_token)
    body = json_body(raw)
    if _NEEDED - set(body):
        raise MiniRefusal(47001, "data format error")
    order = _order(world, _part(body, "order_key"))
    if _text(_part(body, "payer"), "openid") != order.openid:
        raise MiniRefusal(10060031, "该笔支付单不属于 openid 所指定的用户")
    if order.key in world.unshippable or _refunded(world, order):
        raise MiniRefusal(10060004, "支付单处于不可发货的状态")
    logistics_type, mode = body["logistics_type"], body["delivery_mode"]
    if logistics_type not in RECEIVED_AFTER_S or mode not in (UNIFIED, SPLIT):
        raise MiniRefusal(47001, "data format error")
    parcels = _parcels(body, logistics_type, mode)
    told_s = _upload_time(body["upload_time"])
    finished = mode == UNIFIED or body["is_all_delivered"]
    _keep(world, order, logistics_type=logistics_type, mode=mode, parcels=parcels, told_s=told_s, finished=finished)
    return {"errcode": 0, "errmsg": "ok"}


def _keep(
    world: "World",
    order: Order,
    *,
    logistics_type: int,
    mode: int,
    parcels: list[dict[str, Any]],
    told_s: float,
    finished: bool,
) -> None:
    known = world.records.shipments.get(order.out_trade_no)
    if known is None:
        known = Shipment(out_trade_no=order.out_trade_no)
    elif told_s <= known.told_s:
        raise MiniRefusal(268485216, "上传时间非法，请按照 RFC 3339 格式填写，且须晚于上次")
    elif (known.logistics_type, known.delivery_mode, known.finished, known.parcels) == (
        logistics_type,
        mode,
        finished,
        parcels,
    ):
        raise MiniRefusal(10060023, "发货信息未更新")
    elif known.received_s is not None:
        raise MiniRefusal(10060004, "支付单处于不可发货的状态")
    elif known.finished or (known.logistics_type, known.delivery_mode) != (logistics_type, mode):
        if known.reshipped:
            raise MiniRefusal(10060003, "支付单已使用重新发货机会")
        known.reshipped = True
    known.logistics_type, known.delivery_mode, known.parcels, known.told_s = logistics_type, mode, parcels, told_s
    if finished:
        known.finished_count += 1
        known.shipped_s = world.now_s()
    known.finished = finished
    world.records.keep(known)


def _parcels(body: dict[str, Any], logistics_type: int, mode: int) -> list[dict[str, Any]]:
    listed = body["shipping_list"]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise MiniRefusal(47001, "data format error")
    if mode == SPLIT and logistics_type != EXPRESS:
        raise MiniRefusal(10060006, "非快递发货时不允许分拆发货")
    if mode == SPLIT and not isinstance(body.get("is_all_delivered"), bool):
        raise MiniRefusal(47001, "data format error")
    if mode == UNIFIED and len(listed) != 1:
        raise MiniRefusal(268485228, "统一发货模式下，物流信息列表长度必须为1")
    if not 1 <= len(listed) <= MAX_PARCELS:
        raise MiniRefusal(268485194, "物流信息列表长度非法")
    return [_checked(one, logistics_type) for one in listed]


def _checked(one: Mapping[str, Any], logistics_type: int) -> dict[str, Any]:
    description = one.get("item_desc")
    if not isinstance(description, str) or not 1 <= len(description) <= 120:
        raise MiniRefusal(268485195, "商品描述长度非法")
    if logistics_type != EXPRESS:
        if one.get("tracking_no") or one.get("express_company"):
            raise MiniRefusal(47001, "data format error")
        return {"item_desc": description}
    number, company = one.get("tracking_no"), one.get("express_company")
    if not isinstance(number, str) or not 1 <= len(number) <= 128:
        raise MiniRefusal(268485196, "物流单号非法")
    if not isinstance(company, str) or not 1 <= len(company) <= 128:
        raise MiniRefusal(268485197, "物流公司编码非法")
    contact = one.get("contact") or {}
    phones = [contact.get(key) for key in ("consignor_contact", "receiver_contact") if contact.get(key)]
    if company == "SF" and not phones:
        raise MiniRefusal(268485224, "使用顺丰快递时，联系方式必填")
    if any(not isinstance(phone, str) or not _MASKED.fullmatch(phone) for phone in phones):
        raise MiniRefusal(268485225, "联系方式非法，须为掩码，且最后4位数字不能打掩码")
    return {"item_desc": description, "tracking_no": number, "express_company": company}


def _upload_time(written: object) -> float:
    if not isinstance(written, str) or not _RFC3339.fullmatch(written):
        raise MiniRefusal(268485216, "上传时间非法，请按照 RFC 3339 格式填写")
    try:
        return datetime.fromisoformat(written).timestamp()
    except ValueError:
        raise MiniRefusal(268485216, "上传时间非法，请按照 RFC 3339 格式填写") from None


def status(world: "World", access_token: str | None, raw: bytes) -> dict[str, Any]:
    """One order and what was told of it."""
    check_token(world, access_token)
    body = json_body(raw)
    key = {"order_number_type": 2 if body.get("transaction_id") else 1, "mchid": body.get("merchant_id")}
    number = body.get("merchant_trade_no")
    order = _order(world, {**key, "transaction_id": body.get("transaction_id"), "out_trade_no": number})
    return {"errcode": 0, "errmsg": "ok", "order": told(world, order)}


def listed(world: "World", access_token: str | None, raw: bytes) -> dict[str, Any]:
    """Paid orders, oldest first, a page at a time."""
    check_token(world, access_token)
    body = json_body(raw)
    size = body.get("page_size", 100)
    if not isinstance(size, int) or not 1 <= size <= MAX_PAGE:
        raise MiniRefusal(47001, "data format error")
    span = body.get("pay_time_range") or {}
    begin, end = span.get("begin_time", 0), span.get("end_time", world.now_s() + 1)
    found = sorted(
        (one for one in world.records.orders.values() if one.paid_s is not None and begin <= int(one.paid_s) <= end),
        key=lambda one: (one.paid_s, one.out_trade_no),
    )
    rows = [told(world, one) for one in found if body.get("openid") in (None, one.openid)]
    rows = [one for one in rows if body.get("order_state") in (None, one["order_state"])]
    start = int(body.get("last_index") or 0)
    page = rows[start : start + size]
    more = start + size < len(rows)
    return {
        "errcode": 0,
        "errmsg": "ok",
        "order_list": page,
        "has_more": more,
        "last_index": str(start + len(page)) if more else "",
    }


def managed(world: "World", access_token: str | None, raw: bytes) -> dict[str, Any]:
    """Whether the mini-program is under trade management; the operator says so."""
    check_token(world, access_token)
    if json_body(raw).get("appid") != world.credentials.appid:
        raise MiniRefusal(40013, "invalid appid")
    return {"errcode": 0, "errmsg": "ok", "is_trade_managed": world.trade_managed}


def told(world: "World", order: Order) -> dict[str, Any]:
    """An order as ``get_order`` tells it."""
    known = world.records.shipments.get(order.out_trade_no)
    answer: dict[str, Any] = {
        "transaction_id": order.transaction_id,
        "merchant_id": world.credentials.mchid,
        "merchant_trade_no": order.out_trade_no,
        "description": order.asked.get("description", ""),
        "paid_amount": order.payer_total_fen,
        "openid": order.openid,
        "pay_time": int(order.paid_s or 0),
        "order_state": _state(world, order, known),
        "in_complaint": False,
    }
    if known is not None:
        answer["shipping"] = {
            "delivery_mode": known.delivery_mode,
            "logistics_type": known.logistics_type,
            "finish_shipping": known.finished,
            "finish_shipping_count": known.finished_count,
            "goods_desc": known.parcels[0]["item_desc"],
            "shipping_list": [
                {
                    "goods_desc": one["item_desc"],
                    "tracking_no": one.get("tracking_no", ""),
                    "express_company": one.get("express_company", ""),
                    "upload_time": int(known.told_s),
                }
                for one in known.parcels
            ],
        }
    return answer


def confirm(world: "World", order: Order) -> None:
    """The buyer confirms receipt in WeChat. Raises `OperatorRefusal` while it is not shipped."""
    known = world.records.shipments.get(order.out_trade_no)
    if known is None or not known.finished:
        raise OperatorRefusal("the order is not shipped")
    known.received_s = known.received_s or world.now_s()
    world.records.keep(known)


def _state(world: "World", order: Order, known: Shipment | None) -> int:
    if _refunded(world, order):
        return REFUNDED
    if known is None or not known.finished or known.shipped_s is None:
        return TO_SHIP
    if known.received_s is None and world.now_s() >= known.shipped_s + RECEIVED_AFTER_S[known.logistics_type]:
        known.received_s = known.shipped_s + RECEIVED_AFTER_S[known.logistics_type]
        world.records.keep(known)
    return SHIPPED if known.received_s is None else RECEIVED


def _refunded(world: "World", order: Order) -> bool:
    back = sum(
        one.refund_fen
        for one in world.records.refunds.values()
        if one.out_trade_no == order.out_trade_no and one.state in ("SUCCESS", "PROCESSING")
    )
    return back >= order.total_fen


def _order(world: "World", key: Mapping[str, Any]) -> Order:
    order = None
    if key.get("order_number_type") == 2:
        number = key.get("transaction_id")
        order = next((one for one in world.records.orders.values() if number and one.transaction_id == number), None)
    elif key.get("order_number_type") == 1 and key.get("mchid") == world.credentials.mchid:
        order = world.records.orders.get(str(key.get("out_trade_no")))
    if order is None or order.paid_s is None:
        raise MiniRefusal(10060001, "支付单不存在")
    return order


def _part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    if not isinstance(value, dict):
        raise MiniRefusal(47001, "data format error")
    return value


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise MiniRefusal(47001, "data format error")
    return value
