"""Calls to ``api.weixin.qq.com``: HTTP 200 with an ``errcode`` in the body, where an absent one means success."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from wechat.errors import AnswerUnreadable, OutcomeUnknown, SystemBusy, Unreachable, mini_error
from wechat.transport import TIMEOUT, exchange, json_bytes, json_object, pause

ATTEMPTS: Final = 3
"""Tries in all, after errcode -1 (nothing has happened) and refused connections (nothing was sent). No other
repeats."""


class MiniProgramHost:
    """One mini-program API host.

    `base_url` carries no query; `http` is shared and closed by its owner. The query holds secrets and tokens: it is
    never part of an error message, and httpx's own request log is stripped of it.
    """

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, timeout: httpx.Timeout = TIMEOUT) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout

    async def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """GET; returns the answer's object. Raises any `wechat.errors.WeChatError`."""
        return await self._call("GET", path, query, None)

    async def post(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        """POST of JSON; returns the answer's object. Raises any `wechat.errors.WeChatError`."""
        return await self._call("POST", path, query, json_bytes(body))

    async def _call(self, method: str, path: str, query: Mapping[str, str], content: bytes | None) -> dict[str, Any]:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, query, content)
            except (SystemBusy, Unreachable):
                if attempt >= ATTEMPTS:
                    raise
            await pause(attempt)

    async def _once(self, method: str, path: str, query: Mapping[str, str], content: bytes | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        request = self._http.build_request(
            method, self._base_url + path, params=query, content=content, headers=headers, timeout=self._timeout
        )
        response, body = await exchange(self._http, request)
        if response.status_code != 200:
            raise OutcomeUnknown(f"HTTP_{response.status_code}", f"{path} answered without a result")
        answer = json_object(body)
        errcode = answer.get("errcode", 0)
        if not isinstance(errcode, int):
            raise AnswerUnreadable("ANSWER_UNREADABLE", "field errcode is not a number")
        if errcode != 0:
            raise mini_error(errcode, str(answer.get("errmsg", "")))
        return answer
