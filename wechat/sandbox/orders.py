"""Orders: prepay, query, close, and the payer's side of it.

Official sources: "JSAPI prepay", "Query an order", "Close an order" of API v3 and the rules on re-entry: the same
number always comes with the same parameters; an order lives 7 days or until its ``time_expire``; a ``prepay_id``
lives 2 hours.
"""

import ipaddress
import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from wechat.pay_types import OUT_TRADE_NO
from wechat.sandbox.answers import OperatorRefusal, PayRefusal
from wechat.sandbox.fields import Field, Free, Part, Text, Whole, read, refused
from wechat.sandbox.records import Order
from wechat.sandbox.text import china_time, digits

if TYPE_CHECKING:
    from wechat.sandbox.world import World

ORDER_LIFE_S: Final = 7 * 86400
PREPAY_LIFE_S: Final = 2 * 3600
EXPIRE_AHEAD_S: Final = 60
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
_CNY: Final = re.compile("CNY")

PREPAY: Final[dict[str, Field]] = {
    "appid": Text(most=32, required=True),
    "mchid": Text(most=32, required=True),
    "description": Text(most=127, required=True),
    "out_trade_no": Text(least=6, most=32, pattern=OUT_TRADE_NO, required=True),
    "time_expire": Text(most=64, pattern=_RFC3339),
    "attach": Text(most=128),
    "notify_url": Text(most=255, required=True),
    "goods_tag": Text(most=32),
    "support_fapiao": Free(kinds=(bool,)),
    "amount": Part(
        fields={"total": Whole(least=1, required=True), "currency": Text(most=16, pattern=_CNY)}, required=True
    ),
    "payer": Part(fields={"openid": Text(most=128, required=True)}, required=True),
    "detail": Free(kinds=(dict,)),
    "scene_info": Free(kinds=(dict,)),
    "settle_info": Free(kinds=(dict,)),
    "limit_pay": Free(kinds=(list,)),
}
CLOSE: Final[dict[str, Field]] = {"mchid": Text(most=32, required=True)}
STATES: Final = {"NOTPAY": "订单未支付", "SUCCESS": "支付成功", "CLOSED": "订单已关闭", "REFUND": "转入退款"}


