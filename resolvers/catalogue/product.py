"""Products: what operators do with them, from the draft to the shelf and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import (
    CategoryNotFound,
    MediaKind,
    ProductFacts,
    ProductNotFound,
    ProductState,
    SkuCodeTaken,
    StockKind,
)
from loyalty.payments.after_sale import NoReturnCause
from models.catalogue.catalogue import Category, Product, ProductMedia, Sku
from models.engine import in_transaction, retried, transaction
from models.ids import new_id
from resolvers.catalogue.catalogue import differences, taken_code, told
from resolvers.catalogue.stock import move
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.prices import price_history
from resolvers.replay import remember, replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A picture or video and its https address."""

    kind: MediaKind
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSku:
    """A SKU that does not exist yet. ``stock`` is what it starts with."""

    code: str
    title: str
    price_fen: int
    member_price_fen: int | None = None
    purchase_limit: int | None = None
    weight_g: int = 0
    stock: int = 0


class ProductChanges(TypedDict, total=False):
    """What is to be changed of a product; what is absent stays. ``media`` replaces all there are."""

    title: str
    subtitle: str
    description: str
    category_id: UUID | None
    no_return_cause: NoReturnCause | None
    media: Sequence[Medium]


@retried
async def create(
    deps: Deps,
    *,
    operator_id: UUID,
    title: str,
    subtitle: str = "",
    description: str = "",
    category_id: UUID | None = None,
    no_return_cause: NoReturnCause | None = None,
    media: Sequence[Medium] = (),
    skus: Sequence[NewSku],
    idempotency_key: str,
) -> Product:
    """Make a draft with its media and SKUs, both in the order given.

    ``no_return_cause`` is why it cannot be returned without a reason; None: it can.

    Raises: KeyReused, CatalogueInvalid, MediaUrlInvalid, SkuCodeTaken, CategoryNotFound.
    """
    now = deps.clock.now()
    values: dict[str, Any] = {"title": title.strip(), "subtitle": subtitle.strip(), "description": description.strip()}
    content = told(
        {
            **values,
            "category_id": category_id,
            "media": [asdict(one) for one in media],
            "skus": [asdict(one) for one in skus],
            **({"no_return_cause": no_return_cause} if no_return_cause else {}),
        }
    )
    try:
        async with transaction():
            await lock_operator(operator_id)
            key, operation = idempotency_key, "productCreate"
            before = await replayed(operator_id, key=key, operation=operation, content=content)
            if before is not None:
                return await Product.get(id=before["product_id"])
            rule.admit_product(**values, media_urls=[one.url for one in media])
            rule.admit_sku_count(len(skus))
            admit_new(skus)
            await _admit_category(category_id)
            product = await Product.create(
                id=new_id(now),
                category_id=category_id,
                no_return_cause=no_return_cause,
                created_at=now,
                updated_at=now,
                **values,
            )
            await _show(product.id, media, now)
            # In the order of their codes: two calls with the same codes then wait for each other in one direction only.
            in_order = sorted(enumerate(skus), key=lambda one: one[1].code.strip())
            made = [(await insert_sku(product.id, sku, position, now), sku.stock) for position, sku in in_order]
            await record(operator_id, "product.create", "product", product.id, None, content, now)
            result = {"product_id": str(product.id)}
            await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
            await move(StockKind.SUPPLY, product.id, {row.id: stock for row, stock in made if stock}, now)
            return product
    except IntegrityError:
        taken = await taken_code(sku.code.strip() for sku in skus)
        if taken is not None:
            raise SkuCodeTaken(sku_code=taken) from None
        raise


@retried
async def update(
    deps: Deps, *, operator_id: UUID, product_id: UUID, changes: ProductChanges, idempotency_key: str
) -> Product:
    """Change what ``changes`` names of a product.

    Raises: KeyReused, ProductNotFound, CatalogueInvalid, MediaUrlInvalid, CategoryNotFound, ProductIncomplete (a
        published product would no longer be complete).
    """
    now = deps.clock.now()
    media = changes.get("media")
    values = {name: value.strip() if isinstance(value, str) else value for name, value in changes.items()}
    if media is not None:
        values["media"] = [asdict(one) for one in media]
    content = {"product_id": str(product_id), **told(values)}
    async with transaction():
        await lock_operator(operator_id)
        key, operation = idempotency_key, "productUpdate"
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            product = await lock_product(product_id)
            rule.admit_product(
                title=changes.get("title", product.title),
                subtitle=changes.get("subtitle", product.subtitle),
                description=changes.get("description", product.description),
                media_urls=[one.url for one in media or ()],
            )
            await _admit_category(changes.get("category_id"))
            values.pop("media", None)
            after = differences(product, values)
            was = {name: getattr(product, name) for name in after}
            shown = await _shown(product_id)
            if media is not None and list(media) != shown:
                was["media"], after["media"] = [asdict(one) for one in shown], [asdict(one) for one in media]
                await ProductMedia.filter(product_id=product_id).delete()
                await _show(product_id, media, now)
            if after:
                columns = {name: value for name, value in after.items() if name != "media"}
                await Product.filter(id=product_id).update(**columns, updated_at=now)
                await record(operator_id, "product.update", "product", product_id, told(was), told(after), now)
                await stay_complete(product_id)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await Product.get(id=product_id)


