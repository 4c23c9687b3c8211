"""Group commit: things that arrive together and want the same scarce row share a transaction.

While one group is being written, those who come wait for the next; the first of an idle line waits for nobody. A group
has ``MOST`` things at most. One that is full does not wait, so that in a rush the next group is being read and decided
while the one before it commits. Each caller is answered after the commit that holds theirs. See
docs/decisions/0011-group-commit.md.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from models.asyncpg_backend import sql_count

MOST = 64
"""More in one transaction gains little and makes everybody in it wait longer."""

SIDE_BY_SIDE = 2
"""So many groups of one line are being written at most: their last statements wait for each other anyway."""

Write = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Line:
    """Those who wait to be written, and how many groups of this line are being written."""

    waiting: deque[tuple[Any, asyncio.Future[Any]]] = field(default_factory=deque)
    writing: int = 0


class GroupCommit:
    """The groups of one process. Things with the same key are written together, by the ``write`` that came first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lines: dict[Hashable, _Line] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def join(self, key: Hashable, thing: Any, write: Write) -> Any:
        """What ``write`` answers for this thing; an exception among its answers is raised.

        ``write`` gets things in the order in which they came and answers one by one. Who stops waiting does not stop
        what is being written.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(key, _Line())
        line.waiting.append((thing, answer))
        if line.writing == 0 or (line.writing < SIDE_BY_SIDE and self._is_full(line)):
            line.writing += 1
            self.follow(self._run(key, line, write))
        return await answer

    def _is_full(self, line: _Line) -> bool:
        return len(line.waiting) >= self._most

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something be done after the answers."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def idle(self) -> None:
        """Wait until nothing is being written and nothing is left to do."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _run(self, key: Hashable, line: _Line, write: Write) -> None:
        # What a group costs is nobody's own: neither the statement counter nor the log line of the first caller.
        sql_count.set(None)
        structlog.contextvars.clear_contextvars()
        try:
            while line.waiting and (line.writing == 1 or self._is_full(line)):
                # Those who became ready in this turn of the loop come along.
                await asyncio.sleep(0)
                group = [line.waiting.popleft() for _ in range(min(len(line.waiting), self._most))]
                if group:
                    await _write(group, write)
        finally:
            line.writing -= 1
            if not line.writing:
                del self._lines[key]


async def _write(group: Sequence[tuple[Any, asyncio.Future[Any]]], write: Write) -> None:
    try:
        answers = await write([thing for thing, _ in group])
    except Exception as error:
        answers = [error] * len(group)
    for (_, answer), told in zip(group, answers, strict=True):
        if answer.done():
            continue
        if isinstance(told, BaseException):
            answer.set_exception(told)
        else:
            answer.set_result(told)
