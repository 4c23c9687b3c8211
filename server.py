"""How it starts: the composition root (settings to dependencies to application) and the command line."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import wait
from types import FrameType
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo

import httpx
import orjson
import structlog
import typer
from pydantic import SecretStr
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

import processes
import settings as configuration
import surroundings
import telemetry
from cache import engine as valkey
from cache.wechat_soft import WeChatSoft
from demo import visitor
from demo.client import StoryBroken
from demo.story import Story
from hooks.health import health_routes
from hooks.pay import pay_route
from jobs import worker as jobs
from loyalty.payments.after_sale import AfterSaleTerms
from loyalty.refusal import Refusal
from models import declared, postgres
from models import engine as database
from models.asyncpg_backend import Unavailable
from resolvers.clock import SystemClock
from resolvers.demo_store import fill, renew
from resolvers.deps import Deps
from resolvers.invariants import verify as invariants
from resolvers.people.operator import ensure_owner
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.prepare import prepare
from schema.committed_sdl import write_sdl
from schema.http import graphql_routes
from schema.operator import operator_endpoint
from schema.rates import Rates, budget
from schema.shop import shop_endpoint
from serving import listen
from settings import Settings
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.pay import PayClient
from wechat.pay_types import PayConfig
from wechat.shipping import ShippingClient
from wechat.token import TokenProvider

POOL_WATCH_S = 5.0
REQUEST_BODY_BYTES = 1024 * 1024
PAY_NOTICES = "/hooks/wechat/pay"
MEMBER_AUDIENCE = "member"
OPERATOR_AUDIENCE = "operator"

log = structlog.get_logger("youli")
cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


# --- settings to dependencies -------------------------------------------------------------------------------------


@asynccontextmanager
async def dependencies(settings: Settings) -> AsyncIterator[Deps]:
    """Everything a verb needs, with the database open, for as long as the block runs."""
    assert settings.database_url is not None, "the engines are found before the dependencies are made"
    assert settings.redis_url is not None, "the engines are found before the dependencies are made"
    redis = valkey.connect(settings.redis_url.get_secret_value())
    clock = SystemClock()
    async with (
        database.database(settings.database_url.get_secret_value(), pool_size=settings.database_pool),
        httpx.AsyncClient(limits=httpx.Limits(max_connections=100, max_keepalive_connections=20)) as http,
    ):
        host = MiniProgramHost(http, base_url=settings.wechat_api_base_url)
        deps = Deps(
            clock=clock,
            zone=ZoneInfo(settings.shop_zone),
            redis=redis,
            login=LoginClient(host, appid=_given(settings.wechat_app_id), secret=_secret(settings.wechat_app_secret)),
            pay=PayClient(_merchant(settings), http, base_url=settings.wechat_pay_base_url, now=clock.now),
            pay_notify_url=f"{settings.public_address}{PAY_NOTICES}",
            member_tokens=TokenIssuer(
                configuration.parse_keys(_secret(settings.member_jwt_keys)),
                audience=MEMBER_AUDIENCE,
                ttl=timedelta(seconds=settings.member_access_ttl_s),
            ),
            operator_tokens=TokenIssuer(
                configuration.parse_keys(_secret(settings.operator_jwt_keys)),
                audience=OPERATOR_AUDIENCE,
                ttl=timedelta(seconds=settings.operator_access_ttl_s),
            ),
            member_refresh_ttl=timedelta(seconds=settings.member_refresh_ttl_s),
            operator_refresh_ttl=timedelta(seconds=settings.operator_refresh_ttl_s),
            seal=Seal(configuration.parse_seal_keys(_secret(settings.seal_keys))),
            pay_window=timedelta(seconds=settings.pay_window_s),
            quote_window=timedelta(seconds=settings.quote_window_s),
            shipping=ShippingClient(
                host,
                TokenProvider(
                    host,
                    WeChatSoft(redis),
                    appid=_given(settings.wechat_app_id),
                    secret=_secret(settings.wechat_app_secret),
                ),
                appid=_given(settings.wechat_app_id),
            ),
            receive_after=timedelta(days=settings.receive_after_days),
            unshipped_after=timedelta(hours=settings.unshipped_after_hours),
            after_sale=AfterSaleTerms(
                answer=timedelta(hours=settings.after_sale_answer_hours),
                approves_on_silence=settings.after_sale_approves_on_silence,
                send_back=timedelta(days=settings.after_sale_send_back_days),
                receive=timedelta(days=settings.after_sale_receive_days),
                no_reason_days=settings.after_sale_no_reason_days,
                fault_days=settings.after_sale_fault_days,
            ),
        )
        yield deps
        # What was written and answered is still being told to the gates of flash sales.
        await deps.group_commit.idle()
    await redis.aclose()


def _merchant(settings: Settings) -> PayConfig:
    keys = configuration.parse_pay_keys(_given(settings.wechat_pay_keys))
    return PayConfig(
        appid=_given(settings.wechat_app_id),
        mchid=_given(settings.wechat_mch_id),
        private_key_pem=_secret(settings.wechat_mch_private_key),
        serial=_given(settings.wechat_mch_serial),
        apiv3_key=_secret(settings.wechat_api_v3_key),
        verifying_keys=keys,
        preferred_serial=next(iter(keys)),
    )


def _given(value: str | None) -> str:
    assert value is not None, "checked when the settings were loaded, or filled in from the sandbox"
    return value


def _secret(value: SecretStr | None) -> str:
    return _given(value.get_secret_value() if value is not None else None)


# --- dependencies to application ----------------------------------------------------------------------------------


def application() -> telemetry.App:
    """The ASGI application of one server process; uvicorn calls this in each."""
    settings = configuration.effective()
    _configure_logs(settings)
    _end_with_parent()
    return telemetry.RequestLog(build(settings))


def build(settings: Settings) -> Starlette:
    """The application: its routes are made when it starts, from the dependencies that are open by then."""

    rates = _rates(settings)

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
                        metrics_token=_secret(settings.metrics_token) if settings.metrics_token else None,
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
            await _finished(work, settings.shutdown_grace_s)

    return Starlette(
        lifespan=lifespan,
        max_body_size=REQUEST_BODY_BYTES,
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


def _rates(settings: Settings) -> Rates:
    """The limits at both doors.

    Raises:
        surroundings.StartRefused: an operation is named that has no limit to change.
    """
    standing = Rates(
        member=budget(settings.rate_member_points, settings.rate_member_points_per_s),
        operator=budget(settings.rate_operator_points, settings.rate_operator_points_per_s),
        visitor=budget(settings.rate_visitor_points, settings.rate_visitor_points_per_s),
    )
    try:
        return standing.changed(configuration.parse_rates(settings.rate_operations))
    except ValueError as error:
        raise surroundings.StartRefused(f"YOULI_RATE_OPERATIONS: {error}") from None


def _configure_logs(settings: Settings) -> None:
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and (settings.production or not sys.stderr.isatty())
    )
    telemetry.configure_logs(level=settings.log_level, as_json=as_json)


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


async def _finished(work: asyncio.Task[None] | None, within_s: float) -> None:
    """Wait for the jobs' round under way, in bounds: what is cut off is leased, and comes again after the lease."""
    if work is not None:
        await asyncio.wait({work}, timeout=within_s)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


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


