"""Tokens that neither door believes; ``test_session_doors.py`` has those that are believed, over the real store."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from resolvers.token import TokenIssuer
from tests.schema.serving import MEMBER, NOON, OPERATOR, SESSION, client_of, codes, door_app, door_deps

DEPS = door_deps()
TTL = timedelta(minutes=30)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(door_app()) as client:
        yield client


def forgeries() -> dict[str, str]:
    member = DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON)
    other_key = TokenIssuer({"m1": "f" * 32}, audience="member", ttl=TTL)
    return {
        "signed with another key": other_key.issue(subject_id=MEMBER, session_id=SESSION, now=NOON),
        "expired at this very instant": DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON - TTL),
        "cut short": member[:-2],
        "unsigned": "eyJhbGciOiJub25lIn0.e30.",
        "no token": "x",
        "very long": "x" * 5_000,
        "three parts": "a.b.c",
    }


@pytest.mark.parametrize("path", ["/graphql", "/admin/graphql"])
@pytest.mark.parametrize("forgery", forgeries())
async def test_a_forged_token_is_401_in_the_shape_of_every_other_error(
    client: httpx.AsyncClient, path: str, forgery: str
) -> None:
    response = await client.post(
        path, json={"query": "{serverInfo{time}}"}, headers={"authorization": f"Bearer {forgeries()[forgery]}"}
    )
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert codes(response) == ["UNAUTHENTICATED"]
    assert response.json()["errors"][0]["extensions"]["reason"] == "TOKEN_INVALID"
    assert "data" not in response.json()


async def test_a_token_of_one_door_does_not_open_the_other(client: httpx.AsyncClient) -> None:
    member = DEPS.member_tokens.issue(subject_id=MEMBER, session_id=SESSION, now=NOON)
    operator = DEPS.operator_tokens.issue(subject_id=OPERATOR, session_id=SESSION, now=NOON)
    for path, token in (("/graphql", operator), ("/admin/graphql", member)):
        response = await client.post(
            path, json={"query": "{serverInfo{time}}"}, headers={"authorization": f"Bearer {token}"}
        )
        assert (response.status_code, codes(response)) == (401, ["UNAUTHENTICATED"])
