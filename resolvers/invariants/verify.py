"""The invariants of the books: each an equation with those who break it, proven by SQL over everything there is.

A row of an invariant's query is an offender. The queries aggregate in the database, so memory here stays bounded
however long the ledgers are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.engine import slow_rows
from resolvers.invariants.invariant import Invariant
from resolvers.invariants.invariant_coupon import COUPONS
from resolvers.invariants.invariant_flash import FLASH_SALES
from resolvers.invariants.invariant_group import GROUP_BUYS
from resolvers.invariants.invariant_mall import MALL
from resolvers.invariants.invariant_money import MONEY
from resolvers.invariants.invariant_order import ORDERS
from resolvers.invariants.invariant_points import POINTS
from resolvers.invariants.invariant_promotion import PROMOTIONS
from resolvers.invariants.invariant_reward import REWARDS

MOST_OFFENDERS = 20

WITHIN_S = 3600.0
"""How long one invariant may take over the whole store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An invariant and the first of those who break it; none when it holds."""

    invariant: Invariant
    offenders: tuple[Mapping[str, Any], ...]


INVARIANTS = (*POINTS, *ORDERS, *PROMOTIONS, *MONEY, *COUPONS, *MALL, *FLASH_SALES, *GROUP_BUYS, *REWARDS)


async def verify() -> list[Finding]:
    """Every invariant with up to twenty of those who break it."""
    findings = []
    for invariant in INVARIANTS:
        offenders = await slow_rows(f"{invariant.offenders} LIMIT {MOST_OFFENDERS}", within_s=WITHIN_S)
        findings.append(Finding(invariant=invariant, offenders=tuple(offenders)))
    return findings
