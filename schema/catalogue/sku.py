"""SKUs, as members buy them and as operators keep them."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.prices.unit_price import unit_price
from models.catalogue.catalogue import Sku as SkuRow
from resolvers.catalogue import catalogue
from resolvers.catalogue import sku as verbs
from resolvers.catalogue.product import NewSku
from resolvers.catalogue.sku import SkuChanges
from resolvers.prices import price_history
from schema.arguments import sent
from schema.catalogue.catalogue import (
    CatalogueInvalidRefusal,
    Key,
    ProductIncompleteRefusal,
    SkuCodeTakenRefusal,
    writer,
)
from schema.context import Info
from schema.flash_sales.flash_item import FlashItem, flash_item_on_offer
from schema.group_buys.group_team import GroupItem, item_on_offer
from schema.permissions import Needs
from schema.prices.promotion import PriceNow, price_now
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

SkuIdArgument = Annotated[UUID, strawberry.argument(description="The SKU.")]


@strawberry.type(description="One thing to buy, with one price and one stock.")
class Sku:
    """A SKU as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the SKU.")
    title: str = strawberry.field(description="What tells it from its neighbours, 1 to 60 characters.")
    price: Fen = strawberry.field(description="List price of one piece, in fen.")
    member_price: Fen | None = strawberry.field(
        description="Price of one piece for every member, in fen, at most the list price; null if there is none."
    )
    purchase_limit: int | None = strawberry.field(
        description="How many pieces one member may buy in all; null without a limit."
    )
    stock_left: int = strawberry.field(description="Pieces left at this moment, 0 or more.")

    @strawberry.field(description="Whether any piece is left.")
    def in_stock(self) -> bool:
        """More than none."""
        return self.stock_left > 0

    @strawberry.field(
        description=(
            "What one piece costs the one who asks, in fen: for a member the lowest of list price, member price and "
            "the list price less the discount of their tier; for a visitor the list price."
        )
    )
    async def your_price(self, info: Info) -> Fen:
        """The tier is loaded once for all the SKUs of the answer."""
        return await your_price(info, self)

    @strawberry.field(
        description="What one piece costs the one who asks now, with the promotions of single pieces, and which "
        "promotion that is. What takes several pieces or the whole order is not counted in."
    )
    async def price_now(self, info: Info) -> PriceNow:
        """Loaded for all the SKUs of the answer at once."""
        return await price_now(info, self.id)

    @strawberry.field(
        description="Its item in a campaign of group-buying 拼团 in which teams can be opened now; null: in none. Of "
        "several, the one that opened first."
    )
    async def group_buy_item(self, info: Info) -> GroupItem | None:
        """Loaded for all the SKUs of the answer at once."""
        return await item_on_offer(info, self.id)

    @strawberry.field(
        description="Its item in a flash sale 秒杀 that runs now; null: in none. Of several, the one that opened first."
    )
    async def flash_sale_item(self, info: Info) -> FlashItem | None:
        """Loaded for all the SKUs of the answer at once."""
        return await flash_item_on_offer(info, self.id)

    @strawberry.field(
        description="What may stand struck through beside `price`, in fen: the lowest price of the 7 days before it; "
        "null if there is no honest one."
    )
    async def struck_through_price(self, info: Info) -> Fen | None:
        """Loaded for all the SKUs of the answer at once."""
        found = await info.context.loaders.load(price_history.struck_through_prices, self.id)
        return None if found is None else Fen(found)

    @classmethod
    def from_row(cls, row: SkuRow) -> "Sku":
        """The stored SKU."""
        return cls(
            id=row.id,
            title=row.title,
            price=Fen(row.price_fen),
            member_price=None if row.member_price_fen is None else Fen(row.member_price_fen),
            purchase_limit=row.purchase_limit,
            stock_left=row.stock_left,
        )


async def your_price(info: Info, sku: Sku) -> Fen:
    """The price of one piece for the one who asks."""
    if info.context.member_id is None:
        return sku.price
    tier = await info.context.loaders.load(catalogue.tiers_of, info.context.member_id)
    price_fen, _ = unit_price(list_price_fen=sku.price, member_price_fen=sku.member_price, tier=tier)
    return Fen(price_fen)


