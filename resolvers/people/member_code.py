"""The e-membership card: a code on the member's phone that a till turns into the member, once."""

from uuid import UUID

from loyalty.people.member_code import MEMBER_CODE, MemberCodeInvalid
from models.engine import retried, transaction
from models.people.member import Member
from resolvers import one_time_code
from resolvers.deps import Deps
from resolvers.one_time_code import ShownCode
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed


async def show(deps: Deps, *, member_id: UUID) -> ShownCode:
    """A new code for the member, good for a minute and one till. Those shown before live on until they end.

    Raises:
        TooMany: the phone asks for more codes than it can show.
        OUTAGES: Redis is away, and no code can be kept.
    """
    await one_time_code.take_turn(deps, "memberCode", member_id)
    return await one_time_code.show(deps, MEMBER_CODE, member_id, deps.clock.now())


async def resolve(deps: Deps, *, operator_id: UUID, code: str, idempotency_key: str) -> Member:
    """The member whose code a till has read. The claim in Redis decides who gets it, before any transaction.

    Raises:
        MemberCodeInvalid: unknown, resolved before, ended, or of a member who may not sign in.
        AccountDisabled: the operator's account is disabled.
        KeyInvalid, KeyReused: the idempotency key.
        OUTAGES: Redis is away; the same key may be sent again.
    """
    content = {"code": code}
    known = await _resolved(operator_id, content, idempotency_key)
    if known is not None:
        return known
    till = f"{operator_id} {idempotency_key}"
    member_id = await one_time_code.claim(deps, MEMBER_CODE, code, deps.clock.now(), resolver=till)
    return await _book(deps, operator_id, member_id, content, idempotency_key)


@retried
async def _resolved(operator_id: UUID, content: dict[str, str], key: str) -> Member | None:
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="memberCodeResolve", content=content)
        return await Member.get(id=UUID(before["member_id"])) if before else None


@retried
async def _book(deps: Deps, operator_id: UUID, member_id: UUID, content: dict[str, str], key: str) -> Member:
    now = deps.clock.now()
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="memberCodeResolve", content=content)
        member = await Member.get_or_none(id=member_id, disabled_at=None)
        if member is None:
            raise MemberCodeInvalid()
        if before is None:
            await record(operator_id, "member.code_resolve", "member", member_id, None, None, now)
            await remember(
                operator_id,
                key=key,
                operation="memberCodeResolve",
                content=content,
                result={"member_id": str(member_id)},
                now=now,
            )
        return member
