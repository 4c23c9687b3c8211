"""What members do in a group-buy: look, open a team, join one, leave it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from tortoise.expressions import F, Q

from loyalty.group_buys import group_buy as rule
from loyalty.group_buys.group_buy import (
    Fallback,
    GroupBuyState,
    GroupNotOffered,
    GroupSeatNotFound,
    GroupTeamNotFound,
    SeatState,
    TeamState,
)
from loyalty.orders.order import OrderKind, OrderLine, QuantityInvalid, admit_amount, admit_remark
from loyalty.payments.payment import RefundCause
from models.engine import retried, transaction
from models.group_buys.group_buy import GroupBuy, GroupItem, GroupSeat, GroupTeam
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.group_buys import group_seat
from resolvers.orders import order_delivery, order_hold
from resolvers.orders.order_delivery import NOWHERE, DeliveryWish
from resolvers.orders.order_price import NO_COUPONS, price_basket, read_basket
from resolvers.orders.order_row import owned
from resolvers.orders.order_write import LineOf, write_order
from resolvers.payments import refund, refund_part
from resolvers.payments.after_sale_row import close_open
from resolvers.replay import remember, replayed

SHOWN = Keyset("group_buy.shown", (Key("opens_at", datetime, descending=False), Key("id", UUID, descending=False)))
"""As members see campaigns: what opened first comes first."""

ENDING = Keyset("group_team.ending", (Key("ends_at", datetime, descending=False), Key("id", UUID, descending=False)))
"""Teams to join: what ends first comes first."""

NEWEST = Keyset("group_seat.newest", (Key("id", UUID),))

LEAVE_REASON = "会员退团"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a member wants of a campaign: so many pieces of an item, to be brought there.

    ``expected_fen`` is what the member saw and agreed to.
    """

    item_id: UUID
    quantity: int = 1
    expected_fen: int | None = None
    remark: str = ""
    delivery: DeliveryWish = NOWHERE

    def content(self) -> dict[str, object]:
        """What an idempotency key stands for."""
        return {
            "item_id": str(self.item_id),
            "quantity": self.quantity,
            "expected_fen": self.expected_fen,
            "remark": self.remark,
            **self.delivery.content(),
        }


# Looking


async def shown(deps: Deps, *, page: Page) -> Slice[GroupBuy]:
    """Campaigns that run or will, by ``SHOWN``."""
    return await fetch(GroupBuy.filter(state=GroupBuyState.PUBLISHED, closes_at__gt=deps.clock.now()), page)


async def one(deps: Deps, group_buy_id: UUID) -> GroupBuy | None:
    """A campaign that was published, also after its end."""
    return await GroupBuy.get_or_none(~Q(state=GroupBuyState.DRAFT), id=group_buy_id)


async def campaigns_by_ids(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, GroupBuy]:
    """Campaigns by id."""
    return {row.id: row for row in await GroupBuy.filter(id__in=list(ids))}


async def items_by_campaign(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, list[GroupItem]]:
    """The items of campaigns, in their order."""
    found: dict[UUID, list[GroupItem]] = {group_buy_id: [] for group_buy_id in ids}
    items = GroupItem.filter(group_buy_id__in=list(ids)).order_by("position").select_related("sku__product")
    for item in await items:
        found[item.group_buy_id].append(item)
    return found


async def items_on_offer(deps: Deps, sku_ids: Sequence[UUID]) -> Mapping[UUID, GroupItem]:
    """The item of each SKU in a campaign in which teams can be opened now; of several, the one that opened first."""
    now = deps.clock.now()
    running = {"group_buy__state": GroupBuyState.PUBLISHED, "group_buy__opens_at__lte": now}
    items = GroupItem.filter(sku_id__in=list(sku_ids), group_buy__closes_at__gt=now, **running)
    found = await items.order_by("-group_buy__opens_at", "-id").select_related("group_buy", "sku__product")
    return {item.sku_id: item for item in found}


async def teams_to_join(
    deps: Deps, *, group_buy_id: UUID, page: Page, size: int | None = None, member_id: UUID | None = None
) -> Slice[GroupTeam]:
    """Open teams of a campaign with a free seat by ``ENDING``, without those that the member is in."""
    seats = GroupSeat.filter(member_id=member_id, state__in=group_seat.LIVE, team__group_buy_id=group_buy_id)
    own = await seats.values_list("team_id", flat=True) if member_id else []
    teams = GroupTeam.filter(group_buy_id=group_buy_id, state=TeamState.OPEN, ends_at__gt=deps.clock.now())
    free = teams.filter(joined_count__lt=F("size") - F("held_count")).exclude(id__in=list(own))
    return await fetch(free.filter(size=size) if size else free, page)


