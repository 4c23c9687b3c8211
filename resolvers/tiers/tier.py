"""Tiers as members and operators see them, and a new table being carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.tiers.tier import Progress, TierLevel, TierTable, after_publish, progress
from loyalty.tiers.tier_benefit import Benefit
from loyalty.tiers.tier_overlay import TierOverlay, effective
from models.engine import retried, rows, transaction
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.tiers.tier import GrowthEntry, Membership, TierChange
from resolvers.deps import Deps
from resolvers.programme import tier_table
from resolvers.tiers.tier_move import follow
from resolvers.tiers.tier_overlay import RUNNING, read_running
from resolvers.tiers.tier_period import settle_period

GROWTH_NEWEST = Keyset("growth.newest", (Key("seq", int),))
CHANGES_NEWEST = Keyset("tier_change.newest", (Key("id", UUID),))


_STANDINGS = f"""
SELECT member_id, growth_value, tier_code, tier_since, keep_until, keep_due_at, {RUNNING}
FROM membership WHERE member_id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a member stands by the table in force, whether or not that table was carried out for them yet.

    ``progress`` is that of the member's own tier. ``applies`` is the tier whose benefits apply: a manual one or a
    trial of ``overlays`` may lie over it. ``grace_until`` is set while a period that ended may still be saved.
    """

    growth_value: int
    since: datetime
    keep_until: datetime | None
    grace_until: datetime | None
    progress: Progress
    applies: TierLevel
    overlays: Sequence[TierOverlay]


def applies(row: Mapping[str, Any], table: TierTable, now: datetime) -> TierLevel:
    """The tier whose benefits apply to a member; a row has the growth value and tier of membership and ``RUNNING``."""
    return effective(table, own_code=_own_code(row, table), overlays=read_running(row["overlays"]), now=now)


def _own_code(row: Mapping[str, Any], table: TierTable) -> str:
    change = after_publish(table, current_code=row["tier_code"], growth=row["growth_value"])
    code: str = change.to_code if change else row["tier_code"]
    return code


def standing(row: Mapping[str, Any], table: TierTable, now: datetime) -> Standing:
    """The standing that a membership means under a table; a row has the columns of membership and ``RUNNING``."""
    own_code = _own_code(row, table)
    overlays = read_running(row["overlays"])
    in_grace = row["keep_until"] is not None and row["keep_until"] < row["keep_due_at"]
    return Standing(
        growth_value=row["growth_value"],
        since=row["tier_since"],
        keep_until=row["keep_until"],
        grace_until=row["keep_due_at"] if in_grace else None,
        progress=progress(table, row["growth_value"], own_code),
        applies=effective(table, own_code=own_code, overlays=overlays, now=now),
        overlays=overlays,
    )


async def standings_at(member_ids: Sequence[UUID], table: TierTable, now: datetime) -> Mapping[UUID, Standing]:
    """Where these members stand by a table, in one statement."""
    found = await rows(_STANDINGS, [sorted(set(member_ids)), now])
    return {row["member_id"]: standing(row, table, now) for row in found}


async def standings(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, Standing]:
    """Where these members stand now, in two statements."""
    now = deps.clock.now()
    return await standings_at(member_ids, (await tier_table(now)).rules, now)


async def benefits_of(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Benefit]]:
    """The benefits of the tiers that apply to these members now: what every mechanism asks before it gives one."""
    return {member_id: one.applies.benefits for member_id, one in (await standings(deps, member_ids)).items()}


async def growth_history(deps: Deps, *, member_id: UUID, page: Page) -> Slice[GrowthEntry]:
    """A member's growth entries, the newest first."""
    return await fetch(GrowthEntry.filter(member_id=member_id), page)


async def change_history(deps: Deps, *, member_id: UUID, page: Page) -> Slice[TierChange]:
    """A member's changes of tier, the newest first."""
    return await fetch(TierChange.filter(member_id=member_id), page)


@retried
async def apply_tier_table(deps: Deps, *, member_id: UUID) -> bool:
    """Carry out the table in force for one member; False when it changes nothing. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        await settle_period(member_id, now=now, zone=deps.zone)
        table = await tier_table(now)
        row = await Membership.get(member_id=member_id)
        change = after_publish(table.rules, current_code=row.tier_code, growth=row.growth_value)
        await follow(member_id, change, now=now, zone=deps.zone, table=table)
        return change is not None


async def due_for_table(deps: Deps, limit: int) -> list[UUID]:
    """Members for whom the table in force is still to be carried out: they reach a higher tier, or theirs is gone.

    Each tier is one range of the index on tier and growth value, so that an idle sweep reads next to nothing.
    """
    levels = (await tier_table(deps.clock.now())).rules.levels
    found = await rows(
        "SELECT member_id FROM unnest($1::text[], $2::bigint[]) AS level(code, next_threshold) "
        "JOIN membership ON tier_code = level.code AND growth_value >= level.next_threshold LIMIT $3",
        [[level.code for level in levels[:-1]], [level.threshold for level in levels[1:]], limit],
    )
    if len(found) < limit:
        found += await rows(
            "SELECT member_id FROM membership WHERE tier_code = ANY("
            "SELECT DISTINCT level->>'code' FROM programme_version, jsonb_array_elements(definition->'levels') level "
            "WHERE kind = 'tier' AND NOT level->>'code' = ANY($1::text[])) LIMIT $2",
            [[level.code for level in levels], limit - len(found)],
        )
    return [row["member_id"] for row in found]
