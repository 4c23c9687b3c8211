"""Showing codes on a phone and reading them at a till, whatever they are for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cache import one_time_code as codes
from cache.one_time_code import KeptCode
from cache.rate_limit import Limit, take
from loyalty.one_time_code import CODE_LENGTH, CodeKind
from models.ids import new_digits
from resolvers.deps import Deps

CODES_BY_MEMBER = Limit("member", burst=10, every=timedelta(seconds=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCode:
    """What a phone shows until before ``ends_at``."""

    code: str
    ends_at: datetime


async def take_turn(deps: Deps, operation: str, member_id: UUID) -> None:
    """Whether the phone may show one more code now. Raises: TooMany."""
    await take(deps.redis, operation, (CODES_BY_MEMBER, str(member_id)))


async def show(deps: Deps, kind: CodeKind, owner_id: UUID, now: datetime) -> ShownCode:
    """A new code that leads to ``owner_id``. Those shown before live on until they end.

    Raises: OUTAGES while Redis is away: no code can be kept.
    """
    ends_at = now + kind.ttl
    while True:
        code = kind.prefix + new_digits(CODE_LENGTH - len(kind.prefix))
        if await codes.keep(deps.redis, kind.name, code, KeptCode(owner_id, ends_at), ttl=kind.ttl):
            return ShownCode(code=code, ends_at=ends_at)


async def read(deps: Deps, kind: CodeKind, code: str, now: datetime) -> UUID:
    """Whose code it is at ``now``.

    Raises: the kind's ``invalid``: unknown, or over. OUTAGES: Redis is away.
    """
    return _owner(kind, await codes.find(deps.redis, kind.name, kind.admit(code)), now)


async def claim(deps: Deps, kind: CodeKind, code: str, now: datetime, *, resolver: str) -> UUID:
    """Whose code it is at ``now``, told to one ``resolver`` alone, and to that one again.

    Raises: the kind's ``invalid``: unknown, over, or claimed before. OUTAGES: Redis is away.
    """
    return _owner(kind, await codes.claim(deps.redis, kind.name, kind.admit(code), resolver=resolver), now)


def _owner(kind: CodeKind, found: KeptCode | None, now: datetime) -> UUID:
    if found is None or found.ends_at <= now:
        raise kind.invalid()
    return found.owner_id
