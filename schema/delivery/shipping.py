"""Shipping templates 运费模板: what operators charge for sending goods, and where they do not send them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.delivery.shipping import ChargeBy, Rate, ShippingTerms
from loyalty.people.rights import Right
from models.delivery.shipping import ShippingTemplate as ShippingTemplateRow
from models.delivery.shipping import ShippingTemplateVersion as ShippingTemplateVersionRow
from resolvers.delivery import shipping as verbs
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key
from schema.catalogue.product import OperatorProduct
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.programme import ProgrammeInvalidRefusal, api_words, definition_of
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    ChargeBy,
    "What a shipping template counts.",
    {ChargeBy.PIECE: "Pieces 按件.", ChargeBy.WEIGHT: "Grams 按重量: the weight of the SKU times the pieces."},
)


@strawberry.type(description="Shipping fees of some regions.")
class ShippingRate:
    """Fees and what makes them free."""

    first_units: int = strawberry.field(description="Pieces or grams that the first fee covers.")
    first_fee: Fen = strawberry.field(description="The first fee, in fen.")
    further_units: int = strawberry.field(description="Pieces or grams for each further fee; a begun lot counts.")
    further_fee: Fen = strawberry.field(description="The further fee, in fen.")
    free_from: Fen | None = strawberry.field(
        description="Ships free from goods of this amount under the template, after promotions, in fen; null: never."
    )
    free_from_pieces: int | None = strawberry.field(description="Ships free from so many pieces; null: never.")
    free_on_either: bool = strawberry.field(description="Whether one of two thresholds is enough.")

    @classmethod
    def of(cls, rate: Rate) -> "ShippingRate":
        """The rule's fees."""
        return cls(
            first_units=rate.first_units,
            first_fee=Fen(rate.first_fen),
            further_units=rate.further_units,
            further_fee=Fen(rate.further_fen),
            free_from=None if rate.free_from_fen is None else Fen(rate.free_from_fen),
            free_from_pieces=rate.free_from_pieces,
            free_on_either=rate.free_on_either,
        )


@strawberry.type(description="Some places and what shipping there costs.")
class ShippingRegion:
    """One region of a template."""

    codes: list[str] = strawberry.field(
        description="GB/T 2260 codes of provinces (2 digits), cities (4) and districts (6)."
    )
    rate: ShippingRate = strawberry.field(description="The fees there.")


@strawberry.type(description="One version of a shipping template's terms. It never changes.")
class ShippingTemplateVersion:
    """What an order's fee was found under."""

    id: UUID = strawberry.field(description="Opaque id.")
    version: int = strawberry.field(description="Counts from 1 within the template.")
    charge_by: ChargeBy = strawberry.field(description="What is counted.")
    regions: list[ShippingRegion] = strawberry.field(
        description="Places with fees of their own; the longest code wins."
    )
    otherwise: ShippingRate | None = strawberry.field(
        description="The fees of all other places; null: they are not delivered to."
    )
    undelivered: list[str] = strawberry.field(description="Codes of places that are not delivered to.")
    made_at: datetime = strawberry.field(description="When it came into force.")

    @classmethod
    def from_row(cls, row: ShippingTemplateVersionRow) -> "ShippingTemplateVersion":
        """The stored version."""
        terms = ShippingTerms.parse(row.definition)
        return cls(
            id=row.id,
            version=row.version,
            charge_by=terms.charge_by,
            regions=[
                ShippingRegion(codes=list(region.codes), rate=ShippingRate.of(region.rate)) for region in terms.regions
            ],
            otherwise=ShippingRate.of(terms.otherwise) if terms.otherwise else None,
            undelivered=list(terms.undelivered),
            made_at=row.made_at,
        )


