"""What happens to points: credited, held for an order, spent, given back, taken back.

Every function runs inside the caller's transaction with the member locked; the rules are ``loyalty.points.points``.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Protocol
from uuid import UUID

from loyalty.points import points as rule
from loyalty.points import points_lot as lots_rule
from loyalty.points.points import ClawBackMode, EntryKind, HoldState, PointsProgramme
from loyalty.points.points_lot import Draw, Lot, Restoration
from loyalty.shop_time import business_day, day_start
from models.engine import rows
from models.ids import new_id
from models.points import points_ledger as ledger
from models.points.points import PointsAccount, PointsEntry
from models.points.points_ledger import Cause, NewLot
from resolvers.programme import InForce


async def within_caps(member_id: UUID, programme: PointsProgramme, amount: int, *, now: datetime, zone: tzinfo) -> int:
    """``amount`` cut to what the programme's caps leave the member today and altogether."""
    if amount == 0 or (programme.cap_per_day is None and programme.cap_per_member is None):
        return amount
    earned = await rows(
        "SELECT coalesce(sum(amount), 0)::bigint AS ever, "
        "coalesce(sum(amount) FILTER (WHERE at >= $2), 0)::bigint AS today "
        "FROM points_entry WHERE member_id = $1 AND kind = 'earn'",
        [member_id, day_start(business_day(now, zone), zone)],
    )
    return rule.within_caps(programme, amount, earned_today=earned[0]["today"], earned_ever=earned[0]["ever"])


async def credit(
    member_id: UUID,
    *,
    amount: int,
    kind: EntryKind,
    cause_kind: str,
    cause_id: UUID,
    key: str,
    now: datetime,
    zone: tzinfo,
    programme: InForce[PointsProgramme],
    opens_at: datetime | None = None,
    note: str = "",
) -> PointsEntry:
    """Give ``amount`` points (1 or more) in a lot of their own, which opens at once unless told otherwise.

    An open debt is paid out of the new lot at once, in an entry of its own.
    """
    assert amount > 0, f"a credit of {amount}"
    account = await PointsAccount.get(member_id=member_id)
    lot = NewLot(
        id=new_id(now),
        amount=amount,
        opens_at=opens_at or now,
        expires_at=rule.expires_at(programme.rules, earned_at=now, zone=zone),
    )
    entry = await ledger.append(
        member_id,
        kind=kind,
        cause=Cause(kind=cause_kind, id=cause_id, key=key),
        at=now,
        new_lots=[lot],
        version_id=programme.version_id,
        note=note,
    )
    to_debt = lots_rule.recover(debt=account.debt, earned=amount).to_debt
    if to_debt:
        await ledger.append(
            member_id,
            kind=EntryKind.DEBT_RECOVERY,
            cause=Cause(kind=cause_kind, id=cause_id, key=f"{key}:debt"),
            at=now,
            out_of=[Draw(lot_id=lot.id, amount=to_debt)],
            debt_change=-to_debt,
            version_id=programme.version_id,
        )
    return entry


async def hold(member_id: UUID, *, amount: int, cause_kind: str, cause_id: UUID, now: datetime) -> None:
    """Promise ``amount`` points to a cause, out of the lots that end first.

    Raises:
        PointsShort: the member cannot spend so many.
    """
    draws = lots_rule.allocate(await ledger.open_lots(member_id), amount, now)
    await ledger.hold(member_id, draws=draws, cause_kind=cause_kind, cause_id=cause_id, at=now)


async def post(*, cause_kind: str, cause_id: UUID, now: datetime, version_id: UUID) -> PointsEntry | None:
    """Spend what was held for the cause; None when nothing was, or when it is no longer held."""
    resolved = await ledger.resolve_hold(cause_kind=cause_kind, cause_id=cause_id, state=HoldState.POSTED, at=now)
    if resolved is None:
        return None
    member_id, draws = resolved
    return await ledger.append(
        member_id,
        kind=EntryKind.SPEND,
        cause=Cause(kind=cause_kind, id=cause_id, key=f"{cause_kind}:{cause_id}:spend"),
        at=now,
        out_of=draws,
        version_id=version_id,
    )


async def spend(
    member_id: UUID, *, amount: int, cause_kind: str, cause_id: UUID, key: str, now: datetime, version_id: UUID
) -> PointsEntry:
    """Take ``amount`` points (1 or more) for a cause at once, out of the lots that end first.

    Raises:
        PointsShort: the member cannot spend so many.
    """
    draws = lots_rule.allocate(await ledger.open_lots(member_id), amount, now)
    return await ledger.append(
        member_id,
        kind=EntryKind.SPEND,
        cause=Cause(kind=cause_kind, id=cause_id, key=key),
        at=now,
        out_of=draws,
        version_id=version_id,
    )


async def release(*, cause_kind: str, cause_id: UUID, now: datetime, programme: InForce[PointsProgramme]) -> None:
    """Give back what was held for the cause, if anything is: into its lots, or into new ones where these have ended."""
    resolved = await ledger.resolve_hold(cause_kind=cause_kind, cause_id=cause_id, state=HoldState.RELEASED, at=now)
    if resolved is None:
        return
    member_id, draws = resolved
    restored, new_lots = await _restored(lots_rule.let_go, draws, now, programme)
    if new_lots:
        kept = {draw.lot_id for draw in restored}
        await ledger.append(
            member_id,
            kind=EntryKind.RENEW,
            cause=Cause(kind=cause_kind, id=cause_id, key=f"{cause_kind}:{cause_id}:renew"),
            at=now,
            out_of=[draw for draw in draws if draw.lot_id not in kept],
            new_lots=new_lots,
            version_id=programme.version_id,
        )


