"""Which sessions are known to be alive, so that most requests need not ask the database.

The database is the truth. Here stands for ``LIVE_S`` what it said last; that a session ended is written over it at
once and outlasts every reader who had seen it alive just before. A flushed Redis means one question more.
"""

from collections.abc import Iterable
from uuid import UUID

import structlog
from redis.exceptions import OutOfMemoryError

from cache.client import Client
from cache.outage import OUTAGES

log = structlog.get_logger(__name__)

LIVE_S = 60
ENDED_S = 180
LIVE = b"1"
ENDED = b"0"
AWAY: tuple[type[Exception], ...] = (*OUTAGES, OutOfMemoryError)


def state_key(session_id: UUID) -> str:
    return f"session:{session_id}"


async def known_state(redis: Client, session_id: UUID) -> bool | None:
    """Whether the session is alive; None if that is not known here and the database must be asked."""
    try:
        found = await redis.get(state_key(session_id))
    except AWAY:
        return None
    return None if found is None else found == LIVE


async def saw_alive(redis: Client, session_id: UUID) -> None:
    """The database says that it is alive. Never overwrites that it ended."""
    try:
        await redis.set(state_key(session_id), LIVE, nx=True, ex=LIVE_S)
    except AWAY:
        return


async def ended(redis: Client, session_ids: Iterable[UUID]) -> None:
    """These sessions have ended, committed. With Redis away, others may hold them for alive for ``LIVE_S`` yet."""
    try:
        for session_id in session_ids:
            await redis.set(state_key(session_id), ENDED, ex=ENDED_S)
    except AWAY as error:
        log.warning("ended sessions could not be announced", reason=type(error).__name__)
