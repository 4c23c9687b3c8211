"""Promotions and kept prices through both doors: made, published, seen, used; and who may do what."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio
from graphql import get_named_type

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Sku
from models.ids import new_secret
from models.prices.promotion import Promotion
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.prices import promotion
from tests.doors import Bearer, Door, make_operator
from tests.promotions import run_promotion, stop_promotion
from tests.schema.asking import document, fields_of, read_schema
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

CREATE = """
mutation Create($input: PromotionCreateInput!, $key: IdempotencyKey!) {
  done: promotionCreate(input: $input, idempotencyKey: $key) {
    __typename
    ... on PromotionCreated {
      promotion { id code kind state version priority terms { steps { threshold off } combines scope { skuIds } }
        quota { totalLimit budget usedCount spent } }
    }
    ... on Refusal { code } ... on ProgrammeInvalid { field }
  }
}
"""
CHANGE = """
mutation Change($input: PromotionChangeInput!, $key: IdempotencyKey!) {
  done: promotionChange(input: $input, idempotencyKey: $key) {
    __typename
    ... on PromotionChanged { promotion { title version terms { steps { off } } quota { totalLimit } } }
    ... on Refusal { code } ... on ProgrammeInvalid { field }
  }
}
"""
TURN = """
mutation Turn($id: ID!, $key: IdempotencyKey!) {
  done: %s(id: $id, idempotencyKey: $key) {
    __typename ... on PromotionChanged { promotion { state } } ... on Refusal { code }
  }
}
"""
PREVIEW = """
query Preview($input: OrderPlaceInput!) {
  done: orderPreview(input: $input) {
    __typename
    ... on OrderQuote {
      goods discount promotionAmount payable explain { step amount code title }
      lines { skuId quantity unitPrice discount promotionAmount payable }
      hints { kind code title missing missingPieces saves }
    }
    ... on Refusal { code }
  }
}
"""
KEEP = """
mutation Keep($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderQuoteKeep(input: $input, idempotencyKey: $key) {
    __typename ... on OrderQuoteKept { quote { id state payable expiresAt } } ... on Refusal { code }
  }
}
"""
PLACE = """
mutation Place($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename
    ... on OrderPlaced { order { payable promotionAmount explain { step title } lines { promotionAmount } } }
    ... on Refusal { code }
  }
}
"""
ON_SHELF = """
query OnShelf($id: ID!) {
  product(id: $id) {
    priceNowFrom { price promotion { title } } skus { yourPrice priceNow { price promotion { code title } } }
  }
  promotions(productId: $id) { code kind title closesAt usesLeft terms { kind discountBp } }
}
"""


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def nothing_runs_on(deps: Deps) -> AsyncIterator[None]:
    """What a test published is stopped after it."""
    yield
    for one in await Promotion.filter(state="published"):
        await stop_promotion(deps, one)


def a_key() -> str:
    return new_secret(12)


def steps(sku_id: UUID, **changed: Any) -> dict[str, Any]:
    code = f"p{new_secret(9)}".lower().replace("-", "a").replace("_", "b")
    terms = {
        "kind": "AMOUNT_OFF",
        "steps": [{"threshold": 10_000, "off": 1_000}, {"threshold": 20_000, "off": 3_000}],
        "scope": {"skuIds": [str(sku_id)]},
        **changed.pop("terms", {}),
    }
    return {"code": code, "title": "满减", "terms": terms, **changed}


def wanted(sku_id: UUID, quantity: int, **more: Any) -> dict[str, Any]:
    return {"lines": [{"skuId": str(sku_id), "quantity": quantity}], **more}


async def test_a_promotion_is_made_published_and_used(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    boss, mine, sku_id = await operator_token(Role.ACTIVITY_OPERATIONS), await member_token(), await put_on_shelf(deps)
    given = steps(sku_id, totalLimit=5, budget=10_000)
    made = (await admin.ask(CREATE, {"input": given, "key": a_key()}, token=boss))["done"]["promotion"]
    assert (made["kind"], made["state"], made["version"]) == ("AMOUNT_OFF", "DRAFT", 1)
    assert made["terms"]["steps"] == given["terms"]["steps"]
    assert made["terms"]["combines"] == ["COUPONS", "POINTS", "PROMOTIONS", "TIER"]
    assert made["quota"] == {"totalLimit": 5, "budget": 10_000, "usedCount": 0, "spent": 0}
    before = (await shop.ask(PREVIEW, {"input": wanted(sku_id, 1)}, token=mine))["done"]
    assert (before["payable"], before["hints"]) == (10_000, [])
    turned = await admin.ask(TURN % "promotionPublish", {"id": made["id"], "key": a_key()}, token=boss)
    assert turned["done"]["promotion"] == {"state": "PUBLISHED"}
    quote = (await shop.ask(PREVIEW, {"input": wanted(sku_id, 1)}, token=mine))["done"]
    assert (quote["discount"], quote["promotionAmount"], quote["payable"]) == (0, 1_000, 9_000)
    assert quote["explain"] == [
        {"step": "LIST", "amount": 10_000, "code": None, "title": None},
        {"step": "AMOUNT_OFF", "amount": -1_000, "code": made["code"], "title": "满减"},
    ]
    assert [(line["unitPrice"], line["promotionAmount"], line["payable"]) for line in quote["lines"]] == [
        (10_000, 1_000, 9_000)
    ]
    assert quote["hints"] == [
        {
            "kind": "PROMOTION",
            "code": made["code"],
            "title": "满减",
            "missing": 10_000,
            "missingPieces": None,
            "saves": 2_000,
        }
    ]
    placed = (await shop.ask(PLACE, {"input": wanted(sku_id, 2), "key": a_key()}, token=mine))["done"]["order"]
    assert placed == {
        "payable": 17_000,
        "promotionAmount": 3_000,
        "explain": [{"step": "LIST", "title": None}, {"step": "AMOUNT_OFF", "title": "满减"}],
        "lines": [{"promotionAmount": 3_000}],
    }
    changed = {"id": made["id"], "title": "满减节", "totalLimit": 9, "terms": steps(sku_id)["terms"]}
    changed["terms"]["steps"] = [{"threshold": 10_000, "off": 500}]
    after = (await admin.ask(CHANGE, {"input": changed, "key": a_key()}, token=boss))["done"]["promotion"]
    assert after == {
        "title": "满减节",
        "version": 2,
        "terms": {"steps": [{"off": 500}]},
        "quota": {"totalLimit": 9},
    }
    stopped = await admin.ask(TURN % "promotionStop", {"id": made["id"], "key": a_key()}, token=boss)
    assert stopped["done"]["promotion"] == {"state": "STOPPED"}
    again = await admin.ask(TURN % "promotionPublish", {"id": made["id"], "key": a_key()}, token=boss)
    assert again["done"]["code"] == "PROMOTION_STATE_REFUSED"


async def test_faults_are_named_as_the_api_names_them(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    boss, sku_id = await operator_token(Role.OWNER), await put_on_shelf(deps)
    faults: list[tuple[dict[str, Any], str]] = [
        (steps(sku_id, terms={"steps": [{"threshold": 5, "off": 6}]}), "terms.steps[0].off"),
        (steps(sku_id, terms={"kind": "BUNDLE", "steps": None, "pieces": 3}), "terms.price"),
        (steps(sku_id, terms={"kind": "DISCOUNT", "steps": None}), "terms.discountBp"),
        (steps(sku_id, budget=-1), "budget"),
        (steps(sku_id, priority=1_001), "priority"),
    ]
    for given, field in faults:
        refused = (await admin.ask(CREATE, {"input": given, "key": a_key()}, token=boss))["done"]
        assert (refused["code"], refused["field"]) == ("PROGRAMME_INVALID", field)
        assert not await Promotion.exists(code=given["code"])


async def test_the_shelf_shows_what_a_piece_costs_now(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, sku_id = await member_token(), await put_on_shelf(deps, price_fen=10_000)
    product_id = (await Sku.get(id=sku_id)).product_id
    plain = await shop.ask(ON_SHELF, {"id": str(product_id)}, token=mine)
    assert plain["product"]["priceNowFrom"] == {"price": 10_000, "promotion": None}
    assert plain["promotions"] == []
    tenth = await run_promotion(deps, sku_id, title="周末九折", member_limit=3)
    hook = await run_promotion(deps, sku_id, kind="newcomer", price_fen=100, title="新人价")
    for token in (mine, None):
        shown = await shop.ask(ON_SHELF, {"id": str(product_id)}, token=token)
        assert shown["product"]["skus"] == [
            {"yourPrice": 10_000, "priceNow": {"price": 100, "promotion": {"code": hook.code, "title": "新人价"}}}
        ]
        assert {(one["code"], one["usesLeft"]) for one in shown["promotions"]} == {(tenth.code, 3), (hook.code, 1)}


async def test_a_kept_price_is_placed_once(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, sku_id = await member_token(), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id)
    kept = (await shop.ask(KEEP, {"input": wanted(sku_id, 1), "key": a_key()}, token=mine))["done"]["quote"]
    assert (kept["state"], kept["payable"]) == ("PENDING", 9_000)
    await stop_promotion(deps, tenth)
    other = await shop.ask(
        PLACE, {"input": wanted(sku_id, 1, quoteId=kept["id"]), "key": a_key()}, token=await member_token()
    )
    assert other["done"]["code"] == "QUOTE_NOT_FOUND"
    differs = await shop.ask(PLACE, {"input": wanted(sku_id, 2, quoteId=kept["id"]), "key": a_key()}, token=mine)
    assert differs["done"]["code"] == "QUOTE_DIFFERS"
    key = a_key()
    for _ in range(2):
        placed = await shop.ask(PLACE, {"input": wanted(sku_id, 1, quoteId=kept["id"]), "key": key}, token=mine)
        assert placed["done"]["order"]["payable"] == 9_000
    again = await shop.ask(PLACE, {"input": wanted(sku_id, 1, quoteId=kept["id"]), "key": a_key()}, token=mine)
    assert again["done"]["code"] == "QUOTE_NOT_FOUND"
    read = "query Read($id: ID!) { keptQuote(id: $id) { state } }"
    assert await shop.ask(read, {"id": kept["id"]}, token=mine) == {"keptQuote": {"state": "POSTED"}}
    assert await shop.ask(read, {"id": kept["id"]}, token=await member_token()) == {"keptQuote": None}


async def test_a_kept_price_is_over_by_the_clock(shop: Door, deps: Deps, clock: SetClock, member_token: Tokens) -> None:
    mine, sku_id = await member_token(), await put_on_shelf(deps)
    kept = (await shop.ask(KEEP, {"input": wanted(sku_id, 1), "key": a_key()}, token=mine))["done"]["quote"]
    read = "query Read($id: ID!) { keptQuote(id: $id) { state } }"
    ends_at = datetime.fromisoformat(kept["expiresAt"])
    for at, state in ((ends_at - timedelta(seconds=1), "PENDING"), (ends_at, "EXPIRED")):
        clock.at = at
        assert await shop.ask(read, {"id": kept["id"]}, token=mine) == {"keptQuote": {"state": state}}


async def test_who_may_do_what(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    sku_id, mine = await put_on_shelf(deps), await member_token()
    create: dict[str, Any] = {"input": steps(sku_id), "key": a_key()}
    assert await admin.codes(CREATE, create) == ["UNAUTHENTICATED"]
    assert await admin.codes(CREATE, create, token=mine) == ["UNAUTHENTICATED"]
    for role in (Role.STAFF, Role.FINANCE, Role.CONTENT_OPERATIONS):
        token = await operator_token(role)
        assert await admin.codes(CREATE, create, token=token) == ["FORBIDDEN"]
        assert "promotions" in await admin.ask("{ promotions { nodes { code } } }", token=token)
    assert not await Promotion.exists(code=create["input"]["code"])
    assert await shop.codes(KEEP, {"input": wanted(sku_id, 1), "key": a_key()}) == ["UNAUTHENTICATED"]


async def test_lists_of_promotions_take_the_same_statements_however_long(
    admin: Door, deps: Deps, operator_token: Tokens
) -> None:
    owner, sku_id, boss = await operator_token(), await put_on_shelf(deps), await make_operator(deps)
    many = 10
    for _ in range(many):
        made = await run_promotion(deps, sku_id, published=False)
    for number in range(many):
        await promotion.change(
            deps,
            operator_id=boss.id,
            promotion_id=made.id,
            changes={"priority": number + 1},
            idempotency_key=a_key(),
        )
    tried = 0
    for name, field in fields_of(await read_schema(admin), "query").items():
        if "romotion" not in name or not get_named_type(field.type).name.endswith("Connection"):
            continue
        tried += 1
        counts = set()
        for size in (1, many):
            counter = SqlCount()
            mark = sql_count.set(counter)
            variables = {"first": size} | ({"promotionId": str(made.id)} if "promotionId" in field.args else {})
            data = await admin.ask(document("query", name, field, depth=3), variables, token=owner)
            sql_count.reset(mark)
            assert len(data[name]["nodes"]) == size
            counts.add(counter.value)
        assert len(counts) == 1, name
    assert tried == 2
