"""The catalogue: what a product and a SKU must have, and when a product may be published.

Source: docs/rules/catalogue.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from loyalty.refusal import Refusal

MAX_CATEGORIES = 200
MAX_CATEGORY_NAME_LENGTH = 20
MAX_TITLE_LENGTH = 60
MAX_SUBTITLE_LENGTH = 120
MAX_DESCRIPTION_LENGTH = 5_000
MAX_MEDIA = 20
MAX_MEDIA_URL_LENGTH = 500
MAX_SKUS = 100
MAX_SKU_CODE_LENGTH = 40
MAX_PRICE_FEN = 1_000_000_000
MAX_STOCK = 10_000_000
MAX_PURCHASE_LIMIT = 1_000_000
MAX_WEIGHT_G = 1_000_000
MAX_POSITION = 9_999
MAX_REASON_LENGTH = 200
MAX_SEARCH_LENGTH = 60


class ProductState(StrEnum):
    """A draft has never been seen; hiding takes it off sale, publishing brings it (back)."""

    DRAFT = "draft"
    PUBLISHED = "published"
    HIDDEN = "hidden"


class MediaKind(StrEnum):
    """What a medium of a product shows."""

    IMAGE = "image"
    VIDEO = "video"


class StockKind(StrEnum):
    """Why stock moved: an operator's supply or correction, an order placed, closed unpaid, refunded; set aside for an
    activity, come back from it."""

    SUPPLY = "supply"
    HOLD = "hold"
    RELEASE = "release"
    RETURN = "return"
    CARVE_OUT = "carve_out"
    CARVE_BACK = "carve_back"


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
    zh = "{field}须在 {least} 到 {most} 之间"
    en = "{field} must be {least} to {most}."
    zh_words: ClassVar = {
        "name": "名称长度",
        "position": "排序",
        "categories": "分类数量",
        "search": "搜索词长度",
        "title": "标题长度",
        "subtitle": "副标题长度",
        "description": "描述长度",
        "media": "媒体数量",
        "media.url": "媒体地址长度",
        "code": "编码长度",
        "price": "价格",
        "memberPrice": "会员价",
        "purchaseLimit": "限购数量",
        "weightG": "重量",
        "skus": "规格数量",
        "stock": "库存",
        "amount": "数量",
        "reason": "原因长度",
    }


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


class CategoryNestingRefused(Refusal):
    """A category stands at the top or directly under one that does."""

    code = "CATEGORY_NESTING_REFUSED"
    zh = "分类最多两级，且不能放在自身之下"
    en = "A category stands at the top or under a top category, never under itself."


class MediaUrlInvalid(Refusal):
    """The ``position``-th medium, counted from 1, has an address that is not https."""

    code = "MEDIA_URL_INVALID"
    zh = "第 {position} 个媒体的地址须以 https:// 开头且不含空白字符"
    en = "The address of medium {position} must begin with https:// and have no blanks."


class ProductIncomplete(Refusal):
    """A product without ``missing`` cannot be published, nor stay so."""

    code = "PRODUCT_INCOMPLETE"
    zh = "商品信息不完整，缺少 {missing}，无法上架"
    en = "The product cannot be published without {missing}."
    zh_words: ClassVar = {
        "category": "分类",
        "sku": "规格",
        "media": "图片",
    }


def _bounded(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise CatalogueInvalid(field=field, least=least, most=most)


def admit_category(*, name: str, position: int = 0) -> None:
    """Whether a category may have this name of 1..20 characters, and this position. Raises: CatalogueInvalid."""
    _bounded("name", len(name.strip()), 1, MAX_CATEGORY_NAME_LENGTH)
    _bounded("position", position, 0, MAX_POSITION)


def admit_category_count(count: int) -> None:
    """Whether a shop may have so many categories, 0..200. Raises: CatalogueInvalid."""
    _bounded("categories", count, 0, MAX_CATEGORIES)


def admit_nesting(*, under_itself: bool, parent_is_nested: bool, has_children: bool) -> None:
    """Whether a category may stand under another: two levels, no more. Raises: CategoryNestingRefused."""
    if under_itself or parent_is_nested or has_children:
        raise CategoryNestingRefused


def admit_search(text: str) -> None:
    """Whether products may be searched by this text, 0..60 characters. Raises: CatalogueInvalid."""
    _bounded("search", len(text), 0, MAX_SEARCH_LENGTH)


def admit_product(*, title: str, subtitle: str = "", description: str = "", media_urls: Sequence[str] = ()) -> None:
    """Whether a product may have these texts, pictures and videos.

    Raises, in the order of the arguments: CatalogueInvalid, MediaUrlInvalid.
    """
    _bounded("title", len(title.strip()), 1, MAX_TITLE_LENGTH)
    _bounded("subtitle", len(subtitle.strip()), 0, MAX_SUBTITLE_LENGTH)
    _bounded("description", len(description), 0, MAX_DESCRIPTION_LENGTH)
    _bounded("media", len(media_urls), 0, MAX_MEDIA)
    for position, url in enumerate(media_urls, start=1):
        _bounded("media.url", len(url), 1, MAX_MEDIA_URL_LENGTH)
        if not url.startswith("https://") or len(url) == len("https://") or len(url.split()) != 1 or url != url.strip():
            raise MediaUrlInvalid(position=position)


def admit_sku(
    *,
    code: str,
    title: str,
    price_fen: int,
    member_price_fen: int | None = None,
    purchase_limit: int | None = None,
    position: int = 0,
    weight_g: int = 0,
) -> None:
    """Whether a SKU may have these values; a member price is at most the price.

    Raises: CatalogueInvalid, in the order of the arguments.
    """
    _bounded("code", len(code.strip()), 1, MAX_SKU_CODE_LENGTH)
    _bounded("title", len(title.strip()), 1, MAX_TITLE_LENGTH)
    _bounded("price", price_fen, 1, MAX_PRICE_FEN)
    if member_price_fen is not None:
        _bounded("memberPrice", member_price_fen, 1, price_fen)
    if purchase_limit is not None:
        _bounded("purchaseLimit", purchase_limit, 1, MAX_PURCHASE_LIMIT)
    _bounded("position", position, 0, MAX_POSITION)
    _bounded("weightG", weight_g, 0, MAX_WEIGHT_G)


def admit_sku_count(count: int) -> None:
    """Whether a product may have so many SKUs, hidden ones counted, 1..100. Raises: CatalogueInvalid."""
    _bounded("skus", count, 1, MAX_SKUS)


def admit_sku_codes(codes: Sequence[str]) -> None:
    """Whether the SKUs of one call may have these codes: each is used once in the whole shop. Raises: SkuCodeTaken."""
    seen: set[str] = set()
    for code in codes:
        if code in seen:
            raise SkuCodeTaken(sku_code=code)
        seen.add(code)


def admit_stock(stock: int) -> None:
    """Whether a SKU may have so much in stock, 0..10,000,000. Raises: CatalogueInvalid."""
    _bounded("stock", stock, 0, MAX_STOCK)


def admit_adjustment(*, amount: int, reason: str) -> None:
    """Whether an operator may move stock by ``amount``, not 0, for a reason of 1..200 characters.

    What is left afterwards has bounds of its own (``admit_stock``), which only the guarded write can tell.
    Raises: CatalogueInvalid.
    """
    _bounded("amount", abs(amount), 1, MAX_STOCK)
    _bounded("reason", len(reason.strip()), 1, MAX_REASON_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFacts:
    """What publishing looks at. ``sku_count`` counts those that are not hidden, ``media_count`` the pictures."""

    has_category: bool
    sku_count: int
    media_count: int


def admit_publish(product: ProductFacts) -> None:
    """Whether a product may go on sale, or stay there: a category, a SKU and a picture, asked for in this order.

    Stock is not asked for: a sold-out product may be shown. Raises: ProductIncomplete.
    """
    if not product.has_category:
        raise ProductIncomplete(missing="category")
    if product.sku_count == 0:
        raise ProductIncomplete(missing="sku")
    if product.media_count == 0:
        raise ProductIncomplete(missing="media")
