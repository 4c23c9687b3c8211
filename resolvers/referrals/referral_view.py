"""What members see of referral: their code and counts, their friends and rewards, and who brought most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from tortoise.expressions import Q

from loyalty.referrals.referral import LeaderboardPeriod, Standing, leaderboard, period_start
from loyalty.referrals.referral_programme import Goal, ReferralProgramme
from loyalty.shop_time import add_months, business_day
from models.engine import rows
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.referrals.referral import Referral, ReferralReward
from resolvers.deps import Deps
from resolvers.programme import InForce, referral_programme
from resolvers.referrals.referral import code_of

NEWEST = Keyset("referral.newest", (Key("id", UUID),))
NEWEST_REWARDS = Keyset("referral_reward.newest", (Key("id", UUID),))

MOST_PLACES = 50

_SUMMARY = """
SELECT
    (SELECT count(*) FROM referral WHERE inviter_id = $1) AS invited,
    (SELECT count(*) FROM referral_reward WHERE member_id = $1 AND side = 'inviter' AND stage = 'first_order'
        AND state IN ('qualified', 'held')) AS held,
    (SELECT count(*) FROM referral_reward WHERE member_id = $1 AND side = 'inviter' AND stage = 'first_order'
        AND state = 'paid') AS counted,
    (SELECT coalesce(sum(points), 0)::bigint FROM referral_reward WHERE member_id = $1 AND state = 'paid')
        + (SELECT coalesce(sum(points), 0)::bigint FROM referral_goal WHERE member_id = $1 AND lost_at IS NULL)
        AS points,
    (SELECT coalesce(sum(growth), 0)::bigint FROM referral_reward WHERE member_id = $1 AND state = 'paid')
        + (SELECT coalesce(sum(growth), 0)::bigint FROM referral_goal WHERE member_id = $1 AND lost_at IS NULL)
        AS growth,
    (SELECT coalesce(array_agg(code), '{}') FROM referral_goal WHERE member_id = $1 AND lost_at IS NULL) AS goals,
    coalesce((SELECT running FROM referral_switch ORDER BY at DESC, id DESC LIMIT 1), true) AS running
"""

_STANDINGS = """
SELECT counted.member_id, counted.friends, counted.reached_at, member.nickname, member.avatar_url
FROM (
    SELECT member_id, count(*) AS friends, max(paid_at) AS reached_at FROM referral_reward
    WHERE side = 'inviter' AND stage = 'first_order' AND state = 'paid' AND paid_on >= $1 AND paid_on < $2
    GROUP BY member_id ORDER BY friends DESC, reached_at, member_id LIMIT $3
) counted JOIN member ON member.id = counted.member_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalProgress:
    """A goal of the programme in force, and how far the member is."""

    goal: Goal
    friends: int
    is_unlocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a member sees first of referral."""

    code: str
    programme: InForce[ReferralProgramme]
    running: bool
    invited: int
    held: int
    counted: int
    points: int
    growth: int
    goals: tuple[GoalProgress, ...]


async def summary(deps: Deps, *, member_id: UUID) -> Summary:
    """All of it in three statements, however many friends there are (two more the first time, which makes the code)."""
    code = await code_of(deps, member_id=member_id)
    programme = await referral_programme(deps.clock.now())
    found = (await rows(_SUMMARY, [member_id]))[0]
    return Summary(
        code=code,
        programme=programme,
        running=found["running"],
        invited=found["invited"],
        held=found["held"],
        counted=found["counted"],
        points=found["points"],
        growth=found["growth"],
        goals=tuple(
            GoalProgress(goal=goal, friends=found["counted"], is_unlocked=goal.code in found["goals"])
            for goal in programme.rules.goals
        ),
    )


async def invitees(deps: Deps, *, member_id: UUID, page: Page) -> Slice[Referral]:
    """The friends a member brought, the newest first."""
    return await fetch(Referral.filter(inviter_id=member_id), page)


async def friend_rewards(deps: Deps, referral_ids: Sequence[UUID]) -> Mapping[UUID, ReferralReward]:
    """The inviter's first-order reward of each referral, which says how the friend counts; for loaders."""
    found = await ReferralReward.filter(referral_id__in=referral_ids, side="inviter", stage="first_order")
    return {row.referral_id: row for row in found}


async def rewards(deps: Deps, *, member_id: UUID, page: Page) -> Slice[ReferralReward]:
    """The member's rewards that are worth something, the newest first."""
    return await fetch(ReferralReward.filter(Q(points__gt=0) | Q(growth__gt=0), member_id=member_id), page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A member on the leaderboard."""

    place: int
    standing: Standing
    nickname: str
    avatar_url: str


async def places(deps: Deps, *, period: LeaderboardPeriod, day: date | None, top: int) -> tuple[date, Sequence[Place]]:
    """The first day of the period that ``day`` (today, if None) is in, and who brought most friends in it."""
    assert 1 <= top <= MOST_PLACES, f"the first {top}"
    first = period_start(period, day or business_day(deps.clock.now(), deps.zone))
    end = date.fromordinal(first.toordinal() + 7) if period is LeaderboardPeriod.WEEK else add_months(first, 1)
    found = {row["member_id"]: row for row in await rows(_STANDINGS, [first, end, top])}
    ranked = leaderboard(
        [
            Standing(member_id=row["member_id"], friends=row["friends"], reached_at=row["reached_at"])
            for row in found.values()
        ],
        top,
    )
    return first, [
        Place(
            place=place,
            standing=standing,
            nickname=found[standing.member_id]["nickname"],
            avatar_url=found[standing.member_id]["avatar_url"],
        )
        for place, standing in ranked
    ]
