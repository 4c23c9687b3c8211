"""What members and forgers may send about orders: a clear code each, and every table as it was."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from cache import engine as valkey
from loyalty.people.session import MEMBER_ACCESS_TTL
from models.engine import rows
from models.ids import new_id, new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.token import TokenIssuer
from tests.doors import Bearer, Door, doors_app
from tests.shelf import put_on_shelf
from tests.tables import everything

Tokens = Callable[..., Awaitable[Bearer]]
PLACE = """
mutation($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id } } ... on Refusal { code message }
    ... on OutOfStock { skuId left } ... on PurchaseLimitReached { limit bought }
  }
}
"""
BY_ID = {
    "orderPay": "mutation($id: ID!) { done: orderPay(orderId: $id) { ... on Refusal { code } } }",
    "orderCancel": "mutation($id: ID!) { done: orderCancel(orderId: $id) { ... on Refusal { code } } }",
    "orderConfirmPayment": "mutation($id: ID!) { done: orderConfirmPayment(orderId: $id) { ... on Refusal { code } } }",
}
ORDER = "query($id: ID!) { done: order(id: $id) { id } }"


async def refused(shop: Door, token: Bearer, lines: object, **more: object) -> str:
    """The code with which an order is refused, by the rule or at the door; nothing may have changed."""
    before = await everything()
    body = {"input": {"lines": lines, **more}, "key": new_secret(12)}
    answer = (await shop.send(PLACE, body, token=token)).json()
    assert await everything() == before
    if "errors" in answer:
        (error,) = answer["errors"]
        return str(error["extensions"]["code"])
    assert answer["data"]["done"]["message"]
    return str(answer["data"]["done"]["code"])


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (0, "QUANTITY_INVALID"),
        (-1, "QUANTITY_INVALID"),
        (1_000, "QUANTITY_INVALID"),
        (-(2**31), "QUANTITY_INVALID"),
        (2**31 - 1, "QUANTITY_INVALID"),
        (2**31, "BAD_INPUT"),
        (2**53, "BAD_INPUT"),
        (2**63, "BAD_INPUT"),
        (10**40, "BAD_INPUT"),
        (1.5, "BAD_INPUT"),
        ("1", "BAD_INPUT"),
        (True, "BAD_INPUT"),
        (None, "BAD_INPUT"),
        (101, "OUT_OF_STOCK"),
    ],
)
async def test_a_quantity_that_cannot_be(
    shop: Door, deps: Deps, member_token: Tokens, quantity: object, code: str
) -> None:
    sku_id = str(await put_on_shelf(deps, stock_left=100))
    assert await refused(shop, await member_token(), [{"skuId": sku_id, "quantity": quantity}]) == code


@pytest.mark.parametrize(
    ("points", "code"),
    [
        (-1, "POINTS_STEP"),
        (-100, "POINTS_STEP"),
        (1, "POINTS_STEP"),
        (99, "POINTS_STEP"),
        (101, "POINTS_STEP"),
        (100, "POINTS_SHORT"),
        (2**31, "POINTS_STEP"),
        (2**53 - 1, "POINTS_STEP"),
        (900_000_000_000_000, "POINTS_CAP_EXCEEDED"),
        (2**53, "BAD_INPUT"),
        (2**63, "BAD_INPUT"),
        (0.5, "BAD_INPUT"),
        ("100", "BAD_INPUT"),
    ],
)
async def test_points_that_cannot_be_used(
    shop: Door, deps: Deps, member_token: Tokens, points: object, code: str
) -> None:
    sku_id = str(await put_on_shelf(deps))
    assert await refused(shop, await member_token(), [{"skuId": sku_id, "quantity": 1}], points=points) == code


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (9_999, "AMOUNT_CHANGED"),
        (-1, "AMOUNT_CHANGED"),
        (0, "AMOUNT_CHANGED"),
        (2**31, "AMOUNT_CHANGED"),
        (-(2**53) + 1, "AMOUNT_CHANGED"),
        (2**53, "BAD_INPUT"),
        (2**63, "BAD_INPUT"),
        (100.0, "BAD_INPUT"),
        ("10000", "BAD_INPUT"),
    ],
)
async def test_a_price_that_is_not_the_price(
    shop: Door, deps: Deps, member_token: Tokens, expected: object, code: str
) -> None:
    sku_id = str(await put_on_shelf(deps, price_fen=10_000))
    lines = [{"skuId": sku_id, "quantity": 1}]
    assert await refused(shop, await member_token(), lines, expectedPayable=expected) == code


async def test_lines_that_are_none_too_many_or_no_lines(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    skus = [str(await put_on_shelf(deps)) for _ in range(51)]
    lines = [{"skuId": sku_id, "quantity": 1} for sku_id in skus]
    assert await refused(shop, mine, []) == "LINE_COUNT_INVALID"
    assert await refused(shop, mine, lines) == "LINE_COUNT_INVALID"
    assert await refused(shop, mine, lines[:1] * 51) == "LINE_COUNT_INVALID"
    assert await refused(shop, mine, lines[:1] * 501) == "BAD_INPUT"
    assert await refused(shop, mine, None) == "BAD_INPUT"
    assert await refused(shop, mine, [None]) == "BAD_INPUT"
    assert await refused(shop, mine, [{"skuId": skus[0]}]) == "BAD_INPUT"
    assert await refused(shop, mine, [{**lines[0], "price": 1}]) == "BAD_INPUT"
    data = await shop.ask(PLACE, {"input": {"lines": lines[:50]}, "key": new_secret(12)}, token=mine)
    assert data["done"]["__typename"] == "OrderPlaced"


async def test_two_lines_of_one_sku_are_measured_together(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    scarce, limited = await put_on_shelf(deps, stock_left=5), await put_on_shelf(deps, purchase_limit=5)
    beside = {"skuId": str(await put_on_shelf(deps)), "quantity": 1}
    for sku_id, code in ((scarce, "OUT_OF_STOCK"), (limited, "PURCHASE_LIMIT_REACHED")):
        line = {"skuId": str(sku_id), "quantity": 3}
        assert await refused(shop, mine, [line, beside, line]) == code
    many = {"skuId": str(await put_on_shelf(deps, stock_left=5_000)), "quantity": 500}
    assert await refused(shop, mine, [many, many]) == "QUANTITY_INVALID"
    small = [{"skuId": str(scarce), "quantity": quantity} for quantity in (2, 3)]
    data = await shop.ask(PLACE, {"input": {"lines": small}, "key": new_secret(12)}, token=mine)
    assert data["done"]["__typename"] == "OrderPlaced"
    kept = await rows("SELECT quantity FROM order_line WHERE order_id = $1", [UUID(data["done"]["order"]["id"])])
    assert kept == [{"quantity": 5}]


@pytest.mark.parametrize("remark", ["x" * 201, "茶" * 201, "👩‍👩‍👧‍👦" * 30])
async def test_a_remark_that_is_too_long(shop: Door, deps: Deps, member_token: Tokens, remark: str) -> None:
    line = {"skuId": str(await put_on_shelf(deps)), "quantity": 1}
    assert await refused(shop, await member_token(), [line], remark=remark) == "REMARK_TOO_LONG"


@pytest.mark.parametrize("remark", ["\0", "请\0快", None, 7, []])
async def test_a_remark_that_is_no_text(shop: Door, deps: Deps, member_token: Tokens, remark: object) -> None:
    line = {"skuId": str(await put_on_shelf(deps)), "quantity": 1}
    assert await refused(shop, await member_token(), [line], remark=remark) == "BAD_INPUT"


@pytest.mark.parametrize("sku_id", ["", "1", "nobody", "\0", 7, None, "01930000-0000-7000-8000-00000000000g"])
async def test_an_id_that_is_none(shop: Door, member_token: Tokens, sku_id: object) -> None:
    assert await refused(shop, await member_token(), [{"skuId": sku_id, "quantity": 1}]) == "BAD_INPUT"


async def test_an_id_of_something_else_or_of_nothing(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    for sku_id in (new_id(deps.clock.now()), mine.subject_id, UUID(int=0), UUID(int=2**128 - 1)):
        assert await refused(shop, mine, [{"skuId": str(sku_id), "quantity": 1}]) == "SKU_NOT_ON_SALE"


@pytest.mark.parametrize("key", ["", "short", "x" * 65, "with a blank", "键键键键键键键键", "\0" * 8, None, 12_345_678])
async def test_a_key_that_is_none(shop: Door, deps: Deps, member_token: Tokens, key: object) -> None:
    body = {"input": {"lines": [{"skuId": str(await put_on_shelf(deps)), "quantity": 1}]}, "key": key}
    mine = await member_token()
    before = await everything()
    assert await shop.codes(PLACE, body, token=mine) == ["BAD_INPUT"]
    assert await everything() == before


async def test_an_order_of_somebody_else_is_an_order_that_does_not_exist(
    shop: Door, deps: Deps, member_token: Tokens
) -> None:
    mine, theirs = await member_token(), await member_token()
    lines = [{"skuId": str(await put_on_shelf(deps)), "quantity": 1}]
    made = await shop.ask(PLACE, {"input": {"lines": lines}, "key": new_secret(12)}, token=theirs)
    before = await everything()
    foreign, nowhere = made["done"]["order"]["id"], str(new_id(deps.clock.now()))
    for document in BY_ID.values():
        answers = [(await shop.ask(document, {"id": each}, token=mine))["done"] for each in (foreign, nowhere)]
        assert answers == [{"code": "ORDER_NOT_FOUND"}] * 2
    for each in (foreign, nowhere):
        assert (await shop.ask(ORDER, {"id": each}, token=mine))["done"] is None
    assert await everything() == before


async def test_a_token_that_is_forged_expired_or_of_another_kind_places_nothing(
    shop: Door, deps: Deps, clock: SetClock, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, owner = await member_token(), await operator_token()
    lines = [{"skuId": str(await put_on_shelf(deps)), "quantity": 1}]
    body = {"input": {"lines": lines}, "key": new_secret(12)}
    forger = TokenIssuer({"m1": "f" * 32}, audience="member", ttl=MEMBER_ACCESS_TTL)
    elsewhere = TokenIssuer({"m1": "m" * 32}, audience="operator", ttl=MEMBER_ACCESS_TTL)

    def issued(issuer: TokenIssuer, session_id: UUID = mine.session_id) -> str:
        return issuer.issue(subject_id=mine.subject_id, session_id=session_id, now=clock.now())

    before = await everything()
    for token in (
        issued(forger),
        issued(elsewhere),
        issued(deps.member_tokens, new_id(clock.now())),
        mine[:-2],
        mine.rpartition(".")[0] + ".",
        f"{mine}x",
        "null",
        str(owner),
    ):
        response = await shop.send(PLACE, body, token=token)
        assert response.status_code == 401
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert await shop.codes(PLACE, body) == ["UNAUTHENTICATED"]
    clock.advance(MEMBER_ACCESS_TTL + timedelta(seconds=1))
    assert await shop.codes(PLACE, body, token=mine) == ["UNAUTHENTICATED"]
    assert await everything() == before


@pytest.mark.parametrize("first", [0, -1, 51, 2**31 - 1, 2**31, 2**63, 1.5, "20"])
@pytest.mark.parametrize("after", [None, "x" * 5_000])
async def test_a_page_that_cannot_be(shop: Door, member_token: Tokens, first: object, after: str | None) -> None:
    document = "query($first: Int, $after: String) { orders(first: $first, after: $after) { nodes { id } } }"
    variables = {"first": first, "after": after}
    assert await shop.codes(document, variables, token=await member_token()) == ["BAD_INPUT"]


async def test_reads_and_orders_go_on_without_redis(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    lines = [{"skuId": str(await put_on_shelf(deps)), "quantity": 1}]
    away = replace(deps, redis=valkey.connect("redis://127.0.0.1:9/0"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(doors_app(away)), base_url="http://store.test") as http:
        without = Door(http, "/graphql")
        made = await without.ask(PLACE, {"input": {"lines": lines}, "key": new_secret(12)}, token=mine)
        order_id = made["done"]["order"]["id"]
        assert (await without.ask(ORDER, {"id": order_id}, token=mine))["done"] == {"id": order_id}
        assert (await without.ask("{ products(first: 1) { nodes { id } } }", token=mine))["products"]
    await away.redis.aclose()