# --- what has to be in the database -------------------------------------------------------------------------------


async def complete(settings: Settings) -> None:
    """Nothing is missing in the database.

    Raises:
        surroundings.StartRefused: a migration is pending, or a declared constraint, index or trigger is not there.
    """
    async with database.database(_secret(settings.database_url), pool_size=2):
        pending = await database.pending_migrations()
        if pending:
            raise surroundings.StartRefused(f"Migrations are pending: {', '.join(pending)}. Run `make migrate` first.")
        problems = await declared.problems()
        if problems:
            raise surroundings.StartRefused(
                "The database is not as declared:\n" + "\n".join(f"  {line}" for line in problems)
            )


async def migrated(settings: Settings) -> list[str]:
    """Apply what is pending; the names of the migrations applied."""
    async with database.database(_secret(settings.database_url), pool_size=2):
        return await database.migrate()


async def opened(deps: Deps, settings: Settings) -> str | None:
    """The first version of each programme and the first owner are there.

    Returns the owner's password if one was made up just now: it is shown once.

    Raises:
        StartRefused: the owner's login or password cannot be taken.
    """
    await prepare(deps.clock.now())
    password = settings.owner_password.get_secret_value() if settings.owner_password else None
    try:
        return await ensure_owner(deps, login=settings.owner_login, password=password)
    except Refusal as refused:
        raise surroundings.StartRefused(f"YOULI_OWNER_LOGIN or _PASSWORD: {refused.message('en')}") from None


