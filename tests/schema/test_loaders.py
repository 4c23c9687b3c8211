"""Relations are fetched once for each level of an answer, and never older than the mutation before."""

from collections.abc import Mapping, Sequence

import pytest
import strawberry
from starlette.applications import Starlette

from resolvers.deps import Deps
from schema.assembly import build
from schema.context import Info
from schema.http import GraphQLEndpoint, graphql_routes
from schema.loaders import Loaders
from tests.doors import UNLIMITED
from tests.schema.serving import Asker, client_of, door_deps, sign_in

batches: list[list[int]] = []
shelf = dict.fromkeys(range(100), 0)


@pytest.fixture(autouse=True)
def nothing_fetched() -> None:
    batches.clear()


async def counts(_deps: Deps, keys: Sequence[int]) -> Mapping[int, int]:
    """A batch function: what the shelf has of each, and nothing for what it does not know."""
    batches.append(list(keys))
    return {key: shelf[key] for key in keys if key in shelf}


async def doubled(_deps: Deps, keys: Sequence[int]) -> Mapping[int, int]:
    """Another, for the same keys."""
    batches.append(list(keys))
    return {key: key * 2 for key in keys}


@strawberry.type
class Item:
    number: int

    @strawberry.field
    async def count(self, info: Info) -> int | None:
        return await info.context.loaders.load(counts, self.number)

    @strawberry.field
    async def doubled(self, info: Info) -> int | None:
        return await info.context.loaders.load(doubled, self.number)


@strawberry.type
class Query:
    @strawberry.field
    def items(self, many: int) -> list[Item]:
        return [Item(number=number % 50) for number in range(many)]

    @strawberry.field
    def item(self, number: int) -> Item:
        return Item(number=number)


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def put(self, number: int) -> Item:
        shelf[number] += 1
        return Item(number=number)


def ask() -> Asker:
    schema = build([Query], [Mutation], query_description="", mutation_description="")
    endpoint = GraphQLEndpoint(schema, door_deps(), sign_in, development=True, rates=UNLIMITED)
    return Asker(client_of(Starlette(routes=graphql_routes("/graphql", endpoint))))


@pytest.mark.parametrize("many", [1, 20, 50])
async def test_a_relation_of_a_list_is_one_batch_however_long_the_list(many: int) -> None:
    response = await ask()(f"{{items(many: {many}){{number count}}}}")
    assert len(response.json()["data"]["items"]) == many
    assert batches == [list(range(many))]


async def test_equal_keys_are_asked_for_once() -> None:
    response = await ask()("{items(many: 100){count} again: items(many: 3){count}}")
    assert [len(batch) for batch in batches] == [50]
    assert len(response.json()["data"]["items"]) == 100


async def test_each_batch_function_has_its_own_keys() -> None:
    response = await ask()("{item(number: 7){count doubled}}")
    assert response.json()["data"]["item"] == {"count": 0, "doubled": 14}
    assert batches == [[7], [7]]


async def test_what_is_not_found_is_null() -> None:
    response = await ask()("{item(number: 1000){count}}")
    assert response.json() == {"data": {"item": {"count": None}}}


async def test_a_later_mutation_of_the_same_document_sees_what_an_earlier_one_changed() -> None:
    before = shelf[3]
    response = await ask()("mutation {a: put(number: 3){count} b: put(number: 3){count}}")
    assert response.json()["data"] == {"a": {"count": before + 1}, "b": {"count": before + 2}}


async def test_two_requests_share_nothing() -> None:
    first, second = Loaders(door_deps()), Loaders(door_deps())
    assert await first.load(counts, 1) == await second.load(counts, 1)
    assert batches == [[1], [1]]