async def publish(deps: Deps, *, operator_id: UUID, product_id: UUID, idempotency_key: str) -> Product:
    """Put a product on sale; one that is on sale already stays as it is.

    Raises: KeyReused, ProductNotFound, ProductIncomplete.
    """
    return await _turn(
        deps,
        operator_id=operator_id,
        product_id=product_id,
        state=ProductState.PUBLISHED,
        idempotency_key=idempotency_key,
    )


async def hide(deps: Deps, *, operator_id: UUID, product_id: UUID, idempotency_key: str) -> Product:
    """Take a product off sale; one that is not on sale stays as it is. Orders that have it already keep it.

    Raises: KeyReused, ProductNotFound.
    """
    return await _turn(
        deps,
        operator_id=operator_id,
        product_id=product_id,
        state=ProductState.HIDDEN,
        idempotency_key=idempotency_key,
    )


@retried
async def _turn(
    deps: Deps, *, operator_id: UUID, product_id: UUID, state: ProductState, idempotency_key: str
) -> Product:
    now = deps.clock.now()
    content = {"product_id": str(product_id)}
    publishing = state is ProductState.PUBLISHED
    operation = "productPublish" if publishing else "productHide"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=idempotency_key, operation=operation, content=content) is None:
            product = await lock_product(product_id)
            if (product.state == ProductState.PUBLISHED) is not publishing:
                published = {"published_at": now} if publishing else {}
                await Product.filter(id=product_id).update(state=state, updated_at=now, **published)
                await stay_complete(product_id)
                action = "product.publish" if publishing else "product.hide"
                await record(
                    operator_id, action, "product", product_id, {"state": product.state}, {"state": state}, now
                )
            await remember(operator_id, key=idempotency_key, operation=operation, content=content, result={}, now=now)
        return await Product.get(id=product_id)


async def lock_product(product_id: UUID) -> Product:
    """Lock a product until the transaction ends: it and its SKUs are changed by one operator at a time.

    Raises: ProductNotFound.
    """
    assert in_transaction(), "a lock outside a transaction protects nothing"
    product = await Product.filter(id=product_id).select_for_update(no_key=True).get_or_none()
    if product is None:
        raise ProductNotFound
    return product


async def stay_complete(product_id: UUID) -> None:
    """Refuse what has just been done, within the same transaction, if it leaves a published product incomplete.

    Raises: ProductIncomplete.
    """
    product = await Product.get(id=product_id)
    if product.state == ProductState.PUBLISHED:
        rule.admit_publish(
            ProductFacts(
                has_category=product.category_id is not None,
                sku_count=await Sku.filter(product_id=product_id, hidden=False).count(),
                media_count=await ProductMedia.filter(product_id=product_id, kind=MediaKind.IMAGE).count(),
            )
        )


async def insert_sku(product_id: UUID, sku: NewSku, position: int, now: datetime) -> Sku:
    """Write a new SKU, with the beginning of its price history, without stock: that comes by ``stock.move``."""
    row = await Sku.create(
        id=new_id(now),
        product_id=product_id,
        code=sku.code.strip(),
        title=sku.title.strip(),
        price_fen=sku.price_fen,
        member_price_fen=sku.member_price_fen,
        purchase_limit=sku.purchase_limit,
        weight_g=sku.weight_g,
        position=position,
        created_at=now,
    )
    await price_history.begin(row, now)
    return row


def admit_new(skus: Sequence[NewSku]) -> None:
    """Whether these may become SKUs together. Raises: CatalogueInvalid, SkuCodeTaken."""
    for sku in skus:
        rule.admit_sku(
            code=sku.code,
            title=sku.title,
            price_fen=sku.price_fen,
            member_price_fen=sku.member_price_fen,
            purchase_limit=sku.purchase_limit,
            weight_g=sku.weight_g,
        )
        rule.admit_stock(sku.stock)
    rule.admit_sku_codes([sku.code.strip() for sku in skus])


async def _admit_category(category_id: UUID | None) -> None:
    if category_id is not None and not await Category.exists(id=category_id):
        raise CategoryNotFound


async def _shown(product_id: UUID) -> list[Medium]:
    rows = await ProductMedia.filter(product_id=product_id).order_by("position")
    return [Medium(kind=MediaKind(row.kind), url=row.url) for row in rows]


async def _show(product_id: UUID, media: Sequence[Medium], now: datetime) -> None:
    await ProductMedia.bulk_create(
        ProductMedia(id=new_id(now), product_id=product_id, kind=one.kind, url=one.url, position=position)
        for position, one in enumerate(media)
    )
