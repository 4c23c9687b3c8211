"""Inviting friends, as members see it: a code, tokens, friends, rewards, and who brought most."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.referrals import referral as rule
from loyalty.referrals.referral_code import MAX_CAMPAIGN_LENGTH, MAX_TOKENS, TOKEN_LENGTH, ReferralCodeUnknown
from loyalty.referrals.referral_programme import BindingSource, Side, Stage
from models.referrals.referral import Referral as ReferralRow
from models.referrals.referral import ReferralReward as ReferralRewardRow
from models.referrals.referral import ReferralToken as ReferralTokenRow
from resolvers.people import member as members
from resolvers.referrals import referral as verbs
from resolvers.referrals import referral_view as views
from schema.context import Info
from schema.enums import describe
from schema.errors import BadInput
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.referrals.referral_programme import ReferralGoal
from schema.refusal import SimpleRefusal
from schema.scalars import Points

FIRST_LEADERBOARD_DAY = date(2000, 1, 1)

describe(
    rule.ReferralState,
    "Where a reward stands.",
    {
        rule.ReferralState.PENDING: "The friend's first order is waited for.",
        rule.ReferralState.QUALIFIED: "The result is there and is being checked.",
        rule.ReferralState.HELD: "Held until the return window is over, or until the shop has looked at it.",
        rule.ReferralState.PAID: "Paid.",
        rule.ReferralState.REJECTED: "Rejected for a reason; it is never paid.",
        rule.ReferralState.CLAWED_BACK: "Paid and taken back, because the order was refunded.",
    },
)
describe(
    rule.RejectReason,
    "Why a friend was not bound, or a reward was rejected.",
    {
        rule.RejectReason.STOPPED: "The shop has stopped referral.",
        rule.RejectReason.SELF: "Nobody invites oneself.",
        rule.RejectReason.SOURCE: "This way of coming does not count.",
        rule.RejectReason.LOOP: "The friend stands above the inviter.",
        rule.RejectReason.ALREADY_BOUND: "The friend was brought by somebody before.",
        rule.RejectReason.NOT_NEW: "The friend was a member before opening the invitation, or has bought already.",
        rule.RejectReason.EXPIRED: "It took too long.",
        rule.RejectReason.LIMIT: "The inviter's limit was reached.",
        rule.RejectReason.SAME_DEVICE: "Both used one device.",
        rule.RejectReason.SAME_PHONE: "Both have one phone number.",
        rule.RejectReason.SAME_ADDRESS: "Both had something sent to one address.",
        rule.RejectReason.SAME_PAYER: "Both paid with one WeChat account.",
        rule.RejectReason.ORDER_REFUNDED: "The order that counted was refunded.",
        rule.RejectReason.SUSPICIOUS: "It looks wrong.",
    },
    name="ReferralRejectReason",
)
describe(
    rule.LeaderboardPeriod,
    "Which span a leaderboard counts.",
    {
        rule.LeaderboardPeriod.WEEK: "A week of the shop, from Monday.",
        rule.LeaderboardPeriod.MONTH: "A month of the shop.",
    },
    name="ReferralPeriod",
)


class ReferralTokenSource(StrEnum):
    """The ways of coming that a token stands for."""

    QR = "qr"
    CARD = "card"


describe(
    ReferralTokenSource,
    "Where a token will stand.",
    {ReferralTokenSource.QR: "In a QR code.", ReferralTokenSource.CARD: "In a card shared in a chat."},
)

LIKENESSES = frozenset(
    {
        rule.RejectReason.SAME_DEVICE,
        rule.RejectReason.SAME_PHONE,
        rule.RejectReason.SAME_ADDRESS,
        rule.RejectReason.SAME_PAYER,
    }
)


def told(reason: str | None) -> rule.RejectReason | None:
    """The reason as members read it: what was alike with another member stays with the shop."""
    if reason is None:
        return None
    found = rule.RejectReason(reason)
    return rule.RejectReason.SUSPICIOUS if found in LIKENESSES else found


def masked(nickname: str) -> str:
    """A nickname of somebody else: its first character alone is shown."""
    return f"{nickname[:1]}**"


@strawberry.type(description="A goal of the programme in force, and how far the member is.")
class ReferralGoalProgress:
    """One goal."""

    goal: ReferralGoal = strawberry.field(description="The goal.")
    friends: int = strawberry.field(description="How many friends count now.")
    is_unlocked: bool = strawberry.field(description="Whether it was unlocked and paid.")

    @classmethod
    def from_progress(cls, one: views.GoalProgress) -> "ReferralGoalProgress":
        return cls(goal=ReferralGoal.from_rule(one.goal), friends=one.friends, is_unlocked=one.is_unlocked)


@strawberry.type(description="How inviting stands for the member.")
class ReferralStatus:
    """What a member sees first."""

    code: str = strawberry.field(description="The member's code, 8 characters; it never changes.")
    is_running: bool = strawberry.field(description="False while the shop has stopped referral.")
    invited_count: int = strawberry.field(description="Friends who joined by the member's invitations.")
    held_count: int = strawberry.field(description="Friends who bought and whose order's return window runs.")
    counted_count: int = strawberry.field(description="Friends whose first order counts; goals go by them.")
    points: Points = strawberry.field(description="Points that referral paid the member, less what was taken back.")
    growth: Points = strawberry.field(description="Growth value that referral paid, less what was taken back.")
    goals: list[ReferralGoalProgress] = strawberry.field(description="The goals, ascending by friends.")

    @classmethod
    def from_summary(cls, summary: views.Summary) -> "ReferralStatus":
        return cls(
            code=summary.code,
            is_running=summary.running,
            invited_count=summary.invited,
            held_count=summary.held,
            counted_count=summary.counted,
            points=Points(summary.points),
            growth=Points(summary.growth),
            goals=[ReferralGoalProgress.from_progress(one) for one in summary.goals],
        )


@strawberry.type(description="A friend whom the member brought.")
class ReferralInvitee:
    """One friend."""

    id: UUID = strawberry.field(description="The referral's id.")
    source: BindingSource = strawberry.field(description="How the friend came.")
    campaign: str = strawberry.field(description="The campaign of the token; empty for none.")
    bound_at: datetime = strawberry.field(description="When the friend joined by the invitation.")
    invitee_id: strawberry.Private[UUID]

    @strawberry.field(description="The first character of the friend's nickname, then `**`.")
    async def nickname(self, info: Info) -> str:
        row = await info.context.loaders.load(members.by_ids, self.invitee_id)
        return masked(row.nickname if row else "")

    @strawberry.field(description="How the friend's first order counts for the member.")
    async def state(self, info: Info) -> rule.ReferralState:
        row = await info.context.loaders.load(views.friend_rewards, self.id)
        assert row is not None, "every referral has the inviter's first-order row"
        return rule.ReferralState(row.state)

    @strawberry.field(description="Why it does not count, once it is rejected or clawed back.")
    async def reason(self, info: Info) -> rule.RejectReason | None:
        row = await info.context.loaders.load(views.friend_rewards, self.id)
        return told(row.reason) if row else None

    @classmethod
    def from_row(cls, row: ReferralRow) -> "ReferralInvitee":
        return cls(
            id=row.id,
            source=BindingSource(row.source),
            campaign=row.campaign,
            bound_at=row.bound_at,
            invitee_id=row.invitee_id,
        )


@strawberry.type(description="A reward of the member, as inviter, as friend, or as who had brought the inviter.")
class ReferralReward:
    """One reward."""

    id: UUID = strawberry.field(description="Opaque id.")
    stage: Stage = strawberry.field(description="For which result.")
    side: Side = strawberry.field(description="As whom.")
    points: Points = strawberry.field(description="Points, 0 or more.")
    growth: Points = strawberry.field(description="Growth value, 0 or more.")
    state: rule.ReferralState = strawberry.field(description="Where it stands.")
    reason: rule.RejectReason | None = strawberry.field(description="Why, if it was rejected or clawed back.")
    held_until: datetime | None = strawberry.field(description="When the return window ends; null before it runs.")
    paid_at: datetime | None = strawberry.field(description="When it was paid.")

    @classmethod
    def from_row(cls, row: ReferralRewardRow) -> "ReferralReward":
        return cls(
            id=row.id,
            stage=Stage(row.stage),
            side=Side(row.side),
            points=Points(row.points),
            growth=Points(row.growth),
            state=rule.ReferralState(row.state),
            reason=told(row.reason),
            held_until=row.held_until,
            paid_at=row.paid_at,
        )


@strawberry.type(description="Who brought most friends in a period.")
class ReferralLeaderboard:
    """The first places."""

    starts_on: date = strawberry.field(description="The first day of the period.")
    places: list["ReferralPlace"] = strawberry.field(description="The first places, up to 50; empty if nobody stands.")


@strawberry.type(description="A place on the leaderboard; no two members share one.")
class ReferralPlace:
    """One place."""

    place: int = strawberry.field(description="Counts from 1.")
    nickname: str = strawberry.field(description="The first character of the nickname, then `**`.")
    friends: int = strawberry.field(description="Friends who counted in the period.")
    is_me: bool = strawberry.field(description="Whether it is the signed-in member.")


@strawberry.type(description="A short text for a QR code's scene or a card's path, resolved on the server.")
class ReferralToken:
    """One token."""

    token: str = strawberry.field(description=f"{TOKEN_LENGTH} letters and digits.")
    source: BindingSource = strawberry.field(description="For which way of coming.")
    campaign: str = strawberry.field(description="The campaign; empty for none.")

    @classmethod
    def from_row(cls, row: ReferralTokenRow) -> "ReferralToken":
        return cls(token=row.token, source=BindingSource(row.source), campaign=row.campaign)


@strawberry.type(description="An invitation that somebody opened.")
class ReferralInvitation:
    """Who invites, and the stamp."""

    inviter_nickname: str = strawberry.field(description="The first character of the nickname, then `**`.")
    referral_token: str = strawberry.field(
        description="Stamped with this moment: keep it and send it with `sessionLogin`, in place of the token or code."
    )


@strawberry.type(description="What became of the invitation that a login brought along.")
class ReferralBinding:
    """Bound, or why not."""

    bound: bool = strawberry.field(description="Whether the member is now bound to who invited.")
    code: str | None = strawberry.field(description="REFERRAL_CODE_UNKNOWN or REFERRAL_REFUSED; null if bound.")
    reason: rule.RejectReason | None = strawberry.field(description="Why, with REFERRAL_REFUSED.")

    @classmethod
    def from_outcome(cls, outcome: verbs.ReferralOutcome) -> "ReferralBinding":
        refusal = outcome.refusal
        reason = refusal.data.get("reason") if refusal else None
        return cls(
            bound=refusal is None,
            code=refusal.code if refusal else None,
            reason=rule.RejectReason(str(reason)) if reason else None,
        )


@strawberry.type(description="The member's token.")
class ReferralTokenCreated:
    """Success of referralTokenCreate."""

    token: ReferralToken = strawberry.field(description="The same for the same source and campaign.")


ReferralTokenCreateResult = Annotated[
    ReferralTokenCreated | SimpleRefusal,
    strawberry.union(
        "ReferralTokenCreateResult",
        description="The token, or REFERRAL_CAMPAIGN_INVALID, REFERRAL_TOKEN_LIMIT.",
    ),
]


@strawberry.type
class ShopQuery:
    """What a member sees of inviting."""

    @strawberry.field(description="The member's code, counts and goals.", extensions=[ForMembers()])
    async def referral(self, info: Info) -> ReferralStatus:
        """In a fixed number of statements."""
        found = await views.summary(info.context.deps, member_id=require_member(info))
        return ReferralStatus.from_summary(found)

    @strawberry.field(description="The friends whom the member brought, newest first.", extensions=[ForMembers()])
    async def referral_invitees(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[ReferralInvitee]:
        """One page."""
        found = await views.invitees(
            info.context.deps, member_id=require_member(info), page=page(views.NEWEST, first, after)
        )
        return connection(found, ReferralInvitee.from_row)

    @strawberry.field(description="The member's rewards, newest first.", extensions=[ForMembers()])
    async def referral_rewards(self, info: Info, first: First = 20, after: After = None) -> Connection[ReferralReward]:
        """One page."""
        found = await views.rewards(
            info.context.deps, member_id=require_member(info), page=page(views.NEWEST_REWARDS, first, after)
        )
        return connection(found, ReferralReward.from_row)

    @strawberry.field(
        description="Who brought most friends in a week or month: most friends first, then who got there earlier.",
        extensions=[ForMembers()],
    )
    async def referral_leaderboard(
        self,
        info: Info,
        period: Annotated[rule.LeaderboardPeriod, strawberry.argument(description="Which span.")],
        day: Annotated[
            date | None,
            strawberry.argument(description="A day of the span, from 2000-01-01 to 9998-12-31. Today, if left out."),
        ] = None,
        first: Annotated[int, strawberry.argument(description=f"How many places, 1 to {views.MOST_PLACES}.")] = 20,
    ) -> ReferralLeaderboard:
        """The first places."""
        if not 1 <= first <= views.MOST_PLACES:
            raise BadInput(
                zh=f"first 须在 1 到 {views.MOST_PLACES} 之间", en=f"first must be between 1 and {views.MOST_PLACES}."
            )
        if day is not None and not FIRST_LEADERBOARD_DAY <= day < date(9999, 1, 1):
            raise BadInput(zh="day 须在 2000-01-01 至 9998-12-31 之间", en="day must be 2000-01-01 to 9998-12-31.")
        me = require_member(info)
        starts_on, found = await views.places(info.context.deps, period=period, day=day, top=first)
        return ReferralLeaderboard(
            starts_on=starts_on,
            places=[
                ReferralPlace(
                    place=one.place,
                    nickname=masked(one.nickname),
                    friends=one.standing.friends,
                    is_me=one.standing.member_id == me,
                )
                for one in found
            ],
        )

    @strawberry.field(
        description="Open an invitation by its token or code; null if it is nobody's. "
        "Answers RATE_LIMITED to too many from one address.",
        extensions=[ForEveryone()],
    )
    async def referral_invitation(
        self,
        info: Info,
        token: Annotated[
            str, strawberry.argument(description="The token of a QR code or card, or a code as it was typed.")
        ],
    ) -> ReferralInvitation | None:
        """Before the friend logs in."""
        try:
            opened = await verbs.open_invitation(info.context.deps, text=token, client_ip=info.context.client_ip)
        except ReferralCodeUnknown:
            return None
        return ReferralInvitation(inviter_nickname=masked(opened.inviter.nickname), referral_token=opened.click)


@strawberry.type
class ShopMutation:
    """What a member does to invite. Sharing itself is never rewarded."""

    @strawberry.mutation(
        description=f"Get a token to put into a QR code or card. At most {MAX_TOKENS} for a member. Asking again gives "
        "the same token, so it needs no idempotency key.",
        extensions=[ForMembers()],
    )
    async def referral_token_create(
        self,
        info: Info,
        stands_in: Annotated[
            ReferralTokenSource, strawberry.argument(name="source", description="Where it will stand.")
        ],
        campaign: Annotated[
            str,
            strawberry.argument(
                description=f"Up to {MAX_CAMPAIGN_LENGTH} small letters, digits and underscores; empty for none."
            ),
        ] = "",
    ) -> ReferralTokenCreateResult:
        """The same token for the same wish."""
        row = await verbs.create_token(
            info.context.deps,
            member_id=require_member(info),
            source=BindingSource(stands_in.value),
            campaign=campaign,
        )
        return ReferralTokenCreated(token=ReferralToken.from_row(row))
