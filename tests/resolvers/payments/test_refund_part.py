"""Orders refunded in pieces: exact to the fen, exactly as previewed, and in the end as if they had never been."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty.orders.order import OrderLine, OrderState, OrderStateRefused
from loyalty.payments.exception_case import CaseActionRefused
from loyalty.payments.refund import (
    MOST_REFUNDS,
    RefundChanged,
    RefundEffect,
    RefundInProgress,
    RefundLinesInvalid,
    RefundNotStuck,
    RefundNotWhole,
    RefundsUsedUp,
)
from loyalty.people.address import Contact, Region
from loyalty.points.points import ClawBackBlocked
from models.catalogue.catalogue import Product, Sku
from models.coupons.coupon import Coupon
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from models.payments.after_sale import OrderRefund
from models.payments.payment import ExceptionCase, Refund
from resolvers.clock import SetClock
from resolvers.delivery import shipping
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.orders.order_price import CouponWish
from resolvers.payments import exception_case, payment, refund
from resolvers.people import address
from resolvers.people.address import AddressWish
from resolvers.points import points_mall
from resolvers.programme import ProgrammeKind
from tests.coupons import claimed
from tests.doors import make_member, make_operator
from tests.mall import give_points, make_item
from tests.promotions import run_promotion, stop_promotion, used
from tests.refunds import bought, give_back, lines_of, pay_by_hand, previewed, send, standing
from tests.rulebook import buys, published, tiers
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

TENTH: dict[str, Any] = {"kind": "discount", "discount_bp": 1_000}
STEPS: dict[str, Any] = {"kind": "amount_off", "steps": [{"threshold_fen": 2_000, "off_fen": 333}]}
HOME = AddressWish(
    contact=Contact(recipient="王小明", phone="13812345678", street="天河路 385 号"),
    region=Region(code="440106", province="广东省", city="广州市", district="天河区"),
)


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because the tests publish rules."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach; its books hold after every test."""
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


def sequences(quantities: list[int]) -> st.SearchStrategy[list[dict[int, int]]]:
    """Refunds of pieces of lines, by position, one after the other until nothing is left."""
    pieces = [position for position, quantity in enumerate(quantities) for _ in range(quantity)]

    def split(order: list[int], cuts: list[int]) -> list[dict[int, int]]:
        parts = (order[start:end] for start, end in pairwise(sorted({0, len(order), *cuts})))
        return [{position: part.count(position) for position in set(part)} for part in parts]

    return st.builds(split, st.permutations(pieces), st.lists(st.integers(0, len(pieces)), max_size=3))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.data())
