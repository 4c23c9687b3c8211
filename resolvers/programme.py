"""The versions of what operators configure: reading the one in force, looking back, publishing a new one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from loyalty.coupons.newcomer_pack import NewcomerPack
from loyalty.points.check_in import CheckInProgramme
from loyalty.points.points import PointsProgramme
from loyalty.programme import Definition, admit_effective_at, admit_note
from loyalty.referrals.referral_programme import ReferralProgramme
from loyalty.tiers.tier import TierTable
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.programme import ProgrammeVersion
from resolvers.deps import Deps
from resolvers.naming import admit_names
from resolvers.people import audit
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

Rules = TypeVar("Rules")


class ProgrammeKind(StrEnum):
    """What there are versions of."""

    TIER = "tier"
    POINTS = "points"
    CHECK_IN = "check_in"
    REFERRAL = "referral"
    NEWCOMER_PACK = "newcomer_pack"


KINDS: Mapping[
    ProgrammeKind,
    Callable[[Definition], TierTable | PointsProgramme | CheckInProgramme | ReferralProgramme | NewcomerPack],
] = {
    ProgrammeKind.TIER: TierTable.parse,
    ProgrammeKind.POINTS: PointsProgramme.parse,
    ProgrammeKind.CHECK_IN: CheckInProgramme.parse,
    ProgrammeKind.REFERRAL: ReferralProgramme.parse,
    ProgrammeKind.NEWCOMER_PACK: NewcomerPack.parse,
}

NEWEST = Keyset("programme.newest", (Key("version", int),))

_NEWEST_IN_FORCE = """
SELECT DISTINCT ON (kind) kind, id, version, definition::text FROM programme_version
WHERE kind = ANY({kinds}::text[]) AND effective_at <= $2 ORDER BY kind, effective_at DESC, version DESC
"""
_IN_FORCE = _NEWEST_IN_FORCE.format(kinds="$1")

FOR_ORDERING = f"""
(SELECT jsonb_agg(newest)::text FROM ({_NEWEST_IN_FORCE.format(kinds="ARRAY['tier', 'points']")}) newest) AS programmes
"""
"""A column of a query whose ``$2`` is now: what ``for_ordering`` asks, for ``read_for_ordering``."""


@dataclass(frozen=True, slots=True)
class InForce(Generic[Rules]):
    """A published version and the rules it means."""

    version_id: UUID
    version: int
    rules: Rules


@lru_cache(maxsize=256)
def _parsed(kind: ProgrammeKind, definition: str) -> Any:
    return KINDS[kind](orjson.loads(definition))


def read(kind: ProgrammeKind, row: Mapping[str, Any]) -> InForce[Any]:
    """A version out of a row with its id, version and ``definition::text``."""
    return InForce(row["id"], row["version"], _parsed(kind, row["definition"]))


async def _in_force(kinds: Sequence[ProgrammeKind], now: datetime) -> dict[ProgrammeKind, InForce[Any]]:
    found = {ProgrammeKind(row["kind"]): row for row in await rows(_IN_FORCE, [list(kinds), now])}
    missing = set(kinds) - set(found)
    assert not missing, f"the first versions of {missing} are published when the store is prepared"
    return {kind: read(kind, row) for kind, row in found.items()}


async def tier_table(now: datetime) -> InForce[TierTable]:
    """The tier table in force at ``now``."""
    return (await _in_force([ProgrammeKind.TIER], now))[ProgrammeKind.TIER]


async def points_programme(now: datetime) -> InForce[PointsProgramme]:
    """The points programme in force at ``now``."""
    return (await _in_force([ProgrammeKind.POINTS], now))[ProgrammeKind.POINTS]


async def check_in_programme(now: datetime) -> InForce[CheckInProgramme]:
    """The check-in programme in force at ``now``."""
    return (await _in_force([ProgrammeKind.CHECK_IN], now))[ProgrammeKind.CHECK_IN]


async def referral_programme(now: datetime) -> InForce[ReferralProgramme]:
    """The referral programme in force at ``now``."""
    return (await _in_force([ProgrammeKind.REFERRAL], now))[ProgrammeKind.REFERRAL]


async def for_joining(now: datetime) -> tuple[InForce[TierTable], InForce[NewcomerPack]]:
    """The tier table and the newcomer pack in force at ``now``, in one statement."""
    found = await _in_force([ProgrammeKind.TIER, ProgrammeKind.NEWCOMER_PACK], now)
    return found[ProgrammeKind.TIER], found[ProgrammeKind.NEWCOMER_PACK]


async def for_ordering(now: datetime) -> tuple[InForce[TierTable], InForce[PointsProgramme]]:
    """The tier table and the points programme in force at ``now``, in one statement."""
    found = await _in_force([ProgrammeKind.TIER, ProgrammeKind.POINTS], now)
    return found[ProgrammeKind.TIER], found[ProgrammeKind.POINTS]


def read_for_ordering(column: str) -> tuple[InForce[TierTable], InForce[PointsProgramme]]:
    """The tier table and the points programme of the column ``FOR_ORDERING``."""
    found = {
        row["kind"]: read(ProgrammeKind(row["kind"]), row | {"id": UUID(row["id"])}) for row in orjson.loads(column)
    }
    return found[ProgrammeKind.TIER], found[ProgrammeKind.POINTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllInForce:
    """One version of each kind."""

    tier: InForce[TierTable]
    points: InForce[PointsProgramme]
    check_in: InForce[CheckInProgramme]


async def all_in_force(now: datetime) -> AllInForce:
    """What is in force at ``now``, of every kind in one statement."""
    found = await _in_force(list(ProgrammeKind), now)
    return AllInForce(
        tier=found[ProgrammeKind.TIER],
        points=found[ProgrammeKind.POINTS],
        check_in=found[ProgrammeKind.CHECK_IN],
    )


async def version(kind: str, version_id: UUID) -> InForce[Any]:
    """A published version by its id, in force or not."""
    found = await rows(
        "SELECT id, version, definition::text FROM programme_version WHERE kind = $1 AND id = $2", [kind, version_id]
    )
    assert found, f"no {kind} version {version_id}"
    return read(ProgrammeKind(kind), found[0])


# Looking back and publishing


async def history(deps: Deps, *, kind: ProgrammeKind, page: Page) -> Slice[ProgrammeVersion]:
    """The versions of a kind, the newest first, those of the future included."""
    return await fetch(ProgrammeVersion.filter(kind=kind), page)


async def current(deps: Deps, kinds: Sequence[ProgrammeKind]) -> Mapping[ProgrammeKind, ProgrammeVersion]:
    """The version in force of each kind."""
    ids = [one.version_id for one in (await _in_force(kinds, deps.clock.now())).values()]
    return {ProgrammeKind(row.kind): row for row in await ProgrammeVersion.filter(id__in=ids)}


def rules_of(row: ProgrammeVersion) -> Any:
    """The rules that a version means."""
    return KINDS[ProgrammeKind(row.kind)](row.definition)


@retried
async def publish(
    deps: Deps,
    *,
    operator_id: UUID,
    kind: ProgrammeKind,
    definition: Definition,
    effective_at: datetime | None,
    note: str,
    idempotency_key: str,
) -> ProgrammeVersion:
    """Make the next version of a kind, in force from ``effective_at`` (None: from now). It can never be changed.

    Two operators who publish at once get two numbers, one after the other.

    Raises:
        ProgrammeInvalid: the definition cannot work, names what is not there, or would have been in force already.
        AccountDisabled: the operator's account is disabled.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    rules = KINDS[kind](definition)
    admit_note(note)
    whole = rules.definition()
    content = {
        "kind": kind,
        "definition": whole,
        "effective_at": effective_at.isoformat() if effective_at else None,
        "note": note,
    }
    operation = f"{kind}.publish"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation=operation, content=content)
        if before is not None:
            return await ProgrammeVersion.get(id=UUID(before["version_id"]))
        admit_effective_at(effective_at, now)
        if isinstance(rules, TierTable | PointsProgramme | NewcomerPack):
            await admit_names(rules.names(), now)
        await rows("SELECT pg_advisory_xact_lock(hashtextextended('programme_version.' || $1, 0))", [kind])
        latest = await ProgrammeVersion.filter(kind=kind).order_by("-version").first()
        number = latest.version + 1 if latest else 1
        published = await ProgrammeVersion.create(
            id=new_id(now),
            kind=kind,
            version=number,
            definition=whole,
            effective_at=effective_at or now,
            published_at=now,
            published_by_id=operator_id,
            note=note,
        )
        await audit.record(
            operator_id,
            operation,
            "programme_version",
            published.id,
            {"version": latest.version} if latest else None,
            {"version": number, "effective_at": published.effective_at.isoformat(), "note": note},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation=operation,
            content=content,
            result={"version_id": str(published.id)},
            now=now,
        )
        return published
