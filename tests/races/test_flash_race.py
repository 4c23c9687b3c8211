"""Many buyers, few pieces, one gate: over HTTP, in parallel, with Redis flushed or gone in the middle."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from cache.engine import connect
from loyalty.flash_sales.flash_sale import FlashLimitReached, FlashSoldOut
from models.asyncpg_backend import Conflict
from models.engine import changed, rows, transaction
from models.ids import new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales import flash_sale, flash_wait
from resolvers.flash_sales.flash_gate import AWAY, Repair
from resolvers.group_commit import GroupCommit
from resolvers.orders import order
from resolvers.orders.order_write import write_orders
from tests.doors import Door, doors_app, make_member
from tests.flash import Sale, close_sale, make_sale, pieces
from tests.patience import PATIENCE_S
from tests.races.buyers import (
    CANCEL,
    Buyer,
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_member_locks,
)
from tests.races.test_order_race import crowd
from tests.redis_forms import RedisForm
from tests.sandbox_server import SandboxControl

BUYERS = 200
STOCK = 20
TAPS = 10
BUY = """
mutation Buy($item: ID!, $quantity: Int!, $wait: ID, $key: IdempotencyKey!) {
  done: flashSalePurchase(input: {itemId: $item, quantity: $quantity, waitId: $wait}, idempotencyKey: $key) {
    __typename ... on FlashSalePurchased { order { id state kind payable } } ... on Refusal { code }
  }
}
"""
WAIT = """
mutation Wait($item: ID!, $key: IdempotencyKey!) {
  done: flashSaleWait(itemId: $item, idempotencyKey: $key) {
    __typename ... on FlashWaitChanged { wait { id state ahead } } ... on Refusal { code }
  }
}
"""


async def tap(
    member: Buyer, sale: Sale, *, quantity: int = 1, wait: str | None = None, key: str | None = None
) -> dict[str, Any]:
    """One tap on "buy"."""
    return await member.ask(BUY, item=str(sale.item_id), quantity=quantity, wait=wait, key=key or new_secret(12))


def won(answers: list[dict[str, Any]]) -> int:
    return [answer["__typename"] for answer in answers].count("FlashSalePurchased")


def codes(answers: list[dict[str, Any]]) -> Counter[str | None]:
    return Counter(answer.get("code") for answer in answers)


async def tell_everybody(deps: Deps, sale: Sale) -> None:
    """What the sweeps do for an item."""
    await deps.group_commit.idle()
    await flash_wait.offer(deps, item_id=sale.item_id)
    await gate.tell(deps, item_id=sale.item_id)
    await gate.reconcile(deps, item_id=sale.item_id)


async def the_gate_stands_right(deps: Deps, sale: Sale) -> None:
    """Rounds of the sweeps until nothing is to be repaired.

    A Redis that hung is left alone for a second, and a loading that was cut off keeps others from it for ten.
    """
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(*AWAY):
                await tell_everybody(deps, sale)
                if (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.NONE:
                    return
            await asyncio.sleep(0.1)


async def test_200_buyers_of_20_pieces_make_20_orders_of_20_members(deps: Deps, shop: Door) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    answers = await at_once(tap(each, sale) for each in await crowd(deps, shop, BUYERS))
    assert codes(answers) == {None: STOCK, "FLASH_SOLD_OUT": BUYERS - STOCK}
    assert await one("SELECT count(*) FROM shop_order") == STOCK
    assert await one("SELECT count(DISTINCT member_id) FROM shop_order WHERE kind = 'flash'") == STOCK
    assert await pieces(sale) == {"left": 0, "held": STOCK, "sold": 0, "returned": 0, "waiting": 0, "sku": 10}
    await assert_the_books_are_right()
    await deps.group_commit.idle()
    assert (await gate.reconcile(deps, item_id=sale.item_id)).repair is Repair.NONE


async def test_200_buyers_without_a_gate_make_20_orders_as_well(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    away = replace(deps, redis=connect("redis://127.0.0.1:1/0"))
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    members = [each.member_id for each in await crowd(deps, Door(None, ""), BUYERS)]  # type: ignore[arg-type]

    async def buys(member_id: UUID) -> str:
        try:
            await flash_sale.purchase(
                away, member_id=member_id, item_id=sale.item_id, quantity=1, idempotency_key=new_secret(12)
            )
        except FlashSoldOut as refusal:
            return refusal.code
        return "bought"

    assert Counter(await at_once(buys(each) for each in members)) == {
        "bought": STOCK,
        "FLASH_SOLD_OUT": BUYERS - STOCK,
    }
    await away.group_commit.idle()
    await assert_the_books_are_right()
    await away.redis.aclose()


async def test_buyers_who_all_look_before_they_take_are_sold_more_than_there_is(deps: Deps) -> None:
    sale = await make_sale(deps, stock=STOCK)
    have_looked = asyncio.Barrier(STOCK + 5)

    async def take() -> bool:
        async with transaction():
            left = await one("SELECT left_count FROM flash_item WHERE id = $1", sale.item_id)
            await have_looked.wait()
            if left < 1:
                return False
            await changed(
                "UPDATE flash_item SET left_count = $2, held_count = carved_count - $2 WHERE id = $1",
                [sale.item_id, left - 1],
            )
        return True

    assert sum(await at_once(take() for _ in range(STOCK + 5))) > STOCK


async def test_10_taps_of_one_member_on_a_limit_of_1_make_one_order(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    member = await buyer(deps, shop, wechat)
    answers = await at_once(tap(member, sale) for _ in range(TAPS))
    assert codes(answers) == {None: 1, "FLASH_LIMIT_REACHED": TAPS - 1}
    assert (await pieces(sale))["held"] == 1
    await assert_the_books_are_right()


async def test_10_taps_without_a_gate_make_one_order_as_well(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    member = await buyer(deps, shop, wechat)
    nobody_at_the_gate(monkeypatch)
    answers = await at_once(tap(member, sale) for _ in range(TAPS))
    assert codes(answers) == {None: 1, "FLASH_LIMIT_REACHED": TAPS - 1}
    await assert_the_books_are_right()


def nobody_at_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away for whoever asks the gate."""

    async def away(*_: object, **__: object) -> gate.Entry:
        return gate.Entry.UNSURE

    monkeypatch.setattr(gate, "enter", away)


