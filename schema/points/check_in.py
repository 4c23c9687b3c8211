"""Check-in 签到: the rules members read, checking in, the calendar, and how operators publish new rules."""

from datetime import date, datetime, timedelta
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.points import check_in as rule
from loyalty.shop_time import business_day, month_start
from models.points.check_in import CheckIn as CheckInRow
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from resolvers import programme
from resolvers.points import check_in as verbs
from resolvers.points.check_in_calendar import calendar
from resolvers.programme import ProgrammeKind, check_in_programme
from schema.context import Info
from schema.enums import describe
from schema.errors import BadInput
from schema.paging import After, Connection, First, connection
from schema.permissions import ForEveryone, ForMembers, Needs, require_member
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
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import IdempotencyKey, Points

FIRST_MONTH = date(2000, 1, 1)
MONTHS_AHEAD = timedelta(days=366)

describe(
    rule.RewardKind,
    "What a check-in is rewarded for.",
    {
        rule.RewardKind.BASE: "Every check-in.",
        rule.RewardKind.CYCLE: "A day of the cycle.",
        rule.RewardKind.STREAK: "A streak of exactly this length.",
        rule.RewardKind.CUMULATIVE: "Exactly so many check-ins of all.",
    },
)
describe(
    rule.DayMark,
    "What a day of the calendar is to a member.",
    {
        rule.DayMark.CHECKED: "Checked in.",
        rule.DayMark.MADE_UP: "Missed and made up 补签.",
        rule.DayMark.PROTECTED: "Missed, and covered by streak protection.",
        rule.DayMark.MISSED: "Missed.",
        rule.DayMark.TODAY: "Today, not checked in yet.",
        rule.DayMark.AHEAD: "Still to come.",
        rule.DayMark.BEFORE_JOINING: "Before the member joined.",
    },
)

# The rules


@strawberry.type(description="What a check-in pays, and for what.")
class CheckInReward:
    """Points, growth value, or both."""

    kind: rule.RewardKind = strawberry.field(description="What it is for.")
    days: int = strawberry.field(description="The cycle day, streak length or total that it is for; 0 for `BASE`.")
    points: Points = strawberry.field(description="Points.")
    growth: Points = strawberry.field(description="Growth value.")

    @classmethod
    def from_rule(cls, reward: rule.CheckInReward) -> "CheckInReward":
        """A reward as the rule knows it."""
        return cls(kind=reward.kind, days=reward.days, points=Points(reward.points), growth=Points(reward.growth))


@strawberry.type(description="Missed days that do not break a streak 断签保护.")
class StreakProtection:
    """Its limits."""

    gap_days: int = strawberry.field(description="It covers so many missed days in a row at most, or none of them.")
    monthly_limit: int = strawberry.field(description="It covers so many missed days of a month at most.")


@strawberry.type(description="Missed days that can be made up 补签.")
class CheckInMakeUpTerms:
    """Its limits and price."""

    window_days: int = strawberry.field(description="So many days before today can be made up.")
    monthly_limit: int = strawberry.field(description="So many make-ups a month, counted when they are done.")
    price_points: Points = strawberry.field(description="The price of each, in points; 0: free.")
    pays_day: bool = strawberry.field(description="Whether it pays what the day would have paid.")


@strawberry.type(description="How checking in is rewarded. All rewards of a check-in add up.")
class CheckInProgramme:
    """The check-in rules."""

    base_points: Points = strawberry.field(description="Points of every check-in.")
    base_growth: Points = strawberry.field(description="Growth value of every check-in.")
    cycle_days: int = strawberry.field(description="The length of a cycle in days, 1 to 366.")
    cycle_rewards: list[CheckInReward] = strawberry.field(description="Rewards of days of the cycle, ascending.")
    streak_rewards: list[CheckInReward] = strawberry.field(description="Rewards of streaks, ascending.")
    cumulative_rewards: list[CheckInReward] = strawberry.field(description="Rewards of totals, ascending.")
    make_up: CheckInMakeUpTerms | None = strawberry.field(description="Make-up; null: there is none.")
    protection: StreakProtection | None = strawberry.field(description="Streak protection; null: there is none.")

    @classmethod
    def from_rule(cls, rules: rule.CheckInProgramme) -> "CheckInProgramme":
        """A programme as the rule knows it."""
        shield, terms = rules.protection, rules.make_up
        return cls(
            base_points=Points(rules.base_points),
            base_growth=Points(rules.base_growth),
            cycle_days=rules.cycle_days,
            cycle_rewards=[CheckInReward.from_rule(reward) for reward in rules.cycle_rewards],
            streak_rewards=[CheckInReward.from_rule(reward) for reward in rules.streak_rewards],
            cumulative_rewards=[CheckInReward.from_rule(reward) for reward in rules.cumulative_rewards],
            make_up=CheckInMakeUpTerms(
                window_days=terms.window_days,
                monthly_limit=terms.monthly_limit,
                price_points=Points(terms.price_points),
                pays_day=terms.pays_day,
            )
            if terms
            else None,
            protection=StreakProtection(gap_days=shield.gap_days, monthly_limit=shield.monthly_limit)
            if shield
            else None,
        )


