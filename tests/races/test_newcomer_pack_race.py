"""One newcomer, many workers: the pack is given once."""

from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from models.coupons.coupon import CouponTemplate
from resolvers.coupons import newcomer_pack
from resolvers.deps import Deps
from resolvers.programme import ProgrammeKind
from tests.coupons import counted, make_template
from tests.doors import make_member
from tests.races.buyers import (
    assert_the_books_are_right,
    at_once,
    decided_before_any_writes,
    one,
    without_constraints,
    without_member_locks,
)
from tests.rulebook import published


async def packed(deps: Deps, count: int) -> CouponTemplate:
    """The template whose coupons newcomers get from now on."""
    template = await make_template(deps)
    items = [{"template_code": template.code, "count": count}]
    await published(deps, ProgrammeKind.NEWCOMER_PACK, {"items": items})
    return template


async def give(deps: Deps, member_id: UUID) -> str:
    try:
        await newcomer_pack.give(deps, member_id=member_id)
    except IntegrityError:
        return "refused"
    return "given"


async def test_many_workers_give_a_pack_once(deps: Deps) -> None:
    template = await packed(deps, 2)
    members = [(await make_member(deps)).id for _ in range(4)]
    assert set(await at_once(give(deps, member_id) for member_id in members * 4)) == {"given"}
    assert await counted(template) == (8, 8_000)
    await assert_the_books_are_right()


async def test_the_constraint_alone_keeps_a_pack_to_once(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    template = await packed(deps, 1)
    assert sorted(await _unlocked(deps, monkeypatch)) == ["given", "refused"]
    assert await counted(template) == (1, 1_000)


async def test_without_locks_and_constraints_a_pack_is_given_twice(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    template = await packed(deps, 1)
    await without_constraints("coupon")
    assert await _unlocked(deps, monkeypatch) == ["given", "given"]
    assert await one("SELECT count(*) FROM coupon WHERE template_id = $1", template.id) == 2


async def _unlocked(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    member_id = (await make_member(deps)).id
    without_member_locks(monkeypatch, together=2)
    decided_before_any_writes(monkeypatch, newcomer_pack, "give_many", together=2)
    return await at_once(give(deps, member_id) for _ in range(2))
