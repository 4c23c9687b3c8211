"""Referral: who may bring whom, when it counts, what it pays to whom, and when it is taken back.

Sharing is never rewarded, only results are; nobody pays to take part; rewards reach one level up, two at the very most.

Source: docs/rules/referral.md
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from loyalty.referrals.referral_programme import (
    MAX_DEPTH,
    BindingSource,
    Goal,
    ReferralProgramme,
    Side,
    Stage,
    StageReward,
)
from loyalty.referrals.referral_risk import RiskScore
from loyalty.refusal import Refusal
from loyalty.shop_time import month_start, week_start

MAX_NOTE_LENGTH = 200
"""What a person writes down who decides a reward, stops the programme or lets it go on."""


class ReferralState(StrEnum):
    """Where one reward of a referral stands."""

    PENDING = "pending"
    QUALIFIED = "qualified"
    HELD = "held"
    PAID = "paid"
    REJECTED = "rejected"
    CLAWED_BACK = "clawed_back"


TRANSITIONS: Mapping[ReferralState, frozenset[ReferralState]] = {
    ReferralState.PENDING: frozenset({ReferralState.QUALIFIED, ReferralState.REJECTED}),
    ReferralState.QUALIFIED: frozenset({ReferralState.HELD, ReferralState.REJECTED}),
    ReferralState.HELD: frozenset({ReferralState.PAID, ReferralState.REJECTED}),
    ReferralState.PAID: frozenset({ReferralState.CLAWED_BACK}),
    ReferralState.REJECTED: frozenset(),
    ReferralState.CLAWED_BACK: frozenset(),
}
"""Every step a reward may take."""


class RejectReason(StrEnum):
    """Why a binding was refused or a reward rejected."""

    STOPPED = "stopped"
    SELF = "self"
    SOURCE = "source"
    LOOP = "loop"
    ALREADY_BOUND = "already_bound"
    NOT_NEW = "not_new"
    EXPIRED = "expired"
    LIMIT = "limit"
    SAME_DEVICE = "same_device"
    SAME_PHONE = "same_phone"
    SAME_ADDRESS = "same_address"
    SAME_PAYER = "same_payer"
    ORDER_REFUNDED = "order_refunded"
    SUSPICIOUS = "suspicious"


class LeaderboardPeriod(StrEnum):
    """Which span a leaderboard counts."""

    WEEK = "week"
    MONTH = "month"


class ReferralRefused(Refusal):
    """The friend cannot be bound; ``reason`` is one of the reject reasons."""

    code = "REFERRAL_REFUSED"
    zh = "无法绑定邀请关系（{reason}）"
    en = "This referral is not possible: {reason}."
    zh_words: ClassVar = {
        RejectReason.STOPPED: "活动已停止",
        RejectReason.SELF: "不能邀请自己",
        RejectReason.SOURCE: "该邀请方式未开放",
        RejectReason.LOOP: "不能由自己邀请的好友邀请",
        RejectReason.ALREADY_BOUND: "已有邀请人",
        RejectReason.NOT_NEW: "不是新会员",
        RejectReason.EXPIRED: "邀请已过期",
        RejectReason.LIMIT: "邀请人名额已满",
        RejectReason.SAME_DEVICE: "设备相同",
        RejectReason.SAME_PHONE: "手机号相同",
        RejectReason.SAME_ADDRESS: "收货地址相同",
        RejectReason.SAME_PAYER: "付款账号相同",
        RejectReason.ORDER_REFUNDED: "订单已退款",
        RejectReason.SUSPICIOUS: "存在异常",
    }


class ReferralRewardNotFound(Refusal):
    """There is no such reward."""

    code = "REFERRAL_REWARD_NOT_FOUND"
    zh = "邀请奖励不存在"
    en = "There is no such referral reward."


class ReferralNoteInvalid(Refusal):
    """Who decides says why, in 1 to ``most`` characters."""

    code = "REFERRAL_NOTE_INVALID"
    zh = "请填写原因（1 至 {most} 个字符）"
    en = "Say why, in 1 to {most} characters."


class ReferralReviewRefused(Refusal):
    """The reward is not waiting for a review; it is ``state``."""

    code = "REFERRAL_REVIEW_REFUSED"
    zh = "该奖励当前状态（{state}）无需审核"
    en = "This reward is {state} and does not wait for a review."
    zh_words: ClassVar = {
        ReferralState.PENDING: "待达成",
        ReferralState.QUALIFIED: "已达成",
        ReferralState.HELD: "观察中",
        ReferralState.PAID: "已发放",
        ReferralState.REJECTED: "已拒绝",
        ReferralState.CLAWED_BACK: "已收回",
    }


# Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFacts:
    """A friend about to be bound.

    ``clicked_at`` is when the friend opened the link, code or QR. ``invitee_is_new``: first login after that click, and
    no settled order ever. ``invitee_is_above``: the invitee stands above the inviter in the chain of referrals.
    ``running``: the shop has not stopped the programme.
    """

    inviter_id: UUID
    invitee_id: UUID
    source: BindingSource
    clicked_at: datetime
    invitee_is_new: bool
    already_bound: bool
    invitee_is_above: bool = False
    running: bool = True


def admit_binding(programme: ReferralProgramme, facts: BindingFacts, now: datetime) -> None:
    """Whether the friend may be bound to the inviter. A member is bound once in a life.

    Raises: ReferralRefused with the first reason of: stopped, self, source, loop, already_bound, not_new, expired.
    """
    for refused, reason in (
        (not facts.running, RejectReason.STOPPED),
        (facts.inviter_id == facts.invitee_id, RejectReason.SELF),
        (facts.source not in programme.sources, RejectReason.SOURCE),
        (facts.invitee_is_above, RejectReason.LOOP),
        (facts.already_bound, RejectReason.ALREADY_BOUND),
        (not facts.invitee_is_new, RejectReason.NOT_NEW),
        (now >= facts.clicked_at + timedelta(days=programme.attribution_days), RejectReason.EXPIRED),
    ):
        if refused:
            raise ReferralRefused(reason=reason.value)


def beneficiaries(
    programme: ReferralProgramme, stage: Stage, *, invitee_id: UUID, inviter_id: UUID, upline_id: UUID | None
) -> tuple[tuple[UUID, StageReward], ...]:
    """Who gets what for a stage. ``upline_id`` is who had brought the inviter; nobody further up is ever rewarded."""
    members = {Side.INVITER: inviter_id, Side.INVITEE: invitee_id}
    if programme.depth == MAX_DEPTH and upline_id is not None:
        members[Side.UPLINE] = upline_id
    return tuple((members[reward.side], reward) for reward in programme.rewards_for(stage) if reward.side in members)


def tracked(
    programme: ReferralProgramme, stage: Stage, *, invitee_id: UUID, inviter_id: UUID, upline_id: UUID | None
) -> tuple[tuple[UUID, StageReward], ...]:
    """The beneficiaries, and the inviter of a first order even where that pays nothing.

    Goals and leaderboards count friends, so a friend passes the same window, checks and limits either way.
    """
    found = beneficiaries(programme, stage, invitee_id=invitee_id, inviter_id=inviter_id, upline_id=upline_id)
    if stage is Stage.FIRST_ORDER and all(reward.side is not Side.INVITER for _, reward in found):
        return ((inviter_id, StageReward(stage=stage, side=Side.INVITER)), *found)
    return found


# From pending to paid


def qualifies(programme: ReferralProgramme, *, bound_at: datetime, settled_at: datetime, paid_fen: int) -> bool:
    """Whether a settled order of the friend is the result that a pending reward waits for.

    ``min_order_fen`` paid in money or more, settled within ``qualify_days`` of the binding. Smaller orders neither
    count nor spoil the chance; the first that is large enough counts.
    """
    in_time = bound_at <= settled_at < bound_at + timedelta(days=programme.qualify_days)
    return in_time and paid_fen >= programme.min_order_fen


def held_until(programme: ReferralProgramme, *, stage: Stage, reached_at: datetime) -> datetime:
    """Until when a qualified reward is held: a first order's return window; a registration has none."""
    return reached_at + timedelta(days=programme.return_days) if stage is Stage.FIRST_ORDER else reached_at


