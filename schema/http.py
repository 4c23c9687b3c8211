"""The GraphQL door over HTTP, for the shop and for operators alike. ``docs/api/http.md`` says what it promises.

It follows the GraphQL-over-HTTP specification. Documents are parsed, measured and validated once and then remembered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import orjson
import strawberry
import structlog
from graphql import (
    ExecutionResult,
    FieldNode,
    OperationDefinitionNode,
    OperationType,
)
from starlette.datastructures import Headers, QueryParams
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from strawberry.http.ides import get_graphql_ide_html

from cache.rate_limit import Ask
from models.ids import new_secret
from resolvers.deps import Deps
from schema import limits
from schema.context import Context, language_of
from schema.documents import Documents, Prepared, Rejected
from schema.errors import (
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
from schema.execution import Plan, Planner
from schema.rates import Rates
from schema.request import (
    JSON,
    Disconnected,
    GraphQLRequest,
    accepted,
    bearer,
    device_of,
    from_json,
    from_query,
    not_acceptable,
    read_body,
    wants_graphiql,
)

log = structlog.get_logger(__name__)

Asked = Callable[[], Sequence[Ask]]
"""What a request takes from the rate limits, once the context says who sends it."""

SignIn = Callable[[Context, str, Asked], Awaitable[bool]]


class GraphQLEndpoint:
    """An ASGI application that answers one schema.

    ``sign_in`` puts the caller a bearer token speaks for into the context, or raises ``Unauthenticated``. It answers
    whether it has taken the request from its limits as well. With ``development`` on, the endpoint serves GraphiQL and
    introspection and suggests names in error messages.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        deps: Deps,
        sign_in: SignIn,
        *,
        development: bool,
        execution_s: float = limits.EXECUTION_S,
        rates: Rates | None = None,
    ) -> None:
        self._planner = Planner(schema, hide_suggestions=not development)
        self._deps = deps
        self._sign_in = sign_in
        self._documents = Documents(self._planner.schema, introspection=development)
        self._graphiql = get_graphql_ide_html("graphiql").encode() if development else None
        self._execution_s = execution_s
        self._rates = rates or Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "there are no subscriptions here"
        headers = Headers(scope=scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        state.setdefault("request_id", new_secret(9))
        state["operation"] = state["root_field"] = ""
        if self._graphiql is not None and wants_graphiql(scope, headers):
            state["outcome"] = "ok"
            await _send(send, 200, b"text/html; charset=utf-8", self._graphiql)
            return
        media_type = accepted(headers.get("accept"))
        language = language_of(headers.get("accept-language", ""))
        client = scope.get("client")
        context = Context(
            deps=self._deps,
            now=self._deps.clock.now(),
            request_id=state["request_id"],
            language=language,
            client_ip=client[0] if client else "",
            device_id=device_of(headers.get("x-device-id")),
        )
        extra: dict[bytes, bytes] = {}
        body: dict[str, object]
        try:
            if media_type is None:
                raise not_acceptable()
            status, body = await self._charged(scope, receive, headers, context, media_type)
        except Disconnected:
            state["outcome"] = "disconnected"
            return
        except Rejected as rejected:
            # The older media type answers 200 whenever the request itself was well formed.
            status = 200 if media_type == JSON else 400
            body = {"errors": bodies_of(rejected.errors, language, context.request_id)}
        except Exception as error:
            answer = known(error)
            if answer is None:
                log.error("bug", request_id=context.request_id, exc_info=error)
                answer = Internal(request_id=context.request_id)
            status, body = answer.http_status, {"errors": [body_of(answer, language)]}
            extra = _headers_of(status)
        extra |= _come_again(body)
        state["outcome"] = _outcome(body, context)
        state["member_id"] = context.member_id
        state["operator_id"] = context.operator_id
        await _send(send, status, (media_type or JSON).encode() + b"; charset=utf-8", orjson.dumps(body), extra)

    async def _charged(
        self, scope: Scope, receive: Receive, headers: Headers, context: Context, media_type: str
    ) -> tuple[int, dict[str, object]]:
        try:
            return await self._answer(scope, receive, headers, context, media_type)
        except (Rejected, Unauthenticated):
            # What does not run is charged as well, or a flood of it would be free.
            await self._rates.charge_rejected(context)
            raise

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Headers, context: Context, media_type: str
    ) -> tuple[int, dict[str, object]]:
        if scope["method"] == "POST":
            request = from_json(await read_body(receive, headers))
        elif scope["method"] == "GET":
            request = from_query(QueryParams(scope["query_string"]))
        else:
            raise BadInput(zh="只支持 GET 和 POST", en="Only GET and POST are understood here.", status=405)
        limits.check_variables(request.variables)
        prepared = self._documents.prepare(request.query)
        operation = self._documents.operation(prepared, request.operation_name)
        _note(scope["state"], operation)
        if scope["method"] == "GET" and operation.operation is not OperationType.QUERY:
            raise BadInput(zh="GET 只能用于查询", en="Only queries may be sent with GET.", status=405)
        token = bearer(headers.get("authorization"))
        asked = partial(
            self._rates.asked,
            context,
            prepared.first_fields[request.operation_name],
            prepared.costs[request.operation_name],
            is_mutation=operation.operation is OperationType.MUTATION,
        )
        if token is None or not await self._sign_in(context, token, asked):
            await self._rates.take(context, asked())
        result = await self._execute(prepared, request, context)
        errors = bodies_of(result.errors, context.language, context.request_id) if result.errors else None
        if errors and result.data is None and not any("path" in one for one in errors):
            return (200 if media_type == JSON else 400), {"errors": errors}
        return 200, {"errors": errors, "data": result.data} if errors else {"data": result.data}

    async def _execute(self, prepared: Prepared, request: GraphQLRequest, context: Context) -> ExecutionResult:
        name = request.operation_name
        plan = prepared.plans.get(name)
        if plan is None:
            operation = self._documents.operation(prepared, name)
            plan = prepared.plans[name] = Plan(self._planner, prepared.document, operation)
        try:
            async with asyncio.timeout(self._execution_s):
                return await plan.answer(request.variables, context)
        except TimeoutError:
            log.warning("execution took too long", request_id=context.request_id)
            raise TryAgain(
                zh="处理超时，请用同一个 idempotencyKey 重试",
                en="This took too long. Try again with the same idempotencyKey.",
            ) from None


def graphql_routes(path: str, endpoint: GraphQLEndpoint) -> list[Route]:
    """The routes of an endpoint, with and without a trailing slash, so that nobody is redirected."""
    return [Route(path, endpoint), Route(f"{path}/", endpoint)]


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


def _come_again(body: Mapping[str, object]) -> dict[bytes, bytes]:
    """``Retry-After`` for an answer of which a part, or all, was refused by a rate limit."""
    errors = cast("Sequence[Mapping[str, dict[str, object]]]", body.get("errors") or ())
    waits = [one["extensions"]["retryAfterS"] for one in errors if "retryAfterS" in one["extensions"]]
    return {b"retry-after": str(max(cast("list[int]", waits))).encode()} if waits else {}


def _headers_of(status: int) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    if status == 401:
        headers[b"www-authenticate"] = b"Bearer"
    elif status == 405:
        headers[b"allow"] = b"GET, POST"
    elif status in (408, 413):
        # What the client still sends is not read any more.
        headers[b"connection"] = b"close"
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
