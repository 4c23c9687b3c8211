"""Products, as members browse them and as operators keep them."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.catalogue.catalogue import MediaKind, ProductState
from loyalty.payments.after_sale import NoReturnCause
from loyalty.people.rights import Right
from models.catalogue.catalogue import Product as ProductRow
from models.catalogue.catalogue import ProductMedia as MediaRow
from resolvers.catalogue import catalogue
from resolvers.catalogue import product as verbs
from resolvers.catalogue.product import Medium, ProductChanges
from schema.arguments import sent
from schema.catalogue.catalogue import (
    CatalogueInvalidRefusal,
    Key,
    MediaUrlInvalidRefusal,
    ProductIncompleteRefusal,
    SkuCodeTakenRefusal,
    writer,
)
from schema.catalogue.category import Category, OperatorCategory
from schema.catalogue.sku import OperatorSku, Sku, SkuInput, your_price
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, Needs
from schema.prices.promotion import PriceNow, price_now
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    ProductState,
    "Whether a product is on sale.",
    {
        ProductState.DRAFT: "Never published.",
        ProductState.PUBLISHED: "On sale.",
        ProductState.HIDDEN: "Taken off sale.",
    },
)
describe(
    NoReturnCause,
    "Why goods cannot be returned within seven days without a reason: the exceptions of the law.",
    {
        NoReturnCause.CUSTOM_MADE: "Made to order.",
        NoReturnCause.PERISHABLE: "Fresh and perishable.",
        NoReturnCause.DIGITAL: "Digital goods that were opened.",
        NoReturnCause.NEWSPAPER: "Newspapers and periodicals.",
        NoReturnCause.BY_NATURE: "Not fit to be returned by their nature.",
    },
)
describe(
    MediaKind,
    "What a medium of a product shows.",
    {MediaKind.IMAGE: "A picture.", MediaKind.VIDEO: "A video."},
)

ProductIdArgument = Annotated[UUID, strawberry.argument(description="The product.")]
SearchArgument = Annotated[
    str,
    strawberry.argument(
        description="Only products with this text in their title, in upper or lower case; at most 60 characters."
    ),
]


@strawberry.type(description="A picture or video of a product.")
class Media:
    """One medium."""

    kind: MediaKind = strawberry.field(description="What it shows.")
    url: str = strawberry.field(description="Its https address, at most 500 characters.")

    @classmethod
    def from_row(cls, row: MediaRow) -> "Media":
        """The stored medium."""
        return cls(kind=MediaKind(row.kind), url=row.url)


async def _media(info: Info, product_id: UUID) -> list[Media]:
    found = await info.context.loaders.load(catalogue.media, product_id)
    return [Media.from_row(row) for row in found or ()]


async def _skus_on_sale(info: Info, product_id: UUID) -> list[Sku]:
    found = await info.context.loaders.load(catalogue.skus_on_sale, product_id)
    return [Sku.from_row(row) for row in found or ()]


def _no_return(row: ProductRow) -> NoReturnCause | None:
    return NoReturnCause(row.no_return_cause) if row.no_return_cause else None


@strawberry.type(description="Something on sale, in one or more SKUs.")
class Product:
    """A product as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the product.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    subtitle: str = strawberry.field(description="A line under the name, at most 120 characters, or empty.")
    description: str = strawberry.field(description="Plain text, at most 5,000 characters, or empty.")
    published_at: datetime = strawberry.field(description="When it last went on sale.")
    no_return_cause: NoReturnCause | None = strawberry.field(
        description="Why it cannot be returned within seven days without a reason; null: it can."
    )
    category_id: strawberry.Private[UUID | None]

    @strawberry.field(description="The category it stands in; null while that is off the shelves.")
    async def category(self, info: Info) -> Category | None:
        """Loaded for all the products of the answer at once."""
        if self.category_id is None:
            return None
        row = await info.context.loaders.load(catalogue.shelves_by_ids, self.category_id)
        return Category.from_row(row) if row else None

    @strawberry.field(description="Its pictures and videos in their order, 1 to 20.")
    async def media(self, info: Info) -> list[Media]:
        """Loaded for all the products of the answer at once."""
        return await _media(info, self.id)

    @strawberry.field(description="Its visible SKUs in their order, 1 to 100.")
    async def skus(self, info: Info) -> list[Sku]:
        """Loaded for all the products of the answer at once."""
        return await _skus_on_sale(info, self.id)

    @strawberry.field(description="The lowest list price of its visible SKUs, in fen; null if none is left on sale.")
    async def price_from(self, info: Info) -> Fen | None:
        """Out of the same load as the SKUs."""
        return min((sku.price for sku in await _skus_on_sale(info, self.id)), default=None)

    @strawberry.field(
        description="The lowest `yourPrice` of its visible SKUs, in fen; null if none is left on sale.",
    )
    async def your_price_from(self, info: Info) -> Fen | None:
        """Out of the same load as the SKUs."""
        return min([await your_price(info, sku) for sku in await _skus_on_sale(info, self.id)], default=None)

    @strawberry.field(description="The lowest `priceNow` of its visible SKUs; null if none is left on sale.")
    async def price_now_from(self, info: Info) -> PriceNow | None:
        """Out of the same load as the SKUs."""
        found = [await price_now(info, sku.id) for sku in await _skus_on_sale(info, self.id)]
        return min(found, key=lambda one: one.price, default=None)

    @classmethod
    def from_row(cls, row: ProductRow) -> "Product":
        """The stored product, which is published."""
        assert row.published_at is not None, "what is on sale was published"
        return cls(
            id=row.id,
            title=row.title,
            subtitle=row.subtitle,
            description=row.description,
            published_at=row.published_at,
            no_return_cause=_no_return(row),
            category_id=row.category_id,
        )


