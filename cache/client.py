"""The clients of Redis in its three forms, each with the same manners.

Every wait is bounded, also that for a free connection in a rush. After one wait in vain a server that hangs is left
alone for a second: whoever asks meanwhile hears at once that Redis is away.

A command is never sent twice: after a lost reply nobody knows whether it was done, so whoever asked asks again with the
same request id, if that is worth it. What is sure not to have been done (a cluster's MOVED and ASK) is sent on. After a
failover the first command on an old connection fails, and the next one finds the new server.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from hiredis import pack_command
from redis import asyncio as aioredis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cache.address import Address, Form, parse

WAIT_S = 2.0
SENTINEL_WAIT_S = 1.0
LONG_S = 0.5
REST_S = 1.0
TOGETHER = 128
CONNECTIONS = 64
SPARE_CONNECTIONS = 8
"""Connections of a cluster's node beyond those that commands may take, for asking who has which slots."""

Client: TypeAlias = aioredis.Redis | aioredis.RedisCluster

NOT_SENT = "The connection was closed before the command was sent."
CLOSED = (AttributeError, RuntimeError)
"""What comes of sending on a connection that was closed meanwhile: the library closes a lost node's connections also
under those who are just about to send on one, and uvloop those that it has seen break."""


class _Question(NamedTuple):
    """A command as it is sent, how its answer is read, and who waits for it."""

    packed: bytes
    name: str
    options: dict[str, Any]
    answer: asyncio.Future[Any]


class _Patience:
    """After one wait in vain a server that hangs is left alone for a moment, so that not every request waits for it."""

    def __init__(self) -> None:
        self._rests_until_s = 0.0

    def begin(self) -> float:
        """When the asking begins, in seconds of the monotonic clock. Raises: ConnectionError while the server rests."""
        begun_s = time.monotonic()
        if begun_s < self._rests_until_s:
            raise ConnectionError("Redis did not answer a moment ago and is left alone for another.")
        return begun_s

    def failed(self, begun_s: float) -> None:
        """What was asked then was not answered."""
        now_s = time.monotonic()
        if now_s - begun_s >= LONG_S:
            self._rests_until_s = now_s + REST_S


class _Server(aioredis.Redis):
    """One server, found by its address or by Sentinel.

    What is asked in one turn of the event loop goes out together and comes back together, which costs a busy server
    process a fraction of asking one by one. Each is answered for itself.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._patience = _Patience()
        self._waiting: list[_Question] = []
        self._exchanges: set[asyncio.Task[None]] = set()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command with those of this turn, unless the server hangs."""
        begun_s = self._patience.begin()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        # The client's commands may be of two words, and name their keys for caches of the library.
        packed = pack_command((*args[0].split(), *args[1:]))
        options.pop("keys", None)
        self._waiting.append(_Question(packed, args[0], options, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        try:
            return await answer
        except (ConnectionError, RedisTimeoutError):
            self._patience.failed(begun_s)
            raise

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), TOGETHER):
            exchange = asyncio.create_task(self._exchange(waiting[first : first + TOGETHER]))
            self._exchanges.add(exchange)
            exchange.add_done_callback(self._exchanges.discard)

    async def _exchange(self, questions: Sequence[_Question]) -> None:
        try:
            told = await self._told(b"".join([one.packed for one in questions]), len(questions))
        except Exception as error:
            told = [error] * len(questions)
        for one, said in zip(questions, told, strict=True):
            if not one.answer.done():
                self._answer(one, said)

    async def _told(self, packed: bytes, many: int) -> list[Any]:
        """What the server says to so many commands: one packet there and one time limit, where the library's pipeline
        takes one for each answer and packs in Python, which was a fifth of the time of a request.

        All is read before anything is made of it: what was left over would be the answer of whoever asks next.
        """
        connection: Any = await self.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(WAIT_S):
                try:
                    await connection.send_packed_command(packed, check_health=False)
                except CLOSED as error:
                    raise ConnectionError(NOT_SENT) from error
                return [await self._said(connection) for _ in range(many)]
        except TimeoutError:
            raise RedisTimeoutError("Redis did not answer in time.") from None
        finally:
            await self.connection_pool.release(connection)

    async def _said(self, connection: Any) -> Any:
        try:
            return await connection.read_response(timeout=math.inf)
        except ResponseError as error:
            return error

    def _answer(self, question: _Question, said: Any) -> None:
        try:
            if isinstance(said, Exception):
                raise said
            read = self.response_callbacks.get(question.name)
            question.answer.set_result(said if read is None else read(said, **question.options))
        except Exception as error:
            question.answer.set_exception(error)


