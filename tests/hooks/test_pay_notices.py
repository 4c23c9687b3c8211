"""What WeChat's notice address refuses, and that a refusal leaves every table as it was."""

import base64
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from hooks.pay import MOST_BYTES, pay_route
from loyalty.orders.order import OrderLine
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.payments import payment
from tests.doors import make_member
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable
from tests.tables import everything
from wechat.pay import PayClient
from wechat.pay_crypto import Signer, answer_message, seal
from wechat.pay_types import PayConfig
from wechat.sandbox.credentials import SigningKey, new_public_key

PRICE_FEN = 12_300
KEPT_FOR_THE_RECORD = ("payment_notice", "exception_case")


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that waits for its payment."""

    order_id: UUID
    out_trade_no: str
    openid: str

    async def state(self) -> str:
        """Where it stands."""
        return (await Order.get(id=self.order_id)).state


@pytest_asyncio.fixture(loop_scope="session")
async def waiting(open_store: Deps, wechat: SandboxControl) -> Waiting:
    """An order whose payment is open at WeChat."""
    openid = await wechat.openid()
    member = await make_member(open_store, openid=openid)
    placed = await order.place(
        open_store,
        member_id=member.id,
        lines=[OrderLine(sku_id=await put_on_shelf(open_store, price_fen=PRICE_FEN), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    await payment.pay(open_store, member_id=member.id, order_id=placed.id)
    found = await rows("SELECT out_trade_no FROM payment_attempt WHERE order_id = $1", [placed.id])
    return Waiting(placed.id, found[0]["out_trade_no"], openid)


async def post(deps: Deps, headers: dict[str, str] | list[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
    """Deliver a letter to the notice address."""
    transport = httpx.ASGITransport(Starlette(routes=[pay_route(deps)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        return await http.post("/hooks/wechat/pay", content=body, headers=headers)


def letter(
    config: PayConfig,
    key: SigningKey,
    order_: Waiting,
    at: datetime,
    *,
    event_type: str = "TRANSACTION.SUCCESS",
    algorithm: str = "AEAD_AES_256_GCM",
    **resource: Any,
) -> tuple[dict[str, str], bytes]:
    """A success notice, well sealed, signed with ``key`` in the name of WeChat's preferred serial."""
    told = {
        "appid": config.appid,
        "mchid": config.mchid,
        "out_trade_no": order_.out_trade_no,
        "trade_state": "SUCCESS",
        "transaction_id": f"4200{secrets.randbelow(10**24):024d}",
        "success_time": at.isoformat(),
        "payer": {"openid": order_.openid},
        "amount": {"total": PRICE_FEN, "payer_total": PRICE_FEN, "currency": "CNY"},
        **resource,
    }
    nonce = secrets.token_hex(6)
    body = orjson.dumps(
        {
            "id": f"EV-{secrets.token_hex(8)}",
            "create_time": at.isoformat(),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "支付成功",
            "resource": {
                "original_type": "transaction",
                "algorithm": algorithm,
                "ciphertext": seal(config.apiv3_key, nonce, "transaction", orjson.dumps(told)),
                "associated_data": "transaction",
                "nonce": nonce,
            },
        }
    )
    timestamp = str(int(at.timestamp()))
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": Signer(key.private_pem).sign(answer_message(timestamp, nonce, body)),
        "Wechatpay-Serial": config.preferred_serial,
    }, body


