"""Giving coupons out: what a template may give in all, when, and to whom.

Source: docs/rules/coupon.md
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from loyalty.coupons.coupon import (
    MAX_QUOTA,
    CouponLimitReached,
    CouponNotOffered,
    CouponsGone,
)
from loyalty.coupons.coupon_terms import CouponTerms, Validity, validity
from loyalty.programme import Reason, invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many coupons a template may give out; None: as many as one likes.

    ``budget_fen`` bounds the sum of what the coupons can cost at most, those that expired unused apart.
    """

    total_limit: int | None = None
    daily_limit: int | None = None
    budget_fen: int | None = None


def admit_quota(terms: CouponTerms, quota: Quota) -> None:
    """Whether a template with these terms may have this quota.

    Raises: ProgrammeInvalid, which names ``total_limit``, ``daily_limit``, ``budget_fen``, or ``cap_fen`` for a budget
    over coupons that nothing bounds.
    """
    bounds = {"total_limit": MAX_QUOTA, "daily_limit": MAX_QUOTA, "budget_fen": 100_000_000_000}
    for name, most in bounds.items():
        value: int | None = getattr(quota, name)
        if value is not None and not 0 <= value <= most:
            raise invalid(name, Reason(f"must be 0 to {most}", f"必须在 0 到 {most} 之间"))
    if quota.budget_fen is not None and terms.worth_fen() is None:
        raise invalid("cap_fen", Reason("is required with a budget", "设有预算时为必填项"))


def admit_window(*, opens_at: datetime | None, closes_at: datetime | None) -> None:
    """Whether a template may be claimed in this time, closed-open; None is open. Raises: ProgrammeInvalid."""
    if opens_at is not None and closes_at is not None and closes_at <= opens_at:
        raise invalid("closes_at", Reason("must be later than opens_at", "必须晚于 opens_at"))


def admit_same_kind(terms: CouponTerms, wanted: CouponTerms) -> None:
    """Whether a template may get these terms: its kind stays. Raises: ProgrammeInvalid."""
    if wanted.kind is not terms.kind:
        raise invalid("kind", Reason("stays what it is", "创建后不可更改"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOffer:
    """The state of a template when a coupon is wanted: offered from ``opens_at`` until before ``closes_at``."""

    published: bool
    opens_at: datetime | None = None
    closes_at: datetime | None = None

    def offered(self, now: datetime) -> bool:
        """Whether coupons of it can be had at ``now``."""
        opened = self.opens_at is None or self.opens_at <= now
        return self.published and opened and (self.closes_at is None or now < self.closes_at)


def room(terms: CouponTerms, *, had_count: int, had_today: int, count: int) -> int:
    """How many of ``count`` more coupons the limits leave a member who was given ``had_count``, ``had_today`` today."""
    left = [count]
    if terms.member_limit is not None:
        left.append(terms.member_limit - had_count)
    if terms.member_daily_limit is not None:
        left.append(terms.member_daily_limit - had_today)
    return max(0, min(left))


def many_given(*, count: int, allowed: int, left: int) -> tuple[int, str]:
    """How many of ``count`` coupons are given, and the code of why not all: ``""``, the member's limits or the quota.

    ``allowed`` is what the member's limits leave (``room``), ``left`` what the template's quota does.
    """
    given = min(allowed, left)
    if given == count:
        return given, ""
    return given, CouponsGone.code if left < allowed else CouponLimitReached.code


def admit_issue(
    terms: CouponTerms, offer: TemplateOffer, *, had_count: int, had_today: int, now: datetime, zone: tzinfo
) -> "Validity":
    """Whether a member may have one more coupon, and when it will be good.

    ``had_count`` and ``had_today`` are what the member was given of the template, voided ones apart. What is left of
    the template's total, day and budget is decided by the guarded write.

    Raises, in this order: CouponNotOffered (also when it would have ended already), CouponLimitReached.
    """
    if not offer.offered(now):
        raise CouponNotOffered()
    given = validity(terms, claimed_at=now, zone=zone)
    if given.expires_at <= now:
        raise CouponNotOffered()
    if terms.member_limit is not None and had_count >= terms.member_limit:
        raise CouponLimitReached(limit=terms.member_limit, had=had_count)
    if terms.member_daily_limit is not None and had_today >= terms.member_daily_limit:
        raise CouponLimitReached(limit=terms.member_daily_limit, had=had_today)
    return given
