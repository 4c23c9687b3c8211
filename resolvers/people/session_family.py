"""Sessions of members and operators alike: a family of refresh tokens for each login, and the access tokens with them.

Whoever changes a family locks its row first, so that an exchange, a logout and a second exchange of the same token
happen one after the other. What a token may do is decided by ``loyalty.people.session``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

import structlog

from cache import session_state
from loyalty.people.session import (
    AccountDisabled,
    RefreshFacts,
    RefreshInvalid,
    RefreshOutcome,
    RefreshReused,
    refresh_outcome,
)
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id, new_secret
from models.people.session import RefreshToken, SessionFamily
from resolvers.deps import Deps
from resolvers.people.seal import SealBroken
from resolvers.people.token import TokenIssuer

log = structlog.get_logger(__name__)

KEPT_AFTER_END = timedelta(days=7)
"""How long an expired refresh token is kept, so that its reuse is still seen."""


class Subject(StrEnum):
    """Who signs in."""

    MEMBER = "member"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """What somebody who is signed in holds. The texts are secrets: only the client keeps them."""

    session_id: UUID
    access_token: str
    access_token_expires_at: datetime
    refresh_token: str
    refresh_token_expires_at: datetime


async def open_family(deps: Deps, kind: Subject, subject_id: UUID, now: datetime) -> TokenPair:
    """A new session, in the transaction that holds the subject's lock."""
    assert in_transaction(), "nobody is signed in who may have been disabled meanwhile"
    family = await SessionFamily.create(id=new_id(now), subject_kind=kind, subject_id=subject_id, created_at=now)
    token, secret = await _new_token(deps, kind, family.id, now)
    return _pair(deps, kind, family, token, secret, now)


@retried
async def exchange(deps: Deps, kind: Subject, presented: str, now: datetime) -> tuple[UUID, TokenPair]:
    """Exchange a refresh token; whose it is, and the new pair.

    Raises:
        RefreshInvalid: unknown, expired or ended, or one of the other kind.
        RefreshReused: it was used before and its grace is over; the session is ended by now.
        AccountDisabled: its owner is disabled.
    """
    known = await RefreshToken.get_or_none(token_hash=_hashed(presented))
    if known is None:
        raise RefreshInvalid
    async with transaction():
        family = await SessionFamily.filter(id=known.family_id).select_for_update(no_key=True).get()
        if family.subject_kind != kind:
            raise RefreshInvalid
        # Read again: another exchange may have used it while this one waited for the lock.
        token = await RefreshToken.get(id=known.id)
        successor = await RefreshToken.get_or_none(id=token.successor_id) if token.successor_id else None
        outcome = refresh_outcome(
            RefreshFacts(
                expires_at=token.expires_at,
                used_at=token.used_at,
                successor_used=successor is not None and successor.used_at is not None,
                family_revoked_at=family.revoked_at,
            ),
            now,
        )
        match outcome:
            case RefreshOutcome.FRESH:
                await _admit(kind, family.subject_id)
                return family.subject_id, await _succeed(deps, kind, family, token, now)
            case RefreshOutcome.REPLAY:
                assert successor is not None, "a token is used and succeeded in one transaction"
                await _admit(kind, family.subject_id)
                return family.subject_id, _pair(deps, kind, family, successor, _again(deps, token), now)
            case RefreshOutcome.EXPIRED | RefreshOutcome.REVOKED:
                raise RefreshInvalid
            case RefreshOutcome.REUSED:
                # Leaving the block commits: the end of the session must outlive the refusal.
                await _end("id = $3", family.id, "reuse", now)
    log.warning("refresh token reused", subject_kind=str(kind), subject_id=family.subject_id, session_id=family.id)
    await session_state.ended(deps.redis, [family.id])
    raise RefreshReused


async def end_by_token(deps: Deps, kind: Subject, presented: str, now: datetime) -> bool:
    """End the session of a refresh token, fresh or used; whether there was one to end."""
    known = await RefreshToken.get_or_none(token_hash=_hashed(presented))
    if known is None:
        return False
    async with transaction():
        gone = await _end(f"id = $3 AND subject_kind = '{kind}'", known.family_id, "logout", now)
    await session_state.ended(deps.redis, gone)
    return bool(gone)


