"""What a version says of itself when the clock does not stand still."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from loyalty.people.rights import Role
from models.ids import new_secret
from resolvers.clock import SetClock
from tests.doors import Bearer, Door

PUBLISH = """
mutation ($key: IdempotencyKey!, $at: DateTime) {
  newcomerPackPublish(pack: {items: []}, idempotencyKey: $key, effectiveAt: $at) {
    ... on NewcomerPackPublished { version { state } } ... on Refusal { code } } }
"""


class RunningClock(SetClock):
    """A clock on which a second passes between two looks."""

    def now(self) -> datetime:
        return self.advance(timedelta(seconds=1))


@pytest.fixture
def clock() -> SetClock:
    return RunningClock(datetime.fromisoformat("2026-11-20T04:00:00+00:00"))


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def test_what_was_published_for_now_is_in_force(
    admin: Door, clock: SetClock, operator_token: Callable[..., Awaitable[Bearer]]
) -> None:
    token = await operator_token(Role.USER_OPERATIONS)
    for at, state in ((None, "IN_FORCE"), (clock.at + timedelta(days=1), "SCHEDULED")):
        given = {"key": new_secret(12), "at": at and at.isoformat()}
        told = (await admin.ask(PUBLISH, given, token=token))["newcomerPackPublish"]["version"]
        assert told["state"] == state
