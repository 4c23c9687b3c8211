"""Parcels and receipt through both doors."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.delivery.fulfilment import RECEIVE_AFTER
from loyalty.payments.after_sale import AfterSaleKind
from loyalty.people.rights import Role
from models.delivery.fulfilment import ShippingUpload
from models.engine import rows
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.people.member import Member
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.payments import after_sale, refund
from resolvers.points import points_mall
from tests.doors import Bearer, Door, bearer, make_member, make_operator
from tests.fulfilled import PARCEL, desk, paid_order, seen
from tests.mall import give_points, make_item
from tests.refunds import ask_back
from tests.sandbox_server import SandboxControl

Tokens = Callable[..., Awaitable[Bearer]]

CONFIRM = """
mutation ($id: ID!) {
  done: orderConfirmReceipt(orderId: $id) {
    __typename
    ... on OrderChanged { order { fulfilment completedAt } }
    ... on FulfilmentStateRefused { code state }
    ... on OrderStateRefused { code state }
    ... on Refusal { code }
  }
}
"""
VOID = """
mutation ($id: ID!) {
  done: parcelVoid(parcelId: $id) { __typename ... on ParcelKept { parcel { id voidedAt } } ... on Refusal { code } }
}
"""
CORRECT = """
mutation ($id: ID!, $carrier: String!, $number: String!, $key: IdempotencyKey!) {
  done: parcelCorrect(parcelId: $id, carrier: $carrier, trackingNumber: $number, idempotencyKey: $key) {
    __typename ... on ParcelKept { parcel { carrier trackingNumber } } ... on Refusal { code }
  }
}
"""
IMPORT = """
mutation ($rows: [ParcelImportRow!]!) {
  done: parcelImport(rows: $rows) {
    __typename
    ... on ParcelsImported { rows { position parcel { id trackingNumber } code message } }
    ... on Refusal { code }
  }
}
"""
TO_SHIP = """
query ($first: Int!, $after: String) {
  done: orders(first: $first, after: $after, fulfilment: TO_SHIP, state: PAID) {
    nodes { id fulfilment } pageInfo { hasNextPage endCursor }
  }
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: everything that is due is done here."""
    return own_store_url


async def confirm(deps: Deps, shop: Door, order: Order) -> dict[str, Any]:
    token = await bearer(deps, await Member.get(id=order.member_id))
    found: dict[str, Any] = (await shop.ask(CONFIRM, {"id": str(order.id)}, token=token))["done"]
    return found


def kinds(order: dict[str, Any]) -> list[str]:
    return [event["event"] for event in order["timeline"]]


async def test_a_paid_order_is_to_be_shipped_and_goes_off_in_parcels(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (first, _) = await paid_order(deps, wechat, 3, 1)
    assert (await seen(deps, shop, order))["fulfilment"] == "TO_SHIP"
    here = await desk(deps, admin)
    parcel = await here.sent(order.id, (first, 2), carrier="yto", number="YT6728388910274")
    assert (parcel["carrier"], parcel["trackingNumber"]) == ("YTO", "YT6728388910274")
    assert parcel["lines"] == [{"lineId": str(first), "quantity": 2}]
    partly = await seen(deps, shop, order)
    assert (partly["fulfilment"], partly["receiveBy"]) == ("PARTLY_SHIPPED", None)
    assert [line["shippedCount"] for line in partly["lines"]] == [2, 0]
    await here.sent(order.id)
    whole = await seen(deps, shop, order)
    assert whole["fulfilment"] == "SHIPPED"
    assert datetime.fromisoformat(whole["receiveBy"]) == deps.clock.now() + RECEIVE_AFTER
    assert [[line["quantity"] for line in one["lines"]] for one in whole["parcels"]] == [[2], [1, 1]]
    assert kinds(whole) == ["PLACED", "PAID", "PARCEL_SENT", "PARCEL_SENT", "SHIPPED"]
    assert whole["timeline"][-1] == {"kind": "shipped", "event": "SHIPPED", "title": "已全部发货"}
    assert await AuditRow.filter(action="parcel.create", subject_id=str(order.id)).count() == 2


async def test_the_timeline_is_read_in_english_too(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    order, _ = await paid_order(deps, wechat)
    token = await bearer(deps, await Member.get(id=order.member_id))
    document = "query ($id: ID!) { order(id: $id) { timeline { title } } }"
    told = await shop.ask(document, {"id": str(order.id)}, token=token, accept_language="en")
    assert [event["title"] for event in told["order"]["timeline"]] == ["Placed", "Paid"]


async def test_a_kind_that_is_not_known_yet_is_told_as_it_is(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    order, _ = await paid_order(deps, wechat)
    await rows(
        "INSERT INTO order_event (id, order_id, kind, details, at) VALUES ($1, $2, 'teleported', '{}', $3)",
        [new_id(deps.clock.now()), order.id, deps.clock.now()],
    )
    assert (await seen(deps, shop, order))["timeline"][-1] == {"kind": "teleported", "event": None, "title": ""}


async def test_more_than_is_left_is_refused_and_nothing_changes(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    here = await desk(deps, admin)
    await here.sent(order.id, (line, 1))
    before = await seen(deps, shop, order)
    answer = await here.send(order.id, (line, 2))
    assert answer == {"__typename": "ParcelTooMuch", "code": "PARCEL_TOO_MUCH", "left": 1}
    assert await seen(deps, shop, order) == before


async def test_what_was_refunded_is_not_sent(deps: Deps, shop: Door, admin: Door, wechat: SandboxControl) -> None:
    order, (first, _) = await paid_order(deps, wechat, 2, 1)
    await rows("UPDATE order_line SET refunded_count = 1 WHERE id = $1", [first])
    here = await desk(deps, admin)
    assert (await here.send(order.id, (first, 2)))["code"] == "PARCEL_TOO_MUCH"
    parcel = await here.sent(order.id)
    assert [line["quantity"] for line in parcel["lines"]] == [1, 1]
    assert (await seen(deps, shop, order))["fulfilment"] == "SHIPPED"


async def test_what_is_asked_back_stays_here_until_the_request_is_decided(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (line, other) = await paid_order(deps, wechat, 3, 1)
    asked = await ask_back(deps, order, {line: 2, other: 1})
    here = await desk(deps, admin)
    assert (await here.send(order.id, (line, 2)))["code"] == "PIECES_CLAIMED"
    parcel = await here.sent(order.id)
    assert [(row["lineId"], row["quantity"]) for row in parcel["lines"]] == [(str(line), 1)]
    assert (await here.send(order.id))["code"] == "PIECES_CLAIMED"
    listed = [{"orderNumber": order.number, "carrier": "SF", "trackingNumber": "SF1234567890"}]
    assert [row["code"] for row in (await here.ask(IMPORT, rows=listed))["rows"]] == ["PIECES_CLAIMED"]
    assert (await seen(deps, shop, order))["fulfilment"] == "PARTLY_SHIPPED"
    await after_sale.withdraw(deps, member_id=order.member_id, after_sale_id=asked.id)
    assert [row["code"] for row in (await here.ask(IMPORT, rows=listed))["rows"]] == [None]
    assert (await seen(deps, shop, order))["fulfilment"] == "SHIPPED"


async def test_a_return_of_what_was_sent_keeps_nothing_else_here(
    deps: Deps, admin: Door, wechat: SandboxControl
) -> None:
    order, (line,) = await paid_order(deps, wechat, 3)
    here = await desk(deps, admin)
    await here.sent(order.id, (line, 2))
    await ask_back(deps, order, {line: 2}, kind=AfterSaleKind.RETURN_AND_REFUND)
    assert [row["quantity"] for row in (await here.sent(order.id))["lines"]] == [1]


@pytest.mark.parametrize(("sent_before", "asked", "goes_now"), [(2, 2, 1), (2, 1, 1), (0, 2, 1), (1, 2, 1)])
async def test_while_money_goes_back_only_unsent_pieces_of_it_stay_here(
    deps: Deps, admin: Door, wechat: SandboxControl, sent_before: int, asked: int, goes_now: int
) -> None:
    order, (line,) = await paid_order(deps, wechat, 3)
    here = await desk(deps, admin)
    if sent_before:
        await here.sent(order.id, (line, sent_before))
    await wechat.script_refunds(status="PROCESSING")
    boss = await make_operator(deps)
    await refund.refund_lines(
        deps,
        operator_id=boss.id,
        order_id=order.id,
        pieces={line: asked},
        reason="退货",
        shops_fault=False,
        goods_come_back=True,
        expected=None,
        idempotency_key=new_secret(12),
    )
    assert (await here.send(order.id, (line, goes_now + 1)))["code"] == "PARCEL_TOO_MUCH"
    assert [row["quantity"] for row in (await here.sent(order.id))["lines"]] == [goes_now]


async def test_a_key_that_comes_again_gets_the_same_parcel(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    here, key = await desk(deps, admin), new_secret(12)
    once = await here.send(order.id, (line, 1), number="YT1234567", key=key)
    assert await here.send(order.id, (line, 1), number="YT1234567", key=key) == once
    assert (await here.send(order.id, (line, 1), number="YT7654321", key=key))["code"] == "KEY_REUSED"
    assert (await here.send(order.id, (line, 1), number="YT1234567"))["code"] == "PARCEL_KNOWN"
    assert len((await seen(deps, shop, order))["parcels"]) == 1


async def test_a_parcel_is_voided_until_the_order_is_received(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    here = await desk(deps, admin)
    first, second = await here.sent(order.id, (line, 1)), await here.sent(order.id)
    voided = await here.ask(VOID, id=second["id"])
    assert voided["parcel"]["voidedAt"]
    assert await here.ask(VOID, id=second["id"]) == voided
    back = await seen(deps, shop, order)
    assert (back["fulfilment"], back["receiveBy"]) == ("PARTLY_SHIPPED", None)
    await here.ask(VOID, id=first["id"])
    assert (await seen(deps, shop, order))["fulfilment"] == "TO_SHIP"
    again = await here.sent(order.id)
    assert (await confirm(deps, shop, order))["order"]["fulfilment"] == "RECEIVED"
    refused = await here.ask(VOID, id=again["id"])
    assert refused == {"__typename": "FulfilmentStateRefused", "code": "FULFILMENT_STATE_REFUSED"}
    assert (await here.ask(VOID, id=str(new_id(deps.clock.now()))))["code"] == "PARCEL_NOT_FOUND"


async def test_a_tracking_number_is_corrected(deps: Deps, shop: Door, admin: Door, wechat: SandboxControl) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    here, key = await desk(deps, admin), new_secret(12)
    first = await here.sent(order.id, (line, 1), number="YT0000001")
    await here.sent(order.id, number="YT0000002")
    wanted = {"id": first["id"], "carrier": "zto", "number": "ZTO0000001"}
    told = await here.ask(CORRECT, **wanted, key=key)
    assert told["parcel"] == {"carrier": "ZTO", "trackingNumber": "ZTO0000001"}
    assert await here.ask(CORRECT, **wanted, key=key) == told
    clash = await here.ask(CORRECT, id=first["id"], carrier="YTO", number="YT0000002", key=new_secret(12))
    assert clash["code"] == "PARCEL_KNOWN"
    assert kinds(await seen(deps, shop, order)).count("PARCEL_CHANGED") == 1
    row = await AuditRow.get(action="parcel.correct", subject_id=str(order.id))
    assert (row.before, row.after) == (
        {"carrier": "YTO", "tracking_number": "YT0000001"},
        {"carrier": "ZTO", "tracking_number": "ZTO0000001"},
    )


async def test_an_import_answers_row_by_row_and_can_come_again(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, _ = await paid_order(deps, wechat, 2, 1)
    other, _ = await paid_order(deps, wechat)
    here = await desk(deps, admin)
    listed = [
        {"orderNumber": f" {order.number} ", "carrier": "sf", "trackingNumber": "SF1234567890"},
        {"orderNumber": "0" * 24, "carrier": "SF", "trackingNumber": "SF1234567891"},
        {"orderNumber": other.number, "carrier": "SF", "trackingNumber": "?"},
        {"orderNumber": order.number, "carrier": "SF", "trackingNumber": "SF1234567892"},
        {"orderNumber": other.number, "carrier": "SF", "trackingNumber": "SF1234567893"},
    ]
    told = (await here.ask(IMPORT, rows=listed))["rows"]
    assert [row["code"] for row in told] == [
        None,
        "ORDER_NOT_FOUND",
        "TRACKING_NUMBER_INVALID",
        "FULFILMENT_STATE_REFUSED",
        None,
    ]
    assert told[1]["message"] == "订单不存在"
    assert [row["parcel"] and row["parcel"]["trackingNumber"] for row in told] == [
        "SF1234567890",
        None,
        None,
        None,
        "SF1234567893",
    ]
    assert (await here.ask(IMPORT, rows=listed))["rows"] == told
    assert (await seen(deps, shop, order))["fulfilment"] == "SHIPPED"
    assert (
        await rows("SELECT 1 FROM parcel WHERE order_id = ANY($1::uuid[])", [[order.id, other.id]])
        == [{"?column?": 1}] * 2
    )
    assert (await here.ask(IMPORT, rows=[]))["code"] == "PARCEL_IMPORT_INVALID"


async def test_the_member_confirms_receipt_of_what_was_shipped_once(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, (line,) = await paid_order(deps, wechat, 2)
    assert await confirm(deps, shop, order) == {
        "__typename": "FulfilmentStateRefused",
        "code": "FULFILMENT_STATE_REFUSED",
        "state": "to_ship",
    }
    here = await desk(deps, admin)
    await here.sent(order.id, (line, 1))
    assert (await confirm(deps, shop, order))["state"] == "partly_shipped"
    await here.sent(order.id)
    received = await confirm(deps, shop, order)
    assert datetime.fromisoformat(received["order"]["completedAt"]) == deps.clock.now()
    assert await confirm(deps, shop, order) == received
    told = await seen(deps, shop, order)
    assert (told["receiveBy"], kinds(told).count("RECEIVED")) == (None, 1)
    assert (await here.send(order.id))["state"] == "received"


async def test_somebody_elses_order_is_not_found(deps: Deps, shop: Door, admin: Door, wechat: SandboxControl) -> None:
    order, _ = await paid_order(deps, wechat)
    await (await desk(deps, admin)).sent(order.id)
    stranger = await bearer(deps, await make_member(deps))
    assert (await shop.ask(CONFIRM, {"id": str(order.id)}, token=stranger))["done"]["code"] == "ORDER_NOT_FOUND"
    assert (await Order.get(id=order.id)).fulfilment_state == "shipped"


async def test_silence_counts_as_receipt_from_the_tenth_day_on(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await (await desk(deps, admin)).sent(order.id)
    clock.advance(RECEIVE_AFTER - timedelta(seconds=1))
    await run_due(deps)
    assert (await Order.get(id=order.id)).fulfilment_state == "shipped"
    clock.advance(timedelta(seconds=1))
    await run_due(deps)
    told = await Order.get(id=order.id)
    assert (told.fulfilment_state, told.completed_at, told.receive_due_at) == ("received", clock.now(), None)


async def test_receipt_waits_a_day_while_the_order_is_being_refunded(
    deps: Deps, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    order, _ = await paid_order(deps, wechat)
    await (await desk(deps, admin)).sent(order.id)
    await rows("UPDATE shop_order SET state = 'refunding' WHERE id = $1", [order.id])
    clock.advance(RECEIVE_AFTER)
    await fulfilment.receive_by_time(deps, order_id=order.id, member_id=order.member_id)
    waiting = await Order.get(id=order.id)
    assert (waiting.fulfilment_state, waiting.receive_due_at) == ("shipped", clock.now() + timedelta(days=1))
    await rows("UPDATE shop_order SET state = 'refunded' WHERE id = $1", [order.id])
    clock.advance(timedelta(days=1))
    await fulfilment.receive_by_time(deps, order_id=order.id, member_id=order.member_id)
    given_back = await Order.get(id=order.id)
    assert (given_back.fulfilment_state, given_back.receive_due_at) == ("shipped", None)


async def test_nothing_is_sent_of_an_order_that_is_not_paid_or_was_refunded(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl
) -> None:
    order, _ = await paid_order(deps, wechat)
    boss = await make_operator(deps)
    await refund.refund_order(
        deps, operator_id=boss.id, order_id=order.id, reason="缺货", idempotency_key=new_secret(12)
    )
    here = await desk(deps, admin)
    answer = await here.send(order.id)
    assert answer["__typename"] == "OrderStateRefused"
    assert (await confirm(deps, shop, order))["code"] == "ORDER_STATE_REFUSED"
    assert (await here.send(UUID(int=7)))["code"] == "ORDER_NOT_FOUND"


@pytest.mark.parametrize(
    ("role", "codes"),
    [(None, ["UNAUTHENTICATED"]), (Role.FINANCE, ["FORBIDDEN"]), (Role.STAFF, [])],
)
async def test_parcels_need_their_right(
    deps: Deps, admin: Door, wechat: SandboxControl, role: str | None, codes: list[str]
) -> None:
    order, _ = await paid_order(deps, wechat)
    token = None if role is None else await bearer(deps, await make_operator(deps, role))
    given = {"orderId": str(order.id), "carrier": "YTO", "trackingNumber": "YT6728388910274"}
    assert await admin.codes(PARCEL, {"input": given, "key": new_secret(12)}, token=token) == codes
    assert (await Order.get(id=order.id)).fulfilment_state == ("to_ship" if codes else "shipped")


async def test_the_orders_to_ship_are_listed_by_key(deps: Deps, admin: Door, wechat: SandboxControl) -> None:
    mine = [(await paid_order(deps, wechat))[0] for _ in range(3)]
    here = await desk(deps, admin)
    await here.sent(mine[1].id)
    first = await here.ask(TO_SHIP, first=1, after=None)
    second = await here.ask(TO_SHIP, first=1, after=first["pageInfo"]["endCursor"])
    assert [node["id"] for node in first["nodes"] + second["nodes"]] == [str(mine[2].id), str(mine[0].id)]


async def _exchanged(deps: Deps, **fields: Any) -> Order:
    member = await make_member(deps)
    await give_points(deps, member.id, 5_000)
    item = await make_item(deps, **fields)
    return await points_mall.exchange(
        deps,
        member_id=member.id,
        item_id=item.id,
        quantity=1,
        expected_points=500,
        expected_fen=0,
        idempotency_key=new_secret(12),
    )


async def test_goods_of_the_points_mall_are_shipped_and_wechat_knows_nothing_of_them(
    deps: Deps, shop: Door, admin: Door
) -> None:
    order = await _exchanged(deps)
    assert (await seen(deps, shop, order))["fulfilment"] == "TO_SHIP"
    await (await desk(deps, admin)).sent(order.id)
    assert (await confirm(deps, shop, order))["order"]["fulfilment"] == "RECEIVED"
    assert not await ShippingUpload.exists(order_id=order.id)


async def test_an_exchange_without_goods_is_complete_when_it_is_paid(deps: Deps, shop: Door, admin: Door) -> None:
    order = await _exchanged(deps, kind="charity", target_code="trees")
    told = await seen(deps, shop, order)
    assert told["fulfilment"] == "NONE"
    assert datetime.fromisoformat(told["completedAt"]) == deps.clock.now()
    assert (await (await desk(deps, admin)).send(order.id))["state"] == "none"
    assert (await confirm(deps, shop, order))["state"] == "none"


async def test_a_refund_of_what_was_not_sent_ends_what_is_owed(
    deps: Deps, admin: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    whole, _ = await paid_order(deps, wechat)
    partly, (first, _) = await paid_order(deps, wechat, 1, 1)
    await (await desk(deps, admin)).sent(partly.id, (first, 1))
    boss = await make_operator(deps)
    for order in (whole, partly):
        await refund.refund_order(
            deps, operator_id=boss.id, order_id=order.id, reason="缺货", idempotency_key=new_secret(12)
        )
    clock.advance(timedelta(minutes=15))
    await wechat.advance(15 * 60)
    await run_due(deps)
    found = [await Order.get(id=order.id) for order in (whole, partly)]
    assert [(order.state, order.fulfilment_state) for order in found] == [("refunded", "none"), ("refunded", "shipped")]
    assert [order.receive_due_at for order in found] == [None, None]
