"""A store that WeChat can reach: its notice address on a real socket, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from socket import socket

import uvicorn
from starlette.applications import Starlette

from hooks.pay import pay_route
from resolvers.deps import Deps


@asynccontextmanager
async def reachable(deps: Deps) -> AsyncIterator[Deps]:
    """The same dependencies with a ``pay_notify_url`` that is served as long as the block runs."""
    app = Starlette(routes=[pay_route(deps)])
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            started.set()

    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=2))
    task = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(started.wait(), 10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield replace(deps, pay_notify_url=f"http://127.0.0.1:{port}/hooks/wechat/pay")
    finally:
        server.should_exit = True
        await task
