"""Refusals as members of result unions.

A resolver raises a ``loyalty.refusal.Refusal``. Where the field's union has a type of its own for that refusal, the
answer is that type with the refusal's values; otherwise, where the union has ``SimpleRefusal``, it is that. A field
without either (a query) answers with a top-level BAD_INPUT that carries the refusal's code in its extensions.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from strawberry.types.field import StrawberryField
from strawberry.types.union import StrawberryUnion

from loyalty import refusal as rule

_T = TypeVar("_T", bound="Refusal")


@strawberry.interface(description="An expected no. Nothing was changed.")
class Refusal:
    """What every refusal says."""

    code: str = strawberry.field(description="Stable code in upper snake case to switch on, such as `OUT_OF_STOCK`.")
    message: str = strawberry.field(
        description="A sentence for the person, in Chinese, or in English if `Accept-Language` prefers it."
    )


@strawberry.type(description="A refusal that says all there is to say with its code and message.")
class SimpleRefusal(Refusal):
    """The type of every refusal that carries no values."""


_types: dict[type[rule.Refusal], type[Refusal]] = {}


def refusal_type(rule_refusal: type[rule.Refusal]) -> Callable[[type[_T]], type[_T]]:
    """Declare the decorated GraphQL type as the answer for this refusal of a rule.

    Its fields beside ``code`` and ``message`` are named like the values the refusal is raised with, but for those that
    it works out itself.
    """

    def declare(graphql_type: type[_T]) -> type[_T]:
        assert rule_refusal not in _types, f"{rule_refusal.code} has two GraphQL types"
        _types[rule_refusal] = graphql_type
        return graphql_type

    return declare


def answer_for(refusal: rule.Refusal, language: rule.Language, members: tuple[object, ...]) -> Refusal:
    """The union member that says this refusal, out of the members a field declares."""
    graphql_type = _types.get(type(refusal), SimpleRefusal)
    if graphql_type not in members:
        graphql_type = SimpleRefusal
    carried = [field for field in fields(graphql_type) if field.init and field.name not in ("code", "message")]
    values: dict[str, Any] = {field.name: _typed(field.type, refusal.data[field.name]) for field in carried}
    return graphql_type(code=refusal.code, message=refusal.message(language), **values)


def _typed(annotation: object, value: rule.RefusalValue) -> rule.RefusalValue | UUID:
    """A refusal carries ids as texts, for the message; the API has them as ids."""
    return UUID(value) if annotation is UUID and isinstance(value, str) else value


class RefusalHandler(strawberry.ExceptionHandler[rule.Refusal, SimpleRefusal]):
    """Turns a refusal raised in a resolver into the union member of the field. Every result union has SimpleRefusal."""

    def handle(self, exception: rule.Refusal, *, field: StrawberryField, info: strawberry.Info) -> SimpleRefusal:
        """The answer in the caller's language."""
        union = field.type
        assert isinstance(union, StrawberryUnion), "strawberry asks only for fields whose union has SimpleRefusal"
        answer = answer_for(exception, info.context.language, union.types)
        info.context.refused = exception.code
        return answer  # type: ignore[return-value]
