"""What may stand struck through beside the prices of flash sales and group-buys, and what a SKU says of them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from models.asyncpg_backend import SqlCount, sql_count
from models.engine import changed
from models.ids import new_id
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests import teams
from tests.doors import Door
from tests.flash import close_sale, make_sale
from tests.races.buyers import CONFIRM, buyer
from tests.resolvers.flash_sales.test_flash_sale import buy
from tests.rulebook import LEVELS, buys, tiers
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

FLASH = "{ flashSales(first: 50) { nodes { items { id skuId saleId price struckThroughPrice } } } }"
SKUS = """
{ products(first: 50) { nodes { skus {
  id flashSaleItem { id saleId price struckThroughPrice }
  groupBuyItem { prices { size price struckThroughPrice } }
} } } }
"""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, whose lists hold what is put there."""
    return own_store_url


async def sold(deps: Deps, shop: Door, wechat: SandboxControl, sku_id: UUID) -> None:
    """One piece at the price of the shelf, paid now."""
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(sku_id)
    await member.pay(wechat, order_id)
    assert (await member.ask(CONFIRM, id=order_id))["order"]["state"] == "PAID"


async def flash_items(shop: Door) -> dict[str, dict[str, Any]]:
    nodes = (await shop.ask(FLASH))["flashSales"]["nodes"]
    return {item["id"]: item for sale in nodes for item in sale["items"]}


async def skus(shop: Door) -> dict[str, dict[str, Any]]:
    nodes = (await shop.ask(SKUS))["products"]["nodes"]
    return {sku["id"]: sku for product in nodes for sku in product["skus"]}


async def test_a_flash_price_stands_beside_what_was_charged_before_it(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl
) -> None:
    sku_id, never_sold = await put_on_shelf(deps), await put_on_shelf(deps)
    await sold(deps, shop, wechat, sku_id)
    clock.advance(timedelta(days=2))
    sale, other = await make_sale(deps, sku_id=sku_id), await make_sale(deps, sku_id=never_sold)
    found = await flash_items(shop)
    assert found[str(sale.item_id)] == {
        "id": str(sale.item_id),
        "skuId": str(sku_id),
        "saleId": str(sale.id),
        "price": 6_000,
        "struckThroughPrice": 10_000,
    }
    assert found[str(other.item_id)]["struckThroughPrice"] is None
    on_shelf = await skus(shop)
    assert on_shelf[str(sku_id)]["flashSaleItem"] == {
        name: value for name, value in found[str(sale.item_id)].items() if name != "skuId"
    }
    clock.advance(timedelta(hours=1))
    assert (await skus(shop))[str(sku_id)]["flashSaleItem"] is None


async def test_of_several_sessions_a_sku_says_the_one_that_opened_first(
    shop: Door, deps: Deps, clock: SetClock
) -> None:
    sku_id = await put_on_shelf(deps)
    now = clock.now()
    await make_sale(deps, sku_id=sku_id, opens_at=now + timedelta(minutes=1))
    assert (await skus(shop))[str(sku_id)]["flashSaleItem"] is None
    first = await make_sale(deps, sku_id=sku_id)
    clock.advance(timedelta(minutes=1))
    assert (await skus(shop))[str(sku_id)]["flashSaleItem"]["id"] == str(first.item_id)
    await close_sale(deps, first)
    assert (await skus(shop))[str(sku_id)]["flashSaleItem"]["id"] != str(first.item_id)


async def test_before_a_session_opens_it_is_worked_out_anew_and_early_buyers_do_not_count(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl
) -> None:
    early_access = [{"kind": "early_access", "figure": 10}]
    gold = {"code": "gold", "name": "金卡", "threshold": 100, "benefits": early_access}
    await tiers(deps, LEVELS[0], gold)
    sku_id = await put_on_shelf(deps)
    sale = await make_sale(deps, sku_id=sku_id, opens_at=clock.now() + timedelta(minutes=12))
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] is None
    await sold(deps, shop, wechat, sku_id)
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] is None, "asked within the minute"
    clock.advance(timedelta(minutes=2))
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] == 10_000
    early = await buyer(deps, shop, wechat)
    await buys(deps, early.member_id, new_id(clock.now()), 100)
    order = await buy(deps, sale, early.member_id)
    await early.pay(wechat, str(order.id))
    assert (await early.ask(CONFIRM, id=str(order.id)))["order"]["state"] == "PAID"
    clock.advance(timedelta(minutes=10))
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] == 10_000
    clock.advance(timedelta(hours=2))
    after = await make_sale(deps, sku_id=sku_id, price_fen=5_000)
    assert (await flash_items(shop))[str(after.item_id)]["struckThroughPrice"] == 6_000


async def test_what_was_being_paid_as_a_session_opened_counts_as_well(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl
) -> None:
    before = clock.now() - timedelta(milliseconds=1)
    sale = await make_sale(deps)
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] is None
    await sold(deps, shop, wechat, sale.sku_id)
    # Its payment was dated before the opening, and committed after somebody had looked.
    await changed("UPDATE shop_order SET paid_at = $1 WHERE paid_at IS NOT NULL", [before])
    clock.advance(timedelta(minutes=1))
    assert (await flash_items(shop))[str(sale.item_id)]["struckThroughPrice"] == 10_000


async def test_each_price_of_a_ladder_has_its_own(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl
) -> None:
    sku_id = await put_on_shelf(deps, price_fen=8_500)
    await sold(deps, shop, wechat, sku_id)
    clock.advance(timedelta(minutes=1))
    await teams.campaign(deps, sku_id=sku_id, sizes=(2, 5), prices=(8_500, 7_000))
    late = await teams.campaign(deps, sizes=(2, 5), prices=(9_000, 7_000))
    await sold(deps, shop, wechat, late.sku_id)
    found = await skus(shop)
    told = {
        one: [price["struckThroughPrice"] for price in found[str(one)]["groupBuyItem"]["prices"]]
        for one in (sku_id, late.sku_id)
    }
    assert told == {sku_id: [None, 8_500], late.sku_id: [None, None]}, "what was sold since does not count"


async def test_lists_of_activities_take_the_same_statements_for_1_and_10_rows(shop: Door, deps: Deps) -> None:
    for _ in range(11):
        await make_sale(deps)
        await teams.campaign(deps, sizes=(2, 3), prices=(9_000, 8_000))
    for name, fields in (
        ("flashSales", "items { struckThroughPrice }"),
        ("groupBuys", "items { prices { struckThroughPrice } }"),
        ("products", "skus { flashSaleItem { saleId } }"),
    ):
        counts = []
        for size in (1, 10):
            counter = SqlCount()
            mark = sql_count.set(counter)
            document = f"{{ {name}(first: {size}) {{ nodes {{ id {fields} }} }} }}"
            assert len((await shop.ask(document))[name]["nodes"]) == size
            sql_count.reset(mark)
            counts.append(counter.value)
        assert counts[0] == counts[1] > 0, (name, counts)
