"""Rules published by an operator of their own, for tests that need others than a new store has."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.programme import Definition
from loyalty.tiers.tier import GrowthEntryKind
from models.engine import transaction
from models.ids import new_secret
from models.programme import ProgrammeVersion
from models.tiers.tier import GrowthEntry
from resolvers.deps import Deps
from resolvers.programme import ProgrammeKind, publish, tier_table
from resolvers.tiers.growth import grow, reverse_growth
from tests.doors import make_operator

LEVELS: tuple[Mapping[str, Any], ...] = (
    {"code": "basic", "name": "普卡", "threshold": 0},
    {
        "code": "silver",
        "name": "银卡",
        "threshold": 1_000,
        "keep_months": 12,
        "keep_threshold": 800,
        "discount_bp": 500,
    },
    {"code": "gold", "name": "金卡", "threshold": 5_000, "keep_months": 12, "keep_threshold": 4_000},
    {"code": "black", "name": "黑卡", "threshold": 20_000, "keep_months": 12, "keep_threshold": 15_000},
)
"""The tiers of the examples in docs/rules/tier.md."""


async def published(
    deps: Deps, kind: ProgrammeKind, definition: Definition, *, effective_at: datetime | None = None
) -> ProgrammeVersion:
    """A version published by a new owner."""
    owner = await make_operator(deps)
    return await publish(
        deps,
        operator_id=owner.id,
        kind=kind,
        definition=definition,
        effective_at=effective_at,
        note="",
        idempotency_key=new_secret(12),
    )


async def tiers(deps: Deps, *levels: Mapping[str, Any], effective_at: datetime | None = None) -> ProgrammeVersion:
    """A tier table of these levels, or of the examples'."""
    return await published(deps, ProgrammeKind.TIER, {"levels": list(levels or LEVELS)}, effective_at=effective_at)


async def buys(deps: Deps, member_id: UUID, order_id: UUID, growth: int) -> GrowthEntry | None:
    """The growth value of a settled order, as its payment gives it."""
    now = deps.clock.now()
    async with transaction(member_id):
        return await grow(
            member_id,
            amount=growth,
            kind=GrowthEntryKind.EARN,
            cause_kind="order",
            cause_id=order_id,
            key=f"order:{order_id}:growth",
            now=now,
            zone=deps.zone,
            table=await tier_table(now),
        )


async def refunds(deps: Deps, member_id: UUID, order_id: UUID, *, key: str | None = None) -> GrowthEntry | None:
    """The refund of that order, as far as growth value goes."""
    now = deps.clock.now()
    async with transaction(member_id):
        return await reverse_growth(
            member_id,
            cause_id=order_id,
            key=key or f"order:{order_id}:growth_back",
            now=now,
            zone=deps.zone,
            table=await tier_table(now),
        )
