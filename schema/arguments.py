"""Arguments that fields of many nouns take."""

from typing import Annotated, Any

import strawberry

from schema.scalars import IdempotencyKey

Key = Annotated[
    IdempotencyKey,
    strawberry.argument(description="Made by the client before sending, 8 to 64 visible ASCII characters."),
]


def sent(given: object, *names: str, **renamed: str) -> dict[str, Any]:
    """What was sent of these optional fields (``strawberry.Maybe``) of an input, null included.

    ``renamed`` has those that a verb calls otherwise: ``price="price_fen"``.
    """
    wanted = {name: name for name in names} | renamed
    found = {to: getattr(given, name) for name, to in wanted.items()}
    return {to: one.value for to, one in found.items() if one}
