"""Picking up through both doors: points, the code on the phone, the till."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.delivery.fulfilment import FulfilmentStateRefused
from loyalty.delivery.pick_up import PICK_UP_CODE
from loyalty.people.address import Contact, Region
from loyalty.people.rights import Role
from models.delivery.fulfilment import PickUpPoint
from models.engine import rows
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.people.member import Member
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_sale
from resolvers.orders import order_address
from resolvers.payments import after_sale, refund_end
from resolvers.people import address
from resolvers.people.address import AddressWish
from resolvers.points import points_mall
from tests.coupons import make_template
from tests.doors import Bearer, Door, bearer, make_member, make_operator
from tests.flash import make_sale
from tests.fulfilled import Desk, desk, paid_order, pay, seen
from tests.mall import give_points, make_item
from tests.refunds import ask_back, lines_of
from tests.sandbox_server import SandboxControl

Tokens = Callable[..., Awaitable[Bearer]]

CREATE = """
mutation ($input: PickUpPointInput!, $key: IdempotencyKey!) {
  done: pickUpPointCreate(input: $input, idempotencyKey: $key) {
    __typename ... on PickUpPointKept { point { id name address openingHours phone hidden } } ... on Refusal { code }
  }
}
"""
CHANGE = """
mutation ($id: ID!, $input: PickUpPointInput!, $hidden: Boolean!, $key: IdempotencyKey!) {
  done: pickUpPointChange(pointId: $id, input: $input, hidden: $hidden, idempotencyKey: $key) {
    __typename ... on PickUpPointKept { point { id name hidden } } ... on Refusal { code }
  }
}
"""
POINTS = "query { done: pickUpPoints(first: 50) { nodes { id name } } }"
PLACE = """
mutation ($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { pickUpPoint { id } } } ... on Refusal { code }
  }
}
"""
CODE = """
mutation ($id: ID!) {
  done: pickUpCode(orderId: $id) {
    __typename ... on PickUpCode { digits: code endsAt } ... on FulfilmentStateRefused { state } ... on Refusal { code }
  }
}
"""
VERIFY = """
mutation ($code: String!, $key: IdempotencyKey!) {
  done: pickUpVerify(code: $code, idempotencyKey: $key) {
    __typename ... on OrderHandled { order { id fulfilment memberId } } ... on Refusal { code }
  }
}
"""
HAND_OUT = """
mutation ($code: String!, $key: IdempotencyKey!) {
  done: pickUpVerify(code: $code, idempotencyKey: $key) {
    ... on OrderHandled { order { fulfilment lines { quantity refundingCount } } } ... on Refusal { code }
  }
}
"""
REFUND_LINES = """
mutation ($id: ID!, $lines: [RefundLineInput!]!, $key: IdempotencyKey!) {
  done: orderRefundLines(
    orderId: $id, lines: $lines, reason: "少一件", goodsComeBack: false, idempotencyKey: $key
  ) { ... on OrderRefunded { order { refunding } } ... on Refusal { code } }
}
"""
READY = """
mutation ($id: ID!) {
  done: pickUpReady(orderId: $id) {
    __typename
    ... on OrderHandled { order { pickUpReadyAt } }
    ... on FulfilmentStateRefused { state }
    ... on Refusal { code }
  }
}
"""
SET_POINT = """
mutation ($order: ID!, $point: ID!) {
  done: orderPickUpSet(orderId: $order, pickUpPointId: $point) {
    __typename
    ... on OrderPickUpSet { order { fulfilment payable pickUpPoint { id } timeline { kind } } }
    ... on FulfilmentStateRefused { state }
    ... on Refusal { code }
  }
}
"""
HOME = AddressWish(
    contact=Contact(recipient="王小明", phone="13812345678", street="天河路 385 号"),
    region=Region(code="440106", province="广东省", city="广州市", district="天河区"),
)
PLACE_NAMES = {"name": " 湖滨店 ", "address": "湖滨路 1 号", "openingHours": "10:00–21:00", "phone": "0571-88888888"}


async def a_point(here: Desk, **changed: str) -> str:
    told = await here.ask(CREATE, input=PLACE_NAMES | changed, key=new_secret(12))
    point_id: str = told["point"]["id"]
    return point_id


async def waiting(deps: Deps, admin: Door, wechat: SandboxControl) -> Order:
    """An order that waits at a point."""
    point_id = await a_point(await desk(deps, admin))
    order, _ = await paid_order(deps, wechat, pick_up_point_id=UUID(point_id))
    return order


async def code_of(deps: Deps, shop: Door, order: Order) -> dict[str, Any]:
    token = await bearer(deps, await Member.get(id=order.member_id))
    found: dict[str, Any] = (await shop.ask(CODE, {"id": str(order.id)}, token=token))["done"]
    return found


async def test_a_point_is_opened_changed_and_hidden(deps: Deps, shop: Door, admin: Door) -> None:
    here, key = await desk(deps, admin, Role.ACTIVITY_OPERATIONS), new_secret(12)
    told = await here.ask(CREATE, input=PLACE_NAMES, key=key)
    point = told["point"]
    assert (point["name"], point["hidden"]) == ("湖滨店", False)
    assert await here.ask(CREATE, input=PLACE_NAMES, key=key) == told
    listed = (await shop.ask(POINTS))["done"]["nodes"]
    assert {"id": point["id"], "name": "湖滨店"} in listed
    renamed = PLACE_NAMES | {"name": "西湖店"}
    hidden = await here.ask(CHANGE, id=point["id"], input=renamed, hidden=True, key=new_secret(12))
    assert hidden["point"] == {"id": point["id"], "name": "西湖店", "hidden": True}
    assert point["id"] not in [one["id"] for one in (await shop.ask(POINTS))["done"]["nodes"]]
    assert point["id"] in [one["id"] for one in (await here.ask(POINTS))["nodes"]]
    row = await AuditRow.get(action="pick_up_point.change", subject_id=point["id"])
    assert row.before == {"name": "湖滨店", "address": "湖滨路 1 号", "opening_hours": "10:00–21:00"} | {
        "shop_phone": "0571-88888888",
        "is_hidden": False,
    }


async def test_a_point_that_does_not_fit_is_refused(deps: Deps, admin: Door) -> None:
    here = await desk(deps, admin)
    refused = await here.ask(CREATE, input=PLACE_NAMES | {"name": " "}, key=new_secret(12))
    assert refused["code"] == "PICK_UP_POINT_INVALID"
    unknown = str(new_id(deps.clock.now()))
    told = await here.ask(CHANGE, id=unknown, input=PLACE_NAMES, hidden=False, key=new_secret(12))
    assert told["code"] == "PICK_UP_POINT_NOT_FOUND"


@pytest.mark.parametrize(
    ("role", "codes"), [(None, ["UNAUTHENTICATED"]), (Role.STAFF, ["FORBIDDEN"]), (Role.OWNER, [])]
)
async def test_points_need_their_right(deps: Deps, admin: Door, role: str | None, codes: list[str]) -> None:
    token = None if role is None else await bearer(deps, await make_operator(deps, role))
    name = new_secret(6)
    given = {"input": PLACE_NAMES | {"name": name}, "key": new_secret(12)}
    assert await admin.codes(CREATE, given, token=token) == codes
    assert await PickUpPoint.exists(name=name) is not bool(codes)


async def test_an_order_is_placed_for_a_point_on_offer(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order = await waiting(deps, admin, wechat)
    told = await seen(deps, shop, order)
    assert (told["fulfilment"], told["pickUpPoint"]["name"]) == ("TO_PICK_UP", "湖滨店")
    here, point_id = await desk(deps, admin), str(order.pick_up_point_id)
    refused = await here.send(order.id)
    assert (refused["code"], refused["state"]) == ("FULFILMENT_STATE_REFUSED", "to_pick_up")
    await here.ask(CHANGE, id=point_id, input=PLACE_NAMES, hidden=True, key=new_secret(12))
    sku = (await rows("SELECT sku_id FROM order_line WHERE order_id = $1", [order.id]))[0]["sku_id"]
    buyer = await bearer(deps, await make_member(deps))
    wanted = {"lines": [{"skuId": str(sku), "quantity": 1}], "pickUpPointId": point_id}
    placed = (await shop.ask(PLACE, {"input": wanted, "key": new_secret(12)}, token=buyer))["done"]
    assert placed["code"] == "PICK_UP_POINT_NOT_FOUND"
    assert not await Order.exists(member_id=buyer.subject_id)
    assert (await seen(deps, shop, order))["pickUpPoint"]["id"] == point_id


async def test_the_goods_are_ready_once(deps: Deps, shop: Door, admin: Door, wechat: SandboxControl) -> None:
    order = await waiting(deps, admin, wechat)
    here = await desk(deps, admin, Role.STAFF)
    told = await here.ask(READY, id=str(order.id))
    assert datetime.fromisoformat(told["order"]["pickUpReadyAt"]) == deps.clock.now()
    assert await here.ask(READY, id=str(order.id)) == told
    events = [event["event"] for event in (await seen(deps, shop, order))["timeline"]]
    assert events.count("PICK_UP_READY") == 1
    shipped, _ = await paid_order(deps, wechat)
    assert (await here.ask(READY, id=str(shipped.id)))["state"] == "to_ship"
    assert (await here.ask(READY, id=str(new_id(deps.clock.now()))))["code"] == "ORDER_NOT_FOUND"


async def test_the_till_reads_the_code_and_hands_out_once(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order = await waiting(deps, admin, wechat)
    first, second = await code_of(deps, shop, order), await code_of(deps, shop, order)
    assert first["digits"].startswith("85")
    assert datetime.fromisoformat(first["endsAt"]) == deps.clock.now() + PICK_UP_CODE.ttl
    till, key = await desk(deps, admin, Role.STAFF), new_secret(12)
    handed = await till.ask(VERIFY, code=f" {first['digits']} ", key=key)
    assert handed["order"] == {"id": str(order.id), "fulfilment": "RECEIVED", "memberId": str(order.member_id)}
    assert await till.ask(VERIFY, code=f" {first['digits']} ", key=key) == handed
    for code in (first["digits"], second["digits"], "85" + "0" * 16, "nothing"):
        assert (await till.ask(VERIFY, code=code, key=new_secret(12)))["code"] == "PICK_UP_CODE_INVALID"
    told = await seen(deps, shop, order)
    assert datetime.fromisoformat(told["completedAt"]) == deps.clock.now()
    assert [event["event"] for event in told["timeline"]].count("RECEIVED") == 1
    assert await AuditRow.filter(action="pick_up.verify", subject_id=str(order.id)).count() == 1
    assert (await code_of(deps, shop, order))["state"] == "received"


async def test_a_code_is_good_until_before_its_end(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    order = await waiting(deps, admin, wechat)
    shown = await code_of(deps, shop, order)
    till = await desk(deps, admin)
    clock.advance(PICK_UP_CODE.ttl)
    assert (await till.ask(VERIFY, code=shown["digits"], key=new_secret(12)))["code"] == "PICK_UP_CODE_INVALID"
    clock.advance(-timedelta(microseconds=1))
    assert (await till.ask(VERIFY, code=shown["digits"], key=new_secret(12)))["__typename"] == "OrderHandled"


async def test_nothing_is_handed_out_while_the_money_goes_back(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order = await waiting(deps, admin, wechat)
    shown = await code_of(deps, shop, order)
    await rows("UPDATE shop_order SET state = 'refunding' WHERE id = $1", [order.id])
    till = await desk(deps, admin)
    refused = await till.ask(VERIFY, code=shown["digits"], key=new_secret(12))
    assert refused == {"__typename": "OrderStateRefused", "code": "ORDER_STATE_REFUSED"}
    assert (await Order.get(id=order.id)).fulfilment_state == "to_pick_up"
    await rows("UPDATE shop_order SET state = 'paid' WHERE id = $1", [order.id])


async def test_nothing_is_handed_out_while_the_member_asks_for_the_money(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order = await waiting(deps, admin, wechat)
    (line,) = await lines_of(order.id)
    asked = await ask_back(deps, order, {line.id: 1})
    shown = await code_of(deps, shop, order)
    till = await desk(deps, admin)
    refused = await till.ask(VERIFY, code=shown["digits"], key=new_secret(12))
    assert refused == {"__typename": "SimpleRefusal", "code": "PIECES_CLAIMED"}
    await after_sale.withdraw(deps, member_id=order.member_id, after_sale_id=asked.id)
    done = await till.ask(VERIFY, code=shown["digits"], key=new_secret(12))
    assert done["__typename"] == "OrderHandled"


async def test_the_rest_is_handed_out_while_a_part_of_the_money_goes_back(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    here = await desk(deps, admin)
    order, (line,) = await paid_order(deps, wechat, 3, pick_up_point_id=UUID(await a_point(here)))
    await wechat.script_refunds(status="SUCCESS", after_s=600)
    back = {"id": str(order.id), "lines": [{"lineId": str(line), "quantity": 1}], "key": new_secret(12)}
    assert (await here.ask(REFUND_LINES, **back))["order"]["refunding"] == 10_000
    shown = await code_of(deps, shop, order)
    handed = await here.ask(HAND_OUT, code=shown["digits"], key=new_secret(12))
    assert handed["order"] == {"fulfilment": "RECEIVED", "lines": [{"quantity": 3, "refundingCount": 1}]}
    (found,) = await rows("SELECT out_refund_no FROM refund WHERE order_id = $1", [order.id])
    clock.advance(timedelta(seconds=600))
    await wechat.advance(600)
    assert await refund_end.conclude(deps, await deps.pay.query_refund(found["out_refund_no"]))
    told = await seen(deps, shop, order)
    assert (told["state"], told["fulfilment"]) == ("PAID", "RECEIVED")
    assert [event["event"] for event in told["timeline"]][-3:] == ["REFUND_REQUESTED", "RECEIVED", "PART_REFUNDED"]
    (put_back,) = await rows("SELECT restocked_count FROM order_refund_line WHERE line_id = $1", [line])
    assert put_back["restocked_count"] == 1


async def choose(deps: Deps, shop: Door, order: Order, point_id: str) -> dict[str, Any]:
    token = await bearer(deps, await Member.get(id=order.member_id))
    given = {"order": str(order.id), "point": point_id}
    found: dict[str, Any] = (await shop.ask(SET_POINT, given, token=token))["done"]
    return found


async def exchanged(deps: Deps, **fields: Any) -> Order:
    """Something of the points mall, unpaid if it costs money (``cash_fen``) as well."""
    member = await make_member(deps)
    await give_points(deps, member.id, 5_000)
    item = await make_item(deps, **fields)
    return await points_mall.exchange(
        deps,
        member_id=member.id,
        item_id=item.id,
        quantity=1,
        expected_points=500,
        expected_fen=fields.get("cash_fen", 0),
        idempotency_key=new_secret(12),
    )


async def test_goods_of_the_points_mall_are_picked_up_if_the_member_likes(deps: Deps, shop: Door, admin: Door) -> None:
    here = await desk(deps, admin)
    point_id, other_id = await a_point(here), await a_point(here)
    order = await exchanged(deps)
    for _ in range(2):
        chosen = await choose(deps, shop, order, point_id)
        assert chosen["order"]["fulfilment"] == "TO_PICK_UP"
        assert chosen["order"]["pickUpPoint"] == {"id": point_id}
        assert [event["kind"] for event in chosen["order"]["timeline"]] == ["placed", "paid", "pick_up_set"]
    assert (await choose(deps, shop, order, other_id))["code"] == "ORDER_ADDRESS_KEPT"
    assert (await here.send(order.id))["code"] == "FULFILMENT_STATE_REFUSED"
    shown = await code_of(deps, shop, order)
    done = await here.ask(VERIFY, code=shown["digits"], key=new_secret(12))
    assert done["order"]["fulfilment"] == "RECEIVED"
    assert (await choose(deps, shop, order, other_id))["code"] == "FULFILMENT_STATE_REFUSED"


async def test_an_order_that_went_nowhere_waits_at_its_point_once_it_is_paid(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    point_id = await a_point(await desk(deps, admin))
    sale = await make_sale(deps)
    member = await make_member(deps, openid=await wechat.openid())
    order = await flash_sale.purchase(
        deps, member_id=member.id, item_id=sale.item_id, quantity=1, idempotency_key=new_secret(12)
    )
    assert (await choose(deps, shop, order, point_id))["order"]["fulfilment"] == "NONE"
    await pay(deps, wechat, order)
    assert (await Order.get(id=order.id)).fulfilment_state == "to_pick_up"


async def test_a_point_is_chosen_only_while_nothing_is_on_its_way(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    here = await desk(deps, admin)
    point_id = await a_point(here)
    order, _ = await paid_order(deps, wechat, 2)
    stranger, given = await bearer(deps, await make_member(deps)), {"order": str(order.id), "point": point_id}
    assert (await shop.ask(SET_POINT, given, token=stranger))["done"]["code"] == "ORDER_NOT_FOUND"
    assert (await choose(deps, shop, order, str(order.id)))["code"] == "PICK_UP_POINT_NOT_FOUND"
    home = await address.create(
        deps, member_id=order.member_id, wish=HOME, make_default=True, idempotency_key=new_secret(12)
    )
    await order_address.set_address(deps, member_id=order.member_id, order_id=order.id, address_id=home.id)
    assert (await choose(deps, shop, order, point_id))["code"] == "ORDER_ADDRESS_KEPT"
    await here.sent(order.id)
    refused = await choose(deps, shop, order, point_id)
    assert (refused["code"], refused["state"]) == ("FULFILMENT_STATE_REFUSED", "shipped")
    code = (await make_template(deps, claimable=False)).code
    for cash_fen in (0, 100):
        coupon = await exchanged(deps, kind="coupon", target_code=code, cash_fen=cash_fen)
        assert (await choose(deps, shop, coupon, point_id))["code"] == "FULFILMENT_STATE_REFUSED"
        with pytest.raises(FulfilmentStateRefused):
            await order_address.set_address(deps, member_id=coupon.member_id, order_id=coupon.id, address_id=home.id)


async def test_a_code_of_somebody_elses_order_is_not_shown(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order = await waiting(deps, admin, wechat)
    stranger = await bearer(deps, await make_member(deps))
    refused = (await shop.ask(CODE, {"id": str(order.id)}, token=stranger))["done"]
    assert refused["code"] == "ORDER_NOT_FOUND"
    codes = await admin.codes(
        VERIFY,
        {"code": "85" + "0" * 16, "key": new_secret(12)},
        token=await bearer(deps, await make_operator(deps, Role.FINANCE)),
    )
    assert codes == ["FORBIDDEN"]
