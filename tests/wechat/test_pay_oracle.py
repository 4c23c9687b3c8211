"""A second implementation of the merchant's side, wechatpayv3, agrees with our sandbox and with our client."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

from tests.sandbox_server import SandboxControl
from tests.wechat.conftest import NUMBER, Shop, Trade, real_now


@pytest.fixture
async def oracle(sandbox: SandboxControl, shop: Shop) -> AsyncIterator[Any]:
    told = await sandbox.config()
    serial = told["preferred_serial"]
    client = AsyncWeChatPay(
        WeChatPayType.MINIPROG,
        told["mchid"],
        told["merchant_private_key"],
        told["merchant_serial"],
        told["appid"],
        told["apiv3_key"],
        notify_url=shop.notify_url,
        public_key=told["verifying_keys"][serial],
        public_key_id=serial,
        timeout=(60, 60),
    )
    # The library has no setting for the host.
    client._core._gate_way = sandbox.base_url
    async with client as opened:
        yield opened


async def test_its_prepay_query_close_and_refund_pass_the_sandbox_and_verify_our_answers(
    oracle: Any, trade: Trade, shop: Shop
) -> None:
    status, answer = await oracle.pay(
        description="咖啡", out_trade_no=NUMBER, amount={"total": 100}, payer={"openid": trade.openid}
    )
    assert status == 200, answer
    assert json.loads(answer)["prepay_id"].startswith("wx")
    await trade.sandbox.pay(NUMBER)
    status, answer = await oracle.query(out_trade_no=NUMBER)
    assert (status, json.loads(answer)["trade_state"]) == (200, "SUCCESS")
    status, answer = await oracle.refund(
        out_refund_no="R1", out_trade_no=NUMBER, amount={"refund": 40, "total": 100, "currency": "CNY"}
    )
    assert (status, json.loads(answer)["status"]) == (200, "PROCESSING")
    status, answer = await oracle.query_refund("R1")
    assert (status, json.loads(answer)["amount"]["refund"]) == (200, 40)
    await trade.prepay("T2026112100002")
    status, answer = await oracle.close("T2026112100002")
    assert (status, len(answer)) == (204, 0)


async def test_it_verifies_and_decrypts_our_notices(oracle: Any, trade: Trade, shop: Shop) -> None:
    await trade.paid()
    await trade.sandbox.settle()
    headers, body = shop.arrived[0]
    told = oracle.callback(headers, body)
    assert told["event_type"] == "TRANSACTION.SUCCESS"
    assert told["resource"]["out_trade_no"] == NUMBER
    assert oracle.callback(headers | {"wechatpay-nonce": "another"}, body) is None


async def test_both_sign_the_payment_sheet_alike(oracle: Any, trade: Trade) -> None:
    params = trade.client.pay_params(await trade.prepay())
    appid = trade.client.config.appid
    assert oracle.sign([appid, params.time_stamp, params.nonce_str, params.package]) == params.pay_sign


async def test_it_reads_the_platform_certificates_of_a_merchant_who_has_not_moved(
    sandbox: SandboxControl, trade: Trade, shop: Shop
) -> None:
    told = await sandbox.config()
    certificate = next(serial for serial in told["verifying_keys"] if not serial.startswith("PUB_KEY_ID_"))
    await sandbox.post("signing", notices=certificate)
    client = AsyncWeChatPay(
        WeChatPayType.MINIPROG,
        told["mchid"],
        told["merchant_private_key"],
        told["merchant_serial"],
        told["appid"],
        told["apiv3_key"],
        notify_url=shop.notify_url,
        timeout=(60, 60),
    )
    client._core._gate_way = sandbox.base_url
    async with client as opened:
        await trade.prepay(time_expire=real_now() + timedelta(hours=1))
        status, answer = await opened.query(out_trade_no=NUMBER)
        assert (status, json.loads(answer)["trade_state"]) == (200, "NOTPAY")
        await sandbox.pay(NUMBER)
        await sandbox.settle()
        assert opened.callback(*shop.arrived[0])["resource"]["trade_state"] == "SUCCESS"
