"""Inserting many rows by one statement, and without an object for each.

Tortoise makes an object of each row and sends a message for each. Here a column in which the rows differ is an array,
and one in which they are the same is sent once. Constraints and triggers are those of any other insert.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import orjson
from tortoise import fields

from models.base import Row
from models.engine import rows

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as it is inserted into: the types of its columns, which of them are JSON, and the defaults."""

    name: str
    types: Mapping[str, str]
    json: frozenset[str]
    defaults: Mapping[str, Any]


@cache
def _table(model: type[Row]) -> _Table:
    meta = model._meta
    kept = {column: meta.fields_map[name] for name, column in meta.fields_db_projection.items()}
    return _Table(
        name=meta.db_table,
        types={column: _type(field) for column, field in kept.items()},
        json=frozenset(column for column, field in kept.items() if isinstance(field, fields.JSONField)),
        defaults={column: field.default for column, field in kept.items() if not callable(field.default)},
    )


def _type(field: Any) -> str:
    # A cast to a length cuts off what is too long, where an insert refuses it.
    if isinstance(field, fields.CharField):
        return "TEXT"
    name: str = field.get_for_dialect("postgres", "SQL_TYPE")
    return name


@cache
def _statement(parts: tuple[tuple[type[Row], tuple[str, ...]], ...]) -> str:
    """The inserts into these tables, of rows that differ in the columns named with each."""
    inserts, at = [], 0
    for model, own in parts:
        table = _table(model)
        values = ", ".join(
            f"unnest(${number}::{kind}[])" if column in own else f"${number}::{kind}"
            for number, (column, kind) in enumerate(table.types.items(), at + 1)
        )
        inserts.append(f"INSERT INTO {table.name} ({', '.join(table.types)}) SELECT {values}")
        at += len(table.types)
    *before, last = inserts
    with_before = ", ".join(f"part_{number} AS ({one})" for number, one in enumerate(before))
    return f"WITH {with_before} {last}" if before else last


async def insert(*new: tuple[type[Row], Sequence[Mapping[str, Any]]]) -> None:
    """Insert the rows of one or several tables by one statement, at the end of which what they refer to must be there.

    The rows of a table all name the same columns; a column that they do not name gets the model's default.

    Raises:
        tortoise.exceptions.IntegrityError: a constraint is broken, and none of them is inserted.
    """
    parts: list[tuple[type[Row], tuple[str, ...]]] = []
    values: list[Any] = []
    for model, these in new:
        if these:
            own, sent = _sent(_table(model), these)
            parts.append((model, own))
            values += sent
    if parts:
        await rows(_statement(tuple(parts)), values)


def _sent(table: _Table, new: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[Any]]:
    """In which columns the rows differ, and for each column what is sent: a list where they do."""
    assert new[0].keys() <= table.types.keys(), f"columns that {table.name} does not have"
    assert len({len(row) for row in new}) == 1, "rows that name different columns"
    own, sent = [], []
    for column in table.types:
        kept = [row[column] for row in new] if column in new[0] else [table.defaults[column]]
        if differ := len(set(map(id, kept))) > 1:
            own.append(column)
        else:
            del kept[1:]
        if column in table.json:
            kept = [_json(value) for value in kept]
        sent.append(kept if differ else kept[0])
    assert own or len(new) == 1, "rows that are all the same"
    return tuple(own), sent


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def inserted(model: type[R], row: Mapping[str, Any]) -> R:
    """The object of a row that ``insert`` wrote, without reading it again."""
    return model.construct(_saved_in_db=True, **{**_table(model).defaults, **row})
