"""Tiers as members and operators see them, and a new table being carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.tier import Progress, TierTable, after_publish, progress
from models.engine import retried, rows, transaction
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.tier import GrowthEntry, Membership, TierChange
from resolvers.deps import Deps
from resolvers.programme import tier_table
from resolvers.tier_move import follow
from resolvers.tier_period import settle_period

GROWTH_NEWEST = Keyset("growth.newest", (Key("seq", int),))
CHANGES_NEWEST = Keyset("tier_change.newest", (Key("id", UUID),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a member stands by the table in force, whether or not that table was carried out for them yet."""

    growth_value: int
    since: datetime
    keep_until: datetime | None
    progress: Progress


def standing(row: Membership, table: TierTable) -> Standing:
    """The standing that a membership means under a table."""
    change = after_publish(table, current_code=row.tier_code, growth=row.growth_value)
    return Standing(
        growth_value=row.growth_value,
        since=row.tier_since,
        keep_until=row.keep_until,
        progress=progress(table, row.growth_value, change.to_code if change else row.tier_code),
    )


async def standings(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, Standing]:
    """Where these members stand, in two statements."""
    table = (await tier_table(deps.clock.now())).rules
    return {row.member_id: standing(row, table) for row in await Membership.filter(member_id__in=member_ids)}


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
