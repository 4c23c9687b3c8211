"""Categories: what operators do with the shelves of the shop."""

from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import CategoryNameTaken, CategoryNotFound
from models.catalogue.catalogue import Category
from models.engine import retried, rows, transaction
from models.ids import new_id
from resolvers.catalogue.catalogue import differences, told
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed


class CategoryChanges(TypedDict, total=False):
    """What is to be changed of a category; what is absent stays."""

    name: str
    parent_id: UUID | None
    position: int
    hidden: bool


@retried
async def create(
    deps: Deps,
    *,
    operator_id: UUID,
    name: str,
    parent_id: UUID | None = None,
    position: int = 0,
    idempotency_key: str,
) -> Category:
    """Make a visible category, at the top or under another.

    Raises: KeyReused, CatalogueInvalid, CategoryNotFound, CategoryNestingRefused, CategoryNameTaken.
    """
    now = deps.clock.now()
    values: dict[str, Any] = {"name": name.strip(), "parent_id": parent_id, "position": position}
    category_id = new_id(now)
    try:
        async with transaction():
            await lock_operator(operator_id)
            key, operation = idempotency_key, "categoryCreate"
            before = await replayed(operator_id, key=key, operation=operation, content=told(values))
            if before is not None:
                return await Category.get(id=before["category_id"])
            rule.admit_category(name=name, position=position)
            await _alone_with_the_shelves()
            rule.admit_category_count(await Category.all().count() + 1)
            await _admit_parent(category_id, parent_id)
            category = await Category.create(id=category_id, created_at=now, **values)
            await record(operator_id, "category.create", "category", category_id, None, told(values), now)
            result = {"category_id": str(category_id)}
            await remember(operator_id, key=key, operation=operation, content=told(values), result=result, now=now)
            return category
    except IntegrityError:
        await _refuse_taken_name(category_id, values)
        raise


@retried
async def update(
    deps: Deps, *, operator_id: UUID, category_id: UUID, changes: CategoryChanges, idempotency_key: str
) -> Category:
    """Change what ``changes`` names of a category: its name, place or visibility.

    Raises: KeyReused, CategoryNotFound, CatalogueInvalid, CategoryNestingRefused, CategoryNameTaken.
    """
    now = deps.clock.now()
    values: dict[str, object] = dict(changes)
    if "name" in changes:
        values["name"] = changes["name"].strip()
    content = {"category_id": str(category_id), **told(values)}
    try:
        async with transaction():
            await lock_operator(operator_id)
            key, operation = idempotency_key, "categoryUpdate"
            if await replayed(operator_id, key=key, operation=operation, content=content) is None:
                await _alone_with_the_shelves()
                category = await Category.get_or_none(id=category_id)
                if category is None:
                    raise CategoryNotFound
                rule.admit_category(
                    name=changes.get("name", category.name), position=changes.get("position", category.position)
                )
                after = differences(category, values)
                if "parent_id" in after:
                    await _admit_parent(category_id, changes["parent_id"])
                if after:
                    was = {name: getattr(category, name) for name in after}
                    await Category.filter(id=category_id).update(**after)
                    await record(operator_id, "category.update", "category", category_id, told(was), told(after), now)
                await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            return await Category.get(id=category_id)
    except IntegrityError:
        await _refuse_taken_name(category_id, values)
        raise


async def _alone_with_the_shelves() -> None:
    """Change categories one operator at a time: how they nest and how many there are concerns all of them.

    Reading them, and referring to them from a product, goes on meanwhile.
    """
    await rows("LOCK TABLE category IN SHARE ROW EXCLUSIVE MODE")


async def _admit_parent(category_id: UUID, parent_id: UUID | None) -> None:
    if parent_id is None:
        return
    parent = await Category.get_or_none(id=parent_id)
    if parent is None:
        raise CategoryNotFound
    rule.admit_nesting(
        under_itself=parent_id == category_id,
        parent_is_nested=parent.parent_id is not None,
        has_children=await Category.exists(parent_id=category_id),
    )


async def _refuse_taken_name(category_id: UUID, values: Mapping[str, object]) -> None:
    if await Category.filter(name=values.get("name")).exclude(id=category_id).exists():
        raise CategoryNameTaken
