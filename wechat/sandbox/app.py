"""The sandbox as one Starlette application: three hosts under one address, for their paths do not clash."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette

from wechat.sandbox.credentials import Credentials
from wechat.sandbox.operator import operator_routes
from wechat.sandbox.routes import mini_routes, pay_routes
from wechat.sandbox.world import World


def create_app(state_dir: Path | None = None, *, credentials: Credentials | None = None) -> Starlette:
    """A sandbox that keeps its keys, users, orders and notices in `state_dir`, or forgets them when that is None.

    `credentials` saves the making of keys (about a second) where they are known. Notices are delivered by a task that
    lives from the application's start to its end, so the application needs a server that runs its lifespan.
    """
    world = World(state_dir, credentials)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        deliveries = asyncio.create_task(world.courier.run())
        try:
            yield
        finally:
            deliveries.cancel()
            with suppress(asyncio.CancelledError):
                await deliveries
            world.records.close()

    return Starlette(routes=[*pay_routes(world), *mini_routes(world), *operator_routes(world)], lifespan=lifespan)
