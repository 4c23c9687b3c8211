"""Keeping the catalogue over HTTP: who may, what is refused, what is recorded."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Category, Product, ProductMedia, Sku, StockEntry
from models.ids import new_id, new_secret
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import Bearer, Door
from tests.shelves import a_key, make_category, make_product, make_sku, new_sku, sku_of

Tokens = Callable[..., Awaitable[Bearer]]

REFUSED = "... on Refusal { __typename code message }"
BOUNDS = "... on CatalogueInvalid { field least most }"
PRODUCT = """
id title subtitle description state publishedAt category { id } media { kind url }
skus { id code title price memberPrice purchaseLimit stockLeft hidden position }
"""
DOCUMENTS = {
    "categoryCreate": f"""mutation($input: CategoryCreateInput!, $key: IdempotencyKey!) {{
        categoryCreate(input: $input, idempotencyKey: $key) {{
            ... on CategoryCreated {{ category {{ id name parentId position hidden }} }} {REFUSED} {BOUNDS} }} }}""",
    "categoryUpdate": f"""mutation($input: CategoryUpdateInput!, $key: IdempotencyKey!) {{
        categoryUpdate(input: $input, idempotencyKey: $key) {{
            ... on CategoryUpdated {{ category {{ id name parentId position hidden }} }} {REFUSED} {BOUNDS} }} }}""",
    "productCreate": f"""mutation($input: ProductCreateInput!, $key: IdempotencyKey!) {{
        productCreate(input: $input, idempotencyKey: $key) {{
            ... on ProductCreated {{ product {{ {PRODUCT} }} }} {REFUSED} {BOUNDS}
            ... on SkuCodeTaken {{ skuCode }} ... on MediaUrlInvalid {{ position }} }} }}""",
    "productUpdate": f"""mutation($input: ProductUpdateInput!, $key: IdempotencyKey!) {{
        productUpdate(input: $input, idempotencyKey: $key) {{
            ... on ProductUpdated {{ product {{ {PRODUCT} }} }} {REFUSED} {BOUNDS}
            ... on ProductIncomplete {{ missing }} ... on MediaUrlInvalid {{ position }} }} }}""",
    "productPublish": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        productPublish(productId: $id, idempotencyKey: $key) {{
            ... on ProductPublished {{ product {{ {PRODUCT} }} }} {REFUSED}
            ... on ProductIncomplete {{ missing }} }} }}""",
    "productHide": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        productHide(productId: $id, idempotencyKey: $key) {{
            ... on ProductHidden {{ product {{ {PRODUCT} }} }} {REFUSED} }} }}""",
    "skuCreate": f"""mutation($id: ID!, $input: SkuInput!, $key: IdempotencyKey!) {{
        skuCreate(productId: $id, input: $input, idempotencyKey: $key) {{
            ... on SkuCreated {{ sku {{ id code title price stockLeft position }} }} {REFUSED} {BOUNDS}
            ... on SkuCodeTaken {{ skuCode }} }} }}""",
    "skuUpdate": f"""mutation($input: SkuUpdateInput!, $key: IdempotencyKey!) {{
        skuUpdate(input: $input, idempotencyKey: $key) {{
            ... on SkuUpdated {{ sku {{ id code title price memberPrice purchaseLimit stockLeft position }} }}
            {REFUSED} {BOUNDS} ... on SkuCodeTaken {{ skuCode }} }} }}""",
    "skuHide": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        skuHide(skuId: $id, idempotencyKey: $key) {{
            ... on SkuHidden {{ sku {{ id hidden }} }} {REFUSED} ... on ProductIncomplete {{ missing }} }} }}""",
    "skuShow": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        skuShow(skuId: $id, idempotencyKey: $key) {{
            ... on SkuShown {{ sku {{ id hidden }} }} {REFUSED} }} }}""",
    "stockAdjust": f"""mutation($input: StockAdjustInput!, $key: IdempotencyKey!) {{
        stockAdjust(input: $input, idempotencyKey: $key) {{
            ... on StockAdjusted {{ sku {{ stockLeft }} entry {{ kind amount leftAfter note at }} }} {REFUSED} {BOUNDS}
            ... on OutOfStock {{ skuId left }} }} }}""",
}


class Desk:
    """An operator at the door: calls a mutation and returns what its field answered."""

    def __init__(self, door: Door, token: Bearer) -> None:
        self.door = door
        self.token = token

    async def __call__(self, name: str, *, key: str | None = None, **variables: object) -> dict[str, Any]:
        data = await self.door.ask(DOCUMENTS[name], {"key": key or a_key(), **variables}, token=self.token)
        found: dict[str, Any] = data[name]
        return found


@pytest.fixture
async def desk(admin: Door, operator_token: Tokens) -> Desk:
    return Desk(admin, await operator_token(Role.CONTENT_OPERATIONS))


def sku_input(**fields: object) -> dict[str, object]:
    return {"code": new_secret(8), "title": "50 克", "price": 10_000, **fields}


def product_input(**fields: object) -> dict[str, object]:
    return {"title": "龙井", "skus": [sku_input()], "media": [{"url": "https://img.example.com/a.jpg"}], **fields}


async def deeds(desk: Desk) -> list[tuple[str, object, object]]:
    rows = await AuditRow.filter(operator_id=desk.token.subject_id).order_by("id")
    return [(row.action, row.before, row.after) for row in rows]


# Who may


async def every_call(deps: Deps) -> dict[str, dict[str, Any]]:
    """For each mutation, variables with which it would change something."""
    draft = await make_product(deps, published=False)
    shown = await make_product(deps, skus=[new_sku(), new_sku()])
    hidden = await make_sku(deps, published=False)
    await Sku.filter(id=hidden.id).update(hidden=True)
    category = await make_category(deps)
    visible = await Sku.filter(product_id=shown.id).first()
    assert visible is not None
    return {
        "categoryCreate": {"input": {"name": new_secret(6)}},
        "categoryUpdate": {"input": {"id": str(category.id), "position": 5}},
        "productCreate": {"input": product_input()},
        "productUpdate": {"input": {"id": str(draft.id), "title": "新名字"}},
        "productPublish": {"id": str(draft.id)},
        "productHide": {"id": str(shown.id)},
        "skuCreate": {"id": str(draft.id), "input": sku_input()},
        "skuUpdate": {"input": {"id": str(visible.id), "title": "100 克"}},
        "skuHide": {"id": str(visible.id)},
        "skuShow": {"id": str(hidden.id)},
        "stockAdjust": {"input": {"skuId": str(visible.id), "amount": 1, "reason": "盘点"}},
    }


async def everything() -> list[object]:
    return [
        await table.all().order_by("id").values()
        for table in (Category, Product, ProductMedia, Sku, StockEntry, AuditRow)
    ]


async def test_only_those_with_the_right_change_the_catalogue(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    calls = await every_call(deps)
    assert set(calls) == set(DOCUMENTS)
    member, support = await member_token(), await operator_token(Role.SUPPORT)
    before = await everything()
    for name, variables in calls.items():
        for token, code in ((None, "UNAUTHENTICATED"), (member, "UNAUTHENTICATED"), (support, "FORBIDDEN")):
            sent = {"key": a_key(), **variables}
            assert await admin.codes(DOCUMENTS[name], sent, token=token) == [code], (name, code)
    assert await everything() == before
    desk = Desk(admin, await operator_token(Role.ACTIVITY_OPERATIONS))
    for name, variables in calls.items():
        answer = await desk(name, **variables)
        assert "code" not in answer, (name, answer)
    assert len(await deeds(desk)) == len(calls)


@pytest.mark.parametrize(
    "document",
    [
        "{ categories { id } }",
        "{ products { nodes { id } } }",
        '{ product(id: "01930000-0000-7000-8000-000000000001") { id } }',
        '{ stockEntries(skuId: "01930000-0000-7000-8000-000000000001") { nodes { id } } }',
    ],
)
async def test_only_operators_read_behind_the_shelves(
    admin: Door, shop: Door, member_token: Tokens, operator_token: Tokens, document: str
) -> None:
    assert await admin.codes(document) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await operator_token("no such role")) == ["FORBIDDEN"]
    assert await admin.codes(document, token=await operator_token(Role.SUPPORT)) == []


# What works


async def test_a_product_goes_from_draft_to_the_shelf_and_back(desk: Desk, shop: Door, deps: Deps) -> None:
    category = (await desk("categoryCreate", input={"name": f" {new_secret(6)} "}))["category"]
    created = await desk(
        "productCreate",
        input=product_input(
            title=" 明前龙井 ",
            subtitle="西湖",
            categoryId=category["id"],
            media=[{"url": "https://img.example.com/a.jpg"}, {"kind": "VIDEO", "url": "https://img.example.com/a.mp4"}],
            skus=[sku_input(stock=3, memberPrice=9_000, purchaseLimit=2), sku_input(title="100 克")],
        ),
    )
    made = created["product"]
    assert (made["title"], made["state"], made["publishedAt"]) == ("明前龙井", "DRAFT", None)
    assert [one["kind"] for one in made["media"]] == ["IMAGE", "VIDEO"]
    assert [(one["stockLeft"], one["position"], one["memberPrice"]) for one in made["skus"]] == [
        (3, 0, 9_000),
        (0, 1, None),
    ]
    document = "query($id: ID!) { product(id: $id) { title } }"
    assert (await shop.ask(document, {"id": made["id"]}))["product"] is None
    assert (await desk("productPublish", id=made["id"]))["product"]["state"] == "PUBLISHED"
    assert (await shop.ask(document, {"id": made["id"]}))["product"] == {"title": "明前龙井"}
    assert (await desk("productHide", id=made["id"]))["product"]["state"] == "HIDDEN"
    assert (await shop.ask(document, {"id": made["id"]}))["product"] is None
    assert [action for action, _, _ in await deeds(desk)] == [
        "category.create",
        "product.create",
        "product.publish",
        "product.hide",
    ]
    assert (await deeds(desk))[2:] == [
        ("product.publish", {"state": "draft"}, {"state": "published"}),
        ("product.hide", {"state": "published"}, {"state": "hidden"}),
    ]
    (entry,) = await StockEntry.filter(sku_id=made["skus"][0]["id"])
    assert (entry.kind, entry.amount, entry.left_after, str(entry.cause_id)) == ("supply", 3, 3, made["id"])


async def test_what_is_left_out_stays_and_null_clears(desk: Desk, deps: Deps) -> None:
    draft = await make_product(
        deps, published=False, subtitle="西湖", skus=[new_sku(member_price_fen=9_000, purchase_limit=3)]
    )
    only = await sku_of(draft.id)
    answer = (await desk("productUpdate", input={"id": str(draft.id), "title": "新"}))["product"]
    assert (answer["title"], answer["subtitle"], answer["category"]) == ("新", "西湖", {"id": str(draft.category_id)})
    answer = (await desk("productUpdate", input={"id": str(draft.id), "categoryId": None, "subtitle": ""}))["product"]
    assert (answer["title"], answer["subtitle"], answer["category"]) == ("新", "", None)
    answer = (await desk("productUpdate", input={"id": str(draft.id), "media": []}))["product"]
    assert answer["media"] == []
    answer = (await desk("skuUpdate", input={"id": str(only.id), "price": 9_500}))["sku"]
    assert (answer["price"], answer["memberPrice"], answer["purchaseLimit"]) == (9_500, 9_000, 3)
    answer = (await desk("skuUpdate", input={"id": str(only.id), "memberPrice": None, "purchaseLimit": None}))["sku"]
    assert (answer["price"], answer["memberPrice"], answer["purchaseLimit"]) == (9_500, None, None)
    assert [deed for deed in await deeds(desk) if deed[0] == "sku.update"] == [
        ("sku.update", {"price_fen": 10_000}, {"price_fen": 9_500}),
        (
            "sku.update",
            {"member_price_fen": 9_000, "purchase_limit": 3},
            {"member_price_fen": None, "purchase_limit": None},
        ),
    ]
    for field in ("title", "media", "subtitle"):
        codes = await desk.door.codes(
            DOCUMENTS["productUpdate"], {"key": a_key(), "input": {"id": str(draft.id), field: None}}, token=desk.token
        )
        assert codes == ["BAD_INPUT"], field


async def test_a_change_to_what_is_already_so_leaves_no_trace(desk: Desk, deps: Deps, clock: SetClock) -> None:
    shown = await make_product(deps)
    clock.advance(timedelta(minutes=1))
    await desk("productUpdate", input={"id": str(shown.id), "title": shown.title})
    await desk("productPublish", id=str(shown.id))
    assert await deeds(desk) == []
    assert (await Product.get(id=shown.id)).updated_at == shown.updated_at


async def test_the_same_key_answers_again_and_does_nothing_twice(desk: Desk, deps: Deps) -> None:
    key, given = a_key(), product_input(skus=[sku_input(stock=5)])
    first = await desk("productCreate", key=key, input=given)
    assert await desk("productCreate", key=key, input=given) == first
    reused = await desk("productCreate", key=key, input={**given, "title": "另一个"})
    assert reused["code"] == "KEY_REUSED"
    sku_id = first["product"]["skus"][0]["id"]
    key, move = a_key(), {"skuId": sku_id, "amount": -2, "reason": "破损"}
    answers = [await desk("stockAdjust", key=key, input=move) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["entry"]["leftAfter"] == answers[0]["sku"]["stockLeft"] == 3
    assert await StockEntry.filter(sku_id=sku_id).count() == 2
    assert len(await deeds(desk)) == 2


async def test_one_key_sent_twenty_times_at_once_makes_one_product(desk: Desk, deps: Deps) -> None:
    key, given = a_key(), product_input(title=new_secret(8))
    answers = await asyncio.gather(*(desk("productCreate", key=key, input=given) for _ in range(20)))
    assert len({answer["product"]["id"] for answer in answers}) == 1
    assert await Product.filter(title=given["title"]).count() == 1
    assert len(await deeds(desk)) == 1


async def test_stock_is_moved_and_its_ledger_tells_how(desk: Desk, admin: Door, deps: Deps, clock: SetClock) -> None:
    only = await make_sku(deps, stock=10)
    for amount, reason in ((5, "到货"), (-3, "盘亏")):
        clock.advance(timedelta(minutes=1))
        await desk("stockAdjust", input={"skuId": str(only.id), "amount": amount, "reason": reason})
    document = """query($id: ID!, $first: Int!, $after: String) {
        stockEntries(skuId: $id, first: $first, after: $after) {
        nodes { kind amount leftAfter note } pageInfo { hasNextPage endCursor } } }"""
    page = (await admin.ask(document, {"id": str(only.id), "first": 2}, token=desk.token))["stockEntries"]
    assert page["nodes"] == [
        {"kind": "SUPPLY", "amount": -3, "leftAfter": 12, "note": "盘亏"},
        {"kind": "SUPPLY", "amount": 5, "leftAfter": 15, "note": "到货"},
    ]
    variables = {"id": str(only.id), "first": 2, "after": page["pageInfo"]["endCursor"]}
    rest = (await admin.ask(document, variables, token=desk.token))["stockEntries"]
    assert rest["nodes"] == [{"kind": "SUPPLY", "amount": 10, "leftAfter": 10, "note": ""}]
    assert rest["pageInfo"]["hasNextPage"] is False


async def test_operators_find_products_in_every_state(desk: Desk, admin: Door, deps: Deps) -> None:
    category = await make_category(deps)
    draft = await make_product(deps, published=False, category_id=category.id, title="草稿")
    shown = await make_product(deps, category_id=category.id, title="上架", skus=[new_sku(), new_sku()])
    first = await Sku.filter(product_id=shown.id).first()
    assert first is not None
    await desk("skuHide", id=str(first.id))
    document = """query($category: ID, $state: ProductState, $search: String! = "") {
        products(categoryId: $category, state: $state, search: $search) { nodes { id state skus { hidden } } } }"""

    async def found(**variables: object) -> list[str]:
        data = await admin.ask(document, {"category": str(category.id), **variables}, token=desk.token)
        return [one["id"] for one in data["products"]["nodes"]]

    assert set(await found()) == {str(draft.id), str(shown.id)}
    assert await found(state="DRAFT") == [str(draft.id)]
    assert await found(state="PUBLISHED") == [str(shown.id)]
    assert await found(state="HIDDEN") == []
    assert await found(search="草") == [str(draft.id)]
    one = await admin.ask(
        "query($id: ID!) { product(id: $id) { skus { hidden } } }", {"id": str(shown.id)}, token=desk.token
    )
    assert sorted(each["hidden"] for each in one["product"]["skus"]) == [False, True]


async def test_the_lists_take_the_same_statements_for_1_10_and_50_rows(desk: Desk, admin: Door, deps: Deps) -> None:
    products = """query($category: ID) { products(categoryId: $category, first: 50) { nodes {
        id category { id name children { id } } media { url } skus { id code } } } }"""
    entries = "query($id: ID!) { stockEntries(skuId: $id, first: 50) { nodes { id amount } } }"
    counts: dict[str, list[int]] = {"products": [], "stockEntries": []}
    for size in (1, 10, 50):
        category = await make_category(deps)
        for _ in range(size):
            await make_product(deps, published=False, category_id=category.id)
        only = await make_sku(deps, published=False)
        for _ in range(size - 1):
            await desk("stockAdjust", input={"skuId": str(only.id), "amount": 1, "reason": "到货"})
        for document, variables in ((products, {"category": str(category.id)}), (entries, {"id": str(only.id)})):
            counter = SqlCount()
            token = sql_count.set(counter)
            ((name, found),) = (await admin.ask(document, variables, token=desk.token)).items()
            sql_count.reset(token)
            assert len(found["nodes"]) == size
            counts[name].append(counter.value)
    signing_in, page, relations = 1, 1, 4
    assert counts == {"products": [signing_in + page + relations] * 3, "stockEntries": [signing_in + page] * 3}


# What is refused


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"title": ""}, {"field": "title", "least": 1, "most": 60}),
        ({"title": "   "}, {"field": "title", "least": 1, "most": 60}),
        ({"title": "茶" * 61}, {"field": "title", "least": 1, "most": 60}),
        ({"title": "茶" * 10_001}, {"field": "title", "least": 1, "most": 60}),
        ({"subtitle": "茶" * 121}, {"field": "subtitle", "least": 0, "most": 120}),
        ({"description": "茶" * 10_001}, {"field": "description", "least": 0, "most": 5_000}),
        ({"media": [{"url": "https://img.example.com/a.jpg"}] * 21}, {"field": "media", "least": 0, "most": 20}),
        ({"media": [{"url": ""}]}, {"field": "media.url", "least": 1, "most": 500}),
        ({"media": [{"url": "https://" + "x" * 500}]}, {"field": "media.url", "least": 1, "most": 500}),
        ({"media": [{"url": "http://img.example.com/a.jpg"}]}, {"position": 1}),
        ({"skus": []}, {"field": "skus", "least": 1, "most": 100}),
        ({"skus": [sku_input(price=0)]}, {"field": "price", "least": 1, "most": 1_000_000_000}),
        ({"skus": [sku_input(price=-1)]}, {"field": "price", "least": 1, "most": 1_000_000_000}),
        ({"skus": [sku_input(price=2**31)]}, {"field": "price", "least": 1, "most": 1_000_000_000}),
        ({"skus": [sku_input(price=2**53 - 1)]}, {"field": "price", "least": 1, "most": 1_000_000_000}),
        ({"skus": [sku_input(memberPrice=10_001)]}, {"field": "memberPrice", "least": 1, "most": 10_000}),
        ({"skus": [sku_input(memberPrice=0)]}, {"field": "memberPrice", "least": 1, "most": 10_000}),
        ({"skus": [sku_input(stock=-1)]}, {"field": "stock", "least": 0, "most": 10_000_000}),
        ({"skus": [sku_input(stock=2**31 - 1)]}, {"field": "stock", "least": 0, "most": 10_000_000}),
        ({"skus": [sku_input(purchaseLimit=0)]}, {"field": "purchaseLimit", "least": 1, "most": 1_000_000}),
        ({"skus": [sku_input(code=" ")]}, {"field": "code", "least": 1, "most": 40}),
        ({"skus": [sku_input(title="")]}, {"field": "title", "least": 1, "most": 60}),
        ({"skus": [sku_input(code="A"), sku_input(code=" A")]}, {"skuCode": "A"}),
        ({"categoryId": "01930000-0000-7000-8000-000000000001"}, {"code": "CATEGORY_NOT_FOUND"}),
    ],
)
async def test_a_product_that_cannot_be_is_refused_whole(
    desk: Desk, change: dict[str, object], refusal: dict[str, object]
) -> None:
    products = await Product.all().count()
    answer = await desk("productCreate", input=product_input(**change))
    assert {name: answer.get(name) for name in refusal} == refusal
    assert answer["message"]
    assert await Product.all().count() == products
    assert await deeds(desk) == []


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("productCreate", {"input": {"title": "茶", "skus": [{"code": "A", "title": "B", "price": 2**63}]}}),
        ("productCreate", {"input": {"title": "茶", "skus": [{"code": "A", "title": "B", "price": 1.5}]}}),
        ("productCreate", {"input": {"title": "茶", "skus": [{"code": "A", "title": "B", "price": "1"}]}}),
        (
            "productCreate",
            {"input": {"title": "茶", "skus": [{"code": "A", "title": "B", "price": 1, "stock": 2**31}]}},
        ),
        ("productCreate", {"input": {"title": "茶\0", "skus": []}}),
        ("productCreate", {"input": {"title": "茶", "skus": [], "state": "PUBLISHED"}}),
        ("productCreate", {"input": {"title": "茶", "skus": [], "media": [{"kind": "AUDIO", "url": "https://x"}]}}),
        ("productCreate", {"input": {"title": "茶", "skus": [], "categoryId": "1"}}),
        ("stockAdjust", {"input": {"skuId": "01930000-0000-7000-8000-000000000001", "amount": 2**31, "reason": "x"}}),
        (
            "stockAdjust",
            {"input": {"skuId": "01930000-0000-7000-8000-000000000001", "amount": -(2**63), "reason": "x"}},
        ),
        ("productPublish", {"id": ""}),
        ("productPublish", {"id": "x" * 10_000}),
    ],
)
async def test_what_is_no_value_at_all_is_bad_input(desk: Desk, name: str, variables: dict[str, object]) -> None:
    assert await desk.door.codes(DOCUMENTS[name], {"key": a_key(), **variables}, token=desk.token) == ["BAD_INPUT"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("categoryUpdate", "CATEGORY_NOT_FOUND"),
        ("productUpdate", "PRODUCT_NOT_FOUND"),
        ("productPublish", "PRODUCT_NOT_FOUND"),
        ("productHide", "PRODUCT_NOT_FOUND"),
        ("skuCreate", "PRODUCT_NOT_FOUND"),
        ("skuUpdate", "SKU_NOT_FOUND"),
        ("skuHide", "SKU_NOT_FOUND"),
        ("skuShow", "SKU_NOT_FOUND"),
        ("stockAdjust", "SKU_NOT_FOUND"),
    ],
)
async def test_the_id_of_something_else_is_not_found(desk: Desk, deps: Deps, name: str, code: str) -> None:
    for stranger in (new_id(deps.clock.now()), desk.token.subject_id):
        calls: dict[str, dict[str, Any]] = {
            "categoryUpdate": {"input": {"id": str(stranger), "name": "x"}},
            "productUpdate": {"input": {"id": str(stranger), "title": "x"}},
            "skuCreate": {"id": str(stranger), "input": sku_input()},
            "skuUpdate": {"input": {"id": str(stranger), "title": "x"}},
            "stockAdjust": {"input": {"skuId": str(stranger), "amount": 1, "reason": "x"}},
        }
        answer = await desk(name, **calls.get(name, {"id": str(stranger)}))
        assert (answer["__typename"], answer["code"]) == ("SimpleRefusal", code)
    assert await deeds(desk) == []


@pytest.mark.parametrize(("lacking", "missing"), [("category_id", "category"), ("media", "media"), ("skus", "sku")])
async def test_an_incomplete_product_is_not_published_nor_a_published_one_made_incomplete(
    desk: Desk, deps: Deps, lacking: str, missing: str
) -> None:
    without: dict[str, dict[str, Any]] = {"category_id": {"category_id": None}, "media": {"media": []}, "skus": {}}
    draft = await make_product(deps, published=False, **without[lacking])
    if lacking == "skus":
        await desk("skuHide", id=str((await sku_of(draft.id)).id))
    answer = await desk("productPublish", id=str(draft.id))
    assert (answer["code"], answer["missing"]) == ("PRODUCT_INCOMPLETE", missing)
    assert (await Product.get(id=draft.id)).state == "draft"
    shown = await make_product(deps)
    if lacking == "skus":
        answer = await desk("skuHide", id=str((await sku_of(shown.id)).id))
    else:
        cleared: dict[str, object] = {"categoryId": None} if lacking == "category_id" else {"media": []}
        answer = await desk("productUpdate", input={"id": str(shown.id), **cleared})
    assert (answer["code"], answer["missing"]) == ("PRODUCT_INCOMPLETE", missing)
    kept = await Product.get(id=shown.id)
    assert (kept.state, kept.category_id) == ("published", shown.category_id)
    assert await ProductMedia.filter(product_id=shown.id).count() == 1
    assert not (await sku_of(shown.id)).hidden


async def test_a_picture_is_needed_and_a_video_alone_is_not_enough(desk: Desk, deps: Deps) -> None:
    shown = await make_product(deps)
    videos = [{"kind": "VIDEO", "url": "https://img.example.com/a.mp4"}]
    answer = await desk("productUpdate", input={"id": str(shown.id), "media": videos})
    assert (answer["code"], answer["missing"]) == ("PRODUCT_INCOMPLETE", "media")


async def test_a_member_price_stays_at_most_the_price(desk: Desk, deps: Deps) -> None:
    only = await make_sku(deps, member_price_fen=9_000)
    answer = await desk("skuUpdate", input={"id": str(only.id), "price": 8_999})
    assert (answer["field"], answer["most"]) == ("memberPrice", 8_999)
    both = await desk("skuUpdate", input={"id": str(only.id), "price": 8_999, "memberPrice": 8_999})
    assert (both["sku"]["price"], both["sku"]["memberPrice"]) == (8_999, 8_999)


@pytest.mark.parametrize(
    ("amount", "reason", "refusal"),
    [
        (-11, "盘亏", {"code": "OUT_OF_STOCK", "left": 10}),
        (0, "无", {"code": "CATALOGUE_INVALID", "field": "amount", "least": 1, "most": 10_000_000}),
        (10_000_001, "多", {"code": "CATALOGUE_INVALID", "field": "amount"}),
        (-(2**31), "少", {"code": "CATALOGUE_INVALID", "field": "amount"}),
        (9_999_991, "多", {"code": "CATALOGUE_INVALID", "field": "stock", "least": 0, "most": 10_000_000}),
        (1, " ", {"code": "CATALOGUE_INVALID", "field": "reason", "least": 1, "most": 200}),
        (1, "因" * 201, {"code": "CATALOGUE_INVALID", "field": "reason"}),
    ],
)
async def test_a_move_that_cannot_be_leaves_stock_and_ledger_as_they_were(
    desk: Desk, deps: Deps, amount: int, reason: str, refusal: dict[str, object]
) -> None:
    only = await make_sku(deps, stock=10)
    answer = await desk("stockAdjust", input={"skuId": str(only.id), "amount": amount, "reason": reason})
    assert {name: answer.get(name) for name in refusal} == refusal
    assert (await Sku.get(id=only.id)).stock_left == 10
    assert await StockEntry.filter(sku_id=only.id).count() == 1
    assert await deeds(desk) == []


async def test_a_code_is_used_once_in_the_shop_also_in_parallel(desk: Desk, deps: Deps) -> None:
    code = new_secret(8)
    answers = await asyncio.gather(
        *(desk("productCreate", input=product_input(skus=[sku_input(), sku_input(code=code)])) for _ in range(10))
    )
    assert sum("product" in answer for answer in answers) == 1
    assert {answer["skuCode"] for answer in answers if "product" not in answer} == {code}
    assert await Sku.filter(code=code).count() == 1
    other = await make_sku(deps)
    assert (await desk("skuUpdate", input={"id": str(other.id), "code": code}))["skuCode"] == code
    assert (await desk("skuCreate", id=str(other.product_id), input=sku_input(code=code)))["skuCode"] == code
    assert (await desk("skuUpdate", input={"id": str(other.id), "code": other.code}))["sku"]["code"] == other.code


async def test_a_product_has_100_skus_at_most(desk: Desk, deps: Deps) -> None:
    full = await make_product(deps, published=False, skus=[new_sku(stock=0) for _ in range(100)])
    answer = await desk("skuCreate", id=str(full.id), input=sku_input())
    assert (answer["field"], answer["most"]) == ("skus", 100)
    assert await Sku.filter(product_id=full.id).count() == 100


async def test_categories_have_names_of_their_own_and_two_levels(desk: Desk, deps: Deps) -> None:
    top = (await desk("categoryCreate", input={"name": new_secret(6)}))["category"]
    under = (await desk("categoryCreate", input={"name": new_secret(6), "parentId": top["id"], "position": 7}))[
        "category"
    ]
    assert (under["parentId"], under["position"], under["hidden"]) == (top["id"], 7, False)
    for refused, code in (
        (await desk("categoryCreate", input={"name": f" {top['name']} "}), "CATEGORY_NAME_TAKEN"),
        (await desk("categoryUpdate", input={"id": under["id"], "name": top["name"]}), "CATEGORY_NAME_TAKEN"),
        (
            await desk("categoryCreate", input={"name": new_secret(6), "parentId": under["id"]}),
            "CATEGORY_NESTING_REFUSED",
        ),
        (await desk("categoryUpdate", input={"id": top["id"], "parentId": top["id"]}), "CATEGORY_NESTING_REFUSED"),
        (await desk("categoryUpdate", input={"id": top["id"], "parentId": under["id"]}), "CATEGORY_NESTING_REFUSED"),
        (await desk("categoryCreate", input={"name": ""}), "CATALOGUE_INVALID"),
        (await desk("categoryCreate", input={"name": "类" * 21}), "CATALOGUE_INVALID"),
        (await desk("categoryCreate", input={"name": new_secret(6), "position": -1}), "CATALOGUE_INVALID"),
        (
            await desk("categoryCreate", input={"name": new_secret(6), "parentId": str(desk.token.subject_id)}),
            "CATEGORY_NOT_FOUND",
        ),
    ):
        assert refused["code"] == code
    moved = (await desk("categoryUpdate", input={"id": under["id"], "parentId": None, "hidden": True}))["category"]
    assert (moved["parentId"], moved["hidden"], moved["name"]) == (None, True, under["name"])


async def test_two_categories_cannot_be_put_under_each_other_at_once(
    desk: Desk, admin: Door, operator_token: Tokens
) -> None:
    colleague = Desk(admin, await operator_token(Role.OWNER))
    for _ in range(5):
        one = (await desk("categoryCreate", input={"name": new_secret(6)}))["category"]["id"]
        other = (await desk("categoryCreate", input={"name": new_secret(6)}))["category"]["id"]
        answers = await asyncio.gather(
            desk("categoryUpdate", input={"id": one, "parentId": other}),
            colleague("categoryUpdate", input={"id": other, "parentId": one}),
        )
        assert sorted(answer.get("code", "done") for answer in answers) == ["CATEGORY_NESTING_REFUSED", "done"]


async def test_two_operators_cannot_hide_the_last_two_skus_at_once(
    desk: Desk, admin: Door, operator_token: Tokens, deps: Deps
) -> None:
    colleague = Desk(admin, await operator_token(Role.OWNER))
    for _ in range(5):
        shown = await make_product(deps, skus=[new_sku(), new_sku()])
        one, other = await Sku.filter(product_id=shown.id)
        answers = await asyncio.gather(desk("skuHide", id=str(one.id)), colleague("skuHide", id=str(other.id)))
        assert sorted(answer.get("code", "done") for answer in answers) == ["PRODUCT_INCOMPLETE", "done"]
        assert await Sku.filter(product_id=shown.id, hidden=False).count() == 1


async def test_changing_a_sku_while_it_sells_loses_no_stock(
    desk: Desk, admin: Door, operator_token: Tokens, deps: Deps
) -> None:
    only = await make_sku(deps, stock=100)
    sellers = [Desk(admin, await operator_token(Role.OWNER)) for _ in range(5)]
    await asyncio.gather(
        *(
            seller("stockAdjust", input={"skuId": str(only.id), "amount": -1, "reason": "线下售出"})
            for seller in sellers
            for _ in range(10)
        ),
        *(desk("skuUpdate", input={"id": str(only.id), "price": 10_000 + step}) for step in range(20)),
    )
    assert (await Sku.get(id=only.id)).stock_left == 50


async def test_refusals_speak_the_language_of_the_caller(desk: Desk, admin: Door) -> None:
    variables = {"key": a_key(), "input": product_input(title="")}
    for language, sentence in (("en", "title must be 1 to 60."), ("zh-CN", "标题长度须在 1 到 60 之间")):
        data = await admin.ask(DOCUMENTS["productCreate"], variables, token=desk.token, accept_language=language)
        assert data["productCreate"]["message"] == sentence
