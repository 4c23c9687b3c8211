"""Sessions: how long tokens live, and what a refresh token may do when it comes a second time.

Source: docs/rules/session.md
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from loyalty.refusal import Refusal

MEMBER_ACCESS_TTL = timedelta(minutes=30)
OPERATOR_ACCESS_TTL = timedelta(minutes=15)
REFRESH_TTL = timedelta(days=30)
OPERATOR_REFRESH_TTL = timedelta(hours=12)
REFRESH_GRACE = timedelta(seconds=30)
"""A used refresh token gets the same answer again for so long: the first reply may have been lost on the way."""

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 128


class LoginCodeInvalid(Refusal):
    """WeChat does not accept the login code: wrong, used or older than five minutes."""

    code = "LOGIN_CODE_INVALID"
    zh = "登录凭证无效或已过期，请重新登录"
    en = "The login code is invalid or has expired."


class LoginUnavailable(Refusal):
    """WeChat did not answer; the same tap may be tried again with a new code."""

    code = "LOGIN_UNAVAILABLE"
    zh = "微信登录暂不可用，请稍后重试"
    en = "WeChat login is not available right now; please try again."


class RiskBlocked(Refusal):
    """WeChat blocks this account for risk."""

    code = "RISK_BLOCKED"
    zh = "该微信账号存在风险，暂无法登录"
    en = "WeChat blocks this account because of a risk."


class RefreshInvalid(Refusal):
    """The refresh token is unknown, expired or logged out."""

    code = "REFRESH_INVALID"
    zh = "登录状态已失效，请重新登录"
    en = "The session has ended; please log in again."


class RefreshReused(Refusal):
    """A refresh token came again after its grace: somebody else has it, so the whole session is ended."""

    code = "REFRESH_REUSED"
    zh = "登录状态异常，为保护账号已退出登录"
    en = "This session was used twice and has been ended for safety."


class CredentialsWrong(Refusal):
    """No such operator, or a wrong password: the two are not told apart."""

    code = "CREDENTIALS_WRONG"
    zh = "账号或密码错误"
    en = "The account or the password is wrong."


class AccountDisabled(Refusal):
    """The member or operator has been disabled."""

    code = "ACCOUNT_DISABLED"
    zh = "账号已停用"
    en = "This account is disabled."


class PasswordTooWeak(Refusal):
    """A password is ``least`` to ``most`` characters."""

    code = "PASSWORD_TOO_WEAK"
    zh = "密码须为 {least} 至 {most} 个字符"
    en = "A password is {least} to {most} characters."


class RefreshOutcome(StrEnum):
    """What a refresh token may do. FRESH: a new pair. REPLAY: the pair it made already. REUSED: end the family."""

    FRESH = "fresh"
    REPLAY = "replay"
    REUSED = "reused"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFacts:
    """A stored refresh token: when it ends, when it was used first, and when its family was ended, if so.

    ``successor_used``: the token that it was exchanged for has been used itself, so the reply did arrive.
    """

    expires_at: datetime
    used_at: datetime | None = None
    successor_used: bool = False
    family_revoked_at: datetime | None = None


def refresh_outcome(token: RefreshFacts, now: datetime, grace: timedelta = REFRESH_GRACE) -> RefreshOutcome:
    """Decide a refresh. A revoked family stays so; then reuse counts, even of an expired token; then expiry.

    A used token is a replay before ``used_at + grace`` and only while its successor is unused.
    """
    if token.family_revoked_at is not None:
        return RefreshOutcome.REVOKED
    if token.used_at is not None:
        replay = now < token.used_at + grace and not token.successor_used
        return RefreshOutcome.REPLAY if replay else RefreshOutcome.REUSED
    return RefreshOutcome.EXPIRED if now >= token.expires_at else RefreshOutcome.FRESH


def admit_password(password: str) -> None:
    """Whether an operator may have this password: its length alone counts. Raises: PasswordTooWeak."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise PasswordTooWeak(least=MIN_PASSWORD_LENGTH, most=MAX_PASSWORD_LENGTH)