@pytest.mark.parametrize(
    "spoilt",
    [
        {"signature": "forged"},
        {"signature": "missing"},
        {"signature": "signtest"},
        {"serial": "PUB_KEY_ID_0000000000000000000000000000"},
        {"tamper": "body"},
        {"tamper": "ciphertext"},
        {"tamper": "key"},
        {"timestamp_offset_s": -400},
        {"timestamp_offset_s": 400},
        {"timestamp_offset_s": -86_400},
    ],
    ids=str,
)
async def test_a_notice_that_is_not_wechats_is_refused_and_changes_nothing(
    waiting: Waiting, wechat: SandboxControl, spoilt: dict[str, object]
) -> None:
    before = await everything()
    told = await wechat.post("notices/forge", out_trade_no=waiting.out_trade_no, **spoilt)
    assert told["status"] == 401
    assert await everything() == before
    assert await waiting.state() == "unpaid"


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        ({"total_fen": PRICE_FEN - 1}, "payment_mismatch"),
        ({"total_fen": 1}, "payment_mismatch"),
        ({"total_fen": PRICE_FEN + 1}, "payment_mismatch"),
        ({"mchid": "1900000001"}, "payment_mismatch"),
        ({"appid": "wx0000000000000000"}, "payment_mismatch"),
        ({"openid": "oSomebodyElse"}, "payment_mismatch"),
        ({"out_trade_no": "0" * 32}, "unknown_order"),
    ],
    ids=str,
)
async def test_a_payment_that_does_not_agree_with_its_order_is_a_case_and_changes_nothing(
    waiting: Waiting, wechat: SandboxControl, forge: dict[str, object], kind: str
) -> None:
    forge["transaction_id"] = transaction_id = f"4200{secrets.randbelow(10**24):024d}"
    before = await everything(but=KEPT_FOR_THE_RECORD)
    told = await wechat.post("notices/forge", out_trade_no=waiting.out_trade_no, forge=forge)
    assert told["status"] == 204
    assert await everything(but=KEPT_FOR_THE_RECORD) == before
    assert await waiting.state() == "unpaid"
    found = await rows("SELECT kind FROM exception_case WHERE key = $1", [f"{kind}:{transaction_id}"])
    assert found == [{"kind": kind}]
    await wechat.pay(waiting.out_trade_no)
    await wechat.settle()
    assert await waiting.state() == "paid"


async def test_a_notice_of_something_else_than_success_pays_nothing(waiting: Waiting, wechat: SandboxControl) -> None:
    before = await everything(but=("payment_notice",))
    await wechat.post("notices/forge", out_trade_no=waiting.out_trade_no, forge={"trade_state": "NOTPAY"})
    assert await everything(but=("payment_notice",)) == before


@pytest.mark.parametrize(
    ("event_type", "algorithm"),
    [("PROFITSHARING", "AEAD_AES_256_GCM"), ("MCHTRANSFER.BILL.FINISHED", "AEAD_SM4_GCM")],
)
async def test_an_event_that_the_store_does_not_know_is_acknowledged_and_changes_nothing(
    open_store: Deps, waiting: Waiting, clock: SetClock, wechat: SandboxControl, event_type: str, algorithm: str
) -> None:
    key = new_public_key(open_store.pay.config.mchid)
    config = replace(open_store.pay.config, verifying_keys={open_store.pay.config.preferred_serial: key.verifying_pem})
    headers, body = letter(config, key, waiting, clock.now(), event_type=event_type, algorithm=algorithm)
    before = await everything()
    async with httpx.AsyncClient(trust_env=False) as http:
        client = PayClient(config, http, base_url=wechat.base_url, now=clock.now)
        assert (await post(replace(open_store, pay=client), headers, body)).status_code == 204
    assert await everything() == before


async def test_a_letter_of_a_forger_is_refused_and_would_pay_if_his_key_were_trusted(
    open_store: Deps, waiting: Waiting, clock: SetClock, wechat: SandboxControl
) -> None:
    config = open_store.pay.config
    forger = new_public_key(config.mchid)
    headers, body = letter(config, forger, waiting, clock.now())
    before = await everything()
    assert (await post(open_store, headers, body)).status_code == 401
    assert await everything() == before
    gullible = replace(config, verifying_keys={config.preferred_serial: forger.verifying_pem})
    async with httpx.AsyncClient(trust_env=False) as http:
        client = PayClient(gullible, http, base_url=wechat.base_url, now=clock.now)
        assert (await post(replace(open_store, pay=client), headers, body)).status_code == 204
    assert await waiting.state() == "paid"