@strawberry.type(description="One published version of the check-in rules.")
class CheckInProgrammeVersion(ProgrammeVersion):
    """Rules with their number and dates."""

    programme: CheckInProgramme = strawberry.field(description="The rules.")

    @classmethod
    def from_row(cls, row: ProgrammeVersionRow) -> "CheckInProgrammeVersion":
        """A version as it is kept."""
        return cls(**columns(row), programme=CheckInProgramme.from_rule(programme.rules_of(row)))


# Checking in


@strawberry.type(description="One check-in, with the three counts as they stand after it.")
class CheckIn:
    """A day on which the member checked in."""

    id: UUID = strawberry.field(description="The id that the rewards' entries name as their cause.")
    business_day: date = strawberry.field(description="The shop's day.")
    cycle_day: int = strawberry.field(
        description="Its place in the cycle, from 1; 0 for a day made up before the latest cycle."
    )
    streak_days: int = strawberry.field(description="Check-ins without a missed day 连续天数.")
    total_days: int = strawberry.field(description="All check-ins up to this day 累计天数.")
    points: Points = strawberry.field(
        description="The points that were credited: all rewards, cut where the points rules cap earnings."
    )
    growth: Points = strawberry.field(description="The growth value that was credited.")
    rewards: list[CheckInReward] = strawberry.field(description="What it was rewarded for.")
    made_up_on: date | None = strawberry.field(description="The shop's day on which it was made up; null: in time.")
    price_points: Points = strawberry.field(description="What making it up cost, in points.")
    at: datetime = strawberry.field(description="The instant of the check-in.")

    @classmethod
    def from_row(cls, row: CheckInRow) -> "CheckIn":
        """A check-in as it is kept."""
        return cls(
            id=row.id,
            business_day=row.business_day,
            cycle_day=row.cycle_day,
            streak_days=row.streak_days,
            total_days=row.total_days,
            points=Points(row.points),
            growth=Points(row.growth),
            rewards=[
                CheckInReward(
                    kind=rule.RewardKind(reward["kind"]),
                    days=reward["days"],
                    points=Points(reward["points"]),
                    growth=Points(reward["growth"]),
                )
                for reward in row.rewards
            ],
            made_up_on=row.made_up_on,
            price_points=Points(row.price_points),
            at=row.at,
        )


@strawberry.type(description="How the member's check-in stands today.")
class CheckInStatus:
    """Enough for the button and the row of days."""

    business_day: date = strawberry.field(description="Today, by the shop's calendar.")
    done: bool = strawberry.field(description="Whether the member has checked in today.")
    cycle_day: int = strawberry.field(description="Today's place in the cycle, from 1.")
    streak_days: int = strawberry.field(
        description="The streak as it stands, today included once it is done; 0 if it is broken."
    )
    total_days: int = strawberry.field(description="All check-ins ever.")
    points: Points = strawberry.field(
        description="What today paid, or would pay if the member checked in now (points rules may cap it)."
    )
    growth: Points = strawberry.field(description="The growth value, likewise.")
    programme: CheckInProgramme = strawberry.field(
        description="The rules of the member's running cycle; newer ones wait for the next cycle."
    )

    @classmethod
    def from_today(cls, found: verbs.CheckInToday) -> "CheckInStatus":
        """The state as the resolver found it."""
        return cls(
            business_day=found.business_day,
            done=found.done,
            cycle_day=found.cycle_day,
            streak_days=found.streak_days,
            total_days=found.total_days,
            points=Points(found.points),
            growth=Points(found.growth),
            programme=CheckInProgramme.from_rule(found.programme),
        )


