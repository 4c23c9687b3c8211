"""Flash sales at both doors: configured by right, sold to members, counted by statements."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.flash_sales.flash_sale import FlashRehearsal
from models.ids import new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_rehearsal, flash_wait
from tests.doors import Bearer, Door, make_member
from tests.flash import Sale, close_sale, make_sale
from tests.resolvers.flash_sales.test_flash_sale import buy
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new: no session of another test is shown in it."""
    return own_store_url


CREATE = """
mutation Create($input: FlashSaleCreateInput!, $key: IdempotencyKey!) {
  done: flashSaleCreate(input: $input, idempotencyKey: $key) {
    __typename
    ... on FlashSaleChanged {
      sale { id title state claimMinutes items { id skuId price stock memberLimit leftCount } }
    }
    ... on ProgrammeInvalid { code field }
    ... on Refusal { code }
  }
}
"""
CHANGE = """
mutation Change($input: FlashSaleChangeInput!, $key: IdempotencyKey!) {
  done: flashSaleChange(input: $input, idempotencyKey: $key) {
    __typename ... on FlashSaleChanged { sale { title items { price } } } ... on Refusal { code }
  }
}
"""
STEP = """
mutation Step($id: ID!, $key: IdempotencyKey!) {
  done: %s(id: $id, idempotencyKey: $key) {
    __typename ... on FlashSaleChanged { sale { state items { leftCount returnedCount } } } ... on Refusal { code }
  }
}
"""
REHEARSE = """
mutation Rehearse($id: ID!, $key: IdempotencyKey!) {
  done: flashSaleRehearse(id: $id, buyers: 5, idempotencyKey: $key) {
    __typename ... on FlashRehearsalStarted { rehearsal { id state buyers result { orders } } } ... on Refusal { code }
  }
}
"""
BUY = """
mutation Buy($item: ID!, $quantity: Int!, $key: IdempotencyKey!) {
  done: flashSalePurchase(input: {itemId: $item, quantity: $quantity}, idempotencyKey: $key) {
    __typename ... on FlashSalePurchased { order { id kind state payable lines { quantity } } }
    ... on FlashLimitReached { code limit bought } ... on Refusal { code }
  }
}
"""
SHOWN = """
{ flashSales { nodes { id title serverTime opensAt opensForYouAt closesAt
  items { id productTitle skuTitle price listPrice stock left soldOut memberLimit bought } } } }
"""
WAITS = "{ flashSaleWaits { nodes { id itemId quantity state ahead claimBy orderId } } }"


def wish(deps: Deps, sku_id: object, **item: Any) -> dict[str, Any]:
    """A session of an hour from now on."""
    now = deps.clock.now()
    return {
        "title": "整点秒杀",
        "opensAt": now.isoformat(),
        "closesAt": (now + timedelta(hours=1)).isoformat(),
        "items": [{"skuId": str(sku_id), "price": 6_000, "stock": 5, "memberLimit": 2, **item}],
    }


