"""Group-buys 拼团 as members see them: campaigns, teams to join, opening, joining and leaving a team."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty import group_buy as rule
from models.group_buy import GroupBuy as GroupBuyRow
from models.group_buy import GroupItem as GroupItemRow
from models.group_buy import GroupSeat as GroupSeatRow
from models.group_buy import GroupTeam as GroupTeamRow
from resolvers import group_buy as verbs
from resolvers import member as member_verbs
from resolvers.order_delivery import DeliveryWish
from schema.context import Info
from schema.enums import describe
from schema.order import AmountChangedRefusal, Key, Order, OutOfStockRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.referral import masked
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen

describe(
    rule.TeamState,
    "Where a team stands.",
    {
        rule.TeamState.PENDING: "Its leader has not paid; nobody else sees it.",
        rule.TeamState.OPEN: "It can be joined until its time ends or it is full.",
        rule.TeamState.COMPLETE: "Complete 已成团: the goods are sent.",
        rule.TeamState.FAILED: "Failed 拼团失败: every order is refunded.",
    },
)
describe(
    rule.SeatState,
    "What became of a seat.",
    {
        rule.SeatState.PENDING: "Held until the order's pay deadline.",
        rule.SeatState.POSTED: "Taken: the order is paid.",
        rule.SeatState.RELEASED: "Free again: the order was closed.",
        rule.SeatState.LEFT: "Free again: the member left the open team and is refunded.",
        rule.SeatState.RETURNED: "The order was refunded after the team had ended.",
    },
)
describe(
    rule.Fallback,
    "What a member wants when the team has no seat any more.",
    {
        rule.Fallback.NEW_TEAM: "A new team of the same size, which the member leads.",
        rule.Fallback.OTHER_TEAM: "Another open team of the same size, the one that ends first.",
        rule.Fallback.REFUND: "Nothing: joining is refused, and money that comes too late goes back.",
    },
)


@strawberry.type(description="The price of a piece for a size of team.")
class GroupPrice:
    """One step of the ladder."""

    size: int = strawberry.field(description="Members of the team, 2 to 100.")
    price: Fen = strawberry.field(description="A piece, in fen.")


@strawberry.type(description="A SKU of a group-buy.")
class GroupItem:
    """An item as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the item, for `groupBuyOpen` and `groupBuyJoin`.")
    sku_id: UUID = strawberry.field(description="The SKU.")
    product_title: str = strawberry.field(description="The product's title.")
    sku_title: str = strawberry.field(description="The SKU's title.")
    list_price: Fen = strawberry.field(description="List price of a piece, in fen.")
    prices: list[GroupPrice] = strawberry.field(description="What a piece costs, by size of team, ascending.")

    @classmethod
    def from_row(cls, row: GroupItemRow, sizes: list[int]) -> "GroupItem":
        """The stored item with its SKU and product."""
        return cls(
            id=row.id,
            sku_id=row.sku_id,
            product_title=row.sku.product.title,
            sku_title=row.sku.title,
            list_price=Fen(row.sku.price_fen),
            prices=[
                GroupPrice(size=size, price=Fen(price_fen))
                for size, price_fen in zip(sizes, row.prices_fen, strict=True)
            ],
        )


