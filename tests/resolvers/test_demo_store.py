"""The store to try out, in a database of its own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from models import engine
from models.catalogue.catalogue import Category, Product, ProductMedia, Sku, StockEntry
from models.coupons.coupon import CouponTemplate
from models.delivery.fulfilment import PickUpPoint
from models.delivery.shipping import ShippingTemplate
from models.engine import rows
from models.ids import new_id
from models.keyset import Page
from models.people.operator import AuditRow
from models.prices.promotion import Promotion
from resolvers.catalogue.catalogue import ON_SALE, browse
from resolvers.clock import SetClock
from resolvers.demo_offers import PACK
from resolvers.demo_store import SHELVES, fill, renew
from resolvers.deps import Deps
from resolvers.flash_sales import flash_sale
from resolvers.group_buys import group_buy
from resolvers.programme import check_in_programme, for_joining, points_programme, tier_table
from tests.conftest import make_database
from tests.doors import make_operator

GOODS = [good for under in SHELVES.values() for goods in under.values() for good in goods]


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(deps: Deps, postgres_url: str, migrated_template: str, worker_id: str) -> AsyncIterator[Deps]:
    """The dependencies over an empty store with an owner."""
    url = await make_database(postgres_url, f"youli_demo_{worker_id}", template=migrated_template)
    async with engine.database(url, pool_size=3):
        await make_operator(deps)
        yield deps


async def test_an_empty_store_becomes_a_tea_house(fresh: Deps) -> None:
    assert await fill(fresh)
    found = await browse(fresh, page=Page(ON_SALE, 50))
    assert {row.title for row in found.rows} == {good.title for good in GOODS}
    assert len(found.rows) == 12
    table = (await tier_table(fresh.clock.now())).rules
    assert [level.name for level in table.levels] == ["普通", "银卡", "金卡", "黑金"]
    assert (await points_programme(fresh.clock.now())).version == 2
    assert (await check_in_programme(fresh.clock.now())).rules.base_points == 5
    assert await Category.all().count() == sum(1 + len(under) for under in SHELVES.values())
    assert await Sku.all().count() == sum(len(good.skus) for good in GOODS)
    assert await ProductMedia.all().count() == 24
    astray = await rows(
        "SELECT id FROM sku WHERE stock_left <> "
        "coalesce((SELECT sum(amount) FROM stock_entry WHERE sku_id = sku.id), 0)"
    )
    assert astray == []
    assert await AuditRow.filter(action="product.publish").count() == 12
    assert await ShippingTemplate.filter(is_default=True).count() == 1
    assert await PickUpPoint.filter(is_hidden=False).count() == 1
    assert await Promotion.filter(state="published").count() == 2
    assert await CouponTemplate.filter(state="published").count() == 3
    assert (await for_joining(fresh.clock.now()))[1].rules == PACK


async def test_a_flash_sale_is_open_and_one_to_come_on_whatever_day_it_is_renewed(fresh: Deps) -> None:
    clock = SetClock(fresh.clock.now())
    deps = replace(fresh, clock=clock)
    await fill(deps)
    for days in (0, 1, 2, 9, 90):
        clock.advance(timedelta(days=days))
        for _ in range(2):
            await renew(deps)
        sales = (await flash_sale.shown(deps, page=Page(flash_sale.SHOWN, 50))).rows
        running = [sale for sale in sales if sale.opens_at <= clock.now()]
        assert len(running) == 1, "after so many days one is open"
        assert len(sales) > len(running), "and another is to come"
        assert len((await group_buy.shown(deps, page=Page(group_buy.SHOWN, 50))).rows) == 1


async def test_a_store_that_is_not_the_tea_house_is_not_renewed(fresh: Deps) -> None:
    await renew(fresh)
    assert (await flash_sale.shown(fresh, page=Page(flash_sale.SHOWN, 50))).rows == []


async def test_what_is_not_in_stock_any_more_is_not_offered_anew(fresh: Deps) -> None:
    await fill(fresh)
    await rows("UPDATE sku SET stock_left = 0 WHERE code = 'GHG-6'")
    await renew(fresh)
    sales = (await flash_sale.shown(fresh, page=Page(flash_sale.SHOWN, 50))).rows
    assert [sale for sale in sales if sale.opens_at <= fresh.clock.now()] == []


async def test_a_second_filling_changes_nothing(fresh: Deps) -> None:
    assert await fill(fresh)
    before = [await table.all().count() for table in (Product, Category, Sku, StockEntry, AuditRow)]
    assert not await fill(fresh)
    assert [await table.all().count() for table in (Product, Category, Sku, StockEntry, AuditRow)] == before


class StoppingClock:
    """Tells the instant so many times, and then the lights go out."""

    def __init__(self, at: datetime, times: int) -> None:
        self.at = at
        self.left = times

    def now(self) -> datetime:
        if not self.left:
            raise ConnectionError("the lights went out")
        self.left -= 1
        return self.at


async def test_a_filling_that_was_cut_off_is_finished(fresh: Deps) -> None:
    programmes, first_shelf, five_goods = 3, 2, 10
    clock = StoppingClock(fresh.clock.now(), programmes + first_shelf + five_goods)
    with pytest.raises(ConnectionError):
        await fill(replace(fresh, clock=clock))
    begun = await Product.filter(state="published").count()
    assert 0 < begun < 12
    assert await fill(fresh)
    assert await Product.filter(state="published").count() == await Product.all().count() == 12


async def test_a_store_that_somebody_has_begun_to_fill_is_left_alone(fresh: Deps) -> None:
    now = fresh.clock.now()
    await Product.create(id=new_id(now), title="自己的商品", created_at=now, updated_at=now)
    assert not await fill(fresh)
    assert await Product.all().count() == 1
