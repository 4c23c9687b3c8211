"""What members do in a group-buy 拼团: look for campaigns and teams, open a team, join one, leave it."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.group_buys import group_buy as rule
from resolvers.group_buys import group_buy as verbs
from resolvers.orders.order_delivery import DeliveryWish
from schema.arguments import Key
from schema.context import Info
from schema.group_buys.group_team import GroupBuy, GroupSeat, GroupTeam, seat_of_order
from schema.orders.order import Order
from schema.orders.order_refusal import AmountChangedRefusal, OutOfStockRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen


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
        seat = await seat_of_order(info, self.order_id)
        assert seat is not None, "an order in a group-buy has a seat"
        return seat


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
