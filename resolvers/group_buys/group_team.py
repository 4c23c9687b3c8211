"""Teams whose time is over, and the orders of teams that have ended: sent, or refunded one by one."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from loyalty.group_buys.group_buy import TeamState
from loyalty.orders.order import OrderState
from loyalty.orders.order_event import OrderEventKind
from loyalty.payments.payment import RefundCause
from loyalty.payments.refund import RefundInProgress
from models.engine import retried, rows, transaction
from models.group_buys.group_buy import GroupSeat, GroupTeam
from models.orders.order import Order
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.group_buys.group_seat import Change, change, locked
from resolvers.orders.order_row import note
from resolvers.payments import refund, refund_part
from resolvers.payments.after_sale_row import close_open

WAITS_FOR_SEATS = timedelta(seconds=30)
"""How long a team whose time is over, and a seat is still being paid for, waits for the next look."""

SEAT_LEASE = timedelta(seconds=60)

REFUND_REASON = "拼团未成功，全额退款"


async def teams_due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Open teams whose time is over."""
    found = await rows(
        "SELECT id FROM group_team WHERE due_at <= $1 ORDER BY due_at LIMIT $2", [deps.clock.now(), limit]
    )
    return [row["id"] for row in found]


@retried
async def end_team(deps: Deps, *, team_id: UUID) -> None:
    """Settle a team whose time is over: complete, failed, or waiting for who is paying. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction():
        team, campaign = await locked(team_id)
        if team.state != TeamState.OPEN or team.due_at is None or team.due_at > now:
            return
        await change(team, campaign, Change(), now)
        if team.state == TeamState.OPEN:
            await GroupTeam.filter(id=team_id).update(due_at=now + WAITS_FOR_SEATS)


async def claim_seats(deps: Deps, limit: int) -> list[tuple[UUID, UUID]]:
    """Seats of teams that have ended, whose orders are to be seen to, with their members; each leased to the caller."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE group_seat SET due_at = $2 WHERE id IN (SELECT id FROM group_seat WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id, member_id",
        [now, now + SEAT_LEASE, limit],
    )
    return [(row["id"], row["member_id"]) for row in claimed]


async def see_to(deps: Deps, *, seat_id: UUID, member_id: UUID) -> None:
    """See to the order of a team that has ended: its goods are to be sent, or its money goes back. Harmless to repeat.

    An order that is being refunded already, all of it or a part, waits until that is done.
    """
    try:
        refund_id = await _see_to(deps, seat_id, member_id)
    except RefundInProgress:
        return
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)


@retried
async def _see_to(deps: Deps, seat_id: UUID, member_id: UUID) -> UUID | None:
    now = deps.clock.now()
    async with transaction(member_id):
        seat = await GroupSeat.get(id=seat_id)
        team = await GroupTeam.get(id=seat.team_id)
        order = await Order.get(id=seat.order_id)
        if seat.due_at is None or order.state == OrderState.REFUNDING:
            return None
        await GroupSeat.filter(id=seat_id).update(due_at=None)
        if order.state != OrderState.PAID:
            return None
        if team.state == TeamState.COMPLETE:
            await note(order.id, OrderEventKind.TEAM_COMPLETE, now, team_id=str(team.id))
            await fulfilment.begin(order, now)
            return None
        await note(order.id, OrderEventKind.TEAM_FAILED, now, team_id=str(team.id))
        await close_open(order.id, now)
        wish = refund_part.Wish(
            pieces=None, cause=RefundCause.TEAM_FAILED, shops_fault=True, goods_come_back=True, reason=REFUND_REASON
        )
        return (await refund_part.open_part(deps, order, wish, now=now))[1]
