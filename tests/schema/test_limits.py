"""How much one request may ask for: each bound just inside and just outside, and bombs of every kind."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from graphql import build_schema, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema import limits
from schema.documents import Documents
from tests.patience import PATIENCE_S
from tests.schema.serving import Asker, client_of, codes, door_app, probe_app, serving

JSON = {"content-type": "application/json"}


@pytest.fixture
async def ask() -> AsyncIterator[Asker]:
    async with client_of(probe_app()) as client:
        yield Asker(client)


def nested(levels: int) -> str:
    """A document so many fields deep."""
    return "{node" + "{child" * (levels - 2) + "{name}" + "}" * (levels - 1)


async def assert_bound(ask: Asker, inside: str, outside: str, said: str) -> None:
    assert codes(await ask(inside)) == []
    refused = await ask(outside)
    assert codes(refused) == ["BAD_INPUT"]
    assert said in refused.text
    assert "data" not in refused.json()


async def test_depth(ask: Asker) -> None:
    await assert_bound(ask, nested(limits.DEPTH), nested(limits.DEPTH + 1), "12 levels deep")


async def test_depth_is_counted_through_fragments(ask: Asker) -> None:
    levels = limits.DEPTH - 2
    chain = "".join(f"fragment F{n} on Node {{child {{...F{n + 1}}}}}" for n in range(levels))
    deepest = f"fragment F{levels} on Node {{name}}"
    await assert_bound(ask, f"{{node{{...F0}}}}{chain}{deepest}", f"{{node{{child{{...F0}}}}}}{chain}{deepest}", "deep")


async def test_aliases(ask: Asker) -> None:
    def aliases(count: int) -> str:
        return "{" + " ".join(f"a{n}: __typename" for n in range(count)) + "}"

    await assert_bound(ask, aliases(limits.ALIASES), aliases(limits.ALIASES + 1), "40 aliases")


async def test_directives(ask: Asker) -> None:
    def directives(count: int) -> str:
        pairs = [f"a{n}: __typename @include(if: true) @skip(if: false)" for n in range(count // 2)]
        return "{" + " ".join([*pairs, *["b: __typename @include(if: true)"] * (count % 2)]) + "}"

    await assert_bound(ask, directives(limits.DIRECTIVES), directives(limits.DIRECTIVES + 1), "40 directives")


async def test_tokens(ask: Asker) -> None:
    def tokens(count: int) -> str:
        spare = count - 5
        return "query (" + "$a: Int " * (spare // 4) + ") {__typename}" + " fragment" * (spare % 4)

    inside = await ask(tokens(limits.TOKENS - 10))
    assert "tokens" not in inside.text
    outside = await ask(tokens(limits.TOKENS + 10))
    assert codes(outside) == ["BAD_INPUT"]
    assert f"more than {limits.TOKENS} tokens" in outside.text


async def test_the_fields_an_operation_selects(ask: Asker) -> None:
    def fields(fragments: int) -> str:
        """Fragment n selects 2^n fields of a tree, written in a few tokens."""
        doubling = "".join(
            f"fragment F{n} on Node {{...F{n - 1} child {{...F{n - 1}}}}}" for n in range(1, fragments + 1)
        )
        return f"{{node{{...F{fragments}}}}} fragment F0 on Node {{name}} {doubling}"

    refused = await ask(fields(10))
    assert codes(refused) == ["BAD_INPUT"]
    assert f"{limits.SELECTED_FIELDS} fields" in refused.text
    assert codes(await ask(fields(4))) == []


async def test_how_often_one_field_is_written(ask: Asker) -> None:
    def repeats(count: int) -> str:
        return "{node{child{name}}" + " node{...F}" * (count - 1) + "} fragment F on Node {child{name}}"

    await assert_bound(ask, repeats(limits.REPEATS), repeats(limits.REPEATS + 1), "20 times")
    assert codes(await ask("{__schema{types{name}}" + " __schema{types{name}}" * limits.REPEATS + "}")) == ["BAD_INPUT"]


async def test_repeats_are_counted_where_they_meet_in_the_answer(ask: Asker) -> None:
    spread = "{" + " ".join(f"node{{{'child{name} ' * 5}}}" for _ in range(5)) + "}"
    assert codes(await ask(spread)) == ["BAD_INPUT"]


async def test_comments(ask: Asker) -> None:
    await assert_bound(
        ask, "#\n" * limits.COMMENTS + "{__typename}", "#\n" * (limits.COMMENTS + 1) + "{__typename}", "comments"
    )


async def test_mutations_in_one_operation(ask: Asker) -> None:
    def mutations(count: int) -> str:
        return "mutation {" + " ".join(f"a{n}: take(input: {{count: 1}}) {{__typename}}" for n in range(count)) + "}"

    await assert_bound(ask, mutations(limits.MUTATIONS), mutations(limits.MUTATIONS + 1), "5 mutations")


async def test_mutations_are_counted_through_fragments(ask: Asker) -> None:
    fields = " ".join(f"a{n}: take(input: {{count: 1}}) {{__typename}}" for n in range(limits.MUTATIONS + 1))
    hidden = f"mutation {{...F}} fragment F on Mutation {{... {{{fields}}}}}"
    assert codes(await ask(hidden)) == ["BAD_INPUT"]


async def test_entries_of_a_list_in_a_variable_and_in_the_document(ask: Asker) -> None:
    take = "mutation ($ids: [ID!]!) {take(input: {count: 1, ids: $ids}) {__typename}}"
    one = "01930000-0000-7000-8000-000000000001"
    assert codes(await ask(take, {"ids": [one] * limits.LIST_ITEMS})) == []
    assert codes(await ask(take, {"ids": [one] * (limits.LIST_ITEMS + 1)})) == ["BAD_INPUT"]
    entries = f'"{one}" ' * (limits.LIST_ITEMS + 1)
    written = f"mutation {{take(input: {{count: 1, ids: [{entries}]}}) {{__typename}}}}"
    refused = await ask(written)
    assert codes(refused) == ["BAD_INPUT"]
    assert "entries" in refused.text


async def test_a_small_document_cannot_stand_for_a_huge_one(ask: Asker) -> None:
    doubling = "".join(
        f"fragment F{n} on Node {{a: child {{...F{n + 1}}} b: child {{...F{n + 1}}}}}" for n in range(30)
    )
    started = time.process_time()
    response = await ask(f"{{node{{...F0}}}}{doubling}fragment F30 on Node {{name}}")
    assert codes(response) == ["BAD_INPUT"]
    assert time.process_time() - started < 1


async def test_wide_fragments_cannot_multiply(ask: Asker) -> None:
    wide = "fragment W on Node {name n: name}"
    spreads = " ".join(f"c{n}: child {{...W}}" for n in range(30))
    response = await ask(f"{{node{{{spreads}}}}}{wide}")
    assert codes(response) == ["BAD_INPUT"]
    assert "aliases" in response.text


@pytest.mark.parametrize(
    "query",
    [
        "{node{...A}} fragment A on Node {...A}",
        "{node{...A}} fragment A on Node {child{...B}} fragment B on Node {child{...A}}",
        "{node{...Missing}}",
        "{__schema{types{...A}}} fragment A on __Type {ofType{...A}}",
        "{" + "node{name} " * 450 + "}",
        "{" + "node{child{name}} " * 280 + "}",
        "{" + ("node{" + "child{name} " * 15 + "}") * 30 + "}",
        "{node{"
        + " ".join(f"...F{n}" for n in range(200))
        + "}}"
        + "".join(f"fragment F{n} on Node {{name}}" for n in range(200)),
        "{...A}" + "".join(f"fragment {name} on Query {{...{name}A}}" for name in ("A" * n for n in range(1, 300))),
        "{node{" + "...{" * 150 + "name" + "}" * 150 + "}}",
        "{node" + "{child" * 5_000 + "}" * 5_000 + "}",
        "{" * 40_000,
        "{echo(text: " + "[" * 3_000 + "]" * 3_000 + ")}",
        "{echo(text: " + "{a:" * 1_500 + "1" + "}" * 1_500 + ")}",
        "query (" + " ".join(f"$v{n}: Int" for n in range(400)) + ") {__typename}",
        "{" + "__typename " * 8_000 + "}",
        "#" * 90_000,
        '{echo(text: "' + "x" * 90_000 + '"',
        "query @a" * 600 + "{__typename}",
        "{__typename" + " @a" * 900 + "}",
        "\0",
        "{\u202e}",
        "{echo(number: -)}",
        "{echo(number: 1" + "0" * 90_000 + ")}",
    ],
)
async def test_a_bomb_is_bad_input_at_once(ask: Asker, query: str) -> None:
    started = time.process_time()
    response = await ask(query)
    assert response.status_code == 200
    assert set(codes(response)) == {"BAD_INPUT"}
    assert len(response.content) < 200_000
    assert time.process_time() - started < 0.5


async def test_the_number_of_errors_is_bounded(ask: Asker) -> None:
    response = await ask("{" + " ".join(f"nope{n}" for n in range(500)) + "}")
    assert set(codes(response)) == {"BAD_INPUT"}
    assert len(codes(response)) <= limits.ERRORS + 1


# The estimated size of an answer

SHOP = build_schema("""
    type Query { products(first: Int! = 20): ProductConnection! plain: [Product!]! one: Product search: [Hit!]! }
    type ProductConnection { nodes: [Product!]! edges: [Edge!]! }
    type Edge { node: Product! }
    type Product { name: String! related(first: Int! = 20): ProductConnection! tags: [String!]! }
    union Hit = Product | Edge
