"""GCRA over a real Valkey, and the bucket that stands in for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from cache.client import Client
from cache.engine import connect
from cache.rate_limit import Ask, Limit, LocalBuckets, TooMany, network_of, take, take_all, take_if_alive
from cache.session_state import ended, saw_alive
from models.ids import new_id

SLOW = timedelta(minutes=10)
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
THREE = Limit("three", burst=3, every=SLOW)
TEN = Limit("ten", burst=10, every=SLOW)

_numbers = count()


def fresh() -> str:
    """An operation that nobody has taken from."""
    return f"test-{next(_numbers)}-{id(object())}"


async def allowed(redis: Client, operation: str, *asked: tuple[Limit, str]) -> bool:
    try:
        await take(redis, operation, *asked)
    except TooMany:
        return False
    return True


async def test_a_burst_passes_and_the_next_is_told_when_to_come_again(redis: Client) -> None:
    operation = fresh()
    for _ in range(3):
        await take(redis, operation, (THREE, "mei"))
    with pytest.raises(TooMany) as refused:
        await take(redis, operation, (THREE, "mei"))
    assert 540 <= refused.value.retry_after_s <= 600


async def test_subjects_operations_and_limits_are_counted_apart(redis: Client) -> None:
    one, other = fresh(), fresh()
    for _ in range(3):
        assert await allowed(redis, one, (THREE, "mei"))
    assert not await allowed(redis, one, (THREE, "mei"))
    assert await allowed(redis, one, (THREE, "lin"))
    assert await allowed(redis, one, (TEN, "mei"))
    assert await allowed(redis, other, (THREE, "mei"))


async def test_what_one_limit_refuses_is_taken_from_none(redis: Client) -> None:
    operation = fresh()
    for _ in range(3):
        assert await allowed(redis, operation, (THREE, "mei"), (TEN, "here"))
    for _ in range(20):
        assert not await allowed(redis, operation, (THREE, "mei"), (TEN, "here"))
    for _ in range(7):
        assert await allowed(redis, operation, (TEN, "here"))
    assert not await allowed(redis, operation, (TEN, "here"))


async def test_the_longest_wait_of_several_limits_is_told(redis: Client) -> None:
    operation = fresh()
    short, long = Limit("short", 1, timedelta(minutes=1)), Limit("long", 1, timedelta(hours=1))
    await take(redis, operation, (short, "mei"), (long, "mei"))
    with pytest.raises(TooMany) as refused:
        await take(redis, operation, (short, "mei"), (long, "mei"))
    assert 3_540 <= refused.value.retry_after_s <= 3_600


async def test_five_hundred_at_once_get_exactly_the_burst(redis: Client) -> None:
    operation = fresh()
    outcomes = await asyncio.gather(*(allowed(redis, operation, (TEN, "mei")) for _ in range(500)))
    assert sum(outcomes) == 10


async def test_a_key_lives_only_as_long_as_it_means_something_and_tells_nobodys_name(redis: Client) -> None:
    operation = fresh()
    await take(redis, operation, (THREE, "mei.lin@shop.cn"))
    keys = [key async for key in redis.scan_iter(match=f"rate:*:{operation}:*")]
    assert len(keys) == 1
    assert b"mei" not in keys[0]
    assert 540_000 < await redis.pttl(keys[0]) <= 600_000


async def test_a_flushed_script_is_loaded_again(redis: Client) -> None:
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


async def test_a_call_may_weigh_several_and_at_most_the_burst(redis: Client) -> None:
    operation = fresh()
    await take_all(redis, [Ask(operation, TEN, "mei", weight=7)])
    with pytest.raises(TooMany) as refused:
        await take_all(redis, [Ask(operation, TEN, "mei", weight=5)])
    assert 1_140 <= refused.value.retry_after_s <= 1_200
    await take_all(redis, [Ask(operation, TEN, "mei", weight=3)])
    await take_all(redis, [Ask(operation, TEN, "lin", weight=1_000)])
    assert not await allowed(redis, operation, (TEN, "lin"))


async def test_a_session_takes_from_the_limits_only_while_it_is_known_to_be_alive(redis: Client) -> None:
    operation, session = fresh(), new_id(NOW)
    asked = [Ask(operation, THREE, "mei"), Ask(operation, TEN, "her phone")]
    for _ in range(5):
        assert await take_if_alive(redis, session, asked) is None
    await saw_alive(redis, session)
    for _ in range(3):
        assert await take_if_alive(redis, session, asked) is True
    with pytest.raises(TooMany) as refused:
        await take_if_alive(redis, session, asked)
    assert 540 <= refused.value.retry_after_s <= 600
    await ended(redis, [session])
    for _ in range(5):
        assert await take_if_alive(redis, session, [Ask(operation, TEN, "her phone")]) is False
    assert [await allowed(redis, operation, (TEN, "her phone")) for _ in range(8)] == [True] * 7 + [False]


async def test_a_session_without_limits_is_looked_up_all_the_same(redis: Client) -> None:
    session = new_id(NOW)
    assert await take_if_alive(redis, session, []) is None
    await saw_alive(redis, session)
    assert await take_if_alive(redis, session, []) is True
    await ended(redis, [session])
    assert await take_if_alive(redis, session, []) is False


async def test_without_redis_nothing_is_known_of_a_session_and_nothing_is_taken() -> None:
    operation = fresh()
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        for _ in range(5):
            assert await take_if_alive(nowhere, new_id(NOW), [Ask(operation, THREE, "mei")]) is None
        assert [await allowed(nowhere, operation, (THREE, "mei")) for _ in range(4)] == [True] * 3 + [False]


async def test_what_may_pass_without_redis_passes_and_the_rest_is_kept() -> None:
    operation = fresh()
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        for _ in range(5):
            await take_all(nowhere, [Ask(operation, THREE, "mei", falls_back=False)])
        both = [Ask(operation, THREE, "mei", falls_back=False), Ask(operation, THREE, "here")]
        for _ in range(3):
            await take_all(nowhere, both)
        with pytest.raises(TooMany):
            await take_all(nowhere, both)


def test_the_local_bucket_refills_at_its_pace() -> None:
    buckets = LocalBuckets()
    minute_us = 60_000_000
    one = Limit("one", burst=2, every=timedelta(minutes=1))
    ask = [Ask("op", one, "mei")]
    assert buckets.take(["k"], ask, 0) == (0, 0)
    assert buckets.take(["k"], ask, 0) == (0, 0)
    assert buckets.take(["k"], ask, 0) == (minute_us, 1)
    assert buckets.take(["k"], ask, minute_us - 1) == (1, 1)
    assert buckets.take(["k"], ask, minute_us) == (0, 0)
    assert buckets.take(["k"], ask, minute_us) == (minute_us, 1)


def test_the_local_bucket_forgets_the_least_used_and_stays_small() -> None:
    buckets = LocalBuckets(size=2)
    once = Limit("once", burst=1, every=SLOW)
    ask = [Ask("op", once, "mei")]
    for key in ("a", "b", "c"):
        assert buckets.take([key], ask, 0) == (0, 0)
    assert buckets.take(["c"], ask, 0)[0] > 0
    assert buckets.take(["a"], ask, 0) == (0, 0)


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
