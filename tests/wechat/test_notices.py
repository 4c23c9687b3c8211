"""Notices as they really arrive: late, twice, out of order, spoiled, never, and again by the documented table."""

import pytest

from tests.wechat.conftest import NUMBER, Shop, Trade
from wechat.errors import NoticeUnreadable, SignatureInvalid
from wechat.pay_types import Transaction

RETRIES_S = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]


async def test_an_unanswered_notice_comes_again_by_the_documented_table_and_then_no_more(
    trade: Trade, shop: Shop
) -> None:
    shop.statuses = [500] * 16
    await trade.paid()
    await trade.sandbox.settle()
    assert len(shop.arrived) == 1
    for nth, wait_s in enumerate(RETRIES_S, start=1):
        await trade.sandbox.advance(wait_s - 5)
        assert len(shop.arrived) == nth
        await trade.sandbox.advance(6)
        assert len(shop.arrived) == nth + 1
    await trade.sandbox.advance(7 * 86400)
    assert len(shop.arrived) == 16
    assert len(set(shop.ids())) == 1
    [told] = await trade.sandbox.notices(NUMBER)
    assert told["state"] == "exhausted"
    assert [each["status"] for each in told["attempts"]] == [500] * 16
    assert sum(RETRIES_S) == 24 * 3600 + 4 * 60


@pytest.mark.parametrize("status", [200, 204])
async def test_an_acknowledged_notice_does_not_come_again(trade: Trade, shop: Shop, status: int) -> None:
    shop.statuses = [404, status]
    await trade.paid()
    await trade.sandbox.advance(16)
    await trade.sandbox.advance(86400)
    assert len(shop.arrived) == 2


async def test_a_retry_is_signed_anew_for_its_own_time(trade: Trade, shop: Shop) -> None:
    shop.statuses = [500, 500, 500, 500]
    await trade.paid()
    for wait_s in (16, 16, 31, 181):
        await trade.advance(wait_s)
    assert len(shop.arrived) == 5
    assert trade.client.verify_notice(*shop.arrived[-1]).id == shop.ids()[0]


async def test_a_redirect_is_no_acknowledgement(trade: Trade, shop: Shop) -> None:
    shop.statuses = [302]
    await trade.paid()
    await trade.sandbox.settle()
    assert (await trade.sandbox.notices(NUMBER))[0]["state"] == "pending"