""")


def cost(query: str) -> int:
    document = parse(query)
    return limits.cost_of(SHOP, document, document.definitions[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("{one{name}}", 2),
        ("{one{name tags}}", 3),
        ("{plain{name}}", 1 + 5),
        ("{products{nodes{name}}}", 1 + 20 * (1 + 1)),
        ("{products(first: 3){nodes{name}}}", 1 + 3 * (1 + 1)),
        ("{products(first: 1000){nodes{name}}}", 1 + 50 * (1 + 1)),
        ("query($n: Int!){products(first: $n){nodes{name}}}", 1 + 50 * (1 + 1)),
        ("{products(first: 2){edges{node{name}}}}", 1 + 2 * (1 + 1 + 1)),
        ("{products(first: 2){...P}} fragment P on ProductConnection {nodes{... {name}}}", 1 + 2 * (1 + 1)),
        ("{search{...on Product{name} ...on Edge{node{name}}}}", 1 + 5 * (1 + 1 + 1)),
        ("{__schema{types{name fields{name}}}}", 1),
    ],
)
def test_the_answer_is_estimated_from_what_is_asked(query: str, fields: int) -> None:
    assert cost(query) == fields


async def test_an_answer_that_would_be_too_large_is_refused(ask: Asker) -> None:
    children = "{node{children(first: 50){children(first: 50){children(first: %d){name}}}}}"
    await assert_bound(ask, children % 6, children % 8, "about")


# Documents are prepared once


def test_a_document_is_parsed_and_validated_once_and_the_least_used_is_forgotten_first() -> None:
    documents = Documents(SHOP, introspection=True, size=2, longest=100)
    first = documents.prepare("{one{name}}")
    second = documents.prepare("{plain{name}}")
    assert documents.prepare("{one{name}}") is first
    documents.prepare("{products{nodes{name}}}")
    assert documents.prepare("{one{name}}") is first
    assert documents.prepare("{plain{name}}") is not second


def test_a_long_document_is_not_kept() -> None:
    documents = Documents(SHOP, introspection=True, longest=20)
    assert documents.prepare("{one{name}}") is documents.prepare("{one{name}}")
    long = "{one{name name name name}}"
    assert documents.prepare(long) is not documents.prepare(long)


# The body, over ASGI and on a real socket


async def test_a_body_may_be_as_long_as_the_bound_and_no_longer(ask: Asker) -> None:
    def body(size: int) -> bytes:
        start = b'{"query":"{__typename}","variables":{"a":"'
        return start + b"x" * (size - len(start) - 3) + b'"}}'

    inside = await ask.client.post("/graphql", content=body(limits.BODY_BYTES), headers=JSON)
    assert inside.json() == {"data": {"__typename": "Query"}}
    outside = await ask.client.post("/graphql", content=body(limits.BODY_BYTES + 1), headers=JSON)
    assert outside.status_code == 413
    assert codes(outside) == ["BAD_INPUT"]


async def send_raw(address: str, *parts: bytes) -> bytes:
    """Send bytes as they are, as far as the server takes them, and return all that it answers until it hangs up."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        pass
    answer = bytearray()
    try:
        while chunk := await reader.read(65_536):
            answer += chunk
    except ConnectionError:
        pass
    writer.close()
    return bytes(answer)


