# mypy: disable-error-code="no-any-return"
"""A small schema in which everything that an answer can be made of occurs, and everything that can go wrong with it.

What a field gives is chosen by the request's id, the object it is asked of and its arguments: the same question has
the same answer however often and in whichever way it is asked.
"""

import asyncio
import enum
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID
from zlib import crc32

import strawberry

from loyalty import refusal as rule
from loyalty.people.rights import Right
from resolvers.deps import Deps
from schema.assembly import build
from schema.context import Info
from schema.enums import describe
from schema.permissions import ForEveryone, ForMembers, Needs
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


describe(Colour, "A colour.", {Colour.RED: "Red.", Colour.BLUE: "Blue."})


class TangleFull(rule.Refusal):
    code = "TEST_TANGLE_FULL"
    zh = "已满 {left}"
    en = "Full, {left} left."


class TangleShut(rule.Refusal):
    code = "TEST_TANGLE_SHUT"
    zh = "已关"
    en = "Shut."


@refusal_type(TangleFull)
@strawberry.type(name="TangleFull")
class TangleFullType(Refusal):
    left: int


HOW_OFTEN = (0, 30, 6, 1)
"""By the last digit of a request's id: one in so many questions is answered otherwise than it should be; 0 is none."""


def picked(info: Info, of: object, values: Sequence[Any]) -> Any:
    """One of the values, always the same for the same request and question: the first, but for so many in each."""
    request = info.context.request_id
    often = HOW_OFTEN[int(request[-1])]
    at = crc32(f"{request}/{of}".encode())
    return values[at % len(values)] if often and at // 100 % often == 0 else values[0]


def chosen(info: Info, of: object, values: Sequence[Any]) -> Any:
    """The same, but that an exception is raised."""
    found = picked(info, of, values)
    if isinstance(found, Exception):
        raise found
    return found


async def turns(info: Info, of: object, values: Sequence[Any]) -> Any:
    """The same after none to three turns of the loop."""
    for _ in range(picked(info, (of, "turns"), [0, 0, 1, 2, 3])):
        await asyncio.sleep(0)
    return chosen(info, of, values)


@dataclass(frozen=True)
class Promise:
    """What comes after some turns, for a field that does not wait itself: if nobody waits for it, nothing was begun."""

    info: Info
    of: object
    values: Sequence[Any]

    def __await__(self) -> Generator[Any, None, Any]:
        return turns(self.info, self.of, self.values).__await__()


MARKS = [1]

ATTRIBUTES: Mapping[str, Sequence[Any]] = {
    "text": ["茶", "", None, 7, object, ValueError("a value")],
    "maybe": ["some", None, b"bytes"],
    "shown": [1, 2**31, None, 1.5, True],
    "money": [Fen(5), Fen(2**53), 1.5],
    "at": [datetime(2026, 11, 11, tzinfo=UTC), datetime(2026, 11, 11), None],  # noqa: DTZ001
    "colour": [Colour.RED, Colour.BLUE, "green", None],
    "numbers": [[], [1, 2], [1, None], None, (3,), "text", [1, "x"], ValueError("a list")],
    "gaps": [None, [1, None], [None], [2**31], iter],
    "grid": [[[1], [None, 2]], [[], [1, "x"]], [None], None],
    "colours": [None, [Colour.RED], ["x"]],
}
"""What attributes are; the first of each is as it should be."""


@strawberry.interface
class Named:
    number: int
    text: str

    @strawberry.field
    def shout(self, info: Info) -> str:
        return chosen(info, (self.text, "shout"), ["hey", None, KeyError("shout")])


@strawberry.type
class Leaf(Named):
    share: float = 0.5


@strawberry.input
class Inner:
    number: int
    word: str = "d"


@strawberry.input(one_of=True)
class Either:
    this: strawberry.Maybe[int]
    that: strawberry.Maybe[Inner]


@strawberry.input
class Deep:
    number: int = 1
    price: Fen | None = None
    day: date | None = None
    colour: Colour = Colour.BLUE
    colours: list[Colour] | None = field(default_factory=lambda: [Colour.RED])
    inner: Inner | None = None
    inners: list[Inner] | None = None
    name: strawberry.Maybe[str]
    parent: strawberry.Maybe[UUID | None]
    many: strawberry.Maybe[list[Inner]]
    either: Either | None = None
    again: "Deep | None" = None


