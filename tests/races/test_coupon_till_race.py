"""One coupon: many tills at once, and a till at the same time as an order."""

from typing import Any
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from loyalty.coupons.coupon import CouponNotUsable, CouponState
from loyalty.coupons.coupon_till import CouponTillCodeInvalid
from loyalty.refusal import Refusal
from models.asyncpg_backend import Conflict
from models.coupons.coupon import Coupon
from models.engine import rows
from models.ids import new_secret
from resolvers.coupons import coupon_till
from resolvers.deps import Deps
from tests.coupons import claimed
from tests.doors import Door, make_member, make_operator
from tests.races.buyers import (
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_constraints,
    without_member_locks,
)
from tests.races.test_coupon_race import place
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf


async def use(deps: Deps, code: str, operator_id: UUID) -> str:
    """A till that reads a code."""
    try:
        await coupon_till.verify(
            deps,
            operator_id=operator_id,
            code=code,
            amount_fen=5_000,
            pick_up_point_id=None,
            place="店",
            note="",
            idempotency_key=new_secret(12),
        )
    except Refusal as refusal:
        return type(refusal).__name__
    except (Conflict, IntegrityError):
        return "refused"
    return "used"


async def codes_of(deps: Deps, coupon: Coupon, many: int) -> list[str]:
    return [(await coupon_till.show(deps, member_id=coupon.member_id, coupon_id=coupon.id)).code for _ in range(many)]


async def test_of_many_tills_at_once_one_uses_the_coupon(deps: Deps) -> None:
    tills = [(await make_operator(deps)).id for _ in range(6)]
    for many_codes in (1, 6):
        coupon = await claimed(deps, (await make_member(deps)).id)
        codes = await codes_of(deps, coupon, many_codes) * (6 // many_codes)
        answers = await at_once(use(deps, code, till) for code, till in zip(codes, tills, strict=True))
        assert answers.count("used") == 1
        assert set(answers) <= {"used", CouponTillCodeInvalid.__name__, CouponNotUsable.__name__}
        assert await one("SELECT count(*) FROM coupon_till_use WHERE coupon_id = $1", coupon.id) == 1
    await assert_the_books_are_right()


async def test_a_till_and_an_order_at_once_one_has_the_coupon(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sku_id, member, till = await put_on_shelf(deps), await buyer(deps, shop, wechat), await make_operator(deps)
    for _ in range(8):
        coupon = await claimed(deps, member.member_id)
        (code,) = await codes_of(deps, coupon, 1)

        async def ordered(coupon_id: UUID = coupon.id) -> str:
            answer: dict[str, Any] = await place(member, sku_id, coupon_id)
            return str(answer["__typename"])

        answers = await at_once([use(deps, code, till.id), ordered()])
        assert answers in (["used", "CouponNotUsable"], ["CouponNotUsable", "OrderPlaced"])
        assert (await Coupon.get(id=coupon.id)).state in {CouponState.USED, CouponState.RESERVED}
    await assert_the_books_are_right()


async def test_the_constraints_alone_keep_a_coupon_to_one_till(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(await _unguarded(deps, monkeypatch)) == ["refused", "used"]


async def test_without_locks_guards_and_constraints_two_tills_use_one_coupon(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    await without_constraints("coupon_till_use", "coupon", "coupon_event")
    assert await _unguarded(deps, monkeypatch) == ["used", "used"]


async def _unguarded(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    coupon = await claimed(deps, (await make_member(deps)).id)
    codes, tills = await codes_of(deps, coupon, 2), [(await make_operator(deps)).id for _ in range(2)]
    without_member_locks(monkeypatch, together=2)

    async def unguarded(coupon_id: UUID, use_id: UUID) -> None:
        await rows(
            "UPDATE coupon SET state = 'used', till_use_id = $2, due_at = NULL WHERE id = $1", [coupon_id, use_id]
        )

    monkeypatch.setattr(coupon_till, "_turn_used", unguarded)
    decided_before_any_writes(monkeypatch, coupon_till, "_write", together=2)
    return await at_once(use(deps, code, till) for code, till in zip(codes, tills, strict=True))
