"""Points as members and operators see them: what an account has, when it ends, and the history that made it so."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.points.points_lot import Lot, available, pending
from models.engine import rows
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.points.points import PointsAccount, PointsEntry
from resolvers.deps import Deps

NEWEST = Keyset("points.newest", (Key("seq", int),))

_OPEN_LOTS = """
SELECT member_id, id, remaining, held, opens_at, expires_at FROM points_lot
WHERE member_id = ANY($1::uuid[]) AND remaining > 0
"""

_DRAWS = """
SELECT draw.entry_id, draw.amount, lot.id, lot.amount AS lot_amount, lot.remaining, lot.opens_at, lot.expires_at,
    lot.origin_id
FROM points_draw draw JOIN points_lot lot ON lot.id = draw.lot_id
WHERE draw.entry_id = ANY($1::uuid[]) ORDER BY draw.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Points that end together."""

    points: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account at an instant. ``soonest_expiry`` is of points that are promised to no order."""

    balance: int
    available: int
    pending: int
    held: int
    debt: int
    soonest_expiry: Expiry | None


def balance_of(*, balance: int, held: int, debt: int, lots: Iterable[Lot], now: datetime) -> Balance:
    """What the caches of an account and its open lots come to at ``now``."""
    alive = [lot for lot in lots if not lot.expired(now)]
    ending: dict[datetime, int] = defaultdict(int)
    for lot in alive:
        if lot.expires_at is not None and lot.free > 0:
            ending[lot.expires_at] += lot.free
    soonest = min(ending, default=None)
    return Balance(
        balance=balance,
        available=available(alive, now),
        pending=pending(alive, now),
        held=held,
        debt=debt,
        soonest_expiry=None if soonest is None else Expiry(points=ending[soonest], at=soonest),
    )


async def open_lots_of(member_ids: Sequence[UUID]) -> Mapping[UUID, list[Lot]]:
    """The lots of these members in which something remains, in one statement."""
    lots: dict[UUID, list[Lot]] = defaultdict(list)
    for row in await rows(_OPEN_LOTS, [list(member_ids)]):
        lots[row["member_id"]].append(
            Lot(
                id=row["id"],
                remaining=row["remaining"],
                held=row["held"],
                available_at=row["opens_at"],
                expires_at=row["expires_at"],
            )
        )
    return lots


async def balances(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, Balance]:
    """The accounts of these members, in two statements."""
    now = deps.clock.now()
    accounts = await PointsAccount.filter(member_id__in=member_ids)
    lots = await open_lots_of(member_ids)
    return {
        row.member_id: balance_of(
            balance=row.balance, held=row.held, debt=row.debt, lots=lots.get(row.member_id, ()), now=now
        )
        for row in accounts
    }


async def history(deps: Deps, *, member_id: UUID, page: Page) -> Slice[PointsEntry]:
    """A member's points entries, the newest first."""
    return await fetch(PointsEntry.filter(member_id=member_id), page)


async def draws(deps: Deps, entry_ids: Sequence[UUID]) -> Mapping[UUID, list[dict[str, Any]]]:
    """What each of these entries moved in which lot, in one statement."""
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in await rows(_DRAWS, [list(entry_ids)]):
        found[row["entry_id"]].append(row)
    return found
