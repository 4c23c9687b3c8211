"""Buying at a flash sale, through the gate and into the books."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from cache import flash_gate
from cache.engine import connect
from cache.flash_gate import Asked, GateAnswer
from loyalty.flash_sales.flash_sale import FlashLimitReached, FlashNotOffered, FlashNotOpen, FlashOver, FlashSoldOut
from loyalty.idempotency import KeyReused
from loyalty.orders.order import AmountChanged, CloseReason, OrderKind, OrderState, QuantityInvalid
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows, transaction
from models.flash_sales.flash_sale import FlashItem, FlashTicket
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.payments.payment import Refund
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales import flash_sale, flash_wait
from resolvers.flash_sales.flash_gate import Repair
from resolvers.orders import order
from resolvers.payments import payment, refund, settlement
from tests.doors import make_member, make_operator
from tests.flash import Sale, close_sale, make_sale, pieces
from tests.loyalty.worked_examples import number, worked
from tests.refunds import send
from tests.resolvers.invariants.test_verify import broken
from tests.rulebook import buys, tiers
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.tables import everything


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new: these tests publish tiers and look at all of it."""
    return own_store_url


async def buy(deps: Deps, sale: Sale, member_id: UUID, quantity: int = 1, *, key: str | None = None) -> Order:
    """One tap on "buy"."""
    return await flash_sale.purchase(
        deps, member_id=member_id, item_id=sale.item_id, quantity=quantity, idempotency_key=key or new_secret(12)
    )


async def gate_left(deps: Deps, sale: Sale) -> int | None:
    """What the gate lets through once everybody has been told everything."""
    await deps.group_commit.idle()
    return (await flash_gate.left_of(deps.redis, [sale.item_id])).get(sale.item_id)


async def test_a_purchase_is_an_order_at_the_flash_price_that_holds_its_pieces(deps: Deps) -> None:
    sale = await make_sale(deps)
    member = await make_member(deps)
    placed = await buy(deps, sale, member.id, 2)
    assert (placed.kind, placed.state, placed.payable_fen) == (OrderKind.FLASH, OrderState.UNPAID, 12_000)
    assert (placed.goods_fen, placed.discount_fen) == (20_000, 8_000)
    assert [step["step"] for step in placed.explain] == ["list", "activity"]
    assert await pieces(sale) == {"left": 8, "held": 2, "sold": 0, "returned": 0, "waiting": 0, "sku": 20}
    assert await gate_left(deps, sale) == 8
    ticket = await FlashTicket.get(order_id=placed.id)
    assert (ticket.quantity, ticket.state, ticket.member_id) == (2, "pending", member.id)
    kinds = [row["kind"] for row in await rows("SELECT kind FROM order_event WHERE order_id = $1", [placed.id])]
    assert kinds == ["placed"]


async def test_what_the_gate_knows_costs_no_statement(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1, opens_at=clock.now() + timedelta(days=8))
    early, late, winner = [await make_member(deps) for _ in range(3)]

    async def asked_for_nothing(member_id: UUID) -> str:
        counter = SqlCount()
        mark = sql_count.set(counter)
        try:
            await buy(deps, sale, member_id)
        except (FlashNotOpen, FlashOver, FlashSoldOut, FlashLimitReached) as refusal:
            assert counter.value == 0
            return refusal.code
        finally:
            sql_count.reset(mark)
        raise AssertionError("bought")

    assert await asked_for_nothing(early.id) == "FLASH_NOT_OPEN"
    clock.advance(timedelta(days=8))
    await buy(deps, sale, winner.id)
    assert await asked_for_nothing(late.id) == "FLASH_SOLD_OUT"
    assert await asked_for_nothing(winner.id) == "FLASH_LIMIT_REACHED"
    clock.advance(timedelta(hours=1))
    assert await asked_for_nothing(late.id) == "FLASH_OVER"


