"""Reading a request: what it asks for, how it wants to be answered, and whose token it carries."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope

from schema import limits
from schema.errors import ApiError, BadInput, Unauthenticated

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
REMEMBERED = 256
"""Different headers whose meaning is remembered: clients send a handful of them, over and over."""

DEVICE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


class Disconnected(Exception):
    """The client went away before it had sent its request."""


@dataclass(slots=True)
class GraphQLRequest:
    """What a request asks for, of the right types but not yet looked into."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


def wants_graphiql(scope: Scope, headers: Headers) -> bool:
    """A person with a browser, who has not asked anything yet."""
    return (
        scope["method"] == "GET"
        and "text/html" in headers.get("accept", "")
        and "query" not in QueryParams(scope["query_string"])
    )


@lru_cache(maxsize=REMEMBERED)
def accepted(accept: str | None) -> str | None:
    """The media type to answer with: the newer one to those who name it, plain JSON to everyone else."""
    if accept is None or not accept.strip():
        return JSON
    best, best_weight = None, 0.0
    for part in accept.split(",")[:50]:
        name, _, parameters = part.partition(";")
        name = name.strip().lower()
        candidate = JSON if name in ("*/*", "application/*") else name
        if candidate not in (JSON, RESPONSE_JSON):
            continue
        weight = _quality(parameters)
        if weight > best_weight or (weight == best_weight and weight > 0 and candidate == RESPONSE_JSON):
            best, best_weight = candidate, weight
    return best


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def not_acceptable() -> ApiError:
    """To a client that takes none of the media types we speak."""
    return BadInput(
        zh=f"只能以 {RESPONSE_JSON} 或 {JSON} 应答", en=f"Answers are {RESPONSE_JSON} or {JSON} only.", status=406
    )


async def read_body(receive: Receive, headers: Headers) -> bytes:
    """The body of a request, as long as it is JSON, plain, small and quick enough.

    Raises:
        BadInput: it is not.
        Disconnected: the client hung up.
    """
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    if media_type.strip().lower() != JSON or charset not in ("", "charset=utf-8", "charset=utf8"):
        raise BadInput(
            zh=f"请以 Content-Type: {JSON}（UTF-8）提交", en=f"Send the body as {JSON} in UTF-8.", status=415
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadInput(zh="请不要压缩请求体", en="Send the body uncompressed.", status=415)
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:10]) > limits.BODY_BYTES:
        raise _too_large()
    chunks = bytearray()
    try:
        async with asyncio.timeout(limits.BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunks += message.get("body", b"")
                if len(chunks) > limits.BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(chunks)
    except TimeoutError:
        raise BadInput(zh="请求体发送太慢", en="The body took too long to arrive.", status=408) from None


def _too_large() -> ApiError:
    return BadInput(
        zh=f"请求体不能超过 {limits.BODY_BYTES} 字节",
        en=f"The body must not have more than {limits.BODY_BYTES} bytes.",
        status=413,
    )


def from_json(body: bytes) -> GraphQLRequest:
    """The request in a body. Raises: BadInput."""
    parameters = _json(body, "body", "请求体")
    if isinstance(parameters, list):
        raise BadInput(zh="不支持批量请求，请用一个文档", en="Batches are not supported; use one document.")
    if not isinstance(parameters, dict):
        raise BadInput(zh="请求体须为 JSON 对象", en="The body must be a JSON object.")
    return _checked(parameters)


def from_query(query: QueryParams) -> GraphQLRequest:
    """The request in a URL. Raises: BadInput."""
    parameters: dict[str, object] = dict(query)
    for name in ("variables", "extensions"):
        text = query.get(name)
        if text:
            parameters[name] = _json(text.encode(), name, name)
        else:
            parameters.pop(name, None)
    return _checked(parameters)


def _json(text: bytes, what: str, what_zh: str) -> object:
    try:
        return cast("object", orjson.loads(text))
    except orjson.JSONDecodeError:
        raise BadInput(zh=f"{what_zh} 不是有效的 JSON", en=f"The {what} is not valid JSON in UTF-8.") from None


def _checked(parameters: Mapping[str, object]) -> GraphQLRequest:
    query = parameters.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadInput(zh="query 须为非空文本", en="query must be a text that is not empty.")
    name = parameters.get("operationName")
    if not isinstance(name, str | None):
        raise BadInput(zh="operationName 须为文本", en="operationName must be a text.")
    variables = parameters.get("variables")
    if not isinstance(variables, dict | None):
        raise BadInput(zh="variables 须为对象", en="variables must be an object.")
    if not isinstance(parameters.get("extensions"), dict | None):
        raise BadInput(zh="extensions 须为对象", en="extensions must be an object.")
    return GraphQLRequest(query, name or None, variables or {})


def device_of(header: str | None) -> str | None:
    """The phone a request comes from, as the client calls it in ``X-Device-Id``; None if it does not say so well."""
    return header if header is not None and DEVICE_ID.fullmatch(header) else None


def bearer(authorization: str | None) -> str | None:
    """The token a request carries, if it carries one. Raises: Unauthenticated for any other kind of authorization."""
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            zh="Authorization 须为 Bearer 令牌", en="Authorization must be a Bearer token.", reason="TOKEN_INVALID"
        )
    return token.strip()
