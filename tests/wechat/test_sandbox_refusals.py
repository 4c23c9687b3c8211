"""The sandbox refuses what Tencent would refuse. Requests are signed here by hand, not by the client under test."""

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.sandbox_server import Refused, SandboxControl
from tests.wechat.conftest import NUMBER, Trade, real_now

PREPAY = "/v3/pay/transactions/jsapi"
REFUNDS = "/v3/refund/domestic/refunds"
Body = dict[str, Any]


@dataclass
class Merchant:
    """A merchant who signs as the rules say, until told otherwise."""

    sandbox: SandboxControl
    told: dict[str, Any]
    openid: str
    key: rsa.RSAPrivateKey

    def order(self, **changed: Any) -> Body:
        body = {
            "appid": self.told["appid"],
            "mchid": self.told["mchid"],
            "description": "咖啡",
            "out_trade_no": NUMBER,
            "notify_url": "https://shop.example/notify",
            "amount": {"total": 100, "currency": "CNY"},
            "payer": {"openid": self.openid},
        }
        return {name: value for name, value in (body | changed).items() if value is not ...}

    async def send(
        self,
        method: str,
        path: str,
        body: Body | bytes | None = None,
        *,
        headers: dict[str, str | None] | None = None,
        signed_path: str | None = None,
        signed_body: bytes | None = None,
        shift_s: int = 0,
        **parts: str,
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        timestamp = str(int((real_now() + timedelta(seconds=shift_s)).timestamp()))
        nonce = secrets.token_hex(16)
        message = f"{method}\n{signed_path or path}\n{timestamp}\n{nonce}\n".encode()
        message += (raw if signed_body is None else signed_body) + b"\n"
        values = {
            "mchid": self.told["mchid"],
            "nonce_str": nonce,
            "timestamp": timestamp,
            "serial_no": self.told["merchant_serial"],
            "signature": base64.b64encode(self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode(),
        } | parts
        pairs = ",".join(f'{name}="{value}"' for name, value in values.items() if value)
        usual: dict[str, str | None] = {
            "Accept": "application/json",
            "User-Agent": "test",
            "Content-Type": "application/json",
            "Authorization": f"WECHATPAY2-SHA256-RSA2048 {pairs}",
        }
        # A client of its own, for httpx adds the headers that are to be missing.
        async with httpx.AsyncClient(trust_env=False, verify=False, base_url=self.sandbox.base_url) as http:
            request = http.build_request(method, path, content=raw)
            for name, value in (usual | (headers or {})).items():
                request.headers.pop(name, None)
                if value is not None:
                    request.headers[name] = value
            return await http.send(request)


@pytest.fixture
async def merchant(sandbox: SandboxControl) -> Merchant:
    told = await sandbox.config()
    key = load_pem_private_key(told["merchant_private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return Merchant(sandbox, told, await sandbox.openid(), key)


async def test_an_honest_request_passes_and_its_answer_is_signed(merchant: Merchant) -> None:
    answer = await merchant.send("POST", PREPAY, merchant.order())
    assert answer.status_code == 200
    assert answer.headers["wechatpay-serial"] == merchant.told["preferred_serial"]
    assert answer.headers["request-id"].endswith("-0")
    closed = await merchant.send(
        "POST", f"/v3/pay/transactions/out-trade-no/{NUMBER}/close", {"mchid": merchant.told["mchid"]}
    )
    assert (closed.status_code, closed.content) == (204, b"")
    assert closed.headers["wechatpay-signature"]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"headers": {"User-Agent": None}}, 400, "PARAM_ERROR"),
        ({"headers": {"User-Agent": ""}}, 400, "PARAM_ERROR"),
        ({"headers": {"Accept": None}}, 400, "PARAM_ERROR"),
        ({"headers": {"Accept": "text/html"}}, 400, "PARAM_ERROR"),
        ({"headers": {"Content-Type": "text/plain"}}, 415, "PARAM_ERROR"),
        ({"headers": {"Authorization": None}}, 401, "SIGN_ERROR"),
        ({"headers": {"Authorization": "Bearer x"}}, 401, "SIGN_ERROR"),
        ({"headers": {"Wechatpay-Serial": "PUB_KEY_ID_UNKNOWN"}}, 500, "SYSTEM_ERROR"),
        ({"signed_path": PREPAY + "?a=1"}, 401, "SIGN_ERROR"),
        ({"signed_body": b"{}"}, 401, "SIGN_ERROR"),
        ({"shift_s": -301}, 401, "SIGN_ERROR"),
        ({"shift_s": 301}, 401, "SIGN_ERROR"),
        ({"mchid": "1900000000"}, 400, "MCH_NOT_EXISTS"),
        ({"serial_no": "0" * 40}, 401, "SIGN_ERROR"),
        ({"nonce_str": "another"}, 401, "SIGN_ERROR"),
        ({"nonce_str": ""}, 401, "SIGN_ERROR"),
        ({"timestamp": "now"}, 401, "SIGN_ERROR"),
        ({"signature": "AAAA"}, 401, "SIGN_ERROR"),
        ({"extra": "1"}, 401, "SIGN_ERROR"),
    ],
    ids=str,
)
async def test_a_request_that_is_not_signed_as_sent_is_refused(
    merchant: Merchant, changed: dict[str, Any], status: int, code: str
) -> None:
    answer = await merchant.send("POST", PREPAY, merchant.order(), **changed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "wechatpay-signature" not in answer.headers
    assert (await merchant.sandbox.ledger())["orders"] == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"coupon": "x"}, "PARAM_ERROR"),
        ({"amount": {"total": 100, "fee": 1}}, "PARAM_ERROR"),
        ({"amount": {"total": 0}}, "PARAM_ERROR"),
        ({"amount": {"total": -1}}, "PARAM_ERROR"),
        ({"amount": {"total": 1.5}}, "PARAM_ERROR"),
        ({"amount": {"total": "100"}}, "PARAM_ERROR"),
        ({"amount": {"total": True}}, "PARAM_ERROR"),
        ({"amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR"),
        ({"amount": ...}, "PARAM_ERROR"),
        ({"amount": 100}, "PARAM_ERROR"),
        ({"description": ""}, "PARAM_ERROR"),
        ({"description": "咖" * 128}, "PARAM_ERROR"),
        ({"description": None}, "PARAM_ERROR"),
        ({"out_trade_no": "short"}, "PARAM_ERROR"),
        ({"out_trade_no": "N" * 33}, "PARAM_ERROR"),
        ({"out_trade_no": "ORDER#001"}, "PARAM_ERROR"),
        ({"out_trade_no": "订单000001"}, "PARAM_ERROR"),
        ({"attach": "x" * 129}, "PARAM_ERROR"),
        ({"goods_tag": "x" * 33}, "PARAM_ERROR"),
        ({"notify_url": "http://shop.example/notify"}, "PARAM_ERROR"),
        ({"notify_url": "https://shop.example/notify?x=1"}, "PARAM_ERROR"),
        ({"notify_url": "/notify"}, "PARAM_ERROR"),
        ({"notify_url": "https://shop.example/" + "x" * 240}, "PARAM_ERROR"),
        ({"payer": {}}, "PARAM_ERROR"),
        ({"payer": {"openid": "oNobody"}}, "PARAM_ERROR"),
        ({"time_expire": "2026-11-21 12:00:00"}, "PARAM_ERROR"),
        ({"time_expire": "2026-13-41T12:00:00+08:00"}, "PARAM_ERROR"),
        ({"time_expire": "2020-01-01T00:00:00+08:00"}, "PARAM_ERROR"),
        ({"appid": "wx0000000000000000"}, "APPID_MCHID_NOT_MATCH"),
        ({"mchid": "1900000000"}, "PARAM_ERROR"),
    ],
    ids=str,
)
async def test_an_order_that_breaks_a_rule_is_refused(merchant: Merchant, changed: Body, code: str) -> None:
    answer = await merchant.send("POST", PREPAY, merchant.order(**changed))
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert (await merchant.sandbox.ledger())["orders"] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"out_trade_no": "aZ09_-|*"},
        {"description": "咖" * 127},
        {"amount": {"total": 1}},
        {"attach": "x" * 128, "goods_tag": "x" * 32, "support_fapiao": False, "limit_pay": ["no_credit"]},
        {"notify_url": "http://localhost:8000/notify"},
        {"notify_url": "http://[::1]:8000/notify"},
        {"time_expire": ...},
    ],
    ids=str,
)
async def test_an_order_just_inside_the_rules_is_taken(merchant: Merchant, changed: Body) -> None:
    assert (await merchant.send("POST", PREPAY, merchant.order(**changed))).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'"x"', b"\xff"])
