"""The short way to plain attributes gives the same answers as the long way, errors included."""

import asyncio
import enum
from dataclasses import field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
import strawberry
from graphql import execute, parse

from schema.assembly import build
from schema.enums import describe
from schema.execution import executor_for, plain_fields
from schema.permissions import ForMembers
from schema.scalars import Fen

ONE = UUID("01930000-0000-7000-8000-000000000001")


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


describe(Colour, "A colour.", {Colour.RED: "Red.", Colour.BLUE: "Blue."})


@strawberry.type
class Plain:
    text: str
    id: UUID = ONE
    number: int = 1
    money: Fen = Fen(5)
    at: datetime = datetime(2026, 11, 11, tzinfo=UTC)
    day: date = date(2026, 11, 11)
    colour: Colour = Colour.BLUE
    yes: bool = False
    share: float = 0.5
    maybe: str | None = None
    some: list[str] = field(default_factory=list)
    guarded: str = strawberry.field(default="secret", extensions=[ForMembers()])

    @strawberry.field
    def own(self) -> str:
        return "resolved"


def answers(**values: Any) -> tuple[Any, Any]:
    """The same question the long way and the short way."""

    @strawberry.type
    class Query:
        @strawberry.field
        def plain(self) -> list[Plain | None]:
            return [Plain(**{"text": "a", **values})] * 2

    schema = build([Query], [], query_description="", mutation_description="")
    fields = "text id number money at day colour yes share maybe some own __typename alias: text"
    document = parse(f"{{plain{{{fields}}}}}")

    async def both() -> tuple[Any, Any]:
        results = []
        for executor in (schema.execution_context_class, executor_for(schema._schema)):
            result: Any = execute(schema._schema, document, executor_class=executor)
            results.append((await result if asyncio.iscoroutine(result) else result).formatted)
        return results[0], results[1]

    return asyncio.run(both())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"maybe": "some"},
        {"text": None},
        {"text": 1},
        {"text": object()},
        {"number": 2**31},
        {"money": Fen(2**53)},
        {"money": 1.5},
        {"at": datetime(2026, 11, 11)},  # noqa: DTZ001
        {"id": "x"},
        {"colour": "green"},
        {"colour": Colour.RED},
        {"yes": None},
        {"share": float("nan")},
        {"some": ["a", None]},
        {"text": ValueError("an error as a value")},
    ],
)
def test_the_short_way_answers_like_the_long_way(values: dict[str, Any]) -> None:
    long, short = answers(**values)
    assert short == long


def test_only_attributes_that_nothing_guards_or_resolves_are_plain() -> None:
    @strawberry.type
    class Query:
        @strawberry.field
        def plain(self) -> Plain:
            return Plain(text="a")

    schema = build([Query], [], query_description="", mutation_description="")
    known = {type_.name: set(fields) for type_, fields in plain_fields(schema._schema).items()}
    assert known == {"Plain": {"text", "id", "number", "money", "at", "day", "colour", "yes", "share", "maybe"}}
