"""The cart through the shop's door."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows
from models.ids import new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import Bearer, Door
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

LINES = "skuId quantity selected availability left listPrice yourPrice productTitle skuTitle updatedAt"
CART = f"""
fragment All on Cart {{
  pieces lines {{ {LINES} }}
  quote {{
    __typename
    ... on OrderQuote {{ payable goods }}
    ... on Refusal {{ code }}
  }}
}}
"""
ADD = f"""
mutation($sku: ID!, $quantity: Int! = 1, $key: IdempotencyKey!) {{
  done: cartAdd(skuId: $sku, quantity: $quantity, idempotencyKey: $key) {{
    __typename
    ... on CartChanged {{ cart {{ ...All }} }}
    ... on CartFull {{ most }}
    ... on Refusal {{ code }}
  }}
}}
{CART}
"""
SET = f"""
mutation($sku: ID!, $quantity: Int!) {{
  done: cartSetQuantity(skuId: $sku, quantity: $quantity) {{
    ... on CartChanged {{ cart {{ ...All }} }} ... on Refusal {{ code }}
  }}
}}
{CART}
"""
SELECT = f"""
mutation($skus: [ID!], $selected: Boolean!) {{
  done: cartSelect(skuIds: $skus, selected: $selected) {{ ... on CartChanged {{ cart {{ ...All }} }} }}
}}
{CART}
"""
REMOVE = f"""
mutation($skus: [ID!]!) {{ done: cartRemove(skuIds: $skus) {{ ... on CartChanged {{ cart {{ ...All }} }} }} }}
{CART}
"""
CLEAR = "mutation { done: cartClear { ... on CartChanged { cart { pieces } } } }"
MERGE = f"""
mutation($lines: [OrderLineInput!]!, $key: IdempotencyKey!) {{
  done: cartMerge(lines: $lines, idempotencyKey: $key) {{
    __typename
    ... on CartMerged {{ leftOut cart {{ ...All }} }}
    ... on CartFull {{ most }}
    ... on Refusal {{ code }}
  }}
}}
{CART}
"""
SHOWN = f"{{ cart {{ ...All }} }} {CART}"
PLACE = """
mutation($lines: [OrderLineInput!]!, $key: IdempotencyKey!, $fromCart: Boolean! = true) {
  done: orderPlace(input: {lines: $lines, fromCart: $fromCart}, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id payable } } ... on Refusal { code }
  }
}
"""


async def add(shop: Door, token: Bearer, sku_id: UUID, quantity: int = 1, *, key: str | None = None) -> Any:
    variables = {"sku": str(sku_id), "quantity": quantity, "key": key or new_secret(12)}
    return (await shop.ask(ADD, variables, token=token))["done"]


async def shown(shop: Door, token: Bearer) -> Any:
    return (await shop.ask(SHOWN, token=token))["cart"]


def pieces(cart: Any) -> dict[str, int]:
    return {line["skuId"]: line["quantity"] for line in cart["lines"]}


def wish(sku_id: UUID, quantity: int) -> dict[str, object]:
    return {"skuId": str(sku_id), "quantity": quantity}


async def hide(sku_id: UUID) -> None:
    await rows("UPDATE sku SET hidden = true WHERE id = $1", [sku_id])


async def test_a_cart_is_kept_with_prices_and_total_of_this_moment(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    tea = await put_on_shelf(deps, price_fen=10_000, member_price_fen=9_000)
    cup = await put_on_shelf(deps, price_fen=500)
    await add(shop, mine, tea, 2)
    cart = (await add(shop, mine, cup, 3))["cart"]
    assert [line["skuId"] for line in cart["lines"]] == [str(cup), str(tea)]
    assert [(line["listPrice"], line["yourPrice"]) for line in cart["lines"]] == [(500, 500), (10_000, 9_000)]
    assert cart["pieces"] == 5
    assert cart["quote"] == {"__typename": "OrderQuote", "goods": 21_500, "payable": 19_500}
    less = (await shop.ask(SELECT, {"skus": [str(tea)], "selected": False}, token=mine))["done"]["cart"]
    assert less["quote"]["payable"] == 1_500
    none = (await shop.ask(SELECT, {"selected": False}, token=mine))["done"]["cart"]
    assert none["quote"] == {"__typename": "SimpleRefusal", "code": "LINE_COUNT_INVALID"}
    again = (await add(shop, mine, tea))["cart"]
    assert pieces(again) == {str(tea): 3, str(cup): 3}
    assert again["quote"]["payable"] == 27_000
    changed = (await shop.ask(SET, {"sku": str(tea), "quantity": 1}, token=mine))["done"]["cart"]
    assert pieces(changed)[str(tea)] == 1
    removed = (await shop.ask(REMOVE, {"skus": [str(tea), str(mine.subject_id)]}, token=mine))["done"]["cart"]
    assert pieces(removed) == {str(cup): 3}
    assert (await shop.ask(CLEAR, token=mine))["done"]["cart"] == {"pieces": 0}


async def test_a_line_tells_why_it_cannot_be_had_and_the_total_leaves_it_out(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    fine = await put_on_shelf(deps, price_fen=100)
    few = await put_on_shelf(deps, stock_left=1)
    none = await put_on_shelf(deps, stock_left=0)
    limited = await put_on_shelf(deps, purchase_limit=1)
    gone = await put_on_shelf(deps)
    for sku_id in (fine, few, none, limited, gone):
        await add(shop, mine, sku_id, 2)
    await hide(gone)
    cart = await shown(shop, mine)
    told = {line["skuId"]: line["availability"] for line in cart["lines"]}
    assert told == {
        str(fine): "AVAILABLE",
        str(few): "SHORT",
        str(none): "OUT_OF_STOCK",
        str(limited): "LIMIT_REACHED",
        str(gone): "GONE",
    }
    assert cart["quote"]["payable"] == 200


async def test_what_is_not_on_sale_or_odd_is_refused_and_changes_nothing(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    sku_id, hidden = await put_on_shelf(deps), await put_on_shelf(deps)
    await hide(hidden)
    await add(shop, mine, sku_id, 998)
    assert (await add(shop, mine, hidden))["code"] == "SKU_NOT_ON_SALE"
    assert (await add(shop, mine, mine.subject_id))["code"] == "SKU_NOT_ON_SALE"
    for quantity in (0, -1, 2, 1_000):
        assert (await add(shop, mine, sku_id, quantity))["code"] == "QUANTITY_INVALID"
    missing = await shop.ask(SET, {"sku": str(hidden), "quantity": 1}, token=mine)
    assert missing["done"] == {"code": "CART_LINE_NOT_FOUND"}
    assert pieces(await shown(shop, mine)) == {str(sku_id): 998}
    assert await shop.codes(SHOWN) == ["UNAUTHENTICATED"]


async def test_a_cart_has_a_hundred_lines(shop: Door, member_token: Tokens, deps: Deps) -> None:
    mine = await member_token()
    skus = [await put_on_shelf(deps) for _ in range(101)]
    merged = await shop.ask(MERGE, {"lines": [wish(one, 1) for one in skus[:100]], "key": new_secret(12)}, token=mine)
    assert len(merged["done"]["cart"]["lines"]) == 100
    refused = await add(shop, mine, skus[100])
    assert (refused["code"], refused["most"]) == ("CART_FULL", 100)
    assert (await add(shop, mine, skus[0]))["cart"]["pieces"] == 101
    late = await shop.ask(MERGE, {"lines": [wish(skus[100], 1)], "key": new_secret(12)}, token=mine)
    assert late["done"]["leftOut"] == [str(skus[100])]


async def test_a_repeated_add_adds_once(shop: Door, member_token: Tokens, deps: Deps) -> None:
    mine = await member_token()
    sku_id = await put_on_shelf(deps)
    for _ in range(3):
        assert (await add(shop, mine, sku_id, 2, key="one-tap-on-add"))["cart"]["pieces"] == 2
    assert (await add(shop, mine, sku_id, 3, key="one-tap-on-add"))["code"] == "KEY_REUSED"


async def test_a_phones_own_cart_is_merged_once(shop: Door, member_token: Tokens, deps: Deps) -> None:
    mine = await member_token()
    tea, cup, hidden = [await put_on_shelf(deps) for _ in range(3)]
    await hide(hidden)
    await add(shop, mine, tea, 2)
    lines = [wish(tea, 3), wish(hidden, 1), wish(cup, 1)]
    for _ in range(3):
        merged = (await shop.ask(MERGE, {"lines": lines, "key": "cart-of-this-phone"}, token=mine))["done"]
        assert merged["leftOut"] == [str(hidden)]
        assert pieces(merged["cart"]) == {str(tea): 5, str(cup): 1}
    await shop.ask(REMOVE, {"skus": [str(cup)]}, token=mine)
    again = (await shop.ask(MERGE, {"lines": lines, "key": "cart-of-this-phone"}, token=mine))["done"]
    assert pieces(again["cart"]) == {str(tea): 5}
    other = await shop.ask(MERGE, {"lines": [wish(tea, 1)], "key": "cart-of-this-phone"}, token=mine)
    assert other["done"]["code"] == "KEY_REUSED"
    odd = await shop.ask(MERGE, {"lines": [wish(tea, 0)], "key": new_secret(12)}, token=mine)
    assert odd["done"]["code"] == "QUANTITY_INVALID"
    assert pieces(await shown(shop, mine)) == {str(tea): 5}


async def test_an_order_takes_its_pieces_out_of_the_cart(shop: Door, member_token: Tokens, deps: Deps) -> None:
    mine = await member_token()
    tea, cup, pot = [await put_on_shelf(deps, price_fen=100) for _ in range(3)]
    for sku_id in (tea, cup, pot):
        await add(shop, mine, sku_id, 3)
    given = {"lines": [wish(tea, 3), wish(cup, 1)], "key": new_secret(12)}
    for _ in range(2):
        placed = (await shop.ask(PLACE, given, token=mine))["done"]
        assert placed["__typename"] == "OrderPlaced"
        assert pieces(await shown(shop, mine)) == {str(cup): 2, str(pot): 3}
    beside = {"lines": [wish(pot, 1)], "key": new_secret(12), "fromCart": False}
    await shop.ask(PLACE, beside, token=mine)
    assert pieces(await shown(shop, mine)) == {str(cup): 2, str(pot): 3}


async def test_a_refused_order_leaves_the_cart_as_it_was(shop: Door, member_token: Tokens, deps: Deps) -> None:
    mine = await member_token()
    tea, cup = await put_on_shelf(deps), await put_on_shelf(deps, stock_left=1)
    await add(shop, mine, tea, 1)
    await add(shop, mine, cup, 2)
    given = {"lines": [wish(tea, 1), wish(cup, 2)], "key": new_secret(12)}
    assert (await shop.ask(PLACE, given, token=mine))["done"]["code"] == "OUT_OF_STOCK"
    assert pieces(await shown(shop, mine)) == {str(tea): 1, str(cup): 2}


async def test_the_cart_tells_when_each_line_last_changed(
    shop: Door, member_token: Tokens, deps: Deps, clock: SetClock
) -> None:
    mine = await member_token()
    sku_id = await put_on_shelf(deps)
    await add(shop, mine, sku_id)
    before = (await shown(shop, mine))["lines"][0]["updatedAt"]
    clock.advance(timedelta(minutes=1))
    await shop.ask(SELECT, {"selected": False}, token=mine)
    assert (await shown(shop, mine))["lines"][0]["updatedAt"] == before
    await shop.ask(SET, {"sku": str(sku_id), "quantity": 2}, token=mine)
    assert (await shown(shop, mine))["lines"][0]["updatedAt"] > before


async def test_a_cart_takes_the_same_statements_for_1_and_20_lines(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    counts = []
    for many in (1, 19):
        for _ in range(many):
            await add(shop, mine, await put_on_shelf(deps))
        counter = SqlCount()
        mark = sql_count.set(counter)
        await shown(shop, mine)
        sql_count.reset(mark)
        counts.append(counter.value)
    assert counts[0] == counts[1]
