"""Sessions of flash sales and their items, as everybody sees them."""

from datetime import datetime
from uuid import UUID

import strawberry

from loyalty.prices.price_history import Beside
from models.flash_sales.flash_sale import FlashItem as FlashItemRow
from models.flash_sales.flash_sale import FlashSale as FlashSaleRow
from resolvers.flash_sales import flash_item
from resolvers.flash_sales import flash_sale as verbs
from resolvers.prices import price_history
from schema.context import Info
from schema.scalars import Fen


@strawberry.type(description="A SKU at a flash price.")
class FlashItem:
    """An item as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the item; buy it with `flashSalePurchase`.")
    sku_id: UUID = strawberry.field(description="The SKU.")
    product_title: str = strawberry.field(description="The product's title.")
    sku_title: str = strawberry.field(description="The SKU's title.")
    price: Fen = strawberry.field(description="Flash price of a piece, in fen.")
    list_price: Fen = strawberry.field(description="List price of a piece, in fen.")
    stock: int = strawberry.field(description="Pieces in the session in all.")
    member_limit: int = strawberry.field(description="Pieces a member may have, 1 to 99.")
    sale_id: UUID = strawberry.field(description="Its session, for `flashSale`.")
    opens_at: strawberry.Private[datetime]

    @strawberry.field(
        description="What may stand struck through beside `price`, in fen: the lowest price of the 7 days before the "
        "session opens; null if there is no honest one."
    )
    async def struck_through_price(self, info: Info) -> Fen | None:
        """Loaded for all the items of the answer at once."""
        asked = Beside(sku_id=self.sku_id, present_fen=self.price, began_at=self.opens_at, flash_item_id=self.id)
        found = await info.context.loaders.load(price_history.beside_activities, asked)
        return None if found is None else Fen(found)

    @strawberry.field(description="About how many pieces can be taken at this moment, 0 or more.")
    async def left(self, info: Info) -> int:
        """Read from the gates of all the items of the answer at once."""
        return await info.context.loaders.load(verbs.open_counts, self.id) or 0

    @strawberry.field(description="Whether nothing can be taken at this moment; unpaid orders may still come back.")
    async def sold_out(self, info: Info) -> bool:
        """Read like ``left``."""
        return not await info.context.loaders.load(verbs.open_counts, self.id)

    @strawberry.field(description="Pieces you have in unpaid and paid orders; null for a visitor.")
    async def bought(self, info: Info) -> int | None:
        """Loaded for all the items of the answer at once."""
        member_id = info.context.member_id
        if member_id is None:
            return None
        return await info.context.loaders.load(verbs.had_counts, (member_id, self.id)) or 0

    @classmethod
    def from_row(cls, row: FlashItemRow, opens_at: datetime) -> "FlashItem":
        """The stored item with its SKU and product."""
        return cls(
            id=row.id,
            sku_id=row.sku_id,
            product_title=row.sku.product.title,
            sku_title=row.sku.title,
            price=Fen(row.price_fen),
            list_price=Fen(row.sku.price_fen),
            stock=row.stock,
            member_limit=row.member_limit,
            opens_at=opens_at,
            sale_id=row.sale_id,
        )


@strawberry.type(description="A session of a flash sale that is running or coming.")
class FlashSale:
    """A session as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the session.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    opens_at: datetime = strawberry.field(description="It sells from this instant on.")
    closes_at: datetime = strawberry.field(description="It sells until before this instant.")

    @strawberry.field(description="The server's time, to count down with: the phone's clock decides nothing.")
    def server_time(self, info: Info) -> datetime:
        """The instant of the request."""
        return info.context.now

    @strawberry.field(description="When it opens for you, early access counted in; `opensAt` for a visitor.")
    async def opens_for_you_at(self, info: Info) -> datetime:
        """Loaded for all the sessions of the answer at once."""
        member_id = info.context.member_id
        if member_id is None:
            return self.opens_at
        found = await info.context.loaders.load(verbs.opens_for_each, (member_id, self.opens_at))
        return found or self.opens_at

    @strawberry.field(description="Its items, 1 to 50, in their order.")
    async def items(self, info: Info) -> list[FlashItem]:
        """Loaded for all the sessions of the answer at once."""
        found = await info.context.loaders.load(verbs.items_by_sale, self.id)
        return [FlashItem.from_row(row, self.opens_at) for row in found or ()]

    @classmethod
    def from_row(cls, row: FlashSaleRow) -> "FlashSale":
        """The stored session."""
        return cls(id=row.id, title=row.title, opens_at=row.opens_at, closes_at=row.closes_at)


async def flash_item_on_offer(info: Info, sku_id: UUID) -> FlashItem | None:
    """The item of a SKU in a session that runs, loaded for all the SKUs of the answer at once; None: in none."""
    row = await info.context.loaders.load(flash_item.items_on_offer, sku_id)
    return FlashItem.from_row(row, row.sale.opens_at) if row else None
