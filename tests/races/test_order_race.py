"""Many buyers, few pieces; one buyer, many taps; one key, many calls; one balance, many orders."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from loyalty.points.points import EntryKind
from models.engine import changed, rows, transaction
from models.ids import new_id
from models.orders.order import Order
from models.points import points_ledger
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order as orders
from resolvers.points import points
from resolvers.programme import points_programme
from tests.doors import Bearer, Door, make_member
from tests.races.buyers import (
    CANCEL,
    Buyer,
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_constraints,
    without_member_locks,
)
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

BUYERS = 200
STOCK = 20
TAPS = 10
CHECK_IN = """
mutation CheckIn($key: IdempotencyKey!) {
  done: checkIn(idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""


async def crowd(deps: Deps, shop: Door, many: int) -> list[Buyer]:
    """Members without a payment account, quickly made."""
    now = deps.clock.now()
    members = [await make_member(deps) for _ in range(many)]
    families = [new_id(now) for _ in members]
    await rows(
        "INSERT INTO session_family (id, subject_kind, subject_id, created_at) "
        "SELECT family, 'member', member, $3 FROM unnest($1::uuid[], $2::uuid[]) AS opened(family, member)",
        [families, [member.id for member in members], now],
    )
    buyers = []
    for member, family_id in zip(members, families, strict=True):
        token = Bearer(deps.member_tokens.issue(subject_id=member.id, session_id=family_id, now=now))
        token.subject_id, token.session_id = member.id, family_id
        buyers.append(Buyer(shop, token))
    return buyers


async def test_200_buyers_of_a_stock_of_20_make_20_orders_of_20_members(deps: Deps, shop: Door) -> None:
    sku_id = await put_on_shelf(deps, stock_left=STOCK, purchase_limit=1)
    buyers = await crowd(deps, shop, BUYERS)
    answers = await at_once(each.place(sku_id) for each in buyers)
    placed = [answer for answer in answers if answer["__typename"] == "OrderPlaced"]
    assert len(placed) == STOCK
    assert {answer.get("code") for answer in answers} == {None, "OUT_OF_STOCK"}
    assert await one("SELECT count(*) FROM shop_order") == STOCK
    assert await one("SELECT count(DISTINCT member_id) FROM shop_order") == STOCK
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 0
    assert await one("SELECT sum(amount)::int FROM stock_entry WHERE sku_id = $1 AND kind = 'hold'", sku_id) == -STOCK
    await assert_the_books_are_right()


async def test_buyers_who_all_look_before_they_take_are_sold_more_than_there_is(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, stock_left=STOCK)
    have_looked = asyncio.Barrier(STOCK + 5)

    async def take() -> bool:
        async with transaction():
            left = await one("SELECT stock_left FROM sku WHERE id = $1", sku_id)
            await have_looked.wait()
            if left < 1:
                return False
            await changed("UPDATE sku SET stock_left = $2 WHERE id = $1", [sku_id, left - 1])
        return True

    assert sum(await at_once(take() for _ in range(STOCK + 5))) > STOCK


async def test_10_taps_of_one_member_on_a_limit_of_1_make_one_order(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100, purchase_limit=1)
    member = await buyer(deps, shop, wechat)
    answers = await at_once(member.place(sku_id) for _ in range(TAPS))
    assert [answer["__typename"] for answer in answers].count("OrderPlaced") == 1
    assert {answer.get("code") for answer in answers} == {None, "PURCHASE_LIMIT_REACHED"}
    assert await Order.filter(member_id=member.member_id).count() == 1
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 99
    await assert_the_books_are_right()


async def test_without_the_members_lock_several_taps_pass_the_limit(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100, purchase_limit=1)
    member = await buyer(deps, shop, wechat)
    without_member_locks(monkeypatch, together=TAPS)
    decided_before_any_writes(monkeypatch, orders, "write_order", together=TAPS)
    answers = await at_once(member.place(sku_id) for _ in range(TAPS))
    assert [answer["__typename"] for answer in answers].count("OrderPlaced") > 1


async def test_simultaneous_calls_under_one_key_are_one_order(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    member = await buyer(deps, shop, wechat)
    answers = await at_once(member.place(sku_id, key="one-key-of-a-phone") for _ in range(TAPS))
    assert {answer["__typename"] for answer in answers} == {"OrderPlaced"}
    assert len({answer["order"]["id"] for answer in answers}) == 1
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 99
    other_content = await at_once(member.place(sku_id, quantity=2, key="one-key-of-a-phone") for _ in range(2))
    assert [answer.get("code") for answer in other_content] == ["KEY_REUSED"] * 2
    other_verb = await member.ask(CHECK_IN, key="one-key-of-a-phone")
    assert other_verb["code"] == "KEY_REUSED"
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 99
    assert await one("SELECT count(*) FROM check_in") == 0
    await assert_the_books_are_right()


async def test_a_key_is_each_members_own(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    members = [await buyer(deps, shop, wechat) for _ in range(3)]
    answers = await at_once(member.place(sku_id, key="everybodys-key") for member in members)
    assert len({answer["order"]["id"] for answer in answers}) == 3


async def test_without_lock_and_unique_key_simultaneous_calls_are_several_orders(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku_id = await put_on_shelf(deps, stock_left=100)
    member = await buyer(deps, shop, wechat)
    without_member_locks(monkeypatch, together=TAPS)
    decided_before_any_writes(monkeypatch, orders, "write_order", together=TAPS)
    await without_constraints("idempotency_record")
    answers = await at_once(member.place(sku_id, key="one-key-of-a-phone") for _ in range(TAPS))
    assert len({answer["order"]["id"] for answer in answers}) > 1


async def with_points(deps: Deps, wechat: SandboxControl, member: Buyer, amount: int) -> None:
    """The member buys for so many yuan, and has as many points more."""
    before = await one("SELECT balance FROM points_account WHERE member_id = $1", member.member_id)
    await member.bought(wechat, await put_on_shelf(deps, price_fen=amount * 100))
    after = await one("SELECT balance FROM points_account WHERE member_id = $1", member.member_id)
    assert after == before + amount


async def test_of_orders_that_each_spend_the_full_balance_one_is_placed(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    await with_points(deps, wechat, member, 500)
    sku_id = await put_on_shelf(deps, price_fen=100_000)
    answers = await at_once(member.place(sku_id, points=500) for _ in range(TAPS))
    assert [answer["__typename"] for answer in answers].count("OrderPlaced") == 1
    assert {answer.get("code") for answer in answers} == {None, "POINTS_SHORT"}
    assert await one("SELECT held FROM points_account WHERE member_id = $1", member.member_id) == 500
    assert await one("SELECT sum(points_fen)::int FROM shop_order WHERE member_id = $1", member.member_id) == 500
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 99
    await assert_the_books_are_right()


async def test_without_lock_and_bounds_the_same_points_pay_several_orders(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await buyer(deps, shop, wechat)
    await with_points(deps, wechat, member, 500)
    sku_id = await put_on_shelf(deps, price_fen=100_000)
    without_member_locks(monkeypatch, together=TAPS)
    decided_before_any_writes(monkeypatch, points_ledger, "hold", together=TAPS)
    await without_constraints("points_account", "points_lot")
    answers = await at_once(member.place(sku_id, points=500) for _ in range(TAPS))
    assert [answer["__typename"] for answer in answers].count("OrderPlaced") > 1
    assert await one("SELECT sum(points_fen)::int FROM shop_order WHERE member_id = $1", member.member_id) > 500


async def lots(member_id: UUID) -> list[dict[str, object]]:
    """Everything about the member's lots."""
    return await rows("SELECT * FROM points_lot WHERE member_id = $1 ORDER BY id", [member_id])


async def test_points_of_a_cancelled_order_are_back_in_their_lots_with_their_expiry(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    member = await buyer(deps, shop, wechat)
    await with_points(deps, wechat, member, 200)
    await move(clock, wechat, timedelta(days=60))
    member = await member.signed_in_again(deps)
    await with_points(deps, wechat, member, 200)
    before = await lots(member.member_id)
    assert len({lot["expires_at"] for lot in before}) == 2
    order_id = await member.placed(await put_on_shelf(deps, price_fen=100_000), points=300)
    assert [lot["held"] for lot in await lots(member.member_id)] == [200, 100]
    cancelled = await at_once(member.ask(CANCEL, id=order_id) for _ in range(TAPS))
    assert {answer["order"]["state"] for answer in cancelled} <= {"CLOSED", "CLOSING"}
    assert await member.state(order_id) == "CLOSED"
    assert await lots(member.member_id) == before
    assert await one("SELECT held FROM points_account WHERE member_id = $1", member.member_id) == 0
    await assert_the_books_are_right()


async def move(clock: SetClock, wechat: SandboxControl, by: timedelta) -> None:
    """Time passes, for the store and for WeChat."""
    clock.advance(by)
    await wechat.advance(by.total_seconds())


async def test_points_given_back_as_new_points_would_live_longer(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    member = await buyer(deps, shop, wechat)
    await with_points(deps, wechat, member, 200)
    ends = (await lots(member.member_id))[0]["expires_at"]
    await move(clock, wechat, timedelta(days=60))
    now = clock.now()
    async with transaction(member.member_id):
        await points.credit(
            member.member_id,
            amount=200,
            kind=EntryKind.ADJUST,
            cause_kind="order",
            cause_id=new_id(now),
            key="given-back",
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
        )
    given_back = (await lots(member.member_id))[1]["expires_at"]
    assert given_back != ends