async def test_a_body_that_is_no_object_is_refused(merchant: Merchant, body: bytes) -> None:
    answer = await merchant.send("POST", PREPAY, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


async def test_the_expiry_is_at_least_a_minute_ahead(merchant: Merchant) -> None:
    def expiring(seconds: int) -> Body:
        at = (real_now() + timedelta(seconds=seconds)).replace(microsecond=0).isoformat()
        return merchant.order(time_expire=at, out_trade_no=f"ORDER_{seconds}")

    assert (await merchant.send("POST", PREPAY, expiring(30))).status_code == 400
    assert (await merchant.send("POST", PREPAY, expiring(61))).status_code == 200


async def test_a_query_names_its_own_merchant(merchant: Merchant) -> None:
    await merchant.send("POST", PREPAY, merchant.order())
    path = f"/v3/pay/transactions/out-trade-no/{NUMBER}"
    assert (await merchant.send("GET", path)).json()["code"] == "PARAM_ERROR"
    assert (await merchant.send("GET", f"{path}?mchid=1900000000")).json()["code"] == "PARAM_ERROR"
    assert (await merchant.send("GET", f"{path}?mchid={merchant.told['mchid']}")).status_code == 200


async def test_an_order_is_also_found_by_the_transaction_id(merchant: Merchant) -> None:
    await merchant.send("POST", PREPAY, merchant.order(notify_url="http://127.0.0.1:9/none"))
    transaction_id = (await merchant.sandbox.pay(NUMBER))["transaction_id"]
    mchid = merchant.told["mchid"]
    found = await merchant.send("GET", f"/v3/pay/transactions/id/{transaction_id}?mchid={mchid}")
    assert found.json()["out_trade_no"] == NUMBER
    lost = await merchant.send("GET", f"/v3/pay/transactions/id/4200?mchid={mchid}")
    assert (lost.status_code, lost.json()["code"]) == (404, "ORDER_NOT_EXIST")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"amount": {"refund": 0, "total": 100, "currency": "CNY"}}, 400, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 100}}, 400, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 99, "currency": "CNY"}}, 400, "INVALID_REQUEST"),
        ({"amount": {"refund": 101, "total": 100, "currency": "CNY"}}, 400, "INVALID_REQUEST"),
        ({"out_refund_no": "R" * 65}, 400, "PARAM_ERROR"),
        ({"out_refund_no": "R 1"}, 400, "PARAM_ERROR"),
        ({"out_trade_no": ...}, 400, "PARAM_ERROR"),
        ({"transaction_id": "4200"}, 400, "PARAM_ERROR"),
        ({"out_trade_no": "T2026112100009"}, 404, "RESOURCE_NOT_EXISTS"),
        ({"reason": "x" * 81}, 400, "PARAM_ERROR"),
        ({"notify_url": "http://shop.example/"}, 400, "PARAM_ERROR"),
        ({"extra": 1}, 400, "PARAM_ERROR"),
    ],
    ids=str,
)
async def test_a_refund_that_breaks_a_rule_is_refused(
    merchant: Merchant, trade: Trade, changed: Body, status: int, code: str
) -> None:
    await trade.paid()
    answer = await merchant.send("POST", REFUNDS, refunding("R1", 1, **changed))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await merchant.sandbox.ledger())["refunds"] == []


