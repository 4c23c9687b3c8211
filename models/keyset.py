"""Pages by key: a list goes on after the last row seen, however many rows came before it or were added meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from tortoise.expressions import Q
from tortoise.models import Model
from tortoise.queryset import QuerySet

KeyValue = int | str | datetime | date | UUID
M = TypeVar("M", bound=Model)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Key:
    """One column of an order. It is never null; the last key of an order is unique."""

    column: str
    kind: type[int] | type[str] | type[datetime] | type[date] | type[UUID]
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Keyset:
    """A total order of a list. ``name`` stands in its cursors, so that none is taken for another list's."""

    name: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: the first so many rows, of all or after the row with these key values."""

    keyset: Keyset
    first: int
    after: tuple[KeyValue, ...] | None = None


@dataclass(frozen=True, slots=True)
class Slice(Generic[R]):
    """What was found: at most ``page.first`` rows in order, and whether there are more."""

    page: Page
    rows: Sequence[R]
    has_more: bool

    def key_of(self, row: R) -> tuple[KeyValue, ...]:
        """The key values of a row, from which the next page goes on."""
        return tuple(getattr(row, key.column) for key in self.page.keyset.keys)


async def fetch(rows: QuerySet[M], page: Page) -> Slice[M]:
    """One page of ``rows`` in one statement, which reads one row more than asked to know whether there are more."""
    keys = page.keyset.keys
    if page.after is not None:
        rows = rows.filter(_beyond(keys, page.after))
    ordered = rows.order_by(*(f"-{key.column}" if key.descending else key.column for key in keys))
    found = await ordered.limit(page.first + 1)
    return Slice(page, found[: page.first], len(found) > page.first)


def _beyond(keys: tuple[Key, ...], values: tuple[KeyValue, ...]) -> Q:
    """``(a, b) > (x, y)``, written so that an index on ``(a, b)`` bounds the scan by its first column."""
    assert len(keys) == len(values), "a page goes on from one value for each key"
    column, value = keys[0].column, values[0]
    operator = "lt" if keys[0].descending else "gt"
    beyond = _where(f"{column}__{operator}", value)
    if len(keys) == 1:
        return beyond
    level = _where(column, value)
    return _where(f"{column}__{operator}e", value) & (beyond | (level & _beyond(keys[1:], values[1:])))


def _where(column: str, value: Any) -> Q:
    return Q(**{column: value})