@strawberry.type(name="Sku", description="One thing to buy, with one price and one stock.")
class OperatorSku:
    """A SKU as operators see it."""

    id: UUID = strawberry.field(description="Opaque id of the SKU.")
    product_id: UUID = strawberry.field(description="The product it belongs to.")
    code: str = strawberry.field(description="The shop's own code for it, 1 to 40 characters, unique in the shop.")
    title: str = strawberry.field(description="What tells it from its neighbours, 1 to 60 characters.")
    price: Fen = strawberry.field(description="List price of one piece, in fen.")
    member_price: Fen | None = strawberry.field(
        description="Price of one piece for every member, in fen, at most the list price; null if there is none."
    )
    purchase_limit: int | None = strawberry.field(
        description="How many pieces one member may buy in all; null without a limit."
    )
    stock_left: int = strawberry.field(description="Pieces left at this moment, 0 or more; the sum of `stockEntries`.")
    weight_g: int = strawberry.field(description="Weight of one piece as it is shipped, in grams, 0 to 1,000,000.")
    hidden: bool = strawberry.field(description="Whether it is off sale while its product may be on sale.")
    position: int = strawberry.field(description="Its place in the product, 0 to 9,999, the least first.")
    created_at: datetime = strawberry.field(description="When it was made.")

    @strawberry.field(
        description="What may stand struck through beside `price`, in fen: the lowest price of the 7 days before it; "
        "null if there is no honest one."
    )
    async def struck_through_price(self, info: Info) -> Fen | None:
        """Loaded for all the SKUs of the answer at once."""
        found = await info.context.loaders.load(price_history.struck_through_prices, self.id)
        return None if found is None else Fen(found)

    @classmethod
    def from_row(cls, row: SkuRow) -> "OperatorSku":
        """The stored SKU."""
        return cls(
            id=row.id,
            product_id=row.product_id,
            code=row.code,
            title=row.title,
            price=Fen(row.price_fen),
            member_price=None if row.member_price_fen is None else Fen(row.member_price_fen),
            purchase_limit=row.purchase_limit,
            stock_left=row.stock_left,
            weight_g=row.weight_g,
            hidden=row.hidden,
            position=row.position,
            created_at=row.created_at,
        )


@strawberry.input(description="A SKU to be made. It is visible as soon as its product is.")
class SkuInput:
    """What a SKU has."""

    code: str = strawberry.field(description="1 to 40 characters, unique in the shop.")
    title: str = strawberry.field(description="1 to 60 characters.")
    price: Fen = strawberry.field(description="List price of one piece in fen, 1 to 1,000,000,000.")
    member_price: Fen | None = strawberry.field(
        default=None, description="Price for every member in fen, 1 to the list price; nothing for none."
    )
    purchase_limit: int | None = strawberry.field(
        default=None, description="How many pieces one member may buy in all, 1 to 1,000,000; nothing for no limit."
    )
    weight_g: int = strawberry.field(
        default=0, description="Weight of one piece as it is shipped, in grams, 0 to 1,000,000; 0 unless given."
    )
    stock: int = strawberry.field(default=0, description="Pieces it starts with, 0 to 10,000,000; 0 unless given.")

    def to_new(self) -> NewSku:
        """What the verb takes."""
        return NewSku(
            code=self.code,
            title=self.title,
            price_fen=self.price,
            member_price_fen=self.member_price,
            purchase_limit=self.purchase_limit,
            weight_g=self.weight_g,
            stock=self.stock,
        )


@strawberry.input(description="What is to change of a SKU. A field that is left out stays as it is.")
class SkuUpdateInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The SKU.")
    code: strawberry.Maybe[str] = strawberry.field(description="1 to 40 characters, unique in the shop.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    price: strawberry.Maybe[Fen] = strawberry.field(
        description="List price of one piece in fen, 1 to 1,000,000,000, at least the member price."
    )
    member_price: strawberry.Maybe[Fen | None] = strawberry.field(
        description="Price for every member in fen, 1 to the list price; null takes it away."
    )
    purchase_limit: strawberry.Maybe[int | None] = strawberry.field(
        description="How many pieces one member may buy in all, 1 to 1,000,000; null takes the limit away."
    )
    position: strawberry.Maybe[int] = strawberry.field(
        description="Its place in the product, 0 to 9,999, the least first."
    )
    weight_g: strawberry.Maybe[int] = strawberry.field(
        description="Weight of one piece as it is shipped, in grams, 0 to 1,000,000."
    )