async def test_every_piece_is_where_the_page_says(deps: Deps, wechat: SandboxControl) -> None:
    sale = await make_sale(deps, sku_id=await put_on_shelf(deps, stock_left=30), stock=10)
    open_orders: dict[int, list[Order]] = {1: [], 2: []}
    paid: list[Order] = []
    boss = await make_operator(deps)
    for row in worked("flash_sale.md", "Example: where the pieces are"):
        verb, _, many = row["step"].partition(" ")
        quantity = number(many)
        if verb == "buy":
            member = await make_member(deps, openid=await wechat.openid())
            open_orders[quantity].append(await buy(deps, sale, member.id, quantity))
        elif verb == "pay":
            one = open_orders[quantity].pop(0)
            await pay(deps, wechat, one)
            paid.append(one)
        elif verb == "cancel":
            one = open_orders[quantity].pop(0)
            await order.cancel(deps, member_id=one.member_id, order_id=one.id)
        elif verb == "close":
            await close_sale(deps, sale)
        elif verb == "refund":
            oldest = next(one for one in paid if one.state == OrderState.PAID)
            await give_a_piece_back(deps, wechat, boss.id, oldest)
        found = await pieces(sale)
        wanted = {name: number(row[name]) for name in ("left", "held", "sold", "returned")}
        assert {name: found[name] for name in wanted} == wanted, row
        assert found["sku"] == number(row["SKU"]), row
    assert await broken() == set()


async def give_a_piece_back(
    deps: Deps, wechat: SandboxControl, boss_id: UUID, one: Order, *, goods_come_back: bool = True
) -> None:
    """The shop refunds one piece."""
    (line,) = await rows("SELECT id FROM order_line WHERE order_id = $1", [one.id])
    await refund.refund_lines(
        deps,
        operator_id=boss_id,
        order_id=one.id,
        pieces={line["id"]: 1},
        reason="退货",
        shops_fault=False,
        goods_come_back=goods_come_back,
        expected=None,
        idempotency_key=new_secret(12),
    )
    await wechat.settle()
    for asked in await Refund.filter(order_id=one.id):
        await refund.send(deps, refund_id=asked.id)
    await one.refresh_from_db()


async def test_a_piece_that_goes_back_can_be_bought_again_within_the_limit(deps: Deps, wechat: SandboxControl) -> None:
    sale = await make_sale(deps, stock=2)
    member = await make_member(deps, openid=await wechat.openid())
    other = await make_member(deps)
    one = await buy(deps, sale, member.id, 2, key="a-key-of-a-phone")
    await pay(deps, wechat, one)
    await give_a_piece_back(deps, wechat, sale.operator_id, one)
    assert await pieces(sale) == {"left": 1, "held": 0, "sold": 1, "returned": 0, "waiting": 0, "sku": 28}
    assert (await FlashTicket.get(order_id=one.id)).returned_count == 1
    with pytest.raises(FlashSoldOut):
        await buy(deps, sale, other.id)
    await tell_everybody(deps, sale)
    await tell_everybody(deps, sale)
    assert await gate_left(deps, sale) == 1
    assert (await buy(deps, sale, member.id, 2, key="a-key-of-a-phone")).id == one.id
    await tell_everybody(deps, sale)
    await buy(deps, sale, member.id)
    with pytest.raises(FlashLimitReached) as refused:
        await buy(deps, sale, member.id)
    assert refused.value.data == {"limit": 2, "bought": 2}
    await give_a_piece_back(deps, wechat, sale.operator_id, one)
    for anew in (False, True):
        if anew:
            await gate.load(deps, sale.item_id)
        await tell_everybody(deps, sale)
        assert await gate_left(deps, sale) == 1
        with pytest.raises(FlashLimitReached) as refused:
            await buy(deps, sale, member.id, 2)
        assert refused.value.data == {"limit": 2, "bought": 1}
    assert await broken() == set()


