"""What a field knows about the request it is part of."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import strawberry

from loyalty.refusal import Language
from resolvers.deps import Deps
from resolvers.people.token import TokenClaims
from schema.loaders import Loaders


@dataclass(slots=True, kw_only=True)
class Context:
    """One request. ``now`` is read once from the clock; loaders live as long as the request.

    ``member`` is only ever set on the shop's door, ``operator`` only on the operators'.
    """

    deps: Deps
    now: datetime
    request_id: str
    language: Language
    client_ip: str
    device_id: str | None = None
    member: TokenClaims | None = None
    operator: TokenClaims | None = None
    loaders: Loaders = field(init=False)
    refused: str | None = None

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.deps)

    @property
    def member_id(self) -> UUID | None:
        """The signed-in member, if there is one."""
        return self.member.subject_id if self.member else None

    @property
    def operator_id(self) -> UUID | None:
        """The signed-in operator, if there is one."""
        return self.operator.subject_id if self.operator else None


Info = strawberry.Info[Context, None]
"""What a resolver is told: the ``context``, and nothing else: a plan (``schema/execution.py``) has no more."""


@lru_cache(maxsize=256)
def language_of(accept_language: str) -> Language:
    """Chinese, unless the header prefers English to it (RFC 9110 §12.5.4)."""
    weights = {"zh": 0.0, "en": 0.0}
    for part in accept_language.split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        primary = tag.strip().lower().partition("-")[0]
        if primary in weights:
            weights[primary] = max(weights[primary], _weight(parameter))
    return "en" if weights["en"] > weights["zh"] else "zh"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