@strawberry.type
class Branch(Named):
    shown: int = 1
    money: Fen = Fen(5)
    maybe: str | None = None
    at: datetime = datetime(2026, 11, 11, tzinfo=UTC)
    colour: Colour = Colour.BLUE
    numbers: list[int] = field(default_factory=list)
    gaps: list[int | None] | None = None
    grid: list[list[int | None]] = field(default_factory=list)
    colours: list[Colour] | None = None
    guarded: str = strawberry.field(default="secret", extensions=[ForMembers()])
    opened: str = strawberry.field(default="open", extensions=[ForEveryone()])
    kept: "Branch | None" = None

    @strawberry.field
    def child(self, info: Info) -> "Branch | None":
        return chosen(info, (self.number, "child"), [branch(info, self, 1), None, KeyError("child")])

    @strawberry.field
    def must(self, info: Info) -> "Branch":
        return chosen(info, (self.number, "must"), [branch(info, self, 2), None, 7])

    @strawberry.field
    async def later(self, info: Info) -> "Branch | None":
        return await turns(info, (self.number, "later"), [branch(info, self, 3), None, KeyError("later")])

    @strawberry.field
    async def must_later(self, info: Info) -> "Branch":
        return await turns(info, (self.number, "l"), [branch(info, self, 4), None, KeyError("l")])

    @strawberry.field
    def many(self, info: Info, first: int = 2) -> "list[Branch]":
        made: list[Any] = [branch(info, self, 5 + one) for one in range(min(first, 4))]
        return chosen(info, (self.number, first), [made, [*made, None], None, tuple(made)])

    @strawberry.field
    async def some(self, info: Info) -> "list[Branch | None] | None":
        made: list[Any] = [branch(info, self, 7), None, branch(info, self, 8)]
        odd: list[Any] = [[*made, ValueError("one of them"), 7], iter(made), 7, None, KeyError("some")]
        return await turns(info, (self.number, "some"), [made, *odd])

    @strawberry.field
    def waiting(self, info: Info) -> "list[Branch | None]":
        promise: Any = Promise(info, (self.number, 1), [branch(info, self, 9), None, KeyError("item")])
        return [promise, branch(info, self, 8)]

    @strawberry.field
    def promised(self, info: Info) -> str:
        promise: Any = Promise(info, (self.number, "promised"), ["kept", None, 7, KeyError("promised")])
        return promise

    @strawberry.field
    async def loaded(self, info: Info) -> int:
        return await info.context.loaders.load(doubled, self.number)  # type: ignore[return-value]

    @strawberry.field
    def named(self, info: Info) -> Named | None:
        return chosen(info, (self.number, "named"), [*others(info, self), KeyError("named")])

    @strawberry.field
    async def any_of(self, info: Info) -> "AnyOf":
        return await turns(info, (self.number, "any"), [*others(info, self), KeyError("any")])

    @strawberry.field
    def all_of(self, info: Info) -> "list[AnyOf | None] | None":
        return others(info, self)

    @strawberry.field(extensions=[Needs(Right.CATALOGUE_WRITE)])
    async def for_some(self) -> str | None:
        return "open"

    @strawberry.field(extensions=[ForMembers(), Needs(Right.CATALOGUE_WRITE)])
    def for_few(self) -> str | None:
        return "open"

    @strawberry.field
    def echo(
        self,
        number: int = 3,
        price: Fen | None = None,
        id: UUID | None = None,
        colour: Colour = Colour.RED,
        colours: list[Colour] | None = None,
        numbers: list[int | None] | None = strawberry.UNSET,
        deep: Deep | None = None,
        maybe: strawberry.Maybe[int] = None,
        marks: list[int] = MARKS,
    ) -> str:
        said = repr((number, price, id, colour, colours, numbers, deep, maybe, marks))
        # What a resolver does to its arguments must not reach the next request.
        marks.append(2)
        return said

    @strawberry.field
    async def echo_later(self, number: int, deep: Deep, deeps: list[Deep] | None = None) -> str | None:
        return repr((number, deep, deeps))


AnyOf = Annotated[Branch | Leaf, strawberry.union("AnyOf")]


def branch(info: Info, parent: Branch | None, nth: int) -> Branch:
    """A branch whose attributes are mostly as they should be."""
    number = (parent.number * 10 if parent else 0) + nth
    values = {name: picked(info, (number, name), each) for name, each in ATTRIBUTES.items()}
    return Branch(number=number, **values, kept=Branch(number=number + 1, text="kept"))


def others(info: Info, parent: Branch) -> list[Any]:
    """What interfaces and unions meet: members, members to be, and what is none."""
    return [branch(info, parent, 6), Leaf(number=1, text="leaf"), None, 7, Lone(number=1, text="lone")]


class Lone(Branch):
    """A class that the API does not know."""


async def doubled(_deps: Deps, keys: Sequence[int]) -> Mapping[int, int]:
    """A batch function that knows most keys."""
    return {key: key * 2 for key in keys if key % 7}


@strawberry.type
class Query:
    @strawberry.field
    def root(self, info: Info) -> Branch:
        return branch(info, None, 1)

    @strawberry.field
    async def root_later(self, info: Info) -> Branch | None:
        return await turns(info, "root", [branch(info, None, 2), KeyError("root")])

    @strawberry.field
    async def roots(self, info: Info, first: int = 3) -> list[Branch]:
        return [branch(info, None, one + 1) for one in range(min(first, 6))]


Outcome = Annotated[Branch | TangleFullType | SimpleRefusal, strawberry.union("Outcome")]
PlainOutcome = Annotated[Branch | SimpleRefusal, strawberry.union("PlainOutcome")]


@strawberry.type
class Mutation:
    @strawberry.mutation(extensions=[ForEveryone()])
    async def act(self, info: Info, deep: Deep, number: int = 1) -> Outcome:
        refusals = [TangleFull(left=number), TangleShut()]
        return await turns(info, (deep, number), [branch(info, None, 1), *refusals, KeyError("act"), None])

    @strawberry.mutation
    def act_at_once(self, info: Info, number: int = 1) -> PlainOutcome:
        return chosen(info, number, [branch(info, None, 1), TangleFull(left=1), TangleShut(), 7])

    @strawberry.mutation(extensions=[ForMembers()])
    async def act_alone(self, info: Info) -> Branch | None:
        return branch(info, None, 3)


def tangle_schema() -> strawberry.Schema:
    """Built as the real ones are."""
    return build([Query], [Mutation], query_description="Reads.", mutation_description="Does.")
