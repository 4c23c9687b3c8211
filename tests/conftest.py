"""The two engines of a test session: one throwaway PostgreSQL and one Valkey, shared by every xdist worker.

Set YOULI_TEST_DATABASE_URL or YOULI_TEST_REDIS_URL to test against engines of your own; each worker then still makes
databases of its own, and takes a Redis database number of its own.
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from tortoise.context import TortoiseContext

from cache import client as redis_client
from cache import engine as valkey
from cache.address import Form
from hooks import pay as pay_hook
from loyalty.people.rights import Role
from loyalty.people.session import MEMBER_ACCESS_TTL, OPERATOR_ACCESS_TTL
from models import asyncpg_backend, engine, postgres
from models.people.member import Member
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.prepare import prepare
from tests.doors import Bearer, Door, bearer, doors_app, make_member, make_operator
from tests.patience import PATIENCE_S
from tests.redis_forms import RedisForm
from tests.redis_forms import started as started_form
from tests.sandbox_server import SandboxControl, pay_config_of, sandbox_served, shipping_client
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.pay import PayClient
from wechat.sandbox import courier

PATIENCE = httpx.Timeout(PATIENCE_S)
_engines = pytest.StashKey[dict[str, Any]]()

# Properties try the same examples in every run, so that a run says the same as the last one of the same source; others
# with --hypothesis-profile=random. How long an example takes on a shared machine says nothing.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", settings.get_profile("same"), derandomize=False, print_blob=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """The xdist controller owns the engines: it outlives every worker, and its death takes them along."""
    # Tracebacks as Python writes them: one with the locals of every frame takes a tenth of a second.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
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


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """A busy machine is no outage: what the store gives up after seconds, it waits for as long as a test does."""
    with pytest.MonkeyPatch.context() as longer:
        for place, bound in (
            (redis_client, "WAIT_S"),
            (redis_client, "SENTINEL_WAIT_S"),
            (asyncpg_backend, "ACQUIRE_TIMEOUT_S"),
            (asyncpg_backend, "STATEMENT_TIMEOUT_S"),
            (pay_hook, "APPLY_WITHIN_S"),
            (courier, "ANSWER_WITHIN_S"),
        ):
            longer.setattr(place, bound, PATIENCE_S)
        yield


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


@pytest.fixture(
    scope="session",
    params=[pytest.param(form, id=form.value, marks=pytest.mark.xdist_group("redis_forms")) for form in Form],
)
def redis_form(request: pytest.FixtureRequest) -> Iterator[RedisForm]:
    """Redis in each of its forms: a test that takes this runs on one server, behind Sentinel and on a cluster."""
    with started_form(request.param) as running:
        yield running


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder for a program under test, which every user of the machine can reach: PostgreSQL must for root.

    Its parent is free for other files of the test.
    """
    folder = postgres.throwaway_folder()
    folder.chmod(0o755)
    yield folder / "var"
    shutil.rmtree(folder, ignore_errors=True)


def database_url(postgres_url: str, name: str) -> str:
    """The same engine, another of its databases."""
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


async def make_database(postgres_url: str, name: str, *, template: str = "template0") -> str:
    """An empty database, or a copy of a template, under this name; whatever had the name is dropped."""
    connection = await asyncpg.connect(database_url(postgres_url, "postgres"))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        # Copied file by file: in memory that takes half the time of writing each page to the log.
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    finally:
        await connection.close()
    return database_url(postgres_url, name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres_url: str, worker_id: str) -> str:
    """The name of a database built by the migrations, to be copied."""
    name = f"youli_template_{worker_id}"
    async with engine.database(await make_database(postgres_url, name)):
        await engine.migrate()
        await prepare(OPENED_AT)
    return name


OPENED_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""When the programmes of a test store came into force."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """This worker's own store, shared by its tests: each makes members and products of its own."""
    return await make_database(postgres_url, f"youli_store_{worker_id}", template=migrated_template)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def spare_store(
    postgres_url: str, migrated_template: str, worker_id: str
) -> AsyncIterator[tuple[str, "asyncpg.Connection[asyncpg.Record]"]]:
    """A second store of this worker, for the tests that want one to themselves, and a way in to empty it."""
    url = await make_database(postgres_url, f"youli_own_{worker_id}", template=migrated_template)
    connection = await asyncpg.connect(url, server_settings={"lock_timeout": "120s"})
    await connection.execute("CREATE TABLE first_version AS SELECT * FROM programme_version")
    yield url, connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_store_url(spare_store: tuple[str, "asyncpg.Connection[asyncpg.Record]"]) -> str:
    """A store as new for one test, which may publish rules: a module whose tests do overrides ``store_url`` with it.

    Only tables with rows are emptied, and with triggers and foreign keys asleep: a TRUNCATE of all of them takes
    longer than most tests.
    """
    url, connection = spare_store
    filled = [row["name"] for row in await connection.fetch(await _tables_with_rows(connection))]
    await connection.execute(
        "BEGIN; SET LOCAL session_replication_role = replica; "
        + "".join(f'DELETE FROM "{name}"; ' for name in filled)
        + "INSERT INTO programme_version SELECT * FROM first_version; COMMIT"
    )
    return url


