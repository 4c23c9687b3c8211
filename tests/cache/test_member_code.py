"""The claim of a member code: atomic, once, and repeatable only for who has it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache.client import Client
from cache.member_code import ShownCode, claim, keep
from models.ids import new_digits

ENDS_AT = datetime(2026, 11, 20, 4, 1, 0, 123_456, tzinfo=UTC)
ANN, BOB = UUID(int=1), UUID(int=2)
MINUTE = timedelta(minutes=1)


async def kept(redis: Client, *, ttl: timedelta = MINUTE) -> str:
    """A code of Ann's that nobody has claimed."""
    code = new_digits(18)
    assert await keep(redis, code, member_id=ANN, ends_at=ENDS_AT, ttl=ttl)
    return code


async def test_the_first_to_claim_has_the_code_and_hears_it_again(redis: Client) -> None:
    code = await kept(redis)
    for _ in range(2):
        assert await claim(redis, code, resolver="till 1") == ShownCode(ANN, ENDS_AT)
    assert await claim(redis, code, resolver="till 2") is None
    assert await claim(redis, code, resolver="till 1") == ShownCode(ANN, ENDS_AT)


async def test_a_code_that_is_kept_already_stays_whose_it_was(redis: Client) -> None:
    code = await kept(redis)
    assert not await keep(redis, code, member_id=BOB, ends_at=ENDS_AT, ttl=MINUTE)
    assert await claim(redis, code, resolver="till 1") == ShownCode(ANN, ENDS_AT)


async def test_an_unknown_code_is_nobodys(redis: Client) -> None:
    assert await claim(redis, new_digits(18), resolver="till 1") is None


async def test_a_claim_does_not_make_a_code_live_longer(redis: Client) -> None:
    before = {key async for key in redis.scan_iter("member_code:*")}
    code = await kept(redis, ttl=timedelta(seconds=30))
    (key,) = {key async for key in redis.scan_iter("member_code:*")} - before
    assert await claim(redis, code, resolver="till 1") is not None
    assert 0 < await redis.pttl(key) <= 30_000


async def test_the_script_is_sent_again_after_redis_forgot_it(redis: Client) -> None:
    code = await kept(redis)
    await redis.script_flush()
    assert await claim(redis, code, resolver="till 1") == ShownCode(ANN, ENDS_AT)
    assert await claim(redis, code, resolver="till 2") is None
