"""A product on the shelf, made without the operators' verbs, for tests that are about something else."""

from uuid import UUID

from loyalty.catalogue.catalogue import StockKind
from models.catalogue.catalogue import Product, Sku
from models.engine import transaction
from models.ids import new_id, new_secret
from resolvers.catalogue import stock
from resolvers.deps import Deps
from resolvers.prices import price_history


async def put_on_shelf(
    deps: Deps,
    *,
    price_fen: int = 10_000,
    stock_left: int = 100,
    member_price_fen: int | None = None,
    purchase_limit: int | None = None,
) -> UUID:
    """The id of a new SKU of a new published product."""
    now = deps.clock.now()
    async with transaction():
        product = await Product.create(
            id=new_id(now), title="乌龙茶", state="published", published_at=now, created_at=now, updated_at=now
        )
        sku = await Sku.create(
            id=new_id(now),
            product_id=product.id,
            code=new_secret(9),
            title="250 克",
            price_fen=price_fen,
            member_price_fen=member_price_fen,
            purchase_limit=purchase_limit,
            created_at=now,
        )
        await price_history.begin(sku, now)
        if stock_left:
            await stock.move(StockKind.SUPPLY, new_id(now), {sku.id: stock_left}, now)
    return sku.id
