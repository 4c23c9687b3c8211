"""What the outside sees of a running process: one structured line per request and per job, and the metrics.

A line names the operation, who asked (member or operator id), the outcome (``ok``, a refusal's code, an error's code or
``bug``), milliseconds, SQL statements and the request id. Tokens, ``session_key``, phone numbers, openids and bodies
never get here; fields of such names are blanked should somebody log them anyway.

The doors leave what they know in ``scope["state"]``: ``operation`` (the client's name for it), ``root_field`` (one of
the schema's names, so it may label a metric), ``outcome``, ``member_id``, ``operator_id``.
"""

import logging
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

import processes
from models.asyncpg_backend import SqlCount, Unavailable, sql_count
from models.ids import new_secret

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
IDLE = "unchanged"
"""The outcome of a job that looked and found nothing to do."""

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
KEPT_OUT = frozenset(
    {
        "authorization",
        "body",
        "openid",
        "password",
        "phone",
        "refresh_token",
        "secret",
        "session_key",
        "token",
        "unionid",
    }
)
# What PostgreSQL quotes of a row when a constraint is violated may be a person's phone number or openid.
QUOTED_ROW = re.compile(r"(Key \([^)]*\)=)\(.*?\)(?= |$)|(Failing row contains )\(.*\)", re.MULTILINE)