def prepay(world: "World", raw: bytes) -> dict[str, Any]:
    """Open an order, or meet an open one again with the same parameters."""
    body = read(raw, PREPAY)
    _check_merchant(world, body["mchid"])
    if body["appid"] != world.credentials.appid:
        raise PayRefusal(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配，请检查后再试", 268445527)
    check_notify_url(body["notify_url"])
    now_s, number = world.now_s(), body["out_trade_no"]
    order = world.records.orders.get(number)
    if order is None:
        order = _open(world, body, now_s)
    else:
        refresh(world, order)
        if order.asked != body:
            raise PayRefusal(403, "OUT_TRADE_NO_USED", "商户订单号重复，且参数与首次请求不一致", 268498688)
        if order.state == "CLOSED":
            raise PayRefusal(400, "ORDER_CLOSED", "订单已关闭", 268447914)
        if order.state != "NOTPAY":
            raise PayRefusal(400, "ORDERPAID", "该订单已支付", 268498689)
        if order.prepay_ends_s <= now_s:
            order.prepay_id, order.prepay_ends_s = _prepay_id(), now_s + PREPAY_LIFE_S
    world.records.keep(order)
    return {"prepay_id": order.prepay_id}


def _open(world: "World", body: dict[str, Any], now_s: float) -> Order:
    ends_s = now_s + ORDER_LIFE_S
    if "time_expire" in body:
        try:
            wanted_s = datetime.fromisoformat(body["time_expire"]).timestamp()
        except ValueError:
            raise refused("time_expire", "格式不正确") from None
        # The promise is one minute from the merchant's request, which took a moment to arrive here.
        if wanted_s < now_s + EXPIRE_AHEAD_S - 5:
            raise refused("time_expire", "必须晚于当前时间至少1分钟")
        ends_s = min(ends_s, wanted_s)
    if body["payer"]["openid"] not in world.records.users:
        raise refused("payer/openid", "无效，或与appid不匹配")
    return Order(
        out_trade_no=body["out_trade_no"],
        asked=body,
        made_s=now_s,
        ends_s=ends_s,
        prepay_id=_prepay_id(),
        prepay_ends_s=now_s + PREPAY_LIFE_S,
        openid=body["payer"]["openid"],
        total_fen=body["amount"]["total"],
    )


def query(world: "World", out_trade_no: str | None, transaction_id: str | None, mchid: str) -> dict[str, Any]:
    """One order, by the merchant's number or by WeChat's."""
    _check_merchant(world, mchid)
    order = find(world, out_trade_no, transaction_id)
    if order is None:
        raise PayRefusal(404, "ORDER_NOT_EXIST", "订单不存在", 268512771)
    refresh(world, order)
    return transaction(world, order)


def find(world: "World", out_trade_no: str | None, transaction_id: str | None) -> Order | None:
    """The order of the merchant's number, else of WeChat's."""
    if out_trade_no is not None:
        return world.records.orders.get(out_trade_no)
    return next((each for each in world.records.orders.values() if each.transaction_id == transaction_id), None)


def close(world: "World", out_trade_no: str, raw: bytes) -> None:
    """Close an unpaid order; a closed one stays closed and that is a success too."""
    _check_merchant(world, read(raw, CLOSE)["mchid"])
    order = world.records.orders.get(out_trade_no)
    if order is None:
        raise PayRefusal(404, "ORDER_NOT_EXIST", "订单不存在", 268512771)
    refresh(world, order)
    if order.state not in ("NOTPAY", "CLOSED"):
        raise PayRefusal(400, "ORDER_PAID", "订单已支付", 268449538)
    order.state = "CLOSED"
    world.records.keep(order)


def pay(
    world: "World", order: Order, *, openid: str | None = None, total_fen: int | None = None, coupon_fen: int = 0
) -> None:
    """The user pays; the notice goes out. `total_fen` other than the order's makes a payment that cannot really happen.

    Raises `OperatorRefusal` when the order is not open or its ``prepay_id`` is over.
    """
    refresh(world, order)
    now_s = world.now_s()
    if order.state != "NOTPAY":
        raise OperatorRefusal(f"the order is {order.state}")
    if order.prepay_ends_s <= now_s:
        raise OperatorRefusal("the prepay_id is older than 2 hours")
    total_fen = order.total_fen if total_fen is None else total_fen
    if not 0 <= coupon_fen < total_fen:
        raise OperatorRefusal("coupon_fen is at least 0 and less than the total")
    order.state, order.paid_s = "SUCCESS", now_s
    order.transaction_id = f"42000{digits(23)}"
    order.openid = openid or order.openid
    order.total_fen, order.coupon_fen, order.payer_total_fen = total_fen, coupon_fen, total_fen - coupon_fen
    world.records.keep(order)
    world.courier.post(
        event_type="TRANSACTION.SUCCESS",
        out_trade_no=order.out_trade_no,
        notify_url=order.asked["notify_url"],
        resource=transaction(world, order),
    )


def transaction(world: "World", order: Order) -> dict[str, Any]:
    """The order as the query and the notice tell it."""
    told: dict[str, Any] = {
        "appid": world.credentials.appid,
        "mchid": world.credentials.mchid,
        "out_trade_no": order.out_trade_no,
        "trade_state": order.state,
        "trade_state_desc": STATES[order.state],
        "attach": order.asked.get("attach", ""),
        "payer": {},
        "amount": {"total": order.total_fen, "currency": "CNY"},
        "promotion_detail": [],
    }
    if order.paid_s is not None:
        told["transaction_id"] = order.transaction_id
        told["trade_type"] = "JSAPI"
        told["bank_type"] = "OTHERS"
        told["success_time"] = china_time(order.paid_s)
        told["payer"] = {"openid": order.openid}
        told["amount"] |= {"payer_total": order.payer_total_fen, "payer_currency": "CNY"}
        if order.coupon_fen:
            told["promotion_detail"] = [
                {
                    "coupon_id": "109519",
                    "name": "沙箱代金券",
                    "scope": "GLOBAL",
                    "type": "CASH",
                    "amount": order.coupon_fen,
                    "stock_id": "931386",
                    "wechatpay_contribute": order.coupon_fen,
                    "merchant_contribute": 0,
                    "other_contribute": 0,
                    "currency": "CNY",
                }
            ]
    return told


def refresh(world: "World", order: Order) -> None:
    """Close it if its time is over."""
    if order.state == "NOTPAY" and order.ends_s <= world.now_s():
        order.state = "CLOSED"
        world.records.keep(order)


def check_notify_url(url: str) -> None:
    """https without a query; plain http only to this very machine, where development has no certificate."""
    address = urlsplit(url)
    if address.query or address.fragment or not address.hostname or "?" in url:
        raise refused("notify_url", "必须为完整的URL，且不能携带参数")
    if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(address.hostname)):
        raise refused("notify_url", "必须为https地址")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_merchant(world: "World", mchid: str) -> None:
    if mchid != world.credentials.mchid:
        raise PayRefusal(400, "PARAM_ERROR", "mchid与签名的商户号不一致")


def _prepay_id() -> str:
    return "wx" + secrets.token_hex(17)
