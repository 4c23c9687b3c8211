"""The GraphQL door over HTTP, for the shop and for operators alike. ``docs/api/http.md`` says what it promises.

It follows the GraphQL-over-HTTP specification. Documents are parsed, measured and validated once and then remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, cast

import orjson
import strawberry
import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    validate,
)
from starlette.datastructures import Headers, QueryParams
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from strawberry.http.ides import get_graphql_ide_html

from models.ids import new_secret
from resolvers.deps import Deps
from schema import limits
from schema.context import Context, language_of
from schema.errors import (
    ApiError,
    BadInput,
    ErrorBody,
    ErrorCode,
    Internal,
    TryAgain,
    Unauthenticated,
    bodies_of,
    body_of,
    codes_in,
    known,
)
from schema.execution import executor_for

log = structlog.get_logger(__name__)

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"

SignIn = Callable[[Context, str], Awaitable[None]]


@dataclass(slots=True)
class _Prepared:
    """A document that passed every check, with the estimated cost of each of its operations once it was asked for."""

    document: DocumentNode
    operations: Sequence[OperationDefinitionNode]
    costs: dict[str | None, int] = field(default_factory=dict)


class _Rejected(Exception):
    """The document or its variables are at fault; nothing was executed."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class _Disconnected(Exception):
    """The client went away before it had sent its request."""


class Documents:
    """Parses, measures and validates documents, and remembers those that passed: the last so many, least used out."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool, size: int = 1_000, longest: int = 10_000) -> None:
        self._schema = schema
        self._rules = limits.RULES if introspection else limits.RULES_WITHOUT_INTROSPECTION
        self._hide_suggestions = not introspection
        self._size = size
        self._longest = longest
        self._seen: OrderedDict[str, _Prepared] = OrderedDict()

    def prepare(self, text: str) -> _Prepared:
        """The checked document.

        Raises:
            _Rejected: it is no GraphQL, or not for this schema, or too large.
        """
        prepared = self._seen.get(text)
        if prepared is not None:
            self._seen.move_to_end(text)
            return prepared
        try:
            document = parse(text, max_lexical_tokens=limits.TOKENS, max_comments=limits.COMMENTS)
            limits.check_shape(document)
        except GraphQLError as error:
            raise _Rejected([error]) from None
        errors = validate(
            self._schema, document, self._rules, max_errors=limits.ERRORS, hide_suggestions=self._hide_suggestions
        )
        if errors:
            raise _Rejected(errors)
        operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        prepared = _Prepared(document, operations)
        if len(text) <= self._longest:
            self._seen[text] = prepared
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
        return prepared

    def operation(self, prepared: _Prepared, name: str | None) -> OperationDefinitionNode:
        """The operation of a document that a request means.

        Raises:
            _Rejected: there is none of that name, or several and none is named, or its answer would be too large.
        """
        matching = [one for one in prepared.operations if name is None or (one.name and one.name.value == name)]
        if len(matching) != 1:
            message = "Must provide operation name if query contains multiple operations."
            raise _Rejected([GraphQLError(message if name is None else "There is no operation of that name.")])
        operation = matching[0]
        if name not in prepared.costs:
            try:
                prepared.costs[name] = limits.cost_of(self._schema, prepared.document, operation)
            except GraphQLError as error:
                raise _Rejected([error]) from None
        return operation


@dataclass(slots=True)
class _Request:
    """What a request asks for, of the right types but not yet looked into."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