async def test_any_sequence_of_refunds_leaves_everything_as_if_the_order_had_never_been(
    open_store: Deps, wechat: SandboxControl, drawn: st.DataObject
) -> None:
    deps = open_store
    await published(
        deps,
        ProgrammeKind.POINTS,
        {
            "earn_points": drawn.draw(st.integers(1, 7), label="points per yuan"),
            "redeem_cap_bp": 10_000,
            "clawback_mode": drawn.draw(st.sampled_from(["debt", "clamp", "block"]), label="mode"),
            "cap_per_day": drawn.draw(st.sampled_from([None, 150]), label="cap"),
            "expiry": "rolling_days",
            "expiry_after": drawn.draw(st.sampled_from([3, 400]), label="lives"),
        },
    )
    await tiers(deps)
    member = await make_member(deps, openid=await wechat.openid())
    await buys(deps, member.id, new_id_of(member.id), drawn.draw(st.sampled_from([0, 990, 1_200]), label="growth"))
    for amount in drawn.draw(st.lists(st.integers(1, 900), max_size=3), label="lots"):
        await give_points(deps, member.id, amount)
    coupons = [
        (await claimed(deps, member.id, amount_fen=drawn.draw(st.integers(1, 3_000)), threshold_fen=1)).id
        for _ in range(drawn.draw(st.integers(0, 1), label="coupons"))
    ]
    wanted = {
        await put_on_shelf(deps, price_fen=drawn.draw(st.integers(1, 9_999), label="price")): quantity
        for quantity in drawn.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3), label="quantities")
    }
    promotions = [
        await run_promotion(deps, *wanted, **terms)
        for terms in drawn.draw(st.sampled_from([[], [TENTH], [STEPS], [TENTH, STEPS]]), label="promotions")
    ]
    before = await standing(member.id, wanted)
    quote = await order.preview(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=sku_id, quantity=quantity) for sku_id, quantity in wanted.items()],
        points_wanted=0,
        coupons=CouponWish(ids=tuple(coupons)),
    )
    points = drawn.draw(st.integers(0, quote.points_most // 100), label="steps") * 100
    one = await bought(deps, wechat, member.id, wanted, points=points, coupons=tuple(coupons))
    assert one.state == OrderState.PAID
    lines = await lines_of(one.id)
    money = 0
    sequence = drawn.draw(sequences([line.quantity for line in lines]), label="sequence")
    for at, part in enumerate(sequence, start=1):
        pieces = {lines[position].id: quantity for position, quantity in part.items()}
        seen = await previewed(deps, one.id, pieces)
        done = await give_back(deps, wechat, one.id, pieces, expected=seen.digest())
        assert RefundEffect.parse(done.effect) == seen
        money += done.amount_fen
        state = (await Order.get(id=one.id)).state
        assert state == (OrderState.REFUNDED if at == len(sequence) else OrderState.PAID)
    assert money == one.payable_fen == (await Order.get(id=one.id)).refunded_fen
    returned = await rows(
        "SELECT coalesce(sum(amount_fen), 0)::bigint AS fen FROM refund WHERE order_id = $1", [one.id]
    )
    assert returned[0]["fen"] == one.payable_fen
    assert await standing(member.id, wanted) == before
    for promotion in promotions:
        assert await used(promotion) == (0, 0)
        await stop_promotion(deps, promotion)


def new_id_of(member_id: UUID) -> UUID:
    """An order id that no other member's test has."""
    return UUID(int=member_id.int ^ 1)


async def test_a_refund_does_exactly_what_its_preview_says(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    await published(deps, ProgrammeKind.POINTS, {"expiry": "rolling_days", "expiry_after": 20, "redeem_cap_bp": 10_000})
    await tiers(deps)
    member = await make_member(deps, openid=await wechat.openid())
    await give_points(deps, member.id, 300)
    clock.advance(timedelta(days=5))
    await wechat.advance(5 * 86_400)
    await give_points(deps, member.id, 500)
    coupon = await claimed(deps, member.id, amount_fen=3_000, valid_days=10, return_grace_days=3)
    sku_id, other_id = await put_on_shelf(deps, price_fen=80_000), await put_on_shelf(deps, price_fen=40_000)
    one = await bought(deps, wechat, member.id, {sku_id: 1, other_id: 2}, points=500, coupons=(coupon.id,))
    assert (one.coupon_fen, one.points_fen, one.payable_fen) == (3_000, 500, 156_500)
    held = await standing(member.id, {})
    assert held["membership"] == {"growth_value": 1_565, "tier_code": "silver"}
    # Most of what the order earned is spent, the coupon ends, and the older lot is about to.
    await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=100_000): 1}, points=1_800)
    clock.advance(timedelta(days=12))
    await wechat.advance(12 * 86_400)
    first, second = await lines_of(one.id)

    part = await previewed(deps, one.id, {second.id: 1})
    before = await standing(member.id, {sku_id: 1, other_id: 1})
    done = await give_back(deps, wechat, one.id, {second.id: 1}, expected=part.digest())
    after = await standing(member.id, {sku_id: 1, other_id: 1})
    share = second.payable_fen // 2
    assert (part.cash_fen, done.amount_fen) == (share, share)
    assert part.coupons_back == ()
    assert sum(lot.amount for lot in part.points_back) == done.points_used
    assert after["account"]["debt"] - before["account"]["debt"] == part.points_owed
    assert before["account"]["balance"] - after["account"]["balance"] == part.points_taken - done.points_used
    assert before["membership"]["growth_value"] - after["membership"]["growth_value"] == part.growth_taken
    assert (part.tier_before, part.tier_after) == (before["membership"]["tier_code"], after["membership"]["tier_code"])
    assert [(back.sku_id, back.quantity) for back in part.stock_back] == [(other_id, 1)]
    assert RefundEffect.parse(done.effect) == part

    rest = await previewed(deps, one.id, None)
    before = after
    done = await give_back(deps, wechat, one.id, {first.id: 1, second.id: 1}, expected=rest.digest())
    after = await standing(member.id, {sku_id: 1, other_id: 1})
    assert rest.cash_fen == one.payable_fen - share == done.amount_fen
    back = await Coupon.get(id=coupon.id)
    assert [(one.coupon_id, one.expires_at, one.extended) for one in rest.coupons_back] == [
        (coupon.id, back.expires_at, True)
    ]
    assert (back.state, back.order_id) == ("issued", None)
    assert after["account"]["debt"] - before["account"]["debt"] == rest.points_owed > 0
    assert rest.points_forgiven == 0
    assert before["account"]["balance"] - after["account"]["balance"] == rest.points_taken - done.points_used
    lots = await rows(
        "SELECT coalesce(origin_id, id) AS lot, expires_at, origin_id IS NOT NULL AS renewed FROM points_lot "
        "WHERE member_id = $1",
        [member.id],
    )
    for lot in (*part.points_back, *rest.points_back):
        assert {"lot": lot.lot_id, "expires_at": lot.expires_at, "renewed": lot.renewed} in lots
    assert any(lot.renewed for lot in (*part.points_back, *rest.points_back))
    assert before["membership"]["growth_value"] - after["membership"]["growth_value"] == rest.growth_taken
    assert (rest.tier_before, rest.tier_after) == (before["membership"]["tier_code"], after["membership"]["tier_code"])
    assert part.growth_taken + rest.growth_taken == 1_565
    assert RefundEffect.parse(done.effect) == rest


