"""One missed day made up many times at once, beside check-ins and spends; the control takes the member's lock away."""

from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.points.check_in import AlreadyCheckedIn
from loyalty.points.check_in_make_up import MakeUpLimitReached
from loyalty.points.points import PointsShort
from loyalty.refusal import Refusal
from models.ids import new_secret
from models.people.member import Member
from models.points.check_in import CheckIn
from models.points.points import PointsAccount
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.points import check_in, check_in_calendar
from resolvers.points.check_in_calendar import make_up_day
from resolvers.programme import ProgrammeKind
from tests.doors import Bearer, Door, bearer, make_member
from tests.races.buyers import (
    assert_the_books_are_right,
    at_once,
    decided_before_any_writes,
    without_member_locks,
)
from tests.rulebook import published

AT_ONCE = 20
MAKE_UP = """
mutation ($day: Date!, $key: IdempotencyKey!) {
  checkInMakeUp(day: $day, idempotencyKey: $key) {
    __typename
    ... on CheckInMadeUp { checkIn { id streakDays pricePoints points } }
    ... on Refusal { code }
  }
}
"""


async def who_missed_the_19th(deps: Deps, clock: SetClock, **terms: Any) -> UUID:
    """A member with 20 points, who came on the 17th and 18th and is here on the 20th."""
    clock.at = datetime(2026, 11, 17, 4, 0, tzinfo=UTC)
    make_up = {"window_days": 10, "monthly_limit": 31, "price_points": 12, "pays_day": True} | terms
    await published(
        deps,
        ProgrammeKind.CHECK_IN,
        {"base_points": 10, "cycle_days": 30, "streak_rewards": [{"days": 3, "points": 50}], "make_up": make_up},
    )
    row = await make_member(deps)
    for _ in range(2):
        await comes(deps, row.id)
        clock.advance(timedelta(days=1))
    clock.advance(timedelta(days=1))
    return row.id


async def comes(deps: Deps, member_id: UUID) -> CheckIn:
    return await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))


async def makes_up(deps: Deps, member_id: UUID, day: int) -> CheckIn:
    return await make_up_day(deps, member_id=member_id, day=date(2026, 11, day), idempotency_key=new_secret(12))


async def outcome(verb: Awaitable[CheckIn]) -> str:
    try:
        await verb
    except Refusal as refusal:
        return refusal.code
    return "done"


async def test_twenty_taps_make_the_day_up_once_and_pay_its_price_once(deps: Deps, clock: SetClock, shop: Door) -> None:
    member_id = await who_missed_the_19th(deps, clock)
    token: Bearer = await bearer(deps, await Member.get(id=member_id))
    answers = await at_once(
        shop.ask(MAKE_UP, {"day": "2026-11-19", "key": new_secret(12)}, token=token) for _ in range(AT_ONCE)
    )
    kinds = Counter(one["checkInMakeUp"]["__typename"] for one in answers)
    assert kinds == {"CheckInMadeUp": 1, "AlreadyCheckedIn": AT_ONCE - 1}
    assert (await PointsAccount.get(member_id=member_id)).balance == 20 - 12 + 10 + 50
    await assert_the_books_are_right()


async def test_a_make_up_racing_the_check_in_ends_in_one_streak_whoever_is_first(deps: Deps, clock: SetClock) -> None:
    for at in range(5):
        member_id = await who_missed_the_19th(deps, clock)
        both = [comes(deps, member_id), makes_up(deps, member_id, 19)]
        assert await at_once(outcome(verb) for verb in (both if at % 2 else reversed(both))) == ["done", "done"]
        found = await CheckIn.filter(member_id=member_id).order_by("business_day")
        assert [(row.streak_days, row.total_days) for row in found] == [(1, 1), (2, 2), (3, 3), (4, 4)]
        assert (await PointsAccount.get(member_id=member_id)).balance == 20 - 12 + 10 + 10 + 50
    await assert_the_books_are_right()


async def test_make_ups_of_several_days_keep_the_monthly_limit(deps: Deps, clock: SetClock) -> None:
    member_id = await who_missed_the_19th(deps, clock, monthly_limit=2, price_points=0, window_days=3)
    clock.advance(timedelta(days=2))
    answers = await at_once(outcome(makes_up(deps, member_id, day)) for day in (19, 20, 21) for _ in range(3))
    assert answers.count("done") == 2
    assert set(answers) <= {"done", AlreadyCheckedIn.code, MakeUpLimitReached.code}
    assert await CheckIn.filter(member_id=member_id, made_up_on__isnull=False).count() == 2
    await assert_the_books_are_right()


async def test_a_balance_that_pays_one_price_pays_one(deps: Deps, clock: SetClock) -> None:
    member_id = await who_missed_the_19th(deps, clock, price_points=20, pays_day=False, window_days=3)
    clock.advance(timedelta(days=2))
    answers = await at_once(outcome(makes_up(deps, member_id, day)) for day in (20, 21))
    assert sorted(answers) == [PointsShort.code, "done"]
    assert (await PointsAccount.get(member_id=member_id)).balance == 0
    await assert_the_books_are_right()


async def test_control_without_the_members_lock_the_limit_is_passed(
    deps: Deps, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    member_id = await who_missed_the_19th(deps, clock, monthly_limit=1, price_points=0)
    clock.advance(timedelta(days=2))
    without_member_locks(monkeypatch, together=2)
    decided_before_any_writes(monkeypatch, check_in_calendar, "changed", together=2)
    assert await at_once(outcome(makes_up(deps, member_id, day)) for day in (19, 21)) == ["done", "done"]
    assert await CheckIn.filter(member_id=member_id, made_up_on__isnull=False).count() == 2