async def end_all(
    kind: Subject, subject_id: UUID, *, reason: str, now: datetime, keep: UUID | None = None
) -> Sequence[UUID]:
    """End every session of somebody, but for the one to ``keep``, in the transaction that holds the subject's lock.

    Returns the sessions that ended. After the commit hand them to ``cache.session_state.ended``.
    """
    assert in_transaction(), "sessions end together with what ended them"
    condition = f"subject_kind = '{kind}' AND subject_id = $3 AND ($4::uuid IS NULL OR id <> $4)"
    return await _end(condition, subject_id, reason, now, keep)


async def clear_away(now: datetime, *, at_most: int = 1_000) -> int:
    """Delete refresh tokens that expired a week ago, and sessions that have none left; how many tokens were deleted.

    For a job: what is deleted says nothing any more but that it is unknown, which its bearer is told either way.
    """
    async with transaction():
        gone = await rows(
            "DELETE FROM refresh_token WHERE id IN (SELECT id FROM refresh_token WHERE expires_at < $1 LIMIT $2) "
            "RETURNING family_id",
            [now - KEPT_AFTER_END, at_most],
        )
        await changed(
            "DELETE FROM session_family f WHERE id = ANY($1::uuid[]) "
            "AND NOT EXISTS (SELECT 1 FROM refresh_token t WHERE t.family_id = f.id)",
            [list({row["family_id"] for row in gone})],
        )
    return len(gone)


def _hashed(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _issuer(deps: Deps, kind: Subject) -> TokenIssuer:
    return deps.member_tokens if kind is Subject.MEMBER else deps.operator_tokens


def _pair(
    deps: Deps, kind: Subject, family: SessionFamily, token: RefreshToken, secret: str, now: datetime
) -> TokenPair:
    issuer = _issuer(deps, kind)
    return TokenPair(
        session_id=family.id,
        access_token=issuer.issue(subject_id=family.subject_id, session_id=family.id, now=now),
        access_token_expires_at=issuer.expiry(now),
        refresh_token=secret,
        refresh_token_expires_at=token.expires_at,
    )


async def _new_token(deps: Deps, kind: Subject, family_id: UUID, now: datetime) -> tuple[RefreshToken, str]:
    secret = new_secret()
    ttl = deps.member_refresh_ttl if kind is Subject.MEMBER else deps.operator_refresh_ttl
    token = await RefreshToken.create(
        id=new_id(now), family_id=family_id, token_hash=_hashed(secret), issued_at=now, expires_at=now + ttl
    )
    return token, secret


async def _succeed(deps: Deps, kind: Subject, family: SessionFamily, token: RefreshToken, now: datetime) -> TokenPair:
    successor, secret = await _new_token(deps, kind, family.id, now)
    token.used_at = now
    token.successor_id = successor.id
    token.successor_sealed = deps.seal.close(secret, belongs_to=f"refresh_token:{token.id}")
    await token.save(update_fields=["used_at", "successor_id", "successor_sealed"])
    # The reply that carried this token arrived, so the one it came from has nothing to repeat any more.
    await changed(
        "UPDATE refresh_token SET successor_sealed = NULL WHERE family_id = $1 AND successor_id = $2",
        [family.id, token.id],
    )
    return _pair(deps, kind, family, successor, secret, now)


def _again(deps: Deps, token: RefreshToken) -> str:
    assert token.successor_sealed is not None, "the successor is sealed until it is used"
    try:
        return deps.seal.open(token.successor_sealed, belongs_to=f"refresh_token:{token.id}")
    except SealBroken:
        raise RefreshInvalid from None


async def _admit(kind: Subject, subject_id: UUID) -> None:
    found = await rows(f'SELECT disabled_at FROM "{kind}" WHERE id = $1', [subject_id])
    if not found or found[0]["disabled_at"] is not None:
        raise AccountDisabled


async def _end(condition: str, value: UUID, reason: str, now: datetime, keep: UUID | None = None) -> Sequence[UUID]:
    values = [now, reason, value, *([keep] if "$4" in condition else [])]
    ended = await rows(
        "UPDATE session_family SET revoked_at = $1, revoke_reason = $2 "
        f"WHERE revoked_at IS NULL AND {condition} RETURNING id",
        values,
    )
    return [row["id"] for row in ended]