class GraphQLEndpoint:
    """An ASGI application that answers one schema.

    ``sign_in`` puts the caller a bearer token speaks for into the context, or raises ``Unauthenticated``. With
    ``development`` on, it serves GraphiQL and introspection and suggests names in error messages.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        deps: Deps,
        sign_in: SignIn,
        *,
        development: bool,
        execution_s: float = limits.EXECUTION_S,
    ) -> None:
        # strawberry has no public name for the schema it builds; its converter registers resolvers on exactly this one.
        self._schema = schema._schema
        self._executor = executor_for(self._schema)
        self._deps = deps
        self._sign_in = sign_in
        self._documents = Documents(self._schema, introspection=development)
        self._graphiql = get_graphql_ide_html("graphiql").encode() if development else None
        self._execution_s = execution_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "there are no subscriptions here"
        headers = Headers(scope=scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        state.setdefault("request_id", new_secret(9))
        state["operation"] = state["root_field"] = ""
        if self._graphiql is not None and _wants_graphiql(scope, headers):
            state["outcome"] = "ok"
            await _send(send, 200, b"text/html; charset=utf-8", self._graphiql)
            return
        media_type = _accepted(headers.get("accept"))
        language = language_of(headers.get("accept-language", ""))
        client = scope.get("client")
        context = Context(
            deps=self._deps,
            now=self._deps.clock.now(),
            request_id=state["request_id"],
            language=language,
            client_ip=client[0] if client else "",
        )
        extra: dict[bytes, bytes] = {}
        body: dict[str, object]
        try:
            if media_type is None:
                raise _not_acceptable()
            status, body = await self._answer(scope, receive, headers, context, media_type)
        except _Disconnected:
            state["outcome"] = "disconnected"
            return
        except _Rejected as rejected:
            # The older media type answers 200 whenever the request itself was well formed.
            status = 200 if media_type == JSON else 400
            body = {"errors": bodies_of(rejected.errors, language, context.request_id)}
        except Exception as error:
            answer = known(error)
            if answer is None:
                log.error("bug", request_id=context.request_id, exc_info=error)
                answer = Internal(request_id=context.request_id)
            status, body = answer.http_status, {"errors": [body_of(answer, language)]}
            extra = _headers_of(answer, status)
        state["outcome"] = _outcome(body, context)
        state["member_id"] = context.member_id
        state["operator_id"] = context.operator_id
        await _send(send, status, (media_type or JSON).encode() + b"; charset=utf-8", orjson.dumps(body), extra)

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Headers, context: Context, media_type: str
    ) -> tuple[int, dict[str, object]]:
        if scope["method"] == "POST":
            request = _from_json(await _read(receive, headers))
        elif scope["method"] == "GET":
            request = _from_query(QueryParams(scope["query_string"]))
        else:
            raise BadInput(zh="只支持 GET 和 POST", en="Only GET and POST are understood here.", status=405)
        limits.check_variables(request.variables)
        prepared = self._documents.prepare(request.query)
        operation = self._documents.operation(prepared, request.operation_name)
        _note(scope["state"], operation)
        if scope["method"] == "GET" and operation.operation is not OperationType.QUERY:
            raise BadInput(zh="GET 只能用于查询", en="Only queries may be sent with GET.", status=405)
        token = _bearer(headers.get("authorization"))
        if token is not None:
            await self._sign_in(context, token)
        result = await self._execute(prepared, request, context)
        errors = bodies_of(result.errors, context.language, context.request_id) if result.errors else None
        if errors and result.data is None and not any("path" in one for one in errors):
            return (200 if media_type == JSON else 400), {"errors": errors}
        return 200, {"errors": errors, "data": result.data} if errors else {"data": result.data}

    async def _execute(self, prepared: _Prepared, request: _Request, context: Context) -> ExecutionResult:
        try:
            async with asyncio.timeout(self._execution_s):
                result = execute(
                    self._schema,
                    prepared.document,
                    context_value=context,
                    variable_values=request.variables,
                    operation_name=request.operation_name,
                    max_coercion_errors=limits.ERRORS,
                    executor_class=self._executor,
                    hide_suggestions=self._graphiql is None,
                )
                return await result if isawaitable(result) else result
        except TimeoutError:
            log.warning("execution took too long", request_id=context.request_id)
            raise TryAgain(
                zh="处理超时，请用同一个 idempotencyKey 重试",
                en="This took too long. Try again with the same idempotencyKey.",
            ) from None


def graphql_routes(path: str, endpoint: GraphQLEndpoint) -> list[Route]:
    """The routes of an endpoint, with and without a trailing slash, so that nobody is redirected."""
    return [Route(path, endpoint), Route(f"{path}/", endpoint)]


def _wants_graphiql(scope: Scope, headers: Headers) -> bool:
    return (
        scope["method"] == "GET"
        and "text/html" in headers.get("accept", "")
        and "query" not in QueryParams(scope["query_string"])
    )


def _accepted(accept: str | None) -> str | None:
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


def _not_acceptable() -> ApiError:
    return BadInput(
        zh=f"只能以 {RESPONSE_JSON} 或 {JSON} 应答", en=f"Answers are {RESPONSE_JSON} or {JSON} only.", status=406
    )


async def _read(receive: Receive, headers: Headers) -> bytes:
    """The body of a request, as long as it is JSON, plain, small and quick enough.

    Raises:
        BadInput: it is not.
        _Disconnected: the client hung up.
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
                    raise _Disconnected
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


