"""Tiers 等级: the table members read, where one stands, and how operators publish a new table."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.tiers import tier as rule
from loyalty.tiers import tier_overlay as overlay_rule
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from models.tiers.tier import GrowthEntry as GrowthEntryRow
from models.tiers.tier import TierChange as TierChangeRow
from resolvers import programme
from resolvers.programme import ProgrammeKind
from resolvers.tiers import tier
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
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
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points
from schema.tiers.tier_benefit import AnyBenefit, TierBenefitInput, benefit_definition, benefit_of, benefit_paths

describe(
    rule.DowngradeMode,
    "How far a member falls who did not keep the tier.",
    {
        rule.DowngradeMode.ONE_STEP: "To the tier below.",
        rule.DowngradeMode.FIT: "To the tier that the growth value of the period reaches.",
    },
)
describe(
    rule.GrowthEntryKind,
    "Why growth value was added or taken.",
    {
        rule.GrowthEntryKind.EARN: "A settled order.",
        rule.GrowthEntryKind.EARN_REVERSAL: "A refund took back what an order gave.",
        rule.GrowthEntryKind.CHECK_IN: "A check-in.",
        rule.GrowthEntryKind.REFERRAL: "A referral.",
        rule.GrowthEntryKind.PERIOD_RESET: "The keep period ended and the tier fell.",
        rule.GrowthEntryKind.ADJUST: "An operator's correction.",
    },
)
describe(
    rule.TierChangeReason,
    "Why a member's tier changed.",
    {
        rule.TierChangeReason.JOINED: "The member joined.",
        rule.TierChangeReason.GROWTH: "The growth value reached the tier.",
        rule.TierChangeReason.REFUND: "The orders that the tier rested on were refunded.",
        rule.TierChangeReason.PERIOD_END: "The keep period ended without enough growth value.",
        rule.TierChangeReason.PERIOD_KEPT: "The keep period ended with enough growth value, and another one began.",
        rule.TierChangeReason.TABLE_PUBLISHED: "A new tier table came into force.",
        rule.TierChangeReason.TRIAL_STARTED: "A tier trial started.",
        rule.TierChangeReason.TRIAL_ENDED: "A tier trial ended.",
        rule.TierChangeReason.OVERRIDE: "An operator set the tier.",
        rule.TierChangeReason.OVERRIDE_ENDED: "A tier set by an operator ended.",
    },
)

# The table


@strawberry.type(description="One tier 等级. Reached at its threshold exactly.")
class TierLevel:
    """One row of the table."""

    code: str = strawberry.field(description="The stable name of the tier, such as `gold`.")
    name: str = strawberry.field(description="The name members read, 1 to 20 characters.")
    threshold: Points = strawberry.field(description="The growth value that reaches the tier.")
    discount_bp: int = strawberry.field(
        description="Taken off the list price, in 1/10,000: 500 is 5 % off (95 折). 0 to 9,000."
    )
    points_multiplier_bp: int = strawberry.field(
        description="The factor on earned points, in 1/10,000: 10,000 is once. 10,000 to 100,000."
    )
    keep_months: int | None = strawberry.field(
        description="For how many months the tier is kept, 1 to 120; null: for ever."
    )
    keep_threshold: Points = strawberry.field(
        description="The growth value to gain within the keep period to keep the tier for another one."
    )
    benefits: list[AnyBenefit] = strawberry.field(description="What else the tier gives, each kind once.")

    @classmethod
    def from_rule(cls, level: rule.TierLevel) -> "TierLevel":
        """A level as the rule knows it."""
        return cls(
            code=level.code,
            name=level.name,
            threshold=Points(level.threshold),
            discount_bp=level.discount_bp,
            points_multiplier_bp=level.points_multiplier_bp,
            keep_months=level.keep_months,
            keep_threshold=Points(level.keep_threshold),
            benefits=[benefit_of(benefit) for benefit in level.benefits],
        )


@strawberry.type(description="The tiers of the store and how growth value 成长值 is gained by buying.")
class TierTable:
    """What members may know before they buy."""

    levels: list[TierLevel] = strawberry.field(description="Ascending by threshold; the first is everybody's.")
    growth_points: int = strawberry.field(
        description="So much growth value for every `growthPerFen` fen paid, rounded down once over the order."
    )
    growth_per_fen: Fen = strawberry.field(description="In fen.")
    grace_days: int = strawberry.field(description="Days after a keep period in which it may still be saved, 0 to 90.")
    downgrade: rule.DowngradeMode = strawberry.field(description="How far a member falls who did not keep the tier.")

    @classmethod
    def from_rule(cls, table: rule.TierTable) -> "TierTable":
        """A table as the rule knows it."""
        return cls(
            levels=[TierLevel.from_rule(level) for level in table.levels],
            growth_points=table.growth_points,
            growth_per_fen=Fen(table.growth_per_fen),
            grace_days=table.grace_days,
            downgrade=table.downgrade,
        )


@strawberry.type(description="One published tier table.")
class TierTableVersion(ProgrammeVersion):
    """A table with its number and dates."""

    table: TierTable = strawberry.field(description="The tiers.")

    @classmethod
    def from_row(cls, row: ProgrammeVersionRow) -> "TierTableVersion":
        """A version as it is kept."""
        return cls(**columns(row), table=TierTable.from_rule(programme.rules_of(row)))


# Where a member stands


@strawberry.type(description="A trial 体验 or a tier set by hand 手动等级 that lies over the member's own tier now.")
class RunningTierOverlay:
    """A tier with its dates."""

    tier_code: str = strawberry.field(description="The tier that it gives.")
    manual: bool = strawberry.field(description="Whether the shop set it by hand; if not, it is a trial.")
    starts_at: datetime = strawberry.field(description="Since when.")
    ends_at: datetime | None = strawberry.field(
        description="From this instant on it no longer applies; null: until the shop takes it back."
    )

    @classmethod
    def from_rule(cls, overlay: overlay_rule.TierOverlay) -> "RunningTierOverlay":
        """An overlay as the rule knows it."""
        return cls(tier_code=overlay.code, manual=overlay.manual, starts_at=overlay.starts_at, ends_at=overlay.ends_at)


@strawberry.type(description="Where a member stands.")
class TierStanding:
    """The member's tier, and how far the next one is."""

    level: TierLevel = strawberry.field(description="The member's own tier, which growth value gains and keeps.")
    applies: TierLevel = strawberry.field(
        description="The tier whose prices, points factor and benefits the member has now: a tier set by hand, else "
        "the best of the own tier and the trials."
    )
    overlays: list[RunningTierOverlay] = strawberry.field(description="What lies over the own tier, oldest first.")
    growth_value: Points = strawberry.field(description="The member's growth value 成长值.")
    since: datetime = strawberry.field(description="When the member's tier last changed.")
    keep_until: datetime | None = strawberry.field(
        description="The shop midnight at which the keep period ends; null: the tier is kept for ever."
    )
    grace_until: datetime | None = strawberry.field(
        description="The keep period has ended, and growth value gained before this instant may still save the tier."
    )
    next_level: TierLevel | None = strawberry.field(description="The tier above; null at the top.")
    missing: Points = strawberry.field(description="The growth value still missing to the tier above; 0 at the top.")

    @classmethod
    def from_standing(cls, standing: tier.Standing) -> "TierStanding":
        """A standing as the resolver found it."""
        above = standing.progress.next
        return cls(
            level=TierLevel.from_rule(standing.progress.current),
            applies=TierLevel.from_rule(standing.applies),
            overlays=[RunningTierOverlay.from_rule(one) for one in standing.overlays],
            grace_until=standing.grace_until,
            growth_value=Points(standing.growth_value),
            since=standing.since,
            keep_until=standing.keep_until,
            next_level=TierLevel.from_rule(above) if above else None,
            missing=Points(standing.progress.missing),
        )


