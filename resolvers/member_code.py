"""The e-membership card: a code on the member's phone that a till turns into the member, once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cache.member_code import claim, keep
from cache.rate_limit import Limit, take
from loyalty.member_code import CODE_LENGTH, CODE_PREFIX, CODE_TTL, MemberCodeInvalid, admit_code
from models.engine import retried, transaction
from models.ids import new_digits
from models.member import Member
from resolvers.audit import record
from resolvers.deps import Deps
from resolvers.operator import lock_operator
from resolvers.replay import remember, replayed

CODES_BY_MEMBER = Limit("member", burst=10, every=timedelta(seconds=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCode:
    """What a phone shows until before ``ends_at``."""

    code: str
    ends_at: datetime


async def show(deps: Deps, *, member_id: UUID) -> MemberCode:
    """A new code for the member, good for a minute and one till. Those shown before live on until they end.

    Raises:
        TooMany: the phone asks for more codes than it can show.
        OUTAGES: Redis is away, and no code can be kept.
    """
    await take(deps.redis, "memberCode", (CODES_BY_MEMBER, str(member_id)))
    ends_at = deps.clock.now() + CODE_TTL
    while True:
        code = CODE_PREFIX + new_digits(CODE_LENGTH - len(CODE_PREFIX))
        if await keep(deps.redis, code, member_id=member_id, ends_at=ends_at, ttl=CODE_TTL):
            return MemberCode(code=code, ends_at=ends_at)


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
    shown = await claim(deps.redis, admit_code(code), resolver=f"{operator_id} {idempotency_key}")
    if shown is None or shown.ends_at <= deps.clock.now():
        raise MemberCodeInvalid()
    return await _book(deps, operator_id, shown.member_id, content, idempotency_key)


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
