"""One round of a sweep: what fails is told and comes again, and does not count as done."""

from collections.abc import Sequence

from structlog.testing import capture_logs

from cache.flash_gate import forget
from jobs.sweep import BATCH, FIRST_REST, MOST_RESTING, UNCHANGED, Resting, Sweep
from jobs.sweeps import SWEEPS
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales.flash_gate import CHECK_EVERY
from tests.flash import make_sale


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


async def test_what_was_only_looked_at_is_not_told_of(deps: Deps) -> None:
    async def due(_: Deps, __: int) -> Sequence[object]:
        return [UNCHANGED, None]

    async def do(_: Deps, thing: object) -> object:
        return thing

    with capture_logs() as lines:
        assert await Sweep(name="looking", every_s=60, due=due, do=do).round(deps) == 2
    assert [(line["log_level"], line["outcome"]) for line in lines] == [("debug", "unchanged"), ("info", "ok")]


async def test_a_gate_that_stands_right_is_looked_at_in_silence(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps)
    (sweep,) = [one for one in SWEEPS if one.name == "reconcile_flash_gates"]
    for gone in (False, True):
        if gone:
            await forget(deps.redis, sale.item_id)
        clock.advance(CHECK_EVERY)
        with capture_logs() as lines:
            await sweep.round(deps)
        told = [line for line in lines if line.get("thing") == str(sale.item_id)]
        assert [line["log_level"] for line in told] == (["info"] if gone else ["debug"])
