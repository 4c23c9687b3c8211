"""The sandbox's own clock: real time plus an offset that the operator moves."""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Runs as fast as real time and can be moved, also backwards. The offset is kept over a restart by its owner."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self) -> datetime:
        """The sandbox's time, aware, UTC."""
        return datetime.now(UTC) + self.offset

    def advance(self, by: timedelta) -> None:
        """Move the clock by `by`."""
        self.offset += by

    def set(self, at: datetime) -> None:
        """Make it `at` now; time goes on from there."""
        self.offset = at - datetime.now(UTC)