async def test_a_refund_whose_facts_have_changed_is_refused_with_the_new_preview(
    open_store: Deps, wechat: SandboxControl
) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    (line,) = await lines_of(one.id)
    seen = await previewed(deps, one.id, {line.id: 1})
    await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=1_000): 1}, points=500)
    with pytest.raises(RefundChanged) as refused:
        await give_back(deps, wechat, one.id, {line.id: 1}, expected=seen.digest())
    assert isinstance(refused.value.data["effect"], str)
    assert not await OrderRefund.exists(order_id=one.id)
    now = await previewed(deps, one.id, {line.id: 1})
    assert now.points_taken < 300
    assert (seen.points_owed, now.points_owed) == (0, 300 - now.points_taken)
    await give_back(deps, wechat, one.id, {line.id: 1}, expected=now.digest())
    assert (await Order.get(id=one.id)).refunded_fen == 30_000


async def test_a_preview_leaves_no_trace(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    sku_id = await put_on_shelf(deps, price_fen=30_000)
    one = await bought(deps, wechat, member.id, {sku_id: 2})
    before = await standing(member.id, {sku_id: 1})
    events = await rows("SELECT count(*) AS many FROM order_event WHERE order_id = $1", [one.id])
    assert (await previewed(deps, one.id, None)).cash_fen == 60_000
    assert await standing(member.id, {sku_id: 1}) == before
    assert await rows("SELECT count(*) AS many FROM order_event WHERE order_id = $1", [one.id]) == events
    assert not await OrderRefund.exists(order_id=one.id)
    assert (await Order.get(id=one.id)).state == OrderState.PAID


async def test_one_refund_of_an_order_is_on_its_way_at_a_time(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 3})
    (line,) = await lines_of(one.id)
    await wechat.script_refunds(status="PROCESSING", at_once=True)
    await give_back(deps, wechat, one.id, {line.id: 1})
    assert (await Order.get(id=one.id)).refunding_fen == 30_000
    for pieces in ({line.id: 1}, {line.id: 2}):
        with pytest.raises(RefundInProgress):
            await give_back(deps, wechat, one.id, pieces)
        with pytest.raises(RefundInProgress):
            await previewed(deps, one.id, pieces)


