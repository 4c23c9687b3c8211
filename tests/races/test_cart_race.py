"""One cart, many devices: parallel adds sum up, and two devices order the same cart once for each key."""

import pytest

from models.engine import rows
from models.ids import new_secret
from resolvers.deps import Deps
from resolvers.orders import cart as verbs
from tests.doors import Door
from tests.races.buyers import (
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

TAPS = 10
ADD = """
mutation($sku: ID!, $key: IdempotencyKey!) {
  done: cartAdd(skuId: $sku, quantity: 2, idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""
PLACE = """
mutation($lines: [OrderLineInput!]!, $key: IdempotencyKey!) {
  done: orderPlace(input: {lines: $lines, fromCart: true}, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id } } ... on Refusal { code }
  }
}
"""


async def pieces(who: Buyer) -> int:
    found = await one("SELECT coalesce(sum(quantity), 0)::int FROM cart_line WHERE member_id = $1", who.member_id)
    return int(found)


async def test_parallel_adds_of_one_sku_sum_exactly(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    who, sku_id = await buyer(deps, shop, wechat), await put_on_shelf(deps)
    answers = await at_once(who.ask(ADD, sku=str(sku_id), key=new_secret(12)) for _ in range(TAPS))
    assert {answer["__typename"] for answer in answers} == {"CartChanged"}
    assert await pieces(who) == 2 * TAPS


async def test_one_tap_that_arrives_many_times_at_once_adds_once(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    who, sku_id = await buyer(deps, shop, wechat), await put_on_shelf(deps)
    await at_once(who.ask(ADD, sku=str(sku_id), key="one-tap-on-add") for _ in range(TAPS))
    assert await pieces(who) == 2


async def test_control_without_the_lock_adds_are_lost(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, sku_id = await buyer(deps, shop, wechat), await put_on_shelf(deps)
    without_member_locks(monkeypatch, together=5)
    decided_before_any_writes(monkeypatch, verbs, "_keep", together=5)
    await at_once(who.ask(ADD, sku=str(sku_id), key=new_secret(12)) for _ in range(5))
    assert await pieces(who) < 10


async def test_two_devices_that_order_one_cart_order_once_for_each_key(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    who, sku_id = await buyer(deps, shop, wechat), await put_on_shelf(deps)
    await who.ask(ADD, sku=str(sku_id), key=new_secret(12))
    lines = [{"skuId": str(sku_id), "quantity": 2}]
    keys = ["the-first-device", "the-other-device"] * 5
    answers = await at_once(who.ask(PLACE, lines=lines, key=key) for key in keys)
    assert len({answer["order"]["id"] for answer in answers}) == 2
    assert await pieces(who) == 0
    assert len(await rows("SELECT id FROM shop_order WHERE member_id = $1", [who.member_id])) == 2
    await assert_the_books_are_right()
