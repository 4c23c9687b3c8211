"""Enums are born in the rules, which know no GraphQL. Here they learn how to describe themselves to the API."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

E = TypeVar("E", bound=Enum)


def describe(rule_enum: type[E], description: str, values: Mapping[E, str], *, name: str | None = None) -> None:
    """Make an enum of a rule part of the API, with a description for each of its values.

    Fields are then annotated with the enum itself; the API says the names of its members. ``name`` is what the API
    calls an enum whose own name says too little outside its rule.
    """
    missing = [one.name for one in rule_enum if one not in values]
    assert not missing, f"{rule_enum.__name__} has values without a description: {missing}"
    strawberry.enum(rule_enum, name=name, description=description)
    definition: StrawberryEnumDefinition = rule_enum.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values[rule_enum[value.name]]
