"""What a tier table would do before it is published: who moves, what its benefits would have cost, and some of them.

Everything is decided in the database, in four statements whatever the store's size: one pass over the memberships,
one over the orders of the window, the sample by the index on tier and growth value, and the published promotions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from loyalty.money import BP
from loyalty.points.points import MAX_MULTIPLIER_BP
from loyalty.programme import Definition
from loyalty.tiers.tier import TierTable
from models.engine import rows
from models.ids import first_id
from resolvers.deps import Deps
from resolvers.programme import tier_table

MOST_DAYS = 365
SAMPLE = 20

_RANK = """
GREATEST(array_position({codes}::text[], membership.tier_code::text),
    width_bucket(membership.growth_value, {thresholds}::bigint[]))
"""
"""The level (from 1) that a table gives a member: never below the own one while that exists, else the one that fits."""

_MOVES = """
SELECT tier_code, GREATEST(array_position($1::text[], tier_code::text), fits) AS level, SUM(members)::int AS members,
    COALESCE(SUM(members) FILTER (WHERE fits < array_position($1::text[], tier_code::text)), 0)::int AS below_threshold
FROM (
    SELECT tier_code, width_bucket(growth_value, $2::bigint[]) AS fits, count(*) AS members
    FROM membership GROUP BY 1, 2
) counted GROUP BY 1, 2
"""

_SAMPLE = """
SELECT member_id, growth_value, tier_code, level FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
    AS move(from_code, level, low, high)
CROSS JOIN LATERAL (
    SELECT member_id, growth_value, tier_code FROM membership
    WHERE tier_code = from_code AND growth_value >= low AND growth_value < high ORDER BY growth_value DESC LIMIT $5
) found LIMIT $6
"""

_PRICE = """
LEAST(line.list_price_fen, COALESCE(sku.member_price_fen, line.list_price_fen),
    GREATEST(1, line.list_price_fen - (line.list_price_fen * {bp} + 5000) / 10000))
"""

_POINTS = f"""
div(GREATEST(before_discount_fen - {{fen}}, 0)::numeric * earn_points
    * LEAST({{bp}} * boost_bp / {BP}, {MAX_MULTIPLIER_BP}), earn_per_fen * {BP})
"""

_COST = f"""
WITH programme AS MATERIALIZED (
    SELECT id AS points_version_id, (definition->>'earn_points')::bigint AS earn_points,
        (definition->>'earn_per_fen')::bigint AS earn_per_fen
    FROM programme_version WHERE kind = 'points'
), had AS MATERIALIZED (
    SELECT version.id AS version_id, one->>'code' AS code, (one->>'points_multiplier_bp')::bigint AS bp
    FROM programme_version version, jsonb_array_elements(version.definition->'levels') one
    WHERE version.kind = 'tier'
), placed AS MATERIALIZED (
    SELECT o.id, o.points_version_id,
        (o.points_multiplier_bp * {BP}::bigint + COALESCE(had.bp, {BP}) - 1) / COALESCE(had.bp, {BP}) AS boost_bp,
        {_RANK.format(codes="$3", thresholds="$4")} AS level_now, {_RANK.format(codes="$7", thresholds="$8")} AS level
    FROM shop_order o JOIN membership USING (member_id)
    LEFT JOIN had ON had.version_id = o.tier_version_id AND had.code = o.tier_code
    WHERE o.id >= $1 AND o.created_at >= $2 AND o.kind = 'purchase' AND o.state = 'paid'
), priced AS (
    SELECT placed.id,
        SUM((line.payable_fen + line.discount_fen) * kept.pieces / line.quantity)::bigint AS before_discount_fen,
        SUM((line.list_price_fen - {_PRICE.format(bp="($5::bigint[])[level_now]")}) * kept.pieces)::bigint AS fen_now,
        SUM((line.list_price_fen - {_PRICE.format(bp="($9::bigint[])[level]")}) * kept.pieces)::bigint AS fen
    FROM placed JOIN order_line line ON line.order_id = placed.id LEFT JOIN sku ON sku.id = line.sku_id
    CROSS JOIN LATERAL (SELECT line.quantity - line.refunded_count AS pieces) kept GROUP BY 1
), costed AS (
    SELECT level, fen_now, fen,
        {_POINTS.format(fen="fen_now", bp="($6::bigint[])[level_now]")} AS points_now,
        {_POINTS.format(fen="fen", bp="($10::bigint[])[level]")} AS points
    FROM placed JOIN priced USING (id) JOIN programme USING (points_version_id)
)
SELECT level, count(*)::int AS orders, SUM(fen_now)::bigint AS fen_now, SUM(fen)::bigint AS fen,
    SUM(points_now)::bigint AS points_now, SUM(points)::bigint AS points
