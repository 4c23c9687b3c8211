"""Refunds in pieces and after-sale requests through both doors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.payments.after_sale import AfterSaleKind, AfterSaleReason
from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order, OrderLine
from models.payments.after_sale import AfterSale
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.payments import after_sale, after_sale_decision
from resolvers.payments.after_sale import Asked
from resolvers.programme import ProgrammeKind
from tests.coupons import claimed
from tests.doors import Bearer, Door, make_member
from tests.mall import give_points
from tests.refunds import bought, lines_of, standing
from tests.rulebook import published, tiers
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.shelves import make_product, new_sku, sku_of
from tests.store_server import reachable

Tokens = Callable[..., Awaitable[Bearer]]

EFFECT = """
  digest cash shipping pointsBack { lotId amount expiresAt renewed } couponsBack { couponId expiresAt extended }
  clawBack pointsTaken pointsOwed pointsForgiven growthTaken tierBefore tierAfter stockBack { skuId quantity }
"""
PREVIEW = (
    "query($id: ID!, $lines: [RefundLineInput!]) { done: afterSalePreview(orderId: $id, lines: $lines) {"
    "__typename ... on RefundEffect { " + EFFECT + " } ... on Refusal { code } } }"
)
REFUND = (
    "mutation($id: ID!, $lines: [RefundLineInput!]!, $expected: String, $key: IdempotencyKey!) {"
    'done: orderRefundLines(orderId: $id, lines: $lines, reason: "退货", expected: $expected, idempotencyKey: $key) {'
    "__typename ... on OrderRefunded { order { id state refunded refunding } } ... on Refusal { code }"
    "... on RefundLinesInvalid { left } ... on RefundChanged { preview { " + EFFECT + " } } } }"
)
REQUEST = """
mutation($id: ID!, $input: AfterSaleInput!, $key: IdempotencyKey!) {
  done: afterSaleRequest(orderId: $id, input: $input, idempotencyKey: $key) {
    __typename
    ... on AfterSaleChanged { afterSale { id state kind reason text pictures lines { lineId quantity } } }
    ... on Refusal { code } ... on RefundLinesInvalid { left } ... on AfterSaleInvalid { field }
  }
}
"""
APPROVE = """
mutation($id: ID!, $expected: String, $key: IdempotencyKey!) {
  done: afterSaleApprove(id: $id, expected: $expected, idempotencyKey: $key) {
    __typename
    ... on AfterSaleDecided { afterSale { id state memberId decidedById orderRefund { id amount lines { quantity } } } }
    ... on Refusal { code } ... on AfterSaleStateRefused { state }
  }
}
"""
ORDER = (
    "query($id: ID!) { order(id: $id) { state refunded refundParts { state amount effect { "
    + EFFECT
    + " } } lines { id refundedCount refundingCount claimedCount noReasonReturn } timeline { kind } } }"
)


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because the tests publish rules."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def deps(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach; its books hold after every test."""
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


def wanted(*lines: OrderLine, quantity: int | None = None) -> list[dict[str, Any]]:
    return [{"lineId": str(line.id), "quantity": quantity or line.quantity} for line in lines]


