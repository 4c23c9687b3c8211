"""The only writer of the points ledger. Everything here runs inside a transaction that holds the member's lock.

``append`` writes one entry with its draws and keeps the caches (what remains in the lots, the account's balance, debt
and ``seq``) in step, each by a guarded update: a cache that would leave its bounds fails the transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.points.points import EntryKind, HoldState
from loyalty.points.points_lot import Draw, Lot
from models.engine import changed, in_transaction, rows
from models.ids import new_id
from models.points.points import PointsEntry, PointsHold


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What an entry came of: a kind of row and its id, and a key that no other entry of the member has."""

    kind: str
    id: UUID
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLot:
    """A lot to be made with an entry, filled by it."""

    id: UUID
    amount: int
    opens_at: datetime
    expires_at: datetime | None
    origin_id: UUID | None = None


async def open_lots(member_id: UUID) -> list[Lot]:
    """The member's lots in which something remains, ended ones included."""
    found = await rows(
        "SELECT id, remaining, held, opens_at, expires_at, origin_id FROM points_lot "
        "WHERE member_id = $1 AND remaining > 0",
        [member_id],
    )
    return [_lot(row) for row in found]


async def lots_by_id(lot_ids: Collection[UUID]) -> list[Lot]:
    """These lots, whatever remains in them."""
    found = await rows(
        "SELECT id, remaining, held, opens_at, expires_at, origin_id FROM points_lot WHERE id = ANY($1::uuid[])",
        [list(lot_ids)],
    )
    return [_lot(row) for row in found]


def _lot(row: dict[str, object]) -> Lot:
    return Lot(
        id=row["id"],  # type: ignore[arg-type]
        remaining=row["remaining"],  # type: ignore[arg-type]
        held=row["held"],  # type: ignore[arg-type]
        available_at=row["opens_at"],  # type: ignore[arg-type]
        expires_at=row["expires_at"],  # type: ignore[arg-type]
        replaces=row["origin_id"] is not None,
    )


async def expired_of(lot_ids: Collection[UUID]) -> int:
    """How much of these lots has ended in the books."""
    found = await rows(
        "SELECT coalesce(-sum(draw.amount), 0)::bigint AS amount FROM points_draw draw "
        "JOIN points_entry entry ON entry.id = draw.entry_id "
        "WHERE draw.lot_id = ANY($1::uuid[]) AND entry.kind = 'expire'",
        [list(lot_ids)],
    )
    return int(found[0]["amount"])


async def append(
    member_id: UUID,
    *,
    kind: EntryKind,
    cause: Cause,
    at: datetime,
    out_of: Sequence[Draw] = (),
    into: Sequence[Draw] = (),
    new_lots: Sequence[NewLot] = (),
    debt_change: int = 0,
    version_id: UUID | None = None,
    reverses_id: UUID | None = None,
    note: str = "",
) -> PointsEntry:
    """Write one entry: what leaves lots, what goes back into lots, what fills new lots; its amount is the sum.

    Raises:
        IntegrityError: the cause's key has an entry already, or a cache would leave its bounds.
    """
    assert in_transaction(), "the ledger is written under the member's lock"
    amount = sum(lot.amount for lot in new_lots) + sum(draw.amount for draw in into) - sum(d.amount for d in out_of)
    account = await rows(
        "UPDATE points_account SET balance = balance + $2, debt = debt + $3, seq = seq + 1 WHERE member_id = $1 "
        "RETURNING balance, seq",
        [member_id, amount, debt_change],
    )
    assert account, "a member has an account from the day of joining"
    entry = await PointsEntry.create(
        id=new_id(at),
        member_id=member_id,
        seq=account[0]["seq"],
        kind=kind,
        amount=amount,
        debt_change=debt_change,
        balance_after=account[0]["balance"],
        cause_kind=cause.kind,
        cause_id=cause.id,
        key=cause.key,
        at=at,
        version_id=version_id,
        reverses_id=reverses_id,
        note=note,
    )
    await _make_lots(member_id, new_lots, at)
    moves = _merged([*((d.lot_id, -d.amount) for d in out_of), *((d.lot_id, d.amount) for d in into)])
    await _move(moves)
    draws = [*moves, *((lot.id, lot.amount) for lot in new_lots)]
    await rows(
        "INSERT INTO points_draw (id, entry_id, lot_id, amount) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])",
        [[new_id(at) for _ in draws], [entry.id] * len(draws), [lot for lot, _ in draws], [by for _, by in draws]],
    )
    return entry