FROM costed GROUP BY level ORDER BY level
"""


_PROMOTIONS = """
SELECT promotion.id, promotion.code, promotion.title, array_agg(tier.code ORDER BY tier.code) AS missing
FROM promotion JOIN promotion_version terms ON terms.promotion_id = promotion.id AND terms.version = promotion.version
CROSS JOIN LATERAL jsonb_array_elements_text(terms.definition->'tier_codes') tier (code)
WHERE promotion.state = 'published' AND (promotion.closes_at IS NULL OR promotion.closes_at > $2)
    AND tier.code <> ALL ($1::text[])
GROUP BY promotion.id ORDER BY promotion.code
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How many members would go from the tier they have to a tier of the draft, or stay in it.

    ``below_threshold`` of them have a growth value that does not reach it: they keep it until their period ends.
    """

    from_code: str
    to_code: str
    members: int
    below_threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the orders of members who would be in a tier would have cost, by the table in force and by the draft."""

    tier_code: str
    orders: int
    discount_fen_now: int
    discount_fen: int
    points_now: int
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """A member who would move."""

    member_id: UUID
    growth_value: int
    from_code: str
    to_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionWithoutTier:
    """A published promotion that has not ended and is for tiers that the draft does not have, ``missing``."""

    id: UUID
    code: str
    title: str
    missing: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a draft would do at ``at``; costs are those of the orders since ``since`` that are paid and not refunded."""

    at: datetime
    since: datetime
    moves: Sequence[Move]
    costs: Sequence[Cost]
    sample: Sequence[Mover]
    promotions: Sequence[PromotionWithoutTier]


async def preview(deps: Deps, *, definition: Definition, days: int) -> Preview:
    """What publishing this table now would do. Nothing is changed.

    Moves are those of members' own tiers; trials and tiers set by hand are left aside. Costs replay every order of the
    last ``days`` days twice, with the member's present tier by the table in force and by the draft: the tier discount
    against today's member prices, and the points with the boost that the order had; caps are not applied.

    Raises:
        ProgrammeInvalid: the draft cannot work.
    """
    assert 1 <= days <= MOST_DAYS, f"{days} days"
    draft = TierTable.parse(definition)
    now = deps.clock.now()
    in_force = (await tier_table(now)).rules
    since = now - timedelta(days=days)
    counted = await rows(_MOVES, [_codes(draft), _thresholds(draft)])
    cost = await rows(
        _COST,
        [
            first_id(since),
            since,
            *(_codes(in_force), _thresholds(in_force), *_terms(in_force)),
            *(_codes(draft), _thresholds(draft), *_terms(draft)),
        ],
    )
    moves = sorted((_move(row, draft) for row in counted), key=lambda move: _order(move, in_force, draft))
    return Preview(
        at=now,
        since=since,
        moves=moves,
        costs=[_cost(row, draft) for row in cost],
        sample=await _sample([move for move in moves if move.from_code != move.to_code], draft),
        promotions=[PromotionWithoutTier(**row) for row in await rows(_PROMOTIONS, [_codes(draft), now])],
    )


def _codes(table: TierTable) -> list[str]:
    return [level.code for level in table.levels]


def _thresholds(table: TierTable) -> list[int]:
    return [level.threshold for level in table.levels]


def _terms(table: TierTable) -> tuple[list[int], list[int]]:
    return [level.discount_bp for level in table.levels], [level.points_multiplier_bp for level in table.levels]


def _move(row: Mapping[str, Any], draft: TierTable) -> Move:
    return Move(
        from_code=row["tier_code"],
        to_code=draft.levels[row["level"] - 1].code,
        members=row["members"],
        below_threshold=row["below_threshold"],
    )


def _cost(row: Mapping[str, Any], draft: TierTable) -> Cost:
    return Cost(
        tier_code=draft.levels[row["level"] - 1].code,
        orders=row["orders"],
        discount_fen_now=row["fen_now"],
        discount_fen=row["fen"],
        points_now=row["points_now"],
        points=row["points"],
    )


def _order(move: Move, in_force: TierTable, draft: TierTable) -> tuple[int, str, int]:
    known = in_force.find(move.from_code)
    return (in_force.rank(known.code) if known else -1, move.from_code, draft.rank(move.to_code))


async def _sample(moved: Sequence[Move], draft: TierTable) -> list[Mover]:
    """Some of each move. Whoever moves has the tier that fits, so that each move is a range of growth values."""
    if not moved:
        return []
    levels = [draft.rank(move.to_code) for move in moved]
    bounds = [*_thresholds(draft), 2**62]
    found = await rows(
        _SAMPLE,
        [
            [move.from_code for move in moved],
            [level + 1 for level in levels],
            [bounds[level] for level in levels],
            [bounds[level + 1] for level in levels],
            max(1, SAMPLE // len(moved)),
            SAMPLE,
        ],
    )
    return [
        Mover(
            member_id=row["member_id"],
            growth_value=row["growth_value"],
            from_code=row["tier_code"],
            to_code=draft.levels[row["level"] - 1].code,
        )
        for row in found
    ]
