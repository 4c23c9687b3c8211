"""The door over HTTP: negotiation, status codes, the shape of every error, who is asking."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from graphql import build_client_schema, get_introspection_query

from tests.schema.probe import ShelfEmpty
from tests.schema.serving import MEMBER, Asker, client_of, codes, door_app, probe_app

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
TAKE = """mutation Take($input: TakeInput!) { take(input: $input) {
    __typename ... on Taken { count } ... on Refusal { code message } ... on ShelfEmpty { left } } }"""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(probe_app()) as client:
        yield client


@pytest.fixture
async def ask(client: httpx.AsyncClient) -> Asker:
    return Asker(client)


@pytest.fixture
async def production() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(probe_app(development=False)) as client:
        yield client


def assert_error(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert "data" not in body
    assert codes(response) == [code]
    assert body["errors"][0]["message"]


# Media types and methods


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE_JSON, RESPONSE_JSON),
        (f"{JSON}, {RESPONSE_JSON}", RESPONSE_JSON),
        (f"{RESPONSE_JSON};q=0.5, {JSON}", JSON),
        (f"{RESPONSE_JSON};q=0, */*;q=0.1", JSON),
        (f"{RESPONSE_JSON}; charset=utf-8, {JSON};q=0.9", RESPONSE_JSON),
        ("APPLICATION/JSON", JSON),
    ],
)
async def test_the_answer_has_the_media_type_the_client_prefers(
    client: httpx.AsyncClient, accept: str | None, answered: str
) -> None:
    request = client.build_request("POST", "/graphql", json={"query": "{__typename}"})
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    response = await client.send(request)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{answered}; charset=utf-8"
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["text/css", "image/png, text/plain", f"{JSON};q=0", f"{JSON};q=many"])
async def test_a_client_that_accepts_nothing_we_speak_is_told_so(client: httpx.AsyncClient, accept: str) -> None:
    response = await client.post("/graphql", json={"query": "{__typename}"}, headers={"accept": accept})
    assert_error(response, 406, "BAD_INPUT")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql", ""],
)
async def test_a_body_that_is_not_json_is_an_unsupported_media_type(
    client: httpx.AsyncClient, content_type: str
) -> None:
    response = await client.post(
        "/graphql", content=b'{"query":"{__typename}"}', headers={"content-type": content_type}
    )
    assert_error(response, 415, "BAD_INPUT")


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "gbk"])
async def test_another_charset_than_utf_8_is_refused(client: httpx.AsyncClient, charset: str) -> None:
    response = await client.post(
        "/graphql", content=b"{}", headers={"content-type": f"application/json; charset={charset}"}
    )
    assert_error(response, 415, "BAD_INPUT")


async def test_a_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    assert_error(await client.post("/graphql", content=b"\x1f\x8b", headers=headers), 415, "BAD_INPUT")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_allowed(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql")
    assert_error(response, 405, "BAD_INPUT")
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/admin/graphql", "/admin/graphql/"])
async def test_both_doors_answer_with_and_without_a_trailing_slash(path: str) -> None:
    async with client_of(door_app()) as client:
        response = await client.post(path, json={"query": "{serverInfo{time businessDay timeZone}}"})
    assert response.status_code == 200
    assert response.json()["data"]["serverInfo"] == {
        "time": "2026-11-11T04:00:00Z",
        "businessDay": "2026-11-11",
        "timeZone": "Asia/Shanghai",
    }


async def test_a_query_may_be_sent_with_get(client: httpx.AsyncClient) -> None:
    parameters = {
        "query": "query A($n: Int!) {echo(number: $n)} query B {__typename}",
        "variables": '{"n": 5}',
        "operationName": "A",
        "extensions": "{}",
    }
    response = await client.get("/graphql", params=parameters)
    assert response.status_code == 200
    assert response.json() == {"data": {"echo": "5NoneNone"}}


async def test_a_mutation_may_not_be_sent_with_get(client: httpx.AsyncClient) -> None:
    parameters = {"query": TAKE, "variables": '{"input": {"count": 1}}'}
    assert_error(await client.get("/graphql", params=parameters), 405, "BAD_INPUT")


async def test_answers_are_never_cached_or_sniffed(ask: Asker) -> None:
    response = await ask("{__typename}")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "authorization" in response.headers["vary"]


# What is not a GraphQL request


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"null",
        b"1",
        b'"{__typename}"',
        b"[]",
        b'[{"query":"{__typename}"}]',
        b"{}",
        b'{"query":null}',
        b'{"query":""}',
        b'{"query":"  "}',
        b'{"query":1}',
        b'{"query":["{__typename}"]}',
        b'{"query":"{__typename}","variables":[]}',
        b'{"query":"{__typename}","variables":"{}"}',
        b'{"query":"{__typename}","operationName":1}',
        b'{"query":"{__typename}","extensions":[]}',
        b'{"query":"{__typename}","variables":{"a":NaN}}',
        b'{"query":"{__typename}","variables":{"a":"\\ud800"}}',
        b'{"query":"{__typename}\\ud800"}',
        b'\xff\xfe{"query":"{__typename}"}',
        b'{"query":"{__typename}","variables":{"a":"\xff"}}',
        b'{"query":"{__typename}","variables":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"query":"{__typename}","variables":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    ],
)
@pytest.mark.parametrize("accept", [JSON, RESPONSE_JSON])
async def test_a_body_that_is_no_graphql_request_is_bad_input(
    client: httpx.AsyncClient, body: bytes, accept: str
) -> None:
    response = await client.post("/graphql", content=body, headers={"content-type": JSON, "accept": accept})
    assert_error(response, 400, "BAD_INPUT")
    assert response.headers["content-type"].startswith(accept)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"query": ""}, {"query": "{__typename}", "variables": "{"}, {"query": "{__typename}", "extensions": "[]"}],
)
async def test_a_url_that_is_no_graphql_request_is_bad_input(
    client: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    assert_error(await client.get("/graphql", params=parameters), 400, "BAD_INPUT")


async def test_the_last_of_two_equal_keys_counts(client: httpx.AsyncClient) -> None:
    body = b'{"query":"{nope}","query":"{__typename}","variables":{"a":1,"a":2}}'
    response = await client.post("/graphql", content=body, headers={"content-type": JSON})
    assert response.json() == {"data": {"__typename": "Query"}}


# What is not a document for this schema


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{", None),
        ("{nope}", None),
        ("{echo(nope: 1)}", None),
        ('{echo(number: "1")}', None),
        ("{echo(number: 2147483648)}", None),
        ("{echo(price: 9007199254740992)}", None),
        ("{echo(price: 1.0)}", None),
        ("{echo(price: true)}", None),
        ('{echo(id: "1")}', None),
        ("{echo(id: nope)}", None),
        ("subscription {a}", None),
        ("fragment A on Query {echo}", None),
        ("query A {echo} query B {echo}", None),
        ("query ($n: Int!) {echo(number: $n)}", {}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": "1"}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": 2**31}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": -(2**31) - 1}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": 1.5}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": True}),
        ("query ($n: Int!) {echo(number: $n)}", {"n": {"a": []}}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": 2**53}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": 2**63}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": 10**40}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": 1.0}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": "1"}),
        ("query ($p: Fen) {echo(price: $p)}", {"p": False}),
        ("query ($t: String) {echo(text: $t)}", {"t": 1}),
        ("query ($i: ID) {echo(id: $i)}", {"i": 1}),
        ("query ($i: ID) {echo(id: $i)}", {"i": "../../etc/passwd"}),
        (TAKE, {"input": {"count": 1, "nope": 1}}),
        (TAKE, {"input": {}}),
        (TAKE, {"input": [1]}),
        (TAKE, {"input": {"count": 1, "key": "short"}}),
        (TAKE, {"input": {"count": 1, "key": "密钥密钥密钥密钥"}}),
        (TAKE, {"input": {"count": 1, "key": "x" * 65}}),
        (TAKE, {"input": {"count": 1, "ids": ["x"]}}),
    ],
)
async def test_what_does_not_fit_the_schema_is_bad_input(
    ask: Asker, query: str, variables: dict[str, object] | None
) -> None:
    for accept, status in ((JSON, 200), (RESPONSE_JSON, 400)):
        response = await ask(query, variables, accept=accept)
        assert response.status_code == status, response.text
        assert "data" not in response.json()
        assert set(codes(response)) == {"BAD_INPUT"}


async def test_graphqls_own_messages_stay_english_and_have_a_chinese_hint(ask: Asker) -> None:
    error = (await ask("{zzzzzz}")).json()["errors"][0]
    assert error["message"] == "Cannot query field 'zzzzzz' on type 'Query'."
    assert error["locations"] == [{"line": 1, "column": 2}]
    assert "校验" in error["extensions"]["hint"]
    assert "hint" not in (await ask("{nope}", accept_language="en")).json()["errors"][0]["extensions"]


async def test_an_unknown_operation_name_is_bad_input(client: httpx.AsyncClient) -> None:
    body = {"query": "query A {echo}", "operationName": "B"}
    response = await client.post("/graphql", json=body, headers={"accept": RESPONSE_JSON})
    assert_error(response, 400, "BAD_INPUT")


async def test_a_null_for_an_argument_that_takes_none_is_bad_input_and_no_bug(ask: Asker) -> None:
    response = await ask("query ($n: Int) {echo(number: $n)}", {"n": None})
    assert codes(response) == ["BAD_INPUT"]


@pytest.mark.parametrize("where", ["variable", "literal", "key"])
async def test_a_nul_character_is_bad_input_wherever_it_stands(ask: Asker, where: str) -> None:
    if where == "variable":
        response = await ask(TAKE, {"input": {"count": 1, "note": "a\0b"}})
    elif where == "key":
        response = await ask(TAKE, {"input": {"count": 1, "no\0te": "a"}})
    else:
        response = await ask('mutation {take(input: {count: 1, note: "a\\u0000b"}) {__typename}}')
    assert codes(response) == ["BAD_INPUT"]
    assert "U+0000" in response.text


async def test_a_lone_surrogate_in_a_document_is_bad_input(ask: Asker) -> None:
    assert codes(await ask('{echo(text: "\\uD800")}')) == ["BAD_INPUT"]
    paired = await ask('{echo(text: "\\uD83C\\uDF4E")}')
    assert paired.json()["data"]["echo"].startswith("🍎")


# Refusals


async def test_a_success_is_its_payload(ask: Asker) -> None:
    response = await ask(TAKE, {"input": {"count": 2}})
    assert response.json() == {"data": {"take": {"__typename": "Taken", "count": 2}}}


async def test_a_refusal_with_values_is_a_member_of_its_own(ask: Asker) -> None:
    response = await ask(TAKE, {"input": {"count": 3}})
    assert response.status_code == 200
    assert response.json() == {
        "data": {"take": {"__typename": "ShelfEmpty", "code": "TEST_SHELF_EMPTY", "message": "只剩 2 件", "left": 2}}
    }


async def test_a_refusal_without_values_is_a_simple_refusal_in_the_callers_language(ask: Asker) -> None:
    response = await ask(TAKE, {"input": {"count": 0}}, accept_language="en-GB, zh;q=0.5")
    assert response.json()["data"]["take"] == {
        "__typename": "SimpleRefusal",
        "code": "TEST_SHELF_CLOSED",
        "message": "The shelf is closed.",
    }


async def test_a_refusal_whose_type_the_union_lacks_is_a_simple_refusal(ask: Asker) -> None:
    response = await ask("mutation {takePlain(input: {count: 9}) {__typename ... on Refusal {code}}}")
    assert response.json()["data"]["takePlain"] == {"__typename": "SimpleRefusal", "code": "TEST_SHELF_EMPTY"}


async def test_a_refusal_where_no_union_is_becomes_bad_input_with_its_code(ask: Asker) -> None:
    error = (await ask("{refused}", accept_language="en")).json()["errors"][0]
    assert error["message"] == "Only 2 left."
    assert error["path"] == ["refused"]
    assert error["extensions"] == {"code": "BAD_INPUT", "refusal": ShelfEmpty.code, "values": {"left": 2}}


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"),
        ("en", "en"),
        ("EN-us", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr, en;q=0.3, zh;q=0.2", "en"),
        ("en;q=0.5, zh;q=0.5", "zh"),
        ("en;q=nonsense", "zh"),
        ("fr", "zh"),
        (",;,=;q", "zh"),
    ],
)
async def test_messages_are_chinese_unless_english_is_preferred(ask: Asker, header: str, language: str) -> None:
    response = await ask("{me}", accept_language=header)
    message = response.json()["errors"][0]["message"]
    assert message == {"zh": "请先登录", "en": "Please sign in first."}[language]


# Errors from below


async def test_a_bug_is_masked_and_logged_with_its_request_id(ask: Asker) -> None:
    with structlog.testing.capture_logs() as logged:
        response = await ask("{bug echo}")
    assert response.status_code == 200
    assert response.json()["data"] == {"bug": None, "echo": "0NoneNone"}
    error = response.json()["errors"][0]
    assert error["extensions"]["code"] == "INTERNAL"
    assert "secret-detail" not in response.text
    bugs = [entry for entry in logged if entry["event"] == "bug"]
    assert [entry["request_id"] for entry in bugs] == [error["extensions"]["requestId"]]
    assert isinstance(bugs[0]["exc_info"], KeyError)
    assert bugs[0]["exc_info"].__traceback__ is not None


async def test_a_bug_where_null_is_not_allowed_leaves_no_data_but_stays_200(ask: Asker) -> None:
    response = await ask("{fatal}", accept=RESPONSE_JSON)
    assert response.status_code == 200
    assert response.json()["data"] is None
    assert codes(response) == ["INTERNAL"]


async def test_a_number_of_ours_that_does_not_fit_is_a_bug_and_not_the_clients_fault(ask: Asker) -> None:
    assert codes(await ask("{tooBig}")) == ["INTERNAL"]


async def test_an_engine_that_is_away_means_try_again(ask: Asker) -> None:
    response = await ask("{away}")
    assert response.status_code == 200
    assert codes(response) == ["TRY_AGAIN"]
    assert "10.0.0.7" not in response.text


async def test_a_rate_limit_says_when_to_come_back(ask: Asker) -> None:
    error = (await ask("{limited}")).json()["errors"][0]
    assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfterS": 7}


async def test_an_execution_that_takes_too_long_is_stopped() -> None:
    async with client_of(probe_app(execution_s=0.05)) as client:
        before = len(asyncio.all_tasks())
        response = await Asker(client)("{forever echo}")
        assert_error(response, 503, "TRY_AGAIN")
        assert response.headers["retry-after"] == "1"
        assert len(asyncio.all_tasks()) == before


# Who is asking


async def test_nobody_may_ask_what_is_not_for_members(ask: Asker) -> None:
    response = await ask("{me}")
    assert response.status_code == 200
    assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}


async def test_a_member_is_known_by_the_token(ask: Asker) -> None:
    assert (await ask("{me}", authorization="Bearer member")).json() == {"data": {"me": str(MEMBER)}}
    assert (await ask("{me}", authorization="bearer  member ")).json() == {"data": {"me": str(MEMBER)}}


@pytest.mark.parametrize("header", ["Bearer expired", "Bearer", "Bearer ", "Basic bWU6cHc=", "member", ""])
async def test_a_token_that_is_not_valid_is_401_even_where_none_is_needed(ask: Asker, header: str) -> None:
    response = await ask("{echo}", authorization=header)
    assert_error(response, 401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_token_store_that_is_away_means_try_again(ask: Asker) -> None:
    assert_error(await ask("{echo}", authorization="Bearer engine-away"), 503, "TRY_AGAIN")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "UNAUTHENTICATED"),
        ("member", "UNAUTHENTICATED"),
        ("staff", "FORBIDDEN"),
        ("no_such_role", "FORBIDDEN"),
        ("content_operations", None),
        ("owner", None),
    ],
)
async def test_a_guarded_field_asks_for_its_right(ask: Asker, token: str | None, code: str | None) -> None:
    response = await ask("{guarded}", None, **({"authorization": f"Bearer {token}"} if token else {}))
    assert codes(response) == ([code] if code else [])
    assert response.json()["data"] == (None if code else {"guarded": "open"})


# Development and production


async def test_graphiql_is_served_to_a_browser_in_development_only(
    client: httpx.AsyncClient, production: httpx.AsyncClient
) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await client.get("/graphql", headers=browser)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "graphiql" in page.text.lower()
    assert_error(await production.get("/graphql", headers=browser), 400, "BAD_INPUT")
    asked = await client.get("/graphql", headers=browser, params={"query": "{__typename}"})
    assert asked.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("query", ["{__schema{types{name}}}", '{__type(name: "Query"){name}}'])
async def test_the_schema_cannot_be_read_in_production(
    client: httpx.AsyncClient, production: httpx.AsyncClient, query: str
) -> None:
    assert "data" in (await Asker(client)(query)).json()
    refused = await Asker(production)(query)
    assert set(codes(refused)) == {"BAD_INPUT"}
    assert "data" not in refused.json()


async def test_graphiql_can_read_the_whole_schema_in_development() -> None:
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    async with client_of(door_app()) as client:
        for path in ("/graphql", "/admin/graphql"):
            response = await client.post(path, json={"query": query, "operationName": "IntrospectionQuery"})
            assert codes(response) == []
            assert build_client_schema(response.json()["data"]).query_type is not None


async def test_nothing_is_suggested_in_production(client: httpx.AsyncClient, production: httpx.AsyncClient) -> None:
    assert "Did you mean 'echo'" in (await Asker(client)("{ech}")).text
    assert "echo" not in (await Asker(production)("{ech}")).text.replace("ech'", "")
    variables = {"input": {"count": 1, "pric": 1}}
    assert "Did you mean 'price'" in (await Asker(client)(TAKE, variables)).text
    assert "price" not in (await Asker(production)(TAKE, variables)).text


# What is left for the request log


@pytest.mark.parametrize(
    ("query", "headers", "left"),
    [
        ("query Mine {me}", {"authorization": "Bearer member"}, ("Mine", "me", "ok", MEMBER)),
        ("{echo}", {}, ("", "echo", "ok", None)),
        ("{nope}", {}, ("", "", "BAD_INPUT", None)),
        ("{bug away}", {}, ("", "bug", "bug", None)),
        ("{away}", {}, ("", "away", "TRY_AGAIN", None)),
        ("mutation {take(input: {count: 9}) {__typename}}", {}, ("", "take", "TEST_SHELF_EMPTY", None)),
        (f"query {'N' * 500} {{echo}}", {}, ("N" * 64, "echo", "ok", None)),
        ("{echo}", {"authorization": "Bearer expired"}, ("", "echo", "UNAUTHENTICATED", None)),
    ],
)
async def test_the_outcome_is_left_for_the_request_log(
    query: str, headers: dict[str, str], left: tuple[object, ...]
) -> None:
    states: list[dict[str, Any]] = []
    app = probe_app()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"request_id": "r-1"}
        states.append(scope["state"])
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://door") as client:
        await Asker(client)(query, None, **headers)
    (state,) = states
    assert (state["operation"], state["root_field"], state["outcome"], state["member_id"]) == left
    assert state["request_id"] == "r-1"


async def test_nothing_of_a_request_reaches_the_log(ask: Asker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logged:
        await ask(
            TAKE + " query Bug {bug}", {"input": {"count": 1, "note": "13800000000"}}, authorization="Bearer member"
        )
        await ask("{bug}", authorization="Bearer member")
    assert "13800000000" not in caplog.text + repr(logged)
    assert "Bearer" not in caplog.text + repr(logged)