async def test_a_gate_that_is_loaded_counts_what_members_still_have(deps: Deps, wechat: SandboxControl) -> None:
    sale = await make_sale(deps, stock=3)
    member = await make_member(deps, openid=await wechat.openid())
    one = await buy(deps, sale, member.id, 2)
    await pay(deps, wechat, one)
    await give_a_piece_back(deps, wechat, sale.operator_id, one)
    await flash_gate.forget(deps.redis, sale.item_id)
    await buy(deps, sale, member.id)
    await tell_everybody(deps, sale)
    assert await gate_left(deps, sale) == 1
    assert (await pieces(sale))["left"] == 1


async def test_a_piece_that_the_member_keeps_stays_sold(deps: Deps, wechat: SandboxControl) -> None:
    sale = await make_sale(deps, stock=2)
    member = await make_member(deps, openid=await wechat.openid())
    one = await buy(deps, sale, member.id, 2)
    await pay(deps, wechat, one)
    await send(deps, one.id)
    await give_a_piece_back(deps, wechat, sale.operator_id, one, goods_come_back=False)
    assert (await pieces(sale))["sold"] == 2
    await give_a_piece_back(deps, wechat, sale.operator_id, one)
    assert await pieces(sale) == {"left": 1, "held": 0, "sold": 1, "returned": 0, "waiting": 0, "sku": 28}
    await tell_everybody(deps, sale)
    assert await gate_left(deps, sale) == 1
    assert await broken() == set()


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    """Pay it at WeChat, and hear of it by asking."""
    params = await payment.pay(deps, member_id=one.member_id, order_id=one.id)
    await wechat.post(
        "request_payment",
        timeStamp=params.time_stamp,
        nonceStr=params.nonce_str,
        package=params.package,
        signType=params.sign_type,
        paySign=params.pay_sign,
    )
    await payment.confirm(deps, member_id=one.member_id, order_id=one.id)
    await one.refresh_from_db()
    assert one.state == OrderState.PAID


async def test_the_same_key_is_one_order_and_another_content_is_refused(deps: Deps) -> None:
    sale = await make_sale(deps, stock=3)
    member = await make_member(deps)
    first = await buy(deps, sale, member.id, key="a-key-of-a-phone")
    assert (await buy(deps, sale, member.id, key="a-key-of-a-phone")).id == first.id
    with pytest.raises(KeyReused):
        await buy(deps, sale, member.id, 2, key="a-key-of-a-phone")
    assert (await pieces(sale))["held"] == 1
    assert await gate_left(deps, sale) == 2


async def test_a_key_that_stands_for_something_else_gives_the_ticket_back(deps: Deps) -> None:
    sale = await make_sale(deps, stock=3)
    other = await make_sale(deps, stock=3)
    member = await make_member(deps)
    await buy(deps, other, member.id, key="a-key-of-a-phone")
    with pytest.raises(KeyReused):
        await buy(deps, sale, member.id, key="a-key-of-a-phone")
    assert await gate_left(deps, sale) == 3
    assert (await pieces(sale))["left"] == 3


async def test_the_same_tap_after_the_order_was_closed_is_still_that_order(deps: Deps) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1)
    member, other = await make_member(deps), await make_member(deps)
    first = await buy(deps, sale, member.id, key="a-key-of-a-phone")
    await order.cancel(deps, member_id=member.id, order_id=first.id)
    await tell_everybody(deps, sale)
    await buy(deps, sale, other.id)
    again = await buy(deps, sale, member.id, key="a-key-of-a-phone")
    assert (again.id, again.state) == (first.id, OrderState.CLOSED)
    assert await gate_left(deps, sale) == 0


