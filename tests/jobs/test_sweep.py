"""One round of a sweep: what fails is told and comes again, and does not count as done."""

from collections.abc import Sequence

from jobs.sweep import BATCH, FIRST_REST, MOST_RESTING, Resting, Sweep
from resolvers.clock import SetClock
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


async def test_what_always_fails_stands_back_for_the_others(deps: Deps, clock: SetClock) -> None:
    waiting = list(range(BATCH + 10))
    tried: list[int] = []

    async def due(_: Deps, limit: int) -> Sequence[int]:
        return waiting[:limit]

    async def do(_: Deps, thing: int) -> None:
        tried.append(thing)
        if thing < BATCH:
            raise ValueError(thing)
        waiting.remove(thing)

    sweep, resting = Sweep(name="starving", every_s=60, due=due, do=do), Resting()
    assert await sweep.round(deps, resting) == 0
    assert await sweep.round(deps, resting) == 10
    assert waiting == list(range(BATCH))
    tried.clear()
    assert await sweep.round(deps, resting) == 0
    assert not tried, "all that is left rests"
    clock.advance(FIRST_REST)
    await sweep.round(deps, resting)
    assert tried == list(range(BATCH))
    clock.advance(FIRST_REST)
    tried.clear()
    await sweep.round(deps, resting)
    assert not tried, "the second rest is longer"


async def test_what_is_leased_is_never_left_alone(deps: Deps) -> None:
    tried: list[int] = []

    async def due(_: Deps, limit: int) -> Sequence[int]:
        assert limit == BATCH
        return [1]

    async def do(_: Deps, thing: int) -> None:
        tried.append(thing)
        raise ValueError(thing)

    sweep, resting = Sweep(name="leased", every_s=60, due=due, do=do, leases=True), Resting()
    for _ in range(3):
        await sweep.round(deps, resting)
    assert tried == [1, 1, 1]


def test_failures_are_remembered_in_bounds(clock: SetClock) -> None:
    resting = Resting()
    for thing in range(MOST_RESTING + 1):
        resting.failed(thing, clock.now())
    assert resting.count(clock.now()) == MOST_RESTING
    assert not resting.rests(0, clock.now())