async def test_one_of_three_lines_goes_back_pro_rata_and_the_other_two_leave_exactly_nothing(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    await published(deps, ProgrammeKind.POINTS, {"redeem_cap_bp": 10_000, "earn_points": 3})
    await tiers(deps)
    member = await make_member(deps, openid=await wechat.openid())
    mine, support = await member_token(member), await operator_token(Role.SUPPORT)
    await give_points(deps, member.id, 700)
    coupon = await claimed(deps, member.id, amount_fen=1_001)
    skus = {
        await put_on_shelf(deps, price_fen=33_333): 3,
        await put_on_shelf(deps, price_fen=19_999): 1,
        await put_on_shelf(deps, price_fen=77): 7,
    }
    before = await standing(member.id, skus)
    one = await bought(deps, wechat, member.id, skus, points=700, coupons=(coupon.id,))
    paid = await standing(member.id, skus)
    assert paid["membership"] == {"growth_value": one.payable_fen // 100, "tier_code": "silver"}
    first, second, third = await lines_of(one.id)
    assert (first.coupon_fen + second.coupon_fen + third.coupon_fen) == 1_001
    asked = {"id": str(one.id), "lines": wanted(second)}

    preview = (await shop.ask(PREVIEW, asked, token=mine))["done"]
    assert (preview["cash"], preview["couponsBack"], preview["tierBefore"]) == (second.payable_fen, [], "silver")
    earned = paid["account"]["balance"]
    shares = [earned * line.payable_fen // one.payable_fen for line in (first, second, third)]
    assert preview["pointsTaken"] - shares[1] in (0, 1)
    answer = await admin.ask(REFUND, {**asked, "expected": preview["digest"], "key": new_secret(12)}, token=support)
    assert answer["done"]["__typename"] == "OrderRefunded"
    await wechat.settle()
    seen = (await shop.ask(ORDER, {"id": str(one.id)}, token=mine))["order"]
    assert (seen["state"], seen["refunded"]) == ("PAID", second.payable_fen)
    # What would be given back is the same for the shop, and what was given back is what the member was told.
    (part,) = seen["refundParts"]
    assert (part["state"], part["amount"], part["effect"]) == ("DONE", second.payable_fen, without_type(preview))
    half = await standing(member.id, skus)
    assert half["account"]["balance"] == paid["account"]["balance"] - preview["pointsTaken"] + sum(
        lot["amount"] for lot in preview["pointsBack"]
    )
    assert half["membership"]["growth_value"] == paid["membership"]["growth_value"] - preview["growthTaken"]
    assert half["coupons"] == paid["coupons"]

    rest = {"id": str(one.id), "lines": wanted(first, third)}
    preview = (await admin.ask(PREVIEW, rest, token=support))["done"]
    assert [back["couponId"] for back in preview["couponsBack"]] == [str(coupon.id)]
    await admin.ask(REFUND, {**rest, "expected": preview["digest"], "key": new_secret(12)}, token=support)
    await wechat.settle()
    seen = (await shop.ask(ORDER, {"id": str(one.id)}, token=mine))["order"]
    assert (seen["state"], seen["refunded"]) == ("REFUNDED", one.payable_fen)
    assert [line["refundedCount"] for line in seen["lines"]] == [3, 1, 7]
    assert [event["kind"] for event in seen["timeline"]][-4:] == [
        "refund_requested",
        "part_refunded",
        "refund_requested",
        "refunded",
    ]
    assert await standing(member.id, skus) == before


def without_type(preview: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in preview.items() if name != "__typename"}


async def test_a_member_asks_and_an_operator_approves(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    member = await make_member(deps, openid=await wechat.openid())
    mine, support = await member_token(member), await operator_token(Role.SUPPORT)
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    (line,) = await lines_of(one.id)
    wish = {
        "kind": "REFUND_ONLY",
        "reason": "NO_REASON",
        "lines": wanted(line, quantity=1),
        "text": "买多了",
        "pictures": ["https://img.example.com/1.jpg"],
    }
    asked = {"id": str(one.id), "input": wish, "key": "the-first-tap"}
    made = (await shop.ask(REQUEST, asked, token=mine))["done"]["afterSale"]
    assert (await shop.ask(REQUEST, asked, token=mine))["done"]["afterSale"] == made
    assert made["state"] == "REQUESTED"
    assert made["lines"] == wanted(line, quantity=1)
    listed = await shop.ask("{ afterSales { nodes { id state answerBy } } }", token=mine)
    assert [node["id"] for node in listed["afterSales"]["nodes"]] == [made["id"]]
    stranger = await member_token()
    assert (await shop.ask("{ afterSales { nodes { id } } }", token=stranger))["afterSales"]["nodes"] == []
    shown = "query($id: ID!) { afterSale(id: $id) { id } }"
    assert (await shop.ask(shown, {"id": made["id"]}, token=stranger))["afterSale"] is None
    pending = "query($id: ID!) { done: afterSaleRequestPreview(id: $id) { ... on RefundEffect { digest cash } } }"
    preview = (await admin.ask(pending, {"id": made["id"]}, token=support))["done"]
    assert preview == (await shop.ask(pending, {"id": made["id"]}, token=mine))["done"]
    decided = await admin.ask(
        APPROVE, {"id": made["id"], "expected": preview["digest"], "key": new_secret(12)}, token=support
    )
    found = decided["done"]["afterSale"]
    assert (found["memberId"], found["decidedById"]) == (str(member.id), str(support.subject_id))
    await wechat.settle()
    again = await admin.ask(APPROVE, {"id": made["id"], "key": new_secret(12)}, token=support)
    assert again["done"] == {
        "__typename": "AfterSaleStateRefused",
        "code": "AFTER_SALE_STATE_REFUSED",
        "state": "refunded",
    }
    assert (await Order.get(id=one.id)).refunded_fen == 30_000


async def test_refusals_carry_what_they_say_and_change_nothing(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    member = await make_member(deps, openid=await wechat.openid())
    mine, owner = await member_token(member), await operator_token()
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    (line,) = await lines_of(one.id)
    wish = {"kind": "REFUND_ONLY", "reason": "OTHER", "lines": wanted(line, quantity=3)}
    refused = await shop.ask(REQUEST, {"id": str(one.id), "input": wish, "key": new_secret(12)}, token=mine)
    assert refused["done"] == {"__typename": "RefundLinesInvalid", "code": "REFUND_LINES_INVALID", "left": 2}
    for field, change in (("text", {"text": "x" * 201}), ("pictures", {"pictures": ["ftp://x"]})):
        bad = {**wish, "lines": wanted(line), **change}
        refused = await shop.ask(REQUEST, {"id": str(one.id), "input": bad, "key": new_secret(12)}, token=mine)
        assert refused["done"] == {"__typename": "AfterSaleInvalid", "code": "AFTER_SALE_INVALID", "field": field}
    twice = {"id": str(one.id), "lines": wanted(line, line, quantity=1), "key": new_secret(12)}
    assert (await admin.ask(REFUND, twice, token=owner))["done"]["code"] == "REFUND_LINES_INVALID"
    stale = {"id": str(one.id), "lines": wanted(line), "expected": "0" * 32, "key": new_secret(12)}
    refused = (await admin.ask(REFUND, stale, token=owner))["done"]
    assert (refused["__typename"], refused["code"]) == ("RefundChanged", "REFUND_CHANGED")
    assert refused["preview"]["cash"] == 60_000
    found = (await shop.ask(PREVIEW, {"id": str(one.id)}, token=mine))["done"]
    assert without_type(found) == refused["preview"]
    assert (await shop.ask(PREVIEW, {"id": str(one.id)}, token=await member_token()))["done"][
        "code"
    ] == "ORDER_NOT_FOUND"
    assert not await AfterSale.exists(order_id=one.id)
    assert (await Order.get(id=one.id)).refunded_fen == 0


@pytest.mark.parametrize(
    "document",
    [
        "{ afterSales { nodes { id } } }",
        'mutation { afterSaleApprove(id: "%s", idempotencyKey: "12345678") { __typename } }',
        'mutation { afterSaleReject(id: "%s", words: "x", idempotencyKey: "12345678") { __typename } }',
        'mutation { afterSaleReceive(id: "%s", idempotencyKey: "12345678") { __typename } }',
        'mutation { orderRefundAskAnew(orderRefundId: "%s", idempotencyKey: "12345678") { __typename } }',
        '{ afterSalePreview(orderId: "%s") { __typename } }',
        '{ afterSaleRequestPreview(id: "%s") { __typename } }',
    ],
)
async def test_operators_need_the_right(
    deps: Deps, admin: Door, operator_token: Tokens, member_token: Tokens, document: str
) -> None:
    text = document.replace("%s", str(UUID(int=7)))
    assert await admin.codes(text) == ["UNAUTHENTICATED"]
    assert await admin.codes(text, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(text, token=await operator_token(Role.CONTENT_OPERATIONS)) == ["FORBIDDEN"]
    assert await admin.codes(text, token=await operator_token(Role.SUPPORT)) == []


async def test_goods_that_cannot_be_returned_need_the_members_word(
    deps: Deps, shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    product = await make_product(deps, skus=[new_sku()])
    change = (
        "mutation($id: ID!, $key: IdempotencyKey!) { productUpdate(input: {id: $id, noReturnCause: PERISHABLE}, "
        "idempotencyKey: $key) { ... on ProductUpdated { product { noReturnCause } } } }"
    )
    changed = await admin.ask(change, {"id": str(product.id), "key": new_secret(12)}, token=await operator_token())
    assert changed["productUpdate"]["product"]["noReturnCause"] == "PERISHABLE"
    mine, sku = await member_token(), await sku_of(product.id)
    place = """
    mutation($input: OrderPlaceInput!, $key: IdempotencyKey!) {
      done: orderPlace(input: $input, idempotencyKey: $key) {
        ... on OrderPlaced { order { id lines { noReasonReturn } } } ... on Refusal { code }
      }
    }
    """
    wish: dict[str, Any] = {"lines": [{"skuId": str(sku.id), "quantity": 1}]}
    refused = await shop.ask(place, {"input": wish, "key": new_secret(12)}, token=mine)
    assert refused["done"] == {"code": "NO_RETURN_NOT_ACCEPTED"}
    assert not await Order.exists(member_id=mine.subject_id)
    wish["acceptsNoReturn"] = True
    placed = await shop.ask(place, {"input": wish, "key": new_secret(12)}, token=mine)
    assert placed["done"]["order"]["lines"] == [{"noReasonReturn": False}]


async def test_lists_of_requests_take_the_same_statements_for_1_and_20(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    member = await make_member(deps)
    await published(deps, ProgrammeKind.POINTS, {"redeem_cap_bp": 10_000})
    await give_points(deps, member.id, 100 * 20)
    boss = await operator_token()
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=100): 20}, points=2_000)
    (line,) = await lines_of(one.id)
    for number in range(20):
        asked = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 1})
        row = await after_sale.request(
            deps, member_id=member.id, order_id=one.id, asked=asked, idempotency_key=new_secret(12)
        )
        if number % 2:
            await after_sale_decision.approve(
                deps,
                operator_id=boss.subject_id,
                after_sale_id=row.id,
                words="",
                expected=None,
                idempotency_key=new_secret(12),
            )
    mine = await member_token(await Member.get(id=member.id))
    document = (
        "query($first: Int!) { afterSales(first: $first) { nodes { id lines { lineId } "
        "orderRefund { id lines { lineId quantity } effect { cash } } } } }"
    )
    for door, token in ((shop, mine), (admin, boss)):
        await door.ask("{ serverInfo { time } }", token=token)
        counts = set()
        for first in (2, 20):
            counter = SqlCount()
            mark = sql_count.set(counter)
            data = await door.ask(document, {"first": first}, token=token)
            sql_count.reset(mark)
            counts.add(counter.value)
            assert len(data["afterSales"]["nodes"]) == first
        assert len(counts) == 1
    refunded = await rows("SELECT refunded_count FROM order_line WHERE id = $1", [line.id])
    assert refunded == [{"refunded_count": 10}]