async def _tables_with_rows(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """The query of the tables a test can have put something into."""
    query: str = await connection.fetchval(
        """SELECT string_agg(format('SELECT %L AS name WHERE EXISTS (SELECT FROM %I)', relname, relname), ' UNION ALL ')
        FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('first_version', 'tortoise_migrations')"""
    )
    return query


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_stores() -> AsyncIterator[dict[str, TortoiseContext]]:
    """The stores that stay open from test to test: opening one takes longer than most tests."""
    opened: dict[str, TortoiseContext] = {}
    yield opened
    for context in opened.values():
        await context.close_connections()


@pytest_asyncio.fixture(loop_scope="session")
async def store(store_url: str, open_stores: dict[str, TortoiseContext], worker_id: str) -> AsyncIterator[None]:
    """The worker's store, open."""
    if urlsplit(store_url).path not in {f"/youli_store_{worker_id}", f"/youli_own_{worker_id}"}:
        async with engine.database(store_url, pool_size=30):
            yield
        return
    if store_url not in open_stores:
        with TortoiseContext() as opened:
            await opened.init(config=engine.tortoise_config(store_url, pool_size=30))
            await opened.connections.get("default").create_connection(with_db=True)
        open_stores[store_url] = opened
    with open_stores[store_url]:
        yield


@pytest.fixture
def clock() -> SetClock:
    """A clock that a test moves by hand."""
    return SetClock(datetime(2026, 11, 20, 4, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def wechat_url() -> Iterator[str]:
    """The base address of this worker's sandbox WeChat, for all of WeChat's hosts."""
    with sandbox_served() as base_url:
        yield base_url


@pytest_asyncio.fixture(loop_scope="session")
async def wechat(wechat_url: str, clock: SetClock) -> AsyncIterator[SandboxControl]:
    """The sandbox with everything forgotten, its clock set to the store's; both move only when they are moved.

    A refund ends and a notice leaves only in `settle` and `advance`, never beside a test that looks.
    """
    control = SandboxControl(wechat_url)
    await control.reset()
    await control.post("notices/courier", on_call=True)
    await control.post("clock/set", at=clock.now().isoformat(), stands=True)
    yield control
    await control.close()


@pytest_asyncio.fixture(loop_scope="session")
async def deps(store: None, clock: SetClock, redis_url: str, wechat: SandboxControl) -> AsyncIterator[Deps]:
    """What verbs are given: the worker's store, an empty Redis, the sandbox WeChat and a clock that is set.

    Change one with ``dataclasses.replace(deps, ...)``.
    """
    redis = valkey.connect(redis_url)
    await redis.flushdb()
    app = await wechat.config()
    # Nothing here speaks TLS, and reading the certificates of the machine takes longer than most tests.
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        host = MiniProgramHost(http, base_url=wechat.base_url, timeout=PATIENCE)
        made = Deps(
            clock=clock,
            zone=ZoneInfo("Asia/Shanghai"),
            redis=redis,
            login=LoginClient(host, appid=app["appid"], secret=app["secret"]),
            pay=PayClient(pay_config_of(app), http, base_url=wechat.base_url, now=clock.now, timeout=PATIENCE),
            pay_notify_url="https://store.test/hooks/wechat/pay",
            member_tokens=TokenIssuer({"m1": "m" * 32}, audience="member", ttl=MEMBER_ACCESS_TTL),
            operator_tokens=TokenIssuer({"o1": "o" * 32}, audience="operator", ttl=OPERATOR_ACCESS_TTL),
            seal=Seal({"s1": b"s" * 32}),
            pay_window=timedelta(minutes=30),
            shipping=shipping_client(host, redis, app),
        )
        yield made
        await made.group_commit.idle()
    await redis.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def doors(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of both endpoints, without a socket."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(doors_app(deps)), base_url="http://store.test") as http:
        yield http


@pytest.fixture
def shop(doors: httpx.AsyncClient) -> Door:
    """The members' door: ``await shop.ask(document, variables, token=await member_token())``."""
    return Door(doors, "/graphql")


@pytest.fixture
def admin(doors: httpx.AsyncClient) -> Door:
    """The operators' door: ``await admin.ask(document, variables, token=await operator_token(Role.OWNER))``."""
    return Door(doors, "/admin/graphql")


@pytest.fixture
def member_token(deps: Deps) -> Callable[..., Awaitable[Bearer]]:
    """Makes an access token of a new member (with the given fields), or of the given one; ``.subject_id`` is theirs."""

    async def make(member: Member | None = None, **fields: Any) -> Bearer:
        return await bearer(deps, member or await make_member(deps, **fields))

    return make


@pytest.fixture
def operator_token(deps: Deps) -> Callable[..., Awaitable[Bearer]]:
    """Makes an access token of a new operator with a role; ``.subject_id`` is theirs."""

    async def make(role: str = Role.OWNER, **fields: Any) -> Bearer:
        return await bearer(deps, await make_operator(deps, role, **fields))

    return make
