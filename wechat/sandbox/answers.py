"""The two manners of answering: WeChat Pay's signed HTTP statuses, and the mini-program's ``errcode``."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class PayRefusal(Exception):
    """A non-2xx answer of WeChat Pay v3; `number` is the numeric code at the end of ``Request-ID``."""

    def __init__(self, status: int, code: str, message: str, number: int = 268435456) -> None:
        super().__init__(code, message)
        self.status = status
        self.code = code
        self.message = message
        self.number = number

    def body(self) -> bytes:
        return wire({"code": self.code, "message": self.message})


class MiniRefusal(Exception):
    """An answer of ``api.weixin.qq.com`` with a non-zero ``errcode``; HTTP 200 all the same."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errcode, errmsg)
        self.errcode = errcode
        self.errmsg = errmsg

    def body(self) -> bytes:
        rid = "-".join(secrets.token_hex(4) for _ in range(3))
        return wire({"errcode": self.errcode, "errmsg": f"{self.errmsg} rid: {rid}"})


class OperatorRefusal(Exception):
    """An operator asked for something that cannot be; answered with 400 and a sentence."""


class CutOff(Response):
    """An answer that never comes: the connection is closed before its body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})


def wire(value: Mapping[str, Any]) -> bytes:
    """`value` as UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_body(raw: bytes) -> dict[str, Any]:
    """The object that was sent. Raises: MiniRefusal 47001 for anything else."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise MiniRefusal(47001, "data format error") from None
    if not isinstance(body, dict):
        raise MiniRefusal(47001, "data format error")
    return body
