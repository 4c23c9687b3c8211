"""Flash sales for tests, made by the verbs that operators use."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.engine import rows
from models.flash_sales.flash_sale import FlashItem, FlashSale
from models.ids import new_secret
from resolvers.deps import Deps
from resolvers.flash_sales import flash_session
from resolvers.flash_sales.flash_session import ItemWish, NewSale
from tests.doors import make_operator
from tests.shelf import put_on_shelf


@dataclass(frozen=True, slots=True)
class Sale:
    """A session with one item, and who runs it."""

    id: UUID
    item_id: UUID
    sku_id: UUID
    operator_id: UUID


async def make_sale(
    deps: Deps,
    *,
    published: bool = True,
    sku_id: UUID | None = None,
    opens_at: datetime | None = None,
    closes_at: datetime | None = None,
    claim_minutes: int = 10,
    **item: Any,
) -> Sale:
    """A session of an hour with 10 pieces at 60 yuan instead of 100, 2 for each member; it has opened just now."""
    now = deps.clock.now()
    boss = await make_operator(deps)
    values = {"price_fen": 6_000, "stock": 10, "member_limit": 2, **item}
    wanted = sku_id or await put_on_shelf(deps, stock_left=max(values["stock"], 30))
    begins = opens_at or now
    sale = await flash_session.create(
        deps,
        operator_id=boss.id,
        sale=NewSale(
            title="整点秒杀",
            opens_at=begins,
            closes_at=closes_at or begins + timedelta(hours=1),
            claim_minutes=claim_minutes,
            items=[ItemWish(sku_id=wanted, **values)],
        ),
        idempotency_key=new_secret(12),
    )
    if published:
        await flash_session.publish(deps, operator_id=boss.id, sale_id=sale.id, idempotency_key=new_secret(12))
    item_id = (await FlashItem.get(sale_id=sale.id)).id
    return Sale(sale.id, item_id, wanted, boss.id)


async def close_sale(deps: Deps, sale: Sale) -> FlashSale:
    """Close it as its operator."""
    return await flash_session.close(
        deps, operator_id=sale.operator_id, sale_id=sale.id, idempotency_key=new_secret(12)
    )


async def pieces(sale: Sale) -> dict[str, int]:
    """Where the item's pieces are."""
    found = await rows(
        "SELECT left_count, held_count, sold_count, returned_count, waiting_count, "
        "(SELECT stock_left FROM sku WHERE id = item.sku_id) AS sku FROM flash_item item WHERE id = $1",
        [sale.item_id],
    )
    return {name.removesuffix("_count"): value for name, value in found[0].items()}