async def team_by_token(_: Deps, token: str) -> GroupTeam | None:
    """The team that a scene token leads to, once its leader has paid."""
    if len(token) > 32:
        return None
    return await GroupTeam.get_or_none(~Q(opened_at=None), token=token)


async def teams_by_ids(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, GroupTeam]:
    """Teams by id."""
    return {row.id: row for row in await GroupTeam.filter(id__in=list(ids))}


async def seats_by_team(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, list[GroupSeat]]:
    """The seats of teams that were paid for and not left, in the order of the payments."""
    found: dict[UUID, list[GroupSeat]] = {team_id: [] for team_id in ids}
    taken = [SeatState.POSTED, SeatState.RETURNED]
    for seat in await GroupSeat.filter(team_id__in=list(ids), state__in=taken).order_by("posted_at", "id"):
        found[seat.team_id].append(seat)
    return found


async def held_or_taken_by_team(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, list[GroupSeat]]:
    """The seats of teams that are held or were paid for and not left, the oldest first."""
    found: dict[UUID, list[GroupSeat]] = {team_id: [] for team_id in ids}
    there = [SeatState.PENDING, SeatState.POSTED, SeatState.RETURNED]
    for seat in await GroupSeat.filter(team_id__in=list(ids), state__in=there).order_by("id"):
        found[seat.team_id].append(seat)
    return found


async def seats_by_order(_: Deps, ids: Sequence[UUID]) -> Mapping[UUID, GroupSeat]:
    """The seats of orders."""
    return {seat.order_id: seat for seat in await GroupSeat.filter(order_id__in=list(ids))}


async def mine(_: Deps, *, member_id: UUID, page: Page) -> Slice[GroupSeat]:
    """The member's seats, newest first."""
    return await fetch(GroupSeat.filter(member_id=member_id), page)


# Opening and joining


async def open_team(deps: Deps, *, member_id: UUID, size: int, wish: Wish, idempotency_key: str) -> Order:
    """Place the order of a new team's leader. The team opens when it is paid.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        GroupNotOffered: no such item or size, or not within the campaign's window.
        GroupLimitReached: the member has as many orders of the campaign as allowed.
        QuantityInvalid, SkuNotOnSale, OutOfStock and what delivery raises: see ``resolvers.orders.order.place``.
        RemarkTooLong, AmountChanged: the remark, the price.
    """
    return await _place(deps, member_id, team_of=size, fallback=Fallback.NEW_TEAM, wish=wish, key=idempotency_key)


async def join(
    deps: Deps, *, member_id: UUID, token: str, fallback: Fallback, wish: Wish, idempotency_key: str
) -> Order:
    """Place the order of a member who joins the team that ``token`` leads to, or does as ``fallback`` says.

    The seat is held until the order's pay deadline and taken when it is paid.

    Raises: what ``open_team`` raises, and
        GroupTeamNotFound, GroupAlreadyIn, GroupTeamOver, GroupNewcomersOnly, GroupTeamFull: see
            ``loyalty.group_buys.group_buy.admit_join``.
    """
    return await _place(deps, member_id, team_of=token, fallback=fallback, wish=wish, key=idempotency_key)


