"""The operator's side, ``/_sandbox/*``: everything that in the world outside a person, a phone or bad luck does.

JSON in, JSON out; what cannot be is answered with 400 and ``{"error": "a sentence"}``. There is no password: the
sandbox belongs on a loopback address.
"""

import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wechat.errors import SignatureInvalid
from wechat.pay_crypto import Keyring, payment_message
from wechat.sandbox import mini, orders, refunds, shipping
from wechat.sandbox.answers import OperatorRefusal
from wechat.sandbox.credentials import merchant_public_pem, new_certificate, new_public_key
from wechat.sandbox.records import Order
from wechat.sandbox.scripts import made_notice_script
from wechat.sandbox.text import china_time

if TYPE_CHECKING:
    from wechat.sandbox.world import World

Wanted = dict[str, Any]
Call = Callable[["World", Wanted], Coroutine[Any, Any, Any]]
T = TypeVar("T")

SETTLE_S = 30.0
"""Real seconds that `settle` waits at most by default."""


async def config(world: "World", wanted: Wanted) -> Any:
    """The developer's credentials, as the consoles of the mini-program and of WeChat Pay would show them."""
    known = world.credentials
    return {
        "appid": known.appid,
        "secret": known.secret,
        "mchid": known.mchid,
        "merchant_private_key": known.merchant_private_pem,
        "merchant_serial": known.merchant_serial,
        "apiv3_key": known.apiv3_key,
        "verifying_keys": {key.serial: key.verifying_pem for key in known.platform_keys},
        "preferred_serial": known.platform_keys[0].serial,
    }


async def clock(world: "World", wanted: Wanted) -> Any:
    """The sandbox's time."""
    return {"now": world.clock.now().isoformat(), "offset_s": world.clock.offset.total_seconds()}


async def clock_advance(world: "World", wanted: Wanted) -> Any:
    """Move the clock by ``seconds``; with ``settle`` wait before and after until what is due has been delivered."""
    if wanted.get("settle"):
        await world.courier.settle(SETTLE_S)
    world.clock.advance(timedelta(seconds=_of(wanted, "seconds", float)))
    world.move_clock()
    if wanted.get("settle"):
        await world.courier.settle(SETTLE_S)
    return await clock(world, wanted)


async def clock_set(world: "World", wanted: Wanted) -> Any:
    """Set the clock to ``at`` (RFC 3339 with an offset); it runs on from there, or with ``stands`` stands still."""
    at = datetime.fromisoformat(_of(wanted, "at", str))
    if at.tzinfo is None:
        raise OperatorRefusal("at needs an offset")
    world.clock.set(at, stands="stands" in wanted and _of(wanted, "stands", bool))
    world.move_clock()
    return await clock(world, wanted)


async def users(world: "World", wanted: Wanted) -> Any:
    """All users."""
    return [asdict(user) for user in world.records.users.values()]


async def user_create(world: "World", wanted: Wanted) -> Any:
    """A user, or new properties of one: ``openid``, ``unionid``, ``phone``, ``blocked``, all of them optional."""
    if set(wanted) - {"openid", "unionid", "phone", "blocked"}:
        raise OperatorRefusal("a user has openid, unionid, phone and blocked")
    return asdict(mini.make_user(world, **wanted))


async def login_code(world: "World", wanted: Wanted) -> Any:
    """What ``wx.login`` gives to the user ``openid``, who is made if need be."""
    openid = wanted.get("openid")
    if openid is None or openid not in world.records.users:
        openid = mini.make_user(world, **({} if openid is None else {"openid": openid})).openid
    return {"code": mini.make_code(world, openid, "login").code, "openid": openid}


async def any_code(world: "World", wanted: Wanted) -> Any:
    """From now on every unknown login code is the user ``openid``'s; null ends that. For the real developer tools."""
    openid = wanted.get("openid")
    if openid is not None and openid not in world.records.users:
        raise OperatorRefusal("no such user")
    world.any_code_openid = openid
    return {"openid": openid}


async def phone_code(world: "World", wanted: Wanted) -> Any:
    """What the phone button gives to the user ``openid``."""
    openid = _of(wanted, "openid", str)
    if openid not in world.records.users:
        raise OperatorRefusal("no such user")
    return {"code": mini.make_code(world, openid, "phone").code, "openid": openid}


async def request_payment(world: "World", wanted: Wanted) -> Any:
    """``wx.requestPayment`` with a user who pays: the five fields as the mini-program hands them over, checked as
    there."""
    package = _of(wanted, "package", str)
    message = payment_message(
        world.credentials.appid, _of(wanted, "timeStamp", str), _of(wanted, "nonceStr", str), package
    )
    if wanted.get("signType") != "RSA":
        raise OperatorRefusal("signType is RSA")
    try:
        merchant = Keyring({"merchant": merchant_public_pem(world.credentials)})
        merchant.verify("merchant", message, _of(wanted, "paySign", str), world.clock.now())
    except SignatureInvalid:
        raise OperatorRefusal("支付验证签名失败") from None
    order = _order(world, {"prepay_id": package.removeprefix("prepay_id=")})
    orders.pay(world, order)
    return _order_told(world, order)


