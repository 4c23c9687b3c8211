"""Mini-program login: exchange the code of ``wx.login`` for the person's openid.

Official source: "code2Session". A code works once and for 5 minutes. The session key never leaves the server.
"""

from dataclasses import dataclass, field

from wechat.mini import MiniProgramHost
from wechat.wire import text, text_or_none


@dataclass(frozen=True, slots=True)
class LoginSession:
    """Who logged in. ``unionid`` comes only when the app is bound to an Open Platform account."""

    openid: str
    unionid: str | None
    session_key: str = field(repr=False)


class LoginClient:
    """``GET /sns/jscode2session`` of one app; needs no access token."""

    def __init__(self, host: MiniProgramHost, *, appid: str, secret: str) -> None:
        self._host = host
        self._appid = appid
        self._secret = secret

    async def code2session(self, js_code: str) -> LoginSession:
        """Spend `js_code`.

        Raises `CodeInvalid` (40029) and `CodeUsed` (40163): ask the mini-program for a new code; `RiskBlocked` (40226):
        refuse; `FrequencyLimited`, `SystemBusy`, `Unreachable`: again later with the same code; `OutcomeUnknown`: the
        code may be spent, ask for a new one; `Misconfigured`: alarm.
        """
        answer = await self._host.get(
            "/sns/jscode2session",
            {"appid": self._appid, "secret": self._secret, "js_code": js_code, "grant_type": "authorization_code"},
        )
        return LoginSession(
            openid=text(answer, "openid"),
            unionid=text_or_none(answer, "unionid"),
            session_key=text(answer, "session_key"),
        )
