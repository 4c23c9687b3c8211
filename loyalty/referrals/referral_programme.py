"""The rules of referral that operators publish: who counts, what is paid for which result, and when.

Source: docs/rules/referral.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from loyalty.programme import DUPLICATE, NOT_ASCENDING, REQUIRED, Definition, Fields, Reason, invalid
from loyalty.referrals.referral_risk import RiskSignal, parse_weights

MAX_DEPTH = 2
"""The law's limit for rewards up a chain of referrals; no definition can lift it."""


class BindingSource(StrEnum):
    """How the friend came."""

    QR = "qr"
    CARD = "card"
    CODE = "code"


class Stage(StrEnum):
    """The results that are rewarded. Sharing is not one."""

    REGISTRATION = "registration"
    FIRST_ORDER = "first_order"


class Side(StrEnum):
    """Who is rewarded: who brought the friend, the friend, and with depth 2 who had brought the inviter."""

    INVITER = "inviter"
    INVITEE = "invitee"
    UPLINE = "upline"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReward:
    """What one side gets for one stage."""

    stage: Stage
    side: Side
    points: int = 0
    growth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """So many friends whose first order was rewarded unlock this, once."""

    code: str
    friends: int
    points: int = 0
    growth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralProgramme:
    """One published version of the referral rules. Money is fen, times are days of 24 hours."""

    sources: tuple[BindingSource, ...] = tuple(BindingSource)
    depth: int = 1
    attribution_days: int = 7
    qualify_days: int = 30
    min_order_fen: int = 1
    return_days: int = 7
    daily_limit: int | None = None
    total_limit: int | None = None
    review_score: int = 50
    reject_score: int | None = None
    rewards: tuple[StageReward, ...] = ()
    goals: tuple[Goal, ...] = ()
    weights: Mapping[RiskSignal, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        depth = fields.integer("depth", 1, MAX_DEPTH, 1)
        review_score = fields.integer("review_score", 1, 100, 50)
        programme = cls(
            sources=_parse_sources(fields),
            depth=depth,
            attribution_days=fields.integer("attribution_days", 1, 90, 7),
            qualify_days=fields.integer("qualify_days", 1, 365, 30),
            min_order_fen=fields.integer("min_order_fen", 1, 1_000_000_000, 1),
            return_days=fields.integer("return_days", 0, 90, 7),
            daily_limit=fields.optional_integer("daily_limit", 1, 10_000),
            total_limit=fields.optional_integer("total_limit", 1, 1_000_000),
            review_score=review_score,
            reject_score=fields.optional_integer("reject_score", review_score, 100),
            rewards=_parse_rewards(fields.parts("rewards", 6), depth),
            goals=_parse_goals(fields.parts("goals", 20)),
            weights=parse_weights(fields.part("weights")),
        )
        fields.done()
        return programme

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to an equal programme."""
        return {
            "sources": [source.value for source in self.sources],
            "depth": self.depth,
            "attribution_days": self.attribution_days,
            "qualify_days": self.qualify_days,
            "min_order_fen": self.min_order_fen,
            "return_days": self.return_days,
            "daily_limit": self.daily_limit,
            "total_limit": self.total_limit,
            "review_score": self.review_score,
            "reject_score": self.reject_score,
            "rewards": [
                {
                    "stage": reward.stage.value,
                    "side": reward.side.value,
                    "points": reward.points,
                    "growth": reward.growth,
                }
                for reward in self.rewards
            ],
            "goals": [
                {"code": goal.code, "friends": goal.friends, "points": goal.points, "growth": goal.growth}
                for goal in self.goals
            ],
            "weights": {signal.value: weight for signal, weight in self.weights.items()},
        }

    def rewards_for(self, stage: Stage) -> tuple[StageReward, ...]:
        """What the sides get for a stage."""
        return tuple(reward for reward in self.rewards if reward.stage is stage)


_NO_REWARD = Reason("must be above 0, or growth must", "积分与成长值不能同时为 0")


def _parse_sources(fields: Fields) -> tuple[BindingSource, ...]:
    if not fields.has("sources"):
        return tuple(BindingSource)
    codes = fields.codes("sources")
    if not codes:
        raise invalid("sources", REQUIRED)
    for position, code in enumerate(codes):
        if code not in set(BindingSource):
            allowed = ", ".join(BindingSource)
            raise invalid(f"sources[{position}]", Reason(f"must be one of: {allowed}", "不在可选范围内"))
    return tuple(BindingSource(code) for code in codes)


def _parse_rewards(items: Sequence[Fields], depth: int) -> tuple[StageReward, ...]:
    rewards: list[StageReward] = []
    for item in items:
        reward = StageReward(
            stage=item.choice("stage", Stage),
            side=item.choice("side", Side),
            points=item.integer("points", 0, 1_000_000, 0),
            growth=item.integer("growth", 0, 1_000_000, 0),
        )
        item.done()
        if any((reward.stage, reward.side) == (other.stage, other.side) for other in rewards):
            raise invalid(item.path("side"), DUPLICATE)
        if reward.side is Side.UPLINE and (depth < 2 or reward.stage is not Stage.FIRST_ORDER):
            reason = Reason("needs depth 2 and a first order, never a head-count", "须为二级且仅限首单，不得按人头奖励")
            raise invalid(item.path("side"), reason)
        if not reward.points and not reward.growth:
            raise invalid(item.path("points"), _NO_REWARD)
        rewards.append(reward)
    return tuple(rewards)


def _parse_goals(items: Sequence[Fields]) -> tuple[Goal, ...]:
    goals: list[Goal] = []
    for item in items:
        goal = Goal(
            code=item.code("code"),
            friends=item.integer("friends", 1, 10_000),
            points=item.integer("points", 0, 1_000_000, 0),
            growth=item.integer("growth", 0, 1_000_000, 0),
        )
        item.done()
        if any(goal.code == other.code for other in goals):
            raise invalid(item.path("code"), DUPLICATE)
        if goals and goal.friends <= goals[-1].friends:
            raise invalid(item.path("friends"), NOT_ASCENDING)
        if not goal.points and not goal.growth:
            raise invalid(item.path("points"), _NO_REWARD)
        goals.append(goal)
    return tuple(goals)
