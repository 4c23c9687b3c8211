"""Every mutation and every query of both schemas, called with the worst that each argument can be given.

The schemas are read through the doors themselves, so that a new noun is tried on the day it is added.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import httpx
import pytest
import pytest_asyncio
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    is_required_argument,
    is_required_input_field,
)

from loyalty.orders.order import OrderLine
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.payments.exception_case import open_case
from tests.conftest import make_database
from tests.doors import Bearer, Door, doors_app, make_member
from tests.schema.asking import document, fields_of, read_schema
from tests.schema.both_ways import BothWays
from tests.shelves import PICTURE, make_product, sku_of

Tokens = Callable[..., Awaitable[Bearer]]

EXTREME: Mapping[str, Sequence[object]] = {
    "Int": [0, 1, -1, 51, 999, 1_000, 2**31 - 1, -(2**31), 2**31, 2**53, 2**63, 1.5, "7", True, None],
    "Fen": [0, 1, -1, 2**31, 2**53 - 1, -(2**53) + 1, 2**53, 2**63, 10**30, 1.5, "100", True, None],
    "Points": [0, 1, -1, 100, 2**31, 2**53 - 1, -(2**53) + 1, 2**53, 2**63, 10**30, 0.5, "100", None],
    "Float": [0, -1.5, 1e308, "1", None],
    "Boolean": [True, False, "true", 1, None],
    "String": [
        "",
        " ",
        "茶",
        "x" * 5_000,
        "\0",
        "a\0b",
        "\ud800",
        "'; DROP TABLE member; --",
        "%_\\",
        "\u202e\u200b",
        "👩‍👩‍👧‍👦" * 30,
        7,
        None,
        [],
        {},
    ],
    "ID": [
        "",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "not-an-id",
        "\0",
        -1,
        2**63,
        None,
        [],
    ],
    "IdempotencyKey": ["", "short", "x" * 65, "key with blanks", "键" * 10, "\0" * 10, 12_345_678, None],
    "DateTime": [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2026-11-20T04:00:00",
        "2026-02-30T00:00:00Z",
        "soon",
        0,
        None,
    ],
    "Date": ["0001-01-01", "9999-12-31", "2026-02-30", "today", 20261120, None],
    "JSON": [{}, [], None, "x"],
}
EVERY = int(os.environ.get("YOULI_TEST_BAD_INPUT_EVERY", "3"))
"""Of the bad values of a field every so manieth is tried; 1 tries them all, in a minute or two."""

SESSION_ENDERS = ("operatorLogoutEverywhere", "sessionLogoutEverywhere", "operatorChangePassword")


@dataclass
class Known:
    """Things that exist, by the words with which arguments name them, so that calls get past "not found"."""

    ids: dict[str, str] = field(default_factory=dict)

    def id_for(self, name: str) -> str:
        """The id that an argument of this name would take."""
        found = self.ids.get(name.lower().removesuffix("id").removesuffix("ids") or "any")
        return found or self.ids["any"]


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """A store of its own: what is published here are rules that nobody else wants."""
    return await make_database(postgres_url, f"youli_bad_input_{worker_id}", template=migrated_template)


@pytest_asyncio.fixture(loop_scope="session")
async def doors(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """Doors that answer every query in both ways, and with a server error if the answers differ."""
    app = doors_app(deps, endpoint=BothWays)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://store.test") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def known(deps: Deps, operator_token: Tokens) -> AsyncIterator[Known]:
    """A store with one of everything."""
    product = await make_product(deps)
    sku = await sku_of(product.id)
    member = await make_member(deps)
    placed = await order.place(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=sku.id, quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    case_key = new_secret(9)
    async with transaction():
        await open_case(kind="unknown_order", key=case_key, order_id=placed.id, details={}, now=deps.clock.now())
    case_id = (await rows("SELECT id FROM exception_case WHERE key = $1", [case_key]))[0]["id"]
    other = await operator_token("support")
    found = {
        "sku": sku.id,
        "product": product.id,
        "category": product.category_id,
        "member": member.id,
        "order": placed.id,
        "case": case_id,
        "operator": other.subject_id,
        "any": new_id(deps.clock.now()),
    }
    yield Known({name: str(value) for name, value in found.items()})
    broken = {finding.invariant.name: finding.offenders for finding in await verify() if finding.offenders}
    assert not broken, broken


def plain(type_: GraphQLInputType, name: str, known: Known) -> object:
    """A value that could be meant."""
    if isinstance(type_, GraphQLNonNull):
        return plain(type_.of_type, name, known)
    if isinstance(type_, GraphQLList):
        return [plain(type_.of_type, name, known)]
    if isinstance(type_, GraphQLInputObjectType):
        return {
            each: plain(part.type, each, known) for each, part in type_.fields.items() if is_required_input_field(part)
        }
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    by_type = {
        "ID": known.id_for(name),
        "Int": 1,
        "Fen": 100,
        "Points": 100,
        "Float": 1.0,
        "Boolean": True,
        "String": PICTURE.url if "url" in name.lower() else f"茶 {new_secret(4)}",
        "IdempotencyKey": new_secret(12),
        "DateTime": "2030-01-01T00:00:00Z",
        "Date": "2026-11-20",
        "JSON": {},
    }
    return by_type[type_.name]


def worse(type_: GraphQLInputType, name: str, known: Known) -> Iterator[object]:
    """Every bad value, each with the rest around it plain."""
    if isinstance(type_, GraphQLNonNull):
        yield from worse(type_.of_type, name, known)
    elif isinstance(type_, GraphQLList):
        one = plain(type_.of_type, name, known)
        yield from ([], [one] * 2, [one] * 51, [one] * 501, None, [None], "text", one)
        yield from ([bad] for bad in worse(type_.of_type, name, known))
    elif isinstance(type_, GraphQLInputObjectType):
        whole = cast("dict[str, object]", plain(type_, name, known))
        yield from ({}, None, [], "text", {**whole, "nobodyKnowsThis": 1})
        for each, part in type_.fields.items():
            yield from ({**whole, each: bad} for bad in worse(part.type, each, known))
    elif isinstance(type_, GraphQLEnumType):
        yield from (*type_.values, "NOBODY", "", 1, None)
    else:
        if type_.name == "ID":
            yield from known.ids.values()
        yield from EXTREME[type_.name]


def calls(field_: GraphQLField, known: Known) -> Iterator[dict[str, object]]:
    """Variables of every call: all plain, then each argument as bad as can be beside plain others."""

    def usual() -> dict[str, object]:
        return {
            name: plain(argument.type, name, known)
            for name, argument in field_.args.items()
            if is_required_argument(argument)
        }

    yield usual()
    turn = count()
    for name, argument in field_.args.items():
        for bad in worse(argument.type, name, known):
            if next(turn) % EVERY == 0:
                yield {**usual(), name: bad}


@dataclass
class Trial:
    """Calls one field after another and keeps what went wrong."""

    door: Door
    token: Bearer | None
    renew: Callable[[], Awaitable[Bearer]] | None = None
    count: int = 0
    bugs: list[tuple[str, str, str]] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)

    async def call(self, name: str, text: str, variables: dict[str, object]) -> None:
        """One call; everything but a server error is a fine answer."""
        self.count += 1
        # Escapes, so that lone surrogates can be sent as well.
        body = json.dumps({"query": text, "variables": variables})
        headers = {"content-type": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        response = await self.door.client.post(self.door.path, content=body, headers=headers)
        found = {error["extensions"]["code"] for error in response.json().get("errors", [])}
        self.codes |= found
        if response.status_code >= 500 or found & {"INTERNAL", "TRY_AGAIN"}:
            self.bugs.append((name, f"{variables!s:.400}", response.text[:300]))
        if "UNAUTHENTICATED" in found and self.renew is not None:
            self.token = await self.renew()


@pytest.mark.parametrize("kind", ["mutation", "query"])
@pytest.mark.parametrize("who", ["member", "owner"])
async def test_nothing_that_a_signed_in_person_can_send_is_a_server_error(
    who: str, kind: str, shop: Door, admin: Door, known: Known, member_token: Tokens, operator_token: Tokens
) -> None:
    door, renew = (shop, member_token) if who == "member" else (admin, operator_token)
    schema = await read_schema(door)
    trial = Trial(door, await renew(), renew)
    for name, each in fields_of(schema, kind).items():
        text = document(kind, name, each)
        for variables in calls(each, known):
            await trial.call(name, text, variables)
            if name in SESSION_ENDERS:
                trial.token = await renew()
    assert not trial.bugs, f"{len(trial.bugs)} of {trial.count}: {trial.bugs[:5]}"
    assert trial.count > 50
    assert trial.codes >= {"BAD_INPUT"}


@pytest.mark.parametrize("kind", ["mutation", "query"])
@pytest.mark.parametrize("path", ["shop", "admin"])
async def test_nothing_that_nobody_can_send_is_a_server_error_or_gets_in(
    path: str, kind: str, shop: Door, admin: Door, known: Known
) -> None:
    door = shop if path == "shop" else admin
    schema = await read_schema(door)
    trial = Trial(door, None)
    opened = set()
    for name, each in fields_of(schema, kind).items():
        text = document(kind, name, each)
        before = trial.count
        variables = next(calls(each, known))
        await trial.call(name, text, variables)
        response = (await door.send(text, variables)).json()
        if "errors" not in response:
            opened.add(name)
        assert trial.count == before + 1
    assert not trial.bugs, trial.bugs
    assert trial.codes <= {"UNAUTHENTICATED", "BAD_INPUT", "RATE_LIMITED"}
    described = {
        name for name, each in fields_of(schema, kind).items() if "Open to everyone." in (each.description or "")
    }
    assert opened <= described, opened - described


async def test_a_token_of_the_other_door_opens_nothing(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    assert await admin.codes("{ serverInfo { time } }", token=await member_token()) == ["UNAUTHENTICATED"]
    assert await shop.codes("{ serverInfo { time } }", token=await operator_token()) == ["UNAUTHENTICATED"]
