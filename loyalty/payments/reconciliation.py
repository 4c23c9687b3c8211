"""Reconciliation: our books of a day held against WeChat Pay's trade bill.

Source: docs/rules/reconciliation.md
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum

CHINA_STANDARD_TIME = timezone(timedelta(hours=8))
"""The zone of WeChat's bills, whatever the shop's own zone is."""

READY_HOUR = 10
"""The bill of a day is there from this hour of the next day on."""

CATCH_UP_DAYS = 30

MISSING_AFTER = timedelta(days=3)
"""So long after it was due a bill that cannot be had becomes a person's affair."""


class MoneyMove(StrEnum):
    """Which way money went: collected under WeChat's transaction id, or back under our refund number."""

    PAYMENT = "payment"
    REFUND = "refund"


class Difference(StrEnum):
    """The three lists of a reconciliation."""

    OURS_ONLY = "ours_only"
    THEIRS_ONLY = "theirs_only"
    AMOUNT_DIFFERS = "amount_differs"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Booking:
    """One move of money in one of the two books; ``amount_fen`` is not negative."""

    move: MoneyMove
    number: str
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One entry of the three lists, with the amounts on both sides; None where it is missing."""

    difference: Difference
    move: MoneyMove
    number: str
    ours_fen: int | None
    theirs_fen: int | None


def reconcile(ours: Iterable[Booking], theirs: Iterable[Booking]) -> tuple[Finding, ...]:
    """What differs between two books of the same moves, ordered by move and number."""
    mine, yours = _by_number(ours), _by_number(theirs)
    findings = []
    for key in sorted(mine.keys() | yours.keys()):
        own, other = mine.get(key), yours.get(key)
        if own == other:
            continue
        if other is None:
            difference = Difference.OURS_ONLY
        elif own is None:
            difference = Difference.THEIRS_ONLY
        else:
            difference = Difference.AMOUNT_DIFFERS
        move, number = key
        findings.append(
            Finding(difference=difference, move=MoneyMove(move), number=number, ours_fen=own, theirs_fen=other)
        )
    return tuple(findings)


def _by_number(book: Iterable[Booking]) -> Mapping[tuple[str, str], int]:
    return {(booking.move.value, booking.number): booking.amount_fen for booking in book}


def bill_days(*, now: datetime, first: date) -> tuple[date, ...]:
    """The days from ``first`` on whose bill is ready at ``now``, oldest first, at most CATCH_UP_DAYS."""
    here = now.astimezone(CHINA_STANDARD_TIME)
    last = here.date() - timedelta(days=1 if here.hour >= READY_HOUR else 2)
    begin = max(first, last - timedelta(days=CATCH_UP_DAYS - 1))
    return tuple(begin + timedelta(days=step) for step in range((last - begin).days + 1))


def is_missing(day: date, now: datetime) -> bool:
    """Whether the bill of a day, not had yet, is long overdue."""
    return now >= day_bounds(day)[1] + timedelta(hours=READY_HOUR) + MISSING_AFTER


def bill_day(at: datetime) -> date:
    """The day in whose bill something of that instant stands."""
    return at.astimezone(CHINA_STANDARD_TIME).date()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """When a bill's day begins, and when the next one does."""
    start = datetime(day.year, day.month, day.day, tzinfo=CHINA_STANDARD_TIME)
    return start, start + timedelta(days=1)