async def _ready_to_serve(settings: Settings) -> str | None:
    await surroundings.reachable(settings)
    await complete(settings)
    async with dependencies(settings) as deps:
        return await opened(deps, settings)


async def _ready_to_try(settings: Settings, *, sandbox: bool) -> str | None:
    """All that ``serve`` asks for, made where it is missing, and goods; the demo member's token where that can be."""
    await surroundings.reachable(settings)
    await migrated(settings)
    await complete(settings)
    async with dependencies(settings) as deps:
        await opened(deps, settings)
        await fill(deps)
        await renew(deps)
        return await visitor.settle_in(deps, platform_url=settings.wechat_api_base_url) if sandbox else None


# --- the command line ---------------------------------------------------------------------------------------------


@cli.command()
def run() -> None:
    """Set everything up and serve: engines, migrations, demo goods, sandbox WeChat, server with its jobs."""
    asked = configuration.effective()
    if asked.production:
        raise surroundings.StartRefused("`run` is for trying and developing. In production: `migrate`, then `serve`.")
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)
    _configure_logs(asked)
    _rates(asked)
    with surroundings.claimed_port(asked) as listener, surroundings.provided(asked) as settings:
        token = asyncio.run(_ready_to_try(settings, sandbox=asked.sandbox))
        listen(settings, listener, workers=1, announce=lambda: typer.echo(_welcome(settings, token)))


