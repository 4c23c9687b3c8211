"""The Redis of a sale and what can befall it: one server behind a proxy that loses replies, or one with replicas."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from redis.asyncio import RedisCluster

from cache import engine as valkey
from cache.address import Form
from cache.client import Client
from tests.ports import free_port
from tests.redis_forms import RedisForm, started

Misfortune = Callable[[random.Random], Awaitable[None]]


class SaleRedis(Protocol):
    """``url`` is for the store, whom all misfortunes befall; ``own_url`` for the test, whom they spare if possible."""

    @property
    def url(self) -> str: ...

    @property
    def own_url(self) -> str: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def misfortunes(self, gate_key: str) -> dict[str, Misfortune]: ...


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


class OneRedis:
    """A server that writes to disk, as ``make run`` starts it."""

    def __init__(self, folder: Path) -> None:
        self._redis = valkey.find_or_start(None, folder)
        self._port = free_port()
        self._proxy = LossyProxy(unquote(urlsplit(self._redis.url).path))
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.own_url = self._redis.url

    async def open(self) -> None:
        """Let the store through."""
        await self._proxy.start(self._port)

    async def close(self) -> None:
        """Hang up."""
        await self._proxy.stop()

    def stop(self) -> None:
        """Stop the server."""
        self._redis.stop()

    def misfortunes(self, gate_key: str) -> dict[str, Misfortune]:
        """By name."""
        return {
            "redis flushed": self._flush,
            "redis killed": self._kill,
            "redis away": self._cut,
            "replies lost": self._lose_replies,
        }

    async def _flush(self, _: random.Random) -> None:
        await _emptied(self.own_url)

    async def _kill(self, _: random.Random) -> None:
        """It comes back with what was on disk, the last second perhaps not."""
        assert self._redis.engine is not None
        os.kill(self._redis.engine.pid, signal.SIGKILL)
        await asyncio.to_thread(self._again)

    def _again(self) -> None:
        assert self._redis.engine is not None
        assert self._redis.engine.process is not None
        self._redis.engine.process.wait()
        self._redis.engine.start_again()

    async def _cut(self, rng: random.Random) -> None:
        self._proxy.cut = True
        self._proxy.drop()
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        self._proxy.cut = False

    async def _lose_replies(self, rng: random.Random) -> None:
        self._proxy.mute = True
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        self._proxy.mute = False


@dataclass
class SparedRedis:
    """A server behind Sentinel or the shards of a cluster, each with a replica."""

    form: RedisForm

    @property
    def url(self) -> str:
        """Nobody stands between."""
        return self.form.url

    @property
    def own_url(self) -> str:
        """The same: a test cannot be spared what befalls the servers themselves."""
        return self.form.url

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """It stays so."""

    def misfortunes(self, gate_key: str) -> dict[str, Misfortune]:
        """By name. What befalls one server befalls the one that has the gate."""

        async def flush(_: random.Random) -> None:
            await _emptied(self.form.url)

        async def fail_over(rng: random.Random) -> None:
            if rng.random() < 0.5:
                await asyncio.to_thread(self.form.falls_behind, gate_key)
                await asyncio.sleep(rng.uniform(0.1, 0.6))
            await asyncio.to_thread(self.form.fail_over, gate_key)

        async def hang(rng: random.Random) -> None:
            await asyncio.to_thread(self.form.hang, gate_key, rng.uniform(0.3, 3.0))

        async def hang_up(rng: random.Random) -> None:
            for _ in range(5):
                await asyncio.to_thread(self.form.hang_up, gate_key)
                await asyncio.sleep(rng.uniform(0.0, 0.3))

        return {"failover": fail_over, "redis flushed": flush, "redis hangs": hang, "redis hangs up": hang_up}


async def _emptied(url: str) -> None:
    client: Client = valkey.connect(url)
    everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    await client.execute_command("FLUSHALL", **everywhere)
    await client.aclose()


@contextmanager
def sale_redis(form: Form, folder: Path) -> Iterator[SaleRedis]:
    """A Redis of this form, running."""
    if form is not Form.STANDALONE:
        with started(form) as running:
            yield SparedRedis(running)
        return
    one = OneRedis(folder)
    try:
        yield one
    finally:
        one.stop()
