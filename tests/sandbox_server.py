"""A sandbox WeChat on a free port for tests, and a client of its operator API.

Used as a fixture: ``sandbox_server`` starts one server per session (keys are made once), ``sandbox`` gives its
`SandboxControl` with everything forgotten before each test.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from cache.client import Client
from cache.wechat_soft import WeChatSoft
from tests.patience import PATIENCE_S
from wechat.mini import MiniProgramHost
from wechat.pay_types import PayConfig, PayParams
from wechat.sandbox import Credentials, create_app
from wechat.shipping import ShippingClient
from wechat.token import TokenProvider


class Refused(AssertionError):
    """The operator API answered 400; the text says why."""


class SandboxControl:
    """The operator API of one running sandbox; every method is one call of ``/_sandbox/*``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False, timeout=PATIENCE_S)

    async def close(self) -> None:
        await self.http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        return self._told(await self.http.get(f"/_sandbox/{path}", params=query))

    async def post(self, path: str, **wanted: Any) -> Any:
        return self._told(await self.http.post(f"/_sandbox/{path}", json=wanted))

    async def delete(self, path: str) -> Any:
        return self._told(await self.http.delete(f"/_sandbox/{path}"))

    @staticmethod
    def _told(answer: httpx.Response) -> Any:
        if answer.status_code == 400:
            raise Refused(answer.json()["error"])
        answer.raise_for_status()
        return answer.json()

    async def config(self) -> dict[str, Any]:
        told: dict[str, Any] = await self.get("config")
        return told

    async def pay_config(self, **changed: Any) -> PayConfig:
        """The settings with which a store's `PayClient` speaks to this sandbox."""
        return pay_config_of(await self.config(), **changed)

    async def login_code(self, openid: str | None = None) -> tuple[str, str]:
        """A code of ``wx.login`` and the openid it stands for."""
        told = await self.post("login_codes", **({} if openid is None else {"openid": openid}))
        return told["code"], told["openid"]

    async def openid(self, **properties: Any) -> str:
        """A new user."""
        told = await self.post("users", **properties)
        return str(told["openid"])

    async def pay(self, out_trade_no: str, **changed: Any) -> dict[str, Any]:
        told: dict[str, Any] = await self.post("pay", out_trade_no=out_trade_no, **changed)
        return told

    async def request_payment(self, params: PayParams) -> dict[str, Any]:
        """``wx.requestPayment`` by a user who pays."""
        told: dict[str, Any] = await self.post(
            "request_payment",
            timeStamp=params.time_stamp,
            nonceStr=params.nonce_str,
            package=params.package,
            signType=params.sign_type,
            paySign=params.pay_sign,
        )
        return told

    async def settle(self) -> None:
        """Wait until every notice that is due has been delivered (or has failed for now)."""
        assert (await self.post("notices/settle"))["settled"]

    async def advance(self, seconds: float) -> None:
        """Move the sandbox's clock and wait for what became due."""
        await self.post("clock/advance", seconds=seconds, settle=True)

    async def script_notices(self, **fields: Any) -> None:
        await self.post("scripts/notices", **fields)

    async def script_refunds(self, **fields: Any) -> None:
        await self.post("scripts/refunds", **fields)

    async def fault(self, endpoint: str, fault: str, **fields: Any) -> None:
        await self.post("faults", endpoint=endpoint, fault=fault, **fields)

    async def notices(self, out_trade_no: str) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await self.get("notices", out_trade_no=out_trade_no)
        return told

    async def ledger(self) -> dict[str, Any]:
        told: dict[str, Any] = await self.get("ledger")
        return told

    async def reset(self) -> None:
        await self.post("reset")


def pay_config_of(told: Mapping[str, Any], **changed: Any) -> PayConfig:
    """The settings of a store's `PayClient`, from a sandbox's `config`."""
    settings: dict[str, Any] = {
        "appid": told["appid"],
        "mchid": told["mchid"],
        "private_key_pem": told["merchant_private_key"],
        "serial": told["merchant_serial"],
        "apiv3_key": told["apiv3_key"],
        "verifying_keys": told["verifying_keys"],
        "preferred_serial": told["preferred_serial"],
    }
    return PayConfig(**(settings | changed))


def shipping_client(host: MiniProgramHost, redis: Client, app: Mapping[str, Any]) -> ShippingClient:
    """WeChat's order shipping management, for an app as the sandbox tells it."""
    tokens = TokenProvider(host, WeChatSoft(redis), appid=app["appid"], secret=app["secret"])
    return ShippingClient(host, tokens, appid=app["appid"])


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve `app` on a free port of this machine from a thread of its own; gives its base URL."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            started.set()

    server = Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="critical", access_log=False, timeout_graceful_shutdown=2
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(PATIENCE_S), "the server did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def sandbox_served(state_dir: Path | None = None, credentials: Credentials | None = None) -> Iterator[str]:
    """A sandbox WeChat on a free port; gives its base URL, to be used for all three hosts."""
    with served(create_app(state_dir, credentials=credentials)) as base_url:
        yield base_url
