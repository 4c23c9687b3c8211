"""Shipping templates through the operators' door."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_secret
from resolvers.deps import Deps
from tests.doors import Bearer, Door
from tests.shelves import make_product

Tokens = Callable[..., Awaitable[Bearer]]

RATE = "firstUnits firstFee furtherUnits furtherFee freeFrom freeFromPieces freeOnEither"
TEMPLATE = f"""
id code title version isDefault
terms {{ version chargeBy undelivered regions {{ codes rate {{ {RATE} }} }} otherwise {{ {RATE} }} }}
"""
CREATE = f"""
mutation($code: String!, $terms: ShippingTermsInput!, $key: IdempotencyKey!, $isDefault: Boolean! = false) {{
  done: shippingTemplateCreate(
    code: $code, title: "标准快递", terms: $terms, idempotencyKey: $key, isDefault: $isDefault
  ) {{
    __typename
    ... on ShippingTemplateKept {{ template {{ {TEMPLATE} }} }}
    ... on ProgrammeInvalid {{ field }}
    ... on Refusal {{ code }}
  }}
}}
"""
CHANGE = f"""
mutation($id: ID!, $terms: ShippingTermsInput, $title: String, $key: IdempotencyKey!) {{
  done: shippingTemplateChange(templateId: $id, terms: $terms, title: $title, idempotencyKey: $key) {{
    __typename
    ... on ShippingTemplateKept {{ template {{ {TEMPLATE} }} }}
    ... on ProgrammeInvalid {{ field }}
    ... on Refusal {{ code }}
  }}
}}
"""
VERSIONS = """
query($id: ID!, $first: Int! = 20) {
  shippingTemplateVersions(templateId: $id, first: $first) { nodes { version otherwise { firstFee } } }
}
"""
LIST = "query($first: Int! = 20) { shippingTemplates(first: $first) { nodes { code isDefault terms { version } } } }"
DEFAULT = """
mutation($id: ID, $key: IdempotencyKey!) {
  done: shippingDefaultSet(templateId: $id, idempotencyKey: $key) {
    ... on ShippingDefaultKept { templateId } ... on Refusal { code }
  }
}
"""
PRODUCT = """
mutation($product: ID!, $id: ID, $key: IdempotencyKey!) {
  done: productShippingSet(productId: $product, templateId: $id, idempotencyKey: $key) {
    ... on ProductShippingKept { product { shippingTemplateId } } ... on Refusal { code }
  }
}
"""
TERMS: dict[str, Any] = {
    "regions": [{"codes": ["11", "3101"], "rate": {"firstFee": 800, "furtherFee": 100, "freeFrom": 9_900}}],
    "otherwise": {"firstFee": 1_000, "furtherFee": 200},
    "undelivered": ["81"],
}


def code() -> str:
    return f"t{new_secret(6)}".lower().replace("-", "_")


async def create(admin: Door, token: Bearer, **variables: Any) -> Any:
    given = {"code": code(), "terms": TERMS, "key": new_secret(12), **variables}
    return (await admin.ask(CREATE, given, token=token))["done"]


async def test_terms_are_versions_that_are_kept(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token(Role.CONTENT_OPERATIONS)
    made = (await create(admin, boss))["template"]
    assert made["version"] == 1
    assert made["terms"]["regions"] == [
        {
            "codes": ["11", "3101"],
            "rate": {
                "firstUnits": 1,
                "firstFee": 800,
                "furtherUnits": 1,
                "furtherFee": 100,
                "freeFrom": 9_900,
                "freeFromPieces": None,
                "freeOnEither": False,
            },
        }
    ]
    assert (made["terms"]["chargeBy"], made["terms"]["undelivered"]) == ("PIECE", ["81"])
    dearer = {**TERMS, "otherwise": {"firstFee": 1_200}}
    changed = await admin.ask(CHANGE, {"id": made["id"], "terms": dearer, "key": new_secret(12)}, token=boss)
    assert changed["done"]["template"]["version"] == changed["done"]["template"]["terms"]["version"] == 2
    same = await admin.ask(
        CHANGE, {"id": made["id"], "terms": dearer, "title": "普通快递", "key": new_secret(12)}, token=boss
    )
    assert (same["done"]["template"]["version"], same["done"]["template"]["title"]) == (2, "普通快递")
    found = (await admin.ask(VERSIONS, {"id": made["id"]}, token=boss))["shippingTemplateVersions"]["nodes"]
    assert [(one["version"], one["otherwise"]["firstFee"]) for one in found] == [(2, 1_200), (1, 1_000)]


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"regions": [{"codes": ["99"], "rate": {"firstFee": 1}}]}, "regions[0].codes[0]"),
        ({"regions": [{"codes": ["11"], "rate": {"firstFee": -1}}]}, "regions[0].rate.firstFee"),
        ({"regions": [{"codes": ["11"], "rate": {"firstFee": 1, "furtherUnits": 0}}]}, "regions[0].rate.furtherUnits"),
        ({"otherwise": {"firstFee": 1_000_001}}, "otherwise.firstFee"),
        ({"otherwise": {"firstFee": 1, "freeFrom": 0}}, "otherwise.freeFrom"),
        ({"otherwise": {"firstFee": 1}, "undelivered": ["1"]}, "undelivered[0]"),
    ],
)
async def test_terms_that_cannot_work_are_named(
    admin: Door, operator_token: Tokens, terms: dict[str, Any], field: str
) -> None:
    answer = await create(admin, await operator_token(), terms=terms)
    assert (answer["code"], answer["field"]) == ("PROGRAMME_INVALID", field)


async def test_a_code_is_taken_once_and_a_repeated_create_makes_one(admin: Door, operator_token: Tokens) -> None:
    boss, taken = await operator_token(), code()
    first = await create(admin, boss, code=taken, key="the-same-key")
    assert await create(admin, boss, code=taken, key="the-same-key") == first
    assert (await create(admin, boss, code=taken))["code"] == "SHIPPING_TEMPLATE_CODE_TAKEN"
    assert (await create(admin, boss, code="Nicht gut"))["field"] == "code"


async def test_one_template_at_most_is_the_default(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token()
    one = (await create(admin, boss, isDefault=True))["template"]
    other = (await create(admin, boss, isDefault=True))["template"]
    nodes = (await admin.ask(LIST, {"first": 50}, token=boss))["shippingTemplates"]["nodes"]
    assert [node["code"] for node in nodes if node["isDefault"]] == [other["code"]]
    for template_id in (one["id"], None):
        answer = await admin.ask(DEFAULT, {"id": template_id, "key": new_secret(12)}, token=boss)
        assert answer["done"] == {"templateId": template_id}
    nodes = (await admin.ask(LIST, {"first": 50}, token=boss))["shippingTemplates"]["nodes"]
    assert not [node for node in nodes if node["isDefault"]]
    answer = await admin.ask(DEFAULT, {"id": str(boss.subject_id), "key": new_secret(12)}, token=boss)
    assert answer["done"] == {"code": "SHIPPING_TEMPLATE_NOT_FOUND"}


async def test_a_product_names_its_template(admin: Door, operator_token: Tokens, deps: Deps) -> None:
    boss = await operator_token()
    product = await make_product(deps)
    made = (await create(admin, boss))["template"]
    for template_id in (made["id"], None):
        given = {"product": str(product.id), "id": template_id, "key": new_secret(12)}
        answer = await admin.ask(PRODUCT, given, token=boss)
        assert answer["done"]["product"]["shippingTemplateId"] == template_id
    missing = {"product": str(boss.subject_id), "id": None, "key": new_secret(12)}
    assert (await admin.ask(PRODUCT, missing, token=boss))["done"]["code"] == "PRODUCT_NOT_FOUND"
    unknown = {"product": str(product.id), "id": str(boss.subject_id), "key": new_secret(12)}
    assert (await admin.ask(PRODUCT, unknown, token=boss))["done"]["code"] == "SHIPPING_TEMPLATE_NOT_FOUND"


async def test_lists_take_the_same_statements_for_1_and_20_rows(
    admin: Door, operator_token: Tokens, deps: Deps
) -> None:
    boss = await operator_token()
    made = (await create(admin, boss))["template"]
    for fee in range(20):
        terms = {"otherwise": {"firstFee": fee}}
        await create(admin, boss, terms=terms)
        await admin.ask(CHANGE, {"id": made["id"], "terms": terms, "key": new_secret(12)}, token=boss)
    for document, name in ((LIST, "shippingTemplates"), (VERSIONS, "shippingTemplateVersions")):
        counts = set()
        for first in (1, 20):
            counter = SqlCount()
            mark = sql_count.set(counter)
            found = await admin.ask(document, {"id": made["id"], "first": first}, token=boss)
            sql_count.reset(mark)
            assert len(found[name]["nodes"]) == first
            counts.add(counter.value)
        assert len(counts) == 1, name


async def test_only_those_with_the_right_say_what_shipping_costs(admin: Door, operator_token: Tokens) -> None:
    variables = {"code": code(), "terms": TERMS, "key": new_secret(12)}
    assert await admin.codes(CREATE, variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(CREATE, variables, token=await operator_token(Role.SUPPORT)) == ["FORBIDDEN"]
    assert await admin.codes(LIST, token=await operator_token(Role.SUPPORT)) == []
