"""Members' sessions over the real store, Redis and the sandbox WeChat."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from cache import session_state
from cache.engine import connect
from cache.rate_limit import Ask, Limit, TooMany, take_all
from cache.session_state import LIVE_S, state_key
from loyalty.people.session import (
    REFRESH_GRACE,
    REFRESH_TTL,
    AccountDisabled,
    LoginCodeInvalid,
    LoginUnavailable,
    RefreshInvalid,
    RefreshReused,
    RiskBlocked,
)
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import changed, rows
from models.ids import new_id, new_secret
from models.people.member import Member
from models.people.session import RefreshToken, SessionFamily
from models.points.points import PointsAccount
from models.tiers.tier import Membership
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people import session
from resolvers.people.seal import Seal
from resolvers.people.session_family import Subject, clear_away, exchange
from resolvers.people.token import TokenInvalid
from tests.doors import bearer, make_member, make_operator
from tests.patience import DAY
from tests.sandbox_server import SandboxControl

IP = "203.0.113.9"


async def log_in(deps: Deps, wechat: SandboxControl, openid: str | None = None) -> session.SignedIn:
    code, _ = await wechat.login_code(openid)
    return await session.login(deps, code=code, client_ip=IP)


async def refresh(deps: Deps, token: str) -> session.SignedIn:
    return await session.refresh(deps, refresh_token=token, client_ip=IP)


async def alive(deps: Deps, access_token: str) -> bool:
    try:
        await session.enter(deps, deps.member_tokens.read(access_token, now=deps.clock.now()))
    except TokenInvalid:
        return False
    return True


async def live_families(subject_id: UUID) -> int:
    return await SessionFamily.filter(subject_id=subject_id, revoked_at=None).count()


# --- logging in ---------------------------------------------------------------------------------------------------


async def test_the_first_login_makes_a_member_with_a_tier_and_an_account(deps: Deps, wechat: SandboxControl) -> None:
    code, openid = await wechat.login_code()
    signed_in = await session.login(deps, code=code, client_ip=IP)
    member = await Member.get(id=signed_in.member.id)
    assert (member.openid, member.unionid, member.created_at) == (openid, None, deps.clock.now())
    assert (await Membership.get(member_id=member.id)).tier_code == "member"
    assert (await PointsAccount.get(member_id=member.id)).balance == 0
    assert await alive(deps, signed_in.tokens.access_token)
    assert signed_in.tokens.refresh_token_expires_at == deps.clock.now() + REFRESH_TTL


async def test_the_second_login_finds_the_member_and_opens_a_second_session(deps: Deps, wechat: SandboxControl) -> None:
    first = await log_in(deps, wechat)
    second = await log_in(deps, wechat, first.member.openid)
    assert second.member.id == first.member.id
    assert second.tokens.session_id != first.tokens.session_id
    assert await live_families(first.member.id) == 2


async def test_the_session_key_is_sealed_at_rest_and_changes_with_each_login(
    deps: Deps, wechat: SandboxControl
) -> None:
    member = (await log_in(deps, wechat)).member
    stored = (await Member.get(id=member.id)).session_key_sealed
    users = {user["openid"]: user["session_key"] for user in await wechat.get("users")}
    key = users[member.openid]
    assert stored is not None
    assert key not in stored
    assert deps.seal.open(stored, belongs_to=f"member:{member.id}") == key
    await log_in(deps, wechat, member.openid)
    assert (await Member.get(id=member.id)).session_key_sealed != stored


async def test_a_refresh_token_is_nowhere_in_the_store(deps: Deps, wechat: SandboxControl) -> None:
    signed_in = await log_in(deps, wechat)
    again = await refresh(deps, signed_in.tokens.refresh_token)
    kept = await rows("SELECT t::text AS row FROM refresh_token t WHERE family_id = $1", [again.tokens.session_id])
    assert len(kept) == 2
    for secret in (signed_in.tokens.refresh_token, again.tokens.refresh_token):
        assert not [row for row in kept if secret in row["row"]]


async def test_a_code_works_once(deps: Deps, wechat: SandboxControl) -> None:
    code, _ = await wechat.login_code()
    await session.login(deps, code=code, client_ip=IP)
    with pytest.raises(LoginCodeInvalid):
        await session.login(deps, code=code, client_ip=IP)


@pytest.mark.parametrize("code", ["", "nothing", "x" * 129, "x" * 100_000, "a&b=c", "码"])
async def test_what_is_no_code_is_refused_and_makes_nobody(deps: Deps, code: str) -> None:
    before = await Member.all().count()
    with pytest.raises(LoginCodeInvalid):
        await session.login(deps, code=code, client_ip=IP)
    assert await Member.all().count() == before


async def test_a_person_whom_wechat_blocks_is_refused(deps: Deps, wechat: SandboxControl) -> None:
    openid = await wechat.openid(blocked=True)
    with pytest.raises(RiskBlocked):
        await log_in(deps, wechat, openid)
    assert not await Member.exists(openid=openid)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "errcode", "errcode": -1},
        {"fault": "errcode", "errcode": 45011},
        {"fault": "errcode", "errcode": 45009},
        {"fault": "errcode", "errcode": 40125},
        {"fault": "reset"},
        {"fault": "reset_after_effect"},
        {"fault": "truncated_json"},
    ],
    ids=str,
)
async def test_while_wechat_gives_no_answer_nobody_is_signed_in(
    deps: Deps, wechat: SandboxControl, fault: dict[str, object]
) -> None:
    code, openid = await wechat.login_code()
    await wechat.post("faults", endpoint="code2session", times=5, **fault)
    with pytest.raises(LoginUnavailable):
        await session.login(deps, code=code, client_ip=IP)
    assert not await Member.exists(openid=openid)


async def test_a_disabled_member_is_refused_and_keeps_the_old_session_key(deps: Deps, wechat: SandboxControl) -> None:
    member = await make_member(deps, disabled_at=deps.clock.now(), session_key_sealed="as it was")
    with pytest.raises(AccountDisabled):
        await log_in(deps, wechat, member.openid)
    assert (await Member.get(id=member.id)).session_key_sealed == "as it was"
    assert await live_families(member.id) == 0


# --- one person, one member ---------------------------------------------------------------------------------------


async def test_a_unionid_that_comes_later_is_filled_in(deps: Deps, wechat: SandboxControl) -> None:
    member = (await log_in(deps, wechat)).member
    unionid = new_secret(12)
    await wechat.openid(openid=member.openid, unionid=unionid)
    assert (await log_in(deps, wechat, member.openid)).member.id == member.id
    assert (await Member.get(id=member.id)).unionid == unionid


async def test_a_unionid_that_stays_away_later_is_kept(deps: Deps, wechat: SandboxControl) -> None:
    member = await make_member(deps, unionid=new_secret(12))
    await log_in(deps, wechat, member.openid)
    assert (await Member.get(id=member.id)).unionid == member.unionid


async def test_a_member_known_by_unionid_alone_gets_the_openid(deps: Deps, wechat: SandboxControl) -> None:
    known = await make_member(deps, openid=None, unionid=new_secret(12))
    openid = await wechat.openid(unionid=known.unionid)
    assert (await log_in(deps, wechat, openid)).member.id == known.id
    assert (await Member.get(id=known.id)).openid == openid


async def test_the_openid_decides_where_the_unionid_stands_with_another(deps: Deps, wechat: SandboxControl) -> None:
    other = await make_member(deps, openid=None, unionid=new_secret(12))
    mine = await make_member(deps)
    await wechat.openid(openid=mine.openid, unionid=other.unionid)
    assert (await log_in(deps, wechat, mine.openid)).member.id == mine.id
    assert (await Member.get(id=mine.id)).unionid is None
    assert (await Member.get(id=other.id)).openid is None


async def test_a_unionid_of_a_member_with_another_openid_makes_a_member_of_its_own(
    deps: Deps, wechat: SandboxControl
) -> None:
    other = await make_member(deps, unionid=new_secret(12))
    openid = await wechat.openid(unionid=other.unionid)
    signed_in = await log_in(deps, wechat, openid)
    assert signed_in.member.id != other.id
    assert (await Member.get(id=signed_in.member.id)).unionid is None


async def test_twenty_first_logins_of_one_person_at_once_make_one_member(deps: Deps, wechat: SandboxControl) -> None:
    openid = await wechat.openid(unionid=new_secret(12))
    codes = [(await wechat.login_code(openid))[0] for _ in range(20)]
    found = await asyncio.gather(*(session.login(deps, code=code, client_ip=IP) for code in codes))
    assert len({one.member.id for one in found}) == 1
    assert await Member.filter(openid=openid).count() == 1
    assert await live_families(found[0].member.id) == 20


# --- staying in ---------------------------------------------------------------------------------------------------


async def test_a_refresh_gives_a_new_pair_of_the_same_session(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    first = await log_in(deps, wechat)
    clock.advance(timedelta(minutes=29))
    second = await refresh(deps, first.tokens.refresh_token)
    assert second.member.id == first.member.id
    assert second.tokens.session_id == first.tokens.session_id
    assert second.tokens.refresh_token != first.tokens.refresh_token
    assert second.tokens.refresh_token_expires_at == clock.now() + REFRESH_TTL
    clock.advance(timedelta(minutes=2))
    assert not await alive(deps, first.tokens.access_token)
    assert await alive(deps, second.tokens.access_token)


async def test_after_a_lost_reply_the_same_token_gives_the_same_pair(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    first = (await log_in(deps, wechat)).tokens.refresh_token
    lost = (await refresh(deps, first)).tokens
    clock.advance(REFRESH_GRACE - timedelta(microseconds=1))
    again = (await refresh(deps, first)).tokens
    assert again.refresh_token == lost.refresh_token
    assert again.refresh_token_expires_at == lost.refresh_token_expires_at
    assert await alive(deps, again.access_token)
    assert await RefreshToken.filter(family_id=again.session_id).count() == 2
    assert (await refresh(deps, again.refresh_token)).tokens.session_id == again.session_id


async def test_after_the_grace_a_used_token_ends_the_session_for_both(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    stolen = (await log_in(deps, wechat)).tokens.refresh_token
    honest = (await refresh(deps, stolen)).tokens
    assert await alive(deps, honest.access_token)
    clock.advance(REFRESH_GRACE)
    with pytest.raises(RefreshReused):
        await refresh(deps, stolen)
    assert not await alive(deps, honest.access_token)
    with pytest.raises(RefreshInvalid):
        await refresh(deps, honest.refresh_token)
    family = await SessionFamily.get(id=honest.session_id)
    assert (family.revoked_at, family.revoke_reason) == (clock.now(), "reuse")


async def test_a_thief_within_the_grace_is_found_when_the_second_of_the_two_goes_on(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    first = (await log_in(deps, wechat)).tokens.refresh_token
    honest = (await refresh(deps, first)).tokens
    thief = (await refresh(deps, first)).tokens
    assert honest.refresh_token == thief.refresh_token
    clock.advance(timedelta(minutes=20))
    onward = (await refresh(deps, thief.refresh_token)).tokens
    clock.advance(timedelta(minutes=10))
    with pytest.raises(RefreshReused):
        await refresh(deps, honest.refresh_token)
    with pytest.raises(RefreshInvalid):
        await refresh(deps, onward.refresh_token)


async def test_a_token_whose_successor_was_used_is_no_lost_reply(deps: Deps, wechat: SandboxControl) -> None:
    first = (await log_in(deps, wechat)).tokens.refresh_token
    second = (await refresh(deps, first)).tokens
    await refresh(deps, second.refresh_token)
    assert await RefreshToken.filter(family_id=second.session_id, successor_sealed__not_isnull=True).count() == 1
    with pytest.raises(RefreshReused):
        await refresh(deps, first)


async def test_a_refresh_token_expires_at_the_very_instant(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    early, late = (await log_in(deps, wechat)).tokens, (await log_in(deps, wechat)).tokens
    clock.advance(REFRESH_TTL - timedelta(microseconds=1))
    await refresh(deps, early.refresh_token)
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(RefreshInvalid):
        await refresh(deps, late.refresh_token)


@pytest.mark.parametrize("token", ["", "x", "é", "x" * 90_000, "\ud800"])
async def test_what_is_no_refresh_token_is_refused(deps: Deps, token: str) -> None:
    with pytest.raises(RefreshInvalid):
        await refresh(deps, token)
    assert not await session.logout(deps, refresh_token=token)


async def test_a_members_refresh_token_is_none_of_an_operator(deps: Deps, wechat: SandboxControl) -> None:
    tokens = (await log_in(deps, wechat)).tokens
    with pytest.raises(RefreshInvalid):
        await exchange(deps, Subject.OPERATOR, tokens.refresh_token, deps.clock.now())
    assert (await refresh(deps, tokens.refresh_token)).tokens.session_id == tokens.session_id


async def test_a_disabled_member_gets_no_new_pair(deps: Deps, wechat: SandboxControl) -> None:
    signed_in = await log_in(deps, wechat)
    await Member.filter(id=signed_in.member.id).update(disabled_at=deps.clock.now())
    with pytest.raises(AccountDisabled):
        await refresh(deps, signed_in.tokens.refresh_token)


async def test_a_successor_sealed_with_a_lost_key_is_refused_cleanly(deps: Deps, wechat: SandboxControl) -> None:
    first = (await log_in(deps, wechat)).tokens.refresh_token
    await refresh(deps, first)
    with pytest.raises(RefreshInvalid):
        await refresh(replace(deps, seal=Seal({"s2": b"n" * 32})), first)


# --- logging out --------------------------------------------------------------------------------------------------


async def test_logging_out_ends_this_session_at_once_and_no_other(deps: Deps, wechat: SandboxControl) -> None:
    here = await log_in(deps, wechat)
    there = await log_in(deps, wechat, here.member.openid)
    assert await alive(deps, here.tokens.access_token)
    assert await session.logout(deps, refresh_token=here.tokens.refresh_token)
    assert not await alive(deps, here.tokens.access_token)
    with pytest.raises(RefreshInvalid):
        await refresh(deps, here.tokens.refresh_token)
    assert await alive(deps, there.tokens.access_token)
    assert not await session.logout(deps, refresh_token=here.tokens.refresh_token)


async def test_a_used_refresh_token_still_logs_its_session_out(deps: Deps, wechat: SandboxControl) -> None:
    first = (await log_in(deps, wechat)).tokens.refresh_token
    onward = (await refresh(deps, first)).tokens
    assert await session.logout(deps, refresh_token=first)
    assert not await alive(deps, onward.access_token)


async def test_logging_out_everywhere_ends_every_session_of_this_member_alone(
    deps: Deps, wechat: SandboxControl
) -> None:
    mine = [await log_in(deps, wechat)]
    mine.append(await log_in(deps, wechat, mine[0].member.openid))
    other = await log_in(deps, wechat)
    for signed_in in (*mine, other):
        assert await alive(deps, signed_in.tokens.access_token)
    assert await session.logout_everywhere(deps, member_id=mine[0].member.id) == 2
    for signed_in in mine:
        assert not await alive(deps, signed_in.tokens.access_token)
        with pytest.raises(RefreshInvalid):
            await refresh(deps, signed_in.tokens.refresh_token)
    assert await alive(deps, other.tokens.access_token)
    assert await session.logout_everywhere(deps, member_id=mine[0].member.id) == 0


async def test_an_ended_session_stays_ended_when_redis_forgets_everything(deps: Deps, wechat: SandboxControl) -> None:
    signed_in = await log_in(deps, wechat)
    other = await log_in(deps, wechat)
    await session.logout(deps, refresh_token=signed_in.tokens.refresh_token)
    await deps.redis.flushdb()
    assert not await alive(deps, signed_in.tokens.access_token)
    assert await alive(deps, other.tokens.access_token)


async def test_without_redis_the_database_answers_at_once(deps: Deps, wechat: SandboxControl) -> None:
    signed_in = await log_in(deps, wechat)
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        away = replace(deps, redis=nowhere)
        assert await alive(away, signed_in.tokens.access_token)
        await session.logout(away, refresh_token=signed_in.tokens.refresh_token)
        assert not await alive(away, signed_in.tokens.access_token)


async def test_a_reader_who_saw_the_session_alive_cannot_revive_it(deps: Deps, wechat: SandboxControl) -> None:
    signed_in = await log_in(deps, wechat)
    await session.logout(deps, refresh_token=signed_in.tokens.refresh_token)
    await session_state.saw_alive(deps.redis, signed_in.tokens.session_id)
    assert not await alive(deps, signed_in.tokens.access_token)


async def test_most_requests_need_no_question_to_the_database(deps: Deps) -> None:
    token = await bearer(deps, await make_member(deps))
    counter = SqlCount()
    before = sql_count.set(counter)
    for _ in range(10):
        await session.enter(deps, deps.member_tokens.read(token, now=deps.clock.now()))
    sql_count.reset(before)
    assert counter.value == 1
    assert 0 < await deps.redis.ttl(f"session:{token.session_id}") <= LIVE_S


async def test_a_request_takes_from_the_limits_when_its_session_lives_and_only_then(
    deps: Deps, wechat: SandboxControl
) -> None:
    signed_in = await log_in(deps, wechat)
    claims = deps.member_tokens.read(signed_in.tokens.access_token, now=deps.clock.now())
    few = Limit("few", burst=3, every=timedelta(days=1))
    asked = [Ask("test", few, f"member:{claims.subject_id}")]
    for _ in range(2):
        await session.enter(deps, claims, asked)
    await session.logout(deps, refresh_token=signed_in.tokens.refresh_token)
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            await session.enter(deps, claims, asked)
    await deps.redis.delete(state_key(claims.session_id))
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            await session.enter(deps, claims, asked)
    await take_all(deps.redis, asked)
    with pytest.raises(TooMany):
        await take_all(deps.redis, asked)


# --- limits and order ---------------------------------------------------------------------------------------------


async def test_too_many_logins_from_one_address_are_told_when_to_come_again(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOGINS_BY_ADDRESS", Limit("address", burst=2, every=DAY))
    for _ in range(2):
        with pytest.raises(LoginCodeInvalid):
            await session.login(deps, code="nothing", client_ip=IP)
    with pytest.raises(TooMany) as refused:
        await session.login(deps, code="nothing", client_ip=IP)
    assert DAY - timedelta(hours=1) <= timedelta(seconds=refused.value.retry_after_s) <= DAY
    with pytest.raises(LoginCodeInvalid):
        await session.login(deps, code="nothing", client_ip="203.0.113.10")


async def test_what_ended_long_ago_is_cleared_away_and_the_living_stay(deps: Deps, wechat: SandboxControl) -> None:
    old = await log_in(deps, wechat)
    long_ago = deps.clock.now() - timedelta(days=60)
    await changed("UPDATE refresh_token SET expires_at = $1 WHERE family_id = $2", [long_ago, old.tokens.session_id])
    await changed("UPDATE session_family SET created_at = $1 WHERE id = $2", [long_ago, old.tokens.session_id])
    new = await log_in(deps, wechat)
    assert await clear_away(deps.clock.now()) >= 1
    assert not await SessionFamily.exists(id=old.tokens.session_id)
    assert (await refresh(deps, new.tokens.refresh_token)).tokens.session_id == new.tokens.session_id


async def test_a_token_of_a_session_that_never_was_is_refused(deps: Deps) -> None:
    member = await make_member(deps)
    token = deps.member_tokens.issue(subject_id=member.id, session_id=new_id(deps.clock.now()), now=deps.clock.now())
    assert not await alive(deps, token)


async def test_an_operators_session_is_no_members_session(deps: Deps) -> None:
    operator = await make_operator(deps)
    token = await bearer(deps, operator)
    forged = deps.member_tokens.issue(subject_id=operator.id, session_id=token.session_id, now=deps.clock.now())
    assert not await alive(deps, forged)