async def test_a_part_that_wechat_closed_is_asked_for_anew_under_another_number(
    open_store: Deps, wechat: SandboxControl
) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    (line,) = await lines_of(one.id)
    boss = await make_operator(deps)
    await wechat.script_refunds(status="CLOSED", at_once=True)
    part = await give_back(deps, wechat, one.id, {line.id: 1})
    for _ in range(2):
        await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=part.id, idempotency_key="once-is-enough")
        await wechat.settle()
    found = await Order.get(id=one.id)
    assert (found.state, found.refunded_fen, found.refunding_fen) == (OrderState.PAID, 30_000, 0)
    states = [row.state for row in await Refund.filter(order_refund_id=part.id).order_by("id")]
    assert states == ["closed", "succeeded"]
    with pytest.raises(RefundNotStuck):
        await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=part.id, idempotency_key=new_secret(12))
    with pytest.raises(RefundNotStuck):
        await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=one.id, idempotency_key=new_secret(12))


async def test_pieces_that_are_not_there_are_not_refunded(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    other = await bought(deps, wechat, member.id, {await put_on_shelf(deps): 1})
    (line,), (foreign,) = await lines_of(one.id), await lines_of(other.id)
    await give_back(deps, wechat, one.id, {line.id: 1})
    for pieces in ({}, {line.id: 2}, {line.id: 0}, {foreign.id: 1}):
        with pytest.raises(RefundLinesInvalid):
            await give_back(deps, wechat, one.id, pieces)
    await give_back(deps, wechat, one.id, {line.id: 1})
    with pytest.raises(OrderStateRefused):
        await give_back(deps, wechat, one.id, {line.id: 1})
    assert (await Order.get(id=one.id)).refunded_fen == 60_000


async def test_a_part_that_cost_points_alone_is_refunded_at_once(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    await published(deps, ProgrammeKind.POINTS, {"redeem_cap_bp": 10_000})
    member = await make_member(deps)
    await give_points(deps, member.id, 1_000)
    sku_id = await put_on_shelf(deps, price_fen=100)
    before = await standing(member.id, {sku_id: 1})
    one = await bought(deps, wechat, member.id, {sku_id: 3}, points=300)
    (line,) = await lines_of(one.id)
    part = await give_back(deps, wechat, one.id, {line.id: 2})
    assert (part.state, part.amount_fen, part.points_used) == ("done", 0, 200)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    await give_back(deps, wechat, one.id, {line.id: 1})
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    assert await standing(member.id, {sku_id: 1}) == before
    assert not await Refund.exists(order_id=one.id)


async def test_an_exchange_is_refunded_whole(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps)
    await give_points(deps, member.id, 1_000)
    item = await make_item(deps)
    exchanged = await points_mall.exchange(
        deps,
        member_id=member.id,
        item_id=item.id,
        quantity=2,
        expected_points=1_000,
        expected_fen=0,
        idempotency_key=new_secret(12),
    )
    (line,) = await lines_of(exchanged.id)
    with pytest.raises(RefundNotWhole):
        await give_back(deps, wechat, exchanged.id, {line.id: 1})
    part = await give_back(deps, wechat, exchanged.id, {line.id: 2})
    assert (part.state, part.amount_fen, part.points_used) == ("done", 0, 1_000)
    assert (await Order.get(id=exchanged.id)).state == OrderState.REFUNDED


async def test_wechat_takes_fifty_refunds_of_a_payment_and_no_more(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=100): 52})
    (line,) = await lines_of(one.id)
    await wechat.script_refunds(status="SUCCESS", at_once=True)
    for _ in range(MOST_REFUNDS):
        await give_back(deps, wechat, one.id, {line.id: 1})
    part = await give_back(deps, wechat, one.id, {line.id: 1})
    kept = await Refund.get(order_refund_id=part.id)
    assert (part.state, kept.state, kept.tries, kept.due_at) == ("requested", "closed", 0, None)
    assert (await Order.get(id=one.id)).refunding_fen == 100
    boss = await make_operator(deps)
    with pytest.raises(RefundsUsedUp):
        await refund.ask_anew(deps, operator_id=boss.id, order_refund_id=part.id, idempotency_key=new_secret(12))
    case = await ExceptionCase.get(order_id=one.id)
    told = {"refund_id": str(kept.id), "amount_fen": 100, "because": "used_up"}
    assert (case.kind, case.details) == ("refunds_used_up", told)
    with pytest.raises(CaseActionRefused):
        await exception_case.resolve(
            deps, operator_id=boss.id, case_id=case.id, resolution="知道了", idempotency_key=new_secret(12)
        )
    await pay_by_hand(deps, case.id)
    assert (await OrderRefund.get(id=part.id)).state == "done"
    found = await Order.get(id=one.id)
    assert (found.state, found.refunded_fen, found.refunding_fen) == (OrderState.PAID, 5_100, 0)
    since = await rows("SELECT kind FROM order_event WHERE order_id = $1 ORDER BY id DESC LIMIT 4", [one.id])
    assert [row["kind"] for row in since] == ["part_refunded", "refund_by_hand", "refund_failed", "refund_requested"]


