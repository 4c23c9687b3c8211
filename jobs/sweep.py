"""One sweep: find what is due, do each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.asyncpg_backend import Unavailable
from resolvers.deps import Deps
from telemetry import backlog_seen, job_line

BATCH = 50
"""How many things one round takes; a full round that went well is followed by the next at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """``due`` finds (and leases) up to so many things; ``do`` handles one of them."""

    name: str
    every_s: float
    due: Callable[[Deps, int], Awaitable[Sequence[Any]]]
    do: Callable[[Deps, Any], Awaitable[object]]

    async def round(self, deps: Deps) -> int:
        """Do what is due now, ``BATCH`` at most; how many were done. One that fails is logged and comes again.

        Raises:
            Unavailable: the database is away, so nothing more can be done in this round.
        """
        due = await self.due(deps, BATCH)
        backlog_seen(self.name, len(due))
        done = 0
        for thing in due:
            try:
                async with job_line(self.name, thing=str(thing)):
                    await self.do(deps, thing)
                done += 1
            except Unavailable:
                raise
            except Exception:
                # The line has told it; the others of the round are not to wait for this one.
                continue
        return done
