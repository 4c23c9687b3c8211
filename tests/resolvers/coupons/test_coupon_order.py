"""Coupons on orders: priced, reserved, used, given back. The books hold after each test."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.coupons.coupon import (
    CouponChoiceUnclear,
    CouponNotFound,
    CouponNotUsable,
    CouponsNotCombinable,
    CouponState,
    TooManyCoupons,
)
from loyalty.coupons.coupon_choice import Verdict
from loyalty.idempotency import KeyReused
from loyalty.orders.order import CloseReason, OrderLine, OrderState
from loyalty.prices.pricing import Quote
from loyalty.refusal import Refusal
from models.coupons.coupon import Coupon, CouponEvent
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from models.orders.order import OrderLine as OrderLineRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.orders.order_price import CouponWish
from resolvers.payments import payment, refund
from tests.coupons import claim, claimed, make_template
from tests.doors import make_member, make_operator
from tests.mall import give_points
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.shelves import make_category, make_product, new_sku, sku_of
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def books_hold(deps: Deps) -> AsyncIterator[None]:
    """Every invariant, after every test."""
    yield
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def known_member(deps: Deps, wechat: SandboxControl) -> UUID:
    return (await make_member(deps, openid=await wechat.openid())).id


def wish(*coupons: Coupon) -> CouponWish:
    return CouponWish(ids=tuple(one.id for one in coupons))


BEST = CouponWish(best=True)


async def place(deps: Deps, member_id: UUID, *skus: UUID, coupons: CouponWish, **more: Any) -> Order:
    fields = {"points_wanted": 0, "expected_fen": None, "remark": "", "idempotency_key": new_secret(12), **more}
    lines = [OrderLine(sku_id=sku_id, quantity=1) for sku_id in skus]
    return await order.place(deps, member_id=member_id, lines=lines, coupons=coupons, **fields)


async def preview(deps: Deps, member_id: UUID, *skus: UUID, coupons: CouponWish, points: int = 0) -> Quote:
    lines = [OrderLine(sku_id=sku_id, quantity=1) for sku_id in skus]
    return await order.preview(deps, member_id=member_id, lines=lines, points_wanted=points, coupons=coupons)


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()


async def refund_as_shop(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    boss = await make_operator(deps)
    await refund.refund_order(
        deps, operator_id=boss.id, order_id=one.id, reason="不想要了", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED


async def happened(one: Coupon) -> list[str]:
    return [event.kind for event in await CouponEvent.filter(coupon_id=one.id).order_by("seq")]


async def test_a_coupon_is_previewed_reserved_and_used(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await known_member(open_store, wechat)
    first, second = await put_on_shelf(open_store, price_fen=20_000), await put_on_shelf(open_store, price_fen=10_000)
    coupon = await claimed(open_store, member_id, amount_fen=1_000)
    quote = await preview(open_store, member_id, first, second, coupons=wish(coupon))
    assert (quote.coupon_fen, quote.payable_fen) == (1_000, 29_000)
    assert (await Coupon.get(id=coupon.id)).state == CouponState.ISSUED
    one = await place(open_store, member_id, first, second, coupons=wish(coupon), expected_fen=29_000)
    assert (one.coupon_fen, one.payable_fen) == (1_000, 29_000)
    lines = await OrderLineRow.filter(order_id=one.id).order_by("position")
    assert [(line.coupon_fen, line.payable_fen) for line in lines] == [(667, 19_333), (333, 9_667)]
    assert [(step["step"], step["amount_fen"]) for step in one.explain] == [("list", 30_000), ("coupon", -1_000)]
    reserved = await Coupon.get(id=coupon.id)
    assert (reserved.state, reserved.order_id, reserved.reserved_until) == (CouponState.RESERVED, one.id, one.pay_by)
    await pay(open_store, wechat, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert (await Coupon.get(id=coupon.id)).state == CouponState.USED
    assert await happened(coupon) == ["issued", "reserved", "used"]


async def test_a_reserved_coupon_is_not_for_another_order_and_closing_frees_it(deps: Deps) -> None:
    member = await make_member(deps)
    sku_id, coupon = await put_on_shelf(deps), await claimed(deps, member.id)
    one = await place(deps, member.id, sku_id, coupons=wish(coupon))
    for asked in (place, preview):
        with pytest.raises(CouponNotUsable) as refused:
            await asked(deps, member.id, sku_id, coupons=wish(coupon))
        assert refused.value.data["reason"] == "not_available"
    assert (await preview(deps, member.id, sku_id, coupons=BEST)).coupon_fen == 0
    await order.cancel(deps, member_id=member.id, order_id=one.id)
    freed = await Coupon.get(id=coupon.id)
    assert (freed.state, freed.order_id, freed.expires_at) == (CouponState.ISSUED, None, coupon.expires_at)
    assert await happened(coupon) == ["issued", "reserved", "released"]
    await place(deps, member.id, sku_id, coupons=wish(coupon))


async def test_a_refund_gives_coupon_points_and_money_back(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await known_member(open_store, wechat)
    sku_id = await put_on_shelf(open_store, price_fen=50_000)
    coupon = await claimed(open_store, member_id, amount_fen=10_000, threshold_fen=50_000)
    await give_points(open_store, member_id, 1_000)
    one = await place(open_store, member_id, sku_id, coupons=BEST, points_wanted=1_000)
    assert (one.coupon_fen, one.points_fen, one.payable_fen) == (10_000, 1_000, 39_000)
    await pay(open_store, wechat, one)
    await refund_as_shop(open_store, wechat, one)
    back = await Coupon.get(id=coupon.id)
    assert (back.state, back.order_id, back.expires_at) == (CouponState.ISSUED, None, coupon.expires_at)
    account = await rows("SELECT balance, held, debt FROM points_account WHERE member_id = $1", [member_id])
    assert account == [{"balance": 1_000, "held": 0, "debt": 0}]
    assert await happened(coupon) == ["issued", "reserved", "used", "returned"]


@pytest.mark.parametrize("grace_days", [0, 3])
async def test_a_coupon_that_ended_meanwhile_comes_back_with_a_refund_for_some_more_days(
    open_store: Deps, wechat: SandboxControl, clock: SetClock, grace_days: int
) -> None:
    member_id = await known_member(open_store, wechat)
    coupon = await claimed(open_store, member_id, valid_days=1, return_grace_days=grace_days)
    one = await place(open_store, member_id, await put_on_shelf(open_store), coupons=wish(coupon))
    await pay(open_store, wechat, one)
    clock.advance(timedelta(days=5))
    await wechat.advance(5 * 86_400)
    await refund_as_shop(open_store, wechat, one)
    back = await Coupon.get(id=coupon.id)
    if grace_days:
        assert (back.state, back.expires_at) == (CouponState.ISSUED, coupon.expires_at + timedelta(days=3 + 4))
    else:
        assert (back.state, await happened(coupon)) == (
            CouponState.EXPIRED,
            ["issued", "reserved", "used", "returned", "expired"],
        )


async def test_cancelling_keeps_a_coupon_alive_only_once(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    coupon = await claimed(deps, member.id, valid_days=1, return_grace_days=1)
    sku_id = await put_on_shelf(deps)
    ends: list[tuple[str, Any]] = []
    for _ in range(2):
        now = await Coupon.get(id=coupon.id)
        clock.advance(now.expires_at - clock.now() - timedelta(seconds=1))
        one = await place(deps, member.id, sku_id, coupons=wish(coupon))
        clock.advance(timedelta(seconds=1))
        await order.cancel(deps, member_id=member.id, order_id=one.id)
        after = await Coupon.get(id=coupon.id)
        ends.append((after.state, after.expires_at))
    more = coupon.expires_at + timedelta(days=2)
    assert ends == [(CouponState.ISSUED, more), (CouponState.EXPIRED, more)]


async def closed_though_paid(deps: Deps, wechat: SandboxControl, one: Order) -> str:
    """Pay at WeChat, which tells nobody, and close here as if WeChat had agreed; the number to ask about later."""
    params = await payment.pay(deps, member_id=one.member_id, order_id=one.id)
    await wechat.script_notices(drop=True)
    await wechat.request_payment(params)
    (attempt,) = await rows("SELECT id, out_trade_no FROM payment_attempt WHERE order_id = $1", [one.id])
    assert await order._start_closing(deps, one.id, one.member_id, CloseReason.CANCELLED)
    await order._finish_closing(deps, one.id, one.member_id, [attempt["id"]])
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    return str(attempt["out_trade_no"])


async def test_late_money_has_its_order_back_with_its_coupon(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await known_member(open_store, wechat)
    coupon = await claimed(open_store, member_id)
    one = await place(open_store, member_id, await put_on_shelf(open_store), coupons=wish(coupon))
    await payment.query(open_store, out_trade_no=await closed_though_paid(open_store, wechat, one))
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await happened(coupon) == ["issued", "reserved", "released", "reserved", "used"]


async def test_late_money_goes_back_when_its_coupon_was_used_elsewhere(
    open_store: Deps, wechat: SandboxControl
) -> None:
    member_id = await known_member(open_store, wechat)
    coupon = await claimed(open_store, member_id)
    sku_id = await put_on_shelf(open_store)
    one = await place(open_store, member_id, sku_id, coupons=wish(coupon))
    out_trade_no = await closed_though_paid(open_store, wechat, one)
    other = await place(open_store, member_id, sku_id, coupons=wish(coupon))
    await payment.query(open_store, out_trade_no=out_trade_no)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert (await Coupon.get(id=coupon.id)).order_id == other.id
    refunds = await rows("SELECT amount_fen, cause FROM refund WHERE order_id = $1", [one.id])
    assert refunds == [{"amount_fen": one.payable_fen, "cause": "late_payment"}]


async def test_an_order_that_coupons_pay_for_is_paid_at_once(deps: Deps) -> None:
    member = await make_member(deps)
    coupon = await claimed(deps, member.id, kind="exchange")
    one = await place(deps, member.id, await put_on_shelf(deps), coupons=wish(coupon))
    assert (one.state, one.payable_fen) == (OrderState.PAID, 0)
    assert (await Coupon.get(id=coupon.id)).state == CouponState.USED


async def test_the_best_coupons_are_used_and_every_other_is_explained(deps: Deps) -> None:
    member = await make_member(deps)
    open_group = {"group": "g", "combines_with": ["g"]}
    small = await claimed(deps, member.id, amount_fen=500, **open_group)
    percent = await claimed(deps, member.id, kind="percent", discount_bp=1_000, **open_group)
    alone = await claimed(deps, member.id, amount_fen=1_200, exclusive=True)
    far = await claimed(deps, member.id, amount_fen=9_000, threshold_fen=10_001)
    sku_id = await put_on_shelf(deps, price_fen=10_000)
    plan = await order.weigh_coupons(deps, member_id=member.id, lines=[OrderLine(sku_id=sku_id, quantity=1)])
    verdicts = {one.coupon.id: one for one in plan.verdicts}
    assert verdicts[small.id].verdict is verdicts[percent.id].verdict is Verdict.APPLIED
    assert (verdicts[alone.id].verdict, verdicts[alone.id].alone_fen) == (Verdict.NOT_CHOSEN, 1_200)
    missing = verdicts[far.id].why
    assert missing is not None
    assert missing.missing_fen == 1
    one = await place(deps, member.id, sku_id, coupons=BEST)
    assert one.coupon_fen == plan.discount_fen == 500 + 950


async def test_scopes_follow_categories_and_those_above(deps: Deps) -> None:
    member = await make_member(deps)
    above = await make_category(deps)
    under = await make_category(deps, parent_id=above.id)
    tea = await make_product(deps, category_id=under.id, skus=[new_sku(price_fen=6_000)])
    cup = await make_product(deps, skus=[new_sku(price_fen=4_000)])
    coupon = await claimed(deps, member.id, scope={"category_ids": [str(above.id)]}, amount_fen=5_000)
    not_tea = await claimed(deps, member.id, scope={"excluded_product_ids": [str(tea.id)]}, amount_fen=5_000)
    skus = ((await sku_of(tea.id)).id, (await sku_of(cup.id)).id)
    quote = await preview(deps, member.id, *skus, coupons=wish(coupon))
    assert [line.coupon_fen for line in quote.lines] == [5_000, 0]
    quote = await preview(deps, member.id, *skus, coupons=wish(not_tea))
    assert [line.coupon_fen for line in quote.lines] == [0, 4_000]


async def test_refused_coupons_change_nothing(deps: Deps) -> None:
    member, other = await make_member(deps), await make_member(deps)
    sku_id = await put_on_shelf(deps, price_fen=10_000)
    mine, too_far = await claimed(deps, member.id), await claimed(deps, member.id, threshold_fen=10_001)
    second, yours = await claimed(deps, member.id), await claimed(deps, other.id)
    twice = await make_template(deps, group="g", combines_with=["g"])
    same = [await claim(deps, member.id, twice) for _ in range(2)]
    cases: list[tuple[CouponWish, type[Refusal]]] = [
        (wish(yours), CouponNotFound),
        (wish(too_far), CouponNotUsable),
        (wish(mine, second), CouponsNotCombinable),
        (wish(*same), TooManyCoupons),
        (CouponWish(ids=(mine.id,), best=True), CouponChoiceUnclear),
    ]
    for coupons, refusal in cases:
        with pytest.raises(refusal):
            await place(deps, member.id, sku_id, coupons=coupons)
    assert not await Order.exists(member_id=member.id)
    assert await Coupon.filter(member_id=member.id, state=CouponState.ISSUED).count() == 5


async def test_one_key_with_other_coupons_is_refused(deps: Deps) -> None:
    member = await make_member(deps)
    sku_id, coupon = await put_on_shelf(deps), await claimed(deps, member.id)
    first = await place(deps, member.id, sku_id, coupons=wish(coupon), idempotency_key="one-key-for-all")
    again = await place(deps, member.id, sku_id, coupons=wish(coupon), idempotency_key="one-key-for-all")
    assert first.id == again.id
    for other in (CouponWish(), BEST):
        with pytest.raises(KeyReused):
            await place(deps, member.id, sku_id, coupons=other, idempotency_key="one-key-for-all")