async def test_refusals_change_nothing_and_give_the_ticket_back(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=3)
    member = await make_member(deps)
    before = await everything()
    with pytest.raises(AmountChanged):
        await flash_sale.purchase(
            deps,
            member_id=member.id,
            item_id=sale.item_id,
            quantity=1,
            expected_fen=5_999,
            idempotency_key=new_secret(12),
        )
    with pytest.raises(FlashLimitReached) as refused:
        await buy(deps, sale, member.id, 3)
    assert refused.value.data == {"limit": 2, "bought": 0}
    with pytest.raises(QuantityInvalid):
        await buy(deps, sale, member.id, 0)
    with pytest.raises(FlashNotOffered):
        await flash_sale.purchase(
            deps, member_id=member.id, item_id=new_id(clock.now()), quantity=1, idempotency_key=new_secret(12)
        )
    assert await everything() == before
    assert await gate_left(deps, sale) == 3
    draft = await make_sale(deps, published=False)
    with pytest.raises(FlashNotOffered):
        await buy(deps, draft, member.id)


async def test_without_a_gate_the_database_decides_the_same(deps: Deps, clock: SetClock) -> None:
    away = replace(deps, redis=connect("redis://127.0.0.1:1/0"))
    sale = await make_sale(deps, stock=2, member_limit=1, opens_at=clock.now() + timedelta(minutes=5))
    first, second, third = [await make_member(deps) for _ in range(3)]
    with pytest.raises(FlashNotOpen):
        await buy(away, sale, first.id)
    clock.advance(timedelta(minutes=5))
    await buy(away, sale, first.id, key="a-key-of-a-phone")
    await buy(away, sale, first.id, key="a-key-of-a-phone")
    with pytest.raises(FlashLimitReached):
        await buy(away, sale, first.id)
    await buy(away, sale, second.id)
    with pytest.raises(FlashSoldOut):
        await buy(away, sale, third.id)
    clock.advance(timedelta(hours=1))
    with pytest.raises(FlashOver):
        await buy(away, sale, third.id)
    assert (await pieces(sale))["held"] == 2
    # The gate knew of none of it and lets too many through, until it is held against the books.
    assert await gate_left(deps, sale) == 2
    drift = await gate.reconcile(deps, item_id=sale.item_id)
    assert (drift.pieces, drift.repair) == (2, Repair.LOWERED)
    assert await gate_left(deps, sale) == 0
    # Nor does it know who had the pieces, until it is loaded anew in the next round.
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.LOADED
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.NONE
    asked = Asked(request="another tap", member_id=first.id, quantity=1)
    open_at = clock.now() - timedelta(minutes=30)
    told = await flash_gate.take(deps.redis, sale.item_id, asked, now=open_at, most_early=timedelta(0))
    assert (told.answer, told.had) == (GateAnswer.LIMIT, 1)
    await away.redis.aclose()


async def test_early_access_opens_sooner_for_the_tier_that_has_it(deps: Deps, clock: SetClock) -> None:
    levels = [
        {"code": "basic", "name": "普卡", "threshold": 0},
        {
            "code": "gold",
            "name": "金卡",
            "threshold": 100,
            "benefits": [{"kind": "early_access", "figure": 10}],
        },
    ]
    await tiers(deps, *levels)
    sale = await make_sale(deps, opens_at=clock.now() + timedelta(minutes=11))
    gold, basic = await make_member(deps), await make_member(deps)
    await buys(deps, gold.id, new_id(clock.now()), 100)
    with pytest.raises(FlashNotOpen):
        await buy(deps, sale, gold.id)
    clock.advance(timedelta(minutes=1))
    await buy(deps, sale, gold.id)
    with pytest.raises(FlashNotOpen):
        await buy(deps, sale, basic.id)
    counter = SqlCount()
    mark = sql_count.set(counter)
    with pytest.raises(FlashNotOpen):
        await buy(deps, sale, basic.id)
    sql_count.reset(mark)
    assert counter.value == 0, "the gate remembers who has no early access"


# The gate is lost, or wrong


