"""The addresses of the three hosts, each behind the manners of its host: faults, refusals, signatures."""

import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wechat.pay_crypto import seal
from wechat.sandbox import bills, mini, orders, refunds, shipping
from wechat.sandbox.answers import CutOff, MiniRefusal, PayRefusal, wire
from wechat.sandbox.text import china_time

if TYPE_CHECKING:
    from wechat.sandbox.world import World

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
PayCall = Callable[[Request, bytes], dict[str, Any] | bytes | None]
MiniCall = Callable[[Request, bytes], dict[str, Any]]
OrderCall = Callable[["World", str | None, bytes], dict[str, Any]]


def pay_routes(world: "World") -> list[Route]:
    """``api.mch.weixin.qq.com``."""

    def query(request: Request, raw: bytes) -> dict[str, Any]:
        path = request.path_params
        return orders.query(
            world, path.get("out_trade_no"), path.get("transaction_id"), request.query_params.get("mchid", "")
        )

    def certificates(request: Request, raw: bytes) -> dict[str, Any]:
        return _certificates(world)

    def bill(request: Request, raw: bytes) -> dict[str, Any]:
        return bills.apply(world, dict(request.query_params), f"{request.url.scheme}://{request.url.netloc}")

    def route(path: str, method: str, name: str, call: PayCall) -> Route:
        return Route(path, _pay(world, name, call), methods=[method])

    by_number = "/v3/pay/transactions/out-trade-no/{out_trade_no}"
    return [
        route("/v3/pay/transactions/jsapi", "POST", "prepay", lambda _, raw: orders.prepay(world, raw)),
        route(by_number, "GET", "query", query),
        route("/v3/pay/transactions/id/{transaction_id}", "GET", "query", query),
        route(
            by_number + "/close",
            "POST",
            "close",
            lambda request, raw: orders.close(world, request.path_params["out_trade_no"], raw),
        ),
        route("/v3/refund/domestic/refunds", "POST", "refund", lambda _, raw: refunds.refund(world, raw)),
        route(
            "/v3/refund/domestic/refunds/{out_refund_no}",
            "GET",
            "refund_query",
            lambda request, _: refunds.query_refund(world, request.path_params["out_refund_no"]),
        ),
        route("/v3/bill/tradebill", "GET", "tradebill", bill),
        route(
            "/v3/billdownload/file",
            "GET",
            "billdownload",
            lambda request, _: bills.download(world, request.query_params.get("token", "")),
        ),
        route("/v3/certificates", "GET", "certificates", certificates),
    ]


def mini_routes(world: "World") -> list[Route]:
    """``api.weixin.qq.com``."""

    def login(request: Request, raw: bytes) -> dict[str, Any]:
        return mini.code2session(world, request.query_params)

    def token(request: Request, raw: bytes) -> dict[str, Any]:
        return mini.stable_token(world, raw)

    def phone(request: Request, raw: bytes) -> dict[str, Any]:
        return mini.phone_number(world, request.query_params.get("access_token"), raw)

    def session(request: Request, raw: bytes) -> dict[str, Any]:
        return mini.check_session(world, request.query_params)

    def order(path: str, name: str, call: OrderCall) -> Route:
        def answer(request: Request, raw: bytes) -> dict[str, Any]:
            return call(world, request.query_params.get("access_token"), raw)

        return Route(f"/wxa/sec/order/{path}", _mini(world, name, answer), methods=["POST"])

    return [
        order("upload_shipping_info", "shipping_upload", shipping.upload),
        order("get_order", "shipping_order", shipping.status),
        order("get_order_list", "shipping_orders", shipping.listed),
        order("is_trade_managed", "trade_managed", shipping.managed),
        Route("/wxa/checksession", _mini(world, "checksession", session), methods=["GET"]),
        Route("/sns/jscode2session", _mini(world, "code2session", login), methods=["GET"]),
        Route("/cgi-bin/stable_token", _mini(world, "stable_token", token), methods=["POST"]),
        Route("/wxa/business/getuserphonenumber", _mini(world, "phone", phone), methods=["POST"]),
    ]


def _pay(world: "World", name: str, call: PayCall) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await _pay_answer(world, name, call, request)
        except PayRefusal as refusal:
            return Response(
                refusal.body(),
                status_code=refusal.status,
                media_type="application/json",
                headers={"Request-ID": _request_id(refusal.number)},
            )

    return endpoint


async def _pay_answer(world: "World", name: str, call: PayCall, request: Request) -> Response:
    raw = await request.body()
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    wanted = world.gate.check(
        request.method, f"{path}?{query}" if query else path, request.headers, raw, world.clock.now()
    )
    fault = world.faults.take(name)
    kind = "" if fault is None else fault.fault
    if fault is not None:
        await world.faults.delay(fault)
        if kind == "reset":
            return CutOff()
        if kind == "pay_first":
            orders.pay(world, world.records.orders[request.path_params["out_trade_no"]])
        fault.before_effect()
    told = call(request, raw)
    if kind == "system_error_after_effect":
        raise PayRefusal(500, "SYSTEM_ERROR", "系统错误")
    if kind == "reset_after_effect":
        return CutOff()
    headers = {"Request-ID": _request_id(0)}
    if isinstance(told, bytes):
        return Response(told, media_type="application/octet-stream", headers=headers)
    body = b"" if told is None else wire(told)
    if kind == "truncated_json":
        body = body[: len(body) // 2]
    headers |= world.gate.sign(body, world.clock.now(), wanted, shift_s=-301 if kind == "stale_timestamp" else 0)
    if kind == "unsigned":
        headers = {"Request-ID": _request_id(0)}
    elif kind == "forged_signature":
        headers |= {"Wechatpay-Nonce": secrets.token_hex(16)}
    elif kind == "unknown_serial":
        headers |= {"Wechatpay-Serial": secrets.token_hex(20).upper()}
    media_type = "application/json" if body else None
    return Response(body, status_code=204 if told is None else 200, media_type=media_type, headers=headers)


def _mini(world: "World", name: str, call: MiniCall) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        fault = world.faults.take(name)
        kind = "" if fault is None else fault.fault
        try:
            if fault is not None:
                await world.faults.delay(fault)
                if kind == "reset":
                    return CutOff()
                fault.before_effect()
            body = wire(call(request, raw))
        except MiniRefusal as refusal:
            body = refusal.body()
        if kind == "reset_after_effect":
            return CutOff()
        return Response(body[: len(body) // 2] if kind == "truncated_json" else body, media_type="application/json")

    return endpoint


def _certificates(world: "World") -> dict[str, Any]:
    if world.gate.notice_serial.startswith("PUB_KEY_ID_"):
        raise PayRefusal(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥")
    listed = []
    for key in world.credentials.platform_keys:
        if "BEGIN CERTIFICATE" not in key.verifying_pem:
            continue
        nonce = secrets.token_hex(6)
        listed.append(
            {
                "serial_no": key.serial,
                "effective_time": china_time(world.now_s() - 86400),
                "expire_time": china_time(world.now_s() + 86400 * 365),
                "encrypt_certificate": {
                    "algorithm": "AEAD_AES_256_GCM",
                    "nonce": nonce,
                    "associated_data": "certificate",
                    "ciphertext": seal(world.credentials.apiv3_key, nonce, "certificate", key.verifying_pem.encode()),
                },
            }
        )
    return {"data": listed}


def _request_id(number: int) -> str:
    return f"08{secrets.token_hex(12).upper()}-{number}"
