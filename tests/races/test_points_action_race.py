"""Deeds reported by many at once: each once, limits and caps exact; the control takes the member's lock away."""

from collections import Counter
from uuid import UUID

import pytest

from loyalty.refusal import Refusal
from models.ids import new_secret
from models.points.points import PointsAccount
from models.points.points_action import PointsAction
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.points.points_action import reward
from resolvers.programme import ProgrammeKind
from tests.doors import make_member, make_operator
from tests.races.buyers import (
    assert_the_books_are_right,
    at_once,
    decided_before_any_writes,
    without_member_locks,
)
from tests.rulebook import published

AT_ONCE = 20


async def rules(deps: Deps, **more: object) -> None:
    actions = [
        {"code": "review", "points": 10, "times_per_day": 3},
        {"code": "visit", "points": 7, "times_per_member": 15},
    ]
    await published(deps, ProgrammeKind.POINTS, {"actions": actions, **more})


async def outcome(deps: Deps, member_id: UUID, code: str, cause: str) -> str:
    boss = await make_operator(deps)
    try:
        deed = await reward(
            deps,
            operator_id=boss.id,
            member_id=member_id,
            action_code=code,
            cause=cause,
            idempotency_key=new_secret(12),
        )
    except Refusal as refusal:
        return refusal.code
    return str(deed.id)


async def test_one_deed_reported_by_twenty_is_rewarded_once(deps: Deps) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    assert len(set(await at_once(outcome(deps, member_id, "review", "r-1") for _ in range(AT_ONCE)))) == 1
    assert (await PointsAccount.get(member_id=member_id)).balance == 10
    await assert_the_books_are_right()


async def test_limits_and_caps_hold_whatever_comes_together(deps: Deps) -> None:
    await rules(deps, cap_per_day=100)
    member_id = (await make_member(deps)).id
    answers = await at_once(
        outcome(deps, member_id, code, f"{code}-{at}") for at in range(AT_ONCE) for code in ("review", "visit")
    )
    assert Counter(answers)["ACTION_LIMIT_REACHED"] == (AT_ONCE - 3) + (AT_ONCE - 15)
    deeds = await PointsAction.filter(member_id=member_id)
    assert Counter(row.code for row in deeds) == {"review": 3, "visit": 15}
    assert sum(row.points for row in deeds) == 100 == (await PointsAccount.get(member_id=member_id)).balance
    await assert_the_books_are_right()


async def test_control_without_the_members_lock_limits_and_caps_are_passed(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rules(deps, cap_per_day=30)
    member_id = (await make_member(deps)).id
    without_member_locks(monkeypatch, together=6)
    decided_before_any_writes(monkeypatch, points, "credit", together=6)
    answers = await at_once(outcome(deps, member_id, "review", f"r-{at}") for at in range(6))
    assert "ACTION_LIMIT_REACHED" not in answers
    assert (await PointsAccount.get(member_id=member_id)).balance == 60
