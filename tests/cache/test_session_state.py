"""What is known of sessions, and that their end outlasts every reader."""

from datetime import UTC, datetime

from cache.client import Client
from cache.engine import connect
from cache.session_state import ended, known_state, saw_alive
from models.ids import new_id

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)


async def test_what_the_database_said_is_known_and_an_end_is_written_over_it(redis: Client) -> None:
    session, other = new_id(NOW), new_id(NOW)
    assert await known_state(redis, session) is None
    await saw_alive(redis, session)
    assert await known_state(redis, session) is True
    await ended(redis, [session, other])
    assert await known_state(redis, session) is False
    assert await known_state(redis, other) is False


async def test_a_reader_who_saw_it_alive_before_does_not_revive_it(redis: Client) -> None:
    session = new_id(NOW)
    await ended(redis, [session])
    await saw_alive(redis, session)
    assert await known_state(redis, session) is False


async def test_without_redis_nothing_is_known_and_nobody_is_hindered() -> None:
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        session = new_id(NOW)
        await saw_alive(nowhere, session)
        await ended(nowhere, [session])
        assert await known_state(nowhere, session) is None
