"""The e-membership card: a minute, one till, one answer for everything else."""

import dataclasses
from datetime import timedelta
from uuid import UUID

import pytest

from cache import engine as valkey
from cache.outage import OUTAGES
from cache.rate_limit import TooMany
from loyalty.idempotency import KeyReused
from loyalty.people.member_code import MemberCodeInvalid
from loyalty.people.rights import Role
from loyalty.people.session import AccountDisabled
from models.ids import new_secret
from models.people.member import Member
from models.people.operator import AuditRow, Operator
from resolvers import one_time_code
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.member_code import resolve, show
from tests.doors import make_member, make_operator
from tests.patience import nothing_comes_back


async def till(deps: Deps) -> UUID:
    return (await make_operator(deps, Role.STAFF)).id


async def reads(deps: Deps, operator_id: UUID, code: str, key: str | None = None) -> UUID:
    member = await resolve(deps, operator_id=operator_id, code=code, idempotency_key=key or new_secret(12))
    return member.id


async def test_a_till_learns_who_shows_the_code_and_that_is_recorded(deps: Deps) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    assert (len(shown.code), shown.code[:2], shown.ends_at) == (18, "88", deps.clock.now() + timedelta(minutes=1))
    staff = await till(deps)
    assert await reads(deps, staff, shown.code) == member.id
    row = await AuditRow.get(operator_id=staff)
    assert (row.action, row.subject_id) == ("member.code_resolve", str(member.id))
    assert shown.code not in str((row.before, row.after))


async def test_a_code_is_resolved_once(deps: Deps) -> None:
    shown = await show(deps, member_id=(await make_member(deps)).id)
    first, second = await till(deps), await till(deps)
    await reads(deps, first, shown.code)
    for again in (first, second):
        with pytest.raises(MemberCodeInvalid):
            await reads(deps, again, shown.code)
    assert not await AuditRow.exists(operator_id=second)
    assert await AuditRow.filter(operator_id=first).count() == 1


async def test_the_same_key_hears_the_answer_again_also_after_the_minute(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    shown, staff = await show(deps, member_id=member.id), await till(deps)
    assert await reads(deps, staff, shown.code, "lost-reply") == member.id
    clock.advance(timedelta(minutes=5))
    await deps.redis.flushdb()
    assert await reads(deps, staff, shown.code, "lost-reply") == member.id
    other = await show(deps, member_id=member.id)
    with pytest.raises(KeyReused):
        await reads(deps, staff, other.code, "lost-reply")
    assert await AuditRow.filter(operator_id=staff).count() == 1


async def test_a_code_lives_for_a_minute_and_no_longer(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    first, second = [await show(deps, member_id=member.id) for _ in range(2)]
    staff = await till(deps)
    clock.advance(timedelta(minutes=1) - timedelta(milliseconds=1))
    assert await reads(deps, staff, first.code) == member.id
    clock.advance(timedelta(milliseconds=1))
    with pytest.raises(MemberCodeInvalid):
        await reads(deps, staff, second.code)


async def test_redis_forgets_a_code_by_itself(deps: Deps) -> None:
    await show(deps, member_id=(await make_member(deps)).id)
    keys = [key async for key in deps.redis.scan_iter("member_code:*")]
    assert len(keys) == 1
    assert 0 < await deps.redis.pttl(keys[0]) <= 60_000


async def test_the_code_itself_does_not_stand_in_redis(deps: Deps) -> None:
    shown = await show(deps, member_id=(await make_member(deps)).id)
    keys = [key async for key in deps.redis.scan_iter("*")]
    assert keys
    assert not any(shown.code.encode() in key for key in keys)


@pytest.mark.parametrize("code", ["", "880000000000000000", "not a code", "6" * 18])
async def test_what_is_no_code_is_refused_like_an_old_one(deps: Deps, code: str) -> None:
    with pytest.raises(MemberCodeInvalid):
        await reads(deps, await till(deps), code)


async def test_a_disabled_member_and_a_disabled_operator_get_nowhere(deps: Deps) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    await Member.filter(id=member.id).update(disabled_at=deps.clock.now())
    with pytest.raises(MemberCodeInvalid):
        await reads(deps, await till(deps), shown.code)
    gone = await till(deps)
    await Operator.filter(id=gone).update(disabled_at=deps.clock.now())
    ann = await make_member(deps)
    other = await show(deps, member_id=ann.id)
    with pytest.raises(AccountDisabled):
        await reads(deps, gone, other.code)
    assert await reads(deps, await till(deps), other.code) == ann.id, "the disabled operator took nothing"


async def test_a_flushed_redis_means_a_new_code(deps: Deps) -> None:
    member = await make_member(deps)
    lost = await show(deps, member_id=member.id)
    await deps.redis.flushdb()
    staff = await till(deps)
    with pytest.raises(MemberCodeInvalid):
        await reads(deps, staff, lost.code)
    assert await reads(deps, staff, (await show(deps, member_id=member.id)).code) == member.id


async def test_while_redis_is_away_no_code_is_shown_and_none_resolved(deps: Deps) -> None:
    member = await make_member(deps)
    shown, staff = await show(deps, member_id=member.id), await till(deps)
    nowhere = valkey.connect("redis://127.0.0.1:9/0")
    away = dataclasses.replace(deps, redis=nowhere)
    with pytest.raises(OUTAGES):
        await show(away, member_id=member.id)
    with pytest.raises(OUTAGES):
        await reads(away, staff, shown.code, "tried-twice")
    await nowhere.aclose()
    assert await reads(deps, staff, shown.code, "tried-twice") == member.id
    with pytest.raises(MemberCodeInvalid):
        await reads(deps, await till(deps), shown.code)


async def test_a_phone_cannot_ask_for_codes_without_end(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_comes_back(monkeypatch, one_time_code)
    member = await make_member(deps)
    for _ in range(10):
        await show(deps, member_id=member.id)
    with pytest.raises(TooMany):
        await show(deps, member_id=member.id)
    ann = await make_member(deps)
    code = (await show(deps, member_id=ann.id)).code
    assert await reads(deps, await till(deps), code) == ann.id, "others are not slowed down"
