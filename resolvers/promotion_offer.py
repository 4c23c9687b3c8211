"""Which promotions a member may use now, with what is left of each; and what a piece costs with them."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from loyalty.promotion import OfferedPromotion, PromotionTerms
from loyalty.shop_time import business_day
from models.engine import rows

RUNNING = (
    "promotion.state = 'published' AND (promotion.opens_at IS NULL OR promotion.opens_at <= {now}) "
    "AND (promotion.closes_at IS NULL OR promotion.closes_at > {now})"
)

_RUNNING_FOR = f"""
SELECT promotion.id, promotion.code, promotion.title, promotion.priority, terms.id AS version_id,
    terms.definition::text AS definition, quota.total_limit, quota.budget_fen,
    quota.used_count - coalesce(over.uses, 0) AS used_count, quota.spent_fen - coalesce(over.fen, 0) AS spent_fen,
    coalesce(mine.uses, 0)::int AS had_count
FROM promotion JOIN promotion_version terms ON terms.promotion_id = promotion.id
    AND terms.version = promotion.version
JOIN promotion_quota quota ON quota.promotion_id = promotion.id
LEFT JOIN LATERAL (
    SELECT sum(uses)::int AS uses, sum(discount_fen)::bigint AS fen FROM promotion_hold
    WHERE promotion_id = promotion.id AND state = 'pending' AND expires_at <= $2
) over ON quota.total_limit IS NOT NULL OR quota.budget_fen IS NOT NULL
LEFT JOIN LATERAL (
    SELECT sum(uses)::int AS uses FROM promotion_hold WHERE promotion_id = promotion.id AND member_id = $1
    AND state IN ('pending', 'posted') AND (expires_at IS NULL OR expires_at > $2)
) mine ON true
WHERE {RUNNING.format(now="$2")} ORDER BY promotion.id
"""
"""What runs at $2, and what the member $1 had of it. What quotes no longer hold counts as free."""


async def is_newcomer(member_id: UUID) -> bool:
    """Whether the member has never paid an order; what was bought with points alone does not count."""
    paid = await rows(
        "SELECT 1 FROM shop_order WHERE member_id = $1 AND kind <> 'mall' AND paid_at IS NOT NULL LIMIT 1", [member_id]
    )
    return not paid


async def offered(member_id: UUID, *, tier_code: str, now: datetime, zone: tzinfo) -> tuple[OfferedPromotion, ...]:
    """The promotions that a member of this tier may use at ``now``; those with nothing left are not among them."""
    found = await rows(_RUNNING_FOR, [member_id, now])
    day = business_day(now, zone)
    read = [(row, parsed(row["definition"])) for row in found]
    newcomer = await is_newcomer(member_id) if any(terms.newcomers_only for _, terms in read) else False
    return tuple(
        one
        for row, terms in read
        if terms.on_day(day) and terms.is_for(tier_code=tier_code, newcomer=newcomer)
        for one in [_offer(row, terms)]
        if (one.uses_left is None or one.uses_left > 0) and (one.budget_left_fen is None or one.budget_left_fen > 0)
    )


@lru_cache(maxsize=1_024)
def parsed(definition: str) -> PromotionTerms:
    """The terms of a version; its definition never changes."""
    return PromotionTerms.parse(orjson.loads(definition))


def _offer(row: dict[str, Any], terms: PromotionTerms) -> OfferedPromotion:
    bounds = [
        left
        for limit, used in ((row["total_limit"], row["used_count"]), (terms.member_limit, row["had_count"]))
        if limit is not None
        for left in [limit - used]
    ]
    budget_fen = row["budget_fen"]
    return OfferedPromotion(
        id=row["id"],
        version_id=row["version_id"],
        code=row["code"],
        title=row["title"],
        priority=row["priority"],
        terms=terms,
        uses_left=min(bounds, default=None),
        budget_left_fen=None if budget_fen is None else budget_fen - row["spent_fen"],
    )


def frozen(promotions: Sequence[OfferedPromotion]) -> list[dict[str, object]]:
    """Promotions as a kept quote stores them."""
    return [
        {
            "id": str(one.id),
            "version_id": str(one.version_id),
            "code": one.code,
            "title": one.title,
            "priority": one.priority,
            "terms": one.terms.definition(),
            "uses_left": one.uses_left,
            "budget_left_fen": one.budget_left_fen,
        }
        for one in promotions
    ]


def thawed(stored: Sequence[dict[str, Any]]) -> tuple[OfferedPromotion, ...]:
    """What ``frozen`` stored."""
    return tuple(
        OfferedPromotion(
            id=UUID(one["id"]),
            version_id=UUID(one["version_id"]),
            code=one["code"],
            title=one["title"],
            priority=one["priority"],
            terms=PromotionTerms.parse(one["terms"]),
            uses_left=one["uses_left"],
            budget_left_fen=one["budget_left_fen"],
        )
        for one in stored
    )