@strawberry.type(description="The SKU was made.")
class SkuCreated:
    """The new SKU."""

    sku: OperatorSku = strawberry.field(description="The SKU.")


@strawberry.type(description="The SKU is as asked for.")
class SkuUpdated:
    """The changed SKU."""

    sku: OperatorSku = strawberry.field(description="The SKU as it is now.")


@strawberry.type(description="The SKU is off sale.")
class SkuHidden:
    """The hidden SKU."""

    sku: OperatorSku = strawberry.field(description="The SKU as it is now.")


@strawberry.type(description="The SKU is on sale whenever its product is.")
class SkuShown:
    """The SKU that came back."""

    sku: OperatorSku = strawberry.field(description="The SKU as it is now.")


SkuCreateResult = Annotated[
    SkuCreated | SkuCodeTakenRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("SkuCreateResult", description="The SKU was made, or why not."),
]
SkuUpdateResult = Annotated[
    SkuUpdated | SkuCodeTakenRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("SkuUpdateResult", description="The SKU was changed, or why not."),
]
SkuHideResult = Annotated[
    SkuHidden | ProductIncompleteRefusal | SimpleRefusal,
    strawberry.union("SkuHideResult", description="The SKU is hidden, or why not."),
]
SkuShowResult = Annotated[
    SkuShown | SimpleRefusal, strawberry.union("SkuShowResult", description="The SKU is shown, or why not.")
]


@strawberry.type
class OperatorMutation:
    """For those who stock the shelves."""

    @strawberry.mutation(
        description=(
            "Add a SKU to a product, behind those it has; 100 at most. Refusals: `PRODUCT_NOT_FOUND`, "
            "`CATALOGUE_INVALID`, `SKU_CODE_TAKEN`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def sku_create(
        self,
        info: Info,
        product_id: Annotated[UUID, strawberry.argument(description="The product it is to belong to.")],
        input: Annotated[SkuInput, strawberry.argument(description="What it has.")],
        idempotency_key: Key,
    ) -> SkuCreateResult:
        """One call."""
        row = await verbs.create(
            info.context.deps,
            operator_id=writer(info),
            product_id=product_id,
            sku=input.to_new(),
            idempotency_key=idempotency_key,
        )
        return SkuCreated(sku=OperatorSku.from_row(row))

    @strawberry.mutation(
        description=(
            "Change a SKU. Orders placed before keep their price; stock is moved by `stockAdjust`. Refusals: "
            "`SKU_NOT_FOUND`, `CATALOGUE_INVALID`, `SKU_CODE_TAKEN`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def sku_update(
        self,
        info: Info,
        input: Annotated[SkuUpdateInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> SkuUpdateResult:
        """One call."""
        changes = sent(
            input,
            "code",
            "title",
            "purchase_limit",
            "position",
            "weight_g",
            price="price_fen",
            member_price="member_price_fen",
        )
        row = await verbs.update(
            info.context.deps,
            operator_id=writer(info),
            sku_id=input.id,
            changes=cast("SkuChanges", changes),
            idempotency_key=idempotency_key,
        )
        return SkuUpdated(sku=OperatorSku.from_row(row))

    @strawberry.mutation(
        description=(
            "Take a SKU off sale. The last visible one of a product that is on sale stays: hide the product. Refusals: "
            "`SKU_NOT_FOUND`, `PRODUCT_INCOMPLETE`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def sku_hide(self, info: Info, sku_id: SkuIdArgument, idempotency_key: Key) -> SkuHideResult:
        """One call."""
        row = await verbs.hide(
            info.context.deps, operator_id=writer(info), sku_id=sku_id, idempotency_key=idempotency_key
        )
        return SkuHidden(sku=OperatorSku.from_row(row))

    @strawberry.mutation(
        description="Bring a hidden SKU back. Refusals: `SKU_NOT_FOUND`, `KEY_REUSED`.",
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def sku_show(self, info: Info, sku_id: SkuIdArgument, idempotency_key: Key) -> SkuShowResult:
        """One call."""
        row = await verbs.show(
            info.context.deps, operator_id=writer(info), sku_id=sku_id, idempotency_key=idempotency_key
        )
        return SkuShown(sku=OperatorSku.from_row(row))
