"""The referral rules in both schemas, and how operators publish them."""

from typing import Annotated

import strawberry

from loyalty.people.rights import Right
from loyalty.referrals import referral_programme as rule
from loyalty.referrals.referral_risk import DEFAULT_WEIGHTS, RiskSignal
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from resolvers import programme
from resolvers.programme import ProgrammeKind
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection
from schema.permissions import ForEveryone, Needs
from schema.programme import (
    EffectiveAt,
    Note,
    ProgrammeInvalidRefusal,
    ProgrammeVersion,
    PublicationKey,
    columns,
    definition_of,
    history_page,
    in_force,
    publish_version,
)
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points

describe(
    rule.BindingSource,
    "How a friend came.",
    {
        rule.BindingSource.QR: "By a QR code.",
        rule.BindingSource.CARD: "By a card shared in a chat.",
        rule.BindingSource.CODE: "By typing a member's code.",
    },
    name="ReferralSource",
)
describe(
    rule.Stage,
    "A result that is rewarded. Sharing is none.",
    {
        rule.Stage.REGISTRATION: "The friend joined.",
        rule.Stage.FIRST_ORDER: "The friend's first order that is large enough, after its return window.",
    },
    name="ReferralStage",
)
describe(
    rule.Side,
    "Who is rewarded.",
    {
        rule.Side.INVITER: "Who brought the friend.",
        rule.Side.INVITEE: "The friend.",
        rule.Side.UPLINE: "Who had brought the inviter; only for first orders and with depth 2.",
    },
    name="ReferralSide",
)
describe(
    RiskSignal,
    "What makes a referral suspicious.",
    {
        RiskSignal.SAME_PAYER: "Both paid with one WeChat account.",
        RiskSignal.SAME_DEVICE: "Both used one device.",
        RiskSignal.SAME_PHONE: "Both have one phone number.",
        RiskSignal.SAME_ADDRESS: "Both had something sent to one address.",
        RiskSignal.SAME_NETWORK: "Both came from one network.",
        RiskSignal.BURST: "The inviter bound 10 or more friends in an hour.",
        RiskSignal.HURRIED_ORDER: "The order came within less than 60 seconds of the login.",
        RiskSignal.REFUND_HABIT: "Half or more of at least 5 rewarded friends refunded.",
    },
    name="ReferralRiskSignal",
)


@strawberry.type(description="What one side gets for one result.")
class ReferralStageReward:
    """One reward of the rules."""

    stage: rule.Stage = strawberry.field(description="For which result.")
    side: rule.Side = strawberry.field(description="Who gets it.")
    points: Points = strawberry.field(description="Points, 0 or more.")
    growth: Points = strawberry.field(description="Growth value, 0 or more.")


@strawberry.type(description="So many friends whose first order counted unlock this.")
class ReferralGoal:
    """One goal of the rules."""

    code: str = strawberry.field(description="Its stable name.")
    friends: int = strawberry.field(description="How many friends it takes.")
    points: Points = strawberry.field(description="Points, 0 or more.")
    growth: Points = strawberry.field(description="Growth value, 0 or more.")

    @classmethod
    def from_rule(cls, goal: rule.Goal) -> "ReferralGoal":
        return cls(code=goal.code, friends=goal.friends, points=Points(goal.points), growth=Points(goal.growth))


