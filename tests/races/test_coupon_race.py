"""Many members, few coupons; one coupon, two orders; one budget, many claims; one code, many members."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from loyalty.coupons.coupon import CouponCodeInvalid, CouponsGone, GrantState
from loyalty.refusal import Refusal
from models.asyncpg_backend import Unavailable
from models.coupons.coupon import CouponCode, CouponGrant, CouponQuota, CouponTemplate
from models.engine import changed
from models.ids import new_secret
from models.orders.order import Order
from resolvers.coupons import coupon, coupon_grant, coupon_hold, coupon_issue, coupon_template
from resolvers.deps import Deps
from tests.coupons import claimed, counted, make_template
from tests.doors import Door, make_member, make_operator
from tests.races.buyers import (
    TRIES,
    Buyer,
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_member_locks,
)
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

TEMPLATE = 100
CLAIMS = 500
GRANTED = 60
PLACE = """
mutation Place($lines: [OrderLineInput!]!, $coupons: [ID!]!, $key: IdempotencyKey!) {
  done: orderPlace(input: {lines: $lines, couponIds: $coupons}, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id couponAmount } } ... on Refusal { code }
  }
}
"""


async def members_of(deps: Deps, many: int) -> list[UUID]:
    """So many members at once, quickly made."""
    return [(await make_member(deps)).id for _ in range(many)]


async def try_claim(deps: Deps, member_id: UUID, template: CouponTemplate) -> type[Refusal] | None:
    """One tap, sent again as long as the store is too busy; why it was refused."""
    key = new_secret(12)
    for _ in range(TRIES):
        try:
            await coupon.claim(deps, member_id=member_id, template_id=template.id, idempotency_key=key)
        except Unavailable:
            continue
        except Refusal as refusal:
            return type(refusal)
        return None
    raise AssertionError("the store is busy for too long")


async def started(deps: Deps, template: CouponTemplate, member_ids: list[UUID]) -> CouponGrant:
    """A bulk grant that waits to be carried out."""
    boss = await make_operator(deps)
    return await coupon_grant.start(
        deps,
        operator_id=boss.id,
        template_id=template.id,
        member_ids=member_ids,
        tier_codes=[],
        reason="周年庆",
        idempotency_key=new_secret(12),
    )


async def granted(deps: Deps, grant: CouponGrant, under_way: asyncio.Event) -> CouponGrant:
    """The grant at its end, as two workers carry it out side by side; tells after its first step."""

    async def worker() -> None:
        goes_on = True
        while goes_on:
            # The next round of the job comes again when the store is too busy, and so does this one.
            with suppress(Unavailable):
                goes_on = await coupon_grant.advance(deps, grant_id=grant.id)
            under_way.set()

    await at_once([worker(), worker()])
    return await CouponGrant.get(id=grant.id)


async def test_500_claims_and_a_bulk_grant_of_a_template_of_100_give_out_exactly_100(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupon_grant, "STEP", 10)
    template = await make_template(deps, total_limit=TEMPLATE, member_limit=1)
    claimers, others = await members_of(deps, CLAIMS), await members_of(deps, GRANTED)
    # The grant comes in between: some claims are ahead of it, the others come while it goes on.
    under_way = asyncio.Event()
    begun = await started(deps, template, others)

    async def claim_later(member_id: UUID) -> type[Refusal] | None:
        await under_way.wait()
        return await try_claim(deps, member_id, template)

    answers: list[Any] = await at_once(
        [
            *(try_claim(deps, member_id, template) for member_id in claimers[:30]),
            granted(deps, begun, under_way),
            *(claim_later(member_id) for member_id in claimers[30:]),
        ]
    )
    (grant,) = [answer for answer in answers if isinstance(answer, CouponGrant)]
    claims = [answer for answer in answers if not isinstance(answer, CouponGrant)]
    assert set(claims) == {None, CouponsGone}
    assert claims.count(None) + grant.granted_count == TEMPLATE
    assert 0 < grant.granted_count <= GRANTED
    assert (grant.state == GrantState.EXHAUSTED) is (grant.granted_count < GRANTED)
    assert await counted(template) == (TEMPLATE, TEMPLATE * 1_000)
    assert await one("SELECT count(*) FROM coupon") == TEMPLATE
    assert await one("SELECT count(DISTINCT member_id) FROM coupon") == TEMPLATE
    await assert_the_books_are_right()


async def test_claims_that_look_before_they_take_give_out_more_than_there_are(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = await make_template(deps, total_limit=20)
    claimers = await members_of(deps, 100)

    async def look_then_take(wanted: coupon_issue.Template, count: int, **_: object) -> None:
        quota = await CouponQuota.get(template_id=wanted.row.id)
        if quota.total_limit is not None and quota.issued_count + count > quota.total_limit:
            raise CouponsGone
        await changed(
            "UPDATE coupon_quota SET issued_count = $2 WHERE template_id = $1",
            [wanted.row.id, quota.issued_count + count],
        )

    monkeypatch.setattr(coupon_issue, "take", look_then_take)
    await at_once(try_claim(deps, member_id, template) for member_id in claimers)
    assert await one("SELECT count(*) FROM coupon") > 20


async def test_a_budget_is_kept_under_parallel_claims(deps: Deps) -> None:
    template = await make_template(deps, budget_fen=19_999)
    claimers = await members_of(deps, 100)
    answers = await at_once(try_claim(deps, member_id, template) for member_id in claimers)
    assert answers.count(None) == 19
    assert set(answers) == {None, CouponsGone}
    assert await counted(template) == (19, 19_000)
    await assert_the_books_are_right()


async def test_ten_taps_of_one_member_on_a_limit_of_one_give_one_coupon(deps: Deps) -> None:
    template, (member_id,) = await make_template(deps, member_limit=1), await members_of(deps, 1)
    answers = await at_once(try_claim(deps, member_id, template) for _ in range(10))
    assert answers.count(None) == 1
    assert await counted(template) == (1, 1_000)


async def test_a_code_typed_by_many_at_once_gives_one_coupon(deps: Deps) -> None:
    template, boss = await make_template(deps), await make_operator(deps)
    batch = await coupon_template.make_codes(
        deps,
        operator_id=boss.id,
        template_id=template.id,
        title="包裹卡",
        size=1,
        closes_at=None,
        idempotency_key=new_secret(12),
    )
    code = await CouponCode.get(batch_id=batch.id)

    async def redeem(member_id: UUID) -> type[Refusal] | None:
        try:
            await coupon.redeem_code(deps, member_id=member_id, code=code.code, idempotency_key=new_secret(12))
        except Refusal as refusal:
            return type(refusal)
        return None

    answers = await at_once(redeem(member_id) for member_id in await members_of(deps, 20))
    assert answers.count(None) == 1
    assert set(answers) == {None, CouponCodeInvalid}
    assert await counted(template) == (1, 1_000)
    await assert_the_books_are_right()


async def place(member: Buyer, sku_id: UUID, coupon_id: UUID) -> dict[str, Any]:
    lines = [{"skuId": str(sku_id), "quantity": 1}]
    return await member.ask(PLACE, lines=lines, coupons=[str(coupon_id)], key=new_secret(12))


async def test_of_two_orders_at_once_one_uses_the_coupon(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sku_id = await put_on_shelf(deps)
    for _ in range(5):
        member = await buyer(deps, shop, wechat)
        mine = await claimed(deps, member.member_id)
        answers = await at_once(place(member, sku_id, mine.id) for _ in range(2))
        assert sorted(answer["__typename"] for answer in answers) == ["CouponNotUsable", "OrderPlaced"]
        assert await one("SELECT count(*) FROM order_coupon WHERE coupon_id = $1", mine.id) == 1
    await assert_the_books_are_right()


async def test_the_write_alone_keeps_a_coupon_to_one_order(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku_id, member = await put_on_shelf(deps), await buyer(deps, shop, wechat)
    mine = await claimed(deps, member.member_id)
    without_member_locks(monkeypatch, together=2)
    answers = await at_once(place(member, sku_id, mine.id) for _ in range(2))
    assert sorted(answer["__typename"] for answer in answers) == ["CouponNotUsable", "OrderPlaced"]
    assert await one("SELECT count(*) FROM order_coupon WHERE coupon_id = $1", mine.id) == 1


async def test_reserving_by_primary_key_after_an_earlier_read_puts_one_coupon_on_two_orders(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku_id, member = await put_on_shelf(deps), await buyer(deps, shop, wechat)
    mine = await claimed(deps, member.member_id)
    without_member_locks(monkeypatch, together=2)

    async def by_primary_key(order: Order, wanted: list[UUID], now: datetime) -> None:
        await changed(
            "UPDATE coupon SET state = 'reserved', order_id = $2, reserved_until = $3, due_at = NULL "
            "WHERE id = ANY($1::uuid[])",
            [wanted, order.id, order.pay_by],
        )

    monkeypatch.setattr(coupon_hold, "_reserve", by_primary_key)
    decided_before_any_writes(monkeypatch, coupon_hold, "_reserve", together=2)
    answers = await at_once(place(member, sku_id, mine.id) for _ in range(2))
    assert [answer["__typename"] for answer in answers] == ["OrderPlaced", "OrderPlaced"]
    assert await one("SELECT count(*) FROM order_coupon WHERE coupon_id = $1", mine.id) == 2
