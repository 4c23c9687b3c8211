"""SKUs: what operators do with the single things that are sold."""

from dataclasses import asdict
from typing import TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import MAX_POSITION, SkuCodeTaken, SkuNotFound, StockKind
from models.catalogue.catalogue import Sku
from models.engine import retried, transaction
from resolvers.catalogue.catalogue import differences, taken_code, told
from resolvers.catalogue.product import NewSku, admit_new, insert_sku, lock_product, stay_complete
from resolvers.catalogue.stock import move
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.prices import price_history
from resolvers.replay import remember, replayed


class SkuChanges(TypedDict, total=False):
    """What is to be changed of a SKU; what is absent stays. Stock is not here: ``stock.adjust`` moves it."""

    code: str
    title: str
    price_fen: int
    member_price_fen: int | None
    purchase_limit: int | None
    position: int
    weight_g: int


@retried
async def create(deps: Deps, *, operator_id: UUID, product_id: UUID, sku: NewSku, idempotency_key: str) -> Sku:
    """Add a visible SKU to a product, behind those it has.

    Raises: KeyReused, CatalogueInvalid, ProductNotFound, SkuCodeTaken.
    """
    now = deps.clock.now()
    content = told({"product_id": product_id, **asdict(sku)})
    try:
        async with transaction():
            await lock_operator(operator_id)
            key, operation = idempotency_key, "skuCreate"
            before = await replayed(operator_id, key=key, operation=operation, content=content)
            if before is not None:
                return await Sku.get(id=before["sku_id"])
            admit_new([sku])
            await lock_product(product_id)
            others = [other.position for other in await Sku.filter(product_id=product_id)]
            rule.admit_sku_count(len(others) + 1)
            row = await insert_sku(product_id, sku, min(max(others, default=-1) + 1, MAX_POSITION), now)
            await record(operator_id, "sku.create", "sku", row.id, None, content, now)
            result = {"sku_id": str(row.id)}
            await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
            if sku.stock:
                row.stock_left = (await move(StockKind.SUPPLY, row.id, {row.id: sku.stock}, now))[row.id]
            return row
    except IntegrityError:
        if await taken_code([sku.code.strip()]) is not None:
            raise SkuCodeTaken(sku_code=sku.code.strip()) from None
        raise


@retried
async def update(deps: Deps, *, operator_id: UUID, sku_id: UUID, changes: SkuChanges, idempotency_key: str) -> Sku:
    """Change what ``changes`` names of a SKU. Orders that have it already keep the price they were placed at.

    Raises: KeyReused, SkuNotFound, CatalogueInvalid (as the SKU would be after the change), SkuCodeTaken.
    """
    now = deps.clock.now()
    values = {name: value.strip() if isinstance(value, str) else value for name, value in changes.items()}
    content = {"sku_id": str(sku_id), **values}
    try:
        async with transaction():
            await lock_operator(operator_id)
            key, operation = idempotency_key, "skuUpdate"
            if await replayed(operator_id, key=key, operation=operation, content=content) is None:
                sku = await _locked(sku_id)
                rule.admit_sku(
                    code=changes.get("code", sku.code),
                    title=changes.get("title", sku.title),
                    price_fen=changes.get("price_fen", sku.price_fen),
                    member_price_fen=changes.get("member_price_fen", sku.member_price_fen),
                    purchase_limit=changes.get("purchase_limit", sku.purchase_limit),
                    position=changes.get("position", sku.position),
                    weight_g=changes.get("weight_g", sku.weight_g),
                )
                after = differences(sku, values)
                if after:
                    was = {name: getattr(sku, name) for name in after}
                    await Sku.filter(id=sku_id).update(**after)
                    await price_history.go_on(
                        sku,
                        price_fen=changes.get("price_fen", sku.price_fen),
                        member_price_fen=changes.get("member_price_fen", sku.member_price_fen),
                        now=now,
                    )
                    await record(operator_id, "sku.update", "sku", sku_id, was, after, now)
                await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            return await Sku.get(id=sku_id)
    except IntegrityError:
        taken = await taken_code([changes["code"].strip()], besides=sku_id) if "code" in changes else None
        if taken is not None:
            raise SkuCodeTaken(sku_code=taken) from None
        raise


async def hide(deps: Deps, *, operator_id: UUID, sku_id: UUID, idempotency_key: str) -> Sku:
    """Take a SKU off sale; one that is hidden already stays so. Orders that have it already keep it.

    Raises: KeyReused, SkuNotFound, ProductIncomplete (it is the last visible one of a published product).
    """
    return await _turn(deps, operator_id=operator_id, sku_id=sku_id, hidden=True, idempotency_key=idempotency_key)


async def show(deps: Deps, *, operator_id: UUID, sku_id: UUID, idempotency_key: str) -> Sku:
    """Bring a hidden SKU back; one that is visible already stays so.

    Raises: KeyReused, SkuNotFound.
    """
    return await _turn(deps, operator_id=operator_id, sku_id=sku_id, hidden=False, idempotency_key=idempotency_key)


@retried
async def _turn(deps: Deps, *, operator_id: UUID, sku_id: UUID, hidden: bool, idempotency_key: str) -> Sku:
    now = deps.clock.now()
    content = {"sku_id": str(sku_id)}
    operation = "skuHide" if hidden else "skuShow"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=idempotency_key, operation=operation, content=content) is None:
            sku = await _locked(sku_id)
            if sku.hidden is not hidden:
                await Sku.filter(id=sku_id).update(hidden=hidden)
                await stay_complete(sku.product_id)
                action = "sku.hide" if hidden else "sku.show"
                await record(operator_id, action, "sku", sku_id, {"hidden": sku.hidden}, {"hidden": hidden}, now)
            await remember(operator_id, key=idempotency_key, operation=operation, content=content, result={}, now=now)
        return await Sku.get(id=sku_id)


async def _locked(sku_id: UUID) -> Sku:
    """The SKU as it is once its product is locked. Its stock is not covered: guarded writes move it all the while."""
    found = await Sku.get_or_none(id=sku_id)
    if found is None:
        raise SkuNotFound
    await lock_product(found.product_id)
    return await Sku.get(id=sku_id)
