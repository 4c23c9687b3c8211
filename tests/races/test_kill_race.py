"""The server is killed under load: what it had answered is there, what it had not is whole or not there at all."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from models import engine
from models.engine import rows
from models.ids import new_secret
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.races.buyers import CANCEL, PAY, PLACE, assert_the_books_are_right, one
from tests.server.processes_seen import Program, command, environment, running

pytestmark = pytest.mark.xdist_group("server")
PASSWORD = "a password that only this test knows"
BUYERS = 6
STOCK = 100_000
ACKNOWLEDGED = 40
LOGIN = """
mutation($code: String!) {
  done: sessionLogin(code: $code) { ... on SessionLoginPayload { accessToken member { id } } }
}
"""
OPERATOR_LOGIN = """
mutation($password: String!) {
  done: operatorLogin(login: "owner", password: $password) { ... on OperatorSession { accessToken } }
}
"""
CATEGORY = """
mutation { done: categoryCreate(input: {name: "茶"}, idempotencyKey: "the-category") {
  ... on CategoryCreated { category { id } } } }
"""
PRODUCT = """
mutation($category: ID!, $stock: Int!) {
  done: productCreate(
    idempotencyKey: "the-product"
    input: {
      title: "龙井", categoryId: $category, media: [{kind: IMAGE, url: "https://img.example.com/tea.jpg"}]
      skus: [{code: "LJ-50", title: "50 克", price: 10000, stock: $stock}]
    }
  ) { ... on ProductCreated { product { id skus { id } } } }
}
"""
PUBLISH = """
mutation($product: ID!) { done: productPublish(productId: $product, idempotencyKey: "on-the-shelf") { __typename } }
"""
ORDER = "query($id: ID!) { done: order(id: $id) { id state } }"


@dataclass
class Phone:
    """A signed-in member who remembers what the server said."""

    http: httpx.AsyncClient
    token: str
    member_id: str
    keys: list[str] = field(default_factory=list)
    orders: dict[str, str] = field(default_factory=dict)

    async def ask(self, document: str, **variables: object) -> Any:
        """One document that must succeed."""
        return await ask(self.http, "/graphql", document, token=self.token, **variables)

    async def place(self, sku_id: str, key: str) -> str:
        """One order; the key is remembered before it is sent, the order once it is answered."""
        if key not in self.keys:
            self.keys.append(key)
        answer = await self.ask(PLACE, lines=[{"skuId": sku_id, "quantity": 1}], points=0, key=key)
        order_id: str = answer["order"]["id"]
        self.orders[order_id] = "UNPAID"
        return order_id

    async def shop(self, sku_id: str, sandbox: str) -> None:
        """Order, pay every third, cancel every third, until the server is gone."""
        with suppress(httpx.TransportError):
            while True:
                order_id = await self.place(sku_id, new_secret(12))
                turn = len(self.keys) % 3
                if turn == 1:
                    params = await self.ask(PAY, id=order_id)
                    params.pop("__typename")
                    (await self.http.post(f"{sandbox}/_sandbox/request_payment", json=params)).raise_for_status()
                elif turn == 2:
                    answer = await self.ask(CANCEL, id=order_id)
                    self.orders[order_id] = answer["order"]["state"]


async def ask(
    http: httpx.AsyncClient, path: str, document: str, *, token: str | None = None, **variables: object
) -> Any:
    """What a document that must succeed answers."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body = (await http.post(path, json={"query": document, "variables": variables}, headers=headers)).json()
    assert "errors" not in body, body["errors"]
    return body["data"]["done"]


def sandbox_of(data_dir: Path) -> str:
    """Where the sandbox WeChat of the running server is."""
    url: str = orjson.loads((data_dir / "run" / "sandbox.json").read_bytes())["address"]["url"]
    return url


async def put_on_sale(http: httpx.AsyncClient) -> str:
    """The owner puts one SKU on the shelf."""
    session = await ask(http, "/admin/graphql", OPERATOR_LOGIN, password=PASSWORD)
    token = session["accessToken"]
    category = (await ask(http, "/admin/graphql", CATEGORY, token=token))["category"]["id"]
    made = await ask(http, "/admin/graphql", PRODUCT, token=token, category=category, stock=STOCK)
    await ask(http, "/admin/graphql", PUBLISH, token=token, product=made["product"]["id"])
    sku_id: str = made["product"]["skus"][0]["id"]
    return sku_id


