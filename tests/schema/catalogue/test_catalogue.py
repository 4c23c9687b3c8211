"""The shelves as members see them, over HTTP."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.tiers.tier import TierLevel, TierTable
from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Category, Product, Sku
from models.engine import transaction
from models.ids import new_id
from models.programme import ProgrammeVersion
from models.tiers.tier import Membership
from resolvers.catalogue import product, sku
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import Bearer, Door, make_operator
from tests.shelves import PICTURE, VIDEO, a_key, make_category, make_product, new_sku, sku_of

Tokens = Callable[..., Awaitable[Bearer]]

LIST = """
query($category: ID, $first: Int!, $after: String, $search: String! = "") {
  products(categoryId: $category, first: $first, after: $after, search: $search) {
    nodes {
      id title subtitle description publishedAt priceFrom yourPriceFrom
      category { id name children { id name } }
      media { kind url }
      skus { id title price memberPrice purchaseLimit stockLeft inStock yourPrice }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""


@contextmanager
def counting() -> Iterator[SqlCount]:
    counter = SqlCount()
    token = sql_count.set(counter)
    yield counter
    sql_count.reset(token)


async def listed(shop: Door, category: Category, *, token: str | None = None, **variables: Any) -> list[dict[str, Any]]:
    data = await shop.ask(LIST, {"category": str(category.id), "first": 50, **variables}, token=token)
    nodes: list[dict[str, Any]] = data["products"]["nodes"]
    return nodes


async def tier_of_the_store(deps: Deps, member_id: UUID, *, discount_bp: int) -> None:
    """Lift the member into a tier of a new table that takes so much off.

    The store is every test's, and what is published stays: call it at an instant that no other test comes to.
    """
    now = deps.clock.now()
    code = f"t{new_id(now).hex[-10:]}"
    table = TierTable(
        levels=(
            TierLevel(code="member", name="会员", threshold=0),
            TierLevel(code=code, name="金卡", threshold=1_000, discount_bp=discount_bp),
        )
    )
    async with transaction():
        await ProgrammeVersion.create(
            id=new_id(now),
            kind="tier",
            version=await ProgrammeVersion.filter(kind="tier").count() + 1,
            definition=table.definition(),
            effective_at=now,
            published_at=now,
        )
        await Membership.filter(member_id=member_id).update(tier_code=code, growth_value=1_000)


async def test_a_visitor_sees_a_product_with_everything_it_has(shop: Door, deps: Deps) -> None:
    category = await make_category(deps)
    made = await make_product(
        deps,
        category_id=category.id,
        title=" 西湖龙井 ",
        subtitle="明前",
        description="手工炒制",
        media=[PICTURE, VIDEO],
        skus=[
            new_sku(title="50 克", price_fen=9_900, member_price_fen=8_900, purchase_limit=2, stock=7),
            new_sku(title="100 克", price_fen=18_900, stock=0),
        ],
    )
    (found,) = await listed(shop, category)
    small, large = found.pop("skus")
    assert found == {
        "id": str(made.id),
        "title": "西湖龙井",
        "subtitle": "明前",
        "description": "手工炒制",
        "publishedAt": "2026-11-20T04:00:00Z",
        "priceFrom": 9_900,
        "yourPriceFrom": 9_900,
        "category": {"id": str(category.id), "name": category.name, "children": []},
        "media": [
            {"kind": "IMAGE", "url": "https://img.example.com/tea.jpg"},
            {"kind": "VIDEO", "url": "https://img.example.com/tea.mp4"},
        ],
    }
    del small["id"], large["id"]
    assert small == {
        "title": "50 克",
        "price": 9_900,
        "memberPrice": 8_900,
        "purchaseLimit": 2,
        "stockLeft": 7,
        "inStock": True,
        "yourPrice": 9_900,
    }
    assert large == {
        "title": "100 克",
        "price": 18_900,
        "memberPrice": None,
        "purchaseLimit": None,
        "stockLeft": 0,
        "inStock": False,
        "yourPrice": 18_900,
    }


async def test_a_member_sees_the_lowest_of_list_price_member_price_and_tier_discount(
    shop: Door, deps: Deps, clock: SetClock, member_token: Tokens
) -> None:
    clock.advance(timedelta(days=365 * 30))
    category = await make_category(deps)
    skus = [
        new_sku(price_fen=10_000, member_price_fen=9_000),
        new_sku(price_fen=10_000, member_price_fen=7_000),
        new_sku(price_fen=10_000),
    ]
    await make_product(deps, category_id=category.id, skus=skus)
    mine = await member_token()
    (before,) = await listed(shop, category, token=mine)
    assert [one["yourPrice"] for one in before["skus"]] == [9_000, 7_000, 10_000]
    await tier_of_the_store(deps, mine.subject_id, discount_bp=2_000)
    (after,) = await listed(shop, category, token=mine)
    assert [one["yourPrice"] for one in after["skus"]] == [8_000, 7_000, 8_000]
    assert after["yourPriceFrom"] == 7_000
    assert [one["price"] for one in after["skus"]] == [10_000] * 3
    (visitor,) = await listed(shop, category)
    assert [one["yourPrice"] for one in visitor["skus"]] == [10_000] * 3


async def test_a_list_takes_the_same_statements_for_1_10_and_50_products(
    shop: Door, deps: Deps, member_token: Tokens
) -> None:
    counts = {}
    mine = await member_token()
    await shop.ask("{ serverInfo { time } }", token=mine)
    for size in (1, 10, 50):
        category = await make_category(deps)
        for number in range(size):
            await make_product(
                deps,
                category_id=category.id,
                title=f"第 {number} 款",
                skus=[new_sku(member_price_fen=9_000) for _ in range(1 + number % 3)],
            )
        for token in (None, mine):
            with counting() as statements:
                assert len(await listed(shop, category, token=token)) == size
            counts[size, token is not None] = statements.value
    shelves, page, relations, tier = 1, 1, 4, 2
    assert [counts[size, False] for size in (1, 10, 50)] == [shelves + page + relations] * 3
    assert [counts[size, True] for size in (1, 10, 50)] == [shelves + page + relations + tier] * 3


async def test_the_shelves_take_one_statement_for_each_level_however_many_there_are(shop: Door, deps: Deps) -> None:
    counts = []
    for _ in range(2):
        top = await make_category(deps)
        for position in range(3):
            await make_category(deps, parent_id=top.id, position=position)
        with counting() as statements:
            data = await shop.ask("{ categories { id name children { id name children { id } } } }")
        counts.append(statements.value)
        (found,) = [one for one in data["categories"] if one["id"] == str(top.id)]
        assert len(found["children"]) == 3
    assert counts == [3, 3]


async def test_pages_go_on_where_they_ended_while_products_come_and_go(shop: Door, deps: Deps, clock: SetClock) -> None:
    category = await make_category(deps)
    made = []
    for _ in range(5):
        made.append(await make_product(deps, category_id=category.id))
        if len(made) % 2:
            clock.advance(timedelta(minutes=1))
    newest_first = [str(one.id) for one in sorted(made, key=lambda one: (one.published_at, one.id), reverse=True)]
    variables = {"category": str(category.id), "first": 2}
    first = (await shop.ask(LIST, variables))["products"]
    assert [one["id"] for one in first["nodes"]] == newest_first[:2]
    assert first["pageInfo"]["hasNextPage"] is True
    await make_product(deps, category_id=category.id)
    second = (await shop.ask(LIST, {**variables, "after": first["pageInfo"]["endCursor"]}))["products"]
    assert [one["id"] for one in second["nodes"]] == newest_first[2:4]
    third = (await shop.ask(LIST, {**variables, "after": second["pageInfo"]["endCursor"]}))["products"]
    assert [one["id"] for one in third["nodes"]] == newest_first[4:]
    assert third["pageInfo"]["hasNextPage"] is False


async def test_drafts_hidden_products_and_hidden_skus_are_not_there(shop: Door, deps: Deps) -> None:
    category = await make_category(deps)
    operator = await make_operator(deps)
    draft = await make_product(deps, category_id=category.id, published=False)
    hidden = await make_product(deps, category_id=category.id)
    await product.hide(deps, operator_id=operator.id, product_id=hidden.id, idempotency_key=a_key())
    seen = await make_product(deps, category_id=category.id, skus=[new_sku(price_fen=5_000), new_sku(title="大罐")])
    cheap = await Sku.get(product_id=seen.id, price_fen=5_000)
    await sku.hide(deps, operator_id=operator.id, sku_id=cheap.id, idempotency_key=a_key())
    (found,) = await listed(shop, category)
    assert found["id"] == str(seen.id)
    assert [one["title"] for one in found["skus"]] == ["大罐"]
    assert found["priceFrom"] == 10_000
    for invisible in (draft, hidden):
        assert await shop.ask("query($id: ID!) { product(id: $id) { id } }", {"id": str(invisible.id)}) == {
            "product": None
        }
    one = await shop.ask("query($id: ID!) { product(id: $id) { title } }", {"id": str(seen.id)})
    assert one == {"product": {"title": "龙井"}}


async def test_a_category_lists_what_stands_under_it_until_it_is_hidden(shop: Door, deps: Deps) -> None:
    top = await make_category(deps)
    under = await make_category(deps, parent_id=top.id)
    made = await make_product(deps, category_id=under.id)
    assert [one["id"] for one in await listed(shop, top)] == [str(made.id)]
    assert [one["id"] for one in await listed(shop, under)] == [str(made.id)]
    await Category.filter(id=top.id).update(hidden=True)
    assert await listed(shop, top) == []
    assert await listed(shop, under) == []
    data = await shop.ask(
        "query($id: ID!) { categories { id } product(id: $id) { category { id } } }", {"id": str(made.id)}
    )
    assert str(top.id) not in [one["id"] for one in data["categories"]]
    assert data["product"] == {"category": None}


@pytest.mark.parametrize(
    ("title", "search", "found"),
    [
        ("安溪铁观音", "铁观音", True),
        ("Earl Grey", "eArL", True),
        ("安溪铁观音", " 铁观音 ", True),
        ("安溪铁观音", "龙井", False),
        ("100% 纯可可", "0% 纯", True),
        ("1000 克纯可可", "0% 纯", False),
        ("a_b", "a_b", True),
        ("acb", "a_b", False),
        ("back\\slash", "k\\s", True),
        ("it's", "t's", True),
        ("什么都有", "   ", True),
    ],
)
async def test_a_search_finds_the_text_itself(shop: Door, deps: Deps, title: str, search: str, found: bool) -> None:
    category = await make_category(deps)
    await make_product(deps, category_id=category.id, title=title)
    assert bool(await listed(shop, category, search=search)) is found


@pytest.mark.parametrize(
    "variables",
    [
        {"first": 0},
        {"first": 51},
        {"first": 2**31},
        {"first": 1, "after": "nonsense"},
        {"first": 1, "search": "x" * 61},
        {"first": 1, "category": "1"},
        {"first": 1, "category": "' OR 1=1 --"},
    ],
)
async def test_a_list_refuses_what_cannot_be_asked(shop: Door, deps: Deps, variables: dict[str, Any]) -> None:
    assert await shop.codes(LIST, variables) == ["BAD_INPUT"]


async def test_what_does_not_exist_is_nothing_and_no_error(shop: Door, deps: Deps) -> None:
    nowhere = str(new_id(deps.clock.now()))
    assert await shop.ask("query($id: ID!) { product(id: $id) { id } }", {"id": nowhere}) == {"product": None}
    data = await shop.ask(LIST, {"category": nowhere, "first": 5})
    assert data["products"] == {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}


async def test_publishing_again_brings_a_product_to_the_front(shop: Door, deps: Deps, clock: SetClock) -> None:
    category = await make_category(deps)
    operator = await make_operator(deps)
    old = await make_product(deps, category_id=category.id)
    clock.advance(timedelta(hours=1))
    new = await make_product(deps, category_id=category.id)
    assert [one["id"] for one in await listed(shop, category)] == [str(new.id), str(old.id)]
    clock.advance(timedelta(hours=1))
    await product.publish(deps, operator_id=operator.id, product_id=old.id, idempotency_key=a_key())
    assert [one["id"] for one in await listed(shop, category)] == [str(new.id), str(old.id)]
    await product.hide(deps, operator_id=operator.id, product_id=old.id, idempotency_key=a_key())
    await product.publish(deps, operator_id=operator.id, product_id=old.id, idempotency_key=a_key())
    assert [one["id"] for one in await listed(shop, category)] == [str(old.id), str(new.id)]
    assert (await Product.get(id=old.id)).published_at == clock.now()
    assert (await sku_of(old.id)).stock_left == 10
