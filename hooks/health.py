"""Questions of those who keep the server running: does it live, may it have traffic, what has it done?

``/readyz`` answers 503 without the database, because nothing can be decided then. Without Redis the store goes on at
lower speed, so it stays ready and says ``degraded``: taking every server out for the loss of soft state would turn a
slow store into a closed one.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CHECK_WITHIN_S = 2.0
NEEDED = frozenset({"database", "migrations"})

Check = Callable[[], Awaitable[None]]

log = structlog.get_logger("youli")


def health_routes(
    checks: Mapping[str, Check],
    exposition: Callable[[], tuple[bytes, str]],
    *,
    metrics_token: str | None,
    metrics_open: bool,
) -> list[Route]:
    """``/healthz``, ``/readyz`` and ``/metrics``.

    A check returns when all is well and raises when it is not. Metrics are served to everybody when ``metrics_open``,
    else to those who bring ``Authorization: Bearer <metrics_token>``; with neither there is no such page.
    """

    async def alive(_: Request) -> Response:
        return _answer(200, {"status": "alive"})

    async def ready(_: Request) -> Response:
        names = list(checks)
        states = dict(zip(names, await asyncio.gather(*(_state(name, checks[name]) for name in names)), strict=True))
        failed = {name for name, state in states.items() if state != "ok"}
        status = "not ready" if failed & NEEDED else "degraded" if failed else "ready"
        return _answer(503 if failed & NEEDED else 200, {"status": status, "checks": states})

    return [
        Route("/healthz", alive),
        Route("/readyz", ready),
        *_metrics_routes(exposition, metrics_token=metrics_token, metrics_open=metrics_open),
    ]


def metrics_page(
    exposition: Callable[[], tuple[bytes, str]], *, metrics_token: str | None, metrics_open: bool
) -> Starlette:
    """``/metrics`` alone, as ``health_routes`` has it, for a process that serves nothing else."""
    return Starlette(routes=_metrics_routes(exposition, metrics_token=metrics_token, metrics_open=metrics_open))


def _metrics_routes(
    exposition: Callable[[], tuple[bytes, str]], *, metrics_token: str | None, metrics_open: bool
) -> list[Route]:
    async def metrics(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if metrics_token is not None and not hmac.compare_digest(given.encode(), metrics_token.encode()):
            return _answer(401, {"status": "a bearer token is needed"})
        body, media_type = exposition()
        return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})

    return [Route("/metrics", metrics)] if metrics_open or metrics_token is not None else []


async def _state(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            await check()
    except TimeoutError:
        return "no answer in time"
    except Exception as error:
        # The reason may hold an address or a name, so it goes to the log and not to whoever asks.
        log.warning("not ready", check=name, reason=f"{type(error).__name__}: {error}")
        return "away"
    return "ok"


def _answer(status: int, body: Mapping[str, object]) -> Response:
    return Response(
        orjson.dumps(body), status_code=status, media_type="application/json", headers={"cache-control": "no-store"}
    )
