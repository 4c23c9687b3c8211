"""What a server remembers, for good or until an instant, and how much of it."""

from datetime import UTC, datetime, timedelta

import pytest

from resolvers import remembered
from resolvers.remembered import Remembered

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


def test_an_answer_is_good_for_good_or_until_before_its_instant() -> None:
    memory = Remembered[str, int | None]()
    memory.keep("ever", None, until=None)
    memory.keep("soon", 1, until=NOW)
    assert memory.look(["ever", "soon", "never"], NOW - timedelta(microseconds=1)) == (
        {"ever": None, "soon": 1},
        ["never"],
    )
    assert memory.look(["ever", "soon"], NOW) == ({"ever": None}, ["soon"])


def test_it_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 3)
    memory = Remembered[int, int]()
    for one in range(4):
        memory.keep(one, one, until=None)
    assert memory.look(range(4), NOW) == ({3: 3}, [0, 1, 2])
