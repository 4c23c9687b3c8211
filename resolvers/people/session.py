"""Members' sessions: logging in with WeChat's code, staying in, logging out, and whom a token speaks for."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError

from cache import session_state
from cache.rate_limit import Ask, Limit, network_of, take, take_all, take_if_alive
from loyalty.people.session import AccountDisabled, LoginCodeInvalid, LoginUnavailable, RiskBlocked
from models.asyncpg_backend import Conflict
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.people.member import join
from resolvers.people.session_family import Subject, TokenPair, end_all, end_by_token, exchange, open_family
from resolvers.people.token import TokenClaims, TokenInvalid
from resolvers.referrals.referral import Arrival, ReferralOutcome, arrive
from wechat import errors as platform
from wechat.login import LoginSession

log = structlog.get_logger(__name__)

CODE_MAX_LENGTH = 128
CREATE_TRIES = 3
LOGINS_BY_ADDRESS = Limit("address", burst=1_000, every=timedelta(milliseconds=50))
REFRESHES_BY_ADDRESS = Limit("address", burst=2_000, every=timedelta(milliseconds=25))
"""Generous, because a mobile operator puts a whole town behind one address."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A member and what their mini-program keeps."""

    member: Member
    tokens: TokenPair
    referral: ReferralOutcome | None = None


async def login(
    deps: Deps, *, code: str, client_ip: str, referral_token: str | None = None, device_id: str | None = None
) -> SignedIn:
    """Spend the code of ``wx.login`` and open a session for its person, who joins if this is the first time.

    ``referral_token`` is the invitation that was opened, if one was; what becomes of it never hinders the login.

    Raises:
        TooMany: too many logins from this address.
        LoginCodeInvalid: WeChat does not take the code.
        RiskBlocked: WeChat blocks the person.
        LoginUnavailable: WeChat gave no usable answer; a new code may be tried.
        AccountDisabled: the member is disabled.
    """
    now = deps.clock.now()
    await take(deps.redis, "sessionLogin", (LOGINS_BY_ADDRESS, network_of(client_ip)))
    person = await _ask_wechat(deps, code)
    arrival = Arrival(client_ip=client_ip, device_id=device_id, referral_token=referral_token)
    for _ in range(CREATE_TRIES - 1):
        # Somebody with the same openid or unionid may come between our looking and our writing; then they are found.
        with suppress(IntegrityError):
            return await _sign_in(deps, person, arrival, now)
    return await _sign_in(deps, person, arrival, now)


async def _ask_wechat(deps: Deps, code: str) -> LoginSession:
    if not 1 <= len(code) <= CODE_MAX_LENGTH:
        raise LoginCodeInvalid
    try:
        return await deps.login.code2session(code)
    except platform.CodeInvalid:
        raise LoginCodeInvalid from None
    except platform.RiskBlocked:
        raise RiskBlocked from None
    except platform.Misconfigured as error:
        log.error("wechat refuses this app", code=error.code, trace=error.trace)
        raise LoginUnavailable from error
    except platform.WeChatError as error:
        log.warning("wechat login failed", code=error.code, trace=error.trace)
        raise LoginUnavailable from error


@retried
async def _sign_in(deps: Deps, person: LoginSession, arrival: Arrival, now: datetime) -> SignedIn:
    """One person is one member: found by openid, else by a unionid that has no openid yet, else made."""
    by_openid = await Member.get_or_none(openid=person.openid)
    by_unionid = await Member.get_or_none(unionid=person.unionid) if person.unionid else None
    known = by_openid or (by_unionid if by_unionid is not None and by_unionid.openid is None else None)
    unionid = person.unionid
    if by_unionid is not None and by_unionid is not known:
        log.warning("a unionid stands with another member", member_id=known and known.id, other_id=by_unionid.id)
        unionid = None
    async with transaction(*([known.id] if known else [])):
        if known is None:
            member = await Member.create(id=new_id(now), openid=person.openid, unionid=unionid, created_at=now)
            await join(member.id, now=now)
        else:
            # Read again under the lock.
            member = await Member.get(id=known.id)
            if member.disabled_at is not None:
                raise AccountDisabled
            if member.openid not in (None, person.openid):
                raise Conflict("the member known by this unionid was given another openid meanwhile")
            member.openid = person.openid
            member.unionid = unionid or member.unionid
        member.session_key_sealed = deps.seal.close(person.session_key, belongs_to=f"member:{member.id}")
        await member.save(update_fields=["openid", "unionid", "session_key_sealed"])
        referral = await arrive(deps, member.id, arrival, joins=known is None, now=now)
        return SignedIn(member, await open_family(deps, Subject.MEMBER, member.id, now), referral)


async def refresh(deps: Deps, *, refresh_token: str, client_ip: str) -> SignedIn:
    """Exchange a refresh token for a new pair. Within the grace the same token gives the same pair again.

    Raises:
        TooMany: too many from this address.
        RefreshInvalid, RefreshReused, AccountDisabled: see ``session_family.exchange``.
    """
    await take(deps.redis, "sessionRefresh", (REFRESHES_BY_ADDRESS, network_of(client_ip)))
    member_id, tokens = await exchange(deps, Subject.MEMBER, refresh_token, deps.clock.now())
    return SignedIn(await Member.get(id=member_id), tokens)


async def logout(deps: Deps, *, refresh_token: str) -> bool:
    """End the session of a refresh token; whether there was one to end. Harmless to repeat."""
    return await end_by_token(deps, Subject.MEMBER, refresh_token, deps.clock.now())


@retried
async def logout_everywhere(deps: Deps, *, member_id: UUID) -> int:
    """End every session of a member; how many there were."""
    async with transaction(member_id):
        gone = await end_all(Subject.MEMBER, member_id, reason="logout_everywhere", now=deps.clock.now())
    await session_state.ended(deps.redis, gone)
    return len(gone)


async def enter(deps: Deps, claims: TokenClaims, asked: Sequence[Ask] = ()) -> None:
    """Let a request of a member in, whose session lives and who is not disabled, and take it from the rate limits.

    Mostly answered by Redis, in one step with the limits; the database is asked at least once a minute for each session
    in use.

    Raises:
        TokenInvalid: the token is not valid any more, and nothing was taken.
        TooMany: a limit is used up.
    """
    alive = await take_if_alive(deps.redis, claims.session_id, asked)
    if alive is None:
        alive = bool(
            await rows(
                "SELECT 1 FROM session_family f JOIN member m ON m.id = f.subject_id "
                "WHERE f.id = $1 AND f.subject_id = $2 AND f.subject_kind = 'member' "
                "AND f.revoked_at IS NULL AND m.disabled_at IS NULL",
                [claims.session_id, claims.subject_id],
            )
        )
        if alive:
            await session_state.saw_alive(deps.redis, claims.session_id)
            await take_all(deps.redis, asked)
    if not alive:
        raise TokenInvalid("ended")


async def read_operator_token(deps: Deps, token: str, now: datetime) -> TokenClaims:
    """The operator an access token speaks for, with the role of this moment: the database is asked at every request.

    Raises:
        TokenInvalid: the token is not valid, or not any more.
    """
    claims = deps.operator_tokens.read(token, now=now)
    found = await rows(
        "SELECT o.role FROM session_family f JOIN operator o ON o.id = f.subject_id "
        "WHERE f.id = $1 AND f.subject_id = $2 AND f.subject_kind = 'operator' "
        "AND f.revoked_at IS NULL AND o.disabled_at IS NULL",
        [claims.session_id, claims.subject_id],
    )
    if not found:
        raise TokenInvalid("ended")
    return replace(claims, role=found[0]["role"])
