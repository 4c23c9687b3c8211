"""What a shipping fee means for the books: it earns nothing, comes back with the goods, and is kept with a quote."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from jobs.worker import run_due
from loyalty.orders.order import OrderLine, OrderState
from loyalty.people.address import Contact, Region
from models.catalogue.catalogue import Product, Sku
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from resolvers.delivery import shipping
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order, order_quote
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.payments import payment, refund
from resolvers.people import address
from resolvers.people.address import AddressWish
from tests.doors import make_member, make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

WISH = AddressWish(
    contact=Contact(recipient="王小明", phone="13812345678", street="天河路 385 号"),
    region=Region(code="440106", province="广东省", city="广州市", district="天河区"),
)


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach; its books hold after every test."""
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


async def shipped_sku(deps: Deps, boss_id: UUID, **fields: Any) -> tuple[UUID, UUID]:
    """A SKU that is shipped for 10 yuan, and its template."""
    made = await shipping.create(
        deps,
        operator_id=boss_id,
        code=f"t{new_secret(6)}".lower().replace("-", "_"),
        title="快递",
        terms={"otherwise": {"first_fen": 1_000}},
        is_default=False,
        idempotency_key=new_secret(12),
    )
    sku_id = await put_on_shelf(deps, **fields)
    sku = await Sku.get(id=sku_id)
    await Product.filter(id=sku.product_id).update(shipping_template_id=made.id)
    return sku_id, made.id


async def going_home(deps: Deps, member_id: UUID) -> DeliveryWish:
    kept = await address.create(deps, member_id=member_id, wish=WISH, make_default=True, idempotency_key=new_secret(12))
    return DeliveryWish(address_id=kept.id)


async def placed(deps: Deps, member_id: UUID, sku_id: UUID, **more: Any) -> Order:
    return await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=sku_id, quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
        **more,
    )


async def figures(member_id: UUID) -> tuple[int, int]:
    found = await rows(
        "SELECT account.balance, membership.growth_value FROM points_account account "
        "JOIN membership ON membership.member_id = account.member_id WHERE account.member_id = $1",
        [member_id],
    )
    return found[0]["balance"], found[0]["growth_value"]


async def test_a_fee_earns_nothing_and_comes_back_with_an_order_that_was_never_sent(
    open_store: Deps, wechat: SandboxControl
) -> None:
    boss = await make_operator(open_store)
    member_id = (await make_member(open_store, openid=await wechat.openid())).id
    sku_id, _ = await shipped_sku(open_store, boss.id, price_fen=30_000)
    one = await placed(open_store, member_id, sku_id, delivery=await going_home(open_store, member_id))
    assert (one.payable_fen, one.shipping_fen) == (31_000, 1_000)
    await wechat.request_payment(await payment.pay(open_store, member_id=member_id, order_id=one.id))
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await figures(member_id) == (300, 300)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=one.id, reason="不想要了", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    open_store.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    await wechat.advance(300)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    back = await rows("SELECT sum(amount_fen)::int AS total FROM refund WHERE order_id = $1", [one.id])
    assert back[0]["total"] == 31_000
    assert await figures(member_id) == (0, 0)


async def test_a_kept_price_keeps_its_shipping_fee_and_its_address(open_store: Deps) -> None:
    deps = replace(open_store, quote_window=timedelta(minutes=10))
    boss = await make_operator(deps)
    member_id = (await make_member(deps)).id
    sku_id, template_id = await shipped_sku(deps, boss.id)
    home = await going_home(deps, member_id)
    lines = [OrderLine(sku_id=sku_id, quantity=1)]
    kept = await order_quote.keep(
        deps, member_id=member_id, lines=lines, points_wanted=0, delivery=home, idempotency_key=new_secret(12)
    )
    deps.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    await shipping.change(
        deps,
        operator_id=boss.id,
        template_id=template_id,
        changes={"terms": {"otherwise": {"first_fen": 5_000}}},
        idempotency_key=new_secret(12),
    )
    as_kept = await placed(deps, member_id, sku_id, delivery=home, quote_id=kept.id)
    assert as_kept.payable_fen == kept.payable_fen
    assert as_kept.shipping_fen == 1_000
    assert (await placed(deps, member_id, sku_id, delivery=home)).shipping_fen == 5_000
