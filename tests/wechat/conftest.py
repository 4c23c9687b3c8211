"""One sandbox for all of these tests, empty before each, and a merchant's notify address that answers as it is told."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox_server import SandboxControl, sandbox_served, served
from wechat.pay import PayClient
from wechat.sandbox import Credentials

NUMBER = "T2026112100001"


def real_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class StoreClock:
    """The store's clock: real time, moved by hand."""

    offset: timedelta = timedelta()

    def now(self) -> datetime:
        return real_now() + self.offset


@dataclass
class Shop:
    """The merchant's end of a notification: what arrived, and the statuses with which to answer next (then 204)."""

    notify_url: str = ""
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for _, body in self.arrived]


@dataclass
class Trade:
    """A pay client and what one order needs."""

    client: PayClient
    sandbox: SandboxControl
    openid: str
    notify_url: str
    clock: StoreClock

    async def advance(self, seconds: float) -> None:
        """Move the clocks of both sides."""
        self.clock.offset += timedelta(seconds=seconds)
        await self.sandbox.advance(seconds)

    async def prepay(self, number: str = NUMBER, total_fen: int = 100, **changed: object) -> str:
        order: dict[str, object] = {
            "out_trade_no": number,
            "description": "云南小粒咖啡, 250 g",
            "total_fen": total_fen,
            "openid": self.openid,
            "notify_url": self.notify_url,
            "time_expire": EXPIRES,
        }
        return await self.client.prepay(**(order | changed))  # type: ignore[arg-type]

    async def paid(self, number: str = NUMBER, total_fen: int = 100, **changed: object) -> None:
        await self.prepay(number, total_fen)
        await self.sandbox.pay(number, **changed)


EXPIRES = real_now() + timedelta(hours=2)


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    return Credentials.generate()


@pytest.fixture(scope="session")
def sandbox_url(credentials: Credentials) -> Iterator[str]:
    with sandbox_served(credentials=credentials) as base_url:
        yield base_url


@pytest.fixture
async def sandbox(sandbox_url: str) -> AsyncIterator[SandboxControl]:
    control = SandboxControl(sandbox_url)
    await control.reset()
    await control.post("clock/set", at=real_now().isoformat(), stands=True)
    yield control
    await control.close()


@pytest.fixture(scope="session")
def shop_served() -> Iterator[Shop]:
    shop = Shop()

    async def notify(request: Request) -> Response:
        shop.arrived.append((dict(request.headers), await request.body()))
        return Response(status_code=shop.statuses.pop(0) if shop.statuses else 204)

    with served(Starlette(routes=[Route("/notify", notify, methods=["POST"])])) as base_url:
        shop.notify_url = f"{base_url}/notify"
        yield shop


@pytest.fixture
def shop(shop_served: Shop, sandbox: SandboxControl) -> Shop:
    shop_served.arrived.clear()
    shop_served.statuses.clear()
    return shop_served


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


@pytest.fixture
async def client(sandbox: SandboxControl, http: httpx.AsyncClient, clock: StoreClock) -> PayClient:
    return PayClient(await sandbox.pay_config(), http, base_url=sandbox.base_url, now=clock.now)


@pytest.fixture
async def trade(client: PayClient, sandbox: SandboxControl, shop: Shop, clock: StoreClock) -> Trade:
    openid = await sandbox.openid()
    return Trade(client=client, sandbox=sandbox, openid=openid, notify_url=shop.notify_url, clock=clock)
