"""An invariant of the books: an equation over everything that is stored, with those who break it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """``promise`` in words, ``offenders`` as a query that returns nothing while it holds."""

    name: str
    promise: str
    offenders: str
