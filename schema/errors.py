"""The top-level errors of both APIs: their codes, their messages in two languages, and what an exception becomes.

Expected refusals are members of a result union (``schema.refusal``); what is here is everything else. The codes are
listed and explained in ``docs/api/errors.md``.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar

import structlog
from graphql import GraphQLError
from strawberry.exceptions import StrawberryInputCoercionError

from cache.outage import OUTAGES
from cache.rate_limit import TooMany
from loyalty.refusal import Language, Refusal
from models.asyncpg_backend import Conflict, Unavailable

log = structlog.get_logger(__name__)

ErrorBody = dict[str, object]


class ErrorCode(StrEnum):
    """What a client may switch on. Codes never change."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    BAD_INPUT = "BAD_INPUT"
    RATE_LIMITED = "RATE_LIMITED"
    TRY_AGAIN = "TRY_AGAIN"
    INTERNAL = "INTERNAL"


class ApiError(Exception):
    """An error the client is told about as it is: with this code, and with this status if nothing was executed."""

    code: ClassVar[ErrorCode]
    status: ClassVar[int]

    def __init__(self, *, zh: str, en: str, status: int | None = None, **extensions: object) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en
        self.http_status = status or self.status
        self.extensions = extensions

    def message(self, language: Language) -> str:
        """The sentence a person reads."""
        return self.zh if language == "zh" else self.en


class Unauthenticated(ApiError):
    """Nobody, or a token that is not valid (any more)."""

    code = ErrorCode.UNAUTHENTICATED
    status = 401

    def __init__(
        self, *, zh: str = "请先登录", en: str = "Please sign in first.", reason: str = "TOKEN_MISSING"
    ) -> None:
        super().__init__(zh=zh, en=en, reason=reason)


class Forbidden(ApiError):
    """Somebody known, who may not do this."""

    code = ErrorCode.FORBIDDEN
    status = 403

    def __init__(self, *, right: str) -> None:
        super().__init__(zh="没有权限进行此操作", en="You are not allowed to do this.", right=right)


class BadInput(ApiError):
    """A request that cannot mean anything; sending it again will not help."""

    code = ErrorCode.BAD_INPUT
    status = 400


class RateLimited(ApiError):
    """Too many requests; the same one may be sent again after ``retryAfterS`` seconds."""

    code = ErrorCode.RATE_LIMITED
    status = 429

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            zh=f"操作太频繁，请 {retry_after_s} 秒后再试",
            en=f"Too many requests. Try again in {retry_after_s} s.",
            retryAfterS=retry_after_s,
        )


class TryAgain(ApiError):
    """Nothing wrong with the request: an engine is away or busy. A mutation is repeated with the same key."""

    code = ErrorCode.TRY_AGAIN
    status = 503

    def __init__(self, *, zh: str = "服务繁忙，请稍后再试", en: str = "The service is busy. Please try again.") -> None:
        super().__init__(zh=zh, en=en)


class Internal(ApiError):
    """A bug of ours, masked; the log has the traceback under the request id."""

    code = ErrorCode.INTERNAL
    status = 500

    def __init__(self, *, request_id: str) -> None:
        super().__init__(
            zh=f"服务出了点问题，请稍后再试（编号 {request_id}）",
            en=f"Something went wrong on our side (request {request_id}).",
            requestId=request_id,
        )


_AWAY: tuple[type[Exception], ...] = (Unavailable, Conflict, *OUTAGES, ConnectionError, TimeoutError)


def known(error: BaseException | None) -> ApiError | None:
    """The error the client is told about for an exception that may rise from below; None for a bug of ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Refusal):
        return BadInput(zh=error.message("zh"), en=error.message("en"), refusal=error.code, values=error.data)
    if isinstance(error, TooMany):
        return RateLimited(retry_after_s=error.retry_after_s)
    if isinstance(error, _AWAY):
        return TryAgain()
    return None


def body_of(error: ApiError, language: Language) -> ErrorBody:
    """One entry of ``errors`` for an error that has no place in the document."""
    return {"message": error.message(language), "extensions": {"code": error.code, **error.extensions}}


def bodies_of(errors: Sequence[GraphQLError], language: Language, request_id: str) -> list[ErrorBody]:
    """The ``errors`` of a response. Bugs are logged with their traceback and masked.

    What GraphQL itself finds wrong with a document or its variables (a syntax error, an unknown field, a value of the
    wrong type) is BAD_INPUT and keeps the English text developers know, with a Chinese hint beside it.
    """
    bodies: list[ErrorBody] = []
    bug_logged = False
    for error in errors:
        cause = _innermost(error)
        answer = known(cause)
        if answer is not None:
            body = body_of(answer, language)
        elif _is_about_the_request(error, cause):
            extensions: ErrorBody = {"code": ErrorCode.BAD_INPUT}
            if language == "zh":
                extensions["hint"] = "请求未通过接口校验，请检查查询语句和变量"
            body = {"message": error.message, "extensions": extensions}
        else:
            if not bug_logged:
                log.error("bug", request_id=request_id, path=error.path, exc_info=cause)
                bug_logged = True
            body = body_of(Internal(request_id=request_id), language)
        if error.locations:
            body["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
        if error.path:
            body["path"] = error.path
        bodies.append(body)
    return bodies


def codes_in(bodies: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """The codes of the given error entries, in their order."""
    for body in bodies:
        extensions = body["extensions"]
        assert isinstance(extensions, dict), "every error entry is made here and has extensions"
        yield str(extensions["code"])


def _innermost(error: GraphQLError) -> BaseException:
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _is_about_the_request(error: GraphQLError, cause: BaseException) -> bool:
    """Whether the client's document or variables are at fault.

    Before execution an error has no path. During execution GraphQL complains about arguments and about our own
    values; only the former point to a place in the document of their own accord. Strawberry complains by an exception
    of its own about a null where a field may be left out but not cleared.
    """
    if error.path is None or isinstance(cause, StrawberryInputCoercionError):
        return True
    return cause is not error and isinstance(cause, GraphQLError) and bool(cause.nodes)