@strawberry.type(description="A campaign of group-buying.")
class GroupBuy:
    """A campaign as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the campaign.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    opens_at: datetime = strawberry.field(description="Teams can be opened from this instant on.")
    closes_at: datetime = strawberry.field(description="Teams can be opened until before this instant.")
    sizes: list[int] = strawberry.field(description="Members of a team, 1 to 5 sizes of 2 to 100, ascending.")
    team_hours: int = strawberry.field(description="Hours that a team has from its leader's payment, 1 to 168.")
    newcomers_only: bool = strawberry.field(description="Whether joiners must have no paid order yet 老带新.")
    member_limit: int | None = strawberry.field(description="Unpaid and paid orders a member may have; null: no limit.")
    most_pieces: int = strawberry.field(description="Pieces in one order at most, 1 to 99.")

    @strawberry.field(description="The server's time, to count down with: the phone's clock decides nothing.")
    def server_time(self, info: Info) -> datetime:
        """The instant of the request."""
        return info.context.now

    @strawberry.field(description="Its items, 1 to 50, in their order.")
    async def items(self, info: Info) -> list[GroupItem]:
        """Loaded for all the campaigns of the answer at once."""
        found = await info.context.loaders.load(verbs.items_by_campaign, self.id)
        return [GroupItem.from_row(row, self.sizes) for row in found or ()]

    @classmethod
    def from_row(cls, row: GroupBuyRow) -> "GroupBuy":
        """The stored campaign."""
        return cls(
            id=row.id,
            title=row.title,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            sizes=list(row.sizes),
            team_hours=row.team_hours,
            newcomers_only=row.newcomers_only,
            member_limit=row.member_limit,
            most_pieces=row.most_pieces,
        )


@strawberry.type(description="Somebody in a team.")
class GroupMember:
    """A taken seat as others see it."""

    joined_at: datetime = strawberry.field(description="When the order was paid.")
    is_leader: bool = strawberry.field(description="Whether this member leads the team 团长.")
    member_id: strawberry.Private[UUID]

    @strawberry.field(description="The first character of the nickname, then `**`.")
    async def nickname(self, info: Info) -> str:
        """Loaded for all the members of the answer at once."""
        row = await info.context.loaders.load(member_verbs.by_ids, self.member_id)
        return masked(row.nickname if row else "")

    @strawberry.field(description="Address of the picture; empty: none.")
    async def avatar_url(self, info: Info) -> str:
        """Loaded for all the members of the answer at once."""
        row = await info.context.loaders.load(member_verbs.by_ids, self.member_id)
        return row.avatar_url if row else ""

    @strawberry.field(description="Whether it is you.")
    def is_you(self, info: Info) -> bool:
        """By the token of the request."""
        return info.context.member_id == self.member_id


@strawberry.type(description="A team 团.")
class GroupTeam:
    """A team as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the team.")
    token: str = strawberry.field(
        description="Scene token 分享口令 of 22 characters, for links and as `scene` of a mini-program code."
    )
    state: rule.TeamState = strawberry.field(description="Where it stands.")
    size: int = strawberry.field(description="Seats in all, 2 to 100.")
    joined_count: int = strawberry.field(description="Seats taken.")
    free_count: int = strawberry.field(description="Seats that are neither taken nor held at this moment.")
    opened_at: datetime | None = strawberry.field(description="When its leader paid; null: not yet.")
    ends_at: datetime | None = strawberry.field(
        description="Until when it can be joined; null: its leader has not paid."
    )
    settled_at: datetime | None = strawberry.field(description="When it was complete or failed; null: not yet.")
    group_buy_id: strawberry.Private[UUID]
    leader_id: strawberry.Private[UUID | None]

    @strawberry.field(description="The server's time, to count down with: the phone's clock decides nothing.")
    def server_time(self, info: Info) -> datetime:
        """The instant of the request."""
        return info.context.now

    @strawberry.field(description="Its campaign.")
    async def group_buy(self, info: Info) -> GroupBuy:
        """Loaded for all the teams of the answer at once."""
        row = await info.context.loaders.load(verbs.campaigns_by_ids, self.group_buy_id)
        assert row is not None, "a team is of a campaign"
        return GroupBuy.from_row(row)

    @strawberry.field(description="Who has paid, in the order of the payments; at most 100.")
    async def members(self, info: Info) -> list[GroupMember]:
        """Loaded for all the teams of the answer at once."""
        seats = await info.context.loaders.load(verbs.seats_by_team, self.id)
        return [
            GroupMember(joined_at=seat.posted_at, is_leader=seat.member_id == self.leader_id, member_id=seat.member_id)
            for seat in seats or ()
            if seat.posted_at is not None
        ]

    @classmethod
    def from_row(cls, row: GroupTeamRow) -> "GroupTeam":
        """The stored team."""
        return cls(
            id=row.id,
            token=row.token,
            state=rule.TeamState(row.state),
            size=row.size,
            joined_count=row.joined_count,
            free_count=row.size - row.joined_count - row.held_count,
            opened_at=row.opened_at,
            ends_at=row.ends_at,
            settled_at=row.settled_at,
            group_buy_id=row.group_buy_id,
            leader_id=row.leader_id,
        )