@strawberry.type(description="How bringing friends is rewarded.")
class ReferralProgramme:
    """What members may know of the rules."""

    sources: list[rule.BindingSource] = strawberry.field(description="Which ways of coming count.")
    attribution_days: int = strawberry.field(description="Days from opening an invitation to the login, 1 to 90.")
    qualify_days: int = strawberry.field(description="Days from joining to the first order, 1 to 365.")
    min_order: Fen = strawberry.field(description="What the order must cost in money at least, in fen.")
    return_days: int = strawberry.field(description="Days for which a first order's rewards are held, 0 to 90.")
    daily_limit: int | None = strawberry.field(description="Rewards an inviter is paid on a day; null for no limit.")
    total_limit: int | None = strawberry.field(description="Rewards an inviter is paid in all; null for no limit.")
    rewards: list[ReferralStageReward] = strawberry.field(description="What is paid for results, up to 6 entries.")
    goals: list[ReferralGoal] = strawberry.field(description="What numbers of friends unlock, up to 20, ascending.")

    @classmethod
    def from_rule(cls, rules: rule.ReferralProgramme) -> "ReferralProgramme":
        return cls(
            sources=list(rules.sources),
            attribution_days=rules.attribution_days,
            qualify_days=rules.qualify_days,
            min_order=Fen(rules.min_order_fen),
            return_days=rules.return_days,
            daily_limit=rules.daily_limit,
            total_limit=rules.total_limit,
            rewards=[
                ReferralStageReward(
                    stage=one.stage, side=one.side, points=Points(one.points), growth=Points(one.growth)
                )
                for one in rules.rewards
            ],
            goals=[ReferralGoal.from_rule(goal) for goal in rules.goals],
        )


@strawberry.type(description="What one signal adds to the risk score.")
class ReferralWeight:
    """One weight."""

    signal: RiskSignal = strawberry.field(description="The signal.")
    weight: int = strawberry.field(description="0 (switched off) to 100.")


@strawberry.type(description="What decides whom the shop looks at. Only operators see it.")
class ReferralRiskRules:
    """The rest of the rules."""

    depth: int = strawberry.field(description="How many levels up are rewarded, 1 or 2.")
    review_score: int = strawberry.field(description="From this score on a person decides, 1 to 100.")
    reject_score: int | None = strawberry.field(description="From this score on a reward is rejected; null for never.")
    weights: list[ReferralWeight] = strawberry.field(description="What each signal adds, the defaults included.")


@strawberry.type(description="One published version of the referral rules.")
class ReferralProgrammeVersion(ProgrammeVersion):
    """A version with its rules."""

    programme: ReferralProgramme = strawberry.field(description="The rules as members see them.")
    risk: ReferralRiskRules = strawberry.field(description="What is for the shop alone.")

    @classmethod
    def from_row(cls, row: ProgrammeVersionRow) -> "ReferralProgrammeVersion":
        rules: rule.ReferralProgramme = programme.rules_of(row)
        return cls(
            **columns(row),
            programme=ReferralProgramme.from_rule(rules),
            risk=ReferralRiskRules(
                depth=rules.depth,
                review_score=rules.review_score,
                reject_score=rules.reject_score,
                weights=[
                    ReferralWeight(signal=signal, weight=rules.weights.get(signal, weight))
                    for signal, weight in DEFAULT_WEIGHTS.items()
                ],
            ),
        )


@strawberry.input(description="What one side gets for one result; points or growth value is above 0.")
class ReferralStageRewardInput:
    """One reward."""

    stage: rule.Stage = strawberry.field(description="For which result.")
    side: rule.Side = strawberry.field(description="Who gets it; once for each result.")
    points: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")
    growth: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")


@strawberry.input(description="So many friends unlock this; points or growth value is above 0.")
class ReferralGoalInput:
    """One goal."""

    code: str = strawberry.field(description="A stable name of small letters, digits and underscores, 1 to 40.")
    friends: int = strawberry.field(description="1 to 10,000, more than the goal before.")
    points: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")
    growth: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")


_WEIGHT = "0 to 100, 0 switches it off; {} unless given."


@strawberry.input(description="Other weights than the defaults for some signals.")
class ReferralWeightsInput:
    """The weights."""

    same_payer: int | None = strawberry.field(default=None, description=_WEIGHT.format(80))
    same_device: int | None = strawberry.field(default=None, description=_WEIGHT.format(60))
    same_phone: int | None = strawberry.field(default=None, description=_WEIGHT.format(60))
    same_address: int | None = strawberry.field(default=None, description=_WEIGHT.format(30))
    same_network: int | None = strawberry.field(default=None, description=_WEIGHT.format(10))
    burst: int | None = strawberry.field(default=None, description=_WEIGHT.format(30))
    hurried_order: int | None = strawberry.field(default=None, description=_WEIGHT.format(15))
    refund_habit: int | None = strawberry.field(default=None, description=_WEIGHT.format(30))


