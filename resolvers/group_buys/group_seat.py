"""The seats that group-buy orders hold, as the order machine sees them, and what their teams become.

Whatever happens to a seat, its team's row is locked first, and the rule says what the team is afterwards: all that can
happen to a team happens one after the other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from loyalty.group_buys import group_buy as rule
from loyalty.group_buys.group_buy import (
    Fallback,
    GroupBuyState,
    GroupTeamFull,
    GroupTeamOver,
    SeatState,
    TeamState,
    TeamTerms,
)
from loyalty.orders.order import OrderKind
from loyalty.orders.order_event import OrderEventKind
from models.engine import changed, in_transaction, rows, savepoint
from models.group_buys.group_buy import GroupBuy, GroupSeat, GroupTeam
from models.ids import new_id, new_secret
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.orders.order_row import note

TOKEN_BYTES = 16
"""A token has 22 characters and no second meaning; a mini-program code carries up to 32."""

OTHER_TEAMS = 50
"""How many teams somebody without a seat tries, those that end first."""

LIVE = (SeatState.PENDING, SeatState.POSTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to the counts of a team."""

    joined: int = 0
    held: int = 0


def terms_of(team: GroupTeam, campaign: GroupBuy) -> TeamTerms:
    """The team as the rule meets it."""
    return TeamTerms(
        state=TeamState(team.state),
        size=team.size,
        joined_count=team.joined_count,
        held_count=team.held_count,
        ends_at=team.ends_at,
        virtual_from=campaign.virtual_from,
    )


async def write(order: Order, *, team_id: UUID | None, group_buy_id: UUID, size: int, fallback: Fallback) -> None:
    """Write the seat of a new order in a team, or in a new one that its member is to lead; it is not held yet."""
    assert in_transaction(), "a seat is written together with its order"
    if team_id is None:
        team_id = (await _new_team(group_buy_id, size, order.created_at)).id
    await GroupSeat.create(
        id=new_id(order.created_at),
        team_id=team_id,
        order_id=order.id,
        member_id=order.member_id,
        fallback=fallback,
        state=SeatState.PENDING,
        created_at=order.created_at,
    )


class _NoSeat(Exception):
    """Unlocks a team that has no seat for this member."""


async def hold(_: Deps, order: Order, cause_id: UUID, now: datetime) -> None:
    """Hold a seat: in the team that the order was placed for, or where its member goes instead.

    Never more than one team is locked, so that two members who look for a seat never wait for each other in a circle.

    Raises:
        GroupNewcomersOnly, GroupLimitReached: late money of a member who has paid otherwise, or has the limit since.
        GroupTeamOver, GroupTeamFull: there is no seat, and the member wants no other team.
    """
    if order.kind != OrderKind.GROUP:
        return
    seat = await _seat(order.id)
    team = await GroupTeam.get(id=seat.team_id)
    campaign = await GroupBuy.get(id=team.group_buy_id)
    if cause_id != order.id:
        await _admit_again(order, team, campaign)
    own = cause_id == order.id and team.state == TeamState.PENDING
    if not await _take(seat, team.id, now, own=own):
        await _elsewhere(seat, await GroupTeam.get(id=team.id), campaign, now)


async def _admit_again(order: Order, team: GroupTeam, campaign: GroupBuy) -> None:
    rule.admit_member(
        joining=team.opened_at is not None,
        newcomers_only=campaign.newcomers_only,
        paid_before=campaign.newcomers_only and await has_bought(order.member_id),
        member_limit=campaign.member_limit,
        had_count=await had_count(order.member_id, campaign.id),
    )


async def _take(seat: GroupSeat, team_id: UUID, now: datetime, *, own: bool = False) -> bool:
    """Hold a seat in a team if it has one; ``own``: in the new team of the seat's member."""
    try:
        async with savepoint():
            team, campaign = await locked(team_id)
            if not own and (not rule.has_seat(terms_of(team, campaign), now=now) or await _is_in(team_id, seat)):
                raise _NoSeat
            revived = {"state": SeatState.PENDING, "resolved_at": None, "team_id": team.id}
            await GroupSeat.filter(id=seat.id).update(**revived)
            await change(team, campaign, Change(held=1), now)
    except _NoSeat:
        return False
    return True


async def _elsewhere(seat: GroupSeat, team: GroupTeam, campaign: GroupBuy, now: datetime) -> None:
    match Fallback(seat.fallback):
        case Fallback.NEW_TEAM:
            if campaign.state == GroupBuyState.PUBLISHED and campaign.opens_at <= now < campaign.closes_at:
                new = await _new_team(campaign.id, team.size, now)
                assert await _take(seat, new.id, now, own=True), "a new team has a seat for its leader"
                return
        case Fallback.OTHER_TEAM:
            others = await rows(
                "SELECT id FROM group_team WHERE group_buy_id = $1 AND size = $2 AND state = 'open' AND ends_at > $3 "
                "AND joined_count + held_count < size AND id <> $4 ORDER BY ends_at, id LIMIT $5",
                [campaign.id, team.size, now, team.id, OTHER_TEAMS],
            )
            for other in others:
                if await _take(seat, other["id"], now):
                    return
        case Fallback.REFUND:
            pass
    is_over = team.state != TeamState.OPEN or team.ends_at is None or now >= team.ends_at
    raise GroupTeamOver if is_over else GroupTeamFull