@strawberry.type(description="The seat of one of your orders in a team.")
class GroupSeat:
    """A member's own seat."""

    order_id: UUID = strawberry.field(description="The order.")
    state: rule.SeatState = strawberry.field(description="What became of it.")
    fallback: rule.Fallback = strawberry.field(description="What you wanted in case there was no seat any more.")
    team_id: strawberry.Private[UUID]

    @strawberry.field(description="The team.")
    async def team(self, info: Info) -> GroupTeam:
        """Loaded for all the seats of the answer at once."""
        row = await info.context.loaders.load(verbs.teams_by_ids, self.team_id)
        assert row is not None, "a seat is in a team"
        return GroupTeam.from_row(row)

    @classmethod
    def from_row(cls, row: GroupSeatRow) -> "GroupSeat":
        """The stored seat."""
        return cls(
            order_id=row.order_id,
            state=rule.SeatState(row.state),
            fallback=rule.Fallback(row.fallback),
            team_id=row.team_id,
        )


@strawberry.input(description="What to buy in a team.")
class GroupWishInput:
    """An item, how many, where to, and what the member agreed to."""

    item_id: UUID = strawberry.field(description="The item.")
    quantity: int = strawberry.field(default=1, description="Pieces, 1 to the campaign's most.")
    expected_payable: Fen | None = strawberry.field(
        default=None, description="What the member saw and agreed to, in fen; another price is refused."
    )
    remark: str = strawberry.field(default="", description="A word to the shop, at most 200 characters.")
    address_id: UUID | None = strawberry.field(default=None, description="The address that it is sent to.")
    pick_up_point_id: UUID | None = strawberry.field(default=None, description="Where it is picked up instead.")

    def wish(self) -> verbs.Wish:
        """The input as the verbs take it."""
        return verbs.Wish(
            item_id=self.item_id,
            quantity=self.quantity,
            expected_fen=self.expected_payable,
            remark=self.remark,
            delivery=DeliveryWish(address_id=self.address_id, pick_up_point_id=self.pick_up_point_id),
        )


@refusal_type(rule.GroupLimitReached)
@strawberry.type(name="GroupLimitReached", description="As many orders as allowed. Code `GROUP_LIMIT_REACHED`.")
class GroupLimitRefusal(Refusal):
    """A limit per member."""

    limit: int = strawberry.field(description="Orders of the campaign a member may have.")


@strawberry.type(description="A seat is held: the order, and the team that it is in.")
class GroupSeatHeld:
    """Success of groupBuyOpen and groupBuyJoin."""

    order: Order = strawberry.field(description="The order; its seat is held until `payBy`.")
    order_id: strawberry.Private[UUID]

    @strawberry.field(description="The seat with its team, which may be another than was asked for.")
    async def seat(self, info: Info) -> GroupSeat:
        """The seat of the order."""
        row = await info.context.loaders.load(verbs.seats_by_order, self.order_id)
        assert row is not None, "an order in a group-buy has a seat"
        return GroupSeat.from_row(row)


GroupSeatResult = Annotated[
    GroupSeatHeld | GroupLimitRefusal | OutOfStockRefusal | AmountChangedRefusal | SimpleRefusal,
    strawberry.union("GroupSeatResult", description="The order with its seat, or why there is none."),
]


@strawberry.type(description="The team was left.")
class GroupBuyLeft:
    """Success of groupBuyLeave."""

    order: Order = strawberry.field(description="The order, which is refunded in full.")


GroupBuyLeaveResult = Annotated[
    GroupBuyLeft | SimpleRefusal,
    strawberry.union("GroupBuyLeaveResult", description="The order, or why the team cannot be left."),
]