async def test_a_payment_of_one_fen_would_pay_the_order_if_nobody_compared(
    waiting: Waiting, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty.payments.payment.compare", lambda _expected, _actual: ())
    await wechat.post(
        "notices/forge",
        out_trade_no=waiting.out_trade_no,
        forge={"total_fen": 1, "transaction_id": f"4200{secrets.randbelow(10**24):024d}"},
    )
    assert await waiting.state() == "paid"


async def test_a_stale_letter_would_pay_if_the_clock_were_not_asked(
    open_store: Deps, waiting: Waiting, clock: SetClock, wechat: SandboxControl
) -> None:
    config = open_store.pay.config
    known = new_public_key(config.mchid)
    trusting = replace(config, verifying_keys={config.preferred_serial: known.verifying_pem})
    headers, body = letter(trusting, known, waiting, clock.now())
    async with httpx.AsyncClient(trust_env=False) as http:
        later = clock.now() + timedelta(seconds=301)
        punctual = PayClient(trusting, http, base_url=wechat.base_url, now=lambda: later)
        assert (await post(replace(open_store, pay=punctual), headers, body)).status_code == 401
        assert await waiting.state() == "unpaid"
        timeless = PayClient(trusting, http, base_url=wechat.base_url, now=clock.now)
        assert (await post(replace(open_store, pay=timeless), headers, body)).status_code == 204
    assert await waiting.state() == "paid"


SIGNED = {"Wechatpay-Timestamp": "1", "Wechatpay-Nonce": "n", "Wechatpay-Signature": "s", "Wechatpay-Serial": "x"}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {b"Wechatpay-Signature": b"\xff\xfe"},
        {b"Wechatpay-Signature": "签名".encode()},
        {b"Wechatpay-Signature": b"A" * 8_000},
        {b"Wechatpay-Serial": b"\xe9"},
        {b"Wechatpay-Timestamp": b"\xb2"},
        {b"Wechatpay-Timestamp": b"9" * 400},
        {b"Wechatpay-Timestamp": b"-1"},
        {b"Wechatpay-Nonce": b"\xff"},
    ],
    ids=str,
)
async def test_odd_headers_are_refused_like_any_forged_signature(
    deps: Deps, clock: SetClock, changed: dict[bytes, bytes]
) -> None:
    serial = deps.pay.config.preferred_serial
    given = {
        b"Wechatpay-Timestamp": str(int(clock.now().timestamp())).encode(),
        b"Wechatpay-Nonce": b"n",
        b"Wechatpay-Signature": base64.b64encode(b"s" * 256),
        b"Wechatpay-Serial": serial.encode(),
        **changed,
    }
    response = await post(deps, list(given.items()), b"{}")
    assert response.status_code == 401
    assert response.json()["code"] == "FAIL"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"id": 1}'], ids=repr)
async def test_a_body_that_is_no_notice_is_refused(deps: Deps, body: bytes) -> None:
    before = await everything()
    assert (await post(deps, SIGNED, body)).status_code == 401
    assert await everything() == before


@pytest.mark.parametrize("content", [{}, {"id": "x"}, {"resource": 1}, [], "text", None, 7], ids=repr)
async def test_a_well_signed_body_that_is_no_notice_is_refused_too(
    deps: Deps, clock: SetClock, wechat: SandboxControl, content: object
) -> None:
    key = new_public_key(deps.pay.config.mchid)
    config = replace(deps.pay.config, verifying_keys={deps.pay.config.preferred_serial: key.verifying_pem})
    body, timestamp = orjson.dumps(content), str(int(clock.now().timestamp()))
    headers = {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": "n",
        "Wechatpay-Signature": Signer(key.private_pem).sign(answer_message(timestamp, "n", body)),
        "Wechatpay-Serial": config.preferred_serial,
    }
    async with httpx.AsyncClient(trust_env=False) as http:
        client = PayClient(config, http, base_url=wechat.base_url, now=clock.now)
        assert (await post(replace(deps, pay=client), headers, body)).status_code == 401


async def test_a_body_beyond_the_bound_is_not_read_to_its_end(deps: Deps) -> None:
    assert (await post(deps, SIGNED, b"x" * (MOST_BYTES + 1))).status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_post_is_understood(deps: Deps, method: str) -> None:
    transport = httpx.ASGITransport(Starlette(routes=[pay_route(deps)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        assert (await http.request(method, "/hooks/wechat/pay")).status_code == 405
