"""Codes of one kind: kept once, found by whoever asks, claimed by one and repeatable only for who has it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client
from cache.one_time_code import KeptCode, claim, find, keep
from models.ids import new_digits

ENDS_AT = datetime(2026, 11, 20, 4, 1, 0, 123_456, tzinfo=UTC)
ANNS, BOBS = KeptCode(UUID(int=1), ENDS_AT), KeptCode(UUID(int=2), ENDS_AT)
HOUR = timedelta(hours=1)
KIND = "code_for_tests"


async def kept(redis: Client, *, ttl: timedelta = HOUR) -> str:
    """A code of Ann's that nobody has claimed."""
    code = new_digits(18)
    assert await keep(redis, KIND, code, ANNS, ttl=ttl)
    return code


async def test_the_first_to_claim_has_the_code_and_hears_it_again(redis: Client) -> None:
    code = await kept(redis)
    for _ in range(2):
        assert await claim(redis, KIND, code, resolver="till 1") == ANNS
    assert await claim(redis, KIND, code, resolver="till 2") is None
    assert await claim(redis, KIND, code, resolver="till 1") == ANNS


async def test_finding_a_code_claims_nothing(redis: Client) -> None:
    code = await kept(redis)
    for _ in range(2):
        assert await find(redis, KIND, code) == ANNS
    assert await claim(redis, KIND, code, resolver="till 1") == ANNS


async def test_a_code_that_is_kept_already_stays_whose_it_was(redis: Client) -> None:
    code = await kept(redis)
    assert not await keep(redis, KIND, code, BOBS, ttl=HOUR)
    assert await claim(redis, KIND, code, resolver="till 1") == ANNS


async def test_a_code_of_one_kind_is_none_of_another(redis: Client) -> None:
    code = await kept(redis)
    assert await find(redis, "another_kind", code) is None
    assert await claim(redis, "another_kind", code, resolver="till 1") is None


async def test_an_unknown_code_is_nobodys(redis: Client) -> None:
    assert await find(redis, KIND, new_digits(18)) is None
    assert await claim(redis, KIND, new_digits(18), resolver="till 1") is None


async def test_a_claim_does_not_make_a_code_live_longer(redis: Client) -> None:
    before = {key async for key in redis.scan_iter(f"{KIND}:*")}
    code = await kept(redis, ttl=timedelta(minutes=30))
    (key,) = {key async for key in redis.scan_iter(f"{KIND}:*")} - before
    assert code not in key.decode()
    assert await claim(redis, KIND, code, resolver="till 1") is not None
    assert 0 < await redis.pttl(key) <= 1_800_000


async def test_the_script_is_sent_again_after_redis_forgot_it(redis: Client) -> None:
    code = await kept(redis)
    await redis.script_flush()
    assert await claim(redis, KIND, code, resolver="till 1") == ANNS
    assert await claim(redis, KIND, code, resolver="till 2") is None
