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
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def throw_everybody_out(url: str) -> int:
    """End every connection to the store, several times; how many there were."""
    connection = await asyncpg.connect(url)
    ended = 0
    for _ in range(TIMES):
        ended += await connection.fetchval(OUT)
        await asyncio.sleep(0.3)
    await connection.close()
    return ended


async def test_orders_under_a_database_that_keeps_going_away_are_whole_and_placed_once(
    deps: Deps, shop: Door, wechat: SandboxControl, store_url: str
) -> None:
    sku_id = await put_on_shelf(deps, stock_left=1_000)
    members = [await buyer(deps, shop, wechat) for _ in range(BUYERS)]
    told: list[str] = []

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

    trouble = asyncio.create_task(throw_everybody_out(store_url))
    await at_once(insist(member) for member in members)
    assert await trouble > 0
    assert set(told) == {"TRY_AGAIN"}
    made = await rows("SELECT count(*) AS many FROM shop_order GROUP BY member_id")
    assert [row["many"] for row in made] == [ORDERS_EACH] * BUYERS
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 1_000 - BUYERS * ORDERS_EACH
    await assert_the_books_are_right()
