"""Orders and their money, verb by verb, against the sandbox WeChat."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.orders.order import (
    AmountChanged,
    OrderLine,
    OrderNotFound,
    OrderState,
    OrderStateRefused,
    OutOfStock,
    PurchaseLimitReached,
)
from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.payment import PayDeadlinePassed, PaymentUnavailable
from models.engine import rows
from models.ids import new_id, new_secret
from models.orders.order import Order, OrderEvent
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order, order_view
from resolvers.payments import payment, refund
from tests.doors import make_member, make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def member_of(deps: Deps, wechat: SandboxControl) -> UUID:
    return (await make_member(deps, openid=await wechat.openid())).id


async def placed(deps: Deps, member_id: UUID, sku_id: UUID, quantity: int = 1, points: int = 0) -> Order:
    return await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=sku_id, quantity=quantity)],
        points_wanted=points,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )


async def account(member_id: UUID) -> dict[str, int]:
    return (await rows("SELECT balance, held, debt, seq FROM points_account WHERE member_id = $1", [member_id]))[0]


async def growth(member_id: UUID) -> int:
    found = await rows("SELECT growth_value FROM membership WHERE member_id = $1", [member_id])
    return int(found[0]["growth_value"])


async def stock_left(sku_id: UUID) -> int:
    return int((await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id]))[0]["stock_left"])


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()


async def test_a_paid_order_earns_points_and_growth(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await member_of(open_store, wechat)
    sku_id = await put_on_shelf(open_store, price_fen=12_345)
    one = await placed(open_store, member_id, sku_id, 2)
    assert (one.state, one.payable_fen) == (OrderState.UNPAID, 24_690)
    assert await stock_left(sku_id) == 98
    await pay(open_store, wechat, one)
    one = await Order.get(id=one.id)
    assert one.state == OrderState.PAID
    assert await account(member_id) == {"balance": 246, "held": 0, "debt": 0, "seq": 1}
    assert await growth(member_id) == 246


async def test_a_refund_returns_every_figure(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await member_of(open_store, wechat)
    sku_id = await put_on_shelf(open_store, price_fen=50_000)
    first = await placed(open_store, member_id, sku_id)
    await pay(open_store, wechat, first)
    before = (await account(member_id)) | {"growth": await growth(member_id), "stock": await stock_left(sku_id)}
    second = await placed(open_store, member_id, sku_id, points=400)
    assert (await account(member_id))["held"] == 400
    assert second.points_fen == 400
    await pay(open_store, wechat, second)
    assert await account(member_id) == {"balance": 500 - 400 + 496, "held": 0, "debt": 0, "seq": 3}
    boss = await make_operator(open_store)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=second.id, reason="不想要了", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    open_store.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    await wechat.advance(300)
    await run_due(open_store)
    assert (await Order.get(id=second.id)).state == OrderState.REFUNDED
    after = (await account(member_id)) | {"growth": await growth(member_id), "stock": await stock_left(sku_id)}
    assert after | {"seq": 0} == before | {"seq": 0}
    lots = await rows(
        "SELECT amount, remaining, held FROM points_lot WHERE member_id = $1 ORDER BY amount", [member_id]
    )
    assert lots[-1] == {"amount": 500, "remaining": 500, "held": 0}


async def test_cancelling_releases_points_into_their_lots_and_stock(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await member_of(open_store, wechat)
    sku_id = await put_on_shelf(open_store, price_fen=50_000)
    await pay(open_store, wechat, await placed(open_store, member_id, sku_id))
    lots = await rows("SELECT * FROM points_lot WHERE member_id = $1", [member_id])
    one = await placed(open_store, member_id, sku_id, points=300)
    await payment.pay(open_store, member_id=member_id, order_id=one.id)
    cancelled = await order.cancel(open_store, member_id=member_id, order_id=one.id)
    assert cancelled.state == OrderState.CLOSED
    assert await rows("SELECT * FROM points_lot WHERE member_id = $1", [member_id]) == lots
    assert await stock_left(sku_id) == 99
    again = await order.cancel(open_store, member_id=member_id, order_id=one.id)
    assert again.state == OrderState.CLOSED
    assert await stock_left(sku_id) == 99


async def test_an_unpaid_order_is_closed_at_its_deadline(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    member_id = await member_of(open_store, wechat)
    sku_id = await put_on_shelf(open_store)
    one = await placed(open_store, member_id, sku_id)
    await payment.pay(open_store, member_id=member_id, order_id=one.id)
    clock.advance(timedelta(minutes=30, seconds=-1))
    await wechat.advance(30 * 60 - 1)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.UNPAID
    with pytest.raises(PayDeadlinePassed):
        await payment.pay(open_store, member_id=member_id, order_id=one.id)
    clock.advance(timedelta(seconds=1))
    await wechat.advance(1)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert await stock_left(sku_id) == 100


async def test_a_payment_that_beats_the_cancellation_wins(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await member_of(open_store, wechat)
    sku_id = await put_on_shelf(open_store)
    one = await placed(open_store, member_id, sku_id)
    params = await payment.pay(open_store, member_id=member_id, order_id=one.id)
    await wechat.script_notices(drop=True)
    await wechat.request_payment(params)
    with pytest.raises(OrderStateRefused):
        await order.cancel(open_store, member_id=member_id, order_id=one.id)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await stock_left(sku_id) == 99


async def test_a_lost_notice_is_found_by_polling(open_store: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    member_id = await member_of(open_store, wechat)
    one = await placed(open_store, member_id, await put_on_shelf(open_store))
    params = await payment.pay(open_store, member_id=member_id, order_id=one.id)
    await wechat.script_notices(drop=True)
    await wechat.request_payment(params)
    clock.advance(timedelta(seconds=29))
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.UNPAID
    clock.advance(timedelta(seconds=1))
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.PAID


async def test_an_attempt_that_wechat_has_closed_is_not_asked_about_again_and_another_is_opened(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    member_id = await member_of(open_store, wechat)
    one = await placed(open_store, member_id, await put_on_shelf(open_store))
    await payment.pay(open_store, member_id=member_id, order_id=one.id)
    first = (await rows("SELECT out_trade_no FROM payment_attempt WHERE order_id = $1", [one.id]))[0]["out_trade_no"]
    await open_store.pay.close(first)
    with pytest.raises(PaymentUnavailable):
        await payment.pay(open_store, member_id=member_id, order_id=one.id)
    await wechat.request_payment(await payment.pay(open_store, member_id=member_id, order_id=one.id))
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    clock.advance(timedelta(hours=1))
    assert first not in await payment.claim_polls(open_store, 1_000)


async def test_refusals_change_nothing(deps: Deps) -> None:
    member = await make_member(deps)
    sku_id = await put_on_shelf(deps, stock_left=2, purchase_limit=1)
    with pytest.raises(PurchaseLimitReached):
        await placed(deps, member.id, sku_id, 2)
    other = await put_on_shelf(deps, stock_left=1)
    with pytest.raises(OutOfStock):
        await placed(deps, member.id, other, 2)
    with pytest.raises(AmountChanged):
        await order.place(
            deps,
            member_id=member.id,
            lines=[OrderLine(sku_id=sku_id, quantity=1)],
            points_wanted=0,
            expected_fen=9_999,
            remark="",
            idempotency_key=new_secret(12),
        )
    assert await Order.filter(member_id=member.id).count() == 0
    assert await stock_left(sku_id) == 2


async def test_somebody_elses_order_is_not_found(deps: Deps) -> None:
    mine, other = await make_member(deps), await make_member(deps)
    one = await placed(deps, mine.id, await put_on_shelf(deps))
    with pytest.raises(OrderNotFound):
        await order.cancel(deps, member_id=other.id, order_id=one.id)
    with pytest.raises(OrderNotFound):
        await payment.pay(deps, member_id=other.id, order_id=one.id)


async def test_a_long_timeline_shows_its_newest_lines(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sku_id = await put_on_shelf(deps)
    long, short = [await placed(deps, await member_of(deps, wechat), sku_id) for _ in range(2)]
    now = clock.now()
    asked, withdrawn = OrderEventKind.AFTER_SALE_REQUESTED, OrderEventKind.AFTER_SALE_WITHDRAWN
    kinds = [asked, withdrawn] * (order_view.EVENTS_SHOWN // 2)
    await OrderEvent.bulk_create(
        OrderEvent(id=new_id(now), order_id=long.id, kind=kind, details={}, at=now) for kind in kinds
    )
    shown = await order_view.events_by_order(deps, [long.id, short.id])
    assert [line.kind for line in shown[long.id]] == kinds
    assert [(line.kind, line.at) for line in shown[short.id]] == [("placed", now)]