async def test_a_courier_on_call_leaves_only_when_told_to_settle(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.post("notices/courier", on_call=True)
    await trade.paid()
    await trade.client.refund(
        out_trade_no=NUMBER,
        out_refund_no="R1",
        refund_fen=50,
        total_fen=100,
        reason="x",
        notify_url=trade.notify_url,
    )
    await trade.sandbox.post("clock/advance", seconds=86_400)
    assert ([each["attempts"] for each in await trade.sandbox.notices(NUMBER)], shop.arrived) == ([[]], [])
    await trade.sandbox.settle()
    assert [each["event_type"] for each in await trade.sandbox.notices(NUMBER)] == [
        "TRANSACTION.SUCCESS",
        "REFUND.SUCCESS",
    ]
    assert len(shop.arrived) == 2


async def test_a_lost_notice_leaves_the_query(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(out_trade_no=NUMBER, drop=True)
    await trade.paid()
    await trade.advance(86400)
    assert shop.arrived == []
    assert (await trade.client.query(NUMBER)).paid


async def test_a_notice_dropped_at_first_comes_with_its_retry(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(drop=True, first_attempts=1)
    await trade.paid()
    await trade.sandbox.settle()
    assert shop.arrived == []
    await trade.sandbox.advance(15)
    assert len(shop.arrived) == 1


async def test_duplicates_have_one_id_unless_fresh_ones_are_asked_for(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(duplicate=2)
    await trade.paid()
    await trade.sandbox.settle()
    assert (len(shop.ids()), len(set(shop.ids()))) == (3, 1)
    await trade.sandbox.script_notices(duplicate=1, fresh_ids=True)
    await trade.paid("T2026112100002")
    await trade.sandbox.settle()
    assert len(set(shop.ids()[3:])) == 2


async def test_a_delayed_notice_waits_for_the_clock(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(delay_s=3600)
    await trade.paid()
    await trade.sandbox.advance(3590)
    assert shop.arrived == []
    await trade.sandbox.advance(11)
    assert len(shop.arrived) == 1


async def test_a_held_notice_arrives_after_a_later_one(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(event_type="TRANSACTION", hold=True)
    await trade.paid()
    await trade.client.refund(
        out_trade_no=NUMBER, out_refund_no="R1", refund_fen=1, total_fen=100, reason="x", notify_url=shop.notify_url
    )
    await trade.sandbox.settle()
    events = [trade.client.verify_notice(*each).event_type for each in shop.arrived]
    assert events == ["REFUND.SUCCESS", "TRANSACTION.SUCCESS"]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"signature": "forged"},
        {"signature": "signtest"},
        {"signature": "missing"},
        {"serial": "PUB_KEY_ID_0000000000000000"},
        {"timestamp_offset_s": -310},
        {"timestamp_offset_s": 310},
        {"tamper": "body"},
    ],
    ids=str,
)
async def test_a_notice_that_wechat_did_not_sign_now_is_refused(
    trade: Trade, shop: Shop, spoiled: dict[str, object]
) -> None:
    await trade.sandbox.script_notices(**spoiled)
    await trade.paid()
    await trade.sandbox.settle()
    with pytest.raises(SignatureInvalid):
        trade.client.verify_notice(*shop.arrived[0])


@pytest.mark.parametrize("tamper", ["ciphertext", "key"])
async def test_a_signed_notice_that_cannot_be_decrypted_is_unreadable(trade: Trade, shop: Shop, tamper: str) -> None:
    await trade.sandbox.script_notices(tamper=tamper)
    await trade.paid()
    await trade.sandbox.settle()
    with pytest.raises(NoticeUnreadable):
        trade.client.verify_notice(*shop.arrived[0])


async def test_a_swapped_serial_of_a_known_key_is_refused(trade: Trade, shop: Shop) -> None:
    await trade.paid()
    await trade.sandbox.settle()
    headers, body = shop.arrived[0]
    other = next(serial for serial in trade.client.config.verifying_keys if serial != headers["wechatpay-serial"])
    with pytest.raises(SignatureInvalid):
        trade.client.verify_notice(headers | {"wechatpay-serial": other}, body)


@pytest.mark.parametrize(
    ("forge", "name", "value"),
    [
        ({"total_fen": 1}, "total_fen", 1),
        ({"mchid": "1900000000"}, "mchid", "1900000000"),
        ({"appid": "wx0000000000000000"}, "appid", "wx0000000000000000"),
        ({"openid": "oForged"}, "openid", "oForged"),
    ],
)
async def test_a_well_signed_notice_with_false_content_reaches_the_caller_as_it_is(
    trade: Trade, shop: Shop, forge: dict[str, object], name: str, value: object
) -> None:
    await trade.sandbox.script_notices(forge=forge)
    await trade.paid()
    await trade.sandbox.settle()
    resource = trade.client.verify_notice(*shop.arrived[0]).resource
    assert isinstance(resource, Transaction)
    assert getattr(resource, name) == value
    assert getattr(await trade.client.query(NUMBER), name) != value


async def test_a_spoiled_first_attempt_is_followed_by_an_honest_one(trade: Trade, shop: Shop) -> None:
    await trade.sandbox.script_notices(signature="forged", first_attempts=1)
    shop.statuses = [401]
    await trade.paid()
    await trade.advance(16)
    assert trade.client.verify_notice(*shop.arrived[1]).event_type == "TRANSACTION.SUCCESS"


async def test_probes_and_forgeries_for_unpaid_orders_can_be_sent(trade: Trade, shop: Shop) -> None:
    await trade.prepay()
    shop.statuses = [401, 401]
    assert (await trade.sandbox.post("notices/probe", out_trade_no=NUMBER))["status"] == 401
    with pytest.raises(SignatureInvalid):
        trade.client.verify_notice(*shop.arrived[0])
    assert (await trade.sandbox.post("notices/forge", out_trade_no=NUMBER, signature="forged"))["status"] == 401
    with pytest.raises(SignatureInvalid):
        trade.client.verify_notice(*shop.arrived[1])
    assert not (await trade.client.query(NUMBER)).paid


async def test_a_delivered_notice_can_be_sent_once_more(trade: Trade, shop: Shop) -> None:
    await trade.paid()
    await trade.sandbox.settle()
    [told] = await trade.sandbox.notices(NUMBER)
    assert (await trade.sandbox.post("notices/send", number=told["number"]))["status"] == 204
    assert len(shop.ids()) == 2
    assert len(set(shop.ids())) == 1


async def test_notices_move_to_another_key_while_the_keyring_holds_both(trade: Trade, shop: Shop) -> None:
    certificate = next(serial for serial in trade.client.config.verifying_keys if not serial.startswith("PUB_KEY_ID_"))
    await trade.sandbox.post("signing", notices=certificate)
    await trade.paid()
    await trade.sandbox.settle()
    assert shop.arrived[0][0]["wechatpay-serial"] == certificate
    assert trade.client.verify_notice(*shop.arrived[0]).event_type == "TRANSACTION.SUCCESS"
    assert (await trade.client.query(NUMBER)).paid
