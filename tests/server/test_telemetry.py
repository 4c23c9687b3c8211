"""The request line, the request id and the metrics, on a small application of each kind of answer."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import telemetry
from models.asyncpg_backend import sql_count

OPENID = "oABCD-1234567890"


async def answer(request: Request) -> Response:
    """As a GraphQL door answers."""
    request.scope["state"] |= {
        "operation": "MyQuery",
        "root_field": "products",
        "outcome": "ok",
        "member_id": "01930000-0000-7000-8000-000000000001",
    }
    counter = sql_count.get()
    assert counter is not None
    counter.value += 3
    return PlainTextResponse("fine")


async def fail(_: Request) -> Response:
    """A bug that quotes a row, as PostgreSQL does."""
    raise RuntimeError(f"duplicate key value\nDETAIL:  Key (openid)=({OPENID}) already exists.")


async def speak(_: Request) -> Response:
    """Somebody who logs what must not be logged."""
    structlog.get_logger("youli").info("careless", openid=OPENID, token="ey.secret", phone="13800000000", shelf="tea")
    return PlainTextResponse("said")


async def alive(_: Request) -> Response:
    """A probe."""
    return PlainTextResponse("alive")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged, instead of standard error."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    telemetry.configure_logs(level="info", as_json=True, stream=stream)
    yield stream
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def client(written: io.StringIO) -> Any:
    """A client of the application behind the middleware."""
    routes = [
        Route("/graphql", answer, methods=["POST"]),
        Route("/hooks/fail", fail),
        Route("/hooks/speak", speak),
        Route("/healthz", alive),
    ]
    transport = httpx.ASGITransport(telemetry.RequestLog(Starlette(routes=routes)))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        yield http


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    """The lines so far."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def test_a_request_is_one_line_with_everything_an_operator_asks_for(
    client: httpx.AsyncClient, written: io.StringIO
) -> None:
    reply = await client.post("/graphql", headers={"x-request-id": "from-the-proxy-1"}, json={"query": "secret words"})
    (line,) = lines(written)
    assert line["request_id"] == reply.headers["x-request-id"] == "from-the-proxy-1"
    assert (line["door"], line["operation"], line["root_field"]) == ("shop", "MyQuery", "products")
    assert (line["outcome"], line["status"], line["sql"]) == ("ok", 200, 3)
    assert line["member_id"] == "01930000-0000-7000-8000-000000000001"
    assert line["ms"] >= 0
    assert "secret words" not in written.getvalue()


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "with space in it", 'quote"quote', "line%0abreak", "中文请求编号一二三四"]
)
async def test_a_request_id_of_other_signs_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    reply = await client.post("/graphql", headers=[(b"x-request-id", given.encode())])
    assert reply.headers["x-request-id"] != given
    assert telemetry.REQUEST_ID.fullmatch(reply.headers["x-request-id"])


async def test_two_requests_without_an_id_get_two(client: httpx.AsyncClient) -> None:
    first, second = await client.post("/graphql"), await client.post("/graphql")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_a_bug_is_logged_with_its_traceback_and_without_the_row_it_quotes(
    client: httpx.AsyncClient, written: io.StringIO
) -> None:
    reply = await client.get("/hooks/fail")
    assert reply.status_code == 500
    bug, line = lines(written)
    assert bug["event"] == "bug"
    assert "RuntimeError" in bug["exception"]
    assert "Key (openid)=(…)" in bug["exception"]
    assert bug["request_id"] == line["request_id"] == reply.headers["x-request-id"]
    assert (line["door"], line["outcome"], line["status"]) == ("hook", "bug", 500)
    assert OPENID not in written.getvalue()


async def test_fields_that_must_not_be_logged_are_blanked(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await client.get("/hooks/speak")
    careless = lines(written)[0]
    assert (careless["openid"], careless["token"], careless["phone"]) == ("[kept out]",) * 3
    assert careless["shelf"] == "tea"


async def test_probes_are_not_written_and_not_counted_while_they_succeed(
    client: httpx.AsyncClient, written: io.StringIO
) -> None:
    assert (await client.get("/healthz")).status_code == 200
    assert lines(written) == []
    assert (await client.post("/readyz")).status_code == 404
    assert lines(written)[0]["outcome"] == "http_404"


async def test_requests_are_counted_by_field_and_not_by_the_clients_words(client: httpx.AsyncClient) -> None:
    labels = {"door": "shop", "operation": "products", "outcome": "ok"}
    before = REGISTRY.get_sample_value("youli_requests_total", labels) or 0
    await client.post("/graphql")
    assert REGISTRY.get_sample_value("youli_requests_total", labels) == before + 1
    assert b'operation="MyQuery"' not in telemetry.exposition()[0]


async def test_a_job_is_one_line_with_its_statements(written: io.StringIO) -> None:
    async with telemetry.job_line("close_orders", thing="17") as about:
        counter = sql_count.get()
        assert counter is not None
        counter.value += 2
        about["outcome"] = "CLOSED"
    (line,) = lines(written)
    assert (line["event"], line["job"], line["thing"]) == ("job", "close_orders", "17")
    assert (line["outcome"], line["sql"]) == ("CLOSED", 2)


async def test_a_job_that_fails_is_a_bug_and_the_failure_goes_on(written: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError):
        async with telemetry.job_line("close_orders"):
            raise ZeroDivisionError
    bug, line = lines(written)
    assert "ZeroDivisionError" in bug["exception"]
    assert line["outcome"] == "bug"
