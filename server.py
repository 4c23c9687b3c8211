"""How it starts: the command line, and the application as an ASGI server asks for it.

A command imports by itself what only it needs, so ``migrate`` and ``doctor`` start without the doors.
"""

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import structlog
import typer
from redis.exceptions import RedisError

import processes
import settings as configuration
import surroundings
import telemetry
from cache import engine as valkey
from models import declared, postgres
from models import engine as database
from models.asyncpg_backend import Unavailable
from settings import Settings, secret

log = structlog.get_logger("youli")
cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A store: its servers and its jobs.",
)


def application() -> telemetry.App:
    """The ASGI application of one server process; uvicorn calls this in each."""
    from application import of_this_process

    return of_this_process()


@cli.command()
def run() -> None:
    """Set everything up and serve: engines, migrations, demo goods, sandbox WeChat, server with its jobs."""
    from dependencies import rates_of, ready_to_try
    from serving import listen

    asked = configuration.effective()
    if asked.production:
        raise surroundings.StartRefused("`run` is for trying and developing. In production: `migrate`, then `serve`.")
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)
    surroundings.configure_logs(asked)
    rates_of(asked)
    with surroundings.claimed_port(asked) as listener, surroundings.provided(asked) as settings:
        token = asyncio.run(ready_to_try(settings, sandbox=asked.sandbox))
        listen(settings, listener, workers=1, announce=lambda: typer.echo(_welcome(settings, token)))


@cli.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Serve. Refuses when a migration is pending or a declared constraint is missing."""
    from dependencies import rates_of, ready_to_serve
    from serving import listen

    asked = configuration.effective()
    surroundings.configure_logs(asked)
    rates_of(asked)
    with surroundings.claimed_port(asked) as listener, surroundings.provided(asked) as settings:
        made_up = asyncio.run(ready_to_serve(settings))
        if made_up is not None:
            typer.echo(f"The first owner is {settings.owner_login!r}, the password {made_up}. It is shown only now.")
        address = settings.public_address
        listen(settings, listener, workers=workers, announce=lambda: log.info("serving", address=address))


@cli.command()
def worker() -> None:
    """Run only the jobs, beside servers with YOULI_JOBS_IN_SERVER=false."""
    from dependencies import ready_to_serve
    from serving import show_metrics

    asked = configuration.effective()
    surroundings.configure_logs(asked)
    port = asked.worker_metrics_port
    page = None if port is None else surroundings.claimed_port(asked, name="YOULI_WORKER_METRICS_PORT", port=port)
    with surroundings.provided(asked) as settings:
        asyncio.run(ready_to_serve(settings))
        if page is not None:
            show_metrics(settings, page)
        asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    from dependencies import dependencies
    from jobs import worker as jobs

    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with dependencies(settings) as deps:
        log.info("working")
        work = asyncio.create_task(jobs.run(deps, stop))
        await asyncio.wait({work, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        await jobs.finished(work, settings.shutdown_grace_s)


@cli.command()
def migrate() -> None:
    """Bring the database to the newest migration, under a lock."""
    settings = configuration.effective()
    surroundings.configure_logs(settings)
    with surroundings.provided(settings, platform=False) as settings:
        asyncio.run(surroundings.reachable(settings))
        applied = asyncio.run(surroundings.migrated(settings))
        asyncio.run(surroundings.complete(settings))
    typer.echo(
        f"Applied: {', '.join(applied)}" if applied else "Nothing to do: the database is at the newest migration."
    )


@cli.command()
def verify() -> None:
    """Check every invariant of what is stored; exit 1 and show the offenders when one does not hold."""
    settings = configuration.effective()
    surroundings.configure_logs(settings)
    with surroundings.provided(settings, platform=False) as settings:
        asyncio.run(surroundings.reachable(settings))
        broken = asyncio.run(_verified(settings))
    raise typer.Exit(1 if broken else 0)


async def _verified(settings: Settings) -> int:
    from resolvers.invariants import verify as invariants

    async with database.database(secret(settings.database_url), pool_size=2):
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
    import httpx

    from demo.client import WITHIN_S, StoryBroken
    from demo.story import Story

    asked = configuration.effective()
    surroundings.configure_logs(asked)
    if asked.production or not asked.sandbox:
        raise surroundings.StartRefused("The demo is played on the sandbox WeChat, and the settings name another one.")
    with surroundings.open_store(asked) as store, surroundings.provided(asked) as settings:
        with httpx.Client(trust_env=False, timeout=WITHIN_S) as http:
            played = Story(http, store_url=store, platform_url=settings.wechat_api_base_url, tell=typer.echo)
            try:
                played.play(owner_login=settings.owner_login, owner_password=secret(settings.owner_password))
            except StoryBroken as error:
                typer.echo(f"The story is broken: {error}", err=True)
                raise typer.Exit(1) from None
        typer.echo("")
        broken = asyncio.run(_verified(settings))
    raise typer.Exit(1 if broken else 0)


@cli.command()
def doctor() -> None:
    """Show the effective settings without secrets, the engines, pending migrations and what the catalogue lacks."""
    settings = configuration.effective()
    surroundings.configure_logs(settings)
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
    async with database.database(secret(settings.database_url), pool_size=2):
        version = (await database.rows("SELECT version()"))[0]["version"]
        typer.echo(f"  PostgreSQL   {version.split(' on ')[0]}")
        redis = valkey.connect(secret(settings.redis_url))
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
    surroundings.configure_logs(settings)
    with surroundings.sandbox(settings) as running:
        typer.echo(
            f"Sandbox WeChat: {running.address['url']}   its operator's side: {running.address['url']}/_sandbox/"
        )
        while running.alive():
            signal.pause()


@cli.command()
def schema() -> None:
    """Write the committed SDL of both schemas."""
    from schema.committed_sdl import write_sdl

    write_sdl()


def _welcome(settings: Settings, token: str | None) -> str:
    from demo import visitor

    address, indent = settings.public_address, "      "
    lines = [
        "",
        "  Youli is open. Ctrl-C closes it; what it knows stays in " + str(settings.data_dir),
        "",
        "  Shop, with GraphiQL in a browser       " + f"{address}/graphql",
        "  Operators, with GraphiQL in a browser  " + f"{address}/admin/graphql",
        f"{indent}login {settings.owner_login}, password {secret(settings.owner_password)} (until it is changed)",
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
    except (surroundings.StartRefused, processes.StartFailed, postgres.EngineMissing, valkey.EngineMissing) as refused:
        sys.stderr.write(f"{refused}\n")
        sys.exit(1)
    except Unavailable as gone:
        sys.stderr.write(f"The database went away meanwhile ({gone}). Nothing is lost: start again.\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    # Under its own name, as the worker processes know it, so that there is one of everything.
    from server import main as named_main

    named_main()
