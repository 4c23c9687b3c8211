"""Promotions verb by verb: what orders take, hold and give back, and kept prices. The books hold after each test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.coupons.coupon import CouponNotUsable
from loyalty.idempotency import KeyReused
from loyalty.orders.order import AmountChanged, CloseReason, OrderLine, OrderState, OutOfStock
from loyalty.orders.order_quote import QuoteDiffers, QuoteNotFound
from loyalty.points.points import PointsCapExceeded
from loyalty.prices.pricing import Quote
from loyalty.prices.promotion import PromotionCodeTaken, PromotionNotFound, PromotionStateRefused
from loyalty.programme import ProgrammeInvalid
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.orders.order import OrderLine as OrderLineRow
from models.people.operator import AuditRow
from models.prices.promotion import OrderPromotion, OrderQuote, Promotion, PromotionHold, PromotionVersion
from resolvers.catalogue import sku
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order, order_quote
from resolvers.orders.order_price import CouponWish
from resolvers.payments import payment, refund
from resolvers.prices import promotion
from tests.coupons import claimed
from tests.doors import make_member, make_operator
from tests.loyalty.worked_examples import number, worked
from tests.mall import give_points
from tests.promotions import new_promotion, run_promotion, stop_promotion, used
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

STEP: dict[str, Any] = {"kind": "amount_off", "steps": [{"threshold_fen": 10_000, "off_fen": 1_500}]}


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def books_hold(deps: Deps) -> AsyncIterator[None]:
    """Every invariant, after every test; and nothing runs on."""
    yield
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}
    for one in await Promotion.filter(state="published"):
        await stop_promotion(deps, one)


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


def wanted(sku_id: UUID, quantity: int = 1) -> list[OrderLine]:
    return [OrderLine(sku_id=sku_id, quantity=quantity)]


async def place(deps: Deps, member_id: UUID, sku_id: UUID, quantity: int = 1, **more: Any) -> Order:
    fields = {"points_wanted": 0, "expected_fen": None, "remark": "", "idempotency_key": new_secret(12), **more}
    return await order.place(deps, member_id=member_id, lines=wanted(sku_id, quantity), **fields)


async def preview(deps: Deps, member_id: UUID, sku_id: UUID, quantity: int = 1, **more: Any) -> Quote:
    return await order.preview(deps, member_id=member_id, lines=wanted(sku_id, quantity), points_wanted=0, **more)


async def keep(deps: Deps, member_id: UUID, sku_id: UUID, quantity: int = 1, **more: Any) -> OrderQuote:
    fields = {"points_wanted": 0, "idempotency_key": new_secret(12), **more}
    return await order_quote.keep(deps, member_id=member_id, lines=wanted(sku_id, quantity), **fields)


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()


async def held(one: Order) -> list[str]:
    return [row.state for row in await PromotionHold.filter(order_id=one.id).order_by("id")]


async def test_an_order_holds_its_promotions_spends_them_and_gives_them_back(
    open_store: Deps, wechat: SandboxControl
) -> None:
    member_id = (await make_member(open_store, openid=await wechat.openid())).id
    sku_id = await put_on_shelf(open_store, price_fen=6_000)
    tenth = await run_promotion(open_store, sku_id, total_limit=10, title="九折")
    step = await run_promotion(open_store, sku_id, **STEP, budget_fen=10_000, title="满减")
    one = await place(open_store, member_id, sku_id, 2, expected_fen=9_300)
    assert (one.goods_fen, one.discount_fen, one.promotion_fen, one.payable_fen) == (12_000, 1_200, 1_500, 9_300)
    line = await OrderLineRow.get(order_id=one.id)
    assert (line.unit_price_fen, line.discount_fen, line.promotion_fen) == (5_400, 1_200, 1_500)
    assert [(step["step"], step["amount_fen"], step["title"]) for step in one.explain] == [
        ("list", 12_000, None),
        ("discount", -1_200, "九折"),
        ("amount_off", -1_500, "满减"),
    ]
    taken = {row.promotion_id: (row.uses, row.discount_fen) for row in await OrderPromotion.filter(order_id=one.id)}
    assert taken == {tenth.id: (2, 1_200), step.id: (1, 1_500)}
    assert (await used(tenth), await used(step)) == ((2, 1_200), (1, 1_500))
    assert await held(one) == ["pending", "pending"]
    await pay(open_store, wechat, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await held(one) == ["posted", "posted"]
    boss = await make_operator(open_store)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=one.id, reason="不想要了", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    assert await held(one) == ["returned", "returned"]
    assert (await used(tenth), await used(step)) == ((0, 0), (0, 0))


async def test_closing_an_order_frees_its_promotions(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=1)
    one = await place(deps, member.id, sku_id)
    assert one.payable_fen == 9_000
    assert (await preview(deps, member.id, sku_id)).payable_fen == 10_000
    await order.cancel(deps, member_id=member.id, order_id=one.id)
    assert (await held(one), await used(tenth)) == (["released"], (0, 0))
    assert (await preview(deps, member.id, sku_id)).payable_fen == 9_000


async def test_a_member_limit_counts_pieces_of_open_orders(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    await run_promotion(deps, sku_id, member_limit=3)
    await place(deps, member.id, sku_id, 2)
    quote = await preview(deps, member.id, sku_id, 2)
    assert (quote.discount_fen, quote.payable_fen) == (1_000, 19_000)
    assert [(one.uses, one.discount_fen) for one in quote.promotions] == [(1, 1_000)]
    other = await make_member(deps)
    assert (await preview(deps, other.id, sku_id, 2)).payable_fen == 18_000


async def test_a_newcomer_price_is_for_those_who_never_paid(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = (await make_member(open_store, openid=await wechat.openid())).id
    sku_id = await put_on_shelf(open_store, price_fen=10_000)
    await run_promotion(open_store, sku_id, kind="newcomer", price_fen=100, member_limit=2)
    one = await place(open_store, member_id, sku_id)
    assert one.payable_fen == 100
    assert (await preview(open_store, member_id, sku_id)).payable_fen == 100
    await pay(open_store, wechat, one)
    assert (await preview(open_store, member_id, sku_id)).payable_fen == 10_000


async def test_promotions_run_in_their_window_on_their_days(deps: Deps, clock: SetClock) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    now = clock.now()
    await run_promotion(deps, sku_id, opens_at=now + timedelta(hours=1), closes_at=now + timedelta(hours=2))
    await run_promotion(deps, sku_id, kind="member_day", discount_bp=2_000, weekdays=[6])
    assert (await preview(deps, member.id, sku_id)).payable_fen == 10_000
    clock.advance(timedelta(hours=1))
    assert (await preview(deps, member.id, sku_id)).payable_fen == 9_000
    clock.advance(timedelta(hours=1))
    assert (await preview(deps, member.id, sku_id)).payable_fen == 10_000
    # 16:00 in UTC is the midnight of the shop: Saturday begins.
    clock.at = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    assert (await preview(deps, member.id, sku_id)).payable_fen == 8_000


async def test_an_order_with_coupons_is_priced_in_both_ways(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=10_000)
    await run_promotion(deps, sku_id, discount_bp=1_000, combines=["points"])
    small, large = [await claimed(deps, member.id, amount_fen=fen) for fen in (500, 3_000)]
    assert (await preview(deps, member.id, sku_id)).payable_fen == 9_000
    with_large = await preview(deps, member.id, sku_id, coupons=CouponWish(ids=(large.id,)))
    assert (with_large.discount_fen, with_large.coupon_fen, with_large.payable_fen) == (0, 3_000, 7_000)
    with_small = await preview(deps, member.id, sku_id, coupons=CouponWish(ids=(small.id,)))
    assert (with_small.discount_fen, with_small.coupon_fen, with_small.payable_fen) == (0, 500, 9_500)
    best = await preview(deps, member.id, sku_id, coupons=CouponWish(best=True))
    assert best.payable_fen == 7_000


async def test_a_promotion_that_would_cost_the_member_a_coupon_is_left_out(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=10_000)
    tenth = await run_promotion(deps, sku_id)
    large, small = [
        await claimed(deps, member.id, amount_fen=fen, threshold_fen=9_500, group="one") for fen in (2_000, 500)
    ]
    best, named = CouponWish(best=True), CouponWish(ids=(large.id,))
    for wish in (best, named):
        found = await preview(deps, member.id, sku_id, coupons=wish)
        assert (found.promotions, found.coupon_fen, found.payable_fen) == ((), 2_000, 8_000)
    with pytest.raises(CouponNotUsable) as refused:
        await preview(deps, member.id, sku_id, coupons=CouponWish(ids=(small.id,)))
    assert (refused.value.data["reason"], refused.value.data["missing"]) == ("below_threshold", 500)
    kept = await keep(deps, member.id, sku_id, coupons=best)
    one = await place(deps, member.id, sku_id, coupons=best, quote_id=kept.id, expected_fen=8_000)
    assert (one.payable_fen, await used(tenth)) == (8_000, (0, 0))


async def test_a_plan_says_that_there_were_more_ways_than_are_tried(deps: Deps) -> None:
    member, sku_ids = await make_member(deps), [await put_on_shelf(deps) for _ in range(9)]
    for sku_id in sku_ids:
        await run_promotion(deps, sku_id, discount_bp=500)
    for fen, over in ((20_000, 80_000), (25_000, 90_000)):
        await claimed(deps, member.id, amount_fen=fen, threshold_fen=over)
    for many, off_fen, exact in ((8, 20_000, True), (9, 25_000, False)):
        lines = [OrderLine(sku_id=sku_id, quantity=1) for sku_id in sku_ids[:many]]
        plan = await order.weigh_coupons(deps, member_id=member.id, lines=lines)
        assert (plan.discount_fen, plan.exact) == (off_fen, exact)


async def test_a_way_that_takes_fewer_points_refuses_nobody_who_wants_more(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=10_000)
    await run_promotion(deps, sku_id)
    await claimed(deps, member.id, amount_fen=2_000, threshold_fen=9_500)
    await give_points(deps, member.id, 5_000)
    best = CouponWish(best=True)
    for points, costs in ((4_000, 4_000), (4_500, 4_500)):
        found = await order.preview(deps, member_id=member.id, lines=wanted(sku_id), points_wanted=points, coupons=best)
        assert (found.points_used, found.payable_fen) == (points, costs)
    with pytest.raises(PointsCapExceeded):
        await order.preview(deps, member_id=member.id, lines=wanted(sku_id), points_wanted=4_600, coupons=best)


async def test_hints_name_what_is_missing(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=4_000)
    await run_promotion(deps, sku_id, **STEP)
    await claimed(deps, member.id, amount_fen=700, threshold_fen=9_000)
    found = await order.preview_with_hints(deps, member_id=member.id, lines=wanted(sku_id), points_wanted=0)
    assert [(hint.kind.value, hint.missing_fen, hint.saves_fen) for hint in found.hints] == [
        ("coupon", 5_000, 700),
        ("promotion", 6_000, 1_500),
    ]


async def test_the_last_use_is_gone_once_somebody_has_it(deps: Deps) -> None:
    member, other = await make_member(deps), await make_member(deps)
    sku_id = await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=1)
    one = await place(deps, member.id, sku_id)
    later = await place(deps, other.id, sku_id)
    assert (one.payable_fen, later.payable_fen) == (9_000, 10_000)
    assert await used(tenth) == (1, 1_000)


# Kept quotes


async def test_a_kept_price_outlives_the_promotion_and_a_rise(deps: Deps, clock: SetClock) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=5)
    kept = await keep(deps, member.id, sku_id, 2)
    assert (kept.payable_fen, kept.expires_at) == (18_000, clock.now() + timedelta(minutes=10))
    assert await used(tenth) == (2, 2_000)
    await stop_promotion(deps, tenth)
    boss = await make_operator(deps)
    await sku.update(
        deps, operator_id=boss.id, sku_id=sku_id, changes={"price_fen": 15_000}, idempotency_key=new_secret(12)
    )
    assert (await preview(deps, member.id, sku_id, 2)).payable_fen == 30_000
    clock.advance(timedelta(minutes=10) - timedelta(microseconds=1))
    one = await place(deps, member.id, sku_id, 2, quote_id=kept.id, expected_fen=18_000)
    assert (one.goods_fen, one.discount_fen, one.payable_fen) == (20_000, 2_000, 18_000)
    assert (await held(one), await used(tenth)) == (["pending"], (2, 2_000))
    assert (await OrderQuote.get(id=kept.id)).state == "posted"
    with pytest.raises(QuoteNotFound):
        await place(deps, member.id, sku_id, 2, quote_id=kept.id)
    await order.cancel(deps, member_id=member.id, order_id=one.id)
    assert await used(tenth) == (0, 0)


async def _costs(deps: Deps, sku_id: UUID, price_fen: int) -> None:
    boss = await make_operator(deps)
    changes: sku.SkuChanges = {"price_fen": price_fen}
    await sku.update(deps, operator_id=boss.id, sku_id=sku_id, changes=changes, idempotency_key=new_secret(12))


@pytest.mark.parametrize("row", worked("pricing.md", "Example: an order from a kept price"), ids=lambda row: f"{row}")
async def test_an_order_from_a_kept_price_never_costs_more_than_now(deps: Deps, row: dict[str, str]) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=number(row["kept"]))
    kept = await keep(deps, member.id, sku_id)
    if row["by now"] != row["kept"]:
        await _costs(deps, sku_id, number(row["by now"]))
    expected_fen = number(row["expected"]) or None
    if row["costs"] == "`AMOUNT_CHANGED`":
        with pytest.raises(AmountChanged):
            await place(deps, member.id, sku_id, quote_id=kept.id, expected_fen=expected_fen)
        assert (await OrderQuote.get(id=kept.id)).state == "pending"
        return
    one = await place(deps, member.id, sku_id, quote_id=kept.id, expected_fen=expected_fen)
    assert one.payable_fen == number(row["costs"])
    assert (await OrderQuote.get(id=kept.id)).state == "posted"


async def test_a_cheaper_order_has_the_promotions_of_now(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=1)
    kept = await keep(deps, member.id, sku_id)
    better = await run_promotion(deps, sku_id, discount_bp=3_000, total_limit=5)
    one = await place(deps, member.id, sku_id, quote_id=kept.id, expected_fen=9_000)
    assert (one.payable_fen, await used(tenth), await used(better)) == (7_000, (0, 0), (1, 3_000))
    assert await held(one) == ["pending"]


async def test_what_the_kept_price_holds_is_there_for_a_cheaper_order(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=1, member_limit=1)
    kept = await keep(deps, member.id, sku_id)
    await _costs(deps, sku_id, 8_000)
    assert (await preview(deps, member.id, sku_id)).payable_fen == 8_000
    one = await place(deps, member.id, sku_id, quote_id=kept.id)
    assert (one.payable_fen, await used(tenth), await held(one)) == (7_200, (1, 800), ["pending"])


async def test_a_kept_price_keeps_what_it_holds_when_somebody_else_has_the_last_of_a_better_one(deps: Deps) -> None:
    member, other, sku_id = await make_member(deps), await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id)
    kept = await keep(deps, member.id, sku_id)
    better = await run_promotion(deps, sku_id, discount_bp=3_000, total_limit=1)
    cheaper = await preview(deps, member.id, sku_id)
    await place(deps, other.id, sku_id)
    async with transaction(member.id):
        assert not await order_quote.renew(kept, cheaper, deps.clock.now())
    one = await place(deps, member.id, sku_id, quote_id=kept.id)
    assert (one.payable_fen, await used(tenth), await used(better)) == (9_000, (1, 1_000), (1, 3_000))


async def test_a_kept_price_ends_by_the_clock_alone(deps: Deps, clock: SetClock) -> None:
    member, other = await make_member(deps), await make_member(deps)
    sku_id = await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=1)
    kept = await keep(deps, member.id, sku_id)
    assert (await preview(deps, other.id, sku_id)).payable_fen == 10_000
    clock.advance(timedelta(minutes=10))
    with pytest.raises(QuoteNotFound):
        await place(deps, member.id, sku_id, quote_id=kept.id)
    one = await place(deps, other.id, sku_id)
    assert (one.payable_fen, await used(tenth)) == (9_000, (1, 1_000))
    states = await rows("SELECT state FROM promotion_hold WHERE quote_id = $1", [kept.id])
    assert [row["state"] for row in states] == ["expired"]


async def test_a_kept_price_is_not_chosen_anew_among_coupons(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, price_fen=10_000)
    step: dict[str, Any] = {"steps": [{"threshold_fen": 10_000, "off_fen": 1_000}], "combines": ["tier", "points"]}
    await run_promotion(deps, sku_id, kind="amount_off", **step)
    await run_promotion(deps, sku_id, discount_bp=500, combines=["tier", "coupons", "points"])
    await claimed(deps, member.id, amount_fen=1_500, threshold_fen=9_800)
    best = CouponWish(best=True)
    kept = await keep(deps, member.id, sku_id, coupons=best)
    assert kept.payable_fen == 8_500
    one = await place(deps, member.id, sku_id, coupons=best, quote_id=kept.id, expected_fen=8_500)
    assert one.payable_fen == 8_500


async def test_quotas_are_told_when_a_kept_price_is_over(deps: Deps, clock: SetClock) -> None:
    ending, longer = await make_member(deps), await make_member(deps)
    sku_id = await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=2)
    over = await keep(deps, ending.id, sku_id)
    clock.advance(timedelta(minutes=5))
    stays = await keep(deps, longer.id, sku_id)
    clock.advance(timedelta(minutes=5))
    assert await used(tenth) == (2, 2_000)
    expire = next(one for one in SWEEPS if one.name == "expire_quotes")
    assert await expire.round(deps) >= 1
    assert await used(tenth) == (1, 1_000)
    assert [(await OrderQuote.get(id=one.id)).state for one in (over, stays)] == ["expired", "pending"]
    assert await expire.round(deps) == 0


async def test_a_kept_price_is_for_what_it_was_asked_for_and_for_its_member(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps, stock_left=3)
    kept = await keep(deps, member.id, sku_id, 2)
    with pytest.raises(QuoteDiffers):
        await place(deps, member.id, sku_id, 1, quote_id=kept.id)
    with pytest.raises(QuoteNotFound):
        await place(deps, (await make_member(deps)).id, sku_id, 2, quote_id=kept.id)
    with pytest.raises(QuoteNotFound):
        await place(deps, member.id, sku_id, 2, quote_id=new_id(deps.clock.now()))
    await place(deps, (await make_member(deps)).id, sku_id, 2)
    with pytest.raises(OutOfStock):
        await place(deps, member.id, sku_id, 2, quote_id=kept.id)
    assert (await OrderQuote.get(id=kept.id)).state == "pending"


async def test_a_new_kept_price_gives_the_earlier_one_up(deps: Deps) -> None:
    member, sku_id = await make_member(deps), await put_on_shelf(deps)
    tenth = await run_promotion(deps, sku_id, total_limit=3)
    key = new_secret(12)
    first = await keep(deps, member.id, sku_id, 3, idempotency_key=key)
    assert (await keep(deps, member.id, sku_id, 3, idempotency_key=key)).id == first.id
    second = await keep(deps, member.id, sku_id, 2)
    assert (second.payable_fen, await used(tenth)) == (18_000, (2, 2_000))
    assert (await OrderQuote.get(id=first.id)).state == "released"
    with pytest.raises(KeyReused):
        await keep(deps, member.id, sku_id, 1, idempotency_key=key)


# Late money


async def closed_though_paid(deps: Deps, wechat: SandboxControl, one: Order) -> str:
    """Pay at WeChat, which tells nobody, and close here as if WeChat had agreed; the number to ask about later."""
    params = await payment.pay(deps, member_id=one.member_id, order_id=one.id)
    await wechat.script_notices(drop=True)
    await wechat.request_payment(params)
    (attempt,) = await rows("SELECT id, out_trade_no FROM payment_attempt WHERE order_id = $1", [one.id])
    assert await order._start_closing(deps, one.id, one.member_id, CloseReason.CANCELLED)
    await order._finish_closing(deps, one.id, one.member_id, [attempt["id"]])
    return str(attempt["out_trade_no"])


async def test_late_money_has_its_order_back_if_the_promotion_is_there(
    open_store: Deps, wechat: SandboxControl
) -> None:
    member_id = (await make_member(open_store, openid=await wechat.openid())).id
    sku_id = await put_on_shelf(open_store)
    tenth = await run_promotion(open_store, sku_id, total_limit=1, member_limit=1)
    one = await place(open_store, member_id, sku_id)
    await payment.query(open_store, out_trade_no=await closed_though_paid(open_store, wechat, one))
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert (await held(one), await used(tenth)) == (["released", "posted"], (1, 1_000))


@pytest.mark.parametrize("limits", [{"total_limit": 1}, {"member_limit": 1}])
async def test_late_money_goes_back_when_the_promotion_is_gone(
    open_store: Deps, wechat: SandboxControl, limits: dict[str, Any]
) -> None:
    member_id = (await make_member(open_store, openid=await wechat.openid())).id
    sku_id = await put_on_shelf(open_store)
    tenth = await run_promotion(open_store, sku_id, **limits)
    one = await place(open_store, member_id, sku_id)
    out_trade_no = await closed_though_paid(open_store, wechat, one)
    other = await place(open_store, member_id, sku_id)
    assert other.payable_fen == 9_000
    await payment.query(open_store, out_trade_no=out_trade_no)
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert (await held(one), await used(tenth)) == (["released"], (1, 1_000))
    refunds = await rows("SELECT amount_fen, cause FROM refund WHERE order_id = $1", [one.id])
    assert refunds == [{"amount_fen": 9_000, "cause": "late_payment"}]


# What operators do


async def test_a_promotion_is_made_changed_published_and_stopped(deps: Deps) -> None:
    boss, sku_id = await make_operator(deps), await put_on_shelf(deps)
    key = new_secret(12)
    made = await promotion.create(
        deps, operator_id=boss.id, promotion=new_promotion((sku_id,), code="autumn_tea"), idempotency_key=key
    )
    again = await promotion.create(
        deps, operator_id=boss.id, promotion=new_promotion((sku_id,), code="autumn_tea"), idempotency_key=key
    )
    assert (again.id, made.state, made.version) == (made.id, "draft", 1)
    with pytest.raises(PromotionCodeTaken):
        await promotion.create(
            deps,
            operator_id=boss.id,
            promotion=new_promotion((sku_id,), code="autumn_tea"),
            idempotency_key=new_secret(12),
        )
    changed = await promotion.change(
        deps,
        operator_id=boss.id,
        promotion_id=made.id,
        changes={"terms": {"discount_bp": 2_000}, "quota": {"total_limit": 7}, "priority": 3},
        idempotency_key=new_secret(12),
    )
    assert (changed.version, changed.priority) == (2, 3)
    versions = await PromotionVersion.filter(promotion_id=made.id).order_by("version")
    assert [row.definition["discount_bp"] for row in versions] == [1_000, 2_000]
    for changes, field in (({"priority": -1}, "priority"), ({"terms": {"kind": "newcomer"}}, "discount_bp")):
        with pytest.raises(ProgrammeInvalid) as refused:
            await promotion.change(
                deps,
                operator_id=boss.id,
                promotion_id=made.id,
                changes=changes,  # type: ignore[arg-type]
                idempotency_key=new_secret(12),
            )
        assert refused.value.data["field"] == field
    for verb in (promotion.publish, promotion.publish, promotion.stop, promotion.stop):
        turned = await verb(deps, operator_id=boss.id, promotion_id=made.id, idempotency_key=new_secret(12))
    assert turned.state == "stopped"
    with pytest.raises(PromotionStateRefused):
        await promotion.publish(deps, operator_id=boss.id, promotion_id=made.id, idempotency_key=new_secret(12))
    with pytest.raises(PromotionNotFound):
        await promotion.stop(
            deps, operator_id=boss.id, promotion_id=new_id(deps.clock.now()), idempotency_key=new_secret(12)
        )
    deeds = await AuditRow.filter(subject_id=str(made.id)).order_by("id")
    assert [row.action for row in deeds] == [
        "promotion.create",
        "promotion.change",
        "promotion.publish",
        "promotion.stop",
    ]


async def test_an_order_keeps_the_version_it_was_priced_with(deps: Deps) -> None:
    boss, member, sku_id = await make_operator(deps), await make_member(deps), await put_on_shelf(deps)
    made = await run_promotion(deps, sku_id)
    one = await place(deps, member.id, sku_id)
    await promotion.change(
        deps,
        operator_id=boss.id,
        promotion_id=made.id,
        changes={"terms": {"discount_bp": 3_000}},
        idempotency_key=new_secret(12),
    )
    assert (await preview(deps, member.id, sku_id)).payable_fen == 7_000
    version = await PromotionVersion.get(id=(await OrderPromotion.get(order_id=one.id)).version_id)
    assert (version.version, (await Order.get(id=one.id)).payable_fen) == (1, 9_000)


async def test_a_quota_set_below_what_was_used_gives_nothing_more(deps: Deps) -> None:
    boss, member, sku_id = await make_operator(deps), await make_member(deps), await put_on_shelf(deps)
    made = await run_promotion(deps, sku_id)
    await place(deps, member.id, sku_id, 2)
    await promotion.change(
        deps,
        operator_id=boss.id,
        promotion_id=made.id,
        changes={"quota": {"total_limit": 1}},
        idempotency_key=new_secret(12),
    )
    assert (await preview(deps, member.id, sku_id)).payable_fen == 10_000
