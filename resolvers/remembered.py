"""What one server remembers, because it does not change any more, or not soon."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

Asked = TypeVar("Asked", bound=Hashable)
Answer = TypeVar("Answer")

MOST = 10_000


class Remembered(Generic[Asked, Answer]):
    """Up to ``MOST`` answers; at the next one, all are forgotten. Forgetting costs time, never correctness."""

    def __init__(self) -> None:
        self._kept: dict[Asked, tuple[Answer, datetime | None]] = {}

    def look(self, asked: Sequence[Asked], now: datetime) -> tuple[dict[Asked, Answer], list[Asked]]:
        """The answers that are good at ``now``, and what was asked besides."""
        found: dict[Asked, Answer] = {}
        missing: list[Asked] = []
        for one in asked:
            kept = self._kept.get(one)
            if kept is None or (kept[1] is not None and kept[1] <= now):
                missing.append(one)
            else:
                found[one] = kept[0]
        return found, missing

    def keep(self, one: Asked, answer: Answer, *, until: datetime | None) -> None:
        """Remember an answer that is good until before ``until``; None: for good."""
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[one] = (answer, until)