def _merged(moves: Iterable[tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    sums: dict[UUID, int] = {}
    for lot_id, amount in moves:
        sums[lot_id] = sums.get(lot_id, 0) + amount
    return sorted((lot_id, amount) for lot_id, amount in sums.items() if amount)


async def _make_lots(member_id: UUID, lots: Sequence[NewLot], at: datetime) -> None:
    if lots:
        await rows(
            "INSERT INTO points_lot "
            "(id, member_id, amount, remaining, held, opens_at, expires_at, origin_id, created_at) "
            "SELECT id, $1, amount, amount, 0, opens_at, expires_at, origin_id, $2 FROM unnest("
            "$3::uuid[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::uuid[]"
            ") AS lot(id, amount, opens_at, expires_at, origin_id)",
            [
                member_id,
                at,
                [lot.id for lot in lots],
                [lot.amount for lot in lots],
                [lot.opens_at for lot in lots],
                [lot.expires_at for lot in lots],
                [lot.origin_id for lot in lots],
            ],
        )


async def _move(moves: Sequence[tuple[UUID, int]]) -> None:
    if moves:
        moved = await changed(
            "UPDATE points_lot SET remaining = remaining + move.amount "
            "FROM unnest($1::uuid[], $2::bigint[]) AS move(lot_id, amount) WHERE points_lot.id = move.lot_id",
            [[lot_id for lot_id, _ in moves], [amount for _, amount in moves]],
        )
        assert moved == len(moves), "every lot of an entry exists"


async def hold(member_id: UUID, *, draws: Sequence[Draw], cause_kind: str, cause_id: UUID, at: datetime) -> PointsHold:
    """Promise what the draws name to a cause, which has one hold at most (unique)."""
    amount = sum(draw.amount for draw in draws)
    held = await PointsHold.create(
        id=new_id(at),
        member_id=member_id,
        amount=amount,
        state=HoldState.PENDING,
        cause_kind=cause_kind,
        cause_id=cause_id,
        created_at=at,
    )
    await rows(
        "INSERT INTO points_hold_draw (id, hold_id, lot_id, amount) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])",
        [[new_id(at) for _ in draws], [held.id] * len(draws), [d.lot_id for d in draws], [d.amount for d in draws]],
    )
    await _change_held(member_id, draws, +1)
    return held


async def resolve_hold(
    *, cause_kind: str, cause_id: UUID, state: HoldState, at: datetime
) -> tuple[UUID, list[Draw]] | None:
    """Take a pending hold back and return its member and draws; None when there is none, or no longer."""
    resolved = await rows(
        "UPDATE points_hold SET state = $3, resolved_at = $4 "
        "WHERE cause_kind = $1 AND cause_id = $2 AND state = 'pending' RETURNING id, member_id",
        [cause_kind, cause_id, state, at],
    )
    if not resolved:
        return None
    hold_id, member_id = resolved[0]["id"], resolved[0]["member_id"]
    found = await rows("SELECT lot_id, amount FROM points_hold_draw WHERE hold_id = $1 ORDER BY id", [hold_id])
    draws = [Draw(lot_id=row["lot_id"], amount=row["amount"]) for row in found]
    await _change_held(member_id, draws, -1)
    return member_id, draws


async def _change_held(member_id: UUID, draws: Sequence[Draw], sign: int) -> None:
    assert in_transaction(), "holds change under the member's lock"
    await changed(
        "UPDATE points_lot SET held = held + $3 * draw.amount "
        "FROM unnest($1::uuid[], $2::bigint[]) AS draw(lot_id, amount) WHERE points_lot.id = draw.lot_id",
        [[draw.lot_id for draw in draws], [draw.amount for draw in draws], sign],
    )
    await changed(
        "UPDATE points_account SET held = held + $2 WHERE member_id = $1",
        [member_id, sign * sum(draw.amount for draw in draws)],
    )
