"""Tiers: which one a growth value reaches, when members rise, when they fall, and what a tier gives.

Source: docs/rules/tier.md
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Self

from loyalty.money import BP, MAX_FEN
from loyalty.programme import (
    DUPLICATE,
    MAX_POINTS,
    NOT_ASCENDING,
    Definition,
    Fields,
    Name,
    Noun,
    Reason,
    between,
    invalid,
)
from loyalty.refusal import Refusal
from loyalty.shop_time import add_months, business_day, day_start
from loyalty.tiers.tier_benefit import COUPON_BENEFITS, Benefit, BenefitKind, parse_benefits

MAX_LEVELS = 20


class TierChangeReason(StrEnum):
    """Why a member's tier changed; it stands in the history with the rule version and the inputs."""

    JOINED = "joined"
    GROWTH = "growth"
    REFUND = "refund"
    PERIOD_END = "period_end"
    PERIOD_KEPT = "period_kept"
    TABLE_PUBLISHED = "table_published"
    TRIAL_STARTED = "trial_started"
    TRIAL_ENDED = "trial_ended"
    OVERRIDE = "override"
    OVERRIDE_ENDED = "override_ended"


class DowngradeMode(StrEnum):
    """How far a member falls who did not keep the tier."""

    ONE_STEP = "one_step"
    FIT = "fit"


class GrowthEntryKind(StrEnum):
    """Why a growth entry was written."""

    EARN = "earn"
    EARN_REVERSAL = "earn_reversal"
    CHECK_IN = "check_in"
    REFERRAL = "referral"
    PERIOD_RESET = "period_reset"
    ADJUST = "adjust"


