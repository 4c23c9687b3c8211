"""Fills shelves for tests, by the verbs that operators use."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from loyalty.catalogue.catalogue import MediaKind
from models.catalogue.catalogue import Category, Product, Sku
from models.ids import new_secret
from resolvers.catalogue import category, product
from resolvers.catalogue.product import Medium, NewSku
from resolvers.deps import Deps
from tests.doors import make_operator

PICTURE = Medium(kind=MediaKind.IMAGE, url="https://img.example.com/tea.jpg")
COMMON = "测试商品"
VIDEO = Medium(kind=MediaKind.VIDEO, url="https://img.example.com/tea.mp4")


def a_key() -> str:
    """An idempotency key of its own."""
    return new_secret(12)


def new_sku(**fields: Any) -> NewSku:
    """A SKU with a code of its own, at 100 yuan, of which there are 10."""
    return NewSku(**{"code": new_secret(8), "title": "50 克", "price_fen": 10_000, "stock": 10, **fields})


async def make_category(deps: Deps, **fields: Any) -> Category:
    """A visible category with a name of its own."""
    operator = await make_operator(deps)
    values = {"operator_id": operator.id, "name": new_secret(9), "idempotency_key": a_key(), **fields}
    return await category.create(deps, **values)


async def make_product(deps: Deps, *, published: bool = True, skus: Sequence[NewSku] = (), **fields: Any) -> Product:
    """A product with a picture and a SKU, on sale unless told otherwise."""
    operator = await make_operator(deps)
    if "category_id" not in fields:
        # One for all: a shop has 200 categories at most, and the tests of a worker share a shop.
        common = await Category.get_or_none(name=COMMON) or await make_category(deps, name=COMMON)
        fields["category_id"] = common.id
    values = {"title": "龙井", "media": [PICTURE], "skus": skus or [new_sku()], **fields}
    made = await product.create(deps, operator_id=operator.id, idempotency_key=a_key(), **values)
    if published:
        return await product.publish(deps, operator_id=operator.id, product_id=made.id, idempotency_key=a_key())
    return made


async def make_sku(deps: Deps, *, published: bool = True, **fields: Any) -> Sku:
    """The only SKU of a product of its own, on sale unless told otherwise."""
    return await sku_of((await make_product(deps, published=published, skus=[new_sku(**fields)])).id)


async def sku_of(product_id: UUID) -> Sku:
    """The only SKU of a product."""
    return await Sku.get(product_id=product_id)