async def test_in_block_mode_only_the_part_whose_points_are_there_is_refunded(
    open_store: Deps, wechat: SandboxControl
) -> None:
    deps = open_store
    await published(deps, ProgrammeKind.POINTS, {"clawback_mode": "block"})
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=30_000): 2})
    (line,) = await lines_of(one.id)
    await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=1_000): 1}, points=200)
    for pieces in ({line.id: 2}, None):
        with pytest.raises(ClawBackBlocked):
            await previewed(deps, one.id, pieces)
    with pytest.raises(ClawBackBlocked):
        await give_back(deps, wechat, one.id, {line.id: 2})
    part = await give_back(deps, wechat, one.id, {line.id: 1})
    assert (part.earned_reversed, part.state) == (300, "done")


@pytest.mark.parametrize(
    ("sent", "shops_fault", "comes_back"), [(False, False, True), (True, False, False), (True, True, True)]
)
async def test_the_shipping_fee_comes_back_with_the_last_piece_if_it_may(
    open_store: Deps, wechat: SandboxControl, sent: bool, shops_fault: bool, comes_back: bool
) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    home = await address.create(deps, member_id=member.id, wish=HOME, make_default=True, idempotency_key=new_secret(12))
    boss = await make_operator(deps)
    carried = await shipping.create(
        deps,
        operator_id=boss.id,
        code=f"t{new_secret(6)}".lower().replace("-", "_"),
        title="快递",
        terms={"regions": [], "otherwise": {"first_fen": 800, "further_fen": 0}},
        is_default=False,
        idempotency_key=new_secret(12),
    )
    sku = await Sku.get(id=await put_on_shelf(deps, price_fen=30_000))
    await Product.filter(id=sku.product_id).update(shipping_template_id=carried.id)
    placed = await order.place(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=sku.id, quantity=2)],
        points_wanted=0,
        expected_fen=60_800,
        remark="",
        idempotency_key=new_secret(12),
        delivery=DeliveryWish(address_id=home.id),
    )
    await wechat.request_payment(await payment.pay(deps, member_id=member.id, order_id=placed.id))
    await wechat.settle()
    (line,) = await lines_of(placed.id)
    if sent:
        await send(deps, placed.id)
    first = await give_back(deps, wechat, placed.id, {line.id: 1}, shops_fault=shops_fault)
    assert (first.amount_fen, first.shipping_back) == (30_000, False)
    seen = await previewed(deps, placed.id, {line.id: 1}, shops_fault=shops_fault)
    last = await give_back(deps, wechat, placed.id, {line.id: 1}, shops_fault=shops_fault, expected=seen.digest())
    assert (last.shipping_fen, last.shipping_back) == (800 if comes_back else 0, comes_back)
    found = await Order.get(id=placed.id)
    assert (found.state, found.refunded_fen) == (OrderState.REFUNDED, 60_800 if comes_back else 60_000)


async def test_a_refund_of_all_that_is_left_follows_refunds_of_parts(open_store: Deps, wechat: SandboxControl) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    sku_id = await put_on_shelf(deps, price_fen=33_333)
    before = await standing(member.id, {sku_id: 1})
    one = await bought(deps, wechat, member.id, {sku_id: 3})
    (line,) = await lines_of(one.id)
    await give_back(deps, wechat, one.id, {line.id: 1})
    boss = await make_operator(deps)
    await refund.refund_order(deps, operator_id=boss.id, order_id=one.id, reason="退货", idempotency_key=new_secret(12))
    await wechat.settle()
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    assert await standing(member.id, {sku_id: 1}) == before
