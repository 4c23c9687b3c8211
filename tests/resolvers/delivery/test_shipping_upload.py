"""WeChat is told how goods reach their buyer: after the commit, as the order is by then, until it knows."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from jobs.sweep import Sweep
from jobs.sweeps import SWEEPS
from loyalty.delivery.fulfilment import Pieces
from loyalty.delivery.pick_up import PickUpPlace
from loyalty.delivery.shipping_upload import RETRY_AFTER
from loyalty.people.address import Contact, Region
from models.delivery.fulfilment import ShippingUpload
from models.engine import rows, transaction
from models.ids import new_secret
from models.orders.order import Order
from models.payments.payment import ExceptionCase, Refund
from resolvers.clock import SetClock
from resolvers.delivery import parcel, pick_up, pick_up_point, shipping_upload
from resolvers.deps import Deps
from resolvers.payments import refund
from resolvers.people import address
from resolvers.people.address import AddressWish
from tests.doors import Door, make_operator
from tests.fulfilled import desk, paid_order
from tests.refunds import give_back
from tests.sandbox_server import SandboxControl

RETRY = """
mutation ($id: ID!) {
  done: shippingUploadRetry(orderId: $id) {
    __typename ... on ShippingUploadRetried { upload { state tries } } ... on Refusal { code }
  }
}
"""
UPLOAD = "query ($id: ID!) { done: shippingUpload(orderId: $id) { state tries lastError dueAt doneAt } }"


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: everything that is due is done here."""
    return own_store_url


def the_sweep() -> Sweep:
    return next(sweep for sweep in SWEEPS if sweep.name == "tell_shipping")


async def later(deps: Deps, clock: SetClock, wechat: SandboxControl, by: timedelta = timedelta(minutes=1)) -> None:
    """Let time pass and have WeChat told what is due."""
    clock.advance(by)
    await wechat.advance(by.total_seconds())
    await the_sweep().round(deps)


async def send(deps: Deps, order: Order, *pieces: Pieces, carrier: str = "YTO", number: str | None = None) -> UUID:
    boss = await make_operator(deps)
    made = await parcel.create(
        deps,
        operator_id=boss.id,
        order_id=order.id,
        carrier=carrier,
        tracking_number=number or "YT" + new_secret(6).replace("_", "-"),
        pieces=pieces or None,
        idempotency_key=new_secret(12),
    )
    return made.id


async def known(wechat: SandboxControl, order: Order) -> dict[str, Any]:
    """The order as WeChat knows it."""
    paid = await rows("SELECT transaction_id FROM payment WHERE order_id = $1", [order.id])
    told = await wechat.get("shipments")
    found: dict[str, Any] = next(one for one in told if one["transaction_id"] == paid[0]["transaction_id"])
    return found


async def upload_of(order: Order) -> ShippingUpload:
    return await ShippingUpload.get(order_id=order.id)