@strawberry.input(description="Referral rules to publish; what is left out takes its default, not the value before.")
class ReferralProgrammeInput:
    """All the rules."""

    sources: list[rule.BindingSource] | None = strawberry.field(
        default=None, description="Which ways of coming count, at least one; all unless given."
    )
    depth: int | None = strawberry.field(default=None, description="1 or 2 levels; 1 unless given.")
    attribution_days: int | None = strawberry.field(default=None, description="1 to 90 days; 7 unless given.")
    qualify_days: int | None = strawberry.field(default=None, description="1 to 365 days; 30 unless given.")
    min_order_fen: Fen | None = strawberry.field(default=None, description="1 to 1,000,000,000 fen; 1 unless given.")
    return_days: int | None = strawberry.field(default=None, description="0 to 90 days; 7 unless given.")
    daily_limit: int | None = strawberry.field(default=None, description="1 to 10,000; no limit unless given.")
    total_limit: int | None = strawberry.field(default=None, description="1 to 1,000,000; no limit unless given.")
    review_score: int | None = strawberry.field(default=None, description="1 to 100; 50 unless given.")
    reject_score: int | None = strawberry.field(
        default=None, description="`reviewScore` to 100; nothing is rejected by itself unless given."
    )
    rewards: list[ReferralStageRewardInput] | None = strawberry.field(
        default=None, description="At most 6; none unless given."
    )
    goals: list[ReferralGoalInput] | None = strawberry.field(
        default=None, description="At most 20, ascending by friends; none unless given."
    )
    weights: ReferralWeightsInput | None = strawberry.field(default=None, description="The defaults unless given.")


@strawberry.type(description="The referral rules were published.")
class ReferralProgrammePublished:
    """What there is now."""

    version: ReferralProgrammeVersion = strawberry.field(description="The new version.")


ReferralProgrammePublishResult = Annotated[
    ReferralProgrammePublished | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("ReferralProgrammePublishResult", description="The new version, or why there is none."),
]


@strawberry.type
class ShopQuery:
    """The rules for everybody."""

    @strawberry.field(description="How bringing friends is rewarded now.", extensions=[ForEveryone()])
    async def referral_programme(self, info: Info) -> ReferralProgramme:
        """The rules in force."""
        return ReferralProgramme.from_rule(programme.rules_of(await in_force(info, ProgrammeKind.REFERRAL)))


@strawberry.type
class OperatorQuery:
    """Every version."""

    @strawberry.field(description="The referral rules in force.", extensions=[Needs(Right.REFERRAL_READ)])
    async def referral_programme(self, info: Info) -> ReferralProgrammeVersion:
        """The version in force."""
        return ReferralProgrammeVersion.from_row(await in_force(info, ProgrammeKind.REFERRAL))

    @strawberry.field(
        description="All versions of the referral rules, the newest first, those to come included.",
        extensions=[Needs(Right.REFERRAL_READ)],
    )
    async def referral_programme_versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[ReferralProgrammeVersion]:
        """One page."""
        found = await history_page(info, ProgrammeKind.REFERRAL, first, after)
        return connection(found, ReferralProgrammeVersion.from_row)


@strawberry.type
class OperatorMutation:
    """Publishing."""

    @strawberry.mutation(
        description="Publish referral rules. A friend who is bound already keeps the rules of that day.",
        extensions=[Needs(Right.REFERRAL_PUBLISH)],
    )
    async def referral_programme_publish(
        self,
        info: Info,
        programme: Annotated[ReferralProgrammeInput, strawberry.argument(description="All the new rules.")],
        idempotency_key: PublicationKey,
        effective_at: EffectiveAt = None,
        note: Note = "",
    ) -> ReferralProgrammePublishResult:
        """The next version."""
        row = await publish_version(
            info,
            Right.REFERRAL_PUBLISH,
            ProgrammeKind.REFERRAL,
            definition_of(programme),
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
        )
        return ReferralProgrammePublished(version=ReferralProgrammeVersion.from_row(row))
