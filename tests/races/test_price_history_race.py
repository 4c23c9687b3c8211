"""Many operators change one price at once: the history has every price once, in one order, and ends with the SKU's."""

from models.catalogue.catalogue import Sku
from models.ids import new_secret
from models.prices.price_change import PriceChange
from resolvers.catalogue import sku
from resolvers.deps import Deps
from tests.doors import make_operator
from tests.races.buyers import assert_the_books_are_right, at_once
from tests.shelf import put_on_shelf

OPERATORS = 8


async def test_prices_that_change_at_once_are_all_kept_in_order(deps: Deps) -> None:
    sku_id = await put_on_shelf(deps, price_fen=10_000)
    bosses = [await make_operator(deps) for _ in range(OPERATORS)]
    await at_once(
        sku.update(
            deps,
            operator_id=boss.id,
            sku_id=sku_id,
            changes={"price_fen": 9_000 + number},
            idempotency_key=new_secret(12),
        )
        for number, boss in enumerate(bosses)
    )
    kept = await PriceChange.filter(sku_id=sku_id).order_by("seq")
    assert [one.seq for one in kept] == list(range(1, OPERATORS + 2))
    assert sorted(one.price_fen for one in kept) == [*range(9_000, 9_000 + OPERATORS), 10_000]
    assert kept[-1].price_fen == (await Sku.get(id=sku_id)).price_fen
    await assert_the_books_are_right()
