"""Categories, on the shop's shelves and behind them."""

from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.catalogue.catalogue import Category as CategoryRow
from resolvers.catalogue import catalogue
from resolvers.catalogue import category as verbs
from resolvers.catalogue.category import CategoryChanges
from schema.arguments import sent
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key, writer
from schema.context import Info
from schema.permissions import ForEveryone, Needs
from schema.refusal import SimpleRefusal


@strawberry.type(description="A shelf of the shop. Categories have two levels.")
class Category:
    """A category as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the category.")
    name: str = strawberry.field(description="Its name, 1 to 20 characters.")

    @strawberry.field(description="The visible categories under it, in their order; empty on the second level.")
    async def children(self, info: Info) -> list["Category"]:
        """Loaded for all the categories of the answer at once."""
        found = await info.context.loaders.load(catalogue.shelves_under, self.id)
        return [Category.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: CategoryRow) -> "Category":
        """The stored category."""
        return cls(id=row.id, name=row.name)


@strawberry.type(name="Category", description="A shelf of the shop. Categories have two levels.")
class OperatorCategory:
    """A category as operators see it."""

    id: UUID = strawberry.field(description="Opaque id of the category.")
    name: str = strawberry.field(description="Its name, 1 to 20 characters, unique in the shop.")
    parent_id: UUID | None = strawberry.field(description="The category it stands under; null at the top.")
    position: int = strawberry.field(description="Its place among its neighbours, 0 to 9,999, the least first.")
    hidden: bool = strawberry.field(description="Whether it and what stands under it is off the shop's shelves.")

    @strawberry.field(description="The categories under it, hidden ones too, in their order.")
    async def children(self, info: Info) -> list["OperatorCategory"]:
        """Loaded for all the categories of the answer at once."""
        found = await info.context.loaders.load(catalogue.categories_under, self.id)
        return [OperatorCategory.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: CategoryRow) -> "OperatorCategory":
        """The stored category."""
        return cls(id=row.id, name=row.name, parent_id=row.parent_id, position=row.position, hidden=row.hidden)


@strawberry.input(description="A category to be made. It is visible at once.")
class CategoryCreateInput:
    """What a category has."""

    name: str = strawberry.field(description="1 to 20 characters, unique in the shop.")
    parent_id: UUID | None = strawberry.field(
        default=None, description="The category at the top that it is to stand under; nothing for the top itself."
    )
    position: int = strawberry.field(
        default=0, description="Its place among its neighbours, 0 to 9,999, the least first; 0 unless given."
    )


@strawberry.input(description="What is to change of a category. A field that is left out stays as it is.")
class CategoryUpdateInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The category.")
    name: strawberry.Maybe[str] = strawberry.field(description="1 to 20 characters, unique in the shop.")
    parent_id: strawberry.Maybe[UUID | None] = strawberry.field(
        description="The category at the top that it is to stand under; null moves it to the top."
    )
    position: strawberry.Maybe[int] = strawberry.field(description="0 to 9,999, the least first.")
    hidden: strawberry.Maybe[bool] = strawberry.field(
        description="True takes it and what stands under it off the shelves; its products stay on sale."
    )


@strawberry.type(description="The category was made.")
class CategoryCreated:
    """The new category."""

    category: OperatorCategory = strawberry.field(description="The category.")


@strawberry.type(description="The category is as asked for.")
class CategoryUpdated:
    """The changed category."""

    category: OperatorCategory = strawberry.field(description="The category as it is now.")


CategoryCreateResult = Annotated[
    CategoryCreated | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CategoryCreateResult", description="The category was made, or why not."),
]
CategoryUpdateResult = Annotated[
    CategoryUpdated | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CategoryUpdateResult", description="The category was changed, or why not."),
]


@strawberry.type
class ShopQuery:
    """Open to members and visitors."""

    @strawberry.field(
        description="The visible categories at the top, in their order. At most 200 in all.", extensions=[ForEveryone()]
    )
    async def categories(self, info: Info) -> list[Category]:
        """All of them."""
        return [Category.from_row(row) for row in await catalogue.shelves(info.context.deps)]


@strawberry.type
class OperatorQuery:
    """For those who run the shop."""

    @strawberry.field(
        description="The categories at the top, hidden ones too, in their order. At most 200 in all.",
        extensions=[Needs(Right.CATALOGUE_READ)],
    )
    async def categories(self, info: Info) -> list[OperatorCategory]:
        """All of them."""
        return [OperatorCategory.from_row(row) for row in await catalogue.categories(info.context.deps)]


@strawberry.type
class OperatorMutation:
    """For those who stock the shelves."""

    @strawberry.mutation(
        description=(
            "Make a category. Refusals: `CATALOGUE_INVALID`, `CATEGORY_NAME_TAKEN`, `CATEGORY_NOT_FOUND` (the parent), "
            "`CATEGORY_NESTING_REFUSED`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def category_create(
        self,
        info: Info,
        input: Annotated[CategoryCreateInput, strawberry.argument(description="What it has.")],
        idempotency_key: Key,
    ) -> CategoryCreateResult:
        """One call."""
        row = await verbs.create(
            info.context.deps,
            operator_id=writer(info),
            name=input.name,
            parent_id=input.parent_id,
            position=input.position,
            idempotency_key=idempotency_key,
        )
        return CategoryCreated(category=OperatorCategory.from_row(row))

    @strawberry.mutation(
        description=(
            "Rename, move, show or hide a category. Refusals: `CATEGORY_NOT_FOUND`, `CATALOGUE_INVALID`, "
            "`CATEGORY_NAME_TAKEN`, `CATEGORY_NESTING_REFUSED`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def category_update(
        self,
        info: Info,
        input: Annotated[CategoryUpdateInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> CategoryUpdateResult:
        """One call."""
        row = await verbs.update(
            info.context.deps,
            operator_id=writer(info),
            category_id=input.id,
            changes=cast("CategoryChanges", sent(input, "name", "parent_id", "position", "hidden")),
            idempotency_key=idempotency_key,
        )
        return CategoryUpdated(category=OperatorCategory.from_row(row))
