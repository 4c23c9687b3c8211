"""Arguments that fields of many nouns take."""

from typing import Annotated

import strawberry

from schema.scalars import IdempotencyKey

Key = Annotated[
    IdempotencyKey,
    strawberry.argument(description="Made by the client before sending, 8 to 64 visible ASCII characters."),
]