@strawberry.type(name="Product", description="Something to sell, in one or more SKUs.")
class OperatorProduct:
    """A product as operators see it."""

    id: UUID = strawberry.field(description="Opaque id of the product.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    subtitle: str = strawberry.field(description="A line under the name, at most 120 characters, or empty.")
    description: str = strawberry.field(description="Plain text, at most 5,000 characters, or empty.")
    state: ProductState = strawberry.field(description="Whether it is on sale.")
    published_at: datetime | None = strawberry.field(description="When it last went on sale; null for a draft.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed itself; its SKUs do not count.")
    shipping_template_id: UUID | None = strawberry.field(
        description="The template that it is shipped under; null: the shop's default one."
    )
    no_return_cause: NoReturnCause | None = strawberry.field(
        description="Why it cannot be returned within seven days without a reason; null: it can."
    )
    category_id: strawberry.Private[UUID | None]

    @strawberry.field(description="The category it stands in; null for a draft without one.")
    async def category(self, info: Info) -> OperatorCategory | None:
        """Loaded for all the products of the answer at once."""
        if self.category_id is None:
            return None
        row = await info.context.loaders.load(catalogue.categories_by_ids, self.category_id)
        return OperatorCategory.from_row(row) if row else None

    @strawberry.field(description="Its pictures and videos in their order, at most 20.")
    async def media(self, info: Info) -> list[Media]:
        """Loaded for all the products of the answer at once."""
        return await _media(info, self.id)

    @strawberry.field(description="Its SKUs in their order, hidden ones too, 1 to 100.")
    async def skus(self, info: Info) -> list[OperatorSku]:
        """Loaded for all the products of the answer at once."""
        found = await info.context.loaders.load(catalogue.skus, self.id)
        return [OperatorSku.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: ProductRow) -> "OperatorProduct":
        """The stored product."""
        return cls(
            id=row.id,
            title=row.title,
            subtitle=row.subtitle,
            description=row.description,
            state=ProductState(row.state),
            published_at=row.published_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
            shipping_template_id=row.shipping_template_id,
            no_return_cause=_no_return(row),
            category_id=row.category_id,
        )


@strawberry.input(description="A picture or video of a product.")
class MediaInput:
    """One medium."""

    kind: MediaKind = strawberry.field(default=MediaKind.IMAGE, description="What it shows; a picture unless given.")
    url: str = strawberry.field(description="An https address without blanks, at most 500 characters.")

    def to_medium(self) -> Medium:
        """What the verb takes."""
        return Medium(kind=self.kind, url=self.url)


@strawberry.input(description="A product to be made, as a draft.")
class ProductCreateInput:
    """What a product has."""

    title: str = strawberry.field(description="1 to 60 characters.")
    subtitle: str = strawberry.field(default="", description="At most 120 characters; empty unless given.")
    description: str = strawberry.field(
        default="", description="Plain text, at most 5,000 characters; empty unless given."
    )
    category_id: UUID | None = strawberry.field(
        default=None, description="The category; nothing for none yet. Publishing needs one."
    )
    media: list[MediaInput] = strawberry.field(
        default_factory=list,
        description="Its pictures and videos in their order, at most 20. Publishing needs a picture.",
    )
    no_return_cause: NoReturnCause | None = strawberry.field(
        default=None, description="Why it cannot be returned without a reason; members confirm it with each order."
    )
    skus: list[SkuInput] = strawberry.field(description="Its SKUs in their order, 1 to 100.")


@strawberry.input(description="What is to change of a product. A field that is left out stays as it is.")
class ProductUpdateInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The product.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    subtitle: strawberry.Maybe[str] = strawberry.field(description="At most 120 characters; an empty text clears it.")
    description: strawberry.Maybe[str] = strawberry.field(
        description="Plain text, at most 5,000 characters; an empty text clears it."
    )
    category_id: strawberry.Maybe[UUID | None] = strawberry.field(
        description="The category; null takes it out of its category, which a product on sale does not allow."
    )
    media: strawberry.Maybe[list[MediaInput]] = strawberry.field(
        description="All its pictures and videos in their order, at most 20; what is not in the list is gone."
    )
    no_return_cause: strawberry.Maybe[NoReturnCause | None] = strawberry.field(
        description="Why it cannot be returned without a reason; null: it can. Orders placed before keep what they had."
    )


@strawberry.type(description="The product was made, as a draft.")
class ProductCreated:
    """The new product."""

    product: OperatorProduct = strawberry.field(description="The product.")


@strawberry.type(description="The product is as asked for.")
class ProductUpdated:
    """The changed product."""

    product: OperatorProduct = strawberry.field(description="The product as it is now.")


@strawberry.type(description="The product is on sale.")
class ProductPublished:
    """The published product."""

    product: OperatorProduct = strawberry.field(description="The product as it is now.")


@strawberry.type(description="The product is off sale.")
class ProductHidden:
    """The hidden product."""

    product: OperatorProduct = strawberry.field(description="The product as it is now.")


ProductCreateResult = Annotated[
    ProductCreated | SkuCodeTakenRefusal | MediaUrlInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("ProductCreateResult", description="The product was made, or why not."),
]
ProductUpdateResult = Annotated[
    ProductUpdated | ProductIncompleteRefusal | MediaUrlInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("ProductUpdateResult", description="The product was changed, or why not."),
]
ProductPublishResult = Annotated[
    ProductPublished | ProductIncompleteRefusal | SimpleRefusal,
    strawberry.union("ProductPublishResult", description="The product is on sale, or why not."),
]
ProductHideResult = Annotated[
    ProductHidden | SimpleRefusal,
    strawberry.union("ProductHideResult", description="The product is off sale, or why not."),
]


@strawberry.type
class ShopQuery:
    """Open to members and visitors."""

    @strawberry.field(description="What is on sale; what went on sale last comes first.", extensions=[ForEveryone()])
    async def products(
        self,
        info: Info,
        category_id: Annotated[
            UUID | None,
            strawberry.argument(description="Only what stands in this visible category or in those under it."),
        ] = None,
        search: SearchArgument = "",
        first: First = 20,
        after: After = None,
    ) -> Connection[Product]:
        """One page."""
        found = await catalogue.browse(
            info.context.deps, page=page(catalogue.ON_SALE, first, after), category_id=category_id, search=search
        )
        return connection(found, Product.from_row)

    @strawberry.field(description="A product on sale; null if there is none.", extensions=[ForEveryone()])
    async def product(self, info: Info, id: ProductIdArgument) -> Product | None:
        """One product."""
        row = await catalogue.on_sale(info.context.deps, id)
        return Product.from_row(row) if row else None


@strawberry.type
class OperatorQuery:
    """For those who run the shop."""

    @strawberry.field(
        description="Products in every state; what was made last comes first.",
        extensions=[Needs(Right.CATALOGUE_READ)],
    )
    async def products(
        self,
        info: Info,
        state: Annotated[ProductState | None, strawberry.argument(description="Only those in this state.")] = None,
        category_id: Annotated[
            UUID | None, strawberry.argument(description="Only what stands in this very category.")
        ] = None,
        search: SearchArgument = "",
        first: First = 20,
        after: After = None,
    ) -> Connection[OperatorProduct]:
        """One page."""
        found = await catalogue.products(
            info.context.deps,
            page=page(catalogue.MADE, first, after),
            state=state,
            category_id=category_id,
            search=search,
        )
        return connection(found, OperatorProduct.from_row)

    @strawberry.field(
        description="A product in whatever state; null if there is none.", extensions=[Needs(Right.CATALOGUE_READ)]
    )
    async def product(self, info: Info, id: ProductIdArgument) -> OperatorProduct | None:
        """One product."""
        row = await catalogue.product(info.context.deps, id)
        return OperatorProduct.from_row(row) if row else None


@strawberry.type
class OperatorMutation:
    """For those who stock the shelves."""

    @strawberry.mutation(
        description=(
            "Make a product with its media and SKUs, as a draft. Refusals: `CATALOGUE_INVALID`, `MEDIA_URL_INVALID`, "
            "`SKU_CODE_TAKEN`, `CATEGORY_NOT_FOUND`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def product_create(
        self,
        info: Info,
        input: Annotated[ProductCreateInput, strawberry.argument(description="What it has.")],
        idempotency_key: Key,
    ) -> ProductCreateResult:
        """One call."""
        row = await verbs.create(
            info.context.deps,
            operator_id=writer(info),
            title=input.title,
            subtitle=input.subtitle,
            description=input.description,
            category_id=input.category_id,
            no_return_cause=input.no_return_cause,
            media=[one.to_medium() for one in input.media],
            skus=[one.to_new() for one in input.skus],
            idempotency_key=idempotency_key,
        )
        return ProductCreated(product=OperatorProduct.from_row(row))

    @strawberry.mutation(
        description=(
            "Change a product. One that is on sale keeps a category and a picture. Refusals: `PRODUCT_NOT_FOUND`, "
            "`CATALOGUE_INVALID`, `MEDIA_URL_INVALID`, `CATEGORY_NOT_FOUND`, `PRODUCT_INCOMPLETE`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def product_update(
        self,
        info: Info,
        input: Annotated[ProductUpdateInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> ProductUpdateResult:
        """One call."""
        changes = cast(
            "ProductChanges", sent(input, "title", "subtitle", "description", "category_id", "no_return_cause")
        )
        if input.media:
            changes["media"] = [one.to_medium() for one in input.media.value]
        row = await verbs.update(
            info.context.deps,
            operator_id=writer(info),
            product_id=input.id,
            changes=changes,
            idempotency_key=idempotency_key,
        )
        return ProductUpdated(product=OperatorProduct.from_row(row))

    @strawberry.mutation(
        description=(
            "Put a product on sale; it needs a category, a visible SKU and a picture. Nothing happens to one that "
            "is on sale already. Refusals: `PRODUCT_NOT_FOUND`, `PRODUCT_INCOMPLETE`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def product_publish(
        self, info: Info, product_id: ProductIdArgument, idempotency_key: Key
    ) -> ProductPublishResult:
        """One call."""
        row = await verbs.publish(
            info.context.deps, operator_id=writer(info), product_id=product_id, idempotency_key=idempotency_key
        )
        return ProductPublished(product=OperatorProduct.from_row(row))

    @strawberry.mutation(
        description=(
            "Take a product off sale; orders that have it keep it. Nothing happens to one that is not on sale. "
            "Refusals: `PRODUCT_NOT_FOUND`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def product_hide(self, info: Info, product_id: ProductIdArgument, idempotency_key: Key) -> ProductHideResult:
        """One call."""
        row = await verbs.hide(
            info.context.deps, operator_id=writer(info), product_id=product_id, idempotency_key=idempotency_key
        )
        return ProductHidden(product=OperatorProduct.from_row(row))