@strawberry.type(description="One day of the calendar.")
class CheckInCalendarDay:
    """A day and what it is."""

    day: date = strawberry.field(description="The shop's day.")
    mark: rule.DayMark = strawberry.field(description="What it is to the member.")
    can_make_up: bool = strawberry.field(
        description="Whether it can be made up now, by window and monthly limit; the member's points are not looked at."
    )


@strawberry.type(description="A month of check-ins 签到日历.")
class CheckInCalendar:
    """All days of a month."""

    month: date = strawberry.field(description="The first day of the month.")
    days: list[CheckInCalendarDay] = strawberry.field(description="Every day of the month, in order.")
    make_ups_left: int = strawberry.field(
        description="How many days can still be made up this month, by the rules of today; 0 if there is no make-up."
    )


@refusal_type(rule.AlreadyCheckedIn)
@strawberry.type(name="AlreadyCheckedIn", description="The day has its check-in; nothing was paid again.")
class AlreadyCheckedInRefusal(Refusal):
    """Names the day."""

    day: str = strawberry.field(description="The shop's day, `YYYY-MM-DD`.")


@strawberry.type(description="The member checked in.")
class CheckInDone:
    """What it paid."""

    check_in: CheckIn = strawberry.field(description="The check-in.")


CheckInResult = Annotated[
    CheckInDone | AlreadyCheckedInRefusal | SimpleRefusal,
    strawberry.union("CheckInResult", description="The check-in, or why there is none."),
]


# Publishing


@strawberry.input(description="A reward of a day of the cycle: points, growth value, or both.")
class CycleRewardInput:
    """For a cycle day."""

    day: int = strawberry.field(description="1 to `cycleDays`, ascending.")
    points: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")
    growth: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")


@strawberry.input(description="A reward of a streak or a total: points, growth value, or both.")
class MilestoneRewardInput:
    """For a number of days."""

    days: int = strawberry.field(description="1 to 3,660 for streaks, 1 to 36,600 for totals, ascending.")
    points: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")
    growth: Points | None = strawberry.field(default=None, description="0 to 1,000,000; 0 unless given.")


@strawberry.input(description="Missed days that do not break a streak 断签保护.")
class StreakProtectionInput:
    """Its limits."""

    gap_days: int = strawberry.field(description="Covered in a row, 1 to 7.")
    monthly_limit: int = strawberry.field(description="Covered in a month, 1 to 31.")


@strawberry.input(description="Missed days that can be made up 补签.")
class CheckInMakeUpTermsInput:
    """Its limits and price."""

    window_days: int = strawberry.field(description="So many days before today, 1 to 62.")
    monthly_limit: int = strawberry.field(description="So many a month, 1 to 31.")
    price_points: Points | None = strawberry.field(default=None, description="0 to 1,000,000 points; 0 unless given.")
    pays_day: bool | None = strawberry.field(
        default=None, description="Whether it pays what the day would have paid; yes unless given."
    )


@strawberry.input(description="Check-in rules to publish; what is left out takes its default, not the value before.")
class CheckInProgrammeInput:
    """All the rules."""

    base_points: Points | None = strawberry.field(default=None, description="0 to 100,000; 1 unless given.")
    base_growth: Points | None = strawberry.field(default=None, description="0 to 100,000; 0 unless given.")
    cycle_days: int | None = strawberry.field(default=None, description="1 to 366 days; 7 unless given.")
    cycle_rewards: list[CycleRewardInput] | None = strawberry.field(default=None, description="None unless given.")
    streak_rewards: list[MilestoneRewardInput] | None = strawberry.field(default=None, description="None unless given.")
    cumulative_rewards: list[MilestoneRewardInput] | None = strawberry.field(
        default=None, description="None unless given."
    )
    make_up: CheckInMakeUpTermsInput | None = strawberry.field(default=None, description="None unless given.")
    protection: StreakProtectionInput | None = strawberry.field(default=None, description="None unless given.")


@strawberry.type(description="The check-in rules were published.")
class CheckInProgrammePublished:
    """What there is now."""

    version: CheckInProgrammeVersion = strawberry.field(description="The new version.")


