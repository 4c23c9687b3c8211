"""The points rules 积分规则 in the API: what members read, and how operators publish new ones."""

from datetime import date
from typing import Annotated

import strawberry

from loyalty.people.rights import Right
from loyalty.points import points as rule
from loyalty.points.points_window import Boost, BoostKind
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from resolvers import programme
from resolvers.programme import ProgrammeKind
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection
from schema.payments.claw_back import ClawBackMode
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
    rule.ExpiryPolicy,
    "When earned points end; `expiryAfter` counts days, months, quarters or years.",
    {
        rule.ExpiryPolicy.NEVER: "Never.",
        rule.ExpiryPolicy.ROLLING_DAYS: "So many days after the day they were earned, 1 to 3,660.",
        rule.ExpiryPolicy.MONTH_END: "At the end of the month so many months ahead, 0 to 120.",
        rule.ExpiryPolicy.QUARTER_END: "At the end of the quarter so many quarters ahead, 0 to 40.",
        rule.ExpiryPolicy.YEAR_END: "At the end of the year so many years ahead, 0 to 10.",
    },
)
describe(
    BoostKind,
    "When orders earn more points, in shop days.",
    {
        BoostKind.WEEKDAY: "On fixed days of the week 会员日.",
        BoostKind.BIRTHDAY: "On the member's birthday.",
        BoostKind.BIRTHDAY_MONTH: "In the month of the member's birthday.",
        BoostKind.CAMPAIGN: "From a day until before another day.",
    },
)


@strawberry.type(description="Days on which orders earn more points 加倍.")
class PointsBoost:
    """A factor. Boosts never multiply each other, the highest counts."""

    code: str = strawberry.field(description="Its stable name.")
    kind: BoostKind = strawberry.field(description="When it applies.")
    factor_bp: int = strawberry.field(description="The factor in 1/10,000: 20,000 is twice.")
    weekdays: list[int] = strawberry.field(description="1 (Monday) to 7, for the kind `WEEKDAY`.")
    from_day: date | None = strawberry.field(description="The first day of a campaign.")
    until_day: date | None = strawberry.field(description="The first day after a campaign.")
    tier_codes: list[str] = strawberry.field(description="Only for members of these tiers; empty: for all.")

    @classmethod
    def from_rule(cls, boost: Boost) -> "PointsBoost":
        """A boost as the rule knows it."""
        return cls(
            code=boost.code,
            kind=boost.kind,
            factor_bp=boost.factor_bp,
            weekdays=list(boost.weekdays),
            from_day=boost.from_day,
            until_day=boost.until_day,
            tier_codes=list(boost.tier_codes),
        )


@strawberry.type(description="Fixed points for a deed 行为奖励.")
class PointsAction:
    """An action with its limits."""

    code: str = strawberry.field(description="Its stable name.")
    points: Points = strawberry.field(description="The points for doing it once.")
    times_per_day: int | None = strawberry.field(description="How often a shop day; null: no limit.")
    times_per_member: int | None = strawberry.field(description="How often in a member's life; null: no limit.")


