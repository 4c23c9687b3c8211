"""What is remembered of WeChat for a while: access tokens and answers that change rarely.

Soft state: while Redis is away everything is asked for again, which WeChat allows.
"""

from cache.client import Client
from cache.outage import OUTAGES
from cache.script import Script

DROP = Script("wechat_soft_drop.lua")


class WeChatSoft:
    """Keeps texts under keys for a time; a ``wechat.token.TokenCache``."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def get(self, key: str) -> str | None:
        """The value, or None when it is unknown, its time is over, or Redis is away."""
        try:
            found = await self._redis.get(key)
        except OUTAGES:
            return None
        return found.decode() if isinstance(found, bytes) else found

    async def put(self, key: str, value: str, ttl_s: int) -> None:
        """Remember ``value`` for ``ttl_s`` seconds, if Redis is there."""
        try:
            await self._redis.set(key, value, ex=ttl_s)
        except OUTAGES:
            return

    async def drop(self, key: str, value: str) -> None:
        """Forget the key if it still holds ``value``; another process may have put a fresh one."""
        try:
            await DROP.run(self._redis, [key], value)
        except OUTAGES:
            return
