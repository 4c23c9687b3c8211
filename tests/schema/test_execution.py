"""A plan answers like graphql-core, to the byte: every document is answered both ways."""

import ast
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import strawberry
from graphql import GraphQLObjectType, parse, validate
from graphql.language.parser import MAX_NESTING_DEPTH
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from schema import limits
from schema.assembly import build
from schema.execution import VARIANTS
from schema.operator import operator_schema
from schema.shop import shop_schema
from tests.schema.both_ways import answers, context_of, plan_of, planner_of
from tests.schema.documents_at_random import documents
from tests.schema.tangle import tangle_schema

SCHEMA = tangle_schema()
EXAMPLES = int(os.environ.get("YOULI_TEST_PLAN_EXAMPLES", "120"))
"""How many documents are written at random; a thousand take about a minute."""

pytestmark = pytest.mark.filterwarnings(
    # graphql-core makes coroutines that it never awaits when something beside them fails at once.
    "ignore:coroutine .* was never awaited:RuntimeWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

BRANCH = "number text shown money maybe at colour numbers gaps grid colours"
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    (f"{{root{{{BRANCH} __typename shout}}}}", {}),
    ("{root{a: text b: text text text}}", {}),
    ("{root{child{text} child{number child{text}} ...F}} fragment F on Branch{child{child{money}}}", {}),
    ("{root{...F ...F ... on Named{text} ... {number}}} fragment F on Named{shout ... on Branch{money}}", {}),
    ("{root{named{__typename text ... on Leaf{share} ... on Branch{money}}}}", {}),
    ("{root{anyOf{... on Named{text} ... on Leaf{share} ... on Branch{money}}}}", {}),
    ("{root{allOf{__typename ... on Leaf{share}}}}", {}),
    (f"{{roots(first: 5){{{BRANCH} loaded}} rootLater{{many{{must{{mustLater{{text}}}}}}}}}}", {}),
    ("{roots{many(first: 4){some{waiting{promised}}}}}", {}),
    ("{root{guarded opened}}", {}),
    ("{root{opened forSome forFew}}", {}),
    ("{root{child{mustLater{text}} kept{mustLater{shout}}}}", {}),
    ("{roots{kept{text shown} later{text mustLater{text}} some{mustLater{shout}}}}", {}),
    ("{root{echo}}", {}),
    ("{root{echo(price: null, numbers: null, deep: null)}}", {}),
    ('{root{echo(numbers: 7, colours: [RED, BLUE], id: "01930000-0000-7000-8000-000000000001", maybe: 3)}}', {}),
    ('{root{echo(deep: {name: "n", parent: null, many: [{number: 1}], again: {again: {colours: BLUE}}})}}', {}),
    ("query($n: Int! = 4, $m: Int){root{echo(number: $n, numbers: [$m, 2])}}", {}),
    ("query($n: Int, $d: Deep){root{echo(number: 1, maybe: $n, deep: $d)}}", {"n": None, "d": None}),
    ("query($n: Int){root{echo(maybe: $n)}}", {"n": 4}),
    ("query($d: Deep!){root{echo(deep: $d)}}", {"d": {"colours": "RED", "many": {"number": 1}, "parent": None}}),
    ("query($d: Deep!){root{echo(deep: $d) child{text}}}", {"d": {"name": None}}),
    ("query($n: Int! = 3){root{echo(number: $n)}}", {"n": None}),
    ("query($n: Int){root{echo(number: $n)}}", {}),
    ("query($n: Int){root{echo(number: $n)}}", {"n": None}),
    ("query($n: Int = 3){root{echo(number: $n)}}", {"n": None}),
    ('query($w: String! = "w", $n: Int!){root{echo(deep: {inner: {number: $n, word: $w}})}}', {"n": 1}),
    ("query($d: Deep!, $x: [Deep!]){root{echoLater(number: 1, deep: $d, deeps: $x)}}", {"d": {"again": {}}, "x": {}}),
    ("query($d: Deep!){root{echoLater(number: 1, deep: $d)}}", {"d": {"numbr": 1, "price": 1.5, "again": 3}}),
    ("query($a: Int!, $b: Fen!){root{echo(number: $a, price: $b)}}", {"a": "x"}),
    ("query($d: Deep!){root{echo(deep: $d)}}", {"d": {"either": {"this": 1, "that": {"number": 1}}}}),
    ("query($d: Deep!){root{echo(deep: $d)}}", {"d": {"either": {"this": None}}}),
    ("query($n: Int!){root{echo(deep: {either: {this: $n}})}}", {"n": 1}),
    ("query($s: Boolean!){root{text @skip(if: $s) number @include(if: $s)}}", {"s": True}),
    ("query($s: Boolean!){root{text @skip(if: $s) number @include(if: $s)}}", {"s": False}),
    ("query($s: Boolean = true){root{text @skip(if: $s)}}", {"s": None}),
    ("query($s: Boolean = true){root{child{text @skip(if: $s)}}}", {"s": None}),
    (
        "query($s: Boolean!){... @include(if: $s){root{text}} roots{...F @skip(if: $s)}} fragment F on Named{text}",
        {"s": True},
    ),
    ('{__schema{queryType{name}} __type(name: "Leaf"){fields{name}} root{text}}', {}),
    (
        "mutation{act(deep: {}){... on Branch{text} ... on Refusal{code message} ... on TangleFull{left}} __typename}",
        {},
    ),
    ("mutation{a: actAtOnce{... on Branch{text}} b: actAtOnce(number: 2){... on Refusal{code message}}}", {}),
    (
        "mutation($d: Deep!){a: act(deep: $d){__typename} b: act(deep: $d, number: 2){__typename}}",
        {"d": {"name": None}},
    ),
    ("mutation{actAlone{text} act(deep: {number: 3}){__typename}}", {}),
]


