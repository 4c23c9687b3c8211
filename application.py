"""The ASGI application of one server process: both doors, the hooks, and the jobs beside them.

Part of the composition root.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import wait

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

import settings as configuration
import surroundings
import telemetry
from dependencies import PAY_NOTICES, dependencies, rates_of
from hooks.health import health_routes
from hooks.pay import pay_route
from jobs import worker as jobs
from models import engine as database
from models.asyncpg_backend import Unavailable
from schema.http import graphql_routes
from schema.operator import operator_endpoint
from schema.shop import shop_endpoint
from settings import Settings

POOL_WATCH_S = 5.0


def of_this_process() -> telemetry.App:
    """The ASGI application of one server process; uvicorn calls this in each."""
    settings = configuration.effective()
    surroundings.configure_logs(settings)
    _end_with_parent()
    return telemetry.RequestLog(build(settings))


def build(settings: Settings) -> Starlette:
    """The application: its routes are made when it starts, from the dependencies that are open by then."""

    rates = rates_of(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with dependencies(settings) as deps:

            async def redis_answers() -> None:
                await deps.redis.ping()

            app.router.routes.extend(
                [
                    *graphql_routes(
                        "/graphql", shop_endpoint(deps, development=settings.introspection_on, rates=rates)
                    ),
                    *graphql_routes(
                        "/admin/graphql", operator_endpoint(deps, development=settings.introspection_on, rates=rates)
                    ),
                    pay_route(deps, PAY_NOTICES),
                    *health_routes(
                        {"database": _database_answers, "redis": redis_answers, "migrations": _Migrations()},
                        telemetry.exposition,
                        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
                        metrics_open=not settings.production,
                    ),
                ]
            )
            stop = asyncio.Event()
            watch = asyncio.create_task(_watch_pool())
            work = asyncio.create_task(jobs.run(deps, stop)) if settings.jobs_in_server else None
            _collect_rarely()
            yield
            watch.cancel()
            stop.set()
            await jobs.finished(work, settings.shutdown_grace_s)

    # How long a body may be each door says itself, in its own words; nothing else reads one.
    return Starlette(
        lifespan=lifespan,
        exception_handlers={Exception: _internal, Unavailable: _try_again, 404: _nothing_here},
    )


def _collect_rarely() -> None:
    """What is there by now (schemas, models, routes) stays, and is not looked through again for garbage.

    A rush keeps thousands of requests alive at once, and looking through all of it every 700 objects was a third of
    a server's time. ``bench.flash_sale`` measures it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _end_with_parent() -> None:
    """A worker process ends as on SIGTERM when its supervisor is gone, even by ``kill -9``."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


async def _database_answers() -> None:
    await database.rows("SELECT 1")


class _Migrations:
    """Whether the database has every migration of this program; once it has, nobody takes one away."""

    def __init__(self) -> None:
        self._complete = False

    async def __call__(self) -> None:
        if not self._complete:
            pending = await database.pending_migrations()
            if pending:
                raise surroundings.StartRefused(f"pending: {', '.join(pending)}")
            self._complete = True


async def _watch_pool() -> None:
    while True:
        open_count, idle_count = database.pool_counts()
        telemetry.pool_seen(open_count=open_count, idle_count=idle_count)
        await asyncio.sleep(POOL_WATCH_S)


async def _internal(request: Request, _: Exception) -> Response:
    return _error(request, 500, "INTERNAL", "Internal error")


async def _try_again(request: Request, _: Exception) -> Response:
    return _error(request, 503, "TRY_AGAIN", "The database does not answer. Try again.")


async def _nothing_here(request: Request, _: Exception) -> Response:
    return _error(request, 404, "NOT_FOUND", "Nothing here. The doors are /graphql and /admin/graphql.")


def _error(request: Request, status: int, code: str, message: str) -> Response:
    request.scope["state"]["outcome"] = "bug" if status == 500 else code
    extensions = {"code": code, "requestId": request.scope["state"]["request_id"]}
    body = orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})
    return Response(body, status_code=status, media_type="application/json")