@strawberry.type(description="One change of a growth value. Entries are never changed; a correction is a new entry.")
class GrowthEntry:
    """A line of the growth ledger."""

    id: UUID = strawberry.field(description="The id of the entry.")
    seq: int = strawberry.field(description="Counts the member's entries from 1 without a gap.")
    kind: rule.GrowthEntryKind = strawberry.field(description="Why it was written.")
    amount: Points = strawberry.field(description="Growth value added, or taken if negative.")
    balance_after: Points = strawberry.field(description="The growth value after it.")
    cause_kind: str = strawberry.field(description="What caused it: `order`, `check_in`.")
    cause_id: UUID = strawberry.field(description="The id of what caused it.")
    at: datetime = strawberry.field(description="When it was written.")

    @classmethod
    def from_row(cls, row: GrowthEntryRow) -> "GrowthEntry":
        """An entry as it is kept."""
        return cls(
            id=row.id,
            seq=row.seq,
            kind=rule.GrowthEntryKind(row.kind),
            amount=Points(row.amount),
            balance_after=Points(row.balance_after),
            cause_kind=row.cause_kind,
            cause_id=row.cause_id,
            at=row.at,
        )


@strawberry.type(description="One change of a member's tier, with what decided it.")
class TierChange:
    """A line of the tier history."""

    id: UUID = strawberry.field(description="The id of the change.")
    from_code: str | None = strawberry.field(description="The tier before; null when the member joined.")
    to_code: str = strawberry.field(description="The tier after.")
    reason: rule.TierChangeReason = strawberry.field(description="Why it changed.")
    growth_value: Points = strawberry.field(description="The growth value that decided it.")
    threshold: Points = strawberry.field(description="What the tier after asked for then.")
    version_id: UUID = strawberry.field(description="The version of the tier table that decided it.")
    at: datetime = strawberry.field(description="When it changed.")

    @classmethod
    def from_row(cls, row: TierChangeRow) -> "TierChange":
        """A change as it is kept."""
        return cls(
            id=row.id,
            from_code=row.from_code or None,
            to_code=row.to_code,
            reason=rule.TierChangeReason(row.reason),
            growth_value=Points(row.inputs["growth"]),
            threshold=Points(row.inputs["threshold"]),
            version_id=row.version_id,
            at=row.at,
        )