async def post(_: Deps, order: Order, now: datetime) -> None:
    """The seat is taken; the first one opens the team, the last one completes it."""
    if order.kind != OrderKind.GROUP:
        return
    seat = await _seat(order.id)
    team, campaign = await locked(seat.team_id)
    assert seat.state == SeatState.PENDING, "an order that is paid holds its seat"
    await GroupSeat.filter(id=seat.id).update(state=SeatState.POSTED, posted_at=now)
    if team.leader_id is None:
        team.leader_id = order.member_id
    if team.opened_at is None:
        team.opened_at, team.ends_at = now, now + timedelta(hours=campaign.team_hours)
    await note(order.id, OrderEventKind.TEAM_JOINED, now, team_id=str(team.id), leads=team.leader_id == order.member_id)
    await change(team, campaign, Change(joined=1, held=-1), now)


async def release(_: Deps, order: Order, now: datetime) -> None:
    """The seat of a closed order is free again."""
    if order.kind != OrderKind.GROUP:
        return
    seat = await _seat(order.id)
    team, campaign = await locked(seat.team_id)
    await GroupSeat.filter(id=seat.id).update(state=SeatState.RELEASED, resolved_at=now)
    await change(team, campaign, Change(held=-1), now)


async def give_back(_: Deps, order: Order, now: datetime) -> None:
    """The order is refunded: its member is in the team no more."""
    await vacate(order, now, only_open=False)


async def vacate(order: Order, now: datetime, *, only_open: bool = True) -> None:
    """The seat of an order that is going back is free again, if its team is still open; then somebody else leads.

    What leaves a team that has ended is marked, unless ``only_open``, and changes nothing about the team.
    """
    if order.kind != OrderKind.GROUP:
        return
    seat = await _seat(order.id)
    if seat.state != SeatState.POSTED:
        return
    team, campaign = await locked(seat.team_id)
    if team.state != TeamState.OPEN:
        if not only_open:
            await GroupSeat.filter(id=seat.id).update(state=SeatState.RETURNED, resolved_at=now, due_at=None)
        return
    joined = await rows(
        "SELECT member_id FROM group_seat WHERE team_id = $1 AND state = 'posted' ORDER BY posted_at, id", [team.id]
    )
    if team.leader_id == order.member_id:
        team.leader_id = rule.next_leader([row["member_id"] for row in joined], leaving=order.member_id)
    await GroupSeat.filter(id=seat.id).update(state=SeatState.LEFT, resolved_at=now)
    await note(order.id, OrderEventKind.TEAM_LEFT, now, team_id=str(team.id))
    await change(team, campaign, Change(joined=-1), now)


async def _seat(order_id: UUID) -> GroupSeat:
    return await GroupSeat.get(order_id=order_id)


async def _is_in(team_id: UUID, seat: GroupSeat) -> bool:
    others = GroupSeat.filter(team_id=team_id, member_id=seat.member_id, state__in=LIVE)
    return await others.exclude(id=seat.id).exists()


async def had_count(member_id: UUID, group_buy_id: UUID) -> int:
    """How many unpaid and paid orders of a campaign the member has."""
    return await GroupSeat.filter(member_id=member_id, team__group_buy_id=group_buy_id, state__in=LIVE).count()


async def has_bought(member_id: UUID) -> bool:
    """Whether the member has paid an order before, or has another seat that only a newcomer may have.

    An order whose team failed, or that was given up with its seat, was none.
    """
    found = await rows(
        "SELECT 1 FROM shop_order o WHERE o.member_id = $1 AND o.kind <> 'mall' AND o.paid_at IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM group_seat seat JOIN group_team team ON team.id = seat.team_id "
        "WHERE seat.order_id = o.id AND (seat.state = 'left' OR team.state = 'failed')) "
        "UNION ALL SELECT 1 FROM group_seat seat JOIN group_team team ON team.id = seat.team_id "
        "JOIN group_buy campaign ON campaign.id = team.group_buy_id "
        "WHERE seat.member_id = $1 AND seat.state = 'pending' AND campaign.newcomers_only LIMIT 1",
        [member_id],
    )
    return bool(found)


async def _new_team(group_buy_id: UUID, size: int, now: datetime) -> GroupTeam:
    return await GroupTeam.create(
        id=new_id(now),
        group_buy_id=group_buy_id,
        token=new_secret(TOKEN_BYTES),
        size=size,
        state=TeamState.PENDING,
        created_at=now,
    )


async def locked(team_id: UUID) -> tuple[GroupTeam, GroupBuy]:
    """A team with its row locked, and its campaign."""
    assert in_transaction(), "a lock outside a transaction protects nothing"
    team = await GroupTeam.filter(id=team_id).select_for_update(no_key=True).get()
    return team, await GroupBuy.get(id=team.group_buy_id)


async def change(team: GroupTeam, campaign: GroupBuy, by: Change, now: datetime) -> None:
    """Write the counts of a locked team and what it becomes by them."""
    team.joined_count += by.joined
    team.held_count += by.held
    state = rule.next_state(terms_of(team, campaign), now=now)
    has_ended = state in (TeamState.COMPLETE, TeamState.FAILED)
    if has_ended and team.settled_at is None:
        team.settled_at = now
        await changed("UPDATE group_seat SET due_at = $2 WHERE team_id = $1 AND state = 'posted'", [team.id, now])
    team.state = state
    team.due_at = team.ends_at if state is TeamState.OPEN else None
    await team.save(
        update_fields=[
            "joined_count",
            "held_count",
            "leader_id",
            "state",
            "opened_at",
            "ends_at",
            "settled_at",
            "due_at",
        ]
    )