@retried
async def _place(
    deps: Deps,
    member_id: UUID,
    *,
    team_of: int | str,
    fallback: Fallback,
    wish: Wish,
    key: str,
) -> Order:
    now = deps.clock.now()
    operation = "groupBuyOpen" if isinstance(team_of, int) else "groupBuyJoin"
    content = {"team_of": team_of, "fallback": fallback, **wish.content()}
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Order.get(id=UUID(before["order_id"]))
        admit_remark(wish.remark)
        item = await GroupItem.get_or_none(id=wish.item_id)
        campaign = await GroupBuy.get(id=item.group_buy_id) if item else None
        if item is None or campaign is None or campaign.state == GroupBuyState.DRAFT:
            raise GroupNotOffered
        team = None
        if isinstance(team_of, int):
            size = team_of
            if campaign.state != GroupBuyState.PUBLISHED or not campaign.opens_at <= now < campaign.closes_at:
                raise GroupNotOffered
            await _admit_leader(member_id, campaign)
        else:
            team = await team_by_token(deps, team_of)
            if team is None or team.group_buy_id != campaign.id:
                raise GroupTeamNotFound
            size = team.size
            await _admit_joiner(member_id, campaign, team, fallback, now)
        if size not in campaign.sizes:
            raise GroupNotOffered
        if not 1 <= wish.quantity <= campaign.most_pieces:
            raise QuantityInvalid(sku_id=str(item.sku_id), most=campaign.most_pieces)
        price_fen = item.prices_fen[campaign.sizes.index(size)]
        basket = await read_basket(
            member_id, [OrderLine(sku_id=item.sku_id, quantity=wish.quantity)], now, zone=deps.zone
        )
        line = replace(basket.prices[0], activity_price_fen=price_fen, activity_code="group_buy")
        basket = replace(basket, prices=(line,), promotions=())
        delivery = await order_delivery.read(deps, basket, wish.delivery, now)
        priced = await price_basket(basket, NO_COUPONS, 0, now, ship=delivery.ship)
        admit_amount(payable_fen=priced.quote.payable_fen, expected_fen=wish.expected_fen)
        sku = basket.skus[item.sku_id]
        order = await write_order(
            deps,
            member_id,
            kind=OrderKind.GROUP,
            quote=priced.quote,
            lines_of=[LineOf(sku_id=item.sku_id, product_title=sku["product_title"], sku_title=sku["title"])],
            under=basket.under,
            remark=wish.remark,
            now=now,
        )
        await order_delivery.write(deps, order, delivery, priced.shipping, now)
        await group_seat.write(
            order, team_id=team.id if team else None, group_buy_id=campaign.id, size=size, fallback=fallback
        )
        result = {"order_id": str(order.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await order_hold.hold(deps, order, order.id, now)
        return order


async def _admit_leader(member_id: UUID, campaign: GroupBuy) -> None:
    rule.admit_member(
        joining=False,
        newcomers_only=campaign.newcomers_only,
        paid_before=False,
        member_limit=campaign.member_limit,
        had_count=await group_seat.had_count(member_id, campaign.id),
    )


async def _admit_joiner(
    member_id: UUID, campaign: GroupBuy, team: GroupTeam, fallback: Fallback, now: datetime
) -> None:
    rule.admit_join(
        group_seat.terms_of(team, campaign),
        already_in=await GroupSeat.exists(team_id=team.id, member_id=member_id, state__in=group_seat.LIVE),
        newcomers_only=campaign.newcomers_only,
        paid_before=campaign.newcomers_only and await group_seat.has_bought(member_id),
        member_limit=campaign.member_limit,
        had_count=await group_seat.had_count(member_id, campaign.id),
        fallback=fallback,
        now=now,
    )


# Leaving


async def leave(deps: Deps, *, member_id: UUID, order_id: UUID) -> Order:
    """Leave an open team: the seat is free again and the order is refunded in full. Harmless to repeat.

    Open after-sale requests of the order are closed.

    Raises:
        OrderNotFound: no such order of the member.
        GroupSeatNotFound: it is not in an open team.
        RefundInProgress, ClawBackBlocked: see ``resolvers.payments.refund_part.open_part``.
    """
    refund_id = await _leave(deps, member_id, order_id)
    if refund_id is not None:
        await refund.send(deps, refund_id=refund_id)
    return await owned(member_id, order_id)


@retried
async def _leave(deps: Deps, member_id: UUID, order_id: UUID) -> UUID | None:
    now = deps.clock.now()
    async with transaction(member_id):
        order = await owned(member_id, order_id)
        seat = await GroupSeat.get_or_none(order_id=order_id)
        if seat is not None and seat.state == SeatState.LEFT:
            return None
        team = await GroupTeam.get_or_none(id=seat.team_id) if seat else None
        if seat is None or team is None or seat.state != SeatState.POSTED or team.state != TeamState.OPEN:
            raise GroupSeatNotFound
        await close_open(order.id, now)
        wish = refund_part.Wish(
            pieces=None, cause=RefundCause.BY_MEMBER, shops_fault=True, goods_come_back=True, reason=LEAVE_REASON
        )
        _, refund_id = await refund_part.open_part(deps, order, wish, now=now)
        left = await GroupSeat.get(id=seat.id)
        if left.state != SeatState.LEFT:
            # The team was completed between our look and its lock: the refund is taken back with the transaction.
            raise GroupSeatNotFound
        return refund_id
