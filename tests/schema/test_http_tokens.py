"""What a token that is none gets at either door: the answer comes before any engine is asked."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from resolvers.people.token import TokenIssuer
from tests.schema.serving import MEMBER, NOON, OPERATOR, SESSION, client_of, codes, door_app, door_deps

DEPS = door_deps()


def member_token() -> str:
    return DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON)


def operator_token() -> str:
    return DEPS.operator_tokens.issue(subject_id=OPERATOR, session_id=SESSION, now=NOON)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(door_app()) as client:
        yield client


@pytest.mark.parametrize("path", ["/graphql", "/admin/graphql"])
async def test_a_forged_token_is_401_with_the_code_of_every_other_error(client: httpx.AsyncClient, path: str) -> None:
    forger = TokenIssuer({"m1": "f" * 32}, audience="member", ttl=timedelta(minutes=30))
    forged = [
        forger.issue(subject_id=MEMBER, session_id=SESSION, now=NOON),
        member_token()[:-2],
        operator_token() if path == "/graphql" else member_token(),
        DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON - timedelta(minutes=30)),
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
