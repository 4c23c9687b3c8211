"""Items of flash sales, as the SKUs in them name them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from loyalty.flash_sales.flash_sale import FlashSaleState
from models.flash_sales.flash_sale import FlashItem
from resolvers.deps import Deps


async def items_on_offer(deps: Deps, sku_ids: Sequence[UUID]) -> Mapping[UUID, FlashItem]:
    """The item of each SKU in a session that runs now; of several, the one that opened first."""
    now = deps.clock.now()
    running = {"sale__state": FlashSaleState.PUBLISHED, "sale__opens_at__lte": now, "sale__closes_at__gt": now}
    items = FlashItem.filter(sku_id__in=list(sku_ids), **running).order_by("-sale__opens_at", "-id")
    return {item.sku_id: item for item in await items.select_related("sale", "sku__product")}