async def test_an_unpaid_order_is_not_refunded(merchant: Merchant, trade: Trade) -> None:
    await trade.prepay()
    answer = await merchant.send("POST", REFUNDS, refunding("R1", 1))
    assert (answer.status_code, answer.json()["code"]) == (403, "TRADE_ERROR")


async def test_a_year_after_the_payment_nothing_is_refunded(merchant: Merchant, trade: Trade) -> None:
    await trade.paid()
    await merchant.sandbox.advance(365 * 86400 - 60)
    shift_s = 365 * 86400 - 60
    assert (await merchant.send("POST", REFUNDS, refunding("R1", 1), shift_s=shift_s)).status_code == 200
    await merchant.sandbox.advance(120)
    late = await merchant.send("POST", REFUNDS, refunding("R2", 1), shift_s=shift_s + 120)
    assert (late.status_code, late.json()["code"]) == (400, "INVALID_REQUEST")


async def test_an_order_takes_fifty_refunds(merchant: Merchant, trade: Trade) -> None:
    await trade.paid()
    for number in range(50):
        assert (await merchant.send("POST", REFUNDS, refunding(f"R{number}", 1))).status_code == 200
    answer = await merchant.send("POST", REFUNDS, refunding("R50", 1))
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


async def test_a_closed_refund_gives_its_amount_back_to_the_order(merchant: Merchant, trade: Trade) -> None:
    await trade.paid()
    await merchant.sandbox.script_refunds(status="CLOSED", at_once=True)
    assert (await merchant.send("POST", REFUNDS, refunding("R1", 100))).json()["status"] == "CLOSED"
    assert (await trade.client.query(NUMBER)).trade_state == "SUCCESS"
    assert (await merchant.send("POST", REFUNDS, refunding("R2", 100))).json()["status"] == "PROCESSING"


