"""A store in processes of its own that things can happen to: to server and worker, both engines, and Redis' replies."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cache import engine as valkey
from models import postgres
from tests.server.processes_seen import Program, command, environment, eventually, free_port, running


@dataclass
class LossyProxy:
    """Stands between the store and Redis. ``mute``: commands arrive and their replies are lost."""

    path: str
    mute: bool = False
    cut: bool = False
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", port)

    async def stop(self) -> None:
        """Hang up."""
        assert self._server is not None
        self._server.close()
        self.drop()

    def drop(self) -> None:
        """Break every connection off."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        # At the end of a test what still waits for a reply is called off.
        with suppress(OSError, asyncio.CancelledError):
            if not self.cut:
                there, on = await asyncio.open_unix_connection(self.path)
                try:
                    await asyncio.gather(self._forth(reader, on), self._back(there, writer))
                finally:
                    on.transport.abort()
        writer.transport.abort()
        self._open.discard(writer)

    async def _forth(self, reader: asyncio.StreamReader, on: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            on.write(chunk)
            await on.drain()
        raise ConnectionResetError

    async def _back(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(65536):
            if self.mute:
                break
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError


@dataclass
class FlashStore:
    """The running processes, and the misfortunes that can befall them. Each one is over when its call returns."""

    env: Mapping[str, str]
    database: postgres.Postgres
    redis: valkey.Valkey
    proxy: LossyProxy
    log: Path
    server: Program
    worker: Program
    stack: ExitStack

    @property
    def misfortunes(self) -> dict[str, Callable[[random.Random], Awaitable[None]]]:
        """By name."""
        return {
            "redis flushed": self.flush_redis,
            "redis killed": self.kill_redis,
            "redis away": self.cut_redis,
            "replies lost": self.lose_replies,
            "postgres restarted": self.restart_postgres,
            "worker paused": self.pause_worker,
            "server killed": self.kill_server,
        }

    async def flush_redis(self, _: random.Random) -> None:
        """Redis forgets everything."""
        client = valkey.connect(self.redis.url)
        await client.execute_command("FLUSHALL")
        await client.aclose()

    async def kill_redis(self, _: random.Random) -> None:
        """Redis dies and comes back with what was on disk, the last second perhaps not."""
        assert self.redis.engine is not None
        os.kill(self.redis.engine.pid, signal.SIGKILL)
        await asyncio.to_thread(self._redis_again)

    def _redis_again(self) -> None:
        assert self.redis.engine is not None
        assert self.redis.engine.process is not None
        self.redis.engine.process.wait()
        self.redis.engine.start_again()

    async def cut_redis(self, rng: random.Random) -> None:
        """Nobody reaches Redis for a while."""
        self.proxy.cut = True
        self.proxy.drop()
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        self.proxy.cut = False

    async def lose_replies(self, rng: random.Random) -> None:
        """Redis does what it is told, and nobody hears of it."""
        self.proxy.mute = True
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        self.proxy.mute = False

    async def restart_postgres(self, _: random.Random) -> None:
        """PostgreSQL breaks off what is under way and comes back."""
        await asyncio.to_thread(self._postgres_again)

    def _postgres_again(self) -> None:
        assert self.database.engine is not None
        self.database.engine.stop()
        self.database.engine.start_again()

    async def pause_worker(self, rng: random.Random) -> None:
        """The worker stands still for longer than its leases, and goes on where it was."""
        self.worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(3.5, 5.0))
        self.worker.process.send_signal(signal.SIGCONT)

    async def kill_server(self, _: random.Random) -> None:
        """The server dies in the middle of it, and another one is started."""
        self.server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._server_again)

    def _server_again(self) -> None:
        self.server.process.wait(timeout=20)
        self.server = self.stack.enter_context(running(("serve",), self.env, self.log))
        self.server.wait_until_ready()


@contextmanager
def flash_store(folder: Path) -> Iterator[FlashStore]:
    """The store with nothing in it, ready. Its jobs run in the server and in the worker, as rivals."""
    engines = folder / "engines"
    database, redis = postgres.find_or_start(None, engines), valkey.find_or_start(None, engines)
    proxy = LossyProxy(unquote(urlsplit(redis.url).path))
    redis_port = free_port()
    env = environment(
        folder / "var",
        free_port(),
        DATABASE_URL=database.url,
        REDIS_URL=f"redis://127.0.0.1:{redis_port}/0",
        YOULI_RATE_OPERATIONS="flashSalePurchase=off,orderPay=off,orderCancel=off",
        YOULI_RATE_MEMBER_POINTS="0",
    )
    log = folder / "log"
    try:
        migrated = command("migrate", env=env, within_s=180)
        assert migrated.returncode == 0, migrated.stderr
        with ExitStack() as stack:
            # WeChat is nobody's child here, and outlives the server.
            stack.enter_context(running(("sandbox",), env, folder / "sandbox.log"))
            eventually((folder / "var" / "run" / "sandbox.json").exists, within_s=60.0, what="the sandbox")
            server = stack.enter_context(running(("serve",), env, log))
            server.wait_until_ready()
            worker = stack.enter_context(running(("worker",), env | {"PORT": str(free_port())}, log))
            yield FlashStore(env, database, redis, proxy, log, server, worker, stack)
    finally:
        redis.stop()
        database.stop()
