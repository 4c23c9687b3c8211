"""Promotions: their states and refusals, when one may be published, and what a member is offered.

What one says is in ``loyalty.prices.promotion_terms``; what they take off an order is decided in
``loyalty.prices.promotion_choice``.

Source: docs/rules/promotion.md
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from loyalty.prices.promotion_terms import MAX_USES, Partner, PromotionKind, PromotionTerms
from loyalty.programme import Reason, invalid
from loyalty.refusal import Refusal

MAX_BUDGET_FEN = 100_000_000_000
MAX_PUBLISHED = 200
MAX_ORDER_WIDE = 8
"""So many bundle, pieces and amount-off promotions may run at a time, so that the best choice is always found."""


class PromotionState(StrEnum):
    """A draft never ran; a stopped one runs no more."""

    DRAFT = "draft"
    PUBLISHED = "published"
    STOPPED = "stopped"


class PromotionHoldState(StrEnum):
    """How the uses of an order or a kept quote stand."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"
    RETURNED = "returned"


class PromotionNotFound(Refusal):
    """No such promotion, for an operator."""

    code = "PROMOTION_NOT_FOUND"
    zh = "促销活动不存在"
    en = "There is no such promotion."


class PromotionCodeTaken(Refusal):
    """Another promotion has this code."""

    code = "PROMOTION_CODE_TAKEN"
    zh = "促销编码已被使用"
    en = "Another promotion has this code."


class PromotionStateRefused(Refusal):
    """What was asked for is not possible in the promotion's ``state``."""

    code = "PROMOTION_STATE_REFUSED"
    zh = "促销当前状态（{state}）不支持此操作"
    en = "This is not possible while the promotion is {state}."
    zh_words: ClassVar = {
        PromotionState.DRAFT: "草稿",
        PromotionState.PUBLISHED: "已发布",
        PromotionState.STOPPED: "已停止",
    }


class TooManyPromotions(Refusal):
    """Already ``most`` promotions of this sort are published and have not ended."""

    code = "TOO_MANY_PROMOTIONS"
    zh = "同时生效的此类促销最多 {most} 个"
    en = "At most {most} such promotions can be published at a time."


class PromotionGone(Refusal):
    """Somebody else took the last of the promotion with the code ``promotion``: the price has changed."""

    code = "PROMOTION_GONE"
    zh = "促销名额刚刚用完，价格已变化，请重新确认"
    en = "This promotion has just been used up; the price has changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionQuota:
    """How often a promotion may be used altogether, and what it may cost; None: without bounds."""

    total_limit: int | None = None
    budget_fen: int | None = None


def admit_promotion(
    *, quota: PromotionQuota, priority: int, opens_at: datetime | None, closes_at: datetime | None
) -> None:
    """Whether a promotion may have these limits, priority and window (closed-open). Raises: ProgrammeInvalid."""
    bounds = (
        ("total_limit", quota.total_limit, MAX_USES),
        ("budget_fen", quota.budget_fen, MAX_BUDGET_FEN),
        ("priority", priority, 1_000),
    )
    for name, value, most in bounds:
        if value is not None and not 0 <= value <= most:
            raise invalid(name, Reason(f"must be 0 to {most}", f"必须在 0 到 {most} 之间"))
    if opens_at is not None and closes_at is not None and closes_at <= opens_at:
        raise invalid("closes_at", Reason("must be later than opens_at", "必须晚于 opens_at"))


def admit_same_kind(terms: PromotionTerms, wanted: PromotionTerms) -> None:
    """Whether a promotion may get these terms: its kind stays. Raises: ProgrammeInvalid."""
    if wanted.kind is not terms.kind:
        raise invalid("kind", Reason("stays what it is", "创建后不可更改"))


def admit_number(kind: PromotionKind, *, published: int, order_wide: int) -> None:
    """Whether one more may be published beside so many that have not ended. Raises: TooManyPromotions."""
    if published >= MAX_PUBLISHED:
        raise TooManyPromotions(most=MAX_PUBLISHED)
    if not kind.of_pieces and order_wide >= MAX_ORDER_WIDE:
        raise TooManyPromotions(most=MAX_ORDER_WIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedPromotion:
    """A promotion that a member may use now, with what is left of it for this member; None: without bounds."""

    id: UUID
    version_id: UUID
    code: str
    title: str
    priority: int = 0
    terms: PromotionTerms
    closes_at: datetime | None = None
    uses_left: int | None = None
    budget_left_fen: int | None = None

    def rank(self) -> tuple[int, str]:
        """The order among promotions that do the same: higher priority first, then the code."""
        return (-self.priority, self.code)

    def goes_with(self, partner: Partner) -> bool:
        """Whether it and that may meet on the same goods."""
        return partner in self.terms.combines
