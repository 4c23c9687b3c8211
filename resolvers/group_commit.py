"""Group commit: things that arrive together and want the same scarce row share a transaction.

While one group is being written, those who come wait for the next; the first of an idle group waits for nobody. So the
wait is bounded by one transaction, and a group by ``MOST`` things. Each caller is answered after the commit that holds
theirs. See docs/decisions/0011-group-commit.md.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any

import structlog

from models.asyncpg_backend import sql_count

MOST = 64
"""More in one transaction gains little and makes everybody in it wait longer."""

Write = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


class GroupCommit:
    """The groups of one process. Things with the same key are written together, by the ``write`` that came first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: dict[Hashable, deque[tuple[Any, asyncio.Future[Any]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def join(self, key: Hashable, thing: Any, write: Write) -> Any:
        """What ``write`` answers for this thing; an exception among its answers is raised.

        ``write`` gets things in the order in which they came and answers one by one. Who stops waiting does not stop
        what is being written.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(key)
        if queue is None:
            queue = self._waiting[key] = deque()
            queue.append((thing, answer))
            self.follow(self._run(key, queue, write))
        else:
            queue.append((thing, answer))
        return await answer

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something be done after the answers."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def idle(self) -> None:
        """Wait until nothing is being written and nothing is left to do."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def _run(self, key: Hashable, queue: deque[tuple[Any, asyncio.Future[Any]]], write: Write) -> None:
        # What a group costs is nobody's own: neither the statement counter nor the log line of the first caller.
        sql_count.set(None)
        structlog.contextvars.clear_contextvars()
        try:
            while queue:
                # Those who became ready in this turn of the loop come along.
                await asyncio.sleep(0)
                group = [queue.popleft() for _ in range(min(len(queue), self._most))]
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
        finally:
            del self._waiting[key]