@cli.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Serve. Refuses when a migration is pending or a declared constraint is missing."""
    asked = configuration.effective()
    _configure_logs(asked)
    _rates(asked)
    with surroundings.claimed_port(asked) as listener, surroundings.provided(asked) as settings:
        made_up = asyncio.run(_ready_to_serve(settings))
        if made_up is not None:
            typer.echo(f"The first owner is {settings.owner_login!r}, the password {made_up}. It is shown only now.")
        address = settings.public_address
        listen(settings, listener, workers=workers, announce=lambda: log.info("serving", address=address))


@cli.command()
def worker() -> None:
    """Run only the jobs, beside servers with YOULI_JOBS_IN_SERVER=false."""
    settings = configuration.effective()
    _configure_logs(settings)
    with surroundings.provided(settings) as settings:
        asyncio.run(_ready_to_serve(settings))
        asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with dependencies(settings) as deps:
        log.info("working")
        work = asyncio.create_task(jobs.run(deps, stop))
        await asyncio.wait({work, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        await _finished(work, settings.shutdown_grace_s)


@cli.command()
def migrate() -> None:
    """Bring the database to the newest migration, under a lock."""
    settings = configuration.effective()
    _configure_logs(settings)
    with surroundings.provided(settings, platform=False) as settings:
        asyncio.run(surroundings.reachable(settings))
        applied = asyncio.run(migrated(settings))
        asyncio.run(complete(settings))
    typer.echo(
        f"Applied: {', '.join(applied)}" if applied else "Nothing to do: the database is at the newest migration."
    )


@cli.command()
def verify() -> None:
    """Check every invariant of what is stored; exit 1 and show the offenders when one does not hold."""
    settings = configuration.effective()
    _configure_logs(settings)
    with surroundings.provided(settings, platform=False) as settings:
        asyncio.run(surroundings.reachable(settings))
        broken = asyncio.run(_verified(settings))
    raise typer.Exit(1 if broken else 0)


async def _verified(settings: Settings) -> int:
    async with database.database(_secret(settings.database_url), pool_size=2):
        findings = await invariants.verify()
    for finding in findings:
        typer.echo(f"  {'✗' if finding.offenders else '✓'} {finding.invariant.promise}")
        for offender in finding.offenders:
            typer.echo(f"      {dict(offender)}")
    broken = sum(bool(finding.offenders) for finding in findings)
    typer.echo(f"{len(findings) - broken} of {len(findings)} invariants hold.")
    return broken


@cli.command()
def demo() -> None:
    """Play the main story through HTTP, in the running store of this data folder or in one started for it."""
    asked = configuration.effective()
    _configure_logs(asked)
    if asked.production or not asked.sandbox:
        raise surroundings.StartRefused("The demo is played on the sandbox WeChat, and the settings name another one.")
    with surroundings.open_store(asked) as store, surroundings.provided(asked) as settings:
        with httpx.Client(trust_env=False, timeout=30.0) as http:
            played = Story(http, store_url=store, platform_url=settings.wechat_api_base_url, tell=typer.echo)
            played.play(owner_login=settings.owner_login, owner_password=_secret(settings.owner_password))
        typer.echo("")
        broken = asyncio.run(_verified(settings))
    raise typer.Exit(1 if broken else 0)


@cli.command()
def doctor() -> None:
    """Show the effective settings without secrets, the engines, pending migrations and what the catalogue lacks."""
    settings = configuration.effective()
    _configure_logs(settings)
    typer.echo("Settings")
    for name, value in settings.described().items():
        typer.echo(f"  {name:32} {value}")
    with surroundings.provided(settings, platform=False) as settings:
        asyncio.run(surroundings.reachable(settings))
        problems = asyncio.run(_examination(settings))
    raise typer.Exit(1 if problems else 0)


async def _examination(settings: Settings) -> list[str]:
    problems: list[str] = []
    typer.echo("Engines")
    async with database.database(_secret(settings.database_url), pool_size=2):
        version = (await database.rows("SELECT version()"))[0]["version"]
        typer.echo(f"  PostgreSQL   {version.split(' on ')[0]}")
        redis = valkey.connect(_secret(settings.redis_url))
        try:
            about = await redis.info("server")
            name = about.get("server_name", "redis")
            typer.echo(f"  {name.capitalize():12} {about.get(f'{name}_version', about['redis_version'])}")
        except (OSError, RedisError) as error:
            problems.append(f"Redis does not answer: {error}")
        finally:
            await redis.aclose()
        problems += [f"pending migration: {name}" for name in await database.pending_migrations()]
        if not problems:
            problems += await declared.problems()
    typer.echo("Findings")
    for problem in problems or ["nothing: every migration is applied, every declared constraint is there"]:
        typer.echo(f"  {problem}")
    return problems


@cli.command()
def sandbox() -> None:
    """Run only the sandbox WeChat, until Ctrl-C."""
    settings = configuration.load()
    if settings.production:
        raise surroundings.StartRefused("There is no sandbox in production.")
    _configure_logs(settings)
    with surroundings.sandbox(settings) as running:
        typer.echo(
            f"Sandbox WeChat: {running.address['url']}   its operator's side: {running.address['url']}/_sandbox/"
        )
        while running.alive():
            signal.pause()


@cli.command()
def schema() -> None:
    """Write the committed SDL of both schemas."""
    write_sdl()


def _welcome(settings: Settings, token: str | None) -> str:
    address, indent = settings.public_address, "      "
    lines = [
        "",
        "  Youli is open. Ctrl-C closes it; what it knows stays in " + str(settings.data_dir),
        "",
        "  Shop, with GraphiQL in a browser       " + f"{address}/graphql",
        "  Operators, with GraphiQL in a browser  " + f"{address}/admin/graphql",
        f"{indent}login {settings.owner_login}, password {_secret(settings.owner_password)} (until it is changed)",
        "",
    ]
    if token is not None:
        lines += [
            "  The sandbox WeChat                     " + settings.wechat_api_base_url,
            "",
            "  A demo member's token, good for "
            + f"{settings.member_access_ttl_s // 60} minutes; in GraphiQL under Headers:",
            f'{indent}{{ "Authorization": "Bearer {token}" }}',
            "",
        ]
    return "\n".join([*lines, "  To paste:", *(indent + document for document in visitor.TRY), ""])


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """The command line. Exit codes: 0 done, 1 refused, 2 wrong settings or wrong use, 130 interrupted."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, _leave)
    try:
        cli()
    except configuration.SettingsRefused as refused:
        lines = "\n".join(f"  {name}: {problem}" for name, problem in refused.problems)
        sys.stderr.write(f"These settings do not allow a start:\n{lines}\n")
        sys.exit(2)
    except StoryBroken as broken:
        sys.stderr.write(f"The story is broken: {broken}\n")
        sys.exit(1)
    except (surroundings.StartRefused, processes.StartFailed, postgres.EngineMissing, valkey.EngineMissing) as refused:
        sys.stderr.write(f"{refused}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    # Under its own name, as the worker processes know it, so that there is one of everything.
    from server import main as named_main

    named_main()