# Publishing


@strawberry.input(description="One tier of a table to publish.")
class TierLevelInput:
    """One row of the table."""

    code: str = strawberry.field(
        description="1 to 40 lower-case letters, digits and underscores, a letter first; each once."
    )
    name: str = strawberry.field(description="1 to 20 characters.")
    threshold: Points = strawberry.field(
        description="0 for the first tier, then ascending, at most 1,000,000,000,000 growth value."
    )
    discount_bp: int | None = strawberry.field(default=None, description="0 to 9,000; 0 unless given. 500 is 5 % off.")
    points_multiplier_bp: int | None = strawberry.field(
        default=None, description="10,000 (once) to 100,000; 10,000 unless given."
    )
    keep_months: int | None = strawberry.field(
        default=None, description="1 to 120, not for the first tier; kept for ever unless given."
    )
    keep_threshold: Points | None = strawberry.field(
        default=None, description="0 to the threshold, with `keepMonths` only; 0 unless given."
    )
    benefits: list[TierBenefitInput] | None = strawberry.field(
        default=None, description="Each kind at most once; none unless given."
    )


@strawberry.input(description="A tier table to publish.")
class TierTableInput:
    """The whole table; what is left out takes its default, not the value of the table before."""

    levels: list[TierLevelInput] = strawberry.field(description="1 to 20 tiers with ascending thresholds.")
    growth_points: int | None = strawberry.field(
        default=None, description="Growth value for every `growthPerFen` fen paid, 0 to 10,000; 1 unless given."
    )
    growth_per_fen: Fen | None = strawberry.field(default=None, description="1 to 1,000,000 fen; 100 unless given.")
    grace_days: int | None = strawberry.field(default=None, description="0 to 90 days; 0 unless given.")
    downgrade: rule.DowngradeMode | None = strawberry.field(
        default=None, description="How far a member falls; `ONE_STEP` unless given."
    )


def table_definition(table: TierTableInput) -> dict[str, object]:
    """The definition that the rule parses. Raises: ProgrammeInvalid."""
    return {
        **definition_of(table),
        "levels": [
            {
                **definition_of(level),
                "benefits": [
                    benefit_definition(benefit, f"levels[{at}].benefits[{place}]")
                    for place, benefit in enumerate(level.benefits or ())
                ],
            }
            for at, level in enumerate(table.levels)
        ],
    }


def benefit_paths_of(table: TierTableInput) -> dict[str, str]:
    """Where the API has what the rule calls ``kind``, ``figure`` and ``code`` of the benefits."""
    paths: dict[str, str] = {}
    for at, level in enumerate(table.levels):
        for place, benefit in enumerate(level.benefits or ()):
            paths |= benefit_paths(benefit, f"levels[{at}].benefits[{place}]")
    return paths


@strawberry.type(description="The tier table was published.")
class TierTablePublished:
    """What there is now."""

    version: TierTableVersion = strawberry.field(description="The new version.")


