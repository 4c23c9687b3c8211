"""Tiers that lie over a member's own: a trial that is lent, and a tier that an operator set by hand.

Source: docs/rules/tier.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from loyalty.refusal import Refusal
from loyalty.tiers.tier import TierLevel, TierTable

MAX_TRIAL_DAYS = 365


class TierTrialRefused(Refusal):
    """A trial must be of a higher tier than the member's own, and end within a year, after it starts."""

    code = "TIER_TRIAL_REFUSED"
    zh = "等级体验须高于当前等级，且在 {most_days} 天内结束"
    en = "A tier trial must be of a higher tier and end within {most_days} days."


class TierOverrideInvalid(Refusal):
    """A manual override needs a reason of 1 to 200 characters and, if it ends, an end in the future."""

    code = "TIER_OVERRIDE_INVALID"
    zh = "手动调整等级须填写 1 至 200 字的原因，结束时间须晚于现在"
    en = "A manual tier needs a reason of 1 to 200 characters, and an end that lies ahead."


class TierOverrideNone(Refusal):
    """No tier is set by hand for such a member now."""

    code = "TIER_OVERRIDE_NONE"
    zh = "该会员当前没有手动设置的等级"
    en = "No tier is set by hand for that member now."


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOverlay:
    """A tier lent or set by hand, from ``starts_at`` until before ``ends_at`` (None: until it is taken back)."""

    code: str
    starts_at: datetime
    ends_at: datetime | None = None
    manual: bool = False

    def covers(self, now: datetime) -> bool:
        """Whether it is in force at ``now``."""
        return self.starts_at <= now and (self.ends_at is None or now < self.ends_at)


def effective(table: TierTable, *, own_code: str, overlays: Sequence[TierOverlay], now: datetime) -> TierLevel:
    """The tier whose benefits apply: a manual one as it was set (the latest), else the best of own and trials."""
    running = [overlay for overlay in overlays if overlay.covers(now) and table.find(overlay.code)]
    manual = [overlay for overlay in running if overlay.manual]
    if manual:
        return table.level(max(manual, key=lambda overlay: overlay.starts_at).code)
    own = table.find(own_code) or table.lowest
    return max([own, *(table.level(overlay.code) for overlay in running)], key=lambda level: level.threshold)


def admit_trial(table: TierTable, *, own_code: str, trial_code: str, starts_at: datetime, ends_at: datetime) -> None:
    """Whether a member may try a tier. Raises: TierNotFound, TierTrialRefused."""
    own = table.find(own_code) or table.lowest
    trial = table.level(trial_code)
    longest = timedelta(days=MAX_TRIAL_DAYS)
    if trial.threshold <= own.threshold or not starts_at < ends_at <= starts_at + longest:
        raise TierTrialRefused(most_days=MAX_TRIAL_DAYS)


def admit_override(
    table: TierTable, *, tier_code: str, reason: str, now: datetime, ends_at: datetime | None = None
) -> None:
    """Whether an operator may set a tier by hand. Raises: TierNotFound, TierOverrideInvalid."""
    table.level(tier_code)
    admit_override_reason(reason)
    if ends_at is not None and ends_at <= now:
        raise TierOverrideInvalid()


def admit_override_reason(reason: str) -> None:
    """Whether that is a reason, for setting a tier by hand or taking it back. Raises: TierOverrideInvalid."""
    if not 1 <= len(reason.strip()) <= 200:
        raise TierOverrideInvalid()
