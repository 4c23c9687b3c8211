"""One sweep: find what is due, do each."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from models.asyncpg_backend import Unavailable
from resolvers.deps import Deps
from telemetry import IDLE, backlog_seen, job_line

BATCH = 50
"""How many things one round takes; a full round that went well is followed by the next at once."""

FIRST_REST = timedelta(minutes=1)
LONGEST_REST = timedelta(hours=1)
UNCHANGED: Final = object()
"""What ``do`` answers when it has looked and nothing was to be done."""

MOST_RESTING = 1_000
"""How many failures are remembered; beyond, the oldest is forgotten and comes again with the others."""


@dataclass(slots=True)
class Resting:
    """What failed in this process and is left alone for a while, so that it does not keep others from their turn.

    The first failure rests for a minute, each further one twice as long, an hour at most. Nothing is lost with it: a
    process that starts anew tries everything again.
    """

    _until: dict[Hashable, tuple[datetime, timedelta]] = field(default_factory=dict)

    def count(self, now: datetime) -> int:
        """How many things rest now."""
        return sum(until > now for until, _ in self._until.values())

    def rests(self, thing: Hashable, now: datetime) -> bool:
        """Whether this one is left alone now."""
        return thing in self._until and self._until[thing][0] > now

    def failed(self, thing: Hashable, now: datetime) -> None:
        """Leave it alone for a while."""
        rest = min(self._until[thing][1] * 2, LONGEST_REST) if thing in self._until else FIRST_REST
        self._until.pop(thing, None)
        self._until[thing] = (now + rest, rest)
        if len(self._until) > MOST_RESTING:
            del self._until[next(iter(self._until))]

    def succeeded(self, thing: Hashable) -> None:
        """Forget that it ever failed."""
        self._until.pop(thing, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """``due`` finds up to so many things; ``do`` handles one of them.

    A thing that is only looked at, round after round, is said by ``do`` to be ``UNCHANGED``: it is counted under that
    outcome and its line is written at level ``debug`` alone.

    ``leases``: what ``due`` finds comes again by a time of its own, failed or not. Everything else comes again in the
    next round, where what failed has to stand back.
    """

    name: str
    every_s: float
    due: Callable[[Deps, int], Awaitable[Sequence[Any]]]
    do: Callable[[Deps, Any], Awaitable[object]]
    leases: bool = False

    async def round(self, deps: Deps, resting: Resting | None = None) -> int:
        """Do what is due now, ``BATCH`` at most; how many were done. One that fails is logged and comes again.

        Raises:
            Unavailable: the database is away, so nothing more can be done in this round.
        """
        now = deps.clock.now()
        patient = Resting() if resting is None or self.leases else resting
        due = await self.due(deps, BATCH + patient.count(now))
        backlog_seen(self.name, len(due))
        done = 0
        for thing in [one for one in due if not patient.rests(one, now)][:BATCH]:
            try:
                async with job_line(self.name, thing=str(thing)) as about:
                    if await self.do(deps, thing) is UNCHANGED:
                        about["outcome"] = IDLE
                patient.succeeded(thing)
                done += 1
            except Unavailable:
                raise
            except Exception:
                # The line has told it; the others of the round are not to wait for this one.
                patient.failed(thing, now)
        return done
