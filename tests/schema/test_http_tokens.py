"""Who a bearer token is taken for, on each of the two doors."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from resolvers.token import TokenIssuer
from schema import operator, shop
from schema.context import Context
from schema.errors import Unauthenticated
from tests.schema.serving import MEMBER, NOON, OPERATOR, SESSION, client_of, codes, door_app, door_deps

DEPS = door_deps()


def context() -> Context:
    return Context(deps=DEPS, now=NOON, request_id="r", language="zh", client_ip="")


def member_token() -> str:
    return DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON)


def operator_token() -> str:
    return DEPS.operator_tokens.issue(subject_id=OPERATOR, session_id=SESSION, now=NOON, role="owner")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(door_app()) as client:
        yield client


async def test_a_members_token_makes_a_member_of_the_shop() -> None:
    caller = context()
    await shop.sign_in(caller, member_token())
    assert (caller.member_id, caller.operator_id) == (MEMBER, None)


async def test_an_operators_token_makes_an_operator_with_a_role() -> None:
    caller = context()
    await operator.sign_in(caller, operator_token())
    assert (caller.member_id, caller.operator_id) == (None, OPERATOR)
    assert caller.operator is not None
    assert caller.operator.role == "owner"


async def test_neither_token_opens_the_other_door() -> None:
    with pytest.raises(Unauthenticated):
        await shop.sign_in(context(), operator_token())
    with pytest.raises(Unauthenticated):
        await operator.sign_in(context(), member_token())


async def test_an_expired_token_is_refused_at_the_very_instant() -> None:
    caller = context()
    token = member_token()
    caller.now = NOON + timedelta(minutes=30) - timedelta(microseconds=1)
    await shop.sign_in(caller, token)
    caller.now = NOON + timedelta(minutes=30)
    with pytest.raises(Unauthenticated):
        await shop.sign_in(caller, token)


@pytest.mark.parametrize("path", ["/graphql", "/admin/graphql"])
async def test_a_forged_token_is_401_with_the_code_of_every_other_error(client: httpx.AsyncClient, path: str) -> None:
    forger = TokenIssuer({"m1": "f" * 32}, audience="member", ttl=timedelta(minutes=30))
    forged = [
        forger.issue(subject_id=MEMBER, session_id=SESSION, now=NOON),
        member_token()[:-2],
        "eyJhbGciOiJub25lIn0.e30.",
        "x",
        "x" * 5_000,
        "a.b.c",
    ]
    for token in forged:
        response = await client.post(
            path, json={"query": "{serverInfo{time}}"}, headers={"authorization": f"Bearer {token}"}
        )
        assert response.status_code == 401
        assert codes(response) == ["UNAUTHENTICATED"]
        assert response.json()["errors"][0]["extensions"]["reason"] == "TOKEN_INVALID"
        assert "data" not in response.json()