async def test_parcels_are_told_as_they_leave(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    await send(deps, order, Pieces(line_id=line, quantity=1), number="YT0000001")
    assert "shipping" not in await known(wechat, order)
    await later(deps, clock, wechat)
    partly = await known(wechat, order)
    assert (partly["order_state"], partly["shipping"]["finish_shipping"]) == (1, False)
    await send(deps, order, number="YT0000002")
    await the_sweep().round(deps)
    whole = await known(wechat, order)
    assert (whole["order_state"], whole["shipping"]["finish_shipping_count"]) == (2, 1)
    assert [one["tracking_no"] for one in whole["shipping"]["shipping_list"]] == ["YT0000001", "YT0000002"]
    assert whole["shipping"]["shipping_list"][0]["goods_desc"] == "乌龙茶 250 克*1"
    row = await upload_of(order)
    assert (row.state, row.wanted, row.done, row.due_at) == ("done", 2, 2, None)


async def test_wechat_is_told_that_nothing_more_comes_when_the_rest_is_refunded(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    parcel_id = await send(deps, order, Pieces(line_id=line, quantity=1), number="YT0000001")
    await later(deps, clock, wechat)
    assert not (await known(wechat, order))["shipping"]["finish_shipping"]
    await give_back(deps, wechat, order.id, {line: 1}, goods_come_back=False)
    (asked,) = await Refund.filter(order_id=order.id)
    await refund.send(deps, refund_id=asked.id)
    assert (await Order.get(id=order.id)).fulfilment_state == "shipped"
    await later(deps, clock, wechat)
    told = (await known(wechat, order))["shipping"]
    assert (told["finish_shipping"], told["finish_shipping_count"], told["delivery_mode"]) == (True, 1, 2)
    # The one change that WeChat allows is still there.
    boss = await make_operator(deps)
    await parcel.correct(
        deps,
        operator_id=boss.id,
        parcel_id=parcel_id,
        carrier="YTO",
        tracking_number="YT0000002",
        idempotency_key=new_secret(12),
    )
    await later(deps, clock, wechat)
    assert [one["tracking_no"] for one in (await known(wechat, order))["shipping"]["shipping_list"]] == ["YT0000002"]
    row = await upload_of(order)
    assert (row.state, row.done) == ("done", 3)


async def test_what_changed_before_it_was_told_is_told_as_it_is_by_then(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    parcel_id = await send(deps, order, number="YT0000001")
    boss = await make_operator(deps)
    await parcel.correct(
        deps,
        operator_id=boss.id,
        parcel_id=parcel_id,
        carrier="ZTO",
        tracking_number="ZTO000001",
        idempotency_key=new_secret(12),
    )
    await later(deps, clock, wechat)
    told = await known(wechat, order)
    assert [one["express_company"] for one in told["shipping"]["shipping_list"]] == ["ZTO"]
    assert told["shipping"]["finish_shipping_count"] == 1


async def test_a_pick_up_is_told_when_it_is_handed_out(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    boss = await make_operator(deps)
    point = await pick_up_point.create(
        deps,
        operator_id=boss.id,
        place=PickUpPlace(name="湖滨店", address="湖滨路 1 号"),
        idempotency_key=new_secret(12),
    )
    order, _ = await paid_order(deps, wechat, pick_up_point_id=point.id)
    assert not await ShippingUpload.exists(order_id=order.id)
    shown = await pick_up.show(deps, member_id=order.member_id, order_id=order.id)
    await pick_up.verify(deps, operator_id=boss.id, code=shown.code, idempotency_key=new_secret(12))
    await later(deps, clock, wechat)
    told = await known(wechat, order)
    assert (told["order_state"], told["shipping"]["logistics_type"]) == (2, 4)


async def test_a_pick_up_is_told_without_the_pieces_whose_money_goes_back(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    boss = await make_operator(deps)
    point = await pick_up_point.create(
        deps,
        operator_id=boss.id,
        place=PickUpPlace(name="湖滨店", address="湖滨路 1 号"),
        idempotency_key=new_secret(12),
    )
    order, (line, other) = await paid_order(deps, wechat, 3, 1, pick_up_point_id=point.id)
    await give_back(deps, wechat, order.id, {line: 1, other: 1})
    shown = await pick_up.show(deps, member_id=order.member_id, order_id=order.id)
    await pick_up.verify(deps, operator_id=boss.id, code=shown.code, idempotency_key=new_secret(12))
    await later(deps, clock, wechat)
    (told,) = (await known(wechat, order))["shipping"]["shipping_list"]
    assert told["goods_desc"] == "乌龙茶 250 克*2"


async def test_an_order_without_goods_is_told_as_virtual(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    order, _ = await paid_order(deps, wechat)
    await rows("UPDATE shop_order SET fulfilment_state = 'none' WHERE id = $1", [order.id])
    await order.refresh_from_db()
    async with transaction():
        await shipping_upload.want(order, clock.now())
    await later(deps, clock, wechat)
    assert (await known(wechat, order))["shipping"]["logistics_type"] == 3
    await rows("UPDATE shop_order SET fulfilment_state = 'to_ship' WHERE id = $1", [order.id])


async def test_an_order_that_cost_no_money_is_not_told(deps: Deps, wechat: SandboxControl) -> None:
    order, _ = await paid_order(deps, wechat)
    order.payable_fen = 0
    async with transaction():
        await shipping_upload.want(order, deps.clock.now())
    assert not await ShippingUpload.exists(order_id=order.id)


async def test_a_payment_that_wechat_does_not_know_yet_is_told_later(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await wechat.fault("shipping_upload", "errcode", errcode=10060001, times=2)
    await send(deps, order)
    for wait in (timedelta(minutes=1), RETRY_AFTER[0]):
        await later(deps, clock, wechat, wait)
        assert (await upload_of(order)).last_error == "10060001"
    await later(deps, clock, wechat, RETRY_AFTER[1])
    row = await upload_of(order)
    assert (row.state, row.tries, row.last_error) == ("done", 0, "")


async def test_an_upload_whose_answer_was_lost_is_asked_about_and_not_told_twice(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await wechat.fault("shipping_upload", "reset_after_effect")
    await send(deps, order)
    await later(deps, clock, wechat)
    assert (await upload_of(order)).unclear
    await later(deps, clock, wechat, RETRY_AFTER[0])
    row = await upload_of(order)
    assert (row.state, row.unclear) == ("done", False)
    assert (await known(wechat, order))["shipping"]["finish_shipping_count"] == 1


async def test_a_try_of_a_sweep_that_died_is_made_again_after_its_lease(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await send(deps, order)
    clock.advance(timedelta(minutes=1))
    await wechat.advance(60)
    claimed = await shipping_upload.claim_due(deps, 50)
    row = await upload_of(order)
    assert row.id in claimed
    assert row.id not in await shipping_upload.claim_due(deps, 50)
    await later(deps, clock, wechat, shipping_upload.LEASE)
    assert (await upload_of(order)).state == "done"


async def test_after_eight_tries_a_person_looks_and_has_it_tried_again(
    deps: Deps, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await wechat.fault("shipping_upload", "errcode", errcode=45009, times=8)
    await send(deps, order)
    here = await desk(deps, admin)
    for wait in (timedelta(minutes=1), *RETRY_AFTER):
        assert not await ExceptionCase.exists(order_id=order.id)
        await later(deps, clock, wechat, wait)
    case = await ExceptionCase.get(order_id=order.id)
    assert (case.kind, case.details) == ("shipping_upload_failed", {"error": "45009", "tries": 8})
    here = await desk(deps, admin)
    told = await here.ask(UPLOAD, id=str(order.id))
    assert (told["state"], told["tries"], told["lastError"], told["dueAt"]) == ("FAILED", 8, "45009", None)
    retried = await here.ask(RETRY, id=str(order.id))
    assert retried["upload"] == {"state": "WAITING", "tries": 0}
    assert await here.ask(RETRY, id=str(order.id)) == retried
    await the_sweep().round(deps)
    assert (await upload_of(order)).state == "done"
    assert (await here.ask(RETRY, id=str(order.id)))["code"] == "SHIPPING_UPLOAD_NOT_FAILED"


async def test_what_wechat_refuses_for_good_is_a_case_at_once(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    paid = await rows("SELECT out_trade_no FROM payment_attempt WHERE order_id = $1", [order.id])
    await wechat.post("shipments/refuse", out_trade_no=paid[0]["out_trade_no"])
    await send(deps, order)
    await later(deps, clock, wechat)
    row = await upload_of(order)
    assert (row.state, row.last_error, row.due_at) == ("failed", "10060004", None)
    assert (await ExceptionCase.get(order_id=order.id)).details == {"error": "10060004", "tries": 1}


async def test_what_is_refused_again_leaves_one_case(
    deps: Deps, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await send(deps, order, carrier="SF", number="SF1234567890")
    await later(deps, clock, wechat)
    before = await ExceptionCase.get(order_id=order.id)
    here = await desk(deps, admin)
    await here.ask(RETRY, id=str(order.id))
    await the_sweep().round(deps)
    assert (await upload_of(order)).state == "failed"
    assert (await ExceptionCase.get(order_id=order.id)).id == before.id
    assert not await ExceptionCase.exists(order_id=order.id, resolved_at__isnull=False)


async def test_a_second_correction_is_a_case(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    order, _ = await paid_order(deps, wechat)
    boss = await make_operator(deps)
    parcel_id = await send(deps, order)
    await later(deps, clock, wechat)
    for at in (1, 2):
        await parcel.correct(
            deps,
            operator_id=boss.id,
            parcel_id=parcel_id,
            carrier="ZTO",
            tracking_number=f"ZTO00000{at}",
            idempotency_key=new_secret(12),
        )
        await later(deps, clock, wechat)
    assert (await upload_of(order)).last_error == "10060003"
    told = (await known(wechat, order))["shipping"]["shipping_list"]
    assert [one["tracking_no"] for one in told] == ["ZTO000001"]


async def test_an_app_that_is_not_managed_tells_nothing(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    order, _ = await paid_order(deps, wechat)
    await wechat.post("trade_managed", managed=False)
    await send(deps, order)
    await later(deps, clock, wechat)
    assert (await upload_of(order)).state == "not_needed"
    assert "shipping" not in await known(wechat, order)


async def test_parcels_that_were_voided_before_they_were_told_are_not_told(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    parcel_id = await send(deps, order)
    boss = await make_operator(deps)
    await parcel.void(deps, operator_id=boss.id, parcel_id=parcel_id)
    await later(deps, clock, wechat)
    assert (await upload_of(order)).state == "not_needed"
    await send(deps, order)
    await later(deps, clock, wechat)
    assert (await known(wechat, order))["shipping"]["finish_shipping_count"] == 1


async def test_sf_express_is_told_the_masked_phone_of_the_address(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    there = AddressWish(
        contact=Contact(recipient="王小明", phone="13812345678", street="天河路 385 号"),
        region=Region(code="440106", province="广东省", city="广州市", district="天河区"),
    )
    row = await address.create(
        deps, member_id=order.member_id, wish=there, make_default=False, idempotency_key=new_secret(12)
    )
    async with transaction(order.member_id):
        await address.freeze(deps, order_id=order.id, address=row, now=clock.now())
    await send(deps, order, carrier="SF", number="SF1234567890")
    await later(deps, clock, wechat)
    assert (await upload_of(order)).state == "done"
    assert (await known(wechat, order))["shipping"]["shipping_list"][0]["express_company"] == "SF"


async def test_sf_express_without_a_phone_is_a_case(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    order, _ = await paid_order(deps, wechat)
    await send(deps, order, carrier="SF", number="SF1234567890")
    await later(deps, clock, wechat)
    assert (await upload_of(order)).state == "failed"
    assert (await ExceptionCase.get(order_id=order.id)).details == {"error": "268485224", "tries": 1}
