"""The clock's hands: every sweep in a loop of its own until it is told to stop.

Several workers may run at once: what is due is claimed under a lease, or its verb is a compare-and-set, so nothing is
done twice. A sweep that fails is logged and comes again.
"""

import asyncio
from contextlib import suppress

import structlog

from jobs.sweep import BATCH, Resting, Sweep
from jobs.sweeps import SWEEPS
from resolvers.deps import Deps

log = structlog.get_logger("youli")


async def run(deps: Deps, stop: asyncio.Event) -> None:
    """Run every sweep until ``stop`` is set; a round that has begun is finished first."""
    async with asyncio.TaskGroup() as loops:
        for sweep in SWEEPS:
            loops.create_task(_loop(deps, sweep, stop), name=f"sweep {sweep.name}")


async def finished(work: asyncio.Task[None] | None, within_s: float) -> None:
    """Wait for the round under way, in bounds: what is cut off is leased, and comes again after the lease."""
    if work is not None:
        await asyncio.wait({work}, timeout=within_s)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def _loop(deps: Deps, sweep: Sweep, stop: asyncio.Event) -> None:
    resting = Resting()
    while not stop.is_set():
        done = 0
        try:
            done = await sweep.round(deps, resting)
        except Exception:
            log.exception("sweep_failed", job=sweep.name)
        if done < BATCH:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), sweep.every_s)


async def run_due(deps: Deps) -> int:
    """One round of every sweep after another, for tests and rehearsals with a set clock; how much was done."""
    return sum([await sweep.round(deps) for sweep in SWEEPS])
