"""The suite of the cache runs on Redis in all its forms: every test that takes ``redis`` runs once for each."""

from collections.abc import AsyncIterator

import pytest

from cache.client import Client
from cache.engine import connect


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Client]:
    """A client of the worker's own database."""
    client = connect(redis_url)
    yield client
    await client.aclose()