async def signed_in(http: httpx.AsyncClient, sandbox: str) -> Phone:
    """A new member, by a code of ``wx.login``."""
    code = (await http.post(f"{sandbox}/_sandbox/login_codes", json={})).json()["code"]
    session = await ask(http, "/graphql", LOGIN, code=code)
    return Phone(http, session["accessToken"], session["member"]["id"])


@asynccontextmanager
async def client(program: Program) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server, by no proxy."""
    async with httpx.AsyncClient(base_url=program.address, trust_env=False, timeout=PATIENCE_S) as http:
        yield http


async def shop_until_killed(program: Program, data_dir: Path) -> tuple[str, list[Phone]]:
    """Buyers at work, and the server gone in the middle of it."""
    async with client(program) as http:
        sku_id, sandbox = await put_on_sale(http), sandbox_of(data_dir)
        phones = [await signed_in(http, sandbox) for _ in range(BUYERS)]
        shopping = [asyncio.create_task(phone.shop(sku_id, sandbox)) for phone in phones]
        async with asyncio.timeout(PATIENCE_S):
            while sum(len(phone.orders) for phone in phones) < ACKNOWLEDGED:
                await asyncio.wait(shopping, timeout=0.02)
        program.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*shopping)
    program.process.wait()
    program.wait_until_all_have_ended()
    return sku_id, phones


async def look_after_the_restart(program: Program, sku_id: str, phones: list[Phone]) -> None:
    """Everything acknowledged exists; what was not answered is finished by sending it again."""
    async with client(program) as http:
        for phone in phones:
            phone.http = http
            for order_id, state in phone.orders.items():
                found = await phone.ask(ORDER, id=order_id)
                assert found is not None, f"an acknowledged order is gone: {order_id}"
                assert found["state"] == state or state in ("UNPAID", "CLOSING")
            for key in phone.keys:
                await phone.place(sku_id, key)
            made = await one("SELECT count(*) FROM shop_order WHERE member_id = $1", UUID(phone.member_id))
            assert made == len(phone.keys) == len(phone.orders)
    held = await one("SELECT coalesce(-sum(amount), 0)::int FROM stock_entry WHERE kind IN ('hold', 'release')")
    assert await one("SELECT stock_left FROM sku WHERE id = $1", UUID(sku_id)) == STOCK - held
    await assert_the_books_are_right()


def test_a_killed_server_has_kept_every_promise_it_made(data_dir: Path) -> None:
    env = environment(data_dir, free_port(), YOULI_OWNER_PASSWORD=PASSWORD)
    assert command("migrate", env=env).returncode == 0
    log = data_dir.parent / "log"
    with running(("serve",), env, log) as program:
        program.wait_until_ready()
        sku_id, phones = asyncio.run(shop_until_killed(program, data_dir))
    assert sum(len(phone.orders) for phone in phones) >= ACKNOWLEDGED

    async def look(program: Program) -> None:
        url = f"postgresql://postgres@/youli?host={data_dir / 'postgres' / 'socket'}"
        async with engine.database(url, pool_size=2):
            await look_after_the_restart(program, sku_id, phones)

    with running(("serve",), env, log) as program:
        program.wait_until_ready()
        asyncio.run(look(program))
        assert '"outcome":"bug"' not in program.text()


HALF_WRITER = """
import asyncio, sys, asyncpg

async def sell(pool, pause_s):
    while True:
        await pool.execute("INSERT INTO sold DEFAULT VALUES")
        await asyncio.sleep(pause_s)
        await pool.execute("UPDATE shelf SET stock_left = stock_left - 1")

async def main():
    async with asyncpg.create_pool(sys.argv[1], min_size=8, max_size=8) as pool:
        # The last is always in the middle.
        await asyncio.gather(*(sell(pool, pause_s) for pause_s in [0.02] * 7 + [3600]))

asyncio.run(main())
"""


async def test_a_killed_server_that_writes_one_thing_after_another_leaves_halves(store: None, store_url: str) -> None:
    await rows("CREATE TABLE shelf AS SELECT 100000 AS stock_left")
    await rows("CREATE TABLE sold (id int GENERATED ALWAYS AS IDENTITY)")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HALF_WRITER, store_url)
    async with asyncio.timeout(PATIENCE_S):
        while await one("SELECT count(*) FROM sold") < 50:
            assert process.returncode is None
    process.kill()
    await process.wait()
    async with asyncio.timeout(PATIENCE_S):
        while await one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") > 2:
            continue
    assert await one("SELECT 100000 - stock_left FROM shelf") < await one("SELECT count(*) FROM sold")
