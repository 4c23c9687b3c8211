"""The suite of the cache runs on Redis in all its forms: every test that takes ``redis`` runs once for each."""

from collections.abc import AsyncIterator

import pytest

from cache.client import Client
from cache.engine import connect
from tests.redis_forms import RedisForm


@pytest.fixture
async def redis(redis_form: RedisForm) -> AsyncIterator[Client]:
    """A client of Redis in one of its forms."""
    client = connect(redis_form.url)
    yield client
    await client.aclose()