async def pay(world: "World", wanted: Wanted) -> Any:
    """Pay the order ``prepay_id`` or ``out_trade_no``.

    ``coupon_fen`` is borne by WeChat's coupons; ``total_fen`` and ``openid`` other than the order's are impossible in
    the world outside and serve to see that the store compares them.
    """
    order = _order(world, wanted)
    orders.pay(
        world,
        order,
        openid=wanted.get("openid"),
        total_fen=wanted.get("total_fen"),
        coupon_fen=wanted.get("coupon_fen", 0),
    )
    return _order_told(world, order)


async def refuse(world: "World", wanted: Wanted) -> Any:
    """The user closes the payment sheet, or the bank says no: WeChat keeps the order unpaid and sends nothing."""
    order = _order(world, wanted)
    orders.refresh(world, order)
    return _order_told(world, order)


async def refund_finish(world: "World", wanted: Wanted) -> Any:
    """Bring the refund ``out_refund_no`` to ``status`` now."""
    each = world.records.refunds.get(_of(wanted, "out_refund_no", str))
    if each is None:
        raise OperatorRefusal("no such refund")
    refunds.finish(world, each, wanted.get("status", "SUCCESS"))
    return refunds.told(world, each)


async def notice_script(world: "World", wanted: Wanted) -> Any:
    """How coming notices are sent; see the guide for the fields."""
    return asdict(world.scripts.add_notice(**wanted))


async def refund_script(world: "World", wanted: Wanted) -> Any:
    """What becomes of coming refunds; see the guide for the fields."""
    return asdict(world.scripts.add_refund(**wanted))


async def scripts(world: "World", wanted: Wanted) -> Any:
    """The scripts in force."""
    return {
        "notices": [asdict(each) for each in world.scripts.notices],
        "refunds": [asdict(each) for each in world.scripts.refunds],
    }


async def scripts_clear(world: "World", wanted: Wanted) -> Any:
    """Forget all scripts; notices under way keep what they were given."""
    world.scripts.clear()
    return {}


async def notices(world: "World", wanted: Wanted) -> Any:
    """All notices with their attempts, oldest first; ``out_trade_no`` selects."""
    return [
        asdict(each)
        for each in sorted(world.records.deliveries.values(), key=lambda each: each.number)
        if wanted.get("out_trade_no") in (None, each.out_trade_no)
    ]


async def notice_send(world: "World", wanted: Wanted) -> Any:
    """Deliver the notice ``number`` once more, now; with ``honest`` as it should be, whatever its script said."""
    delivery = world.records.deliveries.get(str(_of(wanted, "number", int)))
    if delivery is None:
        raise OperatorRefusal("no such notice")
    if wanted.get("honest"):
        delivery.spoil = {}
    return asdict(await world.courier.send_now(delivery))


async def notice_forge(world: "World", wanted: Wanted) -> Any:
    """Deliver a success notice for an order that may well be unpaid, with the fields of a notice script; once, now."""
    order = _order(world, {"out_trade_no": _of(wanted, "out_trade_no", str)})
    script = made_notice_script(**wanted)
    resource = orders.transaction(world, order)
    resource |= {
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "transaction_id": order.transaction_id or "4200000000000000000000000000",
        "trade_type": "JSAPI",
        "success_time": china_time(world.now_s()),
        "payer": {"openid": order.openid},
    }
    delivery = world.courier.new("TRANSACTION.SUCCESS", order.out_trade_no, order.asked["notify_url"], resource)
    delivery.spoil, delivery.state = script.spoil(), "forged"
    return asdict(await world.courier.send_now(delivery))


async def notice_probe(world: "World", wanted: Wanted) -> Any:
    """A signature probe for the order ``out_trade_no``, which a merchant must not accept."""
    return await notice_forge(world, {**wanted, "signature": "signtest"})


async def notices_settle(world: "World", wanted: Wanted) -> Any:
    """Wait until nothing that is due is left to deliver, ``timeout_s`` real seconds at most."""
    return {"settled": await world.courier.settle(float(wanted.get("timeout_s", SETTLE_S)))}


async def notices_courier(world: "World", wanted: Wanted) -> Any:
    """Whether refunds end and notices leave only while somebody waits in ``settle``: ``on_call``; at once otherwise."""
    world.courier.on_call = _of(wanted, "on_call", bool)
    world.courier.wake()
    return {"on_call": world.courier.on_call}


async def fault(world: "World", wanted: Wanted) -> Any:
    """What an endpoint does wrong next; see the guide for the fields."""
    return asdict(world.faults.add(**wanted))


async def faults(world: "World", wanted: Wanted) -> Any:
    """The faults that have not struck out."""
    return world.faults.waiting()


async def faults_clear(world: "World", wanted: Wanted) -> Any:
    """Take all faults back."""
    world.faults.clear()
    return {}


