"""What the nouns of the catalogue share: how a value out of bounds is refused, and who acts."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import StockKind
from loyalty.people.rights import Right
from schema.context import Info
from schema.enums import describe
from schema.permissions import require_right
from schema.refusal import Refusal, refusal_type
from schema.scalars import IdempotencyKey

describe(
    StockKind,
    "Why stock moved.",
    {
        StockKind.SUPPLY: "An operator supplied or corrected it; either sign.",
        StockKind.HOLD: "An order was placed; negative.",
        StockKind.RELEASE: "An unpaid order was closed; positive.",
        StockKind.RETURN: "An order was refunded; positive.",
        StockKind.CARVE_OUT: "A flash sale was published; negative.",
        StockKind.CARVE_BACK: "A flash sale gave back what it did not sell; positive.",
    },
)

Key = Annotated[IdempotencyKey, strawberry.argument(description="Made by the client for this one deed.")]


@refusal_type(rule.CatalogueInvalid)
@strawberry.type(name="CatalogueInvalid", description="A value is out of its bounds. Code `CATALOGUE_INVALID`.")
class CatalogueInvalidRefusal(Refusal):
    """Which value, and its bounds."""

    field: str = strawberry.field(
        description="The input field, such as `title`, `price` or `media.url`; for texts and lists its length is meant."
    )
    least: int = strawberry.field(description="The least it may be, inclusive; money in fen.")
    most: int = strawberry.field(description="The most it may be, inclusive; money in fen.")


@refusal_type(rule.SkuCodeTaken)
@strawberry.type(name="SkuCodeTaken", description="A SKU has this code already. Code `SKU_CODE_TAKEN`.")
class SkuCodeTakenRefusal(Refusal):
    """Which code."""

    sku_code: str = strawberry.field(description="The code that is taken.")


@refusal_type(rule.ProductIncomplete)
@strawberry.type(
    name="ProductIncomplete",
    description="What is on sale needs a category, a visible SKU and a picture. Code `PRODUCT_INCOMPLETE`.",
)
class ProductIncompleteRefusal(Refusal):
    """What it lacks."""

    missing: str = strawberry.field(description="What is missing first: `category`, `sku` or `media`.")


@refusal_type(rule.MediaUrlInvalid)
@strawberry.type(name="MediaUrlInvalid", description="An address is not https. Code `MEDIA_URL_INVALID`.")
class MediaUrlInvalidRefusal(Refusal):
    """Which one."""

    position: int = strawberry.field(description="Which medium of the list, counted from 1.")


def writer(info: Info) -> UUID:
    """The id of the operator who changes the catalogue."""
    return require_right(info, Right.CATALOGUE_WRITE).subject_id
