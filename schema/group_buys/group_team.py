"""Group-buys 拼团 as everybody sees them: campaigns with their items, teams, and the seats of one's own."""

from datetime import datetime
from uuid import UUID

import strawberry

from loyalty.group_buys import group_buy as rule
from loyalty.prices.price_history import Beside
from models.group_buys.group_buy import GroupBuy as GroupBuyRow
from models.group_buys.group_buy import GroupItem as GroupItemRow
from models.group_buys.group_buy import GroupSeat as GroupSeatRow
from models.group_buys.group_buy import GroupTeam as GroupTeamRow
from resolvers.group_buys import group_buy as verbs
from resolvers.people import member as member_verbs
from resolvers.prices import price_history
from schema.context import Info
from schema.enums import describe
from schema.referrals.referral import masked
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
    sku_id: strawberry.Private[UUID]
    opens_at: strawberry.Private[datetime]

    @strawberry.field(
        description="What may stand struck through beside `price`, in fen: the lowest price of the 7 days before the "
        "campaign opens; null if there is no honest one."
    )
    async def struck_through_price(self, info: Info) -> Fen | None:
        """Loaded for all the prices of the answer at once."""
        asked = Beside(sku_id=self.sku_id, present_fen=self.price, began_at=self.opens_at)
        found = await info.context.loaders.load(price_history.beside_activities, asked)
        return None if found is None else Fen(found)


@strawberry.type(description="A SKU of a group-buy.")
class GroupItem:
    """An item as members see it."""

    id: UUID = strawberry.field(description="Opaque id of the item, for `groupBuyOpen` and `groupBuyJoin`.")
    group_buy_id: UUID = strawberry.field(description="Its campaign.")
    sku_id: UUID = strawberry.field(description="The SKU.")
    product_title: str = strawberry.field(description="The product's title.")
    sku_title: str = strawberry.field(description="The SKU's title.")
    list_price: Fen = strawberry.field(description="List price of a piece, in fen.")
    prices: list[GroupPrice] = strawberry.field(description="What a piece costs, by size of team, ascending.")

    @classmethod
    def from_row(cls, row: GroupItemRow, sizes: list[int], opens_at: datetime) -> "GroupItem":
        """The stored item with its SKU and product, and the sizes and the opening of its campaign."""
        return cls(
            id=row.id,
            group_buy_id=row.group_buy_id,
            sku_id=row.sku_id,
            product_title=row.sku.product.title,
            sku_title=row.sku.title,
            list_price=Fen(row.sku.price_fen),
            prices=[
                GroupPrice(size=size, price=Fen(price_fen), sku_id=row.sku_id, opens_at=opens_at)
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
        return [GroupItem.from_row(row, self.sizes, self.opens_at) for row in found or ()]

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


async def seat_of_order(info: Info, order_id: UUID) -> GroupSeat | None:
    """The seat of an order, loaded for all the orders of the answer at once; None: it is of another kind."""
    row = await info.context.loaders.load(verbs.seats_by_order, order_id)
    return GroupSeat.from_row(row) if row else None


async def item_on_offer(info: Info, sku_id: UUID) -> GroupItem | None:
    """The item of a SKU in a campaign that runs, loaded for all the SKUs of the answer at once; None: in none."""
    row = await info.context.loaders.load(verbs.items_on_offer, sku_id)
    return GroupItem.from_row(row, list(row.group_buy.sizes), row.group_buy.opens_at) if row else None