TierTablePublishResult = Annotated[
    TierTablePublished | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("TierTablePublishResult", description="The new version, or why there is none."),
]

MemberId = Annotated[UUID, strawberry.argument(description="The member's id.")]


@strawberry.type
class ShopQuery:
    """What everybody may know, and what members know of themselves."""

    @strawberry.field(description="The tiers of the store as they are now.", extensions=[ForEveryone()])
    async def tier_table(self, info: Info) -> TierTable:
        """The table in force."""
        row = await in_force(info, ProgrammeKind.TIER)
        return TierTable.from_rule(programme.rules_of(row))

    @strawberry.field(
        description="What the tier that applies to the member now gives besides its prices and its points factor.",
        extensions=[ForMembers()],
    )
    async def tier_benefits(self, info: Info) -> list[AnyBenefit]:
        """Those of a trial or a tier set by hand included."""
        found = await info.context.loaders.load(tier.benefits_of, require_member(info))
        return [benefit_of(benefit) for benefit in found or ()]

    @strawberry.field(description="The member's growth entries, the newest first.", extensions=[ForMembers()])
    async def growth_history(self, info: Info, first: First = 20, after: After = None) -> Connection[GrowthEntry]:
        """One page."""
        found = await tier.growth_history(
            info.context.deps, member_id=require_member(info), page=page(tier.GROWTH_NEWEST, first, after)
        )
        return connection(found, GrowthEntry.from_row)

    @strawberry.field(description="The changes of the member's tier, the newest first.", extensions=[ForMembers()])
    async def tier_history(self, info: Info, first: First = 20, after: After = None) -> Connection[TierChange]:
        """One page."""
        found = await tier.change_history(
            info.context.deps, member_id=require_member(info), page=page(tier.CHANGES_NEWEST, first, after)
        )
        return connection(found, TierChange.from_row)


@strawberry.type
class OperatorQuery:
    """Every version, and any member's history."""

    @strawberry.field(description="The tier table in force.", extensions=[Needs(Right.TIER_READ)])
    async def tier_table(self, info: Info) -> TierTableVersion:
        """The version in force."""
        return TierTableVersion.from_row(await in_force(info, ProgrammeKind.TIER))

    @strawberry.field(
        description="All tier tables, the newest first, those to come included.", extensions=[Needs(Right.TIER_READ)]
    )
    async def tier_table_versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[TierTableVersion]:
        """One page."""
        found = await history_page(info, ProgrammeKind.TIER, first, after)
        return connection(found, TierTableVersion.from_row)

    @strawberry.field(description="A member's growth entries, newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def growth_history(
        self, info: Info, member_id: MemberId, first: First = 20, after: After = None
    ) -> Connection[GrowthEntry]:
        """One page; empty for an unknown member."""
        found = await tier.growth_history(
            info.context.deps, member_id=member_id, page=page(tier.GROWTH_NEWEST, first, after)
        )
        return connection(found, GrowthEntry.from_row)

    @strawberry.field(
        description="The changes of a member's tier, the newest first.", extensions=[Needs(Right.MEMBER_READ)]
    )
    async def tier_history(
        self, info: Info, member_id: MemberId, first: First = 20, after: After = None
    ) -> Connection[TierChange]:
        """One page; empty for an unknown member."""
        found = await tier.change_history(
            info.context.deps, member_id=member_id, page=page(tier.CHANGES_NEWEST, first, after)
        )
        return connection(found, TierChange.from_row)


@strawberry.type
class OperatorMutation:
    """Publishing."""

    @strawberry.mutation(
        description=(
            "Publish a tier table. Members whose growth value reaches a higher tier rise when it comes into force; "
            "nobody falls by it before their keep period ends."
        ),
        extensions=[Needs(Right.TIER_PUBLISH)],
    )
    async def tier_table_publish(
        self,
        info: Info,
        table: Annotated[TierTableInput, strawberry.argument(description="The whole new table.")],
        idempotency_key: PublicationKey,
        effective_at: EffectiveAt = None,
        note: Note = "",
    ) -> TierTablePublishResult:
        """The next version."""
        row = await publish_version(
            info,
            Right.TIER_PUBLISH,
            ProgrammeKind.TIER,
            table_definition(table),
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
            renamed=benefit_paths_of(table),
        )
        return TierTablePublished(version=TierTableVersion.from_row(row))
