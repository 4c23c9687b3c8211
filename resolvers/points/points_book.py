"""The points book of operators and finance: corrections by hand, and what the shop still owes in points."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from uuid import UUID

from loyalty.people.member import MemberNotFound
from loyalty.points import points as rule
from loyalty.points import points_lot as lots_rule
from loyalty.points.points import EntryKind
from loyalty.points.points_lot import Draw
from loyalty.shop_time import add_months, business_day, day_start, month_start
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.people.member import Member
from models.points import points_ledger as ledger
from models.points.points import PointsEntry
from models.points.points_ledger import Cause
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.points import points
from resolvers.programme import points_programme
from resolvers.replay import remember, replayed

MOST_MONTHS = 120


@retried
async def adjust(
    deps: Deps, *, operator_id: UUID, member_id: UUID, amount: int, reason: str, idempotency_key: str
) -> PointsEntry:
    """Give a member points (in a lot of their own, ending as earned ones do) or take some, soonest to end first.

    Raises:
        MemberNotFound: there is no such member.
        PointsAdjustmentInvalid: nothing, too much, or without a reason.
        PointsShort: less than that can be spent.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"member_id": str(member_id), "amount": amount, "reason": reason}
    if not await Member.exists(id=member_id):
        raise MemberNotFound()
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="pointsAdjust", content=content)
        if before is not None:
            return await PointsEntry.get(id=UUID(before["entry_id"]))
        rule.admit_adjustment(amount=amount, reason=reason)
        entry = await _book(deps, member_id, amount, reason.strip(), new_id(now))
        await record(
            operator_id,
            "points.adjust",
            "member",
            member_id,
            {"balance": entry.balance_after - entry.amount},
            {"balance": entry.balance_after, "amount": amount, "reason": reason.strip()},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="pointsAdjust",
            content=content,
            result={"entry_id": str(entry.id)},
            now=now,
        )
        return entry


async def _book(deps: Deps, member_id: UUID, amount: int, reason: str, cause_id: UUID) -> PointsEntry:
    now = deps.clock.now()
    programme = await points_programme(now)
    key = f"adjust:{cause_id}"
    if amount > 0:
        return await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.ADJUST,
            cause_kind="adjustment",
            cause_id=cause_id,
            key=key,
            now=now,
            zone=deps.zone,
            programme=programme,
            note=reason,
        )
    draws: Sequence[Draw] = lots_rule.allocate(await ledger.open_lots(member_id), -amount, now)
    return await ledger.append(
        member_id,
        kind=EntryKind.ADJUST,
        cause=Cause(kind="adjustment", id=cause_id, key=key),
        at=now,
        out_of=draws,
        version_id=programme.version_id,
        note=reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiabilityRow:
    """What the shop owes in points that end in one month, to members of one tier.

    ``month`` is its first day, None for points that never end. ``worth_fen`` is what they buy at the exchange rate in
    force, rounded down to whole steps over the row.
    """

    month: date | None
    tier_code: str
    members: int
    points: int
    held: int
    pending: int
    worth_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakageRow:
    """What came into the books and what ended unused in one month. ``month`` is its first day."""

    month: date
    earned: int
    spent: int
    expired: int


async def liability(deps: Deps) -> list[LiabilityRow]:
    """Points outstanding by the month in which they end and the member's own tier; points that ended are not owed."""
    now = deps.clock.now()
    found = await rows(
        "SELECT date_trunc('month', (lot.expires_at - interval '1 microsecond') AT TIME ZONE $2)::date AS month, "
        "membership.tier_code, count(DISTINCT lot.member_id)::int AS members, sum(lot.remaining)::bigint AS points, "
        "sum(lot.held)::bigint AS held, "
        "coalesce(sum(lot.remaining) FILTER (WHERE lot.opens_at > $1), 0)::bigint AS pending "
        "FROM points_lot lot JOIN membership USING (member_id) "
        "WHERE lot.remaining > 0 AND (lot.expires_at IS NULL OR lot.expires_at > $1) "
        "GROUP BY 1, 2 ORDER BY 1 NULLS LAST, 2",
        [now, str(deps.zone)],
    )
    rules = (await points_programme(now)).rules
    return [
        LiabilityRow(
            **row,
            worth_fen=rule.redeem_value(rules, row["points"] - row["points"] % rules.redeem_step_points),
        )
        for row in found
    ]


async def breakage(deps: Deps, *, months: int) -> list[BreakageRow]:
    """The last so many months (1 to 120), this one included, oldest first."""
    assert 1 <= months <= MOST_MONTHS, f"{months} months"
    first = add_months(month_start(business_day(deps.clock.now(), deps.zone)), 1 - months)
    found = await rows(
        "SELECT date_trunc('month', at AT TIME ZONE $2)::date AS month, "
        "coalesce(sum(amount) FILTER (WHERE kind IN ('earn', 'earn_reversal', 'gift', 'adjust')), 0)::bigint "
        "AS earned, "
        "coalesce(-sum(amount) FILTER (WHERE kind IN ('spend', 'spend_reversal')), 0)::bigint AS spent, "
        "coalesce(-sum(amount) FILTER (WHERE kind = 'expire'), 0)::bigint AS expired "
        "FROM points_entry WHERE at >= $1 GROUP BY 1 ORDER BY 1",
        [day_start(first, deps.zone), str(deps.zone)],
    )
    return [BreakageRow(**row) for row in found]


def as_csv(book: Sequence[LiabilityRow]) -> str:
    """The liability book as CSV (RFC 4180) with a header line; a month as YYYY-MM, empty for points without end."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([field.name for field in fields(LiabilityRow)])
    for row in book:
        month, *rest = astuple(row)
        writer.writerow([f"{month:%Y-%m}" if month else "", *rest])
    return text.getvalue()
