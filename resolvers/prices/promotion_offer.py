"""Which promotions a member may use now, with what is left of each; and what a piece costs with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_cart import covered
from loyalty.prices.promotion_choice import promote
from loyalty.prices.promotion_terms import PromotionTerms
from loyalty.prices.unit_price import PriceLine
from loyalty.shop_time import business_day
from models.engine import rows
from resolvers.catalogue import catalogue
from resolvers.deps import Deps

RUNNING = (
    "promotion.state = 'published' AND (promotion.opens_at IS NULL OR promotion.opens_at <= {now}) "
    "AND (promotion.closes_at IS NULL OR promotion.closes_at > {now})"
)

_RUNNING_FOR = f"""
SELECT promotion.id, promotion.code, promotion.title, promotion.priority, promotion.closes_at, terms.id AS version_id,
    terms.definition::text AS definition, quota.total_limit, quota.budget_fen,
    quota.used_count - coalesce(over.uses, 0) AS used_count, quota.spent_fen - coalesce(over.fen, 0) AS spent_fen,
    coalesce(mine.uses, 0)::int AS had_count
FROM promotion JOIN promotion_version terms ON terms.promotion_id = promotion.id
    AND terms.version = promotion.version
JOIN promotion_quota quota ON quota.promotion_id = promotion.id
LEFT JOIN LATERAL (
    SELECT sum(uses)::int AS uses, sum(discount_fen)::bigint AS fen FROM promotion_hold
    WHERE promotion_id = promotion.id AND state = 'pending' AND (expires_at <= $2 OR quote_id = $3::uuid)
) over ON quota.total_limit IS NOT NULL OR quota.budget_fen IS NOT NULL
LEFT JOIN LATERAL (
    SELECT sum(uses)::int AS uses FROM promotion_hold WHERE promotion_id = promotion.id AND member_id = $1::uuid
    AND state IN ('pending', 'posted') AND (expires_at IS NULL OR expires_at > $2)
    AND ($3::uuid IS NULL OR quote_id IS DISTINCT FROM $3::uuid)
) mine ON true
WHERE {RUNNING.format(now="$2")} ORDER BY promotion.id
"""
"""What runs at $2, and what the member $1 had of it. What quotes no longer hold, and what $3 holds, counts as free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNow:
    """What one piece costs now, and the promotion that makes it so, None: none."""

    price_fen: int
    promotion: OfferedPromotion | None = None


async def is_newcomer(member_id: UUID | None) -> bool:
    """Whether the member has never paid an order; points mall orders do not count. A visitor is one."""
    if member_id is None:
        return True
    paid = await rows(
        "SELECT 1 FROM shop_order WHERE member_id = $1 AND kind <> 'mall' AND paid_at IS NOT NULL LIMIT 1", [member_id]
    )
    return not paid


async def offered(
    member_id: UUID | None, *, tier_code: str | None, now: datetime, zone: tzinfo, without: UUID | None = None
) -> tuple[OfferedPromotion, ...]:
    """The promotions that a member of this tier may use at ``now``; those with nothing left are not among them.

    A visitor (None) is of no tier. What the kept quote ``without`` holds counts as free.
    """
    found = await rows(_RUNNING_FOR, [member_id, now, without])
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
        closes_at=row["closes_at"],
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


_SKUS = """
SELECT sku.id, sku.price_fen, sku.member_price_fen, product.id AS product_id, product.category_id, category.parent_id
FROM sku JOIN product ON product.id = sku.product_id LEFT JOIN category ON category.id = product.category_id
WHERE sku.id = ANY($1::uuid[]) OR product.id = $2::uuid
"""


def _one_piece(row: dict[str, Any]) -> PriceLine:
    categories = (row["category_id"], row["parent_id"])
    return PriceLine(
        sku_id=row["id"],
        quantity=1,
        list_price_fen=row["price_fen"],
        member_price_fen=row["member_price_fen"],
        product_id=row["product_id"],
        category_ids=frozenset(one for one in categories if one is not None),
    )


async def on_now(deps: Deps, member_id: UUID | None, *, product_id: UUID | None = None) -> list[OfferedPromotion]:
    """What runs now for the one who asks, what ends first comes first; with a product, what is for one of its SKUs."""
    found = await _on_now(deps, member_id)
    if product_id is not None:
        pieces = [_one_piece(row) for row in await rows(_SKUS, [[], product_id])]
        found = [one for one in found if covered(one, pieces)]
    return found


async def _on_now(deps: Deps, member_id: UUID | None) -> list[OfferedPromotion]:
    tiers = await catalogue.tiers_of(deps, [member_id]) if member_id else {}
    tier = tiers[member_id] if member_id else None
    found = await offered(member_id, tier_code=tier.code if tier else None, now=deps.clock.now(), zone=deps.zone)
    return sorted(found, key=lambda one: (one.closes_at is None, one.closes_at or deps.clock.now(), one.rank()))


async def prices_now(
    deps: Deps, wanted: Sequence[tuple[UUID | None, UUID]]
) -> Mapping[tuple[UUID | None, UUID], PriceNow]:
    """What one piece of each SKU costs each member now, with promotions of single pieces; None: a visitor.

    What takes several pieces or the whole order is not counted in.
    """
    found: dict[tuple[UUID | None, UUID], PriceNow] = {}
    skus = await rows(_SKUS, [[sku_id for _, sku_id in wanted], None])
    for member_id in {member_id for member_id, _ in wanted}:
        tier = (await catalogue.tiers_of(deps, [member_id]))[member_id] if member_id else None
        now = deps.clock.now()
        on = await offered(member_id, tier_code=tier.code if tier else None, now=now, zone=deps.zone)
        of_pieces = [one for one in on if one.terms.kind.of_pieces]
        for row in skus:
            piece = _one_piece(row)
            if member_id is None:
                piece = replace(piece, member_price_fen=None)
            promoted = promote([piece], tier=tier, promotions=of_pieces)
            used = promoted.applied[0].promotion if promoted.applied else None
            found[member_id, row["id"]] = PriceNow(price_fen=promoted.payable_fen, promotion=used)
    return found
