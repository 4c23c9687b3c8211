"""Is a stored session key still the person's current one?

Official source: "checkSession". The signature is keyed by the *text* of the session key, not by its base64 decoding.
"""

import hashlib
import hmac

from wechat.errors import RequestRefused
from wechat.mini import MiniProgramHost
from wechat.token import TokenProvider

INVALID_SIGNATURE = "87009"


def session_signature(session_key: str, body: str = "") -> str:
    """HMAC-SHA256 of `body` under `session_key`, hexadecimal."""
    return hmac.new(session_key.encode(), body.encode(), hashlib.sha256).hexdigest()


class SessionClient:
    """``GET /wxa/checksession``."""

    def __init__(self, host: MiniProgramHost, tokens: TokenProvider) -> None:
        self._host = host
        self._tokens = tokens

    async def is_current(self, openid: str, session_key: str) -> bool:
        """False once the person has logged in anew since. Raises any `wechat.errors.WeChatError`."""
        query = {"openid": openid, "signature": session_signature(session_key), "sig_method": "hmac_sha256"}
        try:
            await self._tokens.using(
                lambda token: self._host.get("/wxa/checksession", {"access_token": token, **query})
            )
        except RequestRefused as refusal:
            if refusal.code == INVALID_SIGNATURE:
                return False
            raise
        return True
