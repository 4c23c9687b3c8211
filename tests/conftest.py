"""The two engines of a test session: one throwaway PostgreSQL and one Valkey, shared by every xdist worker.

Set YOULI_TEST_DATABASE_URL or YOULI_TEST_REDIS_URL to test against engines of your own; each worker then still makes
databases of its own, and takes a Redis database number of its own.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from cache import engine as valkey
from models import postgres

_engines = pytest.StashKey[dict[str, Any]]()


def pytest_configure(config: pytest.Config) -> None:
    """The xdist controller owns the engines: it outlives every worker, and its death takes them along."""
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        config.stash[_engines] = {
            "postgres": postgres.find_or_start_throwaway(os.environ.get("YOULI_TEST_DATABASE_URL")),
            "valkey": valkey.find_or_start_throwaway(os.environ.get("YOULI_TEST_REDIS_URL")),
        }


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the engines are."""
    engines = node.config.stash[_engines]
    node.workerinput["postgres_url"] = engines["postgres"].url
    node.workerinput["redis_url"] = engines["valkey"].url


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this session started."""
    for started in config.stash.get(_engines, {}).values():
        started.stop()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL whose databases this session may make and drop as it likes."""
    told = getattr(request.config, "workerinput", None)
    if told is not None:
        yield told["postgres_url"]
        return
    started = postgres.find_or_start_throwaway(os.environ.get("YOULI_TEST_DATABASE_URL"))
    yield started.url
    started.stop()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, worker_id: str) -> Iterator[str]:
    """A Redis database that is this worker's alone: FLUSHDB is allowed, FLUSHALL would hit the neighbours."""
    number = 1 + int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    told = getattr(request.config, "workerinput", None)
    if told is not None:
        yield valkey.with_database(told["redis_url"], number)
        return
    started = valkey.find_or_start_throwaway(os.environ.get("YOULI_TEST_REDIS_URL"))
    yield valkey.with_database(started.url, number)
    started.stop()
