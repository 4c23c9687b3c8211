"""What time it is. A verb reads the clock once and passes the instant down."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the instant, always aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SetClock:
    """A clock that stands where it is put, for tests, rehearsals and replays."""

    def __init__(self, at: datetime) -> None:
        assert at.tzinfo is not None, "an instant needs a time zone"
        self.at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, step: timedelta) -> datetime:
        """Move the clock by ``step`` and return the new instant."""
        self.at += step
        return self.at
