"""The mini-program's access token, by ``/cgi-bin/stable_token``.

Official source: "Get stable interface call credentials". Normal mode repeats the same token while it lives (7200 s at
most); within its last 5 minutes a call brings a fresh one and both work. So several processes may ask at once without
harm, and ``force_refresh`` (20 a day, for leaks) is never used here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from wechat.errors import TokenRejected
from wechat.mini import MiniProgramHost
from wechat.wire import text, whole

T = TypeVar("T")

EARLY_S: Final = 300
"""Seconds before its end at which a cached token is left, because from then on WeChat hands out the next one."""

SHORTEST_S: Final = 60
"""Seconds for which a token is kept at least, so that one near its end is not asked for on every call."""


class TokenCache(Protocol):
    """Where tokens are remembered: soft state, shared by the processes. A value has up to 512 characters and more."""

    async def get(self, key: str) -> str | None:
        """The value, or None when it is unknown or its time is over."""

    async def put(self, key: str, value: str, ttl_s: int) -> None:
        """Remember `value` for `ttl_s` seconds."""

    async def drop(self, key: str, value: str) -> None:
        """Forget the key if it still holds `value`; another process may have put a fresh one."""


class TokenProvider:
    """Gives the access token of one app, fetched by one task at a time per process."""

    def __init__(self, host: MiniProgramHost, cache: TokenCache, *, appid: str, secret: str) -> None:
        self._host = host
        self._cache = cache
        self._appid = appid
        self._secret = secret
        self._key = f"wx:token:{appid}"
        self._fetching = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good now. Raises any `wechat.errors.WeChatError` of the fetch."""
        cached = await self._cache.get(self._key)
        if cached is not None:
            return cached
        async with self._fetching:
            cached = await self._cache.get(self._key)
            if cached is not None:
                return cached
            answer = await self._host.post(
                "/cgi-bin/stable_token",
                {},
                {"grant_type": "client_credential", "appid": self._appid, "secret": self._secret},
            )
            fresh = text(answer, "access_token")
            await self._cache.put(self._key, fresh, max(whole(answer, "expires_in") - EARLY_S, SHORTEST_S))
            return fresh

    async def using(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Make `call` with the token; if WeChat rejects it (40001, 40014, 42001), once more with a newly fetched
        one."""
        token = await self.token()
        try:
            return await call(token)
        except TokenRejected:
            await self._cache.drop(self._key, token)
        return await call(await self.token())