HEAD = b"POST /graphql HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\n"


async def test_a_declared_length_that_is_too_large_is_refused_before_the_body_is_read() -> None:
    async with serving(door_app()) as address:
        answer = await send_raw(address, HEAD + b"Content-Length: 1000000000\r\n\r\n", b"x")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"BAD_INPUT"' in answer


async def test_an_endless_chunked_body_is_refused_once_it_is_too_large() -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    async with serving(door_app()) as address:
        answer = await send_raw(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 8)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"BAD_INPUT"' in answer


async def test_a_body_that_never_ends_does_not_hold_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.1)
    async with serving(door_app()) as address:
        answer = await send_raw(address, HEAD + b"Content-Length: 100\r\n\r\n", b'{"query":')
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_hangs_up_in_the_middle_of_its_body_does_no_harm() -> None:
    async with serving(door_app()) as address:
        host, port = address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            response = await client.post(f"{address}/graphql", json={"query": "{__typename}"})
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("length", ["-1", "abc", "1" * 60, "١٠"])
async def test_an_odd_content_length_is_never_a_server_error(length: str) -> None:
    async with serving(door_app()) as address:
        head = HEAD + f"Content-Length: {length}\r\nConnection: close\r\n\r\n".encode()
        answer = await send_raw(address, head, b"{}")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


