"""A Lua script, sent by its hash and once in full to a server that does not know it yet: a new one, or after FLUSH.

In a cluster all keys of a call lie in one slot, so they share a hash tag: ``{…}`` around the sale's or member's id.
"""

import hashlib
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from cache.client import Client

FOLDER = Path(__file__).parent


class Script:
    """A script of this folder. It declares every key it touches."""

    def __init__(self, name: str) -> None:
        self.text = (FOLDER / name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Client, keys: list[str], *arguments: str | int | bytes) -> Any:
        """What the script answers. It may have run when this raises an outage: the reply may be what was lost.

        Raises: the errors in ``cache.outage`` while Redis is away.
        """
        try:
            return await redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.execute_command("EVAL", self.text, len(keys), *keys, *arguments)
