"""The seats that group-buy orders hold, as the order machine sees them, and what their teams become.

Whatever happens to a seat, its team's row is locked first, and the rule says what the team is afterwards: all that can
happen to a team happens one after the other. Another team is only taken if nobody else has it locked, so that two
members who look for one never wait for each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from loyalty import group_buy as rule
from loyalty.group_buy import (
    Fallback,
    GroupBuyState,
    GroupTeamFull,
    GroupTeamOver,
    SeatState,
    TeamState,
    TeamTerms,
)
from loyalty.order import OrderKind
from loyalty.order_event import OrderEventKind
from models.engine import changed, in_transaction, rows
from models.group_buy import GroupBuy, GroupSeat, GroupTeam
from models.ids import new_id, new_secret
from models.order import Order
from resolvers.deps import Deps
from resolvers.order_row import note

TOKEN_BYTES = 16
"""A token has 22 characters and no second meaning; a mini-program code carries up to 32."""


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


async def hold(_: Deps, order: Order, cause_id: UUID, now: datetime) -> None:
    """Hold a seat: in the team that the order was placed for, or where its member goes instead.

    Raises: GroupTeamOver, GroupTeamFull: there is none, and the member wants no other team.
    """
    if order.kind != OrderKind.GROUP:
        return
    seat = await _seat(order.id)
    team, campaign = await locked(seat.team_id)
    is_new = cause_id == order.id and team.state == TeamState.PENDING
    terms = terms_of(team, campaign)
    if not is_new and not (rule.has_seat(terms, now=now) and not await _is_in(team.id, order)):
        team = await _elsewhere(seat, team, terms, campaign, now)
    revived = {"state": SeatState.PENDING, "resolved_at": None, "team_id": team.id}
    await GroupSeat.filter(id=seat.id).update(**revived)
    await change(team, campaign, Change(held=1), now)


async def _elsewhere(
    seat: GroupSeat, team: GroupTeam, terms: TeamTerms, campaign: GroupBuy, now: datetime
) -> GroupTeam:
    match Fallback(seat.fallback):
        case Fallback.NEW_TEAM:
            if campaign.state == GroupBuyState.PUBLISHED and campaign.opens_at <= now < campaign.closes_at:
                return await _new_team(campaign.id, team.size, now)
        case Fallback.OTHER_TEAM:
            found = await rows(
                "SELECT id FROM group_team team WHERE group_buy_id = $1 AND size = $2 AND state = 'open' "
                "AND ends_at > $3 AND joined_count + held_count < size AND NOT EXISTS (SELECT 1 FROM group_seat mine "
                "WHERE mine.team_id = team.id AND mine.member_id = $4 AND mine.state IN ('pending', 'posted')) "
                "ORDER BY ends_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
                [campaign.id, team.size, now, seat.member_id],
            )
            if found:
                return await GroupTeam.get(id=found[0]["id"])
        case Fallback.REFUND:
            pass
    is_over = terms.state is not TeamState.OPEN or terms.ends_at is None or now >= terms.ends_at
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


async def _is_in(team_id: UUID, order: Order) -> bool:
    others = GroupSeat.filter(team_id=team_id, member_id=order.member_id, state__in=["pending", "posted"])
    return await others.exclude(order_id=order.id).exists()


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