async def test_without_gate_and_members_lock_several_taps_pass_the_limit(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    member = await buyer(deps, shop, wechat)
    nobody_at_the_gate(monkeypatch)

    async def alone(*_: object) -> object:
        raise flash_sale._Alone

    monkeypatch.setattr(deps.group_commit, "join", alone)
    without_member_locks(monkeypatch, together=TAPS)
    decided_before_any_writes(monkeypatch, flash_sale, "write_orders", together=TAPS)
    assert won(await at_once(tap(member, sale) for _ in range(TAPS))) > 1


async def test_one_key_is_one_order_however_often_it_is_tapped(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=2)
    member = await buyer(deps, shop, wechat)
    answers = await at_once(tap(member, sale, key="one-key-of-a-phone") for _ in range(TAPS))
    assert won(answers) == TAPS
    assert len({answer["order"]["id"] for answer in answers}) == 1
    assert (await pieces(sale))["held"] == 1
    other = await at_once(tap(member, sale, quantity=2, key="one-key-of-a-phone") for _ in range(2))
    assert codes(other) == {"KEY_REUSED": 2}
    await tell_everybody(deps, sale)
    assert (await flash_sale.open_counts(deps, [sale.item_id]))[sale.item_id] == STOCK - 1
    await assert_the_books_are_right()


@pytest.mark.parametrize("many_times", [1, 5])
async def test_redis_flushed_in_the_middle_oversells_nothing_and_loses_no_order(
    deps: Deps, shop: Door, many_times: int
) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    members = await crowd(deps, shop, BUYERS)
    answers: list[dict[str, Any]] = []
    flushed = 0

    async def buys(member: Buyer) -> None:
        answers.append(await tap(member, sale))

    async def flush() -> None:
        nonlocal flushed
        while flushed < many_times and len(answers) < BUYERS:
            if len(answers) >= flushed * 8 + 1:
                await deps.redis.flushdb()
                flushed += 1
            await asyncio.sleep(0)

    await at_once([flush(), *(buys(member) for member in members)])
    assert flushed >= 1
    assert set(codes(answers)) <= {None, "FLASH_SOLD_OUT"}
    acknowledged = {UUID(answer["order"]["id"]) for answer in answers if "order" in answer}
    assert {row["id"] for row in await rows("SELECT id FROM shop_order")} == acknowledged
    assert len(acknowledged) <= STOCK
    await tell_everybody(deps, sale)
    await tell_everybody(deps, sale)
    # What was refused too early can be had now: the gate has come back by itself.
    rest = [member for member, answer in zip(members, answers, strict=True) if "order" not in answer]
    more = won([await tap(member, sale) for member in rest[: STOCK - len(acknowledged)]])
    assert len(acknowledged) + more == STOCK
    assert (await pieces(sale))["left"] == 0
    await assert_the_books_are_right()


async def test_redis_killed_in_the_middle_oversells_nothing_and_loses_no_order(
    deps: Deps, redis_form: RedisForm, clock: SetClock
) -> None:
    there = replace(deps, redis=connect(redis_form.url), group_commit=GroupCommit())
    sale = await make_sale(there, stock=STOCK, member_limit=1)
    answers: list[dict[str, Any]] = []
    under_way = asyncio.Event()

    async def buys(member: Buyer) -> None:
        answers.append(await tap(member, sale))
        if len(answers) == 5:
            under_way.set()

    async def kill() -> None:
        await under_way.wait()
        await asyncio.to_thread(redis_form.fail_over, f"flash:{{sale:{sale.item_id}}}:gate")

    transport = httpx.ASGITransport(doors_app(there))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test", timeout=60) as http:
        members = await crowd(there, Door(http, "/graphql"), BUYERS // 2)
        await at_once([kill(), *(buys(member) for member in members)])
        assert set(codes(answers)) <= {None, "FLASH_SOLD_OUT"}
        acknowledged = {UUID(answer["order"]["id"]) for answer in answers if "order" in answer}
        assert {row["id"] for row in await rows("SELECT id FROM shop_order")} == acknowledged
        await there.group_commit.idle()
        # Tickets of a gate that died with their fate untold are looked up after a minute.
        clock.advance(timedelta(seconds=61))
        await the_gate_stands_right(there, sale)
        late = await crowd(there, Door(http, "/graphql"), STOCK)
        more = won(await at_once(tap(member, sale) for member in late))
    assert len(acknowledged) + more == STOCK
    assert (await pieces(sale))["left"] == 0
    await assert_the_books_are_right()
    await there.group_commit.idle()
    await there.redis.aclose()


async def test_a_gate_that_comes_back_without_its_last_moments_is_loaded_anew_though_its_pieces_are_right(
    deps: Deps, redis_form: RedisForm
) -> None:
    there = replace(deps, redis=connect(redis_form.url), group_commit=GroupCommit())
    sale = await make_sale(there, stock=STOCK, member_limit=1)
    gate_key = f"flash:{{sale:{sale.item_id}}}:gate"

    async def buys(member_id: UUID) -> UUID:
        placed = await flash_sale.purchase(
            there, member_id=member_id, item_id=sale.item_id, quantity=1, idempotency_key=new_secret(12)
        )
        await there.group_commit.idle()
        return placed.id

    gives_back, buys_late = [(await make_member(there)).id for _ in range(2)]
    given_back = await buys(gives_back)
    assert (await gate.reconcile(there, item_id=sale.item_id)).repair is Repair.NONE
    if redis_form.has_replica:
        await asyncio.to_thread(redis_form.falls_behind, gate_key)
    await order.cancel(there, member_id=gives_back, order_id=given_back)
    await tell_everybody(there, sale)
    await buys(buys_late)
    await asyncio.to_thread(redis_form.fail_over, gate_key)
    await once_it_answers(there, gate_key)
    assert (await flash_sale.open_counts(there, [sale.item_id]))[sale.item_id] == STOCK - 1
    if redis_form.has_replica:
        with pytest.raises(FlashLimitReached):
            await buys(gives_back)
    assert (await gate.reconcile(there, item_id=sale.item_id)).repair is Repair.LOADED
    assert (await gate.reconcile(there, item_id=sale.item_id)).repair is Repair.NONE
    await buys(gives_back)
    with pytest.raises(FlashLimitReached):
        await buys(buys_late)
    await assert_the_books_are_right()
    await there.redis.aclose()


async def once_it_answers(deps: Deps, key: str) -> None:
    """Old connections have failed, and the new server is found."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(*AWAY):
                await deps.redis.execute_command("EXISTS", key)
                return


@dataclass
class _Busy:
    """A member who is held up by something else."""

    begun: asyncio.Event
    over: asyncio.Event

    async def lock(self, member_id: UUID) -> None:
        async with transaction(member_id):
            self.begun.set()
            await self.over.wait()


async def test_a_member_who_is_busy_holds_up_nobody_else(deps: Deps, shop: Door) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    busy, *others = await crowd(deps, shop, 12)
    held = _Busy(asyncio.Event(), asyncio.Event())
    holding = asyncio.create_task(held.lock(busy.member_id))
    await held.begun.wait()
    waiting = asyncio.create_task(tap(busy, sale))
    answers = await asyncio.wait_for(at_once(tap(each, sale) for each in others), PATIENCE_S)
    assert won(answers) == len(others)
    assert not waiting.done()
    held.over.set()
    await holding
    assert (await waiting)["__typename"] == "FlashSalePurchased"
    await assert_the_books_are_right()


async def test_a_group_that_fails_is_written_one_by_one(
    deps: Deps, shop: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await make_sale(deps, stock=STOCK, member_limit=1)
    members = await crowd(deps, shop, 30)
    real, groups = write_orders, 0

    async def fails_for_groups(composed: Any, *with_them: Any) -> None:
        nonlocal groups
        if len(composed) > 1:
            groups += 1
            raise Conflict("a row that another transaction wanted")
        await real(composed, *with_them)

    monkeypatch.setattr(flash_sale, "write_orders", fails_for_groups)
    answers = await at_once(tap(each, sale) for each in members)
    assert groups >= 1
    assert codes(answers) == {None: STOCK, "FLASH_SOLD_OUT": 10}
    await assert_the_books_are_right()


async def test_purchases_that_arrive_together_share_a_commit(deps: Deps, shop: Door) -> None:
    sale = await make_sale(deps, stock=60, member_limit=1)
    members = await crowd(deps, shop, 60)
    assert won(await at_once(tap(each, sale) for each in members)) == 60
    transactions = await one("SELECT count(DISTINCT xmin::text) FROM flash_ticket")
    assert transactions < 30, "sixty purchases in a rush take fewer transactions than half of them"
    await assert_the_books_are_right()


async def test_paying_cancelling_queueing_and_closing_at_once_leaves_every_piece_accounted_for(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await make_sale(deps, stock=8, member_limit=1)
    winners = [await buyer(deps, shop, wechat) for _ in range(8)]
    waiting = await crowd(deps, shop, 8)
    orders = [(await tap(each, sale))["order"]["id"] for each in winners]
    places = [(await each.ask(WAIT, item=str(sale.item_id), key=new_secret(12)))["wait"]["id"] for each in waiting]
    for each, order_id in zip(winners[:4], orders[:4], strict=True):
        await each.pay(wechat, order_id)

    async def cancels(each: Buyer, order_id: str) -> None:
        await each.ask(CANCEL, id=order_id)

    under_way = asyncio.Event()

    async def claims(each: Buyer, place: str) -> None:
        for _ in range(6):
            await flash_wait.offer(deps, item_id=sale.item_id)
            under_way.set()
            if (await tap(each, sale, wait=place))["__typename"] == "FlashSalePurchased":
                return

    async def closes() -> None:
        await under_way.wait()
        await close_sale(deps, sale)

    await at_once(
        [
            wechat.settle(),
            *(cancels(each, order_id) for each, order_id in zip(winners[4:], orders[4:], strict=True)),
            *(claims(each, place) for each, place in zip(waiting, places, strict=True)),
            closes(),
        ]
    )
    await wechat.settle()
    found = await pieces(sale)
    assert (found["left"], found["waiting"], found["sold"]) == (0, 0, 4)
    assert found["held"] + found["sold"] + found["returned"] == 8
    for row in await rows("SELECT id, member_id FROM shop_order WHERE state = 'unpaid'"):
        await order.cancel(deps, member_id=row["member_id"], order_id=row["id"])
    assert not await rows("SELECT id FROM flash_wait WHERE state IN ('waiting', 'offered')")
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 4, "returned": 4, "waiting": 0, "sku": 26}
    await assert_the_books_are_right()


async def closed_while_an_offer_is_made(deps: Deps, shop: Door) -> tuple[Sale, str]:
    """A session whose close begins between the two writes of an offer; and what became of the offer."""
    sale = await make_sale(deps, stock=1, member_limit=1)
    first, second = await crowd(deps, shop, 2)
    order_id = (await tap(first, sale))["order"]["id"]
    place = (await second.ask(WAIT, item=str(sale.item_id), key=new_secret(12)))["wait"]["id"]
    await first.ask(CANCEL, id=order_id)
    is_busy, is_free = asyncio.Event(), asyncio.Event()

    async def keeps_item() -> None:
        async with transaction():
            await rows("SELECT id FROM flash_item WHERE id = $1 FOR UPDATE", [sale.item_id])
            is_busy.set()
            await is_free.wait()

    async def waiting(many: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while many > await one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                continue

    keeping = asyncio.create_task(keeps_item())
    await is_busy.wait()
    offering = asyncio.ensure_future(flash_wait.offer(deps, item_id=sale.item_id))
    await waiting(1)
    closing = asyncio.create_task(close_sale(deps, sale))
    await waiting(2)
    is_free.set()
    await asyncio.gather(keeping, offering, closing)
    return sale, await one("SELECT state FROM flash_wait WHERE id = $1", UUID(place))


async def test_an_offer_that_is_made_while_the_session_is_closed_ends_with_it(deps: Deps, shop: Door) -> None:
    sale, state = await closed_while_an_offer_is_made(deps, shop)
    assert state == "ended"
    assert await pieces(sale) == {"left": 0, "held": 0, "sold": 0, "returned": 1, "waiting": 0, "sku": 30}
    await assert_the_books_are_right()


async def test_without_the_lock_on_the_session_the_offer_outlives_it(
    deps: Deps, shop: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_wait, "_KEPT_OPEN", flash_wait._ITEM)
    sale, state = await closed_while_an_offer_is_made(deps, shop)
    assert state == "offered"
    assert (await pieces(sale))["held"] == 1, "nobody can buy it, and the SKU has not got it"