async def test_only_an_open_order_is_paid(trade: Trade) -> None:
    await trade.prepay()
    params = trade.client.pay_params(await trade.prepay())
    forged = trade.client.pay_params("wx00000000000000000000000000000000")
    with pytest.raises(Refused, match="no such order"):
        await trade.sandbox.request_payment(forged)
    with pytest.raises(Refused, match="验证签名失败"):
        await trade.sandbox.post(
            "request_payment",
            timeStamp=params.time_stamp,
            nonceStr="another",
            package=params.package,
            signType="RSA",
            paySign=params.pay_sign,
        )
    await trade.sandbox.post("refuse", out_trade_no=NUMBER)
    assert (await trade.client.query(NUMBER)).trade_state == "NOTPAY"
    await trade.sandbox.request_payment(params)
    with pytest.raises(Refused, match="SUCCESS"):
        await trade.sandbox.request_payment(params)


async def test_an_old_prepay_id_is_not_paid(trade: Trade) -> None:
    await trade.prepay(time_expire=real_now() + timedelta(days=1))
    await trade.advance(2 * 3600 + 1)
    with pytest.raises(Refused, match="2 hours"):
        await trade.sandbox.pay(NUMBER)


async def test_an_order_without_an_expiry_closes_after_seven_days(merchant: Merchant) -> None:
    await merchant.send("POST", PREPAY, merchant.order())
    await merchant.sandbox.advance(7 * 86400 - 60)
    assert (await merchant.sandbox.ledger())["orders"][0]["trade_state"] == "NOTPAY"
    await merchant.sandbox.advance(61)
    assert (await merchant.sandbox.ledger())["orders"][0]["trade_state"] == "CLOSED"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("faults", {"endpoint": "nothing", "fault": "slow"}),
        ("faults", {"endpoint": "prepay", "fault": "nothing"}),
        ("faults", {"endpoint": "prepay", "fault": "errcode"}),
        ("faults", {"endpoint": "code2session", "fault": "unsigned"}),
        ("faults", {"endpoint": "prepay", "fault": "slow", "extra": 1}),
        ("scripts/notices", {"tamper": "all"}),
        ("scripts/notices", {"forge": {"colour": 1}}),
        ("scripts/notices", {"extra": 1}),
        ("scripts/refunds", {"status": "LOST"}),
        ("signing", {"notices": "PUB_KEY_ID_UNKNOWN"}),
        ("phone_codes", {"openid": "oNobody"}),
        ("pay", {"out_trade_no": "T0000000000"}),
        ("clock/advance", {"seconds": "soon"}),
        ("clock/set", {"at": "2026-11-21T12:00:00"}),
        ("clock/set", {"at": "2026-11-21T12:00:00Z", "stands": "yes"}),
        ("users", {"name": "x"}),
        ("notices/send", {"number": 1}),
    ],
    ids=str,
)
async def test_an_operators_mistake_is_told_in_a_sentence(sandbox: SandboxControl, path: str, wanted: Body) -> None:
    with pytest.raises(Refused) as caught:
        await sandbox.post(path, **wanted)
    assert str(caught.value)


def refunding(number: str, refund_fen: int, **changed: Any) -> Body:
    """The body of a refund of the order of these tests, whose total is 100."""
    body = {
        "out_trade_no": NUMBER,
        "out_refund_no": number,
        "amount": {"refund": refund_fen, "total": 100, "currency": "CNY"},
    }
    return {name: value for name, value in (body | changed).items() if value is not ...}
