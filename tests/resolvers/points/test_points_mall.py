"""The points mall verb by verb: exchanging, giving back, and what operators offer. The books hold after each test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.catalogue.catalogue import CatalogueInvalid, MediaUrlInvalid, SkuNotFound, StockKind
from loyalty.coupons.coupon import CouponNotOffered, CouponsGone, CouponState, CouponTemplateNotFound
from loyalty.idempotency import KeyReused
from loyalty.orders.order import OrderAmountTooLarge, OrderKind, OrderLine, OrderState, OrderStateRefused, OutOfStock
from loyalty.payments.payment import NoticeOutcome
from loyalty.points.points import PointsShort
from loyalty.points.points_mall import (
    MallItemNotFound,
    MallItemNotOffered,
    MallItemState,
    MallLimitReached,
    MallNotReturnable,
    MallPriceChanged,
    MallStockNotCounted,
)
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from loyalty.tiers.tier import GrowthEntryKind, TierLevel, TierTable
from loyalty.tiers.tier_overlay import TierTrialRefused
from models.asyncpg_backend import Conflict
from models.coupons.coupon import Coupon
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.orders.order import OrderLine as OrderLineRow
from models.payments.payment import ExceptionCase, PaymentAttempt
from models.people.operator import AuditRow
from models.points.points_mall import MallExchange, MallItem, MallItemVersion, MallStockEntry
from models.tiers.tier import TierOverlay
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.orders.order_price import CouponWish
from resolvers.payments import payment, refund
from resolvers.people.member import tier_terms
from resolvers.points import mall_exchange, points_mall
from resolvers.points.points_mall import ItemChanges
from resolvers.programme import ProgrammeKind, publish, tier_table
from resolvers.tiers.growth import grow
from tests.coupons import counted as coupons_counted
from tests.coupons import make_template
from tests.doors import make_member, make_operator
from tests.loyalty.worked_examples import number, worked
from tests.mall import give_points, make_item, new_item
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable
from wechat.pay_types import Transaction


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """These tests publish tiers."""
    return own_store_url


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


def a_key() -> str:
    return new_secret(12)


async def rich(deps: Deps, wechat: SandboxControl | None = None, points: int = 10_000) -> UUID:
    """A member with so many points, whom WeChat knows if it is given."""
    member = await make_member(deps, **({"openid": await wechat.openid()} if wechat else {}))
    await give_points(deps, member.id, points)
    return member.id


async def exchange(deps: Deps, member_id: UUID, item: MallItem, quantity: int = 1, **changed: Any) -> Order:
    """One tap, at the price that the item has."""
    terms = (await points_mall.terms_of(deps, [item.id]))[item.id]
    wanted = {
        "quantity": quantity,
        "expected_points": terms.points * quantity,
        "expected_fen": terms.cash_fen * quantity,
        "idempotency_key": a_key(),
        **changed,
    }
    return await points_mall.exchange(deps, member_id=member_id, item_id=item.id, **wanted)


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()


async def refund_as_shop(deps: Deps, one: Order) -> Order:
    boss = await make_operator(deps)
    return await refund.refund_order(
        deps, operator_id=boss.id, order_id=one.id, reason="不想要了", idempotency_key=a_key()
    )


async def account(member_id: UUID) -> dict[str, int]:
    return (await rows("SELECT balance, held FROM points_account WHERE member_id = $1", [member_id]))[0]


async def lots(member_id: UUID) -> list[dict[str, Any]]:
    return await rows("SELECT * FROM points_lot WHERE member_id = $1 ORDER BY id", [member_id])


async def counted(item: MallItem) -> tuple[int | None, int, int]:
    """What is left of the item, and how many pieces and points were exchanged."""
    now = await MallItem.get(id=item.id)
    return now.stock_left, now.exchanged_count, now.exchanged_points


async def sku_left(sku_id: UUID) -> int:
    return int((await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id]))[0]["stock_left"])


async def publish_tiers(deps: Deps) -> None:
    """The tiers of the page: basic, silver and gold."""
    table = TierTable(
        levels=(
            TierLevel(code="basic", name="普通", threshold=0),
            TierLevel(code="silver", name="银卡", threshold=100),
            TierLevel(code="gold", name="金卡", threshold=1_000),
        )
    )
    boss = await make_operator(deps)
    await publish(
        deps,
        operator_id=boss.id,
        kind=ProgrammeKind.TIER,
        definition=table.definition(),
        effective_at=None,
        note="",
        idempotency_key=a_key(),
    )


async def rise(deps: Deps, member_id: UUID, code: str) -> None:
    """The member reaches a tier by growth value."""
    now = deps.clock.now()
    table = await tier_table(now)
    async with transaction(member_id):
        await grow(
            member_id,
            amount=table.rules.level(code).threshold,
            kind=GrowthEntryKind.EARN,
            cause_kind="test",
            cause_id=new_id(now),
            key=a_key(),
            now=now,
            zone=deps.zone,
            table=table,
        )


# Exchanging


async def test_exchanges_are_as_the_page_says(deps: Deps, clock: SetClock) -> None:
    clock.at = datetime(2026, 11, 1, tzinfo=UTC)
    await publish_tiers(deps)
    for row in worked("points_mall.md", "Example: exchanging"):
        had, pieces, answer = number(row["had"]), number(row["pieces"]), "ok"
        clock.at = datetime(2026, 11, 1, 1, tzinfo=UTC)
        item = await make_item(
            deps,
            stock=3 + had,
            cash_fen=1_000,
            member_limit=2,
            tier_codes=["silver", "gold"],
            tier_limits=[{"tier_code": "gold", "limit": 5}],
            opens_at=datetime(2026, 11, 20, tzinfo=UTC),
            closes_at=datetime(2026, 11, 22, tzinfo=UTC),
        )
        member_id = (await make_member(deps)).id
        await rise(deps, member_id, row["tier"])
        await give_points(deps, member_id, number(row["points there"]) + had * 500)
        if had:
            clock.at = datetime(2026, 11, 20, tzinfo=UTC)
            await exchange(deps, member_id, item, had)
        clock.at = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC)
        before = (await account(member_id), await counted(item), await Order.filter(member_id=member_id).count())
        try:
            await exchange(deps, member_id, item, pieces)
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
            after = (await account(member_id), await counted(item), await Order.filter(member_id=member_id).count())
            assert after == before, row
        else:
            assert await counted(item) == (3 - pieces, had + pieces, (had + pieces) * 500), row
            assert (await account(member_id))["held"] == (had + pieces) * 500
        assert answer == row["answer"], row


async def test_an_exchange_for_points_alone_is_paid_at_once(deps: Deps) -> None:
    member_id = await rich(deps, points=1_200)
    item = await make_item(deps, title="马克杯")
    one = await exchange(deps, member_id, item, 2)
    assert (one.kind, one.state, one.points_used, one.points_fen, one.payable_fen) == (
        OrderKind.MALL,
        OrderState.PAID,
        1_000,
        0,
        0,
    )
    assert await account(member_id) == {"balance": 200, "held": 0}
    assert await counted(item) == (8, 2, 1_000)
    (line,) = await OrderLineRow.filter(order_id=one.id)
    assert (line.sku_id, line.product_title, line.sku_title, line.quantity) == (None, "马克杯", "", 2)
    held = await MallStockEntry.get(cause_id=one.id)
    assert (held.kind, held.amount, held.left_after) == ("hold", -2, 8)
    entries = await rows("SELECT kind, amount FROM points_entry WHERE member_id = $1 ORDER BY seq", [member_id])
    assert entries == [{"kind": "adjust", "amount": 1_200}, {"kind": "spend", "amount": -1_000}]


async def test_points_and_cash_wait_for_the_payment_whose_money_earns(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await rich(open_store, wechat, 500)
    item = await make_item(open_store, cash_fen=3_000)
    one = await exchange(open_store, member_id, item)
    assert (one.state, one.goods_fen, one.payable_fen) == (OrderState.UNPAID, 3_000, 3_000)
    assert await account(member_id) == {"balance": 500, "held": 500}
    await pay(open_store, wechat, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await account(member_id) == {"balance": 30, "held": 0}
    assert await rows("SELECT growth_value FROM membership WHERE member_id = $1", [member_id]) == [{"growth_value": 30}]
    assert (await wechat.ledger())["totals"]["paid_fen"] == 3_000


async def test_goods_of_a_sku_are_counted_by_its_stock_and_not_by_its_purchase_limit(deps: Deps) -> None:
    member_id = await rich(deps)
    sku_id = await put_on_shelf(deps, stock_left=3, purchase_limit=1)
    item = await make_item(deps, sku_id=sku_id)
    one = await exchange(deps, member_id, item, 2)
    (line,) = await OrderLineRow.filter(order_id=one.id)
    assert (line.sku_id, line.product_title, line.sku_title) == (sku_id, "茶杯", "250 克")
    assert (await sku_left(sku_id), await counted(item)) == (1, (None, 2, 1_000))
    with pytest.raises(OutOfStock):
        await exchange(deps, member_id, item, 2)
    bought = await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=sku_id, quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=a_key(),
    )
    assert (bought.kind, await sku_left(sku_id)) == (OrderKind.PURCHASE, 0)


async def test_gifts_to_a_charity_are_counted_and_final(deps: Deps) -> None:
    first, second = await rich(deps), await rich(deps)
    item = await make_item(deps, kind="charity", points=100, target_code="trees")
    await exchange(deps, first, item, 3)
    gift = await exchange(deps, second, item, 99)
    assert await counted(item) == (None, 102, 10_200)
    assert await MallStockEntry.filter(item_id=item.id).count() == 0
    with pytest.raises(OrderStateRefused):
        await order.cancel(deps, member_id=second, order_id=gift.id)
    with pytest.raises(MallNotReturnable):
        await refund_as_shop(deps, gift)
    assert (await Order.get(id=gift.id)).state == OrderState.PAID
    assert (await counted(item), await account(second)) == ((None, 102, 10_200), {"balance": 100, "held": 0})


async def test_the_same_key_is_the_same_exchange(deps: Deps) -> None:
    member_id, item, key = await rich(deps), await make_item(deps), a_key()
    first = await exchange(deps, member_id, item, idempotency_key=key)
    again = await exchange(deps, member_id, item, idempotency_key=key)
    assert again.id == first.id
    with pytest.raises(KeyReused):
        await exchange(deps, member_id, item, 2, idempotency_key=key)
    assert await counted(item) == (9, 1, 500)


@pytest.mark.parametrize(
    ("expected_points", "expected_fen", "agreed"),
    [(1_000, 600, True), (999, 600, False), (1_001, 600, False), (1_000, 599, False), (500, 300, False)],
)
async def test_an_exchange_costs_what_the_member_agreed_to(
    deps: Deps, expected_points: int, expected_fen: int, agreed: bool
) -> None:
    member_id, item = await rich(deps), await make_item(deps, cash_fen=300)
    expected = {"expected_points": expected_points, "expected_fen": expected_fen}
    if agreed:
        assert (await exchange(deps, member_id, item, 2, **expected)).payable_fen == 600
        return
    with pytest.raises(MallPriceChanged) as refused:
        await exchange(deps, member_id, item, 2, **expected)
    assert refused.value.data == {"points": 1_000, "cash": 600}
    assert (await counted(item), await account(member_id)) == ((10, 0, 0), {"balance": 10_000, "held": 0})


async def test_an_exchange_costs_at_most_what_an_order_may(deps: Deps) -> None:
    member_id = await rich(deps)
    item = await make_item(deps, cash_fen=500_000_000)
    assert (await exchange(deps, member_id, item, 2)).payable_fen == 1_000_000_000
    with pytest.raises(OrderAmountTooLarge):
        await exchange(deps, member_id, item, 3)


async def test_what_is_not_in_the_mall_is_not_offered(deps: Deps) -> None:
    member_id = await rich(deps)
    draft = await make_item(deps, published=False)
    hidden = await make_item(deps)
    boss = await make_operator(deps)
    await points_mall.hide(deps, operator_id=boss.id, item_id=hidden.id, idempotency_key=a_key())
    for item in (draft, hidden):
        with pytest.raises(MallItemNotOffered):
            await exchange(deps, member_id, item)
    with pytest.raises(MallItemNotOffered):
        await points_mall.exchange(
            deps,
            member_id=member_id,
            item_id=new_id(deps.clock.now()),
            quantity=1,
            expected_points=1,
            expected_fen=0,
            idempotency_key=a_key(),
        )


# Tier trials


async def trial(deps: Deps, **fields: Any) -> MallItem:
    """Seven days of gold, in a store of three tiers."""
    await publish_tiers(deps)
    return await make_item(deps, kind="tier_trial", target_code="gold", trial_days=7, **fields)


async def tier_now(deps: Deps, member_id: UUID) -> str:
    """The tier whose benefits apply."""
    now = deps.clock.now()
    return (await tier_terms(member_id, (await tier_table(now)).rules, now)).code


async def test_a_tier_trial_begins_with_the_exchange_and_is_used_then(deps: Deps, clock: SetClock) -> None:
    item = await trial(deps)
    member_id = await rich(deps)
    one = await exchange(deps, member_id, item)
    assert one.state == OrderState.PAID
    assert await tier_now(deps, member_id) == "gold"
    clock.advance(timedelta(days=7, seconds=-1))
    assert await tier_now(deps, member_id) == "gold"
    with pytest.raises(MallNotReturnable):
        await refund_as_shop(deps, one)
    clock.advance(timedelta(seconds=1))
    assert await tier_now(deps, member_id) == "basic"
    assert (await counted(item), await account(member_id)) == ((None, 1, 500), {"balance": 9_500, "held": 0})


async def test_a_second_trial_waits_for_the_first_and_can_be_given_back_until_then(deps: Deps, clock: SetClock) -> None:
    item = await trial(deps)
    member_id = await rich(deps)
    await exchange(deps, member_id, item)
    second, third = await exchange(deps, member_id, item), await exchange(deps, member_id, item)
    clock.advance(timedelta(days=7))
    with pytest.raises(MallNotReturnable):
        await refund_as_shop(deps, second)
    assert (await refund_as_shop(deps, third)).state == OrderState.REFUNDED
    assert (await counted(item), await account(member_id)) == ((None, 2, 1_000), {"balance": 9_000, "held": 0})
    clock.advance(timedelta(days=7))
    assert await tier_now(deps, member_id) == "basic"


@pytest.mark.parametrize(("tier", "refused"), [("basic", False), ("silver", False), ("gold", True)])
async def test_a_trial_is_of_a_higher_tier(deps: Deps, tier: str, refused: bool) -> None:
    item = await trial(deps)
    member_id = await rich(deps)
    if tier != "basic":
        await rise(deps, member_id, tier)
    if not refused:
        await exchange(deps, member_id, item)
        assert await tier_now(deps, member_id) == "gold"
        return
    with pytest.raises(TierTrialRefused):
        await exchange(deps, member_id, item)
    assert (await counted(item), await account(member_id)) == ((None, 0, 0), {"balance": 10_000, "held": 0})


async def test_a_trial_with_cash_begins_when_it_is_paid(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    item = await trial(open_store, cash_fen=900)
    member_id = await rich(open_store, wechat)
    one = await exchange(open_store, member_id, item)
    assert await tier_now(open_store, member_id) == "basic"
    clock.advance(timedelta(minutes=20))
    await wechat.advance(20 * 60)
    await pay(open_store, wechat, one)
    lent = await TierOverlay.get(member_id=member_id)
    assert (lent.starts_at, lent.ends_at, lent.cause_id) == (clock.now(), clock.now() + timedelta(days=7), one.id)


async def test_a_trial_outgrown_while_paying_opens_a_case_and_can_be_refunded(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    item = await trial(open_store, cash_fen=900)
    member_id = await rich(open_store, wechat)
    before = await lots(member_id)
    one = await exchange(open_store, member_id, item)
    await rise(open_store, member_id, "gold")
    await pay(open_store, wechat, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    case = await ExceptionCase.get(order_id=one.id)
    assert (case.kind, case.details["reason"]) == ("exchange_undelivered", "TIER_TRIAL_REFUSED")
    assert await TierOverlay.filter(member_id=member_id).count() == 0
    await refund_as_shop(open_store, one)
    await wechat.settle()
    clock.advance(timedelta(minutes=5))
    await wechat.advance(300)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    assert (await lots(member_id))[:1] == before


# Giving back


async def two_lots(deps: Deps, wechat: SandboxControl, clock: SetClock) -> UUID:
    """A member with 300 and 400 points, which end in different years."""
    member_id = await rich(deps, wechat, 300)
    clock.advance(timedelta(days=60))
    await wechat.advance(60 * 86_400)
    await give_points(deps, member_id, 400)
    first, second = await lots(member_id)
    assert first["expires_at"] < second["expires_at"]
    return member_id


async def test_cancelling_gives_lots_stock_and_limit_back(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    member_id = await two_lots(open_store, wechat, clock)
    before = await lots(member_id)
    sku_id = await put_on_shelf(open_store, stock_left=5)
    items = [
        await make_item(open_store, cash_fen=100, member_limit=1),
        await make_item(open_store, cash_fen=100, member_limit=1, sku_id=sku_id),
    ]
    for item in items:
        one = await exchange(open_store, member_id, item)
        assert [lot["held"] for lot in await lots(member_id)] == [300, 200]
        with pytest.raises(MallLimitReached):
            await exchange(open_store, member_id, item)
        await payment.pay(open_store, member_id=member_id, order_id=one.id)
        for _ in range(2):
            cancelled = await order.cancel(open_store, member_id=member_id, order_id=one.id)
            assert cancelled.state == OrderState.CLOSED
            assert await lots(member_id) == before
        again = await exchange(open_store, member_id, item)
        await order.cancel(open_store, member_id=member_id, order_id=again.id)
    assert [await counted(item) for item in items] == [(10, 0, 0), (None, 0, 0)]
    assert await sku_left(sku_id) == 5


async def test_an_exchange_that_nobody_pays_is_closed_at_its_deadline(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    member_id, item = await rich(open_store, wechat), await make_item(open_store, cash_fen=100)
    one = await exchange(open_store, member_id, item)
    clock.advance(timedelta(minutes=30))
    await wechat.advance(30 * 60)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert (await counted(item), await account(member_id)) == ((10, 0, 0), {"balance": 10_000, "held": 0})


async def test_refunding_gives_money_lots_stock_and_limit_back(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    member_id = await two_lots(open_store, wechat, clock)
    before = await lots(member_id)
    sku_id = await put_on_shelf(open_store, stock_left=5)
    item = await make_item(open_store, cash_fen=3_000, member_limit=1, sku_id=sku_id)
    one = await exchange(open_store, member_id, item)
    await pay(open_store, wechat, one)
    assert [lot["remaining"] for lot in await lots(member_id)][:2] == [0, 200]
    await refund_as_shop(open_store, one)
    await wechat.settle()
    clock.advance(timedelta(minutes=5))
    await wechat.advance(300)
    await run_due(open_store)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED
    first, second, earned = await lots(member_id)
    assert [first, second] == before
    assert (earned["amount"], earned["remaining"]) == (30, 0)
    assert (await sku_left(sku_id), await counted(item)) == (5, (None, 0, 0))
    totals = (await wechat.ledger())["totals"]
    assert totals["paid_fen"] == totals["refunded_fen"] == 3_000
    await exchange(open_store, member_id, item)


async def test_refunding_points_alone_needs_no_payment(deps: Deps) -> None:
    member_id, item = await rich(deps), await make_item(deps, member_limit=2)
    before = await lots(member_id)
    one = await exchange(deps, member_id, item, 2)
    assert (await refund_as_shop(deps, one)).state == OrderState.REFUNDED
    assert (await lots(member_id), await counted(item)) == (before, (10, 0, 0))
    with pytest.raises(OrderStateRefused):
        await refund_as_shop(deps, one)
    back = await MallStockEntry.filter(item_id=item.id, cause_id=one.id).order_by("id")
    assert [(entry.kind, entry.amount) for entry in back] == [("hold", -2), ("return", 2)]


# Money that comes late


async def closed_while_paying(deps: Deps, member_id: UUID, item: MallItem) -> tuple[Order, Transaction]:
    """A cancelled exchange, and the payment that was faster at WeChat."""
    one = await exchange(deps, member_id, item)
    await payment.pay(deps, member_id=member_id, order_id=one.id)
    await order.cancel(deps, member_id=member_id, order_id=one.id)
    attempt = await PaymentAttempt.get(order_id=one.id)
    return one, Transaction(
        appid=deps.pay.config.appid,
        mchid=deps.pay.config.mchid,
        out_trade_no=attempt.out_trade_no,
        transaction_id=f"42{attempt.id.int % 10**26:026d}",
        trade_type="JSAPI",
        trade_state="SUCCESS",
        trade_state_desc=None,
        attach=None,
        bank_type=None,
        success_time=deps.clock.now(),
        openid=attempt.openid,
        total_fen=attempt.total_fen,
        payer_total_fen=attempt.total_fen,
        currency="CNY",
        promotions=(),
    )


async def test_late_money_revives_an_exchange_if_all_can_be_had_again(open_store: Deps, wechat: SandboxControl) -> None:
    member_id = await rich(open_store, wechat, 500)
    item = await make_item(open_store, cash_fen=200, member_limit=1, stock=1)
    one, paid = await closed_while_paying(open_store, member_id, item)
    assert await payment.apply(open_store, paid) is NoticeOutcome.REVIVED
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    assert await account(member_id) == {"balance": 2, "held": 0}
    assert await counted(item) == (0, 1, 500)


async def test_late_money_for_a_trial_that_was_outgrown_goes_back(open_store: Deps, wechat: SandboxControl) -> None:
    item = await trial(open_store, cash_fen=900)
    member_id = await rich(open_store, wechat)
    one, paid = await closed_while_paying(open_store, member_id, item)
    await rise(open_store, member_id, "gold")
    assert await payment.apply(open_store, paid) is NoticeOutcome.LATE_REFUNDED
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert (await account(member_id), await counted(item)) == ({"balance": 10_000, "held": 0}, (None, 0, 0))


@pytest.mark.parametrize("gone", ["limit", "stock", "points"])
async def test_late_money_goes_back_when_limit_stock_or_points_are_gone(
    open_store: Deps, wechat: SandboxControl, gone: str
) -> None:
    points = 999 if gone == "points" else 10_000
    member_id, other_id = await rich(open_store, wechat, points), await rich(open_store)
    limit, stock = (1 if gone == "limit" else None), (1 if gone == "stock" else 10)
    item = await make_item(open_store, cash_fen=200, member_limit=limit, stock=stock)
    one, paid = await closed_while_paying(open_store, member_id, item)
    await exchange(open_store, other_id if gone == "stock" else member_id, item)
    before = (await account(member_id), await counted(item))
    assert await payment.apply(open_store, paid) is NoticeOutcome.LATE_REFUNDED
    assert (await Order.get(id=one.id)).state == OrderState.CLOSED
    assert (await account(member_id), await counted(item)) == before


# What operators offer


async def changed(deps: Deps, item: MallItem, **changes: Any) -> MallItem:
    boss = await make_operator(deps)
    wanted: ItemChanges = changes  # type: ignore[assignment]
    return await points_mall.change(deps, operator_id=boss.id, item_id=item.id, changes=wanted, idempotency_key=a_key())


async def test_new_terms_are_a_new_version_and_an_exchange_names_its_own(deps: Deps) -> None:
    member_id, item = await rich(deps), await make_item(deps, member_limit=3)
    first = await exchange(deps, member_id, item)
    dearer = await changed(deps, item, terms={"points": 700, "cash_fen": 50})
    assert (dearer.version, dearer.state) == (2, MallItemState.PUBLISHED)
    with pytest.raises(MallPriceChanged):
        await exchange(deps, member_id, item, expected_points=500, expected_fen=0)
    second = await exchange(deps, member_id, item)
    assert (second.points_used, second.payable_fen) == (700, 50)
    named = await mall_exchange.by_orders(deps, [first.id, second.id])
    assert [(named[one.id][1], named[one.id][0].points) for one in (first, second)] == [(1, 500), (2, 700)]
    versions = await MallItemVersion.filter(item_id=item.id).order_by("version")
    assert [(one.definition["points"], one.definition["member_limit"]) for one in versions] == [(500, 3), (700, 3)]
    await refund_as_shop(deps, first)
    assert await counted(item) == (9, 1, 700)


async def test_what_changes_no_terms_is_no_version(deps: Deps) -> None:
    item = await make_item(deps)
    after = await changed(deps, item, title=" 茶碗 ", terms={"points": 500, "member_limit": None})
    assert (after.title, after.version) == ("茶碗", 1)
    same = await changed(deps, item, title="茶碗")
    assert same.updated_at == after.updated_at
    deeds = await AuditRow.filter(subject_id=str(item.id), action="mall_item.change")
    assert [(deed.before, deed.after) for deed in deeds] == [({"title": "茶杯"}, {"title": "茶碗"})]


async def test_an_exchange_meets_the_terms_in_force_when_it_is_written(deps: Deps) -> None:
    member_id, item = await rich(deps), await make_item(deps)
    one = await exchange(deps, member_id, item)
    await changed(deps, item, terms={"points": 600})
    with pytest.raises(Conflict):
        async with transaction(member_id):
            await mall_exchange.shift(StockKind.HOLD, one.id, one.id, deps.clock.now())
    other = await exchange(deps, member_id, item)
    boss = await make_operator(deps)
    await points_mall.hide(deps, operator_id=boss.id, item_id=item.id, idempotency_key=a_key())
    with pytest.raises(Conflict):
        async with transaction(member_id):
            await mall_exchange.shift(StockKind.HOLD, other.id, other.id, deps.clock.now())
    assert await counted(item) == (8, 2, 1_100)


async def test_a_coupon_without_its_template_stays_a_draft(deps: Deps) -> None:
    item = await make_item(deps, published=False, kind="coupon", target_code="tea")
    boss = await make_operator(deps)
    with pytest.raises(CouponTemplateNotFound):
        await points_mall.publish(deps, operator_id=boss.id, item_id=item.id, idempotency_key=a_key())
    assert (await MallItem.get(id=item.id)).state == MallItemState.DRAFT
    assert await AuditRow.filter(operator_id=boss.id).count() == 0


async def test_a_coupon_in_the_mall_keeps_a_template_that_is_there(deps: Deps) -> None:
    await make_template(deps, code="tea")
    item = await make_item(deps, kind="coupon", target_code="tea")
    with pytest.raises(CouponTemplateNotFound):
        await changed(deps, item, terms={"target_code": "milk"})
    assert (await MallItem.get(id=item.id)).version == 1


async def test_points_buy_coupons_and_unused_ones_go_back(deps: Deps) -> None:
    member_id, template = await rich(deps), await make_template(deps, code="tea", claimable=False, member_limit=1)
    item = await make_item(deps, kind="coupon", target_code="tea")
    one = await exchange(deps, member_id, item, 2)
    assert one.state == OrderState.PAID
    coupons = await Coupon.filter(cause_id=one.id)
    assert [coupon.state for coupon in coupons] == [CouponState.ISSUED] * 2
    assert await coupons_counted(template) == (2, 2_000)
    await refund_as_shop(deps, one)
    assert {coupon.state for coupon in await Coupon.filter(cause_id=one.id)} == {CouponState.VOID}
    assert await account(member_id) == {"balance": 10_000, "held": 0}
    assert await coupons_counted(template) == (2, 0)


async def test_an_exchange_whose_coupon_is_on_an_order_stays(deps: Deps) -> None:
    member_id = await rich(deps)
    await make_template(deps, code="tea")
    one = await exchange(deps, member_id, await make_item(deps, kind="coupon", target_code="tea"))
    (coupon,) = await Coupon.filter(cause_id=one.id)
    await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=a_key(),
        coupons=CouponWish(ids=(coupon.id,)),
    )
    with pytest.raises(MallNotReturnable):
        await refund_as_shop(deps, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID


async def test_coupons_that_are_gone_are_not_exchanged(deps: Deps) -> None:
    member_id = await rich(deps)
    await make_template(deps, code="tea", total_limit=1)
    item = await make_item(deps, kind="coupon", target_code="tea")
    with pytest.raises(CouponsGone):
        await exchange(deps, member_id, item, 2)
    await make_template(deps, code="draft", published=False)
    with pytest.raises(CouponNotOffered):
        await exchange(deps, member_id, await make_item(deps, kind="coupon", target_code="draft"))
    assert await account(member_id) == {"balance": 10_000, "held": 0}
    assert not await Order.exists(member_id=member_id)


async def test_coupons_that_run_out_while_a_payment_is_on_its_way_open_a_case(
    open_store: Deps, wechat: SandboxControl
) -> None:
    member_id = await rich(open_store, wechat)
    await make_template(open_store, code="tea", total_limit=0)
    item = await make_item(open_store, kind="coupon", target_code="tea", cash_fen=1)
    one = await exchange(open_store, member_id, item)
    await pay(open_store, wechat, one)
    assert (await Order.get(id=one.id)).state == OrderState.PAID
    cases = await rows("SELECT kind, details->>'reason' AS reason FROM exception_case WHERE order_id = $1", [one.id])
    assert cases == [{"kind": "exchange_undelivered", "reason": "COUPONS_GONE"}]
    assert not await Coupon.exists(member_id=member_id)


async def test_publishing_and_hiding_twice_is_one_deed(deps: Deps, clock: SetClock) -> None:
    item = await make_item(deps, published=False)
    boss = await make_operator(deps)
    for verb, state in ((points_mall.publish, "published"), (points_mall.hide, "hidden")):
        for _ in range(2):
            key = a_key()
            for _ in range(2):
                found = await verb(deps, operator_id=boss.id, item_id=item.id, idempotency_key=key)
                assert found.state == state
    deeds = await AuditRow.filter(operator_id=boss.id).order_by("id")
    assert [(deed.action, deed.before, deed.after) for deed in deeds] == [
        ("mall_item.publish", {"state": "draft"}, {"state": "published"}),
        ("mall_item.hide", {"state": "published"}, {"state": "hidden"}),
    ]
    clock.advance(timedelta(hours=1))
    again = await points_mall.publish(deps, operator_id=boss.id, item_id=item.id, idempotency_key=a_key())
    assert again.published_at == clock.now()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"points": 0}, "points"),
        ({"kind": "charity", "target_code": "trees", "cash_fen": 1}, "cash_fen"),
        ({"tier_codes": ["member", "black"]}, "tier_codes[1]"),
        ({"tier_limits": [{"tier_code": "black", "limit": 1}]}, "tier_limits[0].tier_code"),
        ({"kind": "tier_trial", "target_code": "black", "trial_days": 7}, "target_code"),
        ({"stock": 10_000_001}, "stock"),
        (
            {"opens_at": datetime(2026, 12, 1, tzinfo=UTC), "closes_at": datetime(2026, 12, 1, tzinfo=UTC)},
            "closes_at",
        ),
    ],
)
async def test_impossible_items_are_refused_with_the_field(deps: Deps, fields: dict[str, Any], field: str) -> None:
    boss = await make_operator(deps)
    with pytest.raises(ProgrammeInvalid) as refused:
        await points_mall.create(deps, operator_id=boss.id, item=new_item(**fields), idempotency_key=a_key())
    assert refused.value.data["field"] == field
    assert await MallItem.all().count() == await AuditRow.filter(operator_id=boss.id).count() == 0


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"terms": {"points": 100_000_001}}, ProgrammeInvalid),
        ({"terms": {"kind": "charity", "target_code": "trees"}}, ProgrammeInvalid),
        ({"terms": {"tier_codes": ["black"]}}, ProgrammeInvalid),
        ({"closes_at": datetime(2026, 11, 1, tzinfo=UTC)}, ProgrammeInvalid),
        ({"title": ""}, CatalogueInvalid),
        ({"title": "长" * 61}, CatalogueInvalid),
        ({"image_url": "http://img.example.com/a.jpg"}, MediaUrlInvalid),
    ],
)
async def test_impossible_changes_change_nothing(deps: Deps, changes: dict[str, Any], refusal: type[Refusal]) -> None:
    item = await make_item(deps, opens_at=datetime(2026, 11, 1, tzinfo=UTC))
    before = await MallItem.filter(id=item.id).values()
    with pytest.raises(refusal):
        await changed(deps, item, **changes)
    assert await MallItem.filter(id=item.id).values() == before
    assert await MallItemVersion.filter(item_id=item.id).count() == 1


async def test_goods_need_a_sku_that_there_is(deps: Deps) -> None:
    with pytest.raises(SkuNotFound):
        await make_item(deps, sku_id=new_id(deps.clock.now()))
    assert await MallItem.all().count() == 0


async def adjusted(deps: Deps, item_id: UUID, amount: int, key: str | None = None, boss_id: UUID | None = None) -> int:
    found, entry = await points_mall.adjust_stock(
        deps,
        operator_id=boss_id or (await make_operator(deps)).id,
        item_id=item_id,
        amount=amount,
        reason=" 盘点 ",
        idempotency_key=key or a_key(),
    )
    assert (entry.amount, entry.note) == (amount, "盘点")
    assert found.stock_left is not None
    return found.stock_left


async def test_stock_is_supplied_within_its_bounds_and_once_for_a_key(deps: Deps) -> None:
    item = await make_item(deps)
    boss, key = await make_operator(deps), a_key()
    for _ in range(2):
        assert await adjusted(deps, item.id, -10, key, boss.id) == 0
    with pytest.raises(OutOfStock):
        await adjusted(deps, item.id, -1)
    assert await adjusted(deps, item.id, 10_000_000) == 10_000_000
    with pytest.raises(CatalogueInvalid):
        await adjusted(deps, item.id, 1)
    entries = await MallStockEntry.filter(item_id=item.id).order_by("id")
    assert [(entry.kind, entry.amount, entry.left_after) for entry in entries] == [
        ("supply", 10, 10),
        ("supply", -10, 0),
        ("supply", 10_000_000, 10_000_000),
    ]
    assert [deed.action for deed in await AuditRow.filter(operator_id=boss.id)] == ["mall_stock.adjust"]


async def test_only_an_items_own_stock_is_adjusted(deps: Deps) -> None:
    tied = await make_item(deps, sku_id=await put_on_shelf(deps))
    charity = await make_item(deps, kind="charity", target_code="trees")
    for item in (tied, charity):
        with pytest.raises(MallStockNotCounted):
            await adjusted(deps, item.id, 1)
    unknown = new_id(deps.clock.now())
    with pytest.raises(MallItemNotFound):
        await adjusted(deps, unknown, 1)
    boss = await make_operator(deps)
    for verb in (points_mall.publish, points_mall.hide):
        with pytest.raises(MallItemNotFound):
            await verb(deps, operator_id=boss.id, item_id=unknown, idempotency_key=a_key())


async def test_a_refused_exchange_holds_nothing(deps: Deps) -> None:
    member_id, item = await rich(deps, points=499), await make_item(deps)
    with pytest.raises(PointsShort):
        await exchange(deps, member_id, item)
    assert (await counted(item), await account(member_id)) == ((10, 0, 0), {"balance": 499, "held": 0})
    assert await Order.filter(member_id=member_id).count() == await MallExchange.all().count() == 0
