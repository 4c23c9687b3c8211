"""Putting a schema together from the per-noun modules."""

from collections.abc import Sequence

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter

from schema.refusal import RefusalHandler
from schema.scalars import SCALARS


class _Names(NameConverter):
    """strawberry's names. It makes them anew for each argument of each request, and there are only so many."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, str] = {}

    def apply_naming_config(self, name: str) -> str:
        """``flash_sales`` to ``flashSales``."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = super().apply_naming_config(name)
        return made


def build(
    queries: Sequence[type], mutations: Sequence[type], *, query_description: str, mutation_description: str
) -> strawberry.Schema:
    """The schema whose root types have the fields of all the given classes; no two may declare the same field."""
    return strawberry.Schema(
        query=_merged("Query", queries, query_description),
        mutation=_merged("Mutation", mutations, mutation_description) if mutations else None,
        config=StrawberryConfig(name_converter=_Names(), scalar_map=SCALARS),
        exception_handlers=[RefusalHandler()],
    )


def _merged(name: str, parts: Sequence[type], description: str) -> type:
    seen: dict[str, type] = {}
    for part in parts:
        for field in part.__strawberry_definition__.fields:  # type: ignore[attr-defined]
            assert field.name not in seen, f"{name}.{field.name} is declared by {seen[field.name]} and {part}"
            seen[field.name] = part
    return strawberry.type(type(name, tuple(parts), {}), name=name, description=description)
