"""A store that WeChat can reach: its notice address on a real socket, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from socket import create_server, socket

import uvicorn
from starlette.applications import Starlette

from hooks.pay import pay_route
from resolvers.deps import Deps
from tests.patience import PATIENCE_S


@asynccontextmanager
async def reachable(deps: Deps) -> AsyncIterator[Deps]:
    """The same dependencies with a ``pay_notify_url`` that is served as long as the block runs."""
    listener = create_server(("127.0.0.1", 0))
    reached = replace(deps, pay_notify_url=f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/wechat/pay")
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            started.set()

    app = Starlette(routes=[pay_route(reached)])
    server = Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=2))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        yield reached
    finally:
        server.should_exit = True
        await task
