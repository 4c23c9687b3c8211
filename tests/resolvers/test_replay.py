"""Idempotency keys: remembered for 90 days, then forgotten."""

from datetime import timedelta

from models.engine import transaction
from models.ids import new_id, new_secret
from resolvers.clock import SetClock
from resolvers.replay import KEPT, forget, remember, replayed


async def test_a_key_is_remembered_for_90_days(store: None, clock: SetClock) -> None:
    assert timedelta(days=90) == KEPT
    subject, key, content = new_id(clock.now()), new_secret(12), {"a": 1}
    async with transaction():
        await remember(subject, key=key, operation="test", content=content, result={"made": "it"}, now=clock.now())
    clock.advance(KEPT)
    await forget(clock.now())
    async with transaction():
        assert await replayed(subject, key=key, operation="test", content=content) == {"made": "it"}
    await forget(clock.now() + timedelta(seconds=1))
    async with transaction():
        assert await replayed(subject, key=key, operation="test", content=content) is None
