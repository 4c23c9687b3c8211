"""A small schema that can be told to misbehave, served by the real endpoint, for the tests of the door itself."""

import asyncio
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.refusal import Refusal as RuleRefusal
from models.asyncpg_backend import Unavailable
from schema.assembly import build
from schema.context import Info
from schema.errors import RateLimited
from schema.permissions import ForEveryone, ForMembers, Needs, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen, IdempotencyKey, Points


class ShelfEmpty(RuleRefusal):
    """Carries values and has a type of its own."""

    code = "TEST_SHELF_EMPTY"
    zh = "只剩 {left} 件"
    en = "Only {left} left."


class ShelfClosed(RuleRefusal):
    """Says all there is to say."""

    code = "TEST_SHELF_CLOSED"
    zh = "货架已关闭"
    en = "The shelf is closed."


@refusal_type(ShelfEmpty)
@strawberry.type(description="Not enough left.", name="ShelfEmpty")
class ShelfEmptyType(Refusal):
    """How many there are instead."""

    left: int = strawberry.field(description="How many are left.")


@strawberry.type(description="What was taken.")
class Taken:
    """A success."""

    count: int = strawberry.field(description="How many.")


TakeResult = Annotated[
    Taken | ShelfEmptyType | SimpleRefusal, strawberry.union("TakeResult", description="Taken, or why not.")
]
PlainResult = Annotated[Taken | SimpleRefusal, strawberry.union("PlainResult", description="Taken, or why not.")]


@strawberry.input(description="What to take.")
class TakeInput:
    """Everything a mutation may be sent."""

    count: int = strawberry.field(description="How many.")
    price: Fen = strawberry.field(default=Fen(0), description="At which price.")
    points: Points = strawberry.field(default=Points(0), description="For how many points.")
    note: str | None = strawberry.field(default=None, description="A word with it.")
    ids: list[UUID] = strawberry.field(default_factory=list, description="Which.")
    key: IdempotencyKey | None = strawberry.field(default=None, description="Made by the client.")


@strawberry.type(description="A place in a tree.")
class Node:
    """Endless depth."""

    name: str = strawberry.field(description="Its name.")

    @strawberry.field(description="What is below.")
    def child(self) -> "Node":
        """One more level."""
        return Node(name=self.name)

    @strawberry.field(description="All that is below.")
    def children(self, first: int = 20) -> list["Node"]:
        """Many."""
        return [Node(name=self.name)] * min(first, 3)


@strawberry.type
class ProbeQuery:
    """Every way a field can end."""

    @strawberry.field(description="Says what it was told.")
    def echo(self, text: str = "", number: int = 0, price: Fen | None = None, id: UUID | None = None) -> str:
        """Nothing else."""
        return f"{text}{number}{price}{id}"

    @strawberry.field(description="A tree.")
    def node(self) -> Node:
        """Its root."""
        return Node(name="root")

    @strawberry.field(description="A bug.")
    async def bug(self) -> str | None:
        """Fails with a secret."""
        raise KeyError("secret-detail")

    @strawberry.field(description="A bug in an answer that may not be null.")
    async def fatal(self) -> str:
        """Fails with a secret."""
        raise KeyError("secret-detail")

    @strawberry.field(description="A number that does not fit.")
    def too_big(self) -> int | None:
        """The first that is too large for Int."""
        return 2**31

    @strawberry.field(description="An engine is away.")
    async def away(self) -> str | None:
        """As the database says it."""
        raise Unavailable("no route to 10.0.0.7")

    @strawberry.field(description="Too fast.")
    async def limited(self) -> str | None:
        """As the rate limit says it."""
        raise RateLimited(retry_after_s=7)

    @strawberry.field(description="A refusal where no union is.")
    async def refused(self) -> str | None:
        """As a rule says it."""
        raise ShelfEmpty(left=2)

    @strawberry.field(description="Never answers.")
    async def forever(self) -> str | None:
        """Waits for ever."""
        await asyncio.Event().wait()
        return None

    @strawberry.field(description="Who asks.", extensions=[ForMembers()])
    def me(self, info: Info) -> UUID:
        """The member."""
        return require_member(info)

    @strawberry.field(description="For some operators.", extensions=[Needs(Right.CATALOGUE_WRITE)])
    async def guarded(self) -> str:
        """Only with the right."""
        return "open"


@strawberry.type
class ProbeMutation:
    """Refusals."""

    @strawberry.mutation(description="Takes from a shelf of two.", extensions=[ForEveryone()])
    async def take(self, input: TakeInput) -> TakeResult:
        """Raises what a rule raises."""
        if input.count > 2:
            raise ShelfEmpty(left=2)
        if input.count < 1:
            raise ShelfClosed
        return Taken(count=input.count)

    @strawberry.mutation(description="Takes, and has no type for what is left.")
    async def take_plain(self, input: TakeInput) -> PlainResult:
        """Raises what a rule raises."""
        if input.count > 2:
            raise ShelfEmpty(left=2)
        return Taken(count=input.count)


def probe_schema() -> strawberry.Schema:
    """Built as the real ones are."""
    return build([ProbeQuery], [ProbeMutation], query_description="Reads.", mutation_description="Does.")
