"""Endpoints for the tests of the door: over ASGI for most, on a real socket where bytes and connections matter."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import uvicorn
from starlette.applications import Starlette

from resolvers.clock import Clock, SetClock
from resolvers.deps import Deps
from resolvers.people.token import TokenClaims, TokenIssuer
from schema.context import Context
from schema.errors import Unauthenticated
from schema.http import Asked, GraphQLEndpoint, graphql_routes
from tests.doors import UNLIMITED, doors_app
from tests.patience import PATIENCE_S
from tests.schema.probe import probe_schema

NOON = datetime(2026, 11, 11, 4, 0, tzinfo=UTC)
MEMBER = UUID("01930000-0000-7000-8000-000000000001")
OPERATOR = UUID("01930000-0000-7000-8000-000000000002")
SESSION = UUID("01930000-0000-7000-8000-000000000003")


@dataclass(frozen=True)
class DoorDeps:
    """All that the door itself needs of the dependencies; the verbs behind it are tested with the real ones."""

    clock: Clock
    zone: ZoneInfo
    member_tokens: TokenIssuer
    operator_tokens: TokenIssuer


def door_deps() -> Deps:
    """A clock that stands at noon of the shop's day, and keys of their own for both kinds of token."""
    return cast(
        "Deps",
        DoorDeps(
            clock=SetClock(NOON),
            zone=ZoneInfo("Asia/Shanghai"),
            member_tokens=TokenIssuer({"m1": "m" * 32}, audience="member", ttl=timedelta(minutes=30)),
            operator_tokens=TokenIssuer({"o1": "o" * 32}, audience="operator", ttl=timedelta(minutes=30)),
        ),
    )


async def sign_in(context: Context, token: str, _: Asked) -> bool:
    """``member`` is a member, ``expired`` is nobody any more, everything else is the role of an operator."""
    if token == "expired":
        raise Unauthenticated(reason="TOKEN_INVALID")
    if token == "engine-away":
        raise ConnectionError("the token store is away")
    subject = MEMBER if token == "member" else OPERATOR
    claims = TokenClaims(subject_id=subject, session_id=SESSION, role=token, expires_at=NOON)
    if subject == MEMBER:
        context.member = claims
    else:
        context.operator = claims
    return False


def probe_app(*, development: bool = True, execution_s: float = PATIENCE_S) -> Starlette:
    """The probe schema behind the real endpoint."""
    endpoint = GraphQLEndpoint(
        probe_schema(), door_deps(), sign_in, development=development, execution_s=execution_s, rates=UNLIMITED
    )
    return Starlette(routes=graphql_routes("/graphql", endpoint))


def door_app() -> Starlette:
    """Both real schemas, with nothing behind them."""
    return doors_app(door_deps())


@dataclass(frozen=True)
class Asker:
    """Posts documents to ``/graphql``."""

    client: httpx.AsyncClient

    async def __call__(
        self, query: str, variables: Mapping[str, object] | None = None, **headers: str
    ) -> httpx.Response:
        """Post one document; header names are written with underscores."""
        return await self.client.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


def client_of(app: Starlette) -> httpx.AsyncClient:
    """A client that speaks to the application without a socket; what it raises reaches the test."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")


def codes(response: httpx.Response) -> list[str]:
    """The codes of the errors of a response."""
    errors: list[dict[str, Any]] = response.json().get("errors", [])
    return [error["extensions"]["code"] for error in errors]


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """The application on a real socket; yields its base address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
