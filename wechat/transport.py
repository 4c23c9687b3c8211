"""One HTTP exchange with WeChat: bounded in time and size, with every failure named as an error of this package."""

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx

from wechat.errors import AnswerUnreadable, OutcomeUnknown, Unreachable

TIMEOUT: Final = httpx.Timeout(connect=3.0, read=10.0, write=10.0, pool=3.0)
"""Seconds. A caller who needs an answer sooner hands a shorter one to the client."""

ANSWER_LIMIT: Final = 1 << 20
"""Bytes of one API answer; the documented ones are a few kilobytes."""


class _WithoutQuery(logging.Filter):
    """Cuts the query from httpx's own request log: app secret and access token travel there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                value.copy_with(query=None) if isinstance(value, httpx.URL) else value for value in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_WithoutQuery())


async def exchange(
    http: httpx.AsyncClient, request: httpx.Request, *, limit: int = ANSWER_LIMIT
) -> tuple[httpx.Response, bytes]:
    """Send `request` and read the whole answer, at most `limit` bytes; redirects are not followed.

    Raises `Unreachable` when nothing was sent, `OutcomeUnknown` when the answer was lost, `AnswerUnreadable` when it
    is longer than `limit`.
    """
    try:
        response = await http.send(request, stream=True, follow_redirects=False)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable("UNREACHABLE", f"no connection to {request.url.host}: {type(error).__name__}") from error
    except httpx.TimeoutException as error:
        raise OutcomeUnknown("TIMEOUT", f"{request.url.host} did not answer in time") from error
    except httpx.TransportError as error:
        raise OutcomeUnknown("CONNECTION_LOST", f"{request.url.host}: {type(error).__name__}") from error
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise AnswerUnreadable("ANSWER_UNREADABLE", f"answer of {request.url.host} passes {limit} bytes")
    except httpx.TimeoutException as error:
        raise OutcomeUnknown("TIMEOUT", f"{request.url.host} stopped in the middle of its answer") from error
    except httpx.TransportError as error:
        raise OutcomeUnknown("CONNECTION_LOST", f"{request.url.host}: {type(error).__name__}") from error
    finally:
        await response.aclose()
    return response, bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises `AnswerUnreadable` for anything else."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise AnswerUnreadable("ANSWER_UNREADABLE", "the answer is not JSON") from error
    if not isinstance(value, dict):
        raise AnswerUnreadable("ANSWER_UNREADABLE", "the answer is not a JSON object")
    return value


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """`value` as UTF-8 JSON, made once: these bytes are both signed and sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def pause(attempt: int) -> None:
    """Wait before attempt number `attempt` (1 is the first repeat): 0.1 s, 0.2 s, 0.4 s … and up to as much again."""
    base_s = 0.1 * 2 ** (attempt - 1)
    await asyncio.sleep(base_s * (1 + secrets.randbelow(1000) / 1000))
