"""GCRA over a real Valkey, and the bucket that stands in for it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count

import pytest
from redis import asyncio as aioredis

from cache.engine import connect
from cache.rate_limit import Limit, LocalBuckets, TooMany, network_of, take

SLOW = timedelta(minutes=10)
THREE = Limit("three", burst=3, every=SLOW)
TEN = Limit("ten", burst=10, every=SLOW)

_numbers = count()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


def fresh() -> str:
    """An operation that nobody has taken from."""
    return f"test-{next(_numbers)}-{id(object())}"


async def allowed(redis: aioredis.Redis, operation: str, *asked: tuple[Limit, str]) -> bool:
    try:
        await take(redis, operation, *asked)
    except TooMany:
        return False
    return True


async def test_a_burst_passes_and_the_next_is_told_when_to_come_again(redis: aioredis.Redis) -> None:
    operation = fresh()
    for _ in range(3):
        await take(redis, operation, (THREE, "mei"))
    with pytest.raises(TooMany) as refused:
        await take(redis, operation, (THREE, "mei"))
    assert 599 <= refused.value.retry_after_s <= 600


async def test_subjects_operations_and_limits_are_counted_apart(redis: aioredis.Redis) -> None:
    one, other = fresh(), fresh()
    for _ in range(3):
        assert await allowed(redis, one, (THREE, "mei"))
    assert not await allowed(redis, one, (THREE, "mei"))
    assert await allowed(redis, one, (THREE, "lin"))
    assert await allowed(redis, one, (TEN, "mei"))
    assert await allowed(redis, other, (THREE, "mei"))


async def test_what_one_limit_refuses_is_taken_from_none(redis: aioredis.Redis) -> None:
    operation = fresh()
    for _ in range(3):
        assert await allowed(redis, operation, (THREE, "mei"), (TEN, "here"))
    for _ in range(20):
        assert not await allowed(redis, operation, (THREE, "mei"), (TEN, "here"))
    for _ in range(7):
        assert await allowed(redis, operation, (TEN, "here"))
    assert not await allowed(redis, operation, (TEN, "here"))


async def test_the_longest_wait_of_several_limits_is_told(redis: aioredis.Redis) -> None:
    operation = fresh()
    short, long = Limit("short", 1, timedelta(minutes=1)), Limit("long", 1, timedelta(hours=1))
    await take(redis, operation, (short, "mei"), (long, "mei"))
    with pytest.raises(TooMany) as refused:
        await take(redis, operation, (short, "mei"), (long, "mei"))
    assert 3_599 <= refused.value.retry_after_s <= 3_600


async def test_five_hundred_at_once_get_exactly_the_burst(redis: aioredis.Redis) -> None:
    operation = fresh()
    outcomes = await asyncio.gather(*(allowed(redis, operation, (TEN, "mei")) for _ in range(500)))
    assert sum(outcomes) == 10


async def test_a_key_lives_only_as_long_as_it_means_something_and_tells_nobodys_name(redis: aioredis.Redis) -> None:
    operation = fresh()
    await take(redis, operation, (THREE, "mei.lin@shop.cn"))
    keys = [key async for key in redis.scan_iter(match=f"rate:{{{operation}}}:*")]
    assert len(keys) == 1
    assert b"mei" not in keys[0]
    assert 595_000 < await redis.pttl(keys[0]) <= 600_000


async def test_a_flushed_script_is_loaded_again(redis: aioredis.Redis) -> None:
    operation = fresh()
    await take(redis, operation, (THREE, "mei"))
    await redis.script_flush()
    await take(redis, operation, (THREE, "mei"))
    assert await allowed(redis, operation, (THREE, "mei"))
    assert not await allowed(redis, operation, (THREE, "mei"))


async def test_while_redis_is_away_this_process_keeps_the_limit() -> None:
    operation = fresh()
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        assert [await allowed(nowhere, operation, (THREE, "mei"), (TEN, "here")) for _ in range(5)] == [
            True,
            True,
            True,
            False,
            False,
        ]
        assert await allowed(nowhere, operation, (THREE, "lin"))


def test_the_local_bucket_refills_at_its_pace() -> None:
    buckets = LocalBuckets()
    minute_us = 60_000_000
    one = Limit("one", burst=2, every=timedelta(minutes=1))
    assert buckets.take(["k"], [one], 0) == 0
    assert buckets.take(["k"], [one], 0) == 0
    assert buckets.take(["k"], [one], 0) == minute_us
    assert buckets.take(["k"], [one], minute_us - 1) == 1
    assert buckets.take(["k"], [one], minute_us) == 0
    assert buckets.take(["k"], [one], minute_us) > 0


def test_the_local_bucket_forgets_the_least_used_and_stays_small() -> None:
    buckets = LocalBuckets(size=2)
    once = Limit("once", burst=1, every=SLOW)
    for key in ("a", "b", "c"):
        assert buckets.take([key], [once], 0) == 0
    assert buckets.take(["c"], [once], 0) > 0
    assert buckets.take(["a"], [once], 0) == 0


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_counted_by_its_customer(address: str, counted_as: str) -> None:
    assert network_of(address) == counted_as
