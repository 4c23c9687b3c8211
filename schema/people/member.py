"""Members 会员: who one is, what the first screen shows, the profile; and members as operators see them."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.member import MAX_AVATAR_LENGTH, MAX_NICKNAME_LENGTH, MarketingTopic, birthday_free_from
from loyalty.people.rights import Right
from models.people.member import Member as MemberRow
from resolvers.people import member as verbs
from resolvers.points import balance
from resolvers.tiers import tier
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForMembers, Needs, require_member
from schema.points.check_in import CheckInStatus
from schema.points.points import PointsAccount
from schema.refusal import SimpleRefusal
from schema.scalars import IdempotencyKey
from schema.tiers.tier import TierStanding

describe(
    MarketingTopic,
    "What a member may ask to hear of.",
    {
        MarketingTopic.NEW_ARRIVALS: "New products.",
        MarketingTopic.OFFERS: "Offers and sales.",
        MarketingTopic.MEMBERSHIP: "Points and tiers.",
        MarketingTopic.EVENTS: "Events.",
    },
)


@strawberry.type(description="What a member wants.")
class MemberPreferences:
    """Whether recommendations are personal, and the topics to hear of."""

    personalised: bool = strawberry.field(description="Whether recommendations may be personal; yes until changed.")
    marketing_topics: list[MarketingTopic] = strawberry.field(
        description="The topics the member chose; none until then."
    )


@strawberry.type(description="A member 会员.")
class Member:
    """One person."""

    id: UUID = strawberry.field(description="The member's id.")
    nickname: str = strawberry.field(description="What the member is called; empty until it is set.")
    avatar_url: str = strawberry.field(description="An https address; empty if there is none.")
    joined_at: datetime = strawberry.field(description="When the member first signed in.")
    birthday: date | None = strawberry.field(description="With its year; null until it is set.")
    birthday_changeable_from: date | None = strawberry.field(
        description="The first shop day on which another birthday can be set; null: none was ever set."
    )
    preferences: MemberPreferences = strawberry.field(description="What the member wants.")

    @strawberry.field(description="Where the member stands.")
    async def tier(self, info: Info) -> TierStanding:
        """Two statements for all members of a page."""
        found = await info.context.loaders.load(tier.standings, self.id)
        assert found is not None, "a member has a tier from the day of joining"
        return TierStanding.from_standing(found)

    @strawberry.field(description="The member's points.")
    async def points_account(self, info: Info) -> PointsAccount:
        """Two statements for all members of a page."""
        found = await info.context.loaders.load(balance.balances, self.id)
        assert found is not None, "a member has an account from the day of joining"
        return PointsAccount.from_balance(found)

    @classmethod
    def from_row(cls, row: MemberRow) -> "Member":
        """A member as it is kept."""
        return cls(
            id=row.id,
            nickname=row.nickname,
            avatar_url=row.avatar_url,
            joined_at=row.created_at,
            birthday=row.birthday,
            birthday_changeable_from=birthday_free_from(row.birthday_changed_on),
            preferences=MemberPreferences(
                personalised=row.personalised,
                marketing_topics=[MarketingTopic(topic) for topic in row.marketing_topics],
            ),
        )


@strawberry.type(description="What a member sees first, found in four statements however much the member has done.")
class MemberHome:
    """The first screen."""

    member: Member = strawberry.field(description="The member.")
    tier: TierStanding = strawberry.field(description="Where the member stands, and how far the next tier is.")
    points: PointsAccount = strawberry.field(description="The member's points, and which of them end first.")
    check_in: CheckInStatus = strawberry.field(description="How the member's check-in stands today.")
    unpaid_order_count: int = strawberry.field(description="Orders that wait for their payment.")
    refunding_order_count: int = strawberry.field(description="Orders that are being refunded.")

    @classmethod
    def from_home(cls, found: verbs.Home) -> "MemberHome":
        """All of it as the resolver found it."""
        return cls(
            member=Member.from_row(found.member),
            tier=TierStanding.from_standing(found.standing),
            points=PointsAccount.from_balance(found.balance),
            check_in=CheckInStatus.from_today(found.check_in),
            unpaid_order_count=found.unpaid_orders,
            refunding_order_count=found.refunding_orders,
        )


@strawberry.input(description="What to change of a profile. What is left out stays as it is.")
class MemberUpdateInput:
    """A part of the profile."""

    nickname: strawberry.Maybe[str] = strawberry.field(
        description=f"1 to {MAX_NICKNAME_LENGTH} characters without control characters; blanks around it are dropped."
    )
    avatar_url: strawberry.Maybe[str] = strawberry.field(
        description=f"An https address of at most {MAX_AVATAR_LENGTH} ASCII characters; empty takes the avatar away."
    )
    idempotency_key: IdempotencyKey = strawberry.field(description="Of this change.")


@strawberry.type(description="The profile was changed.")
class MemberUpdated:
    """The member as it is now."""

    member: Member = strawberry.field(description="The member.")


MemberUpdateResult = Annotated[
    MemberUpdated | SimpleRefusal,
    strawberry.union("MemberUpdateResult", description="The member, or why nothing was changed."),
]


@strawberry.type
class ShopQuery:
    """The signed-in member."""

    @strawberry.field(description="The signed-in member.", extensions=[ForMembers()])
    async def me(self, info: Info) -> Member:
        """Whoever the token speaks for."""
        found = await info.context.loaders.load(verbs.by_ids, require_member(info))
        assert found is not None, "a token speaks for a member"
        return Member.from_row(found)

    @strawberry.field(description="All that the first screen shows.", extensions=[ForMembers()])
    async def member_home(self, info: Info) -> MemberHome:
        """One resolver for the whole screen."""
        return MemberHome.from_home(await verbs.home(info.context.deps, member_id=require_member(info)))


@strawberry.type
class ShopMutation:
    """The member's own profile."""

    @strawberry.mutation(description="Change the member's nickname or avatar.", extensions=[ForMembers()])
    async def member_update(
        self, info: Info, input: Annotated[MemberUpdateInput, strawberry.argument(description="What to change.")]
    ) -> MemberUpdateResult:
        """A part of the profile."""
        row = await verbs.update(
            info.context.deps,
            member_id=require_member(info),
            nickname=input.nickname.value if input.nickname else None,
            avatar_url=input.avatar_url.value if input.avatar_url else None,
            idempotency_key=input.idempotency_key,
        )
        return MemberUpdated(member=Member.from_row(row))


@strawberry.type
class OperatorQuery:
    """Members as the shop sees them."""

    @strawberry.field(description="A member; null if there is none of that id.", extensions=[Needs(Right.MEMBER_READ)])
    async def member(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The member's id.")]
    ) -> Member | None:
        """One member."""
        found = await info.context.loaders.load(verbs.by_ids, id)
        return Member.from_row(found) if found else None

    @strawberry.field(description="All members, the newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def members(self, info: Info, first: First = 20, after: After = None) -> Connection[Member]:
        """One page."""
        found = await verbs.browse(info.context.deps, page=page(verbs.NEWEST, first, after))
        return connection(found, Member.from_row)