def _from_json(body: bytes) -> _Request:
    parameters = _json(body, "body")
    if isinstance(parameters, list):
        raise BadInput(zh="不支持批量请求，请用一个文档", en="Batches are not supported; use one document.")
    if not isinstance(parameters, dict):
        raise BadInput(zh="请求体须为 JSON 对象", en="The body must be a JSON object.")
    return _request(parameters)


def _from_query(query: QueryParams) -> _Request:
    parameters: dict[str, object] = dict(query)
    for name in ("variables", "extensions"):
        text = query.get(name)
        if text:
            parameters[name] = _json(text.encode(), name)
        else:
            parameters.pop(name, None)
    return _request(parameters)


def _json(text: bytes, what: str) -> object:
    try:
        return cast("object", orjson.loads(text))
    except orjson.JSONDecodeError:
        raise BadInput(zh=f"{what} 不是有效的 JSON", en=f"The {what} is not valid JSON in UTF-8.") from None


def _request(parameters: Mapping[str, object]) -> _Request:
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
    return _Request(query, name or None, variables or {})


def _bearer(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            zh="Authorization 须为 Bearer 令牌", en="Authorization must be a Bearer token.", reason="TOKEN_INVALID"
        )
    return token.strip()


def _note(state: dict[str, Any], operation: OperationDefinitionNode) -> None:
    """Leave the operation's name for the log, and its first field, which has few values, for the metrics."""
    state["operation"] = operation.name.value[:64] if operation.name else ""
    first = operation.selection_set.selections[0] if operation.selection_set.selections else None
    state["root_field"] = first.name.value if isinstance(first, FieldNode) else ""


def _outcome(body: Mapping[str, object], context: Context) -> str:
    errors = body.get("errors")
    if not errors:
        return context.refused or "ok"
    codes = set(codes_in(cast("Sequence[ErrorBody]", errors)))
    return "bug" if ErrorCode.INTERNAL in codes else next(codes_in(cast("Sequence[ErrorBody]", errors)))


def _headers_of(error: ApiError, status: int) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    if status == 401:
        headers[b"www-authenticate"] = b"Bearer"
    elif status == 405:
        headers[b"allow"] = b"GET, POST"
    elif status in (408, 413):
        # What the client still sends is not read any more.
        headers[b"connection"] = b"close"
    elif status == 429:
        headers[b"retry-after"] = str(error.extensions["retryAfterS"]).encode()
    elif status == 503:
        headers[b"retry-after"] = b"1"
    return headers


async def _send(
    send: Send, status: int, content_type: bytes, body: bytes, extra: Mapping[bytes, bytes] | None = None
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept, accept-language, authorization"),
        (b"x-content-type-options", b"nosniff"),
        *(extra or {}).items(),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
