"""What it looks like when Redis is away, for those who turn it into an answer."""

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    ReadOnlyError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

OUTAGES: tuple[type[Exception], ...] = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    TryAgainError,
    ClusterError,
    ClusterDownError,
    SlotNotCoveredError,
)