async def test_a_flushed_gate_comes_back_with_the_first_call_under_a_new_epoch(deps: Deps) -> None:
    sale = await make_sale(deps, stock=3, member_limit=1)
    first, second = await make_member(deps), await make_member(deps)
    mine = await buy(deps, sale, first.id, key="a-key-of-a-phone")
    await deps.group_commit.idle()
    epoch = (await FlashItem.get(id=sale.item_id)).epoch
    await deps.redis.flushdb()
    assert (await buy(deps, sale, first.id, key="a-key-of-a-phone")).id == mine.id
    assert (await FlashItem.get(id=sale.item_id)).epoch == epoch + 1
    assert await gate_left(deps, sale) == 2
    with pytest.raises(FlashLimitReached):
        await buy(deps, sale, first.id)
    await buy(deps, sale, second.id)
    assert await gate_left(deps, sale) == 1


async def test_a_flushed_gate_comes_back_with_the_sweep(deps: Deps) -> None:
    sale = await make_sale(deps, stock=3)
    await deps.redis.flushdb()
    drift = await gate.reconcile(deps, item_id=sale.item_id)
    assert drift.repair is Repair.LOADED
    assert await gate_left(deps, sale) == 3


async def test_an_older_loading_never_overwrites_a_newer_one(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=3)
    epoch = (await FlashItem.get(id=sale.item_id)).epoch
    content = flash_gate.GateContent(
        epoch=epoch,
        opens_at=clock.now(),
        closes_at=clock.now() + timedelta(hours=1),
        member_limit=1,
        open_count=99,
        closed=False,
        tickets=(),
    )
    assert not await flash_gate.load(deps.redis, sale.item_id, content, now=clock.now())
    assert await gate_left(deps, sale) == 3


async def test_a_gate_that_lets_too_few_through_is_raised_when_nothing_is_in_flight(
    deps: Deps, clock: SetClock
) -> None:
    sale = await make_sale(deps, stock=5)
    member = await make_member(deps)
    lost = flash_gate.Asked(request="a-buyer-whose-server-died", member_id=member.id, quantity=2)
    await flash_gate.take(deps.redis, sale.item_id, lost, now=clock.now(), most_early=timedelta(0))
    assert await gate_left(deps, sale) == 3
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.POSTPONED
    assert await gate_left(deps, sale) == 3
    clock.advance(timedelta(seconds=61))
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.NONE
    assert await gate_left(deps, sale) == 5
    # A release that was never told: the books have more than the gate.
    await deps.redis.execute_command("HSET", f"flash:{{sale:{sale.item_id}}}:gate", "left", 1)
    drift = await gate.reconcile(deps, item_id=sale.item_id)
    assert (drift.pieces, drift.repair) == (-4, Repair.RAISED)
    assert await gate_left(deps, sale) == 5


@pytest.mark.parametrize("redis_is_away", [False, True])
async def test_a_gate_that_missed_the_close_hears_of_it_from_the_sweep(
    deps: Deps, clock: SetClock, redis_is_away: bool
) -> None:
    sale = await make_sale(deps, stock=1)
    await buy(deps, sale, (await make_member(deps)).id)
    await deps.group_commit.idle()
    if redis_is_away:
        away = replace(deps, redis=connect("redis://127.0.0.1:1"))
        await close_sale(away, sale)
        await away.redis.aclose()
    else:
        # Somebody else is loading it, and has read the books already.
        assert await flash_gate.begin_loading(deps.redis, sale.item_id)
        await close_sale(deps, sale)
        await flash_gate.end_loading(deps.redis, sale.item_id)
    assert await gate.claim_due(deps, 10) == [sale.item_id]
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.LOADED
    with pytest.raises(FlashNotOffered):
        await buy(deps, sale, (await make_member(deps)).id)
    clock.advance(timedelta(minutes=1))
    assert await gate.claim_due(deps, 10) == [], "nothing happens at it any more"