async def return_spent(
    member_id: UUID,
    *,
    cause_kind: str,
    cause_id: UUID,
    amount: int,
    key: str,
    now: datetime,
    programme: InForce[PointsProgramme],
) -> PointsEntry:
    """Undo ``amount`` of what a cause spent: back into the lots it came from, the last drawn first."""
    spent = await PointsEntry.get(cause_kind=cause_kind, cause_id=cause_id, kind=EntryKind.SPEND)
    drawn = await rows("SELECT lot_id, -amount AS amount FROM points_draw WHERE entry_id = $1 ORDER BY id", [spent.id])
    back = await rows(
        "SELECT lot.id, lot.origin_id, draw.amount FROM points_draw draw "
        "JOIN points_entry entry ON entry.id = draw.entry_id JOIN points_lot lot ON lot.id = draw.lot_id "
        "WHERE entry.reverses_id = $1",
        [spent.id],
    )
    gave = {row["lot_id"] for row in drawn}
    returned: dict[UUID, int] = {}
    for row in back:
        lot_id = row["id"] if row["id"] in gave else row["origin_id"]
        returned[lot_id] = returned.get(lot_id, 0) + row["amount"]
    draws = lots_rule.undrawn(
        [Draw(lot_id=row["lot_id"], amount=row["amount"]) for row in drawn],
        returned=returned,
        amount=amount,
    )
    into, new_lots = await _restored(lots_rule.restore, draws, now, programme)
    return await ledger.append(
        member_id,
        kind=EntryKind.SPEND_REVERSAL,
        cause=Cause(kind=cause_kind, id=cause_id, key=key),
        at=now,
        into=into,
        new_lots=new_lots,
        reverses_id=spent.id,
        version_id=programme.version_id,
    )


class _Restoring(Protocol):
    def __call__(
        self, draws: Iterable[Draw], lots: Collection[Lot], *, now: datetime, grace: timedelta
    ) -> Restoration: ...


async def _restored(
    restoring: _Restoring, draws: Sequence[Draw], now: datetime, programme: InForce[PointsProgramme]
) -> tuple[tuple[Draw, ...], list[NewLot]]:
    restoration = restoring(
        draws,
        await ledger.lots_by_id([draw.lot_id for draw in draws]),
        now=now,
        grace=timedelta(days=programme.rules.return_grace_days),
    )
    new_lots = [
        NewLot(
            id=new_id(now),
            amount=replacement.amount,
            opens_at=now,
            expires_at=replacement.expires_at,
            origin_id=replacement.lot_id,
        )
        for replacement in restoration.replacements
    ]
    return restoration.into_lots, new_lots


async def take_back(
    member_id: UUID,
    *,
    cause_kind: str,
    cause_id: UUID,
    amount: int,
    key: str,
    now: datetime,
    programme: InForce[PointsProgramme],
    mode: ClawBackMode,
) -> PointsEntry:
    """Take back ``amount`` of what a cause earned.

    What is no longer there becomes debt, or is given up with a note of how much.

    Raises:
        ClawBackBlocked: the mode is ``block`` and points are missing.
    """
    earned = await PointsEntry.get(cause_kind=cause_kind, cause_id=cause_id, kind=EntryKind.EARN)
    own_ids = {row["lot_id"] for row in await rows("SELECT lot_id FROM points_draw WHERE entry_id = $1", [earned.id])}
    lots = await ledger.open_lots(member_id)
    taken = lots_rule.claw_back(
        mode,
        own=[lot for lot in lots if lot.id in own_ids],
        others=[lot for lot in lots if lot.id not in own_ids],
        amount=amount,
        now=now,
    )
    return await ledger.append(
        member_id,
        kind=EntryKind.EARN_REVERSAL,
        cause=Cause(kind=cause_kind, id=cause_id, key=key),
        at=now,
        out_of=taken.draws,
        debt_change=taken.debt,
        reverses_id=earned.id,
        version_id=programme.version_id,
        note=f"forgiven {taken.forgiven}" if taken.forgiven else "",
    )


async def left_of_earned(member_id: UUID, *, cause_kind: str, cause_id: UUID, now: datetime) -> int:
    """What a refund may take back of what a cause earned: all but what has ended unused, which is gone already."""
    earned = await PointsEntry.get_or_none(
        member_id=member_id, cause_kind=cause_kind, cause_id=cause_id, kind=EntryKind.EARN
    )
    if earned is None:
        return 0
    lot_ids = [row["lot_id"] for row in await rows("SELECT lot_id FROM points_draw WHERE entry_id = $1", [earned.id])]
    about_to_end = lots_rule.expiring(await ledger.lots_by_id(lot_ids), now)
    ended = await ledger.expired_of(lot_ids) + sum(draw.amount for draw in about_to_end)
    left: int = earned.amount - ended
    return left
