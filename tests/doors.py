"""The two GraphQL doors as a test knocks at them: real schemas, real verbs, no socket in between."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import httpx
import strawberry
from starlette.applications import Starlette

from loyalty.people.rights import Role
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.member import Member
from models.people.operator import Operator
from models.people.session import SessionFamily
from resolvers.deps import Deps
from resolvers.people.member import join
from schema import operator, shop
from schema.http import GraphQLEndpoint, graphql_routes
from schema.rates import Rates
from tests.patience import PATIENCE_S


class Bearer(str):
    """An access token that remembers whose it is."""

    __slots__ = ("session_id", "subject_id")
    subject_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class Door:
    """One of the two endpoints. ``token`` is an access token; header names are written with underscores."""

    client: httpx.AsyncClient
    path: str

    async def send(
        self, document: str, variables: Mapping[str, object] | None = None, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Post a document, whatever comes of it."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        body = {"query": document, "variables": variables}
        return await self.client.post(self.path, json=body, headers=given)

    async def ask(
        self, document: str, variables: Mapping[str, object] | None = None, *, token: str | None = None, **headers: str
    ) -> dict[str, Any]:
        """Post a document that must succeed (a refusal in a union is a success); its data."""
        answer = (await self.send(document, variables, token=token, **headers)).json()
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found

    async def codes(
        self, document: str, variables: Mapping[str, object] | None = None, *, token: str | None = None, **headers: str
    ) -> list[str]:
        """Post a document; the codes of its top-level errors, none if it succeeded."""
        answer = (await self.send(document, variables, token=token, **headers)).json()
        return [error["extensions"]["code"] for error in answer.get("errors", [])]


UNLIMITED = Rates(member=None, operator=None, visitor=None, paces={})
"""A test that asks for everything at once is not what rate limits are for."""


def doors_app(
    deps: Deps,
    *,
    development: bool = True,
    rates: Rates = UNLIMITED,
    endpoint: type[GraphQLEndpoint] = GraphQLEndpoint,
) -> Starlette:
    """Both endpoints as the server mounts them, but for the rate limits and the time an execution may take."""
    shop_schema, operator_schema = _schemas()
    members, operators = (
        endpoint(schema, deps, sign_in, development=development, execution_s=PATIENCE_S, rates=rates)
        for schema, sign_in in ((shop_schema, shop.sign_in), (operator_schema, operator.sign_in))
    )
    return Starlette(routes=[*graphql_routes("/graphql", members), *graphql_routes("/admin/graphql", operators)])


@cache
def _schemas() -> tuple[strawberry.Schema, strawberry.Schema]:
    """Both schemas, built once: that takes longer than most tests."""
    return shop.shop_schema(), operator.operator_schema()


async def make_member(deps: Deps, **fields: Any) -> Member:
    """A member who has joined, with an openid of their own unless one is given."""
    now = deps.clock.now()
    async with transaction():
        member = await Member.create(**{"id": new_id(now), "openid": f"o{new_secret(20)}", "created_at": now, **fields})
        await join(member.id, now=now)
    return member


async def make_operator(deps: Deps, role: str = Role.OWNER, **fields: Any) -> Operator:
    """An operator whose password nobody knows, unless a hash is given."""
    now = deps.clock.now()
    return await Operator.create(
        **{
            "id": new_id(now),
            "login": f"{role}-{new_secret(6)}".lower(),
            "password_hash": "",
            "role": role,
            "created_at": now,
            **fields,
        }
    )


async def bearer(deps: Deps, subject: Member | Operator) -> Bearer:
    """A valid access token of a session of its own."""
    now = deps.clock.now()
    is_member = isinstance(subject, Member)
    family = await SessionFamily.create(
        id=new_id(now), subject_kind="member" if is_member else "operator", subject_id=subject.id, created_at=now
    )
    issuer = deps.member_tokens if is_member else deps.operator_tokens
    token = Bearer(issuer.issue(subject_id=subject.id, session_id=family.id, now=now))
    token.subject_id = subject.id
    token.session_id = family.id
    return token
