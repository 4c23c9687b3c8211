"""The way into the database: opening the pool, transactions with their locks, migrations and the catalogue check."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from tortoise.connection import get_connections
from tortoise.context import TortoiseContext

from models.asyncpg_backend import Conflict, _TransactionClient, translated
from models.ids import jitter
from models.migrating import Executor

MODULES = (
    "models.people.member",
    "models.people.session",
    "models.people.operator",
    "models.programme",
    "models.catalogue.catalogue",
    "models.tiers.tier",
    "models.points.points",
    "models.points.points_action",
    "models.points.check_in",
    "models.orders.order",
    "models.payments.after_sale",
    "models.delivery.fulfilment",
    "models.coupons.coupon",
    "models.prices.promotion",
    "models.coupons.coupon_gift",
    "models.coupons.coupon_till",
    "models.coupons.newcomer_pack",
    "models.prices.price_change",
    "models.payments.payment",
    "models.referrals.referral",
    "models.points.points_mall",
    "models.payments.reconciliation",
    "models.people.birthday",
    "models.people.address",
    "models.delivery.shipping",
    "models.orders.cart",
    "models.flash_sales.flash_sale",
    "models.group_buys.group_buy",
    "models.idempotency",
)
MIGRATION_LOCK = 7_305_551_200
CONFLICT_TRIES = 3

P = ParamSpec("P")
T = TypeVar("T")


def tortoise_config(url: str, *, pool_size: int) -> dict[str, Any]:
    """The tortoise settings for a ``postgres://`` or ``postgresql://`` URL.

    A Unix socket is named by the query parameter ``host``, as libpq has it.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    credentials = {
        "host": query["host"][0] if "host" in query else parts.hostname,
        "port": parts.port or 5432,
        "user": unquote(parts.username) if parts.username else "postgres",
        "password": unquote(parts.password) if parts.password else None,
        "database": parts.path.lstrip("/") or "postgres",
        "minsize": 1,
        "maxsize": pool_size,
        "application_name": "youli",
        "server_settings": {
            "timezone": "UTC",
            "idle_in_transaction_session_timeout": "60000",
            # As on any disk without an arm. A plan that was made while a table was small, that of a foreign key's check
            # too, then goes by the index, and does not read all that a rush has added before the next ANALYZE.
            "random_page_cost": "1.1",
        },
    }
    if "sslmode" in query:
        credentials["ssl"] = query["sslmode"][0]
    return {
        "connections": {"default": {"engine": "models.asyncpg_backend", "credentials": credentials}},
        "apps": {
            "store": {
                "models": list(MODULES),
                "default_connection": "default",
                "migrations": "models.migrations",
            }
        },
        "use_tz": True,
        "timezone": "UTC",
    }


@asynccontextmanager
async def database(url: str, *, pool_size: int = 10) -> AsyncIterator[TortoiseContext]:
    """Open the pool for as long as the block runs.

    Raises:
        Unavailable: the database cannot be reached.
    """
    async with TortoiseContext() as context:
        await translated(context.init(config=tortoise_config(url, pool_size=pool_size), _enable_global_fallback=True))
        # Now and not at the first statement: several tasks that come first at once would each make a pool.
        await translated(_client().create_connection(with_db=True))
        yield context


def _client() -> Any:
    return get_connections().get("default")


def in_transaction() -> bool:
    """Whether the running task is inside ``transaction()``."""
    return isinstance(_client(), _TransactionClient)


@asynccontextmanager
async def transaction(*members: UUID) -> AsyncIterator[None]:
    """One transaction, which first locks the given members in ascending id.

    Raising anything inside rolls everything back. A member's lock (``FOR NO KEY UPDATE``) makes this member's verbs
    run one at a time; rows that many members want are guarded updates at the end instead.

    Raises:
        Unavailable: no connection in time, or the database went away.
        Conflict: a deadlock or serialization failure; see ``retried``.
    """
    assert not in_transaction(), "one verb has one transaction"
    pooled = _client()
    pool = pooled._pool
    wrapper = _TransactionClient(pooled)
    wrapper._connection = await pool.acquire()
    token = get_connections().set("default", wrapper)
    try:
        await translated(wrapper.begin())
        try:
            if members:
                await lock_members(members)
            yield
        except BaseException:
            with suppress(Exception):
                await wrapper.rollback()
            raise
        else:
            await translated(wrapper.commit())
    finally:
        get_connections().reset(token)
        # A connection that broke has said so already; the pool throws it away and complains once more.
        with suppress(Exception):
            await pool.release(wrapper._connection)


async def lock_members(members: Iterable[UUID]) -> None:
    """Lock the members in ascending id, until the transaction ends."""
    assert in_transaction(), "a lock outside a transaction protects nothing"
    await rows("SELECT id FROM member WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", [sorted(set(members))])


def retried(verb: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Run a verb again when its transaction collided with another: three tries in all, with jitter between them."""

    @wraps(verb)
    async def with_retries(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, CONFLICT_TRIES):
            try:
                return await verb(*args, **kwargs)
            except Conflict:
                await asyncio.sleep(jitter(0.05 * attempt))
        return await verb(*args, **kwargs)

    return with_retries


async def rows(sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
    """The rows a statement returns, as dicts; for an ``UPDATE`` or ``INSERT`` those of its ``RETURNING``."""
    result: list[dict[str, Any]] = await _client().execute_query_dict(sql, list(values))
    return result


async def script(sql: str, *, within_s: float = 600.0) -> None:
    """Run several statements, separated by semicolons, outside any transaction; nothing is bound into them."""
    async with _client().acquire_connection() as connection:
        await translated(connection.execute(sql, timeout=within_s))


async def slow_rows(sql: str, *, within_s: float) -> list[dict[str, Any]]:
    """The rows of a query over everything there is, which may take longer than any verb waits.

    Raises:
        Unavailable: it took longer than ``within_s`` seconds.
    """
    async with _client().acquire_connection() as connection:
        return [dict(row) for row in await translated(connection.fetch(sql, timeout=within_s))]


async def changed(sql: str, values: Sequence[object] = ()) -> int:
    """How many rows an ``UPDATE`` or ``DELETE`` changed."""
    assert sql.lstrip().upper().startswith(("UPDATE", "DELETE")), "only updates and deletes count their rows"
    count: int = (await _client().execute_query(sql, list(values)))[0]
    return count


def pool_counts() -> tuple[int, int]:
    """How many connections this process has open, and how many of them are idle."""
    pool = get_connections().get("default")._pool
    return (0, 0) if pool is None else (pool.get_size(), pool.get_idle_size())


async def migrate() -> list[str]:
    """Apply what is pending, under a lock so that only one process does it. Returns the names applied."""
    client = _client()
    async with client._pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        try:
            names = await pending_migrations()
            if names:
                await _executor().migrate()
            return names
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)


async def pending_migrations() -> list[str]:
    """The names of the migrations that the database does not have yet, in order."""
    return [step.migration.name for step in await _executor().plan()]


def _executor() -> Executor:
    store = {"models": list(MODULES), "default_connection": "default", "migrations": "models.migrations"}
    return Executor(_client(), {"store": store})


@asynccontextmanager
async def savepoint() -> AsyncIterator[None]:
    """A part of the running transaction that may fail alone: raising inside undoes only what was done inside.

    Raises:
        Unavailable: the database went away inside, whatever else was raised there.
    """
    assert in_transaction(), "a savepoint is a part of a transaction"
    part = _TransactionClient(_client())
    await translated(part.begin())
    try:
        yield
    except Exception:
        await translated(part.rollback())
        raise
    else:
        await translated(part.commit())
