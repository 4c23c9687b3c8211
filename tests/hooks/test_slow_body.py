"""Whoever knocks at the notice address and then says nothing is sent away."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette

from hooks.pay import pay_route
from resolvers.deps import Deps


async def test_a_body_that_never_ends_is_given_up(deps: Deps) -> None:
    async def never_ending() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(Starlette(routes=[pay_route(deps, read_within_s=0.1)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        answer = await http.post("/hooks/wechat/pay", content=never_ending())
    assert answer.status_code == 408