async def signing(world: "World", wanted: Wanted) -> Any:
    """Which key signs notices: ``notices`` is a serial; ``add`` is public_key or certificate and makes a new key."""
    if wanted.get("add") == "public_key":
        world.add_key(new_public_key(world.credentials.mchid))
    elif wanted.get("add") == "certificate":
        world.add_key(new_certificate())
    serial = wanted.get("notices")
    if serial is not None:
        if not world.gate.knows(serial):
            raise OperatorRefusal("no key of this serial")
        world.gate.notice_serial = serial
    return {"notices": world.gate.notice_serial, "serials": [key.serial for key in world.credentials.platform_keys]}


async def ledger(world: "World", wanted: Wanted) -> Any:
    """All orders and refunds with their totals: what WeChat believes."""
    refunds.finish_due(world)
    for order in world.records.orders.values():
        orders.refresh(world, order)
    paid = [each for each in world.records.orders.values() if each.paid_s is not None]
    back = [each for each in world.records.refunds.values() if each.state == "SUCCESS"]
    return {
        "orders": [_order_told(world, each) for each in world.records.orders.values()],
        "refunds": [refunds.told(world, each) for each in world.records.refunds.values()],
        "totals": {
            "paid_count": len(paid),
            "paid_fen": sum(each.total_fen for each in paid),
            "refunded_count": len(back),
            "refunded_fen": sum(each.refund_fen for each in back),
        },
    }


async def shipments(world: "World", wanted: Wanted) -> Any:
    """What the merchant has told of each paid order's goods, as ``get_order`` would tell it."""
    return [shipping.told(world, each) for each in world.records.orders.values() if each.paid_s is not None]


async def shipment_confirm(world: "World", wanted: Wanted) -> Any:
    """The buyer confirms receipt of the order ``out_trade_no`` in WeChat."""
    order = _order(world, wanted)
    shipping.confirm(world, order)
    return shipping.told(world, order)


async def shipment_refuse(world: "World", wanted: Wanted) -> Any:
    """From now on the order ``out_trade_no`` takes no shipping (10060004), as one that WeChat holds back."""
    world.unshippable.add(_order(world, wanted).key)
    return {}


async def trade_managed(world: "World", wanted: Wanted) -> Any:
    """Whether the mini-program is under trade management: ``managed``; it is until told otherwise."""
    world.trade_managed = _of(wanted, "managed", bool)
    return {"managed": world.trade_managed}


async def reset(world: "World", wanted: Wanted) -> Any:
    """Forget everything but the credentials; the clock is real time again."""
    world.reset()
    return {}


def operator_routes(world: "World") -> list[Route]:
    """All of them."""
    calls: list[tuple[str, str, Call]] = [
        ("GET", "config", config),
        ("GET", "clock", clock),
        ("POST", "clock/advance", clock_advance),
        ("POST", "clock/set", clock_set),
        ("GET", "users", users),
        ("POST", "users", user_create),
        ("POST", "login_codes", login_code),
        ("POST", "login_codes/any", any_code),
        ("POST", "phone_codes", phone_code),
        ("POST", "request_payment", request_payment),
        ("POST", "pay", pay),
        ("POST", "refuse", refuse),
        ("POST", "refunds/finish", refund_finish),
        ("GET", "scripts", scripts),
        ("DELETE", "scripts", scripts_clear),
        ("POST", "scripts/notices", notice_script),
        ("POST", "scripts/refunds", refund_script),
        ("GET", "notices", notices),
        ("POST", "notices/send", notice_send),
        ("POST", "notices/forge", notice_forge),
        ("POST", "notices/probe", notice_probe),
        ("POST", "notices/settle", notices_settle),
        ("POST", "notices/courier", notices_courier),
        ("GET", "faults", faults),
        ("POST", "faults", fault),
        ("DELETE", "faults", faults_clear),
        ("POST", "signing", signing),
        ("GET", "ledger", ledger),
        ("GET", "shipments", shipments),
        ("POST", "shipments/confirm", shipment_confirm),
        ("POST", "shipments/refuse", shipment_refuse),
        ("POST", "trade_managed", trade_managed),
        ("POST", "reset", reset),
    ]
    return [Route(f"/_sandbox/{path}", _endpoint(world, call), methods=[method]) for method, path, call in calls]


def _endpoint(world: "World", call: Call) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        try:
            wanted = dict(request.query_params) if not raw else json.loads(raw)
            if not isinstance(wanted, dict):
                raise OperatorRefusal("the body is a JSON object")
            return JSONResponse(await call(world, wanted))
        except (OperatorRefusal, ValueError) as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=400)

    return endpoint


def _order(world: "World", wanted: Wanted) -> Order:
    number, prepay_id = wanted.get("out_trade_no"), wanted.get("prepay_id")
    if isinstance(number, str) and number in world.records.orders:
        return world.records.orders[number]
    for order in world.records.orders.values():
        if prepay_id == order.prepay_id:
            return order
    raise OperatorRefusal("no such order: name its out_trade_no or its prepay_id")


def _order_told(world: "World", order: Order) -> dict[str, Any]:
    return {**orders.transaction(world, order), "prepay_id": order.prepay_id}


def _of(wanted: Wanted, name: str, kind: type[T]) -> T:
    value = wanted.get(name)
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind):
        raise OperatorRefusal(f"{name} is required and is a {kind.__name__}")
    return value