@strawberry.type(description="A set of shipping fees 运费模板 that products are shipped under.")
class ShippingTemplate:
    """One template with its terms in force."""

    id: UUID = strawberry.field(description="Opaque id.")
    code: str = strawberry.field(description="What explanations call it: 1 to 40 of a-z, 0-9, _.")
    title: str = strawberry.field(description="For operators, 1 to 60 characters.")
    version: int = strawberry.field(description="The number of the terms in force.")
    is_default: bool = strawberry.field(description="Whether products without a template are shipped under it.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @strawberry.field(description="The terms in force.")
    async def terms(self, info: Info) -> ShippingTemplateVersion:
        """Loaded for all the templates of the answer at once."""
        found = await info.context.loaders.load(verbs.in_force, self.id)
        assert found is not None, "a template has terms"
        return ShippingTemplateVersion.from_row(found)

    @classmethod
    def from_row(cls, row: ShippingTemplateRow) -> "ShippingTemplate":
        """The stored template."""
        return cls(
            id=row.id,
            code=row.code,
            title=row.title,
            version=row.version,
            is_default=row.is_default,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@strawberry.input(description="Shipping fees.")
class ShippingRateInput:
    """Fees and what makes them free."""

    first_units: int = strawberry.field(default=1, description="1 to 1,000,000 pieces or grams; 1 unless given.")
    first_fee: Fen = strawberry.field(description="0 to 1,000,000 fen.")
    further_units: int = strawberry.field(default=1, description="1 to 1,000,000 pieces or grams; 1 unless given.")
    further_fee: Fen = strawberry.field(default=Fen(0), description="0 to 100,000 fen; 0 unless given.")
    free_from: Fen | None = strawberry.field(
        default=None, description="Ships free from goods of 1 to 1,000,000,000 fen under the template; nothing: never."
    )
    free_from_pieces: int | None = strawberry.field(
        default=None, description="Ships free from 1 to 100,000 pieces; nothing: never."
    )
    free_on_either: bool = strawberry.field(
        default=False, description="Of two thresholds, whether one is enough; otherwise both are needed."
    )


@strawberry.input(description="Some places and what shipping there costs.")
class ShippingRegionInput:
    """One region."""

    codes: list[str] = strawberry.field(
        description="1 to 500 GB/T 2260 codes of provinces (2 digits), cities (4) and districts (6), each once in the "
        "template."
    )
    rate: ShippingRateInput = strawberry.field(description="The fees there.")


@strawberry.input(description="The terms of a shipping template.")
class ShippingTermsInput:
    """All of them."""

    charge_by: ChargeBy = strawberry.field(default=ChargeBy.PIECE, description="What is counted; pieces unless given.")
    regions: list[ShippingRegionInput] = strawberry.field(
        default_factory=list, description="At most 50 regions; the longest code that an address begins with wins."
    )
    otherwise: ShippingRateInput | None = strawberry.field(
        default=None, description="The fees of all other places; nothing: they are not delivered to."
    )
    undelivered: list[str] = strawberry.field(
        default_factory=list, description="Codes of at most 500 places that are not delivered to."
    )


_COLUMNS = {"first_fee": "first_fen", "further_fee": "further_fen", "free_from": "free_from_fen"}
_NAMES = {
    "first_units": "firstUnits",
    "first_fen": "firstFee",
    "further_units": "furtherUnits",
    "further_fen": "furtherFee",
    "free_from_fen": "freeFrom",
    "free_from_pieces": "freeFromPieces",
}


def _definition(given: ShippingTermsInput) -> dict[str, object]:
    """The definition that the rule parses."""
    found: dict[str, object] = {
        "charge_by": given.charge_by.value,
        "regions": [{"codes": list(one.codes), **_rate(one.rate)} for one in given.regions],
        "undelivered": list(given.undelivered),
    }
    if given.otherwise is not None:
        found["otherwise"] = _rate(given.otherwise)
    return found


def _rate(given: ShippingRateInput) -> dict[str, object]:
    return {_COLUMNS.get(name, name): value for name, value in definition_of(given).items()}


def _paths(given: ShippingTermsInput) -> dict[str, str]:
    """Where the API has what the rule names otherwise."""
    paths = {f"otherwise.{column}": f"otherwise.{name}" for column, name in _NAMES.items()}
    for at in range(len(given.regions)):
        paths |= {f"regions[{at}].{column}": f"regions[{at}].rate.{name}" for column, name in _NAMES.items()}
    return paths


@strawberry.type(description="The shipping template as it is now.")
class ShippingTemplateKept:
    """Success of shippingTemplateCreate and shippingTemplateChange."""

    template: ShippingTemplate = strawberry.field(description="The template.")


@strawberry.type(description="What products without a template are shipped under now.")
class ShippingDefaultKept:
    """Success of shippingDefaultSet."""

    template_id: UUID | None = strawberry.field(description="The template; null: they are shipped free.")


@strawberry.type(description="The product is shipped as asked for.")
class ProductShippingKept:
    """Success of productShippingSet."""

    product: OperatorProduct = strawberry.field(description="The product as it is now.")


ShippingTemplateResult = Annotated[
    ShippingTemplateKept | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("ShippingTemplateResult", description="The template, or why it was not kept."),
]
ShippingDefaultResult = Annotated[
    ShippingDefaultKept | SimpleRefusal,
    strawberry.union("ShippingDefaultResult", description="The default, or why it was not set."),
]
ProductShippingResult = Annotated[
    ProductShippingKept | SimpleRefusal,
    strawberry.union("ProductShippingResult", description="The product, or why it was not changed."),
]

TemplateId = Annotated[UUID, strawberry.argument(description="The template.")]
Terms = Annotated[ShippingTermsInput, strawberry.argument(description="Its terms, all of them.")]


@strawberry.type
class OperatorQuery:
    """For those who run the shop."""

    @strawberry.field(description="Shipping templates, the newest first.", extensions=[Needs(Right.SHIPPING_READ)])
    async def shipping_templates(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[ShippingTemplate]:
        """One page."""
        found = await verbs.templates(info.context.deps, page=page(verbs.MADE, first, after))
        return connection(found, ShippingTemplate.from_row)

    @strawberry.field(
        description="The versions of a template's terms, the newest first.", extensions=[Needs(Right.SHIPPING_READ)]
    )
    async def shipping_template_versions(
        self, info: Info, template_id: TemplateId, first: First = 20, after: After = None
    ) -> Connection[ShippingTemplateVersion]:
        """One page."""
        found = await verbs.versions(info.context.deps, template_id, page=page(verbs.VERSIONS, first, after))
        return connection(found, ShippingTemplateVersion.from_row)


@strawberry.type
class OperatorMutation:
    """For those who say what shipping costs."""

    @strawberry.mutation(
        description="Make a shipping template. Refusals: `PROGRAMME_INVALID`, `CATALOGUE_INVALID` (the title), "
        "`SHIPPING_TEMPLATE_CODE_TAKEN`, `KEY_REUSED`.",
        extensions=[Needs(Right.SHIPPING_WRITE)],
    )
    async def shipping_template_create(
        self,
        info: Info,
        code: Annotated[str, strawberry.argument(description="1 to 40 of a-z, 0-9, _, a letter first; unique.")],
        title: Annotated[str, strawberry.argument(description="For operators, 1 to 60 characters.")],
        terms: Terms,
        idempotency_key: Key,
        is_default: Annotated[
            bool, strawberry.argument(description="Whether products without a template are shipped under it.")
        ] = False,
    ) -> ShippingTemplateResult:
        """One call."""
        with api_words(_paths(terms)):
            row = await verbs.create(
                info.context.deps,
                operator_id=_writer(info),
                code=code,
                title=title,
                terms=_definition(terms),
                is_default=is_default,
                idempotency_key=idempotency_key,
            )
        return ShippingTemplateKept(template=ShippingTemplate.from_row(row))

    @strawberry.mutation(
        description="Change a shipping template. Other terms are a new version, for orders placed from now on. "
        "Refusals: `SHIPPING_TEMPLATE_NOT_FOUND`, `PROGRAMME_INVALID`, `CATALOGUE_INVALID` (the title), `KEY_REUSED`.",
        extensions=[Needs(Right.SHIPPING_WRITE)],
    )
    async def shipping_template_change(
        self,
        info: Info,
        template_id: TemplateId,
        idempotency_key: Key,
        title: Annotated[
            str | None, strawberry.argument(description="1 to 60 characters; left out or null, it stays.")
        ] = None,
        terms: Annotated[
            ShippingTermsInput | None,
            strawberry.argument(description="All of the terms; left out or null, they stay."),
        ] = None,
    ) -> ShippingTemplateResult:
        """One call."""
        changes: verbs.TemplateChanges = {}
        if title is not None:
            changes["title"] = title
        if terms is not None:
            changes["terms"] = _definition(terms)
        with api_words(_paths(terms) if terms else None):
            row = await verbs.change(
                info.context.deps,
                operator_id=_writer(info),
                template_id=template_id,
                changes=changes,
                idempotency_key=idempotency_key,
            )
        return ShippingTemplateKept(template=ShippingTemplate.from_row(row))

    @strawberry.mutation(
        description="Choose what products without a template of their own are shipped under. Refusals: "
        "`SHIPPING_TEMPLATE_NOT_FOUND`, `KEY_REUSED`.",
        extensions=[Needs(Right.SHIPPING_WRITE)],
    )
    async def shipping_default_set(
        self,
        info: Info,
        idempotency_key: Key,
        template_id: Annotated[
            UUID | None, strawberry.argument(description="The template; null or left out: shipped free.")
        ] = None,
    ) -> ShippingDefaultResult:
        """One call."""
        await verbs.set_default(
            info.context.deps, operator_id=_writer(info), template_id=template_id, idempotency_key=idempotency_key
        )
        return ShippingDefaultKept(template_id=template_id)

    @strawberry.mutation(
        description="Choose what a product is shipped under. Refusals: `PRODUCT_NOT_FOUND`, "
        "`SHIPPING_TEMPLATE_NOT_FOUND`, `KEY_REUSED`.",
        extensions=[Needs(Right.SHIPPING_WRITE)],
    )
    async def product_shipping_set(
        self,
        info: Info,
        product_id: Annotated[UUID, strawberry.argument(description="The product.")],
        idempotency_key: Key,
        template_id: Annotated[
            UUID | None, strawberry.argument(description="The template; null or left out: the shop's default.")
        ] = None,
    ) -> ProductShippingResult:
        """One call."""
        row = await verbs.set_for_product(
            info.context.deps,
            operator_id=_writer(info),
            product_id=product_id,
            template_id=template_id,
            idempotency_key=idempotency_key,
        )
        return ProductShippingKept(product=OperatorProduct.from_row(row))


def _writer(info: Info) -> UUID:
    return require_right(info, Right.SHIPPING_WRITE).subject_id
