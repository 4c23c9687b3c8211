"""Refunds: accepted first, done later, by the script or at once.

Official source: "Refund", "Query a refund", "Refund notification" of API v3: within a year of the payment, at most 50
per order, together no more than its total, and the same number is the same refund.
"""

import re
from typing import TYPE_CHECKING, Any, Final

from wechat.pay_types import OUT_REFUND_NO
from wechat.sandbox.answers import OperatorRefusal, PayRefusal
from wechat.sandbox.fields import Field, Free, Part, Text, Whole, read, refused
from wechat.sandbox.orders import check_notify_url, find
from wechat.sandbox.records import Order, Refund
from wechat.sandbox.text import china_time, digits

if TYPE_CHECKING:
    from wechat.sandbox.world import World

REFUND_WITHIN_S: Final = 365 * 86400
MOST_REFUNDS: Final = 50

REFUND: Final[dict[str, Field]] = {
    "transaction_id": Text(most=32),
    "out_trade_no": Text(least=6, most=32),
    "out_refund_no": Text(most=64, pattern=OUT_REFUND_NO, required=True),
    "reason": Text(most=80),
    "notify_url": Text(most=255),
    "funds_account": Text(most=32, pattern=re.compile("AVAILABLE|UNSETTLED")),
    "amount": Part(
        fields={
            "refund": Whole(least=1, required=True),
            "total": Whole(least=1, required=True),
            "currency": Text(most=16, pattern=re.compile("CNY"), required=True),
            "from": Free(kinds=(list,)),
        },
        required=True,
    ),
    "goods_detail": Free(kinds=(list,)),
}


def refund(world: "World", raw: bytes) -> dict[str, Any]:
    """Accept a refund, or meet the same one again."""
    body = read(raw, REFUND)
    if ("transaction_id" in body) is ("out_trade_no" in body):
        raise refused("transaction_id", "与out_trade_no必须且只能填写一个")
    if "notify_url" in body:
        check_notify_url(body["notify_url"])
    known = world.records.refunds.get(body["out_refund_no"])
    if known is not None:
        if known.asked != body:
            raise PayRefusal(400, "INVALID_REQUEST", "退款单号已存在，且参数与首次请求不一致", 268498688)
        finish_due(world)
        return told(world, known)
    order = _refundable(world, body)
    made = _accept(world, order, body)
    world.records.keep(made)
    if order.state == "SUCCESS" and made.state != "CLOSED":
        order.state = "REFUND"
        world.records.keep(order)
    if made.state != "PROCESSING":
        _notify(world, made)
    world.courier.wake()
    return told(world, made)


def query_refund(world: "World", out_refund_no: str) -> dict[str, Any]:
    """One refund, by the merchant's number."""
    finish_due(world)
    known = world.records.refunds.get(out_refund_no)
    if known is None:
        raise PayRefusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在", 268512771)
    return told(world, known)


def finish_due(world: "World") -> None:
    """Bring every refund whose time has come to its outcome, and tell the merchant."""
    now_s = world.now_s()
    for each in list(world.records.processing.values()):
        if each.outcome != "PROCESSING" and each.ends_s <= now_s:
            finish(world, each, each.outcome)


def finish(world: "World", each: Refund, status: str) -> None:
    """Bring one refund to `status` now. Raises `OperatorRefusal` when it is final already."""
    if each.state not in ("PROCESSING", "ABNORMAL"):
        raise OperatorRefusal(f"the refund is {each.state}")
    each.state = status
    each.done_s = world.now_s() if status == "SUCCESS" else None
    world.records.keep(each)
    _notify(world, each)


def told(world: "World", each: Refund) -> dict[str, Any]:
    """The refund as its request and its query answer."""
    order = world.records.orders[each.out_trade_no]
    answer: dict[str, Any] = {
        "refund_id": each.refund_id,
        "out_refund_no": each.out_refund_no,
        "transaction_id": each.transaction_id,
        "out_trade_no": each.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": china_time(each.made_s),
        "status": each.state,
        "funds_account": each.asked.get("funds_account", "AVAILABLE"),
        "amount": {
            "total": order.total_fen,
            "refund": each.refund_fen,
            "from": [],
            "payer_total": order.payer_total_fen,
            "payer_refund": each.payer_refund_fen,
            "settlement_refund": each.refund_fen,
            "settlement_total": order.total_fen,
            "discount_refund": each.refund_fen - each.payer_refund_fen,
            "currency": "CNY",
        },
        "promotion_detail": [],
    }
    if each.done_s is not None:
        answer["success_time"] = china_time(each.done_s)
    return answer


def _refundable(world: "World", body: dict[str, Any]) -> Order:
    order = find(world, body.get("out_trade_no"), body.get("transaction_id"))
    if order is None:
        raise PayRefusal(404, "RESOURCE_NOT_EXISTS", "订单不存在", 268512771)
    if order.paid_s is None:
        raise PayRefusal(403, "TRADE_ERROR", "订单未支付，不能退款")
    if body["amount"]["total"] != order.total_fen:
        raise PayRefusal(400, "INVALID_REQUEST", "订单金额与支付时不一致")
    if world.now_s() > order.paid_s + REFUND_WITHIN_S:
        raise PayRefusal(400, "INVALID_REQUEST", "订单已超过一年的退款期限")
    counted = [
        each
        for each in world.records.refunds.values()
        if each.out_trade_no == order.out_trade_no and each.state != "CLOSED"
    ]
    if len(counted) >= MOST_REFUNDS:
        raise PayRefusal(400, "INVALID_REQUEST", "同一订单最多部分退款50次")
    if sum(each.refund_fen for each in counted) + body["amount"]["refund"] > order.total_fen:
        raise PayRefusal(400, "INVALID_REQUEST", "退款总金额超过订单金额")
    return order


def _accept(world: "World", order: Order, body: dict[str, Any]) -> Refund:
    now_s = world.now_s()
    script = world.scripts.for_refund(order.out_trade_no, body["out_refund_no"])
    outcome = "SUCCESS" if script is None else script.status
    at_once = script is not None and script.at_once
    refund_fen = body["amount"]["refund"]
    assert order.transaction_id is not None
    return Refund(
        out_refund_no=body["out_refund_no"],
        refund_id=f"50300{digits(23)}",
        out_trade_no=order.out_trade_no,
        transaction_id=order.transaction_id,
        asked=body,
        refund_fen=refund_fen,
        # The payer gets back the share that was not paid by coupons, rounded down.
        payer_refund_fen=refund_fen * order.payer_total_fen // order.total_fen,
        made_s=now_s,
        state=outcome if at_once else "PROCESSING",
        outcome=outcome,
        ends_s=now_s + (0.0 if script is None else script.after_s),
        done_s=now_s if at_once and outcome == "SUCCESS" else None,
    )


def _notify(world: "World", each: Refund) -> None:
    if "notify_url" not in each.asked:
        return
    order = world.records.orders[each.out_trade_no]
    resource: dict[str, Any] = {
        "mchid": world.credentials.mchid,
        "transaction_id": each.transaction_id,
        "out_trade_no": each.out_trade_no,
        "refund_id": each.refund_id,
        "out_refund_no": each.out_refund_no,
        "refund_status": each.state,
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": order.total_fen,
            "refund": each.refund_fen,
            "payer_total": order.payer_total_fen,
            "payer_refund": each.payer_refund_fen,
        },
    }
    if each.done_s is not None:
        resource["success_time"] = china_time(each.done_s)
    world.courier.post(
        event_type=f"REFUND.{each.state}",
        out_trade_no=each.out_trade_no,
        notify_url=each.asked["notify_url"],
        resource=resource,
    )
