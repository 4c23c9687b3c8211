"""Group-buys 拼团 as operators keep them: campaigns, and the teams in them."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.group_buys import group_buy as rule
from loyalty.people.rights import Right
from models.group_buys.group_buy import GroupBuy as GroupBuyRow
from models.group_buys.group_buy import GroupTeam as GroupTeamRow
from resolvers.group_buys import group_buy, group_campaign
from resolvers.group_buys.group_campaign import CampaignChanges, ItemWish
from resolvers.people import member
from schema.arguments import sent
from schema.catalogue.catalogue import Key
from schema.context import Info
from schema.enums import describe
from schema.group_buys.group_team import GroupItem
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.programme import ProgrammeInvalidRefusal, api_words
from schema.referrals.referral import masked
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    rule.GroupBuyState,
    "Where a campaign stands.",
    {
        rule.GroupBuyState.DRAFT: "It can be changed, and nobody sees it.",
        rule.GroupBuyState.PUBLISHED: "In its window teams are opened.",
        rule.GroupBuyState.CLOSED: "No more teams are opened; those that are open play to their end.",
    },
)

GroupBuyId = Annotated[UUID, strawberry.argument(description="The campaign.")]


@strawberry.type(description="A seat that is held or taken, and whose it is.")
class GroupTeamSeat:
    """A seat of a team as operators see it."""

    member_id: UUID = strawberry.field(description="The member.")
    order_id: UUID = strawberry.field(description="The order.")
    state: rule.SeatState = strawberry.field(description="What became of it.")
    is_leader: bool = strawberry.field(description="Whether this member leads the team 团长.")
    created_at: datetime = strawberry.field(description="When the order was placed.")
    joined_at: datetime | None = strawberry.field(description="When the order was paid; null: not yet.")

    @strawberry.field(description="The first character of the nickname, then `**`.")
    async def nickname(self, info: Info) -> str:
        """Loaded for all the seats of the answer at once."""
        row = await info.context.loaders.load(member.by_ids, self.member_id)
        return masked(row.nickname if row else "")


@strawberry.type(name="GroupTeam", description="A team 团 as operators see it.")
class TeamView:
    """A team with its counts as they are: nobody is invented."""

    id: UUID = strawberry.field(description="Opaque id of the team.")
    group_buy_id: UUID = strawberry.field(description="Its campaign.")
    leader_id: UUID | None = strawberry.field(description="The member who leads it; null: nobody in it has paid.")
    state: rule.TeamState = strawberry.field(description="Where it stands.")
    size: int = strawberry.field(description="Seats in all, 2 to 100.")
    joined_count: int = strawberry.field(description="Seats taken by payment.")
    held_count: int = strawberry.field(description="Seats held until a pay deadline.")
    is_virtual: bool = strawberry.field(
        description="Whether it is complete 模拟成团 with fewer members than seats, because the campaign says enough."
    )
    created_at: datetime = strawberry.field(description="When its leader placed the order.")
    opened_at: datetime | None = strawberry.field(description="When its leader paid; null: not yet.")
    ends_at: datetime | None = strawberry.field(description="Until when it can be joined; null: not opened.")
    settled_at: datetime | None = strawberry.field(description="When it was complete or failed; null: not yet.")

    @strawberry.field(
        description="Its seats that are held or taken, at most 100, the oldest first.",
        extensions=[Needs(Right.MEMBER_READ)],
    )
    async def seats(self, info: Info) -> list[GroupTeamSeat]:
        """Loaded for all the teams of the answer at once."""
        found = await info.context.loaders.load(group_buy.held_or_taken_by_team, self.id)
        return [
            GroupTeamSeat(
                member_id=seat.member_id,
                order_id=seat.order_id,
                state=rule.SeatState(seat.state),
                is_leader=seat.member_id == self.leader_id,
                created_at=seat.created_at,
                joined_at=seat.posted_at,
            )
            for seat in found or ()
        ]

    @classmethod
    def from_row(cls, row: GroupTeamRow) -> "TeamView":
        """The stored team."""
        return cls(
            id=row.id,
            group_buy_id=row.group_buy_id,
            leader_id=row.leader_id,
            state=rule.TeamState(row.state),
            size=row.size,
            joined_count=row.joined_count,
            held_count=row.held_count,
            is_virtual=row.state == rule.TeamState.COMPLETE and row.joined_count < row.size,
            created_at=row.created_at,
            opened_at=row.opened_at,
            ends_at=row.ends_at,
            settled_at=row.settled_at,
        )


@strawberry.type(name="GroupSeat", description="The seat of an order in a team, as operators see it.")
class SeatView:
    """Where an order stands in a group-buy."""

    state: rule.SeatState = strawberry.field(description="What became of it.")
    fallback: rule.Fallback = strawberry.field(description="What its member wants when there is no seat any more.")
    team_id: strawberry.Private[UUID]

    @strawberry.field(description="The team.")
    async def team(self, info: Info) -> TeamView:
        """Loaded for all the seats of the answer at once."""
        row = await info.context.loaders.load(group_buy.teams_by_ids, self.team_id)
        assert row is not None, "a seat is in a team"
        return TeamView.from_row(row)


async def seat_of_order(info: Info, order_id: UUID) -> SeatView | None:
    """The seat of an order, loaded for all the orders of the answer at once; None: it is of another kind."""
    row = await info.context.loaders.load(group_buy.seats_by_order, order_id)
    if row is None:
        return None
    return SeatView(state=rule.SeatState(row.state), fallback=rule.Fallback(row.fallback), team_id=row.team_id)


@strawberry.type(name="GroupBuy", description="A campaign of group-buying.")
class Campaign:
    """A campaign as operators see it."""

    id: UUID = strawberry.field(description="Opaque id of the campaign.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    state: rule.GroupBuyState = strawberry.field(description="Where it stands.")
    opens_at: datetime = strawberry.field(description="Teams can be opened from this instant on.")
    closes_at: datetime = strawberry.field(description="Teams can be opened until before this instant.")
    sizes: list[int] = strawberry.field(description="Members of a team, 1 to 5 sizes of 2 to 100, ascending.")
    team_hours: int = strawberry.field(description="Hours that a team has from its leader's payment, 1 to 168.")
    virtual_from: int | None = strawberry.field(
        description="Seats that are enough when the time ends 模拟成团; null: only a full team is complete."
    )
    newcomers_only: bool = strawberry.field(description="Whether joiners must have no paid order yet 老带新.")
    member_limit: int | None = strawberry.field(description="Unpaid and paid orders a member may have; null: no limit.")
    most_pieces: int = strawberry.field(description="Pieces in one order at most, 1 to 99.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    published_at: datetime | None = strawberry.field(description="When it was published; null for a draft.")
    closed_at: datetime | None = strawberry.field(description="When it was closed; null: it was not.")

    @strawberry.field(description="Its items, 1 to 50, in their order.")
    async def items(self, info: Info) -> list[GroupItem]:
        """Loaded for all the campaigns of the answer at once."""
        found = await info.context.loaders.load(group_buy.items_by_campaign, self.id)
        return [GroupItem.from_row(row, self.sizes, self.opens_at) for row in found or ()]

    @classmethod
    def from_row(cls, row: GroupBuyRow) -> "Campaign":
        """The stored campaign."""
        return cls(
            id=row.id,
            title=row.title,
            state=rule.GroupBuyState(row.state),
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            sizes=list(row.sizes),
            team_hours=row.team_hours,
            virtual_from=row.virtual_from,
            newcomers_only=row.newcomers_only,
            member_limit=row.member_limit,
            most_pieces=row.most_pieces,
            created_at=row.created_at,
            updated_at=row.updated_at,
            published_at=row.published_at,
            closed_at=row.closed_at,
        )


@strawberry.input(description="A SKU of a group-buy.")
class GroupItemInput:
    """An item."""

    sku_id: UUID = strawberry.field(description="The SKU, once in a campaign.")
    prices: list[Fen] = strawberry.field(
        description="A piece's price in fen for each of the campaign's sizes, in their order: 1 to the list price, "
        "never higher for more members."
    )

    def to_wish(self) -> ItemWish:
        """What the verb takes."""
        return ItemWish(sku_id=self.sku_id, prices_fen=tuple(self.prices))


@strawberry.input(description="A campaign to be made, as a draft.")
class GroupBuyCreateInput:
    """What a campaign has."""

    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    opens_at: datetime = strawberry.field(description="Teams can be opened from then on.")
    closes_at: datetime = strawberry.field(
        description="Teams can be opened until before then: later than `opensAt` by at most 90 days, and in the future."
    )
    sizes: list[int] = strawberry.field(description="Members of a team, 1 to 5 sizes of 2 to 100, ascending.")
    items: list[GroupItemInput] = strawberry.field(description="Its items, 1 to 50.")
    team_hours: int = strawberry.field(
        default=rule.DEFAULT_TEAM_HOURS, description="Hours that a team has from its leader's payment, 1 to 168."
    )
    virtual_from: int | None = strawberry.field(
        default=None,
        description="Seats that are enough when the time ends, 2 or more and below the largest size; only a full team "
        "is complete unless given.",
    )
    newcomers_only: bool = strawberry.field(
        default=False, description="Whether joiners must have no paid order yet; a leader need not be new."
    )
    member_limit: int | None = strawberry.field(
        default=None, description="Unpaid and paid orders a member may have, 1 to 99; no limit unless given."
    )
    most_pieces: int = strawberry.field(default=1, description="Pieces in one order at most, 1 to 99.")

    def to_terms(self) -> rule.GroupTerms:
        """What the verb takes."""
        return rule.GroupTerms(
            title=self.title,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
            sizes=tuple(self.sizes),
            team_hours=self.team_hours,
            virtual_from=self.virtual_from,
            newcomers_only=self.newcomers_only,
            member_limit=self.member_limit,
            most_pieces=self.most_pieces,
        )


@strawberry.input(description="What is to change of a draft. A field that is left out stays as it is.")
class GroupBuyChangeInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The campaign.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    opens_at: strawberry.Maybe[datetime] = strawberry.field(description="Teams can be opened from then on.")
    closes_at: strawberry.Maybe[datetime] = strawberry.field(description="Teams can be opened until before then.")
    sizes: strawberry.Maybe[list[int]] = strawberry.field(description="1 to 5 sizes of 2 to 100, ascending.")
    items: strawberry.Maybe[list[GroupItemInput]] = strawberry.field(description="All the items anew, 1 to 50.")
    team_hours: strawberry.Maybe[int] = strawberry.field(description="1 to 168.")
    virtual_from: strawberry.Maybe[int | None] = strawberry.field(
        description="2 or more and below the largest size; null: only a full team is complete."
    )
    newcomers_only: strawberry.Maybe[bool] = strawberry.field(
        description="Whether joiners must have no paid order yet."
    )
    member_limit: strawberry.Maybe[int | None] = strawberry.field(description="1 to 99; null takes the limit away.")
    most_pieces: strawberry.Maybe[int] = strawberry.field(description="1 to 99.")

    def to_changes(self) -> CampaignChanges:
        """What the verb takes."""
        same = ("title", "opens_at", "closes_at", "team_hours", "virtual_from", "newcomers_only", "member_limit")
        changes = cast("CampaignChanges", sent(self, *same, "most_pieces"))
        if self.sizes:
            changes["sizes"] = tuple(self.sizes.value)
        if self.items:
            changes["items"] = [item.to_wish() for item in self.items.value]
        return changes


@strawberry.type(description="The campaign was made, as a draft.")
class GroupBuyCreated:
    """The new campaign."""

    group_buy: Campaign = strawberry.field(description="The campaign.")


@strawberry.type(description="The campaign is as asked for.")
class GroupBuyChanged:
    """Success of groupBuyChange, groupBuyPublish and groupBuyClose."""

    group_buy: Campaign = strawberry.field(description="The campaign as it is now.")


GroupBuyCreateResult = Annotated[
    GroupBuyCreated | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("GroupBuyCreateResult", description="The campaign was made, or why not."),
]
GroupBuyChangeResult = Annotated[
    GroupBuyChanged | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("GroupBuyChangeResult", description="The campaign was changed, or why not."),
]


_PRICES = {
    f"items[{at}].prices_fen{step}": f"items[{at}].prices{step}"
    for at in range(rule.MAX_ITEMS)
    for step in ("", *(f"[{size}]" for size in range(rule.MAX_SIZES)))
}


def _writer(info: Info) -> UUID:
    return require_right(info, Right.GROUP_WRITE).subject_id


@strawberry.type
class OperatorQuery:
    """Campaigns and their teams."""

    @strawberry.field(description="Every campaign of group-buying, newest first.", extensions=[Needs(Right.GROUP_READ)])
    async def group_buys(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: Annotated[
            rule.GroupBuyState | None, strawberry.argument(description="Only those in this state.")
        ] = None,
    ) -> Connection[Campaign]:
        found = await group_campaign.campaigns(
            info.context.deps, page=page(group_campaign.MADE, first, after), state=state
        )
        return connection(found, Campaign.from_row)

    @strawberry.field(description="One campaign; null if there is none.", extensions=[Needs(Right.GROUP_READ)])
    async def group_buy(self, info: Info, id: GroupBuyId) -> Campaign | None:
        row = await group_campaign.one(info.context.deps, id)
        return Campaign.from_row(row) if row else None

    @strawberry.field(description="The teams of a campaign, newest first.", extensions=[Needs(Right.GROUP_READ)])
    async def group_teams(
        self,
        info: Info,
        group_buy_id: GroupBuyId,
        first: First = 20,
        after: After = None,
        state: Annotated[rule.TeamState | None, strawberry.argument(description="Only those in this state.")] = None,
    ) -> Connection[TeamView]:
        found = await group_campaign.teams(
            info.context.deps,
            group_buy_id=group_buy_id,
            page=page(group_campaign.TEAMS, first, after),
            state=state,
        )
        return connection(found, TeamView.from_row)


@strawberry.type
class OperatorMutation:
    """What operators do with campaigns."""

    @strawberry.mutation(
        description="Make a campaign of group-buying, as a draft.", extensions=[Needs(Right.GROUP_WRITE)]
    )
    async def group_buy_create(
        self,
        info: Info,
        input: Annotated[GroupBuyCreateInput, strawberry.argument(description="The campaign.")],
        idempotency_key: Key,
    ) -> GroupBuyCreateResult:
        with api_words(_PRICES):
            row = await group_campaign.create(
                info.context.deps,
                operator_id=_writer(info),
                terms=input.to_terms(),
                items=[item.to_wish() for item in input.items],
                idempotency_key=idempotency_key,
            )
        return GroupBuyCreated(group_buy=Campaign.from_row(row))

    @strawberry.mutation(
        description="Change a draft. A published campaign stays as it is, so that a whole team meets the same terms.",
        extensions=[Needs(Right.GROUP_WRITE)],
    )
    async def group_buy_change(
        self,
        info: Info,
        input: Annotated[GroupBuyChangeInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> GroupBuyChangeResult:
        with api_words(_PRICES):
            row = await group_campaign.change(
                info.context.deps,
                operator_id=_writer(info),
                group_buy_id=input.id,
                changes=input.to_changes(),
                idempotency_key=idempotency_key,
            )
        return GroupBuyChanged(group_buy=Campaign.from_row(row))

    @strawberry.mutation(
        description="Publish a draft: in its window members open teams.", extensions=[Needs(Right.GROUP_WRITE)]
    )
    async def group_buy_publish(self, info: Info, id: GroupBuyId, idempotency_key: Key) -> GroupBuyChangeResult:
        with api_words(_PRICES):
            row = await group_campaign.publish(
                info.context.deps, operator_id=_writer(info), group_buy_id=id, idempotency_key=idempotency_key
            )
        return GroupBuyChanged(group_buy=Campaign.from_row(row))

    @strawberry.mutation(
        description="Close a campaign, for good: no more teams are opened, and those that are open play to their end.",
        extensions=[Needs(Right.GROUP_WRITE)],
    )
    async def group_buy_close(self, info: Info, id: GroupBuyId, idempotency_key: Key) -> GroupBuyChangeResult:
        row = await group_campaign.close(
            info.context.deps, operator_id=_writer(info), group_buy_id=id, idempotency_key=idempotency_key
        )
        return GroupBuyChanged(group_buy=Campaign.from_row(row))