def nested(levels: int) -> dict[str, Any]:
    """An input in an input in an input."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"again": deep}
    return deep


DOCUMENTS += [
    ("query($d: Deep!){root{echo(deep: $d)}}", {"d": nested(levels)}) for levels in (20, MAX_NESTING_DEPTH + 1)
]


@pytest.mark.parametrize(("text", "variables"), DOCUMENTS)
def test_a_plan_answers_like_graphql_core(text: str, variables: dict[str, Any]) -> None:
    assert not validate(SCHEMA._schema, parse(text)), "the document is valid"
    for request in ["calm 0", *(f"{seed} {often}" for seed in range(4) for often in (1, 2, 3))]:
        theirs, *ours = answers(SCHEMA, text, variables, request)
        assert ours == [theirs, theirs], request


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(["query", "query", "query", "mutation"]), st.integers(0, 9_999))
def test_a_plan_answers_documents_at_random_like_graphql_core(data: st.DataObject, kind: str, request: int) -> None:
    text, variables = data.draw(documents(SCHEMA._schema, kind))
    assume(not validate(SCHEMA._schema, parse(text), limits.RULES))
    theirs, *ours = answers(SCHEMA, text, variables, f"{request % 1_000} {request % 4}")
    assert ours == [theirs, theirs]


async def test_one_plan_answers_whatever_skip_and_include_say() -> None:
    names = ["a", "b", "c"]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: text @include(if: ${name})" for name in names)
    plan = plan_of(planner_of(SCHEMA), f"query({declared}){{root{{__typename {fields}}}}}")
    combinations = list(product([True, False], repeat=len(names)))
    assert len(combinations) > VARIANTS
    for flags in combinations * 2:
        answer = await plan.answer(dict(zip(names, flags, strict=True)), context_of("0"))
        asked = [name for name, wanted in zip(names, flags, strict=True) if wanted]
        assert answer.data == {"root": {"__typename": "Branch", **dict.fromkeys(asked, "茶")}}


async def test_a_mutation_whose_answer_cannot_be_written_ran_once() -> None:
    ran = []

    @strawberry.type
    class Query:
        number: int = 1

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def act(self, number: int) -> list[int]:
            ran.append(number)
            return [number, "not a number"]  # type: ignore[list-item]

    schema = build([Query], [Mutation], query_description="", mutation_description="")
    plan = plan_of(planner_of(schema), "mutation{a: act(number: 1) b: act(number: 2)}")
    answer = await plan.answer({}, context_of("0"))
    assert ran == [1]
    assert answer.data is None
    assert [error.path for error in answer.errors or ()] == [["a", 1]]


@pytest.mark.parametrize("schema", [shop_schema(), operator_schema()], ids=["shop", "operators"])
def test_every_field_of_the_real_schemas_is_one_that_a_plan_knows(schema: strawberry.Schema) -> None:
    planner = planner_of(schema)
    for type_ in schema._schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__"):
            assert planner.classes(type_), type_
            unknown = [name for name, each in type_.fields.items() if planner.calls.of(each) is None]
            assert not unknown, f"{type_}: graphql-core would be asked for {unknown}, at several times the price"


def test_resolvers_ask_their_info_for_nothing_but_the_context() -> None:
    """A plan has nothing else to give them."""
    for path in sorted((Path(__file__).parents[2] / "schema").glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "info":
                assert node.attr == "context", f"{path.name}:{node.lineno}"