# Anything at all

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
WORDS = (
    "{ } ( ) [ ] : ! = | & @ $ ... query mutation fragment on echo take node child name input count note text number "
    'price id true false null 1 -1 2147483648 1.5 1e400 "a" "\\u0000" """b""" A B $a @include @skip __typename #\n'
)
documents = st.lists(st.sampled_from(WORDS.split(" ")), max_size=40).map(" ".join)


async def assert_never_our_fault(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert set(codes(response)) <= {"BAD_INPUT"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300) | anything.map(lambda value: json.dumps(value).encode()))
async def test_no_body_at_all_is_a_server_error(ask: Asker, body: bytes) -> None:
    await assert_never_our_fault(await ask.client.post("/graphql", content=body, headers=JSON))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=documents | st.text(max_size=80))
async def test_no_document_at_all_is_a_server_error(ask: Asker, query: str) -> None:
    try:
        body = orjson.dumps({"query": query})
    except TypeError:
        body = json.dumps({"query": query}).encode()
    await assert_never_our_fault(await ask.client.post("/graphql", content=body, headers=JSON))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    variables=st.fixed_dictionaries({"input": anything | st.fixed_dictionaries({"count": anything, "note": anything})})
)
async def test_no_variables_at_all_are_a_server_error(ask: Asker, variables: dict[str, object]) -> None:
    take = "mutation ($input: TakeInput!) {take(input: $input) {__typename}}"
    body = json.dumps({"query": take, "variables": variables}).encode()
    await assert_never_our_fault(await ask.client.post("/graphql", content=body, headers=JSON))
