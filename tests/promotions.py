"""Promotions for tests, made and published by the verbs that operators use."""

from typing import Any
from uuid import UUID

from loyalty.prices.promotion import PromotionQuota
from models.ids import new_secret
from models.prices.promotion import Promotion
from models.prices.promotion import PromotionQuota as QuotaRow
from resolvers.deps import Deps
from resolvers.prices import promotion
from resolvers.prices.promotion import NewPromotion
from tests.doors import make_operator

TOP = frozenset({"code", "title", "priority", "opens_at", "closes_at"})
LIMITS = frozenset({"total_limit", "budget_fen"})


def new_promotion(sku_ids: tuple[UUID, ...], **fields: Any) -> NewPromotion:
    """A tenth off these SKUs, unless told otherwise; terms, limits and the rest are named alike."""
    top = {name: value for name, value in fields.items() if name in TOP}
    quota = PromotionQuota(**{name: value for name, value in fields.items() if name in LIMITS})
    terms = {name: value for name, value in fields.items() if name not in TOP | LIMITS}
    terms = {"kind": "discount", **terms, "scope": {"sku_ids": [str(one) for one in sku_ids]}}
    if terms["kind"] == "discount" and not terms.keys() & {"discount_bp", "amount_fen", "price_fen"}:
        terms["discount_bp"] = 1_000
    code = f"p{new_secret(9)}".lower().replace("-", "a").replace("_", "b")
    return NewPromotion(**{"code": code, "title": "九折", "terms": terms, "quota": quota, **top})


async def run_promotion(deps: Deps, *sku_ids: UUID, published: bool = True, **fields: Any) -> Promotion:
    """A promotion of a new operator that runs for these SKUs alone, so that no other test meets it."""
    boss = await make_operator(deps)
    made = await promotion.create(
        deps, operator_id=boss.id, promotion=new_promotion(sku_ids, **fields), idempotency_key=new_secret(12)
    )
    if not published:
        return made
    return await promotion.publish(deps, operator_id=boss.id, promotion_id=made.id, idempotency_key=new_secret(12))


async def stop_promotion(deps: Deps, made: Promotion) -> None:
    """Let it run no more, so that what is published at a time stays few."""
    boss = await make_operator(deps)
    await promotion.stop(deps, operator_id=boss.id, promotion_id=made.id, idempotency_key=new_secret(12))


async def used(made: Promotion) -> tuple[int, int]:
    """How often it is used by what is held and posted, and what that costs in fen."""
    quota = await QuotaRow.get(promotion_id=made.id)
    return quota.used_count, quota.spent_fen
