"""One refresh token presented many times at once, and a logout in between."""

import asyncio

import pytest
from tortoise.queryset import QuerySet

from loyalty.people.session import RefreshInvalid
from models.engine import transaction
from models.people.session import RefreshToken, SessionFamily
from resolvers.deps import Deps
from resolvers.people import session
from resolvers.people.session_family import Subject, TokenPair, exchange, open_family
from resolvers.people.token import TokenInvalid
from tests.doors import make_member

TABS = 16


async def signed_in(deps: Deps) -> TokenPair:
    member = await make_member(deps)
    async with transaction(member.id):
        return await open_family(deps, Subject.MEMBER, member.id, deps.clock.now())


async def all_at_once(deps: Deps, token: str) -> list[TokenPair]:
    now = deps.clock.now()
    answers = await asyncio.gather(*(exchange(deps, Subject.MEMBER, token, now) for _ in range(TABS)))
    return [pair for _, pair in answers]


async def test_tabs_that_refresh_at_once_all_get_the_same_usable_pair(deps: Deps) -> None:
    first = await signed_in(deps)
    pairs = await all_at_once(deps, first.refresh_token)
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert await RefreshToken.filter(family_id=first.session_id).count() == 2
    for pair in pairs:
        await session.enter(deps, deps.member_tokens.read(pair.access_token, now=deps.clock.now()))
    # And once more with what they got.
    again = await all_at_once(deps, pairs[0].refresh_token)
    assert len({pair.refresh_token for pair in again}) == 1
    assert (await SessionFamily.get(id=first.session_id)).revoked_at is None


async def test_control_without_the_lock_one_token_is_exchanged_for_several(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlocked(self: QuerySet[SessionFamily], **options: object) -> QuerySet[SessionFamily]:
        return self

    first = await signed_in(deps)
    monkeypatch.setattr(QuerySet, "select_for_update", unlocked)
    pairs = await all_at_once(deps, first.refresh_token)
    assert len({pair.refresh_token for pair in pairs}) > 1


async def test_whoever_comes_first_nothing_lives_after_a_logout_everywhere(deps: Deps) -> None:
    for _ in range(10):
        member = await make_member(deps)
        async with transaction(member.id):
            first = await open_family(deps, Subject.MEMBER, member.id, deps.clock.now())
        refreshed, _ = await asyncio.gather(
            exchange(deps, Subject.MEMBER, first.refresh_token, deps.clock.now()),
            session.logout_everywhere(deps, member_id=member.id),
            return_exceptions=True,
        )
        left = [first] if isinstance(refreshed, BaseException) else [first, refreshed[1]]
        for pair in left:
            with pytest.raises(TokenInvalid):
                await session.enter(deps, deps.member_tokens.read(pair.access_token, now=deps.clock.now()))
            with pytest.raises(RefreshInvalid):
                await exchange(deps, Subject.MEMBER, pair.refresh_token, deps.clock.now())