class TierNotFound(Refusal):
    """No level of that code in the published table."""

    code = "TIER_NOT_FOUND"
    zh = "等级不存在：{tier}"
    en = "There is no tier {tier}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLevel:
    """One tier: reached at ``threshold`` growth value exactly.

    ``discount_bp`` is what is taken off the list price (500 = 5 % off, 95 折); ``points_multiplier_bp`` 10,000 = once.
    With ``keep_months`` the tier is kept for that long, and again if the growth gained in the period reaches
    ``keep_threshold``; None keeps it for ever.
    """

    code: str
    name: str
    threshold: int
    discount_bp: int = 0
    points_multiplier_bp: int = BP
    keep_months: int | None = None
    keep_threshold: int = 0
    benefits: tuple[Benefit, ...] = ()

    def benefit(self, kind: BenefitKind) -> Benefit | None:
        """The benefit of that kind, or None when the tier does not have it."""
        return next((benefit for benefit in self.benefits if benefit.kind is kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTable:
    """One published version of the tiers, ascending, the first at growth value 0."""

    levels: tuple[TierLevel, ...]
    growth_points: int = 1
    growth_per_fen: int = 100
    grace_days: int = 0
    downgrade: DowngradeMode = DowngradeMode.ONE_STEP

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        levels = _parse_levels(fields)
        table = cls(
            levels=levels,
            growth_points=fields.integer("growth_points", 0, 10_000, 1),
            growth_per_fen=fields.integer("growth_per_fen", 1, 1_000_000, 100),
            grace_days=fields.integer("grace_days", 0, 90, 0),
            downgrade=fields.choice("downgrade", DowngradeMode, DowngradeMode.ONE_STEP),
        )
        fields.done()
        return table

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to an equal table."""
        return {
            "growth_points": self.growth_points,
            "growth_per_fen": self.growth_per_fen,
            "grace_days": self.grace_days,
            "downgrade": self.downgrade.value,
            "levels": [
                {
                    "code": level.code,
                    "name": level.name,
                    "threshold": level.threshold,
                    "discount_bp": level.discount_bp,
                    "points_multiplier_bp": level.points_multiplier_bp,
                    "keep_months": level.keep_months,
                    "keep_threshold": level.keep_threshold,
                    "benefits": [benefit.definition() for benefit in level.benefits],
                }
                for level in self.levels
            ],
        }

    def names(self) -> list[Name]:
        """The coupon templates of the benefits, which must be there."""
        return [
            Name(f"levels[{at}].benefits[{position}].code", Noun.COUPON_TEMPLATE, benefit.code)
            for at, level in enumerate(self.levels)
            for position, benefit in enumerate(level.benefits)
            if benefit.kind in COUPON_BENEFITS and benefit.code is not None
        ]

    @property
    def lowest(self) -> TierLevel:
        """The tier everybody has."""
        return self.levels[0]

    def find(self, code: str) -> TierLevel | None:
        """The level of that code, or None."""
        for level in self.levels:
            if level.code == code:
                return level
        return None

    def level(self, code: str) -> TierLevel:
        """The level of that code. Raises: TierNotFound."""
        found = self.find(code)
        if found is None:
            raise TierNotFound(tier=code)
        return found

    def rank(self, code: str) -> int:
        """The position of a level from 0 upwards; higher is better. Raises: TierNotFound."""
        return self.levels.index(self.level(code))


def _parse_levels(fields: Fields) -> tuple[TierLevel, ...]:
    items = fields.parts("levels", MAX_LEVELS)
    if not items:
        raise invalid("levels", Reason("must have at least one level", "至少需要一个等级"))
    levels: list[TierLevel] = []
    for item in items:
        level = _parse_level(item)
        if any(level.code == lower.code for lower in levels):
            raise invalid(item.path("code"), DUPLICATE)
        if not levels and level.threshold != 0:
            raise invalid(item.path("threshold"), Reason("must be 0 for the first level", "首个等级须为 0"))
        if levels and level.threshold <= levels[-1].threshold:
            raise invalid(item.path("threshold"), NOT_ASCENDING)
        levels.append(level)
    return tuple(levels)


def _parse_level(item: Fields) -> TierLevel:
    threshold = item.integer("threshold", 0, MAX_POINTS)
    keep_months = item.optional_integer("keep_months", 1, 120)
    keep_threshold = item.integer("keep_threshold", 0, MAX_POINTS, 0)
    if keep_months is not None and threshold == 0:
        raise invalid(item.path("keep_months"), Reason("has no use for the first level", "首个等级无需保级"))
    if keep_months is None and keep_threshold:
        raise invalid(item.path("keep_threshold"), Reason("needs keep_months", "须同时设置 keep_months"))
    if keep_threshold > threshold:
        raise invalid(item.path("keep_threshold"), between(0, threshold))
    level = TierLevel(
        code=item.code("code"),
        name=item.text("name", 20),
        threshold=threshold,
        discount_bp=item.integer("discount_bp", 0, 9_000, 0),
        points_multiplier_bp=item.integer("points_multiplier_bp", BP, 100_000, BP),
        keep_months=keep_months,
        keep_threshold=keep_threshold,
        benefits=parse_benefits(item.parts("benefits", 20)),
    )
    item.done()
    return level


def growth_for(table: TierTable, paid_fen: int) -> int:
    """The growth value of a settled order of ``paid_fen``, rounded down once over the order."""
    assert 0 <= paid_fen <= MAX_FEN, f"amount {paid_fen} is out of bounds"
    return paid_fen * table.growth_points // table.growth_per_fen


@dataclass(frozen=True, slots=True)
class GrowthLine:
    """One entry of a growth ledger: which cause, how much, and why."""

    cause: Hashable
    amount: int
    kind: GrowthEntryKind


def left_of_cause(lines: Sequence[GrowthLine], cause: Hashable) -> int:
    """What is left of the growth value that ``cause`` gave, for a refund to take back. ``lines`` oldest first.

    A reversal took from its own cause. What the end of a keep period or a correction took was the oldest growth, so
    that a refund never takes it a second time.
    """
    layers: list[tuple[Hashable, int]] = []
    for line in lines:
        if line.amount > 0:
            layers.append((line.cause, line.amount))
            continue
        to_take = -line.amount
        own_only = line.kind is GrowthEntryKind.EARN_REVERSAL
        left: list[tuple[Hashable, int]] = []
        for layer_cause, amount in layers:
            taken = min(amount, to_take) if not own_only or layer_cause == line.cause else 0
            to_take -= taken
            if amount > taken:
                left.append((layer_cause, amount - taken))
        layers = left
    return sum(amount for layer_cause, amount in layers if layer_cause == cause)


def tier_for(table: TierTable, growth: int) -> TierLevel:
    """The highest level whose threshold ``growth`` reaches; exactly reaching it is enough."""
    return next((level for level in reversed(table.levels) if level.threshold <= growth), table.lowest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a member stands: ``missing`` growth value to ``next``; both None and 0 at the top."""

    current: TierLevel
    next: TierLevel | None
    missing: int


def progress(table: TierTable, growth: int, current_code: str | None = None) -> Progress:
    """How far it is to the level above the member's own, which is that of the growth value unless given."""
    fits = tier_for(table, growth)
    current = (table.find(current_code) if current_code is not None else None) or fits
    above = table.levels[table.rank(current.code) + 1 :]
    if not above:
        return Progress(current=current, next=None, missing=0)
    return Progress(current=current, next=above[0], missing=max(0, above[0].threshold - growth))


@dataclass(frozen=True, slots=True, kw_only=True)
class TierChange:
    """A decided change of a member's own tier, with the growth value that decided it."""

    from_code: str
    to_code: str
    reason: TierChangeReason
    growth: int


def after_growth(table: TierTable, *, current_code: str, growth: int) -> TierChange | None:
    """Whether growth value lifts the member now. Only ever upwards; a code the table no longer has counts as lowest."""
    return _rise(table, current_code, growth, TierChangeReason.GROWTH)


def after_publish(table: TierTable, *, current_code: str, growth: int) -> TierChange | None:
    """What a new table does to a member: lifts at once, never lowers a tier that still exists before its period ends.

    A member whose tier is gone gets the tier that fits the growth value.
    """
    if table.find(current_code) is None:
        return TierChange(
            from_code=current_code,
            to_code=tier_for(table, growth).code,
            reason=TierChangeReason.TABLE_PUBLISHED,
            growth=growth,
        )
    return _rise(table, current_code, growth, TierChangeReason.TABLE_PUBLISHED)


def _rise(table: TierTable, current_code: str, growth: int, reason: TierChangeReason) -> TierChange | None:
    fits = tier_for(table, growth)
    current = table.find(current_code)
    if current is not None and fits.threshold <= current.threshold:
        return None
    return TierChange(from_code=current_code, to_code=fits.code, reason=reason, growth=growth)


def after_refund(
    table: TierTable, *, current_code: str, growth: int, backing: int, floor_code: str | None = None
) -> TierChange | None:
    """Whether a refund lowers the tier: only if the upgrade itself rested on the refunded orders.

    ``growth`` is the value after the reversal. ``backing`` is the growth value that decided the upgrade to the current
    tier, less what refunds have since taken from the entries that it counted. Both must be below the threshold. The
    member falls to the tier that fits, never below ``floor_code``, a tier held for another reason.
    """
    current = table.find(current_code)
    if current is None or growth >= current.threshold or backing >= current.threshold:
        return None
    fits = tier_for(table, growth)
    floor = table.find(floor_code) if floor_code is not None else None
    if floor is not None and floor.threshold > fits.threshold:
        fits = floor
    if fits.threshold >= current.threshold:
        return None
    return TierChange(from_code=current.code, to_code=fits.code, reason=TierChangeReason.REFUND, growth=growth)


# Keep period


def period_end(level: TierLevel, *, started_at: datetime, zone: tzinfo) -> datetime | None:
    """When the keep period that started with the tier ends: the shop midnight ``keep_months`` later; None for ever."""
    if level.keep_months is None:
        return None
    return day_start(add_months(business_day(started_at, zone), level.keep_months), zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodOutcome:
    """What the end of a keep period decides.

    ``kept``: a new period starts at the end of the old one. ``in_grace``: nothing yet, decide again when the grace
    ends. ``change``: the member falls, and ``growth_reset`` is the (negative) growth entry that goes with it.
    """

    kept: bool = False
    in_grace: bool = False
    change: TierChange | None = None
    growth_reset: int = 0


def at_period_end(
    table: TierTable, *, current_code: str, growth: int, period_growth: int, ended_at: datetime, now: datetime
) -> PeriodOutcome:
    """Decide a keep period that ended at ``ended_at``.

    ``period_growth`` is what was gained (less reversals) since the period began, the grace days included: reaching
    ``keep_threshold`` within the grace keeps the tier. Whoever falls goes one step down, or to the tier that fits the
    growth of the period, and the growth value is lowered with the tier, so that the tier above must be earned again.
    """
    assert now >= ended_at, "the period has not ended"
    current = table.find(current_code)
    if current is None or current.keep_months is None or period_growth >= current.keep_threshold:
        return PeriodOutcome(kept=True)
    if now < ended_at + timedelta(days=table.grace_days):
        return PeriodOutcome(in_grace=True)
    rank = table.rank(current.code)
    match table.downgrade:
        case DowngradeMode.ONE_STEP:
            lower = table.levels[rank - 1]
        case DowngradeMode.FIT:
            lower = tier_for(table, max(period_growth, 0))
    left = max(period_growth, lower.threshold)
    return PeriodOutcome(
        change=TierChange(
            from_code=current.code, to_code=lower.code, reason=TierChangeReason.PERIOD_END, growth=period_growth
        ),
        growth_reset=min(0, left - growth),
    )
