"""The database throws everybody out in the middle of their orders: they try again, and none is half done."""

import asyncio

import asyncpg

from models.engine import rows
from models.ids import new_secret
from resolvers.deps import Deps
from tests.doors import Door
from tests.patience import PATIENCE_S
from tests.races.buyers import PLACE, Buyer, assert_the_books_are_right, at_once, buyer, one
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

BUYERS = 8
ORDERS_EACH = 10
TIMES = 6
OUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()
AND pid <> pg_backend_pid() AND EXISTS (SELECT FROM pg_stat_activity WHERE state LIKE '% in transaction'
    AND datname = current_database() AND pid <> pg_backend_pid())
"""
"""Nobody, unless somebody is in the middle of something."""


async def throw_everybody_out(url: str, placed: asyncio.Queue[None]) -> None:
    """End every connection to the store in the middle of orders, several times, with an order placed in between."""
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(TIMES):
            await placed.get()
            while not await connection.fetchval(OUT):
                pass
    await connection.close()


async def test_orders_under_a_database_that_keeps_going_away_are_whole_and_placed_once(
    deps: Deps, shop: Door, wechat: SandboxControl, store_url: str
) -> None:
    sku_id = await put_on_shelf(deps, stock_left=1_000)
    members = [await buyer(deps, shop, wechat) for _ in range(BUYERS)]
    told: list[str] = []
    placed: asyncio.Queue[None] = asyncio.Queue()

    async def insist(member: Buyer) -> None:
        for _ in range(ORDERS_EACH):
            variables = {"lines": [{"skuId": str(sku_id), "quantity": 1}], "points": 0, "key": new_secret(12)}
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    answer = (await shop.send(PLACE, variables, token=member.token)).json()
                    if "errors" not in answer:
                        break
                    told.extend(error["extensions"]["code"] for error in answer["errors"])
            assert answer["data"]["done"]["__typename"] == "OrderPlaced"
            placed.put_nowait(None)

    await at_once([throw_everybody_out(store_url, placed), *(insist(member) for member in members)])
    assert set(told) == {"TRY_AGAIN"}
    made = await rows("SELECT count(*) AS many FROM shop_order GROUP BY member_id")
    assert [row["many"] for row in made] == [ORDERS_EACH] * BUYERS
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 1_000 - BUYERS * ORDERS_EACH
    await assert_the_books_are_right()
