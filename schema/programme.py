"""What the versioned programmes share in the API: a version, its state, and how an input becomes a definition."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.programme import MAX_NOTE_LENGTH, ProgrammeInvalid
from loyalty.refusal import RefusalValue
from models.keyset import Slice
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from resolvers import programme as verbs
from schema.context import Info
from schema.enums import describe
from schema.paging import page
from schema.permissions import require_right
from schema.refusal import Refusal, refusal_type
from schema.scalars import IdempotencyKey


class ProgrammeState(StrEnum):
    """Where a version is in its life."""

    SCHEDULED = "scheduled"
    IN_FORCE = "in_force"
    PAST = "past"


describe(
    ProgrammeState,
    "Where a published version is in its life.",
    {
        ProgrammeState.SCHEDULED: "Its date has not come.",
        ProgrammeState.IN_FORCE: "The rules that apply now.",
        ProgrammeState.PAST: "Another version has taken its place.",
    },
)


@strawberry.interface(description="One published version of what operators configure. It never changes.")
class ProgrammeVersion:
    """What every version says beside its rules."""

    id: UUID = strawberry.field(description="The id that entries and decisions name.")
    version: int = strawberry.field(description="Counts from 1 within its kind.")
    effective_at: datetime = strawberry.field(description="In force from this instant until that of a later version.")
    published_at: datetime = strawberry.field(description="When it was published.")
    published_by_id: UUID | None = strawberry.field(
        description="The operator who published it; null for the first version, which the store came with."
    )
    note: str = strawberry.field(description=f"What the operator noted, at most {MAX_NOTE_LENGTH} characters.")
    kind: strawberry.Private[verbs.ProgrammeKind]

    @strawberry.field(description="Whether it is in force, past, or still to come.")
    async def state(self, info: Info) -> ProgrammeState:
        """Decided at the instant of the request, which for a version that it publishes is that of publishing."""
        if self.effective_at > max(info.context.now, self.published_at):
            return ProgrammeState.SCHEDULED
        current = await info.context.loaders.load(verbs.current, self.kind)
        return ProgrammeState.IN_FORCE if current and current.id == self.id else ProgrammeState.PAST


def columns(row: ProgrammeVersionRow) -> dict[str, Any]:
    """The values of the interface's fields."""
    return {
        "id": row.id,
        "version": row.version,
        "effective_at": row.effective_at,
        "published_at": row.published_at,
        "published_by_id": row.published_by_id,
        "note": row.note,
        "kind": verbs.ProgrammeKind(row.kind),
    }


async def in_force(info: Info, kind: verbs.ProgrammeKind) -> ProgrammeVersionRow:
    """The version of a kind that is in force now."""
    found = await info.context.loaders.load(verbs.current, kind)
    assert found is not None, "the store has a version of every kind from its first start"
    return found


async def history_page(
    info: Info, kind: verbs.ProgrammeKind, first: int, after: str | None
) -> Slice[ProgrammeVersionRow]:
    """A page of the versions of a kind, the newest first, those to come included."""
    return await verbs.history(info.context.deps, kind=kind, page=page(verbs.NEWEST, first, after))


async def publish_version(
    info: Info,
    right: Right,
    kind: verbs.ProgrammeKind,
    definition: dict[str, object],
    *,
    effective_at: datetime | None,
    note: str,
    idempotency_key: str,
    renamed: Mapping[str, str] | None = None,
) -> ProgrammeVersionRow:
    """Publish the next version of a kind for the operator who asks, who needs ``right``.

    Raises: ProgrammeInvalid in the words of the API (``renamed``: see ``in_api_words``), and what publishing raises.
    """
    with api_words(renamed):
        return await verbs.publish(
            info.context.deps,
            operator_id=require_right(info, right).subject_id,
            kind=kind,
            definition=definition,
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
        )


@refusal_type(ProgrammeInvalid)
@strawberry.type(name="ProgrammeInvalid", description="The rules cannot work; nothing was published.")
class ProgrammeInvalidRefusal(Refusal):
    """Names the field to correct."""

    field: str = strawberry.field(
        description="The first field that is wrong, as a path within the input, such as `levels[2].threshold`."
    )


PublicationKey = Annotated[IdempotencyKey, strawberry.argument(description="Of this publication.")]
EffectiveAt = Annotated[
    datetime | None,
    strawberry.argument(description="When the version comes into force, not in the past. Now, if it is left out."),
]
Note = Annotated[
    str, strawberry.argument(description=f"For the other operators, at most {MAX_NOTE_LENGTH} characters.")
]


def definition_of(given: object) -> dict[str, object]:
    """The definition that a rule parses, out of a typed input. What was left out takes the rule's default."""
    found: dict[str, object] = {}
    for field in fields(given):  # type: ignore[arg-type]
        value = _plain(getattr(given, field.name))
        if value is not None:
            found[field.name] = value
    return found


def _plain(value: object) -> object:
    if value is None or value is strawberry.UNSET or isinstance(value, bool | int):
        return None if value is strawberry.UNSET else value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    assert hasattr(value, "__strawberry_definition__"), f"an input has no {type(value).__name__}"
    return definition_of(value)


_SNAKE = re.compile(r"(?<!“)\b[a-z]+(?:_[a-z]+)+\b")
"""A field in the words of the rules; what stands in quotes is somebody else's word."""


def in_api_words(refusal: ProgrammeInvalid, renamed: Mapping[str, str] | None = None) -> ProgrammeInvalid:
    """The same refusal with fields named as the API names them: ``discount_bp`` is ``discountBp`` there.

    ``renamed`` has the paths that are another path in the API altogether.
    """
    told: dict[str, RefusalValue] = {
        name: _SNAKE.sub(_camel, value) if isinstance(value, str) else value for name, value in refusal.data.items()
    }
    field = str(refusal.data["field"])
    if renamed and field in renamed:
        told["field"] = renamed[field]
    return ProgrammeInvalid(**told)


@contextmanager
def api_words(renamed: Mapping[str, str] | None = None) -> Iterator[None]:
    """What is refused within is told ``in_api_words``."""
    try:
        yield
    except ProgrammeInvalid as refusal:
        raise in_api_words(refusal, renamed) from None


def _camel(found: re.Match[str]) -> str:
    first, *rest = found.group().split("_")
    return first + "".join(word.capitalize() for word in rest)