def overdue_at(programme: ReferralProgramme, *, bound_at: datetime) -> datetime:
    """From when on a pending reward has waited too long."""
    return bound_at + timedelta(days=programme.qualify_days)


def overdue(programme: ReferralProgramme, *, bound_at: datetime, now: datetime) -> bool:
    """Whether a pending reward has waited too long and is rejected as expired."""
    return now >= overdue_at(programme, bound_at=bound_at)


class Review(StrEnum):
    """What a person decided about a suspicious reward."""

    NONE = "none"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReward:
    """A held reward when its time has come: its side, its risk, and what the member was paid for before.

    The counts are of paid first-order and registration rewards of that side, on the shop day and altogether.
    """

    side: Side
    held_until: datetime
    risk: RiskScore
    review: Review = Review.NONE
    paid_today: int = 0
    paid_ever: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a held reward: it waits (HELD), perhaps for a review; it is PAID; or REJECTED with a reason."""

    state: ReferralState
    needs_review: bool = False
    reason: RejectReason | None = None


def decide(programme: ReferralProgramme, reward: HeldReward, now: datetime) -> Decision:
    """Decide a held reward. A suspicion is a score and not a wall: a person looks at it unless it is beyond doubt.

    In this order: a score of ``reject_score`` or more rejects with the heaviest evidence, one of ``review_score`` or
    more waits for a person; an approval overrules both; the return window must be over; the limits per day and
    altogether hold for inviter and upline, the friend's own reward is never cut by them.
    """
    if reward.review is not Review.APPROVED:
        if programme.reject_score is not None and reward.risk.score >= programme.reject_score:
            return Decision(state=ReferralState.REJECTED, reason=_heaviest(reward.risk))
        if reward.risk.score >= programme.review_score:
            return Decision(state=ReferralState.HELD, needs_review=True)
    if now < reward.held_until:
        return Decision(state=ReferralState.HELD)
    if reward.side is not Side.INVITEE:
        over_day = programme.daily_limit is not None and reward.paid_today >= programme.daily_limit
        over_all = programme.total_limit is not None and reward.paid_ever >= programme.total_limit
        if over_day or over_all:
            return Decision(state=ReferralState.REJECTED, reason=RejectReason.LIMIT)
    return Decision(state=ReferralState.PAID)


def _heaviest(risk: RiskScore) -> RejectReason:
    signal = risk.evidence[0].signal.value
    return RejectReason(signal) if signal in set(RejectReason) else RejectReason.SUSPICIOUS


def admit_review(state: ReferralState, *, needs_review: bool) -> None:
    """Whether a person may decide this reward now. Raises: ReferralReviewRefused."""
    if state is not ReferralState.HELD or not needs_review:
        raise ReferralReviewRefused(state=state.value)


def admit_note(note: str) -> str:
    """What somebody noted, without blanks around it. Raises: ReferralNoteInvalid."""
    plain = note.strip()
    if not 1 <= len(plain) <= MAX_NOTE_LENGTH:
        raise ReferralNoteInvalid(most=MAX_NOTE_LENGTH)
    return plain


def after_refund(programme: ReferralProgramme, *, state: ReferralState, paid_fen_left: int) -> ReferralState | None:
    """What a refund of the friend's first order does to a first-order reward; None: nothing.

    Once less than ``min_order_fen`` of the order is left, a reward that is not paid is rejected as order_refunded, and
    a paid one is clawed back, with a debt if the points are spent.
    """
    if paid_fen_left >= programme.min_order_fen:
        return None
    match state:
        case ReferralState.QUALIFIED | ReferralState.HELD:
            return ReferralState.REJECTED
        case ReferralState.PAID:
            return ReferralState.CLAWED_BACK
        case _:
            return None


# Goals and the leaderboard


def unlocked(programme: ReferralProgramme, *, friends: int, before: Collection[str]) -> tuple[Goal, ...]:
    """The goals that ``friends`` reach now and that are not among the codes unlocked ``before``."""
    return tuple(goal for goal in programme.goals if goal.friends <= friends and goal.code not in before)


def lost(programme: ReferralProgramme, *, friends: int, before: Collection[str]) -> tuple[Goal, ...]:
    """The unlocked goals that ``friends`` no longer reach after a claw-back; their rewards are taken back too."""
    return tuple(goal for goal in programme.goals if goal.friends > friends and goal.code in before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A member's friends in a period, and when the latest of them counted."""

    member_id: UUID
    friends: int
    reached_at: datetime


def leaderboard(standings: Iterable[Standing], top: int) -> tuple[tuple[int, Standing], ...]:
    """The first ``top`` members with their places: most friends first, then who got there earlier, then by id.

    Members without friends do not stand in it; no two share a place.
    """
    ranked = sorted(
        (standing for standing in standings if standing.friends > 0),
        key=lambda standing: (-standing.friends, standing.reached_at, standing.member_id),
    )
    return tuple(enumerate(ranked[:top], start=1))


def period_start(period: LeaderboardPeriod, day: date) -> date:
    """The first day of the week (Monday) or month that a leaderboard of ``day`` counts."""
    return week_start(day) if period is LeaderboardPeriod.WEEK else month_start(day)
