"""Reading the catalogue: what members see on the shelves, and what operators see behind them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import ProductState
from loyalty.prices.unit_price import TierTerms
from models.base import Row
from models.catalogue.catalogue import Category, Product, ProductMedia, Sku
from models.engine import rows
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.deps import Deps
from resolvers.programme import tier_table
from resolvers.tiers.tier import standings_at

ON_SALE = Keyset("product.on_sale", (Key("published_at", datetime), Key("id", UUID)))
"""As members see products: what went on sale last comes first."""

MADE = Keyset("product.made", (Key("id", UUID),))
"""As operators see products: what was made last comes first."""

_ON_SHELF = Q(Q(parent_id=None) | Q(parent__hidden=False), hidden=False)
"""A category is on the shop's shelves when neither it nor the one above it is hidden."""


# For members


async def shelves(deps: Deps) -> list[Category]:
    """The visible categories at the top, in their order."""
    return await Category.filter(_ON_SHELF, parent_id=None).order_by("position", "id")


async def shelves_under(deps: Deps, parent_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Category]]:
    """The visible categories under each of the given ones, in their order."""
    return _by_parent(await Category.filter(_ON_SHELF, parent_id__in=parent_ids).order_by("position", "id"))


async def shelves_by_ids(deps: Deps, ids: Sequence[UUID]) -> Mapping[UUID, Category]:
    """Those of the given categories that are visible."""
    return {row.id: row for row in await Category.filter(_ON_SHELF, id__in=ids)}


async def browse(deps: Deps, *, page: Page, category_id: UUID | None = None, search: str = "") -> Slice[Product]:
    """What is on sale, by ``ON_SALE``.

    All of it, or what stands in a visible category or one under it, or has a text in its title.

    Raises: CatalogueInvalid: the text is too long.
    """
    products = _titled(Product.filter(state=ProductState.PUBLISHED), search)
    if category_id is not None:
        wanted = Q(id=category_id) | Q(parent_id=category_id)
        products = products.filter(
            category_id__in=await Category.filter(_ON_SHELF, wanted).values_list("id", flat=True)
        )
    return await fetch(products, page)


async def on_sale(deps: Deps, product_id: UUID) -> Product | None:
    """A product that members may see."""
    return await Product.get_or_none(id=product_id, state=ProductState.PUBLISHED)


async def skus_on_sale(deps: Deps, product_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Sku]]:
    """The visible SKUs of each product, in their order."""
    return _by_product(await Sku.filter(product_id__in=product_ids, hidden=False).order_by("position", "id"))


async def tiers_of(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, TierTerms]:
    """What each member's tier takes off the list price now."""
    now = deps.clock.now()
    table = (await tier_table(now)).rules
    found = await standings_at(member_ids, table, now)
    return {
        member_id: TierTerms(code=one.applies.code, discount_bp=one.applies.discount_bp)
        for member_id, one in found.items()
    }


# For operators


async def categories(deps: Deps) -> list[Category]:
    """Every category at the top, in their order."""
    return await Category.filter(parent_id=None).order_by("position", "id")


async def categories_under(deps: Deps, parent_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Category]]:
    """Every category under each of the given ones, in their order."""
    return _by_parent(await Category.filter(parent_id__in=parent_ids).order_by("position", "id"))


async def categories_by_ids(deps: Deps, ids: Sequence[UUID]) -> Mapping[UUID, Category]:
    """The given categories."""
    return {row.id: row for row in await Category.filter(id__in=ids)}


async def products(
    deps: Deps,
    *,
    page: Page,
    state: ProductState | None = None,
    category_id: UUID | None = None,
    search: str = "",
) -> Slice[Product]:
    """Every product, by ``MADE``, or those in a state, directly in a category, or with a text in the title.

    Raises: CatalogueInvalid: the text is too long.
    """
    wanted = {"state": state, "category_id": category_id}
    found = Product.filter(**{name: value for name, value in wanted.items() if value is not None})
    return await fetch(_titled(found, search), page)


async def product(deps: Deps, product_id: UUID) -> Product | None:
    """A product in whatever state."""
    return await Product.get_or_none(id=product_id)


async def skus(deps: Deps, product_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Sku]]:
    """Every SKU of each product, in their order."""
    return _by_product(await Sku.filter(product_id__in=product_ids).order_by("position", "id"))


# For both


async def media(deps: Deps, product_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[ProductMedia]]:
    """The pictures and videos of each product, in their order."""
    found: dict[UUID, list[ProductMedia]] = defaultdict(list)
    for row in await ProductMedia.filter(product_id__in=product_ids).order_by("position"):
        found[row.product_id].append(row)
    return found


# For the verbs


def told(values: Mapping[str, object]) -> dict[str, object]:
    """The values as JSON has them, for the idempotency record and the audit log."""
    return {name: _told(value) for name, value in values.items()}


def differences(row: Row, changes: Mapping[str, object]) -> dict[str, object]:
    """Those of the changes that change the row."""
    return {name: value for name, value in changes.items() if getattr(row, name) != value}


async def taken_code(codes: Iterable[str], *, besides: UUID | None = None) -> str | None:
    """The first of the codes that a SKU has, one other than ``besides``."""
    found = await rows(
        "SELECT code FROM sku WHERE code = ANY($1::text[]) AND id IS DISTINCT FROM $2::uuid ORDER BY code LIMIT 1",
        [list(codes), besides],
    )
    return found[0]["code"] if found else None


def _told(value: object) -> object:
    if isinstance(value, Mapping):
        return told(value)
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _titled(found: QuerySet[Product], search: str) -> QuerySet[Product]:
    text = search.strip()
    rule.admit_search(text)
    return found.filter(title__icontains=text) if text else found


def _by_parent(found: Iterable[Category]) -> Mapping[UUID, Sequence[Category]]:
    under: dict[UUID, list[Category]] = defaultdict(list)
    for row in found:
        assert row.parent_id is not None, "what is under a category has a parent"
        under[row.parent_id].append(row)
    return under


def _by_product(found: Iterable[Sku]) -> Mapping[UUID, Sequence[Sku]]:
    of: dict[UUID, list[Sku]] = defaultdict(list)
    for row in found:
        of[row.product_id].append(row)
    return of
