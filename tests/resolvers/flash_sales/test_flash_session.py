"""Sessions as operators make, change, publish and close them, and what the clock does with them."""

from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.catalogue.catalogue import SkuNotFound
from loyalty.flash_sales.flash_sale import (
    FlashNotOffered,
    FlashOver,
    FlashRehearsalRunning,
    FlashSaleNotFound,
    FlashSaleState,
    FlashSaleStateRefused,
    RehearsalState,
)
from loyalty.idempotency import KeyReused
from loyalty.orders.order import OutOfStock
from loyalty.programme import ProgrammeInvalid
from models.engine import rows
from models.flash_sales.flash_sale import FlashRehearsal, FlashSale
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_rehearsal, flash_session
from resolvers.flash_sales.flash_session import ItemWish
from tests.doors import make_member, make_operator
from tests.flash import Sale, close_sale, make_sale, pieces
from tests.resolvers.flash_sales.test_flash_sale import buy, gate_left
from tests.resolvers.invariants.test_verify import broken
from tests.shelf import put_on_shelf
from tests.tables import everything


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new, all of which is looked at."""
    return own_store_url


async def publish(deps: Deps, sale: Sale, key: str | None = None) -> FlashSale:
    """Publish it as its operator."""
    return await flash_session.publish(
        deps, operator_id=sale.operator_id, sale_id=sale.id, idempotency_key=key or new_secret(12)
    )


async def test_publishing_carves_everything_out_or_nothing(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=10)
    other_id = await put_on_shelf(deps, stock_left=3)
    sale = await make_sale(deps, published=False, sku_id=sku_id, stock=10)
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 0, "returned": 0, "waiting": 0, "sku": 10}
    await flash_session.change(
        deps,
        operator_id=sale.operator_id,
        sale_id=sale.id,
        changes={
            "title": "晚场",
            "items": [
                ItemWish(sku_id=sku_id, price_fen=100, stock=10, member_limit=1),
                ItemWish(sku_id=other_id, price_fen=100, stock=4, member_limit=1),
            ],
        },
        idempotency_key=new_secret(12),
    )
    before = await everything()
    with pytest.raises(OutOfStock):
        await publish(deps, sale)
    assert await everything() == before
    assert (await FlashSale.get(id=sale.id)).title == "晚场"


async def test_a_session_is_published_and_closed_once_and_said_again_by_its_key(deps: Deps) -> None:
    sale = await make_sale(deps, published=False)
    await publish(deps, sale, "a-key-of-a-console")
    await publish(deps, sale, "a-key-of-a-console")
    with pytest.raises(FlashSaleStateRefused):
        await publish(deps, sale)
    with pytest.raises(FlashSaleStateRefused):
        await flash_session.change(
            deps,
            operator_id=sale.operator_id,
            sale_id=sale.id,
            changes={"title": "改名"},
            idempotency_key=new_secret(12),
        )
    await close_sale(deps, sale)
    with pytest.raises(FlashSaleStateRefused):
        await close_sale(deps, sale)
    with pytest.raises(KeyReused):
        await flash_session.close(
            deps, operator_id=sale.operator_id, sale_id=sale.id, idempotency_key="a-key-of-a-console"
        )
    deeds = [row.action for row in await AuditRow.filter(subject_id=str(sale.id)).order_by("id")]
    assert deeds == ["flash_sale.create", "flash_sale.publish", "flash_sale.close"]
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 0, "returned": 10, "waiting": 0, "sku": 30}
    with pytest.raises(FlashNotOffered):
        await buy(deps, sale, (await make_member(deps)).id)
    assert await broken() == set()


async def test_what_is_not_there_or_cannot_work_is_refused(deps: Deps, clock: SetClock) -> None:
    boss = await make_operator(deps)
    nowhere = Sale(new_id(clock.now()), new_id(clock.now()), new_id(clock.now()), boss.id)
    with pytest.raises(FlashSaleNotFound):
        await publish(deps, nowhere)
    with pytest.raises(FlashSaleNotFound):
        await close_sale(deps, nowhere)
    with pytest.raises(SkuNotFound):
        await make_sale(deps, published=False, sku_id=nowhere.sku_id)
    with pytest.raises(ProgrammeInvalid):
        await make_sale(deps, published=False, price_fen=10_001)
    late = await make_sale(deps, published=False)
    clock.advance(timedelta(hours=2))
    with pytest.raises(ProgrammeInvalid):
        await publish(deps, late)


async def test_a_session_ends_by_itself_and_its_unpaid_orders_after_it(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, closes_at=clock.now() + timedelta(minutes=10))
    member = await make_member(deps)
    await buy(deps, sale, member.id, 2)
    clock.advance(timedelta(minutes=10))
    with pytest.raises(FlashOver):
        await buy(deps, sale, member.id)
    await run_due(deps)
    assert (await FlashSale.get(id=sale.id)).state == FlashSaleState.CLOSED
    assert await pieces(sale) == {"left": 0, "held": 2, "sold": 0, "returned": 8, "waiting": 0, "sku": 28}
    clock.advance(timedelta(minutes=30))
    await run_due(deps)
    await run_due(deps)
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 0, "returned": 10, "waiting": 0, "sku": 30}
    assert await gate_left(deps, sale) == 0
    assert await broken() == set()


async def test_the_sweeps_tell_the_gate_what_was_released(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=1)
    member, other = await make_member(deps), await make_member(deps)
    await buy(deps, sale, member.id)
    clock.advance(timedelta(minutes=30))
    await run_due(deps)
    await run_due(deps)
    assert await gate_left(deps, sale) == 1
    await buy(deps, sale, other.id)
    assert await broken() == set()


# Rehearsing


async def rehearsed(deps: Deps, sale: Sale, buyers: int) -> FlashRehearsal:
    """A rehearsal that has come to its end."""
    started = await flash_rehearsal.start(
        deps, operator_id=sale.operator_id, sale_id=sale.id, buyers=buyers, idempotency_key=new_secret(12)
    )
    assert await flash_rehearsal.claim_due(deps, 50) == [started.id]
    await flash_rehearsal.run(deps, rehearsal_id=started.id)
    return await FlashRehearsal.get(id=started.id)


@pytest.mark.parametrize("published", [False, True])
async def test_a_rehearsal_sells_the_stock_to_made_up_buyers_and_leaves_no_trace(deps: Deps, published: bool) -> None:
    sale = await make_sale(deps, published=published, stock=20, member_limit=1)
    before = await everything(but=("flash_rehearsal", "audit_row", "idempotency_record"))
    keys = set(await deps.redis.keys("*"))
    done = await rehearsed(deps, sale, 50)
    assert (done.state, done.failure, done.answered_count) == (RehearsalState.DONE, "", 50)
    assert done.result["items"] == [{"sku_id": str(sale.sku_id), "stock": 20, "sold": 20}]
    assert (done.result["orders"], done.result["broken"]) == (20, [])
    assert done.result["refusals"]["FLASH_SOLD_OUT"] >= 30
    assert 0 < done.result["p50_ms"] <= done.result["p99_ms"]
    assert await everything(but=("flash_rehearsal", "audit_row", "idempotency_record")) == before
    assert set(await deps.redis.keys("*")) == keys
    assert await rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'workspace%'") == []
    assert await Order.all().count() == 0


async def test_one_rehearsal_at_a_time(deps: Deps) -> None:
    sale = await make_sale(deps)

    async def start(key: str, sale_id: UUID = sale.id) -> FlashRehearsal:
        return await flash_rehearsal.start(
            deps, operator_id=sale.operator_id, sale_id=sale_id, buyers=1, idempotency_key=key
        )

    with pytest.raises(FlashSaleNotFound):
        await start(new_secret(12), sale.operator_id)
    one = await start("a-key-of-a-console")
    assert (await start("a-key-of-a-console")).id == one.id
    with pytest.raises(FlashRehearsalRunning):
        await start(new_secret(12))


async def test_a_rehearsal_that_was_cut_off_is_run_again(deps: Deps) -> None:
    sale = await make_sale(deps, stock=2, member_limit=1)
    # What a killed worker leaves behind.
    await rows('CREATE SCHEMA "workspace_of_a_killed_worker"')
    done = await rehearsed(deps, sale, 4)
    assert done.result["items"][0]["sold"] == 2
    assert await rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'workspace%'") == []