async def test_an_old_ticket_whose_order_was_written_stays_its_orders(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=5)
    member = await make_member(deps)
    await buy(deps, sale, member.id, key="a-key-of-a-phone")
    await deps.group_commit.idle()
    # The server died between the commit and telling the gate.
    request = f"{member.id}:a-key-of-a-phone"
    gate_key, flight_key = (f"flash:{{sale:{sale.item_id}}}:{name}" for name in ("gate", "flight"))
    await deps.redis.execute_command("HSET", gate_key, f"t:{request}", f"1:f:{member.id}")
    await deps.redis.execute_command("ZADD", flight_key, int(clock.now().timestamp() * 1000), request)
    clock.advance(timedelta(seconds=61))
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.NONE
    assert await gate_left(deps, sale) == 4
    assert not await deps.redis.execute_command("ZCARD", flight_key)


async def test_a_lost_answer_of_the_gate_costs_nobody_a_piece(deps: Deps, clock: SetClock) -> None:
    sale = await make_sale(deps, stock=2, member_limit=1)
    member = await make_member(deps)
    asked = flash_gate.Asked(request=f"{member.id}:a-key-of-a-phone", member_id=member.id, quantity=1)
    # The gate gave the ticket, and its answer never came.
    await flash_gate.take(deps.redis, sale.item_id, asked, now=clock.now(), most_early=timedelta(0))
    await buy(deps, sale, member.id, key="a-key-of-a-phone")
    assert await gate_left(deps, sale) == 1
    assert (await pieces(sale))["held"] == 1


async def test_what_an_order_gives_back_can_be_bought_again_once_the_gate_is_told(deps: Deps) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1)
    first, second = await make_member(deps), await make_member(deps)
    one = await buy(deps, sale, first.id)
    await order.close(deps, order_id=one.id, member_id=first.id, reason=CloseReason.TIMED_OUT)
    assert (await pieces(sale))["left"] == 1
    with pytest.raises(FlashSoldOut):
        await buy(deps, sale, second.id)
    await tell_everybody(deps, sale)
    await tell_everybody(deps, sale)
    assert await gate_left(deps, sale) == 1
    await buy(deps, sale, first.id)


async def tell_everybody(deps: Deps, sale: Sale) -> None:
    """What the sweep does for an item."""
    await deps.group_commit.idle()
    await flash_wait.offer(deps, item_id=sale.item_id)
    await gate.tell(deps, item_id=sale.item_id)


@pytest.mark.parametrize("somebody_was_faster", [False, True])
async def test_late_money_has_the_pieces_again_if_they_are_left(deps: Deps, somebody_was_faster: bool) -> None:
    sale = await make_sale(deps, stock=1, member_limit=1)
    member = await make_member(deps)
    one = await buy(deps, sale, member.id)
    await order.cancel(deps, member_id=member.id, order_id=one.id)
    await tell_everybody(deps, sale)
    if somebody_was_faster:
        await buy(deps, sale, (await make_member(deps)).id)
    assert await revived(deps, one) is not somebody_was_faster
    await tell_everybody(deps, sale)
    assert await gate_left(deps, sale) == 0
    assert (await pieces(sale))["sold"] == int(not somebody_was_faster)


async def test_late_money_does_not_pass_the_limit_nor_open_a_closed_session(deps: Deps) -> None:
    sale = await make_sale(deps, stock=5, member_limit=1)
    member = await make_member(deps)
    one = await buy(deps, sale, member.id)
    await order.cancel(deps, member_id=member.id, order_id=one.id)
    await tell_everybody(deps, sale)
    other = await buy(deps, sale, member.id)
    assert not await revived(deps, one)
    await order.cancel(deps, member_id=member.id, order_id=other.id)
    await close_sale(deps, sale)
    assert not await revived(deps, one)
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 0, "returned": 5, "waiting": 0, "sku": 30}


async def revived(deps: Deps, one: Order) -> bool:
    """Whether late money brings a closed order back."""
    now = deps.clock.now()
    await one.refresh_from_db()
    async with transaction(one.member_id):
        return await settlement.revive(deps, one, payment_id=new_id(now), paid_fen=one.payable_fen, now=now)
