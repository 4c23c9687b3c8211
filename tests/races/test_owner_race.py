"""Two owners who leave at the same moment: one of them stays."""

import asyncio
from typing import Any

import pytest

from loyalty.people.operator import LastOwner
from loyalty.people.rights import Role
from models.engine import changed
from models.people.operator import Operator
from resolvers.deps import Deps
from resolvers.people import operator as verbs
from tests.doors import make_operator


async def both_leave(deps: Deps) -> list[Operator | BaseException]:
    """The only two owners disable their own accounts at once."""
    await changed("UPDATE operator SET role = 'support' WHERE role = 'owner'")
    owners = [await make_operator(deps, Role.OWNER) for _ in range(2)]
    return await asyncio.gather(
        *(
            verbs.disable(deps, operator_id=one.id, target_id=one.id, idempotency_key=f"leave-{one.id}")
            for one in owners
        ),
        return_exceptions=True,
    )


async def owners_left() -> int:
    return await Operator.filter(role=Role.OWNER, disabled_at=None).count()


async def test_two_owners_who_leave_at_once_do_not_leave_the_store_without_one(deps: Deps) -> None:
    for _ in range(5):
        outcomes = await both_leave(deps)
        assert {type(one) for one in outcomes} == {LastOwner, Operator}
        assert await owners_left() == 1


async def test_control_without_the_lock_both_owners_leave(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = asyncio.Barrier(2)
    counted = verbs._owners

    async def no_lock(sql: str, values: Any = ()) -> list[dict[str, Any]]:
        return []

    async def counted_by_both() -> int:
        count = await counted()
        await seen.wait()
        return count

    monkeypatch.setattr(verbs, "rows", no_lock)
    monkeypatch.setattr(verbs, "_owners", counted_by_both)
    outcomes = await both_leave(deps)
    assert [type(one) for one in outcomes] == [Operator, Operator]
    assert await owners_left() == 0


async def test_many_processes_that_start_at_once_make_one_first_owner(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = f"first-{(await make_operator(deps)).id.hex[:20]}"

    async def nobody_yet(*_: object, **__: object) -> bool:
        return await Operator.filter(login=login).exists()

    monkeypatch.setattr(Operator, "exists", nobody_yet)
    shown = await asyncio.gather(*(verbs.ensure_owner(deps, login=login, password=None) for _ in range(6)))
    assert len([one for one in shown if one is not None]) == 1
    assert await Operator.filter(login=login).count() == 1
