"""Every form of Redis by its URL, and a failover in the middle of the work."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import uvloop
from redis.exceptions import DataError, ResponseError

from cache import client as cache_client
from cache.address import Address, Form, parse
from cache.client import Client
from cache.engine import connect
from cache.one_time_code import KeptCode, claim, keep, key_of
from cache.outage import OUTAGES
from cache.rate_limit import Limit, TooMany, take
from cache.script import Script
from cache.session_state import ended, known_state, state_key
from models.ids import new_digits, new_id, new_secret
from tests.patience import PATIENCE_S
from tests.redis_forms import RedisForm

T = TypeVar("T")
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
TEN = Limit("ten", burst=10, every=timedelta(days=1))


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://a:6380/1", Address(form=Form.STANDALONE, tls=False)),
        ("rediss://me:secret@a/0?ssl_ca_certs=/ca.pem", Address(form=Form.STANDALONE, tls=True)),
        ("unix:///run/valkey.sock?db=3", Address(form=Form.STANDALONE, tls=False)),
        (
            "redis+sentinel://a:26380,b,[::1]:26381/shop/2?sentinel_password=s",
            Address(
                form=Form.SENTINEL,
                tls=False,
                hosts=(("a", 26380), ("b", 26379), ("::1", 26381)),
                service="shop",
                database=2,
                options={"sentinel_password": "s"},
            ),
        ),
        (
            "rediss+cluster://me:p%40ss@a:7000,b:7001?ssl_ca_certs=/ca.pem",
            Address(
                form=Form.CLUSTER,
                tls=True,
                hosts=(("a", 7000), ("b", 7001)),
                username="me",
                password="p@ss",
                options={"ssl_ca_certs": "/ca.pem"},
            ),
        ),
    ],
)
def test_a_url_says_in_which_form_redis_runs(url: str, meant: Address) -> None:
    assert parse(url) == meant


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://a", "write redis://"),
        ("redis+http://a", "write redis://"),
        ("redis://a:1,b:2/0", "several hosts"),
        ("redis+sentinel://a,b", "name the service"),
        ("redis+sentinel://a/shop/two", "name the service"),
        ("redis+sentinel:///shop", "name every host"),
        ("redis+sentinel://a/shop?db=1", "is understood"),
        ("redis+cluster://a,/0", "name every host"),
        ("redis+cluster://a/1", "no numbered databases"),
        ("redis+cluster://a:99999", "a number up to 65535"),
        ("redis+cluster://a?sentinel_password=x", "is understood"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(url)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1,127.0.0.1:2/shop", "redis+cluster://127.0.0.1:1"],
)
async def test_a_redis_that_is_not_there_is_an_outage_in_every_form(url: str) -> None:
    nowhere = connect(url)
    with pytest.raises(OUTAGES):
        await nowhere.get("key")
    with pytest.raises(OUTAGES):
        await nowhere.get("key")
    await nowhere.aclose()


async def test_more_at_once_than_there_are_connections_wait_for_each_other(redis: Client) -> None:
    script = Script("rate_limit_return.lua")
    keys = [f"crowd:{new_secret(6)}" for _ in range(500)]
    assert await asyncio.gather(*(script.run(redis, [key], 1) for key in keys)) == [0] * 500


async def test_who_asks_in_one_turn_is_answered_for_himself_alone(redis: Client) -> None:
    fruit, queue = f"{{turn:{new_secret(6)}}}:fruit", f"{{turn:{new_secret(6)}}}:queue"
    await redis.execute_command("SADD", fruit, "pear")
    asked: list[Awaitable[object]] = [
        redis.smembers(fruit),
        redis.execute_command("HGET", fruit, "colour"),
        redis.execute_command("GET", None),  # type: ignore[arg-type]
        redis.execute_command("PING", nobody_reads="that"),
        redis.execute_command("BLPOP", queue, "0.2"),
        redis.execute_command("SCARD", fruit),
    ]
    there, wrong_kind, unsent, unread, waited, count = await asyncio.gather(*asked, return_exceptions=True)
    assert (there, waited, count) == ({b"pear"}, None, 1)
    assert isinstance(wrong_kind, ResponseError)
    assert isinstance(unsent, TypeError | DataError)
    assert isinstance(unread, TypeError)
    assert await redis.execute_command("SCARD", fruit) == 1


async def test_a_limit_outlives_a_failover_in_the_middle_of_a_rush(redis_form: RedisForm, redis: Client) -> None:
    operation = f"rush-{new_secret(6)}"
    over = asyncio.Event()

    async def passes() -> bool:
        try:
            await take(redis, operation, (TEN, "mei"))
        except TooMany:
            return False
        return True

    async def knocks() -> int:
        passed = 0
        while not over.is_set():
            passed += await passes()
            await asyncio.sleep(0.002)
        return passed

    assert sum([await passes() for _ in range(30)]) == 10
    (key,) = [key async for key in redis.scan_iter(match=f"rate:*:{operation}:*")]
    knocking = [asyncio.create_task(knocks()) for _ in range(8)]
    await asyncio.to_thread(redis_form.fail_over, key.decode())
    over.set()
    passed_meanwhile = sum(await asyncio.gather(*knocking)) + sum([await passes() for _ in range(30)])
    # Ten that this process lets pass while Redis is away; and a single server begins anew when it is back.
    assert passed_meanwhile <= (20 if redis_form.form is Form.STANDALONE else 10)
    assert not await passes()
    assert await redis.exists(key) == 1


async def test_what_is_kept_is_found_again_after_a_failover(redis_form: RedisForm, redis: Client) -> None:
    if redis_form.form is Form.STANDALONE:
        pytest.skip("a single server has no replica that would know")
    session, code, kept = new_id(NOW), new_digits(18), KeptCode(new_id(NOW), NOW)
    for key in (state_key(session), key_of("code", code)):
        await soon(lambda: ended(redis, [session]))
        await soon(lambda: keep(redis, "code", code, kept, ttl=timedelta(minutes=5)))
        await asyncio.to_thread(redis_form.fail_over, key)
        assert await soon(lambda: redis.exists(key)) == 1  # noqa: B023 -- awaited before the next round
    assert await known_state(redis, session) is False
    assert await soon(lambda: claim(redis, "code", code, resolver="till 1")) == kept


async def soon(asking: Callable[[], Awaitable[T]]) -> T:
    """What is answered after a failover: old connections fail, and a server that made one wait is left alone first."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(*OUTAGES):
                return await asking()
            await asyncio.sleep(0.05)


