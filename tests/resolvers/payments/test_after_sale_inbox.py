"""After-sale requests in the exceptions inbox: each time a person is needed is told, and settles itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest_asyncio

from jobs.worker import run_due
from loyalty.payments.after_sale import AfterSaleKind, AfterSaleReason, AfterSaleTerms
from models.ids import new_secret
from models.orders.order import Order
from models.payments.after_sale import AfterSale
from models.payments.payment import ExceptionCase
from resolvers.clock import SetClock
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.payments import after_sale, after_sale_decision, refund
from resolvers.payments.after_sale import Asked
from resolvers.programme import ProgrammeKind
from tests.doors import make_member, make_operator
from tests.refunds import ask_back, bought, lines_of, send
from tests.rulebook import published
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

SILENT = timedelta(hours=48)
SILENCE: dict[str, object] = {"reason": None, "open": True}
BLOCKED: dict[str, object] = {"reason": "CLAWBACK_BLOCKED", "open": True}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because its clock does what is due for all orders there are."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach, where earned points that are spent block a refund; its books hold afterwards."""
    await published(deps, ProgrammeKind.POINTS, {"clawback_mode": "block"})
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


async def blocked_order(deps: Deps, wechat: SandboxControl) -> tuple[Order, Order]:
    """A paid order of one piece whose points are spent on the other one."""
    member = await make_member(deps, openid=await wechat.openid())
    first = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=50_000): 1})
    second = await bought(deps, wechat, member.id, {await put_on_shelf(deps, price_fen=1_000): 1}, points=400)
    return first, second


async def passes(deps: Deps, clock: SetClock, wechat: SandboxControl, span: timedelta) -> None:
    clock.advance(span)
    await wechat.advance(span.total_seconds())
    await run_due(deps)
    await wechat.settle()


async def told(one: Order) -> list[dict[str, object]]:
    """What the inbox says about requests of the order, oldest first."""
    found = await ExceptionCase.filter(order_id=one.id, kind="after_sale_overdue").order_by("id")
    return [{"reason": case.details.get("reason"), "open": case.resolved_at is None} for case in found]


def settled(*cases: dict[str, object]) -> list[dict[str, object]]:
    return [{**case, "open": False} for case in cases]


async def test_a_refund_that_is_blocked_is_told_though_the_shop_had_been_silent_before(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    one, spent_on = await blocked_order(deps, wechat)
    await send(deps, one.id)
    await fulfilment.confirm_receipt(deps, member_id=one.member_id, order_id=one.id)
    (line,) = await lines_of(one.id)
    row = await ask_back(deps, one, {line.id: 1}, AfterSaleKind.RETURN_AND_REFUND)
    await passes(deps, clock, wechat, SILENT)
    assert await told(one) == [SILENCE]
    boss = await make_operator(deps)
    await after_sale_decision.approve(
        deps, operator_id=boss.id, after_sale_id=row.id, words="", expected=None, idempotency_key=new_secret(12)
    )
    assert await told(one) == settled(SILENCE)
    await after_sale.send_back(deps, member_id=one.member_id, after_sale_id=row.id, carrier="顺丰", number="SF1")
    await passes(deps, clock, wechat, timedelta(days=10))
    assert await told(one) == [*settled(SILENCE), BLOCKED]
    await refund.refund_order(
        deps, operator_id=boss.id, order_id=spent_on.id, reason="缺货", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    await passes(deps, clock, wechat, after_sale_decision.STUCK)
    assert (await AfterSale.get(id=row.id)).state == "refunded"
    assert await told(one) == settled(SILENCE, BLOCKED)


async def test_a_request_that_was_changed_is_told_again_when_the_shop_stays_silent(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = open_store
    member = await make_member(deps, openid=await wechat.openid())
    one = await bought(deps, wechat, member.id, {await put_on_shelf(deps): 2})
    (line,) = await lines_of(one.id)
    row = await ask_back(deps, one, {line.id: 1})
    await passes(deps, clock, wechat, SILENT)
    other = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 2})
    await after_sale.change(deps, member_id=one.member_id, after_sale_id=row.id, asked=other)
    assert await told(one) == settled(SILENCE)
    await passes(deps, clock, wechat, SILENT)
    assert await told(one) == [*settled(SILENCE), SILENCE]
    boss = await make_operator(deps)
    await refund.refund_order(deps, operator_id=boss.id, order_id=one.id, reason="缺货", idempotency_key=new_secret(12))
    assert (await AfterSale.get(id=row.id)).state == "closed"
    assert await told(one) == settled(SILENCE, SILENCE)


async def test_a_silent_approval_that_is_blocked_is_told_again_after_a_change(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    deps = replace(open_store, after_sale=AfterSaleTerms(approves_on_silence=True))
    one, _ = await blocked_order(deps, wechat)
    (line,) = await lines_of(one.id)
    row = await ask_back(deps, one, {line.id: 1})
    await passes(deps, clock, wechat, SILENT)
    assert await told(one) == [BLOCKED]
    other = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 1})
    await after_sale.change(deps, member_id=one.member_id, after_sale_id=row.id, asked=other)
    await passes(deps, clock, wechat, SILENT)
    assert await told(one) == [*settled(BLOCKED), BLOCKED]
    await after_sale.withdraw(deps, member_id=one.member_id, after_sale_id=row.id)
    last = await ExceptionCase.filter(order_id=one.id, kind="after_sale_overdue").order_by("-id").first()
    assert last is not None
    assert last.resolution == "会员撤销了申请"
