"""One round of a sweep: what fails is told and comes again, and does not count as done."""

from collections.abc import Sequence

from jobs.sweep import BATCH, Sweep
from resolvers.deps import Deps


async def test_a_full_round_of_failures_is_not_followed_by_the_next_at_once(deps: Deps) -> None:
    tried: list[int] = []

    async def due(_: Deps, limit: int) -> Sequence[int]:
        return range(limit)

    async def do(_: Deps, thing: int) -> None:
        tried.append(thing)
        if thing:
            raise ValueError(thing)

    assert await Sweep(name="failing", every_s=60, due=due, do=do).round(deps) == 1
    assert len(tried) == BATCH
