"""Access tokens: short-lived JWTs, one kind for members and one for operators (RFC 8725).

Each kind has keys, audience and type of its own, so that neither is ever taken for the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

ALGORITHM = "HS256"
ISSUER = "youli"


class TokenInvalid(Exception):
    """The token is expired, forged, of the other kind, or no token at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """What a valid token says."""

    subject_id: UUID
    session_id: UUID
    role: str | None
    expires_at: datetime


class TokenIssuer:
    """Signs with the first key and verifies with any. ``keys`` maps key ids (``kid``) to secrets of 32 bytes or more."""

    def __init__(self, keys: Mapping[str, str], *, audience: str, ttl: timedelta) -> None:
        assert keys, "tokens need a key"
        self._keys = dict(keys)
        self._kid = next(iter(keys))
        self._audience = audience
        self.ttl = ttl
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})

    def issue(self, *, subject_id: UUID, session_id: UUID, now: datetime, role: str | None = None) -> str:
        """A token for the subject, valid from ``now`` for ``ttl``."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": self._audience,
            "sub": str(subject_id),
            "sid": str(session_id),
            "iat": int(now.timestamp()),
            "exp": int((now + self.ttl).timestamp()),
        }
        if role is not None:
            claims["role"] = role
        headers = {"kid": self._kid, "typ": f"{self._audience}+jwt"}
        return self._jwt.encode(claims, self._keys[self._kid], algorithm=ALGORITHM, headers=headers)

    def read(self, token: str, *, now: datetime) -> TokenClaims:
        """What the token says. Raises: TokenInvalid."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != f"{self._audience}+jwt":
                raise TokenInvalid("typ")
            claims = self._jwt.decode(
                token,
                self._keys[header["kid"]],
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=ISSUER,
                options={
                    "require": ["iss", "aud", "sub", "sid", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
            found = TokenClaims(
                subject_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                role=claims.get("role"),
                expires_at=expires_at,
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise TokenInvalid(type(error).__name__) from error
        if now >= found.expires_at:
            raise TokenInvalid("expired")
        return found
