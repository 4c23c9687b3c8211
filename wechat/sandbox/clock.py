"""The sandbox's own clock: real time plus an offset that the operator moves, or a time that stands still."""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Runs as fast as real time unless it was told to stand, and can be moved, also backwards.

    The offset is kept over a restart by its owner.
    """

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset
        self._stands_at: datetime | None = None

    def now(self) -> datetime:
        """The sandbox's time, aware, UTC."""
        return self._stands_at or datetime.now(UTC) + self.offset

    def advance(self, by: timedelta) -> None:
        """Move the clock by `by`."""
        self.offset += by
        if self._stands_at is not None:
            self._stands_at += by

    def set(self, at: datetime, *, stands: bool = False) -> None:
        """Make it `at` now; time goes on from there, or stands still."""
        self.offset = at - datetime.now(UTC)
        self._stands_at = at if stands else None

    def reset(self) -> None:
        """Real time again."""
        self.offset, self._stands_at = timedelta(), None
