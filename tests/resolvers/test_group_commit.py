"""Things that arrive together are written together, each is answered, and none is taken down by another."""

import asyncio
from collections.abc import Sequence

import pytest

from resolvers.group_commit import GroupCommit


class Writer:
    """Writes numbers slowly, and remembers the groups that it was given."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[object]:
        self.groups.append(list(numbers))
        self.begun.set()
        await self.may_go_on.wait()
        return [ValueError(f"{number} is odd") if number % 2 else number * 10 for number in numbers]


async def test_the_first_waits_for_nobody_and_the_others_share_the_next_groups() -> None:
    together, write = GroupCommit(most=3), Writer()
    first = asyncio.create_task(together.join("a", 0, write))
    await write.begun.wait()
    rest = [asyncio.create_task(together.join("a", number, write)) for number in (2, 4, 6, 8)]
    await asyncio.sleep(0)
    assert write.groups == [[0]]
    write.may_go_on.set()
    assert await asyncio.gather(first, *rest) == [0, 20, 40, 60, 80]
    assert write.groups == [[0], [2, 4, 6], [8]]
    await together.idle()


async def test_a_refusal_is_its_own() -> None:
    together, write = GroupCommit(), Writer()
    write.may_go_on.set()
    answers = await asyncio.gather(*(together.join("a", number, write) for number in range(4)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["0", "1 is odd", "20", "3 is odd"]


async def test_a_write_that_fails_is_the_answer_of_all_in_it_and_of_nobody_after() -> None:
    together, write = GroupCommit(), Writer()
    write.may_go_on.set()

    async def fails(_: Sequence[int]) -> list[object]:
        raise RuntimeError("no")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            await together.join("a", 0, fails)
    assert await together.join("a", 2, write) == 20


async def test_who_hangs_up_does_not_stop_what_is_written() -> None:
    together, write = GroupCommit(), Writer()
    gone, stays = [asyncio.create_task(together.join("a", number, write)) for number in (0, 2)]
    await write.begun.wait()
    gone.cancel()
    write.may_go_on.set()
    assert await stays == 20
    assert write.groups == [[0, 2]]


async def test_groups_of_different_keys_do_not_wait_for_each_other() -> None:
    together, slow, quick = GroupCommit(), Writer(), Writer()
    waiting = asyncio.create_task(together.join("a", 0, slow))
    quick.may_go_on.set()
    assert await together.join("b", 2, quick) == 20
    assert not waiting.done()
    slow.may_go_on.set()
    assert await waiting == 0