async def test_an_operator_configures_publishes_and_closes(
    admin: Door, shop: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    boss = await operator_token(Role.ACTIVITY_OPERATIONS)
    sku_id = await put_on_shelf(deps)

    async def step(verb: str) -> dict[str, Any]:
        found: dict[str, Any] = (await admin.ask(STEP % verb, {"id": sale["id"], "key": new_secret(12)}, token=boss))[
            "done"
        ]
        return found

    wrong = {"input": wish(deps, sku_id, price=10_001), "key": new_secret(12)}
    refused = (await admin.ask(CREATE, wrong, token=boss))["done"]
    assert (refused["code"], refused["field"]) == ("PROGRAMME_INVALID", "items[0].price")
    made = await admin.ask(CREATE, {"input": wish(deps, sku_id), "key": new_secret(12)}, token=boss)
    sale = made["done"]["sale"]
    assert (sale["state"], sale["claimMinutes"]) == ("DRAFT", 10)
    changes = {"id": sale["id"], "title": "晚场", "items": wish(deps, sku_id, price=5_000)["items"]}
    changed = await admin.ask(CHANGE, {"input": changes, "key": new_secret(12)}, token=boss)
    assert changed["done"]["sale"] == {"title": "晚场", "items": [{"price": 5_000}]}
    assert (await step("flashSalePublish"))["sale"] == {
        "state": "PUBLISHED",
        "items": [{"leftCount": 5, "returnedCount": 0}],
    }
    mine = await member_token()
    (shown,) = [one for one in (await shop.ask(SHOWN, token=mine))["flashSales"]["nodes"] if one["id"] == sale["id"]]
    (item,) = shown["items"]
    assert (item["price"], item["left"], item["soldOut"], item["bought"]) == (5_000, 5, False, 0)
    bought = await shop.ask(BUY, {"item": item["id"], "quantity": 2, "key": new_secret(12)}, token=mine)
    order = bought["done"]["order"]
    assert (order["kind"], order["state"], order["payable"]) == ("FLASH", "UNPAID", 10_000)
    again = await shop.ask(BUY, {"item": item["id"], "quantity": 1, "key": new_secret(12)}, token=mine)
    assert again["done"] == {"__typename": "FlashLimitReached", "code": "FLASH_LIMIT_REACHED", "limit": 2, "bought": 2}
    assert (await step("flashSaleClose"))["sale"] == {
        "state": "CLOSED",
        "items": [{"leftCount": 0, "returnedCount": 3}],
    }
    assert (await step("flashSalePublish"))["code"] == "FLASH_SALE_STATE_REFUSED"
    started = await admin.ask(REHEARSE, {"id": sale["id"], "key": new_secret(12)}, token=boss)
    rehearsal = started["done"]["rehearsal"]
    assert (rehearsal["state"], rehearsal["buyers"], rehearsal["result"]) == ("RUNNING", 5, None)
    assert await flash_rehearsal.claim_due(deps, 50)
    await flash_rehearsal.run(deps, rehearsal_id=UUID(rehearsal["id"]))
    seen = await admin.ask(
        "query Seen($id: ID!) { flashRehearsal(id: $id) { state answeredCount failure finishedAt result { orders "
        "seconds p50Ms p99Ms broken items { skuId stock sold } refusals { code count } } } }",
        {"id": rehearsal["id"]},
        token=boss,
    )
    assert seen["flashRehearsal"]["state"] == "DONE", seen
    assert seen["flashRehearsal"]["result"]["items"] == [{"skuId": str(sku_id), "stock": 5, "sold": 5}]


async def test_only_those_with_the_right_touch_a_session(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    sale = await make_sale(deps, published=False)
    variables = {"id": str(sale.id), "key": new_secret(12)}
    assert await admin.codes(STEP % "flashSalePublish", variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(STEP % "flashSalePublish", variables, token=await member_token()) == ["UNAUTHENTICATED"]
    staff = await operator_token(Role.STAFF)
    for document in (STEP % "flashSalePublish", STEP % "flashSaleClose", REHEARSE):
        assert await admin.codes(document, variables, token=staff) == ["FORBIDDEN"]
    new = {"input": wish(deps, sale.sku_id), "key": new_secret(12)}
    assert await admin.codes(CREATE, new, token=staff) == ["FORBIDDEN"]
    read = await admin.ask("query One($id: ID!) { flashSale(id: $id) { state } }", {"id": str(sale.id)}, token=staff)
    assert read == {"flashSale": {"state": "DRAFT"}}


async def test_sold_out_is_answered_over_http_without_a_statement(shop: Door, deps: Deps, member_token: Tokens) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1)
    await buy(deps, sale, (await make_member(deps)).id)
    late = await member_token()
    # Whose token it is was asked once, and is known for a minute.
    await shop.ask(SHOWN, token=late)
    counter = SqlCount()
    mark = sql_count.set(counter)
    answer = await shop.ask(BUY, {"item": str(sale.item_id), "quantity": 1, "key": new_secret(12)}, token=late)
    sql_count.reset(mark)
    assert answer["done"]["code"] == "FLASH_SOLD_OUT"
    assert counter.value == 0


async def test_a_visitor_counts_down_on_the_servers_time(shop: Door, deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, opens_at=clock.now() + timedelta(minutes=3))
    nodes = (await shop.ask(SHOWN))["flashSales"]["nodes"]
    (shown,) = [one for one in nodes if one["id"] == str(sale.id)]
    assert shown["serverTime"] == "2026-11-20T04:00:00Z"
    assert shown["opensAt"] == shown["opensForYouAt"] == "2026-11-20T04:03:00Z"
    assert shown["items"][0]["bought"] is None
    await close_sale(deps, sale)
    assert str(sale.id) not in [one["id"] for one in (await shop.ask(SHOWN))["flashSales"]["nodes"]]


async def test_the_lists_of_flash_sales_take_the_same_statements_for_1_and_10_rows(
    shop: Door, admin: Door, deps: Deps, clock: SetClock, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, owner = await member_token(), await operator_token()
    sales: list[Sale] = []
    for _ in range(10):
        sale = await make_sale(deps, stock=1, member_limit=1)
        await buy(deps, sale, (await make_member(deps)).id)
        await flash_wait.join(
            deps, member_id=mine.subject_id, item_id=sale.item_id, quantity=1, idempotency_key=new_secret(12)
        )
        sales.append(sale)
    await deps.group_commit.idle()
    for door, token, name, fields in (
        (shop, mine, "flashSales", "id opensForYouAt items { id left soldOut bought }"),
        (shop, mine, "flashSaleWaits", "id state ahead"),
        (admin, owner, "flashSales", "id state items { id leftCount }"),
    ):
        counts = {}
        for size in (1, 10):
            document = f"{{ {name}(first: {size}) {{ nodes {{ {fields} }} pageInfo {{ hasNextPage }} }} }}"
            await door.ask(document, token=token)
            counter = SqlCount()
            mark = sql_count.set(counter)
            assert len((await door.ask(document, token=token))[name]["nodes"]) == size
            sql_count.reset(mark)
            counts[size] = counter.value
        assert counts[1] == counts[10], (name, counts)
    for number in range(3):
        row = await flash_rehearsal.start(
            deps, operator_id=sales[0].operator_id, sale_id=sales[0].id, buyers=1, idempotency_key=new_secret(12)
        )
        await FlashRehearsal.filter(id=row.id).update(
            state="failed", failure=str(number), due_at=None, finished_at=clock.now()
        )
    found = await admin.ask(
        "query All($id: ID!) { flashRehearsals(saleId: $id) { nodes { failure result { orders } } } }",
        {"id": str(sales[0].id)},
        token=owner,
    )
    assert [one["failure"] for one in found["flashRehearsals"]["nodes"]] == ["2", "1", "0"]


async def test_a_member_queues_leaves_and_sees_the_place(shop: Door, deps: Deps, member_token: Tokens) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1)
    await buy(deps, sale, (await make_member(deps)).id)
    mine = await member_token()
    join = """
    mutation Join($item: ID!, $key: IdempotencyKey!) {
      done: flashSaleWait(itemId: $item, idempotencyKey: $key) {
        ... on FlashWaitChanged { wait { id state ahead } } ... on Refusal { code }
      }
    }
    """
    leave = """
    mutation Leave($id: ID!) {
      done: flashSaleWaitLeave(waitId: $id) {
        ... on FlashWaitChanged { wait { state ahead } } ... on Refusal { code }
      }
    }
    """
    joined = (await shop.ask(join, {"item": str(sale.item_id), "key": new_secret(12)}, token=mine))["done"]["wait"]
    assert (joined["state"], joined["ahead"]) == ("WAITING", 0)
    (place,) = (await shop.ask(WAITS, token=mine))["flashSaleWaits"]["nodes"]
    assert (place["id"], place["itemId"], place["quantity"]) == (joined["id"], str(sale.item_id), 1)
    thief = await member_token()
    assert (await shop.ask(leave, {"id": joined["id"]}, token=thief))["done"] == {"code": "FLASH_WAIT_NOT_FOUND"}
    left = (await shop.ask(leave, {"id": joined["id"]}, token=mine))["done"]["wait"]
    assert left == {"state": "LEFT", "ahead": None}
