"""Prices through both doors: changed by operators, bought by members, and what may stand struck through."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Sku
from models.engine import rows
from models.ids import new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from tests.doors import Bearer, Door
from tests.races.buyers import CONFIRM, buyer
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

UPDATE = """
mutation Update($input: SkuUpdateInput!, $key: IdempotencyKey!) {
  done: skuUpdate(input: $input, idempotencyKey: $key) {
    __typename ... on SkuUpdated { sku { price struckThroughPrice } } ... on Refusal { code }
  }
}
"""
CHANGES = """
query Changes($id: ID!, $first: Int) {
  priceChanges(skuId: $id, first: $first) { nodes { seq price memberPrice struckThroughPrice beganAt at } }
}
"""
PRODUCT = "query Product($id: ID!) { product(id: $id) { skus { id price struckThroughPrice } } }"


async def priced(admin: Door, boss: Bearer, sku_id: UUID, **prices: int | None) -> dict[str, Any]:
    found = await admin.ask(UPDATE, {"input": {"id": str(sku_id), **prices}, "key": new_secret(12)}, token=boss)
    assert found["done"]["__typename"] == "SkuUpdated", found
    sku: dict[str, Any] = found["done"]["sku"]
    return sku


async def changes(admin: Door, boss: Bearer, sku_id: UUID) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await admin.ask(CHANGES, {"id": str(sku_id)}, token=boss))["priceChanges"]["nodes"]
    return nodes


async def test_a_cut_shows_what_was_really_charged_and_a_rise_before_it_does_not_help(
    shop: Door, admin: Door, deps: Deps, clock: SetClock, wechat: SandboxControl, operator_token: Tokens
) -> None:
    sku_id, boss = await put_on_shelf(deps, price_fen=10_000), await operator_token()
    assert (await priced(admin, boss, sku_id, price=9_900))["struckThroughPrice"] is None
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(sku_id)
    await member.pay(wechat, order_id)
    assert (await member.ask(CONFIRM, id=order_id))["order"]["state"] == "PAID"
    clock.advance(timedelta(days=7, seconds=1))
    boss = await operator_token()
    cut = await priced(admin, boss, sku_id, price=8_000)
    assert cut == {"price": 8_000, "struckThroughPrice": 9_900}
    sku = await Sku.get(id=sku_id)
    seen = (await shop.ask(PRODUCT, {"id": str(sku.product_id)}))["product"]["skus"]
    assert seen == [{"id": str(sku_id), "price": 8_000, "struckThroughPrice": 9_900}]
    await priced(admin, boss, sku_id, price=12_000)
    clock.advance(timedelta(days=3))
    boss = await operator_token()
    assert (await priced(admin, boss, sku_id, price=8_500))["struckThroughPrice"] is None
    assert [one["seq"] for one in await changes(admin, boss, sku_id)] == [5, 4, 3, 2, 1]


async def test_a_member_price_alone_keeps_the_price_and_what_is_struck_through(
    admin: Door, deps: Deps, clock: SetClock, operator_token: Tokens
) -> None:
    sku_id, boss = await put_on_shelf(deps, price_fen=10_000), await operator_token()
    clock.advance(timedelta(minutes=1))
    await priced(admin, boss, sku_id, memberPrice=9_000)
    await priced(admin, boss, sku_id, memberPrice=9_000)
    last, first = await changes(admin, boss, sku_id)
    assert (last["memberPrice"], last["price"], first["memberPrice"]) == (9_000, 10_000, None)
    assert last["beganAt"] == first["at"] < last["at"]
    found = {one.invariant.name: one.offenders for one in await verify() if one.offenders}
    assert "price_history" not in found


async def test_nobody_writes_a_struck_through_price(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    sku_id, boss = await put_on_shelf(deps), await operator_token()
    written = {"input": {"id": str(sku_id), "struckThroughPrice": 99_000}, "key": new_secret(12)}
    assert await admin.codes(UPDATE, written, token=boss) == ["BAD_INPUT"]
    for change in ("UPDATE price_change SET baseline_fen = 99000", "DELETE FROM price_change"):
        with pytest.raises(IntegrityError, match="price_change"):
            await rows(f"{change} WHERE sku_id = $1", [sku_id])


async def test_the_history_takes_the_same_statements_for_1_and_12_rows(
    admin: Door, deps: Deps, operator_token: Tokens
) -> None:
    sku_id, boss = await put_on_shelf(deps), await operator_token()
    for number in range(12):
        await priced(admin, boss, sku_id, price=9_000 + number)
    counts = []
    for size in (1, 12):
        counter = SqlCount()
        mark = sql_count.set(counter)
        found = await admin.ask(CHANGES, {"id": str(sku_id), "first": size}, token=boss)
        sql_count.reset(mark)
        assert len(found["priceChanges"]["nodes"]) == size
        counts.append(counter.value)
    assert counts[0] == counts[1] > 0