@strawberry.type
class ShopQuery:
    """What members and visitors see."""

    @strawberry.field(
        description="Campaigns of group-buying that run or will, what opened first comes first.",
        extensions=[ForEveryone()],
    )
    async def group_buys(self, info: Info, first: First = 20, after: After = None) -> Connection[GroupBuy]:
        """One page."""
        found = await verbs.shown(info.context.deps, page=page(verbs.SHOWN, first, after))
        return connection(found, GroupBuy.from_row)

    @strawberry.field(
        description="One campaign, also after its end; null if there is none.", extensions=[ForEveryone()]
    )
    async def group_buy(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The campaign.")]
    ) -> GroupBuy | None:
        """One campaign."""
        row = await verbs.one(info.context.deps, id)
        return GroupBuy.from_row(row) if row else None

    @strawberry.field(
        description="Open teams of a campaign with a free seat, without those that you are in; what ends first comes "
        "first.",
        extensions=[ForEveryone()],
    )
    async def group_teams(
        self,
        info: Info,
        group_buy_id: Annotated[UUID, strawberry.argument(description="The campaign.")],
        size: Annotated[int | None, strawberry.argument(description="Only teams of this size.")] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[GroupTeam]:
        """One page."""
        found = await verbs.teams_to_join(
            info.context.deps,
            group_buy_id=group_buy_id,
            size=size,
            member_id=info.context.member_id,
            page=page(verbs.ENDING, first, after),
        )
        return connection(found, GroupTeam.from_row)

    @strawberry.field(
        description="The team page that a scene token leads to; null: no such team, or its leader has not paid.",
        extensions=[ForEveryone()],
    )
    async def group_team(
        self, info: Info, token: Annotated[str, strawberry.argument(description="The token, at most 32 characters.")]
    ) -> GroupTeam | None:
        """One team."""
        row = await verbs.team_by_token(info.context.deps, token)
        return GroupTeam.from_row(row) if row else None

    @strawberry.field(description="Your seats in teams, the newest first.", extensions=[ForMembers()])
    async def my_group_seats(self, info: Info, first: First = 20, after: After = None) -> Connection[GroupSeat]:
        """One page."""
        found = await verbs.mine(
            info.context.deps, member_id=require_member(info), page=page(verbs.NEWEST, first, after)
        )
        return connection(found, GroupSeat.from_row)


@strawberry.type
class ShopMutation:
    """What a member does in a group-buy."""

    @strawberry.mutation(
        description="Open a team: the order of its leader. The team is open once it is paid. Coupons and points are "
        "not taken.",
        extensions=[ForMembers()],
    )
    async def group_buy_open(
        self,
        info: Info,
        input: Annotated[GroupWishInput, strawberry.argument(description="What to buy.")],
        size: Annotated[int, strawberry.argument(description="Members of the team: one of the campaign's sizes.")],
        idempotency_key: Key,
    ) -> GroupSeatResult:
        """One order, or a refusal."""
        order = await verbs.open_team(
            info.context.deps,
            member_id=require_member(info),
            size=size,
            wish=input.wish(),
            idempotency_key=idempotency_key,
        )
        return GroupSeatHeld(order=Order.from_row(order), order_id=order.id)

    @strawberry.mutation(
        description="Join a team: an order whose seat is held until its pay deadline. Without a seat, what `fallback` "
        "says is done. Coupons and points are not taken.",
        extensions=[ForMembers()],
    )
    async def group_buy_join(
        self,
        info: Info,
        input: Annotated[GroupWishInput, strawberry.argument(description="What to buy.")],
        token: Annotated[str, strawberry.argument(description="The team's scene token, at most 32 characters.")],
        idempotency_key: Key,
        fallback: Annotated[
            rule.Fallback, strawberry.argument(description="What to do when there is no seat any more.")
        ] = rule.Fallback.REFUND,
    ) -> GroupSeatResult:
        """One order, or a refusal."""
        order = await verbs.join(
            info.context.deps,
            member_id=require_member(info),
            token=token,
            fallback=fallback,
            wish=input.wish(),
            idempotency_key=idempotency_key,
        )
        return GroupSeatHeld(order=Order.from_row(order), order_id=order.id)

    @strawberry.mutation(
        description="Leave an open team: the order is refunded in full, the seat is free again. Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def group_buy_leave(
        self, info: Info, order_id: Annotated[UUID, strawberry.argument(description="Your order in the team.")]
    ) -> GroupBuyLeaveResult:
        """The order, or a refusal."""
        order = await verbs.leave(info.context.deps, member_id=require_member(info), order_id=order_id)
        return GroupBuyLeft(order=Order.from_row(order))