@strawberry.type(description="How points are earned, used and kept.")
class PointsProgramme:
    """The points rules."""

    earn_points: int = strawberry.field(
        description="So many points for every `earnPerFen` fen paid in money, rounded down once over the order."
    )
    earn_per_fen: Fen = strawberry.field(description="In fen.")
    redeem_step_points: Points = strawberry.field(description="Points are used in steps of so many.")
    redeem_step_fen: Fen = strawberry.field(description="What a step is worth, in fen.")
    redeem_min_points: Points = strawberry.field(description="The least points used on an order.")
    redeem_cap_bp: int = strawberry.field(
        description="The part of an order that points may pay, in 1/10,000: 5,000 is half."
    )
    pending_days: int = strawberry.field(description="Days until earned points can be used.")
    return_grace_days: int = strawberry.field(
        description="Points that come back can be used for so many days at least."
    )
    expiry: rule.ExpiryPolicy = strawberry.field(description="When earned points end.")
    expiry_after: int = strawberry.field(description="Days, months, quarters or years, as `expiry` says.")
    clawback_mode: ClawBackMode = strawberry.field(
        description="What a refund does when the points of the order are spent already."
    )
    cap_per_day: Points | None = strawberry.field(description="The most points earned on a shop day; null: no limit.")
    cap_per_member: Points | None = strawberry.field(
        description="The most points earned in a member's life; null: no limit."
    )
    boosts: list[PointsBoost] = strawberry.field(description="Days on which orders earn more.")
    actions: list[PointsAction] = strawberry.field(description="Deeds that earn fixed points.")

    @classmethod
    def from_rule(cls, rules: rule.PointsProgramme) -> "PointsProgramme":
        """A programme as the rule knows it."""
        return cls(
            earn_points=rules.earn_points,
            earn_per_fen=Fen(rules.earn_per_fen),
            redeem_step_points=Points(rules.redeem_step_points),
            redeem_step_fen=Fen(rules.redeem_step_fen),
            redeem_min_points=Points(rules.redeem_min_points),
            redeem_cap_bp=rules.redeem_cap_bp,
            pending_days=rules.pending_days,
            return_grace_days=rules.return_grace_days,
            expiry=rules.expiry,
            expiry_after=rules.expiry_after,
            clawback_mode=rules.clawback_mode,
            cap_per_day=None if rules.cap_per_day is None else Points(rules.cap_per_day),
            cap_per_member=None if rules.cap_per_member is None else Points(rules.cap_per_member),
            boosts=[PointsBoost.from_rule(boost) for boost in rules.boosts],
            actions=[
                PointsAction(
                    code=action.code,
                    points=Points(action.points),
                    times_per_day=action.times_per_day,
                    times_per_member=action.times_per_member,
                )
                for action in rules.actions
            ],
        )


@strawberry.type(description="One published version of the points rules.")
class PointsProgrammeVersion(ProgrammeVersion):
    """Rules with their number and dates."""

    programme: PointsProgramme = strawberry.field(description="The rules.")

    @classmethod
    def from_row(cls, row: ProgrammeVersionRow) -> "PointsProgrammeVersion":
        """A version as it is kept."""
        return cls(**columns(row), programme=PointsProgramme.from_rule(programme.rules_of(row)))


# Publishing


@strawberry.input(description="Days on which orders earn more points 加倍.")
class PointsBoostInput:
    """Two boosts of one kind that could meet for a member on a day are refused."""

    code: str = strawberry.field(
        description="1 to 40 lower-case letters, digits and underscores, a letter first; each once."
    )
    kind: BoostKind = strawberry.field(description="When it applies.")
    factor_bp: int = strawberry.field(description="10,001 to 100,000; 20,000 is twice.")
    weekdays: list[int] | None = strawberry.field(
        default=None, description="1 (Monday) to 7, each once, for the kind `WEEKDAY` only."
    )
    from_day: date | None = strawberry.field(default=None, description="The first day, for `CAMPAIGN` only.")
    until_day: date | None = strawberry.field(default=None, description="The first day after, for `CAMPAIGN` only.")
    tier_codes: list[str] | None = strawberry.field(
        default=None, description="Only for members of these tiers; for all unless given."
    )


@strawberry.input(description="Fixed points for a deed 行为奖励.")
class PointsActionInput:
    """An action with its limits."""

    code: str = strawberry.field(
        description="1 to 40 lower-case letters, digits and underscores, a letter first; each once."
    )
    points: Points = strawberry.field(description="1 to 1,000,000.")
    times_per_day: int | None = strawberry.field(default=None, description="1 to 1,000; no limit unless given.")
    times_per_member: int | None = strawberry.field(default=None, description="1 to 1,000,000; no limit unless given.")


