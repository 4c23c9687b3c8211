"""Order shipping management: the client against the strict sandbox."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.sandbox_server import Refused, SandboxControl
from tests.wechat.conftest import NUMBER, Trade, real_now
from tests.wechat.test_login import DictCache
from wechat.errors import (
    OutcomeUnknown,
    PaymentUnknown,
    RequestRefused,
    ReshipUsed,
    ShippingImpossible,
    ShippingUnchanged,
)
from wechat.mini import MiniProgramHost
from wechat.shipping import Shipment, ShippedParcel, ShippingClient, upload_time
from wechat.token import TokenProvider

PARCEL = ShippedParcel(item_desc="龙井*1", express_company="YTO", tracking_no="YT6728388910274")
OTHER = ShippedParcel(item_desc="白茶*1", express_company="ZTO", tracking_no="78794111518982")


@pytest.fixture
async def host(sandbox: SandboxControl, http: httpx.AsyncClient) -> MiniProgramHost:
    return MiniProgramHost(http, base_url=sandbox.base_url)


@pytest.fixture
async def tokens(sandbox: SandboxControl, host: MiniProgramHost) -> TokenProvider:
    told = await sandbox.config()
    return TokenProvider(host, DictCache(), appid=told["appid"], secret=told["secret"])


@pytest.fixture
async def client_of_shipping(sandbox: SandboxControl, host: MiniProgramHost, tokens: TokenProvider) -> ShippingClient:
    return ShippingClient(host, tokens, appid=(await sandbox.config())["appid"])


@pytest.fixture
async def paid(trade: Trade) -> str:
    """The transaction id of a payment."""
    await trade.paid()
    found = await trade.client.query(NUMBER)
    assert found.transaction_id is not None
    return found.transaction_id


def shipment(trade: Trade, transaction_id: str, *parcels: ShippedParcel, **changed: Any) -> Shipment:
    split = len(parcels) > 1 or changed.get("is_all_delivered") is False
    fields: dict[str, Any] = {"logistics_type": 1, "is_split": split, "is_all_delivered": True}
    return Shipment(transaction_id=transaction_id, openid=trade.openid, parcels=parcels, **(fields | changed))


def test_the_upload_time_is_written_in_china_with_milliseconds() -> None:
    assert upload_time(real_now().replace(2026, 11, 20, 4, 0, 0, 120_999)) == "2026-11-20T12:00:00.120+08:00"


async def test_a_shipment_is_told_and_known(client_of_shipping: ShippingClient, trade: Trade, paid: str) -> None:
    before = await client_of_shipping.status(paid)
    assert (before.order_state, before.logistics_type, before.parcels) == (1, 0, ())
    told = shipment(trade, paid, PARCEL)
    await client_of_shipping.upload(told, upload_at=real_now())
    known = await client_of_shipping.status(paid)
    assert (known.order_state, known.is_finished, known.finished_count) == (2, True, 1)
    assert known.parcels == (("YTO", "YT6728388910274"),)
    assert known.has(told)
    assert not known.has(shipment(trade, paid, OTHER))


@pytest.mark.parametrize("logistics_type", [3, 4])
async def test_what_is_handed_over_has_no_parcel(
    client_of_shipping: ShippingClient, trade: Trade, paid: str, logistics_type: int
) -> None:
    told = shipment(trade, paid, ShippedParcel(item_desc="龙井*1"), logistics_type=logistics_type)
    await client_of_shipping.upload(told, upload_at=real_now())
    assert (await client_of_shipping.status(paid)).has(told)


async def test_parcels_are_told_as_they_leave_and_corrected_once(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    now = real_now()
    some = shipment(trade, paid, PARCEL, is_all_delivered=False)
    await client_of_shipping.upload(some, upload_at=now)
    assert (await client_of_shipping.status(paid)).order_state == 1
    with pytest.raises(ShippingUnchanged):
        await client_of_shipping.upload(some, upload_at=now + timedelta(seconds=1))
    everything = shipment(trade, paid, PARCEL, OTHER)
    await client_of_shipping.upload(everything, upload_at=now + timedelta(seconds=2))
    assert (await client_of_shipping.status(paid)).order_state == 2
    corrected = ShippedParcel(item_desc="白茶*1", express_company="ZTO", tracking_no="78794111518983")
    await client_of_shipping.upload(shipment(trade, paid, PARCEL, corrected), upload_at=now + timedelta(seconds=3))
    with pytest.raises(ReshipUsed):
        await client_of_shipping.upload(everything, upload_at=now + timedelta(seconds=4))
    assert (await client_of_shipping.status(paid)).finished_count == 2


async def test_another_mode_is_a_correction_too(client_of_shipping: ShippingClient, trade: Trade, paid: str) -> None:
    now = real_now()
    await client_of_shipping.upload(shipment(trade, paid, PARCEL, is_all_delivered=False), upload_at=now)
    await client_of_shipping.upload(shipment(trade, paid, PARCEL), upload_at=now + timedelta(seconds=1))
    with pytest.raises(ReshipUsed):
        await client_of_shipping.upload(shipment(trade, paid, OTHER), upload_at=now + timedelta(seconds=2))


async def test_an_upload_that_is_not_later_than_the_last_is_refused(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    now = real_now()
    await client_of_shipping.upload(shipment(trade, paid, PARCEL, is_all_delivered=False), upload_at=now)
    with pytest.raises(RequestRefused) as refused:
        await client_of_shipping.upload(shipment(trade, paid, PARCEL, OTHER), upload_at=now)
    assert refused.value.code == "268485216"


@pytest.mark.parametrize(
    ("parcels", "changed", "code"),
    [
        ((PARCEL, OTHER), {"is_split": False}, "268485228"),
        ((ShippedParcel(item_desc="龙井*1"),), {"is_split": True, "logistics_type": 4}, "10060006"),
        ((), {"is_split": True}, "268485194"),
        ((PARCEL,) * 16, {"is_split": True}, "268485194"),
        ((ShippedParcel(item_desc="茶" * 121, express_company="YTO", tracking_no="YT1"),), {}, "268485195"),
        ((ShippedParcel(item_desc="龙井*1"),), {}, "268485196"),
        ((PARCEL,), {"logistics_type": 4}, "47001"),
        ((ShippedParcel(item_desc="龙井*1", express_company="SF", tracking_no="SF1"),), {}, "268485224"),
        (
            (
                ShippedParcel(
                    item_desc="龙井*1", express_company="SF", tracking_no="SF1", receiver_contact="13800001234"
                ),
            ),
            {},
            "268485225",
        ),
        ((PARCEL,), {"openid": "oSomebodyElse"}, "10060031"),
        ((PARCEL,), {"transaction_id": "4200000000000000000000000000"}, "10060001"),
    ],
)
async def test_what_wechat_would_refuse_is_refused_and_changes_nothing(
    client_of_shipping: ShippingClient,
    trade: Trade,
    paid: str,
    parcels: tuple[ShippedParcel, ...],
    changed: dict[str, Any],
    code: str,
) -> None:
    fields: dict[str, Any] = {
        "transaction_id": paid,
        "openid": trade.openid,
        "logistics_type": 1,
        "is_split": False,
        "is_all_delivered": True,
    }
    with pytest.raises((RequestRefused, PaymentUnknown)) as refused:
        await client_of_shipping.upload(Shipment(**(fields | changed), parcels=parcels), upload_at=real_now())
    assert refused.value.code == code
    assert (await client_of_shipping.status(paid)).logistics_type == 0


async def test_sf_express_is_told_a_masked_phone(client_of_shipping: ShippingClient, trade: Trade, paid: str) -> None:
    parcel = ShippedParcel(item_desc="龙井*1", express_company="SF", tracking_no="SF1", receiver_contact="138****1234")
    await client_of_shipping.upload(shipment(trade, paid, parcel), upload_at=real_now())
    assert (await client_of_shipping.status(paid)).parcels == (("SF", "SF1"),)
    assert "138" not in repr(parcel)


async def test_a_refunded_payment_takes_no_shipping(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    await trade.client.refund(
        out_trade_no=NUMBER,
        out_refund_no="R1",
        refund_fen=100,
        total_fen=100,
        reason="退款",
        notify_url=trade.notify_url,
    )
    with pytest.raises(ShippingImpossible):
        await client_of_shipping.upload(shipment(trade, paid, PARCEL), upload_at=real_now())
    assert (await client_of_shipping.status(paid)).order_state == 5


async def test_an_upload_whose_answer_was_lost_took_effect(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    await trade.sandbox.fault("shipping_upload", "reset_after_effect")
    told = shipment(trade, paid, PARCEL)
    with pytest.raises(OutcomeUnknown):
        await client_of_shipping.upload(told, upload_at=real_now())
    assert (await client_of_shipping.status(paid)).has(told)


async def test_a_token_that_has_ended_is_fetched_anew(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    await client_of_shipping.is_trade_managed()
    await trade.sandbox.advance(3 * 3600)
    assert (await client_of_shipping.status(paid)).order_state == 1


async def test_whether_the_app_is_managed_is_told(client_of_shipping: ShippingClient, sandbox: SandboxControl) -> None:
    assert await client_of_shipping.is_trade_managed() is True
    await sandbox.post("trade_managed", managed=False)
    assert await client_of_shipping.is_trade_managed() is False


async def test_an_order_counts_as_received_when_the_buyer_says_so_or_after_days(
    client_of_shipping: ShippingClient, trade: Trade, paid: str
) -> None:
    with pytest.raises(Refused):
        await trade.sandbox.post("shipments/confirm", out_trade_no=NUMBER)
    await client_of_shipping.upload(shipment(trade, paid, PARCEL), upload_at=real_now())
    await trade.sandbox.advance(10 * 86400 - 60)
    assert (await client_of_shipping.status(paid)).order_state == 2
    await trade.sandbox.advance(120)
    assert (await client_of_shipping.status(paid)).order_state == 3
    with pytest.raises(ShippingImpossible):
        await client_of_shipping.upload(shipment(trade, paid, OTHER), upload_at=real_now() + timedelta(days=11))


async def test_managed_orders_are_listed_a_page_at_a_time(client_of_shipping: ShippingClient, trade: Trade) -> None:
    for at in range(3):
        await trade.paid(f"T202611210000{at}")
    first = await client_of_shipping.orders(page_size=2, order_state=1)
    assert (len(first.orders), first.has_more) == (2, True)
    rest = await client_of_shipping.orders(page_size=2, order_state=1, last_index=first.last_index)
    assert (len(rest.orders), rest.has_more) == (1, False)
    assert len({one.transaction_id for one in first.orders + rest.orders}) == 3
    assert not (await client_of_shipping.orders(order_state=2)).orders
