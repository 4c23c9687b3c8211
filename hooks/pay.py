"""WeChat Pay's notices: verify, keep, apply, acknowledge.

A notice is acknowledged once it is kept; if applying it fails, the sweep tries again. WeChat gives up after 5 seconds
and repeats a notice up to 15 times in a day (API v3, "Payment notification").
"""

import asyncio

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loyalty.payments.payment import NoticeOutcome
from resolvers.deps import Deps
from resolvers.payments import notice
from wechat.errors import NoticeUnsupported, WeChatError

MOST_BYTES = 64 * 1024
READ_WITHIN_S = 5.0
APPLY_WITHIN_S = 4.0

log = structlog.get_logger("youli")


def pay_route(deps: Deps, path: str = "/hooks/wechat/pay", *, read_within_s: float = READ_WITHIN_S) -> Route:
    """The address given to WeChat as ``notify_url``, for payments and refunds alike."""

    async def receive(request: Request) -> Response:
        seen = request.scope.setdefault("state", {})
        seen["operation"] = "payNotice"
        try:
            async with asyncio.timeout(read_within_s):
                body = await _body(request)
        except TimeoutError:
            return _fail(408, "the body took too long to arrive")
        if body is None:
            return _fail(413, "the body is too large")
        try:
            verified = deps.pay.verify_notice(request.headers, body)
        except NoticeUnsupported as error:
            seen["outcome"] = error.code
            return Response(status_code=204)
        except WeChatError as error:
            seen["outcome"] = error.code
            return _fail(401, "the signature does not hold")
        row_id = await notice.receive(deps, verified)
        seen["outcome"] = NoticeOutcome.DUPLICATE
        if row_id is not None:
            try:
                async with asyncio.timeout(APPLY_WITHIN_S):
                    seen["outcome"] = await notice.handle(deps, notice_row_id=row_id, resource=verified.resource)
            except Exception:
                log.exception("notice_kept_for_later", notice_row_id=str(row_id))
        return Response(status_code=204)

    return Route(path, receive, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MOST_BYTES:
                return None
            parts.append(part)
    except ClientDisconnect:
        return None
    return b"".join(parts)


def _fail(status: int, why: str) -> Response:
    return JSONResponse({"code": "FAIL", "message": why}, status_code=status)
