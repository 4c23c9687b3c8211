"""The scalars of both schemas: what goes over the wire for money, points, instants, days, ids and keys.

Annotate with the Python type on the left of ``SCALARS``; the schema says the name on the right.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import NewType
from uuid import UUID

import strawberry
from graphql import (
    GraphQLError,
    GraphQLID,
    GraphQLNamedType,
    GraphQLScalarType,
    IntValueNode,
    StringValueNode,
    ValueNode,
)
from strawberry.types.scalar import ScalarDefinition

SAFE_INTEGER = 2**53 - 1

Fen = NewType("Fen", int)
Points = NewType("Points", int)
IdempotencyKey = NewType("IdempotencyKey", str)

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r"[!-~]{8,64}", re.ASCII)


def _integer(name: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int:
            raise GraphQLError(f"{name} must be an integer, without quotes and without a decimal point.")
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise GraphQLError(f"{name} must be between -{SAFE_INTEGER} and {SAFE_INTEGER}.")
        return value

    return parse


def _written_integer(name: str) -> Callable[[object], int]:
    """The way out. A number here that does not fit is a bug of ours and not the client's."""

    def serialize(value: object) -> int:
        assert type(value) is int, f"{name} is an integer, not {type(value).__name__}"
        assert -SAFE_INTEGER <= value <= SAFE_INTEGER, f"{name} is not a safe integer"
        return value

    return serialize


def _instant(value: object) -> datetime:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise GraphQLError('DateTime must be an RFC 3339 text with an offset, such as "2026-11-11T12:00:00Z".')
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GraphQLError("DateTime must be an instant that exists.") from None


def _written_instant(value: object) -> str:
    assert isinstance(value, datetime), f"DateTime is a datetime, not {type(value).__name__}"
    assert value.tzinfo is not None, "an instant needs a time zone"
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _day(value: object) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise GraphQLError('Date must be a day such as "2026-11-11".')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise GraphQLError("Date must be a day that exists.") from None


def _written_day(value: object) -> str:
    assert type(value) is date, f"Date is a date, not {type(value).__name__}"
    return value.isoformat()


def _id(value: object) -> UUID:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise GraphQLError("ID must be an id that this API gave out.")
    return UUID(value)


def _written_id(value: object) -> str:
    assert isinstance(value, UUID), f"ID is a UUID, not {type(value).__name__}"
    return str(value)


def _key(value: object) -> str:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise GraphQLError("IdempotencyKey must be 8 to 64 visible ASCII characters.")
    return value


def _written_key(value: object) -> str:
    assert isinstance(value, str), f"IdempotencyKey is a text, not {type(value).__name__}"
    return value


Node = type[IntValueNode] | type[StringValueNode]


def _from_literal(parse: Callable[[object], object], kind: Node) -> Callable[..., object]:
    def parse_literal(node: ValueNode, _variables: object = None) -> object:
        if not isinstance(node, kind):
            return parse(None)
        return parse(int(node.value) if isinstance(node, IntValueNode) else node.value)

    return parse_literal


def _scalar(
    name: str,
    parse: Callable[[object], object],
    serialize: Callable[[object], object],
    description: str,
    *,
    literal: Node = StringValueNode,
    specified_by_url: str | None = None,
) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        parse_value=parse,
        parse_literal=_from_literal(parse, literal),
        serialize=serialize,
        description=description,
        specified_by_url=specified_by_url,
    )


class _OwnId(GraphQLScalarType):
    """The built-in ``ID`` with ids checked and made where they come in, instead of in every resolver."""

    reserved_types: Mapping[str, GraphQLNamedType] = {}


def _id_scalar() -> ScalarDefinition:
    scalar = _OwnId(
        name="ID",
        description=GraphQLID.description,
        coerce_output_value=_written_id,
        coerce_input_value=_id,
        coerce_input_literal=_from_literal(_id, StringValueNode),
    )
    return ScalarDefinition(
        name="ID",
        description=scalar.description,
        specified_by_url=None,
        serialize=None,
        parse_value=None,
        parse_literal=None,
        origin=UUID,
        implementation=scalar,
    )


SCALARS: Mapping[object, ScalarDefinition] = {
    Fen: _scalar(
        "Fen",
        _integer("Fen"),
        _written_integer("Fen"),
        "Money in fen, 1/100 of a yuan: a JSON integer between -(2^53 - 1) and 2^53 - 1. Never a decimal or a text.",
        literal=IntValueNode,
    ),
    Points: _scalar(
        "Points",
        _integer("Points"),
        _written_integer("Points"),
        "A number of points or growth value: a JSON integer between -(2^53 - 1) and 2^53 - 1.",
        literal=IntValueNode,
    ),
    datetime: _scalar(
        "DateTime",
        _instant,
        _written_instant,
        "An instant as RFC 3339 text with an offset, to the microsecond. Answers are always in UTC and end in `Z`.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
    ),
    date: _scalar(
        "Date",
        _day,
        _written_day,
        "A day of the shop's own calendar, `YYYY-MM-DD`.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    ),
    UUID: _id_scalar(),
    IdempotencyKey: _scalar(
        "IdempotencyKey",
        _key,
        _written_key,
        "Made by the client before it sends a mutation, 8 to 64 visible ASCII characters, for example a UUID. Sending "
        "the mutation again with the same key and content returns the first result and does nothing twice; the same "
        "key with other content is refused with `KEY_REUSED`.",
    ),
}
