"""What the verbs of the catalogue promise to each other, whoever calls them."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from loyalty.catalogue.catalogue import MAX_CATEGORIES, CatalogueInvalid, SkuCodeTaken, StockKind
from loyalty.orders.order import OutOfStock
from loyalty.people.session import AccountDisabled
from models.catalogue.catalogue import Category, Product, Sku, StockEntry
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.operator import AuditRow, Operator
from resolvers.catalogue import category, product, sku, stock
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import make_operator
from tests.shelves import PICTURE, a_key, make_product, make_sku, new_sku, sku_of


async def test_codes_taken_in_opposite_orders_end_in_a_refusal_and_not_in_a_deadlock(deps: Deps) -> None:
    for _ in range(5):
        codes = [new_secret(8), new_secret(8)]
        operators = [await make_operator(deps) for _ in range(6)]

        async def make(operator: Operator, order: list[str]) -> Product:
            skus = [new_sku(code=code) for code in order]
            return await product.create(deps, operator_id=operator.id, title="龙井", skus=skus, idempotency_key=a_key())

        made = await asyncio.gather(
            *(make(operator, codes if number % 2 else codes[::-1]) for number, operator in enumerate(operators)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Product) for one in made) == 1
        assert sum(isinstance(one, SkuCodeTaken) for one in made) == 5
        assert await Sku.filter(code__in=codes).count() == 2


async def test_a_shop_has_200_categories_also_when_two_make_the_last_at_once(deps: Deps) -> None:
    now = deps.clock.now()
    free = MAX_CATEGORIES - await Category.all().count()
    fillers = [Category(id=new_id(now), name=new_secret(9), created_at=now) for _ in range(free - 1)]
    await Category.bulk_create(fillers)
    operators = [await make_operator(deps) for _ in range(4)]
    made = await asyncio.gather(
        *(category.create(deps, operator_id=one.id, name=new_secret(9), idempotency_key=a_key()) for one in operators),
        return_exceptions=True,
    )
    last = [one for one in made if isinstance(one, Category)]
    await Category.filter(id__in=[one.id for one in (*fillers, *last)]).delete()
    assert len(last) == 1
    assert [one.data["field"] for one in made if isinstance(one, CatalogueInvalid)] == ["categories"] * 3


async def test_a_refused_product_leaves_no_sku_no_stock_and_no_audit_row(deps: Deps) -> None:
    operator = await make_operator(deps)
    taken = (await make_sku(deps)).code
    codes = [new_secret(8), taken]
    with pytest.raises(SkuCodeTaken):
        await product.create(
            deps,
            operator_id=operator.id,
            title="龙井",
            media=[PICTURE],
            skus=[new_sku(code=code) for code in codes],
            idempotency_key=a_key(),
        )
    assert await Sku.filter(code__in=codes).count() == 1
    assert not await AuditRow.exists(operator_id=operator.id)


async def test_a_refused_key_can_be_used_again(deps: Deps) -> None:
    operator, only, key = await make_operator(deps), await make_sku(deps, stock=1), a_key()
    with pytest.raises(OutOfStock):
        await stock.adjust(deps, operator_id=operator.id, sku_id=only.id, amount=-2, reason="盘亏", idempotency_key=key)
    await stock.adjust(deps, operator_id=operator.id, sku_id=only.id, amount=1, reason="到货", idempotency_key=key)
    row, entry = await stock.adjust(
        deps, operator_id=operator.id, sku_id=only.id, amount=1, reason="到货", idempotency_key=key
    )
    assert (row.stock_left, entry.left_after) == (2, 2)


async def test_a_disabled_operator_changes_nothing_any_more(deps: Deps) -> None:
    operator = await make_operator(deps, disabled_at=deps.clock.now())
    only = await make_sku(deps)
    with pytest.raises(AccountDisabled):
        await sku.update(
            deps, operator_id=operator.id, sku_id=only.id, changes={"price_fen": 1}, idempotency_key=a_key()
        )
    assert (await Sku.get(id=only.id)).price_fen == only.price_fen


async def test_a_price_changes_for_new_orders_only_and_stock_stays(deps: Deps) -> None:
    operator, only = await make_operator(deps), await make_sku(deps, stock=7, price_fen=9_900)
    changed = await sku.update(
        deps, operator_id=operator.id, sku_id=only.id, changes={"price_fen": 8_800}, idempotency_key=a_key()
    )
    assert (changed.price_fen, changed.stock_left) == (8_800, 7)
    assert await StockEntry.filter(sku_id=only.id).count() == 1


async def test_a_sku_is_added_behind_those_there_are_with_its_stock(deps: Deps) -> None:
    operator = await make_operator(deps)
    shown = await make_product(deps, skus=[new_sku(), new_sku()])
    added = await sku.create(
        deps, operator_id=operator.id, product_id=shown.id, sku=new_sku(stock=4), idempotency_key=a_key()
    )
    assert (added.position, added.stock_left) == (2, 4)
    (entry,) = await StockEntry.filter(sku_id=added.id)
    assert (entry.kind, entry.amount, entry.left_after, entry.cause_id) == (StockKind.SUPPLY, 4, 4, added.id)


async def test_a_draft_that_is_hidden_stays_a_draft(deps: Deps) -> None:
    operator, draft = await make_operator(deps), await make_product(deps, published=False)
    kept = await product.hide(deps, operator_id=operator.id, product_id=draft.id, idempotency_key=a_key())
    assert kept.state == "draft"


async def test_the_ledger_of_a_sku_adds_up_whatever_moved_it(deps: Deps, clock: SetClock) -> None:
    operator, only = await make_operator(deps), await make_sku(deps, stock=10)
    order_id = new_id(clock.now())
    for kind, amount in ((StockKind.HOLD, -4), (StockKind.RELEASE, 4), (StockKind.RETURN, 1)):
        clock.advance(timedelta(seconds=1))
        async with transaction():
            assert await stock.move(kind, order_id, {only.id: amount}, clock.now())
    later = replace(deps, clock=SetClock(clock.now() + timedelta(seconds=1)))
    await stock.adjust(
        later, operator_id=operator.id, sku_id=only.id, amount=-2, reason="破损", idempotency_key=a_key()
    )
    entries = await StockEntry.filter(sku_id=only.id).order_by("id")
    assert [(entry.kind, entry.amount, entry.left_after) for entry in entries] == [
        ("supply", 10, 10),
        ("hold", -4, 6),
        ("release", 4, 10),
        ("return", 1, 11),
        ("supply", -2, 9),
    ]
    assert (await sku_of(only.product_id)).stock_left == sum(entry.amount for entry in entries) == 9
