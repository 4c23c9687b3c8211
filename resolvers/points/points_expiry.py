"""The end of points: ended lots leave the books, and members are told before it happens."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from loyalty.points import points as rule
from loyalty.points import points_lot as lots_rule
from loyalty.points.points import EntryKind
from loyalty.shop_time import business_day, day_end
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.points import points_ledger as ledger
from models.points.points import PointsNotice
from models.points.points_ledger import Cause
from resolvers.deps import Deps

NEWEST = Keyset("points_notice.newest", (Key("id", UUID),))

_ENDED = """
SELECT DISTINCT member_id FROM (
    SELECT member_id FROM points_lot
    WHERE expires_at <= $1 AND remaining > held AND remaining > 0 ORDER BY expires_at LIMIT $2
) ended
"""

_ENDING = """
SELECT lot.member_id, lot.expires_at, sum(lot.remaining - lot.held)::bigint AS points FROM points_lot lot
WHERE lot.expires_at > $1 AND lot.expires_at <= $2 AND lot.remaining > lot.held
  AND NOT EXISTS (SELECT 1 FROM points_notice notice WHERE notice.member_id = lot.member_id
                  AND notice.ends_at = lot.expires_at AND notice.days_before = $3)
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $4
"""


async def ended(deps: Deps, limit: int) -> Sequence[UUID]:
    """Members with points that have ended and are still in the books."""
    return [row["member_id"] for row in await rows(_ENDED, [deps.clock.now(), limit])]


@retried
async def expire(deps: Deps, *, member_id: UUID) -> int:
    """Take ended points out of a member's books, an entry for each lot, each lot once (unique key).

    What an open order holds stays until the order is paid or closed. Returns how many points ended.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        draws = lots_rule.expiring(await ledger.open_lots(member_id), now)
        for draw in draws:
            await ledger.append(
                member_id,
                kind=EntryKind.EXPIRE,
                cause=Cause(kind="lot", id=draw.lot_id, key=f"expire:{draw.lot_id}"),
                at=now,
                out_of=[draw],
            )
        return sum(draw.amount for draw in draws)


async def notices_due(deps: Deps, limit: int) -> Sequence[tuple[UUID, datetime, int, int]]:
    """Members to be told today that points end: member, instant, days before, points. Each is told once."""
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    due: list[tuple[UUID, datetime, int, int]] = []
    for days in rule.NOTICE_DAYS:
        last_day = today + timedelta(days=days)
        from_, until = day_end(last_day - timedelta(days=1), deps.zone), day_end(last_day, deps.zone)
        found = await rows(_ENDING, [from_, until, days, limit - len(due)]) if len(due) < limit else []
        due += [(row["member_id"], row["expires_at"], days, row["points"]) for row in found]
    return due


async def give_notice(deps: Deps, due: tuple[UUID, datetime, int, int]) -> None:
    """Keep that a member was told. Harmless to repeat."""
    member_id, ends_at, days, points = due
    now = deps.clock.now()
    await rows(
        "INSERT INTO points_notice (id, member_id, ends_at, days_before, points, at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (member_id, ends_at, days_before) DO NOTHING",
        [new_id(now), member_id, ends_at, days, points, now],
    )


async def notices_of(member_id: UUID, *, page: Page) -> Slice[PointsNotice]:
    """What a member was told, newest first."""
    return await fetch(PointsNotice.filter(member_id=member_id), page)


async def calendar(deps: Deps, *, member_id: UUID) -> tuple[tuple[date, int], ...]:
    """How many of a member's free points have which last usable day, the soonest first."""
    return lots_rule.expiry_calendar(await ledger.open_lots(member_id), now=deps.clock.now(), zone=deps.zone)
