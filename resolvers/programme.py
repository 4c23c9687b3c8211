"""The versions of what operators configure: reading the one in force, publishing a new one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from loyalty.check_in import CheckInProgramme
from loyalty.points import PointsProgramme
from loyalty.tier import TierTable
from models.engine import rows

Rules = TypeVar("Rules")

KINDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "tier": TierTable.parse,
    "points": PointsProgramme.parse,
    "check_in": CheckInProgramme.parse,
}


@dataclass(frozen=True, slots=True)
class InForce(Generic[Rules]):
    """A published version and the rules it means."""

    version_id: UUID
    version: int
    rules: Rules


@lru_cache(maxsize=256)
def _parsed(kind: str, definition: str) -> Any:
    return KINDS[kind](orjson.loads(definition))


def _read(kind: str, row: Mapping[str, Any]) -> InForce[Any]:
    return InForce(row["id"], row["version"], _parsed(kind, row["definition"]))


async def _in_force(kind: str, now: datetime) -> InForce[Any]:
    found = await rows(
        "SELECT id, version, definition::text FROM programme_version WHERE kind = $1 AND effective_at <= $2 "
        "ORDER BY effective_at DESC, version DESC LIMIT 1",
        [kind, now],
    )
    assert found, f"the first version of the {kind} programme is published when the store is prepared"
    return _read(kind, found[0])


async def tier_table(now: datetime) -> InForce[TierTable]:
    """The tier table in force at ``now``."""
    return await _in_force("tier", now)


async def points_programme(now: datetime) -> InForce[PointsProgramme]:
    """The points programme in force at ``now``."""
    return await _in_force("points", now)


async def check_in_programme(now: datetime) -> InForce[CheckInProgramme]:
    """The check-in programme in force at ``now``."""
    return await _in_force("check_in", now)


async def version(kind: str, version_id: UUID) -> InForce[Any]:
    """A published version by its id, in force or not."""
    found = await rows(
        "SELECT id, version, definition::text FROM programme_version WHERE kind = $1 AND id = $2", [kind, version_id]
    )
    assert found, f"no {kind} version {version_id}"
    return _read(kind, found[0])
