"""Each race runs in a store of its own, which WeChat can reach: what a control breaks on purpose goes with it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from resolvers.deps import Deps
from tests.conftest import make_database
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """A new store for every test."""
    return await make_database(postgres_url, f"youli_race_{worker_id}", template=migrated_template)


@pytest_asyncio.fixture(loop_scope="session")
async def deps(deps: Deps) -> AsyncIterator[Deps]:
    """The dependencies of a store whose notice address is served on a real socket."""
    async with reachable(deps) as reached:
        yield reached