_requests = Counter(
    "youli_requests_total",
    "Requests by door, first field of the operation and outcome.",
    ["door", "operation", "outcome"],
)
_request_seconds = Histogram(
    "youli_request_seconds",
    "Seconds from the request's first byte to the answer's last.",
    ["door", "operation"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
_request_statements = Histogram(
    "youli_request_sql_statements",
    "SQL statements that one request took.",
    ["door", "operation"],
    buckets=(0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89),
)
_jobs = Counter("youli_jobs_total", "Job runs by job and outcome.", ["job", "outcome"])
_job_seconds = Histogram(
    "youli_job_seconds", "Seconds one job run took.", ["job"], buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
)
_connections = Gauge(
    "youli_database_connections", "Database connections by state.", ["state"], multiprocess_mode="livesum"
)
_backlog = Gauge(
    "youli_jobs_due", "What a job found due in its last round, 50 at most.", ["job"], multiprocess_mode="livemostrecent"
)

_gate_checks = Counter(
    "youli_flash_gate_checks_total", "Flash-sale gates held against the database, by repair.", ["repair"]
)
_gate_drift = Counter(
    "youli_flash_gate_drift_pieces_total",
    "Pieces that flash-sale gates let too many or too few through.",
    ["direction"],
)

# When a counter was made is of no use to anybody and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]

log = structlog.get_logger("youli")


class RequestLog:
    """ASGI middleware around the whole application: the request id in and out, the line, the metrics."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        request_id = state["request_id"] = _request_id(scope)
        counter = SqlCount()
        counting = sql_count.set(counter)
        status = 0

        async def with_request_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, with_request_id)
        except Exception as error:
            state["outcome"] = "bug"
            # Starlette has answered by now and raises it again for whoever writes it down: that is here.
            log.error("bug", exc_info=error)
        except BaseException:
            state["outcome"] = "cancelled"
            raise
        finally:
            sql_count.reset(counting)
            self._note(scope, state, status, time.perf_counter() - begun, counter.value)
            structlog.contextvars.clear_contextvars()

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float, statements: int) -> None:
        path: str = scope["path"]
        if path in PROBES and status == 200:
            return
        door = _door(path)
        outcome = state.get("outcome") or ("ok" if status < 400 else f"http_{status}")
        label = (
            (state.get("root_field") or "none") if door in {"shop", "operator"} else state.get("operation") or "none"
        )
        count, took, asked = _meters(door, label, outcome)
        count.inc()
        took.observe(seconds)
        asked.observe(statements)
        log.info(
            "request",
            door=door,
            method=scope["method"],
            path=path[:100],
            operation=state.get("operation") or state.get("root_field") or None,
            root_field=state.get("root_field") or None,
            member_id=_text(state.get("member_id")),
            operator_id=_text(state.get("operator_id")),
            outcome=outcome,
            status=status,
            ms=round(seconds * 1000, 2),
            sql=statements,
        )


@asynccontextmanager
async def job_line(job: str, **about: Any) -> AsyncIterator[dict[str, Any]]:
    """One line and one count for one run of a job. What the block puts into the dict stands on the line as well.

    ``outcome`` is ``ok`` unless the block sets it; an exception makes it ``bug``, is logged, and goes on. The line of
    an ``IDLE`` run is of level ``debug``: what is looked at every few seconds would bury the rest.
    """
    begun = time.perf_counter()
    counter = SqlCount()
    counting = sql_count.set(counter)
    request_id = new_secret(9)
    outcome = "cancelled"
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            yield about
            outcome = str(about.pop("outcome", "ok"))
        except Unavailable:
            outcome = "TRY_AGAIN"
            raise
        except Exception as error:
            outcome = "bug"
            log.error("bug", job=job, exc_info=error)
            raise
        finally:
            sql_count.reset(counting)
            seconds = time.perf_counter() - begun
            _jobs.labels(job, outcome).inc()
            _job_seconds.labels(job).observe(seconds)
            tell = log.debug if outcome == IDLE else log.info
            tell("job", job=job, outcome=outcome, ms=round(seconds * 1000, 2), sql=counter.value, **about)


@lru_cache(maxsize=4_096)
def _meters(door: str, label: str, outcome: str) -> tuple[Counter, Histogram, Histogram]:
    """What counts such a request; to look it up each time takes longer than to count."""
    return (
        _requests.labels(door, label, outcome),
        _request_seconds.labels(door, label),
        _request_statements.labels(door, label),
    )


def pool_seen(*, open_count: int, idle_count: int) -> None:
    """Note the state of this process's connection pool."""
    _connections.labels("busy").set(open_count - idle_count)
    _connections.labels("idle").set(idle_count)


def backlog_seen(job: str, due_count: int) -> None:
    """Note how much a job found due in a round."""
    _backlog.labels(job).set(due_count)


def gate_drift_seen(repair: str, pieces: int) -> None:
    """Note how a flash-sale gate stood to the database: by so many pieces too high, or too low if negative."""
    _gate_checks.labels(repair).inc()
    if pieces:
        _gate_drift.labels("too_many" if pieces > 0 else "too_few").inc(abs(pieces))


def exposition() -> tuple[bytes, str]:
    """The metrics of all processes of this server in Prometheus' text format, and its media type."""
    registry = REGISTRY
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is not None:
        # What a worker counted stays true after its end; the connections it had do not.
        for kept in Path(folder).glob("gauge_live*_*.db"):
            if processes.birth(int(kept.stem.rpartition("_")[2])) is None:
                kept.unlink(missing_ok=True)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def configure_logs(*, level: str, as_json: bool, stream: TextIO = sys.stderr) -> None:
    """Send our lines and those of the libraries to ``stream``: JSON, one object a line, or colours for a terminal."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
        _discreet,
    ]
    renderer: structlog.typing.Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer(serializer=_json)
        last: Any = renderer
        factory: Callable[..., Any] = _Lines
        _Lines.stream = stream
    else:
        renderer = structlog.dev.ConsoleRenderer(timestamp_key="at", colors=stream.isatty())
        last = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        factory = structlog.stdlib.LoggerFactory()
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "asyncio", "tortoise"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    # Our own line says more than uvicorn's access log.
    logging.getLogger("uvicorn.access").propagate = False


class _Lines:
    """Writes our own lines, which are finished when they come here.

    The way through the standard library's logging, which those of the libraries take, costs a busy server a sixth of
    its time. A stream that is gone is no reason to refuse a request.
    """

    stream: TextIO = sys.stderr

    def __init__(self, name: str | None = None, *_: object) -> None:
        self.name = name

    def info(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self.stream.write(line + "\n")
            self.stream.flush()

    debug = warning = error = critical = info


def _discreet(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in KEPT_OUT & event.keys():
        event[name] = "[kept out]"
    if "exception" in event:
        event["exception"] = QUOTED_ROW.sub(r"\1\2(…)", str(event["exception"]))
    return event


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = str(value.decode("latin-1"))
            return given if REQUEST_ID.fullmatch(given) else new_secret(9)
    return new_secret(9)


def _door(path: str) -> str:
    if path.startswith("/admin"):
        return "operator"
    if path.startswith("/graphql"):
        return "shop"
    return "hook" if path.startswith("/hooks") else "other"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