async def test_what_fails_in_a_turn_fails_alone(redis: Client) -> None:
    name = f"turn:{new_secret(6)}"
    await redis.set(name, "text")
    answers: Sequence[object] = await asyncio.gather(
        redis.incr(name), redis.get(name), redis.get(f"{name}:none"), return_exceptions=True
    )
    assert isinstance(answers[0], ResponseError)
    assert list(answers[1:]) == [b"text", None]


async def test_who_stops_waiting_leaves_the_others_their_answers(redis: Client) -> None:
    names = [f"{{turn}}:{new_secret(6)}" for _ in range(20)]
    asking: list[asyncio.Future[object]] = [asyncio.ensure_future(redis.set(name, name)) for name in names]
    await asyncio.sleep(0)
    for one in asking[::2]:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert [one.result() for one in asking[1::2]] == [True] * 10
    assert await asyncio.gather(*(redis.get(name) for name in names[1::2])) == [one.encode() for one in names[1::2]]


async def test_a_redis_that_hangs_makes_one_wait_and_not_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_client, "WAIT_S", 2 * cache_client.LONG_S)
    monkeypatch.setattr(cache_client, "REST_S", PATIENCE_S)
    knocks = 0

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal knocks
        knocks += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(says_nothing, "127.0.0.1", 0) as silent:
        hanging = connect(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0")
        for _ in range(20):
            with pytest.raises(OUTAGES):
                await hanging.get("key")
        assert knocks == 1
        await hanging.aclose()


def test_a_connection_that_was_lost_while_nobody_looked_is_an_outage(redis_form: RedisForm) -> None:
    async def talk() -> None:
        client = connect(redis_form.url)
        await client.execute_command("SET", "a-key", "1")
        pool = getattr(client, "connection_pool", None)
        idle: list[Any] = (
            pool._available_connections if pool else [one for node in client.get_nodes() for one in node._free]  # type: ignore[union-attr]
        )
        for connection in idle:
            connection._writer.transport.abort()
        await asyncio.sleep(0)
        with suppress(*OUTAGES):
            await client.execute_command("GET", "a-key")
        assert await client.execute_command("GET", "a-key") == b"1"
        await client.aclose()

    # The server's event loop, which says it in its own way.
    uvloop.run(talk())
