"""The catalogue: what a product and a SKU must have, and when a product may be published.

Source: docs/rules/catalogue.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from loyalty.refusal import Refusal

MAX_NAME_LENGTH = 60
MAX_CATEGORY_NAME_LENGTH = 20
MAX_DESCRIPTION_LENGTH = 5_000
MAX_SKU_CODE_LENGTH = 40
MAX_SKUS = 100
MAX_MEDIA = 20
MAX_MEDIA_URL_LENGTH = 500
MAX_PRICE_FEN = 1_000_000_000
MAX_STOCK = 10_000_000
MAX_PURCHASE_LIMIT = 1_000_000


class ProductState(StrEnum):
    """A draft has never been seen; hiding takes it off sale, publishing brings it (back)."""

    DRAFT = "draft"
    PUBLISHED = "published"
    HIDDEN = "hidden"


class StockKind(StrEnum):
    """Why stock moved: an operator's supply or correction, an order placed, closed unpaid, refunded."""

    SUPPLY = "supply"
    HOLD = "hold"
    RELEASE = "release"
    RETURN = "return"


class ProductNotFound(Refusal):
    """No such product, or not on sale for a member."""

    code = "PRODUCT_NOT_FOUND"
    zh = "商品不存在"
    en = "There is no such product."


class CategoryNotFound(Refusal):
    """No such category."""

    code = "CATEGORY_NOT_FOUND"
    zh = "分类不存在"
    en = "There is no such category."


class SkuNotFound(Refusal):
    """No such SKU."""

    code = "SKU_NOT_FOUND"
    zh = "规格不存在"
    en = "There is no such SKU."


class CatalogueInvalid(Refusal):
    """A value out of its bounds; ``field`` names it and ``least``..``most`` are the bounds."""

    code = "CATALOGUE_INVALID"
    zh = "{field} 须在 {least} 到 {most} 之间"
    en = "{field} must be {least} to {most}."


class SkuCodeTaken(Refusal):
    """Another SKU of the shop has this code."""

    code = "SKU_CODE_TAKEN"
    zh = "规格编码 {sku_code} 已被使用"
    en = "The SKU code {sku_code} is taken."


class CategoryNameTaken(Refusal):
    """Another category has this name."""

    code = "CATEGORY_NAME_TAKEN"
    zh = "分类名称已存在"
    en = "This category name is taken."


class ProductIncomplete(Refusal):
    """A product without ``missing`` cannot be published."""

    code = "PRODUCT_INCOMPLETE"
    zh = "商品信息不完整，缺少 {missing}，无法上架"
    en = "The product cannot be published without {missing}."


def _bounded(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise CatalogueInvalid(field=field, least=least, most=most)


def admit_category(*, name: str) -> None:
    """Whether a category may have this name, 1..20 characters. Raises: CatalogueInvalid."""
    _bounded("name", len(name.strip()), 1, MAX_CATEGORY_NAME_LENGTH)


def admit_product(*, name: str, description: str = "", media_urls: Sequence[str] = ()) -> None:
    """Whether a product may have these texts and pictures. Raises: CatalogueInvalid, in the order of the arguments."""
    _bounded("name", len(name.strip()), 1, MAX_NAME_LENGTH)
    _bounded("description", len(description), 0, MAX_DESCRIPTION_LENGTH)
    _bounded("media", len(media_urls), 0, MAX_MEDIA)
    for url in media_urls:
        _bounded("media.url", len(url), 1, MAX_MEDIA_URL_LENGTH)


def admit_sku(
    *,
    sku_code: str,
    name: str,
    price_fen: int,
    stock: int,
    member_price_fen: int | None = None,
    purchase_limit: int | None = None,
) -> None:
    """Whether a SKU may have these values; a member price is at most the price.

    Raises: CatalogueInvalid, in the order of the arguments.
    """
    _bounded("sku_code", len(sku_code.strip()), 1, MAX_SKU_CODE_LENGTH)
    _bounded("name", len(name.strip()), 1, MAX_NAME_LENGTH)
    _bounded("price_fen", price_fen, 1, MAX_PRICE_FEN)
    _bounded("stock", stock, 0, MAX_STOCK)
    if member_price_fen is not None:
        _bounded("member_price_fen", member_price_fen, 1, price_fen)
    if purchase_limit is not None:
        _bounded("purchase_limit", purchase_limit, 1, MAX_PURCHASE_LIMIT)


def admit_sku_count(count: int) -> None:
    """Whether a product may have so many SKUs, 1..100. Raises: CatalogueInvalid."""
    _bounded("skus", count, 1, MAX_SKUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFacts:
    """What publishing looks at."""

    has_category: bool
    sku_count: int
    media_count: int


def admit_publish(product: ProductFacts) -> None:
    """Whether a product may go on sale: a category, a SKU and a picture, asked for in this order.

    Stock is not asked for: a sold-out product may be shown. Raises: ProductIncomplete.
    """
    if not product.has_category:
        raise ProductIncomplete(missing="category")
    if product.sku_count == 0:
        raise ProductIncomplete(missing="sku")
    if product.media_count == 0:
        raise ProductIncomplete(missing="media")
