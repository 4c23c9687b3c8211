"""Thirty tills read one code at once: one learns the member. The control looks first and deletes afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from cache.one_time_code import key_of
from loyalty.people.member_code import MEMBER_CODE, MemberCodeInvalid
from loyalty.people.rights import Role
from models.ids import new_secret
from models.people.operator import AuditRow
from resolvers.deps import Deps
from resolvers.people.member_code import resolve, show
from tests.doors import Bearer, Door, make_member, make_operator
from tests.races.buyers import at_once

RESOLVE = """
mutation ($code: String!, $key: IdempotencyKey!) {
  memberCodeResolve(code: $code, idempotencyKey: $key) {
    ... on MemberCodeResolved { member { id } }
    ... on Refusal { code }
  }
}
"""
AT_ONCE = 30

Tokens = Callable[..., Awaitable[Bearer]]


async def test_thirty_tills_read_one_code_and_one_learns_the_member(
    deps: Deps, admin: Door, operator_token: Tokens
) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    tills = [await operator_token(Role.STAFF) for _ in range(3)]
    answers = await at_once(
        admin.ask(RESOLVE, {"code": shown.code, "key": new_secret(12)}, token=tills[at % 3]) for at in range(AT_ONCE)
    )
    found = [one["memberCodeResolve"] for one in answers]
    learned = [one["member"]["id"] for one in found if "member" in one]
    assert learned == [str(member.id)]
    assert [one["code"] for one in found if "code" in one] == ["MEMBER_CODE_INVALID"] * (AT_ONCE - 1)
    assert await AuditRow.filter(action="member.code_resolve", subject_id=str(member.id)).count() == 1


async def test_one_key_sent_thirty_times_at_once_gets_one_answer(deps: Deps) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    till = (await make_operator(deps, Role.STAFF)).id
    answers = await at_once(
        resolve(deps, operator_id=till, code=shown.code, idempotency_key="one-key-for-all") for _ in range(AT_ONCE)
    )
    assert {one.id for one in answers} == {member.id}
    assert await AuditRow.filter(operator_id=till).count() == 1


async def test_a_reading_races_the_flush_of_redis_and_never_counts_twice(deps: Deps) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    till = (await make_operator(deps, Role.STAFF)).id

    async def reads() -> UUID | None:
        try:
            return (await resolve(deps, operator_id=till, code=shown.code, idempotency_key=new_secret(12))).id
        except MemberCodeInvalid:
            return None

    answers = [one for one in await at_once([reads(), deps.redis.flushdb(), reads(), reads()]) if one == member.id]
    assert len(answers) <= 1
    assert await AuditRow.filter(operator_id=till).count() == len(answers)


async def test_control_looking_first_and_deleting_afterwards_lets_every_till_in(deps: Deps) -> None:
    member = await make_member(deps)
    shown = await show(deps, member_id=member.id)
    key, all_have_looked = key_of(MEMBER_CODE.name, shown.code), asyncio.Barrier(AT_ONCE)

    async def reads() -> bool:
        found = await deps.redis.hget(key, "kept")
        await all_have_looked.wait()
        if found is None:
            return False
        await deps.redis.delete(key)
        return True

    assert await at_once(reads() for _ in range(AT_ONCE)) == [True] * AT_ONCE