@strawberry.input(description="Points rules to publish; what is left out takes its default, not the value before.")
class PointsProgrammeInput:
    """All the rules."""

    earn_points: int | None = strawberry.field(
        default=None, description="Points for every `earnPerFen` fen paid, 0 to 10,000; 1 unless given."
    )
    earn_per_fen: Fen | None = strawberry.field(default=None, description="1 to 1,000,000 fen; 100 unless given.")
    redeem_step_points: Points | None = strawberry.field(default=None, description="1 to 1,000,000; 100 unless given.")
    redeem_step_fen: Fen | None = strawberry.field(default=None, description="1 to 1,000,000 fen; 100 unless given.")
    redeem_min_points: Points | None = strawberry.field(
        default=None, description="A multiple of `redeemStepPoints`; one step unless given."
    )
    redeem_cap_bp: int | None = strawberry.field(
        default=None, description="The part of an order that points may pay, 0 to 10,000; 5,000 unless given."
    )
    pending_days: int | None = strawberry.field(default=None, description="0 to 90 days; 0 unless given.")
    return_grace_days: int | None = strawberry.field(default=None, description="0 to 90 days; 7 unless given.")
    expiry: rule.ExpiryPolicy | None = strawberry.field(
        default=None, description="When points end; `YEAR_END` unless given."
    )
    expiry_after: int | None = strawberry.field(
        default=None, description="By `expiry`; 1 for `YEAR_END` and 0 for `NEVER` unless given, else required."
    )
    clawback_mode: ClawBackMode | None = strawberry.field(
        default=None, description="What a refund does when points are spent; `DEBT` unless given."
    )
    cap_per_day: Points | None = strawberry.field(
        default=None, description="1 to 1,000,000,000,000; no limit unless given."
    )
    cap_per_member: Points | None = strawberry.field(
        default=None, description="1 to 1,000,000,000,000; no limit unless given."
    )
    boosts: list[PointsBoostInput] | None = strawberry.field(default=None, description="At most 50; none unless given.")
    actions: list[PointsActionInput] | None = strawberry.field(
        default=None, description="At most 50; none unless given."
    )


@strawberry.type(description="The points rules were published.")
class PointsProgrammePublished:
    """What there is now."""

    version: PointsProgrammeVersion = strawberry.field(description="The new version.")


PointsProgrammePublishResult = Annotated[
    PointsProgrammePublished | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("PointsProgrammePublishResult", description="The new version, or why there is none."),
]


@strawberry.type
class ShopQuery:
    """The rules for everybody."""

    @strawberry.field(description="How points are earned and used now.", extensions=[ForEveryone()])
    async def points_programme(self, info: Info) -> PointsProgramme:
        """The rules in force."""
        row = await in_force(info, ProgrammeKind.POINTS)
        return PointsProgramme.from_rule(programme.rules_of(row))


@strawberry.type
class OperatorQuery:
    """Every version."""

    @strawberry.field(description="The points rules in force.", extensions=[Needs(Right.POINTS_READ)])
    async def points_programme(self, info: Info) -> PointsProgrammeVersion:
        """The version in force."""
        return PointsProgrammeVersion.from_row(await in_force(info, ProgrammeKind.POINTS))

    @strawberry.field(
        description="All versions of the points rules, the newest first, those to come included.",
        extensions=[Needs(Right.POINTS_READ)],
    )
    async def points_programme_versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[PointsProgrammeVersion]:
        """One page."""
        found = await history_page(info, ProgrammeKind.POINTS, first, after)
        return connection(found, PointsProgrammeVersion.from_row)


@strawberry.type
class OperatorMutation:
    """Publishing."""

    @strawberry.mutation(
        description=(
            "Publish points rules. Orders keep the rules they were placed under; what is earned, used and returned "
            "from then on goes by the new ones."
        ),
        extensions=[Needs(Right.POINTS_PUBLISH)],
    )
    async def points_programme_publish(
        self,
        info: Info,
        programme: Annotated[PointsProgrammeInput, strawberry.argument(description="All the new rules.")],
        idempotency_key: PublicationKey,
        effective_at: EffectiveAt = None,
        note: Note = "",
    ) -> PointsProgrammePublishResult:
        """The next version."""
        row = await publish_version(
            info,
            Right.POINTS_PUBLISH,
            ProgrammeKind.POINTS,
            definition_of(programme),
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
        )
        return PointsProgrammePublished(version=PointsProgrammeVersion.from_row(row))
