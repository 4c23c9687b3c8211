"""The address book and the address of an order, through both doors."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import pytest

from loyalty.people.rights import Role
from models.engine import rows
from models.ids import new_secret
from resolvers.deps import Deps
from tests.doors import Bearer, Door

Tokens = Callable[..., Awaitable[Bearer]]

FIELDS = "id recipient phone regionCode province city district street label isDefault"
CREATE = f"""
mutation($input: AddressInput!, $key: IdempotencyKey!, $isDefault: Boolean! = false) {{
  done: addressCreate(input: $input, idempotencyKey: $key, isDefault: $isDefault) {{
    __typename
    ... on AddressKept {{ address {{ {FIELDS} }} }}
    ... on AddressInvalid {{ field }}
    ... on AddressLimitReached {{ most }}
    ... on Refusal {{ code message }}
  }}
}}
"""
CHANGE = f"""
mutation($id: ID!, $input: AddressInput!, $key: IdempotencyKey!) {{
  done: addressChange(addressId: $id, input: $input, idempotencyKey: $key) {{
    __typename ... on AddressKept {{ address {{ {FIELDS} }} }} ... on Refusal {{ code }}
  }}
}}
"""
DELETE = f"""
mutation($id: ID!) {{
  done: addressDelete(addressId: $id) {{
    ... on AddressDeleted {{ addresses {{ {FIELDS} }} }} ... on Refusal {{ code }}
  }}
}}
"""
SET_DEFAULT = """
mutation($id: ID!) {
  done: addressSetDefault(addressId: $id) {
    __typename ... on AddressKept { address { id isDefault } } ... on Refusal { code }
  }
}
"""
LIST = f"{{ addresses {{ {FIELDS} }} }}"
HOME: Mapping[str, object] = {
    "recipient": "王小明",
    "phone": "+86 138-1234-5678",
    "regionCode": "440106",
    "province": "广东省",
    "city": "广州市",
    "district": "天河区",
    "street": "天河路 385 号 2 栋 301",
    "label": "家",
}


async def create(
    shop: Door, token: Bearer, *, key: str | None = None, is_default: bool = False, **other: object
) -> Any:
    variables = {"input": {**HOME, **other}, "key": key or new_secret(12), "isDefault": is_default}
    return (await shop.ask(CREATE, variables, token=token))["done"]


async def test_a_member_keeps_addresses_of_which_one_is_the_default(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    first = (await create(shop, mine))["address"]
    assert first == {**HOME, "id": first["id"], "phone": "13812345678", "isDefault": True}
    second = (await create(shop, mine, label="公司"))["address"]
    third = (await create(shop, mine, label="爸妈", is_default=True))["address"]
    assert not second["isDefault"]
    shown = (await shop.ask(LIST, token=mine))["addresses"]
    assert [one["id"] for one in shown] == [third["id"], second["id"], first["id"]]
    assert [one["isDefault"] for one in shown] == [True, False, False]
    again = (await shop.ask(SET_DEFAULT, {"id": first["id"]}, token=mine))["done"]
    assert again["address"] == {"id": first["id"], "isDefault": True}
    left = (await shop.ask(DELETE, {"id": first["id"]}, token=mine))["done"]["addresses"]
    assert [(one["id"], one["isDefault"]) for one in left] == [(third["id"], True), (second["id"], False)]
    assert (await shop.ask(DELETE, {"id": first["id"]}, token=mine))["done"]["addresses"] == left


async def test_an_address_is_changed_as_a_whole(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    made = (await create(shop, mine))["address"]
    wanted = {**HOME, "recipient": "李雷", "street": "体育西路 1 号", "label": ""}
    changed = await shop.ask(CHANGE, {"id": made["id"], "input": wanted, "key": new_secret(12)}, token=mine)
    assert changed["done"]["address"] == {**wanted, "id": made["id"], "phone": "13812345678", "isDefault": True}


@pytest.mark.parametrize(
    ("field", "value"),
    [("phone", "123"), ("recipient", " "), ("street", ""), ("regionCode", "990101"), ("province", "湖南省")],
)
async def test_what_cannot_be_kept_is_named_and_nothing_is_kept(
    shop: Door, member_token: Tokens, field: str, value: str
) -> None:
    mine = await member_token()
    changed: dict[str, Any] = {field: value}
    answer = await create(shop, mine, **changed)
    assert (answer["code"], answer["field"]) == ("ADDRESS_INVALID", field)
    assert (await shop.ask(LIST, token=mine))["addresses"] == []


async def test_the_book_has_twenty_pages(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    for _ in range(20):
        assert (await create(shop, mine))["__typename"] == "AddressKept"
    refused = await create(shop, mine)
    assert (refused["code"], refused["most"]) == ("ADDRESS_LIMIT_REACHED", 20)
    assert len((await shop.ask(LIST, token=mine))["addresses"]) == 20


async def test_a_repeated_create_makes_one_and_another_content_is_refused(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    first = await create(shop, mine, key="one-address")
    assert await create(shop, mine, key="one-address") == first
    assert (await create(shop, mine, key="one-address", street="别处"))["code"] == "KEY_REUSED"
    assert len((await shop.ask(LIST, token=mine))["addresses"]) == 1


async def test_another_member_finds_nothing(shop: Door, member_token: Tokens) -> None:
    mine, theirs = await member_token(), await member_token()
    made = (await create(shop, mine))["address"]
    answer = await shop.ask(CHANGE, {"id": made["id"], "input": HOME, "key": new_secret(12)}, token=theirs)
    assert answer["done"]["code"] == "ADDRESS_NOT_FOUND"
    assert (await shop.ask(SET_DEFAULT, {"id": made["id"]}, token=theirs))["done"]["code"] == "ADDRESS_NOT_FOUND"
    await shop.ask(DELETE, {"id": made["id"]}, token=theirs)
    assert [one["id"] for one in (await shop.ask(LIST, token=mine))["addresses"]] == [made["id"]]
    assert await shop.codes(LIST) == ["UNAUTHENTICATED"]


async def test_contacts_are_encrypted_and_masked_for_operators(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    made = (await create(shop, mine))["address"]
    stored = str(await rows("SELECT * FROM address WHERE id = $1", [UUID(made["id"])]))
    for secret in ("王小明", "13812345678", "5678", "天河路"):
        assert secret not in stored
    remembered = str(await rows("SELECT * FROM idempotency_record WHERE subject_id = $1", [mine.subject_id]))
    assert "天河" not in remembered
    document = "query($id: ID!) { memberAddresses(memberId: $id) { recipient phone city street } }"
    support = await operator_token(Role.SUPPORT)
    found = await admin.ask(document, {"id": str(mine.subject_id)}, token=support)
    assert found["memberAddresses"] == [{"recipient": "王**", "phone": "5678", "city": "广州市", "street": None}]
    content = await operator_token(Role.CONTENT_OPERATIONS)
    assert await admin.codes(document, {"id": str(mine.subject_id)}, token=content) == ["FORBIDDEN"]
    assert await admin.codes(document, {"id": str(mine.subject_id)}) == ["UNAUTHENTICATED"]
