"""Many members, few pieces; one member, many taps: what an item has and allows is never exceeded."""

import asyncio

import pytest

from models.engine import changed, rows, transaction
from models.ids import new_secret
from models.points.points_mall import MallItem
from resolvers.deps import Deps
from resolvers.points import points_mall
from tests.doors import Door, bearer, make_member, make_operator
from tests.mall import give_points, make_item
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
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

MEMBERS = 100
STOCK = 10
TAPS = 10
EXCHANGE = """
mutation Exchange($item: ID!, $points: Points!, $cash: Fen!, $key: IdempotencyKey!) {
  done: mallExchange(input: {itemId: $item, expectedPoints: $points, expectedCash: $cash}, idempotencyKey: $key) {
    __typename ... on MallExchanged { order { id state pointsUsed mallExchange { version points } } }
    ... on Refusal { code }
  }
}
"""


async def tap(
    member: Buyer, item: MallItem, *, points: int = 500, cash: int = 0, key: str | None = None
) -> dict[str, object]:
    """One tap on "exchange"."""
    return await member.ask(EXCHANGE, item=str(item.id), points=points, cash=cash, key=key or new_secret(12))


async def crowd(deps: Deps, shop: Door, many: int) -> list[Buyer]:
    """Members with 500 points each."""
    found = []
    for _ in range(many):
        member = await make_member(deps)
        await give_points(deps, member.id, 500)
        found.append(Buyer(shop, await bearer(deps, member)))
    return found


async def rich(deps: Deps, shop: Door, wechat: SandboxControl) -> Buyer:
    """One member with points for every tap."""
    member = await buyer(deps, shop, wechat)
    await give_points(deps, member.member_id, 500 * TAPS)
    return member


def won(answers: list[dict[str, object]]) -> int:
    return [answer["__typename"] for answer in answers].count("MallExchanged")


@pytest.mark.parametrize("tied", [False, True], ids=["own stock", "a SKU's stock"])
async def test_100_members_and_a_stock_of_10_make_10_exchanges(deps: Deps, shop: Door, tied: bool) -> None:
    sku_id = await put_on_shelf(deps, stock_left=STOCK) if tied else None
    item = await make_item(deps, sku_id=sku_id, stock=None if tied else STOCK, member_limit=1)
    members = await crowd(deps, shop, MEMBERS)
    answers = await at_once(tap(member, item) for member in members)
    assert won(answers) == STOCK
    assert {answer.get("code") for answer in answers} == {None, "OUT_OF_STOCK"}
    assert await one("SELECT count(DISTINCT member_id) FROM shop_order WHERE state = 'paid'") == STOCK
    assert await one("SELECT count(*) FROM shop_order") == STOCK
    left = "SELECT stock_left FROM sku" if tied else "SELECT stock_left FROM mall_item"
    assert await one(left) == 0
    assert await one("SELECT exchanged_count FROM mall_item") == STOCK
    assert await one("SELECT sum(balance)::int FROM points_account") == (MEMBERS - STOCK) * 500
    await assert_the_books_are_right()


async def test_members_who_look_before_they_take_get_more_than_there_is(deps: Deps) -> None:
    item = await make_item(deps, stock=STOCK)
    all_looked = asyncio.Barrier(STOCK * 2)

    async def take() -> bool:
        async with transaction():
            left = await one("SELECT stock_left FROM mall_item WHERE id = $1", item.id)
            await all_looked.wait()
            if left < 1:
                return False
            await changed("UPDATE mall_item SET stock_left = $2 WHERE id = $1", [item.id, left - 1])
        return True

    assert sum(await at_once(take() for _ in range(STOCK * 2))) > STOCK


async def test_10_taps_of_one_member_on_a_limit_of_1_make_one_exchange(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    item = await make_item(deps, stock=100, member_limit=1)
    member = await rich(deps, shop, wechat)
    answers = await at_once(tap(member, item) for _ in range(TAPS))
    assert won(answers) == 1
    assert {answer.get("code") for answer in answers} == {None, "MALL_LIMIT_REACHED"}
    assert await one("SELECT balance FROM points_account") == 500 * (TAPS - 1)
    assert await one("SELECT stock_left FROM mall_item") == 99
    await assert_the_books_are_right()


async def test_without_the_members_lock_several_taps_pass_the_limit(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await make_item(deps, stock=100, member_limit=1)
    member = await rich(deps, shop, wechat)
    without_member_locks(monkeypatch, together=TAPS)
    decided_before_any_writes(monkeypatch, points_mall, "write_order", together=TAPS)
    assert won(await at_once(tap(member, item) for _ in range(TAPS))) > 1


async def test_one_key_is_one_exchange(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    item = await make_item(deps)
    member = await rich(deps, shop, wechat)
    answers = await at_once(tap(member, item, key="one-key-of-a-phone") for _ in range(TAPS))
    assert won(answers) == TAPS
    assert await one("SELECT count(*) FROM shop_order") == 1
    await assert_the_books_are_right()


async def test_cancelling_and_exchanging_at_once_gives_every_piece_out_once(deps: Deps, shop: Door) -> None:
    item = await make_item(deps, stock=STOCK, cash_fen=100)
    members = await crowd(deps, shop, STOCK * 2)
    first, second = members[:STOCK], members[STOCK:]
    taken = await at_once(tap(member, item, cash=100) for member in first)
    ids = [answer["order"]["id"] for answer in taken]  # type: ignore[index]

    async def cancel(member: Buyer, order_id: str) -> None:
        assert (await member.ask(CANCEL, id=order_id))["order"]["state"] == "CLOSED"

    async def insist(member: Buyer) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await tap(member, item, cash=100))["__typename"] != "MallExchanged":
                continue

    cancels = [cancel(member, order_id) for member, order_id in zip(first, ids, strict=True)]
    await at_once([*cancels, *(insist(member) for member in second)])
    assert await rows("SELECT stock_left, exchanged_count FROM mall_item") == [
        {"stock_left": 0, "exchanged_count": STOCK}
    ]
    assert await one("SELECT sum(held)::int FROM points_account") == STOCK * 500
    await assert_the_books_are_right()


async def test_while_the_price_changes_every_exchange_costs_what_its_version_says(deps: Deps, shop: Door) -> None:
    item = await make_item(deps, stock=MEMBERS)
    members = await crowd(deps, shop, 40)
    boss = await make_operator(deps)

    async def reprice() -> None:
        for points in (400, 500, 300):
            await points_mall.change(
                deps,
                operator_id=boss.id,
                item_id=item.id,
                changes={"terms": {"points": points}},
                idempotency_key=new_secret(12),
            )

    answers: list[dict[str, object]] = []

    async def collect(member: Buyer) -> None:
        answers.append(await tap(member, item))

    await at_once([reprice(), *(collect(member) for member in members)])
    assert {answer.get("code") for answer in answers} <= {None, "MALL_PRICE_CHANGED"}
    await tap(members[0], item, points=300)
    differing = await rows(
        "SELECT exchange.id FROM mall_exchange exchange JOIN mall_item_version terms ON terms.id = exchange.version_id "
        "WHERE exchange.points <> (terms.definition->>'points')::int * exchange.quantity"
    )
    assert differing == []
    assert await one("SELECT max(version) FROM mall_item") == 4
    await assert_the_books_are_right()
