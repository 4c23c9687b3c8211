"""What has to be there around the server: its port, the engines with all that is declared in them, the log, and in
development the sandbox WeChat.

Part of the composition root. Each thing is found where the settings name it, or started and stopped again.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import structlog
from pydantic import SecretStr
from redis.exceptions import RedisError

import processes
import settings as configuration
import telemetry
from cache import engine as valkey
from models import declared, postgres
from models import engine as database
from settings import Settings, secret

ROOT = Path(__file__).parent
STORE_WITHIN_S = 240.0

log = structlog.get_logger("youli")


class StartRefused(Exception):
    """The program does not start; the text tells the operator what to do."""


def configure_logs(settings: Settings) -> None:
    """JSON in production and where nobody looks on, colours in a terminal, unless the settings say which."""
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and (settings.production or not sys.stderr.isatty())
    )
    telemetry.configure_logs(level=settings.log_level, as_json=as_json)


@contextmanager
def provided(settings: Settings, *, platform: bool = True) -> Iterator[Settings]:
    """The engines and, in development without WeChat credentials, the sandbox: found or started, stopped at the end.

    Yields the settings completed with their addresses, which stand in the environment as well, for worker processes.
    """
    with ExitStack() as started:
        store = postgres.find_or_start(_url(settings.database_url), settings.data_dir)
        started.callback(store.stop)
        cache = valkey.find_or_start(_url(settings.redis_url), settings.data_dir)
        started.callback(cache.stop)
        found = {"DATABASE_URL": store.url, "REDIS_URL": cache.url}
        children = [engine for engine in (store.engine, cache.engine) if engine is not None]
        if platform and settings.sandbox:
            stand_in = started.enter_context(sandbox(settings))
            found |= _sandbox_settings(stand_in.address["url"])
            children.append(stand_in)
        os.environ.update(found)
        started.enter_context(processes.watched(children, log.warning))
        try:
            yield configuration.effective()
        finally:
            # Every stop below is bounded, and a second Ctrl-C in the middle would leave something running.
            for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(sign, signal.SIG_IGN)


def _url(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def sandbox(settings: Settings) -> processes.Running:
    """The sandbox WeChat of this data folder, found running or started on a free port.

    Raises:
        processes.StartFailed: it did not come up.
    """
    pid_file = settings.data_dir / "run" / "sandbox.json"
    with processes.locked(pid_file.with_suffix(".lock")):
        shared = processes.found(pid_file, _sandbox_answers)
        if shared is not None:
            return shared
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        state = settings.data_dir / "sandbox"
        program = processes.Program(
            name="sandbox WeChat",
            argv=[
                sys.executable,
                "-m",
                "wechat.sandbox",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--state-dir",
                str(state),
            ],
            log=settings.data_dir / "log" / "sandbox.log",
            cwd=ROOT,
        )
        return processes.start(program, pid_file, {"url": f"http://127.0.0.1:{port}"}, _sandbox_answers)


def _sandbox_answers(address: dict[str, Any]) -> bool:
    try:
        return bool(_get_json(f"{address['url']}/_sandbox/config"))
    except (OSError, ValueError):
        return False


def _sandbox_settings(url: str) -> dict[str, str]:
    shown = _get_json(f"{url}/_sandbox/config")
    keys = {shown["preferred_serial"]: shown["verifying_keys"][shown["preferred_serial"]]} | shown["verifying_keys"]
    return {
        "WECHAT_API_BASE_URL": url,
        "WECHAT_PAY_BASE_URL": url,
        "WECOM_BASE_URL": url,
        "YOULI_WECHAT_APP_ID": shown["appid"],
        "YOULI_WECHAT_APP_SECRET": shown["secret"],
        "YOULI_WECHAT_MCH_ID": shown["mchid"],
        "YOULI_WECHAT_MCH_SERIAL": shown["merchant_serial"],
        "YOULI_WECHAT_MCH_PRIVATE_KEY": shown["merchant_private_key"],
        "YOULI_WECHAT_API_V3_KEY": shown["apiv3_key"],
        "YOULI_WECHAT_PAY_KEYS": json.dumps(keys),
    }


def _get_json(url: str) -> Any:
    # No proxy of the environment stands between this machine and itself.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=5.0) as answer:
        return json.load(answer)


async def reachable(settings: Settings) -> None:
    """Wait, in bounds, until the database answers; say so when Redis does not.

    Raises:
        StartRefused: it does not, or it is too old.
    """
    url, redis_url = secret(settings.database_url), secret(settings.redis_url)
    give_up = asyncio.get_running_loop().time() + settings.database_wait_s
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=3.0)
            break
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise StartRefused(f"DATABASE_URL: {error}") from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if asyncio.get_running_loop().time() > give_up:
                parts = urlsplit(url)
                place = f"{parts.hostname}:{parts.port or 5432}" if parts.hostname else "its socket"
                raise StartRefused(
                    f"The database at {place} does not answer "
                    f"({type(error).__name__}: {error}). Is DATABASE_URL right, and is it running?"
                ) from None
            await asyncio.sleep(0.3)
    major = connection.get_server_version().major
    await connection.close()
    if major < postgres.OLDEST_MAJOR:
        raise StartRefused(f"DATABASE_URL: PostgreSQL {major} is too old; {postgres.OLDEST_MAJOR} or newer is needed")
    redis = valkey.connect(redis_url)
    try:
        await redis.ping()
    except (OSError, RedisError) as error:
        log.warning("redis does not answer; the store goes on without it, more slowly", reason=str(error))
    finally:
        await redis.aclose()


async def complete(settings: Settings) -> None:
    """Nothing is missing in the database.

    Raises:
        StartRefused: a migration is pending, or a declared constraint, index or trigger is not there.
    """
    async with database.database(secret(settings.database_url), pool_size=2):
        pending = await database.pending_migrations()
        if pending:
            raise StartRefused(f"Migrations are pending: {', '.join(pending)}. Run `make migrate` first.")
        problems = await declared.problems()
        if problems:
            raise StartRefused("The database is not as declared:\n" + "\n".join(f"  {line}" for line in problems))


async def migrated(settings: Settings) -> list[str]:
    """Apply what is pending; the names of the migrations applied."""
    async with database.database(secret(settings.database_url), pool_size=2):
        return await database.migrate()


@contextmanager
def open_store(settings: Settings) -> Iterator[str]:
    """The address of a running store of these settings; where there is none, one is started and stopped again.

    Raises:
        processes.StartFailed: it did not open.
    """
    address = {"url": settings.public_address}
    if _store_answers(address):
        yield settings.public_address
        return
    program = processes.Program(
        name="the store",
        argv=[sys.executable, "server.py", "run"],
        log=settings.data_dir / "log" / "demo.log",
        cwd=ROOT,
        environ={name: value for name, value in os.environ.items() if name != "MAKELEVEL"},
        stop_signals=(signal.SIGTERM,),
        patience_s=settings.shutdown_grace_s + 15.0,
    )
    with processes.start(
        program, settings.data_dir / "run" / "demo.json", address, _store_answers, within_s=STORE_WITHIN_S
    ):
        yield settings.public_address


def _store_answers(address: dict[str, Any]) -> bool:
    try:
        return bool(_get_json(f"{address['url']}/readyz")["checks"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def claimed_port(settings: Settings, *, name: str = "PORT", port: int | None = None) -> socket.socket:
    """A socket of our own, the server's unless another port is given; bound before anything else is started.

    Raises:
        StartRefused: somebody else has the port; the text says which setting ``name`` chooses another one.
    """
    port = settings.port if port is None else port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, port))
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"Port {port} on {settings.host} cannot be had ({error.strerror}). Is another server running? "
            f"Choose another one: {name}={port + 1}"
        ) from None
    listener.set_inheritable(True)
    return listener