CheckInProgrammePublishResult = Annotated[
    CheckInProgrammePublished | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CheckInProgrammePublishResult", description="The new version, or why there is none."),
]


@strawberry.type
class ShopQuery:
    """The rules for everybody, and the member's own days."""

    @strawberry.field(description="How checking in is rewarded now.", extensions=[ForEveryone()])
    async def check_in_programme(self, info: Info) -> CheckInProgramme:
        """The rules in force."""
        row = await in_force(info, ProgrammeKind.CHECK_IN)
        return CheckInProgramme.from_rule(programme.rules_of(row))

    @strawberry.field(description="How the member's check-in stands today.", extensions=[ForMembers()])
    async def check_in_status(self, info: Info) -> CheckInStatus:
        """Today."""
        found = await verbs.today(
            info.context.deps,
            member_id=require_member(info),
            in_force=await check_in_programme(info.context.now),
        )
        return CheckInStatus.from_today(found)

    @strawberry.field(description="A month of the member's check-ins.", extensions=[ForMembers()])
    async def check_in_calendar(
        self,
        info: Info,
        month: Annotated[
            date | None,
            strawberry.argument(
                description="Any day of the month, from 2000-01-01 to a year ahead. The current one, if it is left out."
            ),
        ] = None,
    ) -> CheckInCalendar:
        """All days of the month."""
        today = business_day(info.context.now, info.context.deps.zone)
        wanted = month or today
        if not FIRST_MONTH <= wanted <= today + MONTHS_AHEAD:
            raise BadInput(zh="month 须在 2000-01-01 至一年之内", en="month must be 2000-01-01 to a year ahead.")
        found = await calendar(info.context.deps, member_id=require_member(info), month=wanted)
        return CheckInCalendar(
            month=month_start(wanted),
            days=[CheckInCalendarDay(day=one.day, mark=one.mark, can_make_up=one.can_make_up) for one in found.days],
            make_ups_left=found.make_ups_left,
        )


@strawberry.type
class ShopMutation:
    """What members do."""

    @strawberry.mutation(
        description="Check in on the shop's today. Rewards are credited at once.", extensions=[ForMembers()]
    )
    async def check_in(
        self,
        info: Info,
        idempotency_key: Annotated[IdempotencyKey, strawberry.argument(description="A new one for every day.")],
    ) -> CheckInResult:
        """Once a day."""
        row = await verbs.check_in(info.context.deps, member_id=require_member(info), idempotency_key=idempotency_key)
        return CheckInDone(check_in=CheckIn.from_row(row))


@strawberry.type
class OperatorQuery:
    """Every version."""

    @strawberry.field(description="The check-in rules in force.", extensions=[Needs(Right.CHECK_IN_READ)])
    async def check_in_programme(self, info: Info) -> CheckInProgrammeVersion:
        """The version in force."""
        return CheckInProgrammeVersion.from_row(await in_force(info, ProgrammeKind.CHECK_IN))

    @strawberry.field(
        description="All versions of the check-in rules, the newest first, those to come included.",
        extensions=[Needs(Right.CHECK_IN_READ)],
    )
    async def check_in_programme_versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[CheckInProgrammeVersion]:
        """One page."""
        found = await history_page(info, ProgrammeKind.CHECK_IN, first, after)
        return connection(found, CheckInProgrammeVersion.from_row)


@strawberry.type
class OperatorMutation:
    """Publishing."""

    @strawberry.mutation(
        description="Publish check-in rules. A member whose cycle is running keeps the rules it began with.",
        extensions=[Needs(Right.CHECK_IN_PUBLISH)],
    )
    async def check_in_programme_publish(
        self,
        info: Info,
        programme: Annotated[CheckInProgrammeInput, strawberry.argument(description="All the new rules.")],
        idempotency_key: PublicationKey,
        effective_at: EffectiveAt = None,
        note: Note = "",
    ) -> CheckInProgrammePublishResult:
        """The next version."""
        row = await publish_version(
            info,
            Right.CHECK_IN_PUBLISH,
            ProgrammeKind.CHECK_IN,
            definition_of(programme),
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
        )
        return CheckInProgrammePublished(version=CheckInProgrammeVersion.from_row(row))