class _SentinelPool(SentinelConnectionPool, aioredis.BlockingConnectionPool):
    """A pool of connections to whatever server Sentinel names, in which one waits for a free one."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Leave the server; when the client is closed, the sentinels as well."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


class _Cluster(aioredis.RedisCluster):
    """A cluster in whose client one waits for a free connection, and whose loss is a ConnectionError as elsewhere."""

    def __init__(self, **options: Any) -> None:
        # At every fifth MOVED the library would cut all connections, under whoever is waiting on them for an answer;
        # without that each MOVED corrects its own slot, and a lost connection has them all read again.
        super().__init__(max_connections=CONNECTIONS + SPARE_CONNECTIONS, reinitialize_steps=0, **options)
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._patience = _Patience()

    async def initialize(self, *args: Any, **kwargs: Any) -> "_Cluster":
        """Find out who has which slots."""
        try:
            await super().initialize(*args, **kwargs)
        except RedisClusterException as error:
            raise ConnectionError(f"the cluster cannot be reached: {error}") from error
        return self

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command where its keys are, in its turn."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise ConnectionError("No connection available.") from None
        try:
            begun_s = self._patience.begin()
            try:
                return await self._execute(*args, **kwargs)
            except (ConnectionError, RedisTimeoutError):
                self._patience.failed(begun_s)
                raise
        finally:
            self._turns.release()

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        # The library sends what is asked before it knows the slots to any node, one MOVED for each.
        await self.initialize()
        try:
            return await super().execute_command(*args, **kwargs)
        except CLOSED as error:
            raise ConnectionError(NOT_SENT) from error


def client_of(url: str) -> Client:
    """A client of its own connection pool for any form of ``REDIS_URL``. Nothing is sent yet.

    Raises:
        ValueError: the URL means nothing.
    """
    address = parse(url)
    if address.form is Form.STANDALONE:
        return _standalone(url)
    return _sentinel(address) if address.form is Form.SENTINEL else _cluster(address)


def _manners() -> dict[str, Any]:
    return {
        "socket_timeout": WAIT_S,
        "socket_connect_timeout": WAIT_S,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
    }


def _standalone(url: str) -> aioredis.Redis:
    manners = _manners()
    if url.startswith("unix:"):
        del manners["socket_keepalive"]
    pool = aioredis.BlockingConnectionPool.from_url(url, timeout=WAIT_S, max_connections=CONNECTIONS, **manners)
    return _Server.from_pool(pool)


def _sentinel(address: Address) -> aioredis.Redis:
    tls = _tls(address)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={
            **_manners(),
            "socket_timeout": SENTINEL_WAIT_S,
            "socket_connect_timeout": SENTINEL_WAIT_S,
            "username": address.options.get("sentinel_username"),
            "password": address.options.get("sentinel_password"),
            **tls,
        },
    )
    master: aioredis.Redis = sentinels.master_for(
        address.service,
        redis_class=_Server,
        connection_pool_class=_SentinelPool,
        timeout=WAIT_S,
        max_connections=CONNECTIONS,
        db=address.database,
        username=address.username,
        password=address.password,
        **_manners(),
        **tls,
    )
    return master


def _cluster(address: Address) -> aioredis.RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    return _Cluster(
        startup_nodes=nodes,
        # A shard that is lost is one shard: the others go on.
        require_full_coverage=False,
        username=address.username,
        password=address.password,
        **_manners(),
        **_tls(address),
    )


def _tls(address: Address) -> dict[str, Any]:
    if not address.tls:
        return {}
    authority = address.options.get("ssl_ca_certs")
    return {"ssl": True, **({"ssl_ca_certs": authority} if authority else {})}
