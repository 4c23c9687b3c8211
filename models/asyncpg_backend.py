"""The database connection: tortoise's asyncpg client with bounded waits, a statement counter and our two exceptions.

Tortoise loads ``client_class`` from here by its ``engine`` setting. What it adds:

- every wait has a bound: for a connection ``ACQUIRE_TIMEOUT_S``, for a statement ``STATEMENT_TIMEOUT_S``;
- ``Unavailable`` where the database cannot be reached, ``Conflict`` where the same transaction may succeed when it is
  run again (deadlock, serialization failure, lock not available): tortoise lets these through as raw driver errors;
- no RESET round trip when a connection goes back to the pool, because nothing here changes session state;
- ``sql_count`` counts the statements of the current task tree, for the request log and for the tests.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import asyncpg
from asyncpg.pool import Pool
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import TransactionContext, TransactionContextPooled
from tortoise.exceptions import DBConnectionError

ACQUIRE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 30.0


class Unavailable(Exception):
    """The database cannot be reached, or gave no connection in time. The caller may try again later."""


class Conflict(Exception):
    """Another transaction stood in the way; the same transaction may succeed when it is run again."""


class SqlCount:
    """How many statements ran since the counter was made."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


sql_count: ContextVar[SqlCount | None] = ContextVar("sql_count", default=None)

_UNREACHABLE = (
    OSError,
    TimeoutError,
    DBConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What a connection says that the server has just broken off and that has not heard of its end yet.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
)
_CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)


async def translated(step: Awaitable[Any]) -> Any:
    """Await a step of the driver, turning its outages into ``Unavailable`` and its collisions into ``Conflict``."""
    try:
        return await step
    except _CONFLICTS as error:
        raise Conflict(str(error)) from error
    except _UNREACHABLE as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        return ""


class _BoundedPool(Pool):
    async def _acquire(self, timeout: float | None) -> Any:
        return await translated(super()._acquire(timeout or ACQUIRE_TIMEOUT_S))  # type: ignore[misc]


class _Counting:
    async def _translate_exceptions(self, func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        counter = sql_count.get()
        if counter is not None:
            counter.value += 1
        return await translated(super()._translate_exceptions(func, *args, **kwargs))  # type: ignore[misc]


class _TransactionClient(_Counting, TransactionWrapper):
    pass


class _Client(_Counting, AsyncpgDBClient):
    connection_class = _Connection  # type: ignore[assignment]

    async def create_pool(self, **kwargs: Any) -> Pool:
        kwargs.setdefault("command_timeout", STATEMENT_TIMEOUT_S)
        kwargs.setdefault("timeout", ACQUIRE_TIMEOUT_S)
        del kwargs["loop"]
        pool = _BoundedPool(
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            setup=None,
            init=None,
            loop=None,
            record_class=asyncpg.Record,
            **kwargs,
        )
        await translated(pool)
        return pool

    def _in_transaction(self) -> TransactionContext:
        return TransactionContextPooled(_TransactionClient(self), self._pool_init_lock)


client_class = _Client
