"""Many refunds of the same pieces at once: each piece goes back once, and never more than was paid."""

import asyncio
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from loyalty.orders.order import OrderStateRefused
from loyalty.payments.after_sale import AfterSaleKind, AfterSaleReason
from loyalty.payments.refund import RefundInProgress, RefundLinesInvalid
from models.ids import new_secret
from models.orders.order import Order, OrderLine
from models.payments.after_sale import AfterSale, OrderRefund
from resolvers.deps import Deps
from resolvers.payments import after_sale, after_sale_row, refund, refund_part
from resolvers.payments.after_sale import Asked
from tests.doors import Door, make_operator
from tests.races.buyers import (
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_constraints,
    without_member_locks,
)
from tests.refunds import bought, lines_of
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

CALLS = 8


async def paid(deps: Deps, shop: Door, wechat: SandboxControl) -> OrderLine:
    """The only line, of 4 pieces at 100 yuan, of a paid order."""
    member = await buyer(deps, shop, wechat)
    order = await bought(deps, wechat, member.member_id, {await put_on_shelf(deps, price_fen=10_000): 4})
    return (await lines_of(order.id))[0]


async def refund_some(deps: Deps, operator_id: UUID, line: OrderLine, quantity: int) -> str:
    try:
        await refund.refund_lines(
            deps,
            operator_id=operator_id,
            order_id=line.order_id,
            pieces={line.id: quantity},
            reason="退货",
            shops_fault=False,
            goods_come_back=True,
            expected=None,
            idempotency_key=new_secret(12),
        )
    except (RefundInProgress, RefundLinesInvalid, OrderStateRefused) as refusal:
        return refusal.code
    return "ok"


async def test_refunds_of_the_same_pieces_at_once_give_each_back_once(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    line = await paid(deps, shop, wechat)
    bosses = [(await make_operator(deps)).id for _ in range(CALLS)]
    answers = await at_once(refund_some(deps, boss, line, 3) for boss in bosses)
    await wechat.settle()
    assert answers.count("ok") == 1
    assert set(answers) <= {"ok", "REFUND_IN_PROGRESS", "REFUND_LINES_INVALID"}
    found = await OrderLine.get(id=line.id)
    assert (found.refunded_count, found.refunding_count) == (3, 0)
    assert (await Order.get(id=line.order_id)).refunded_fen == 30_000
    assert await one("SELECT sum(amount_fen)::int FROM refund WHERE order_id = $1", line.order_id) == 30_000
    await assert_the_books_are_right()


async def test_without_lock_and_guards_pieces_go_back_twice(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await paid(deps, shop, wechat)
    bosses = [(await make_operator(deps)).id for _ in range(2)]
    await without_constraints("order_line", "shop_order", "order_refund")
    without_member_locks(monkeypatch, together=2)
    decided_before_any_writes(monkeypatch, refund_part, "_write", together=2)
    answers = await at_once(refund_some(deps, boss, line, 2) for boss in bosses)
    assert answers == ["ok", "ok"]
    assert await OrderRefund.filter(order_id=line.order_id).count() == 2


async def test_without_the_lock_alone_the_constraints_stop_the_second(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await paid(deps, shop, wechat)
    bosses = [(await make_operator(deps)).id for _ in range(2)]
    without_member_locks(monkeypatch, together=2)
    decided_before_any_writes(monkeypatch, refund_part, "_write", together=2)
    answers = await asyncio.gather(*(refund_some(deps, boss, line, 2) for boss in bosses), return_exceptions=True)
    stopped = [answer for answer in answers if isinstance(answer, IntegrityError)]
    assert len(stopped) == 1
    assert "order_refund_one_at_a_time" in str(stopped[0])
    assert await OrderRefund.filter(order_id=line.order_id).count() == 1


async def ask(deps: Deps, member_id: UUID, line: OrderLine) -> str:
    asked = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 3})
    try:
        await after_sale.request(
            deps, member_id=member_id, order_id=line.order_id, asked=asked, idempotency_key=new_secret(12)
        )
    except RefundLinesInvalid as refusal:
        return refusal.code
    return "ok"


async def test_requests_for_the_same_pieces_at_once_are_one(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    line = await paid(deps, shop, wechat)
    member_id = (await Order.get(id=line.order_id)).member_id
    answers = await at_once(ask(deps, member_id, line) for _ in range(CALLS))
    assert sorted(answers) == sorted(["ok"] + ["REFUND_LINES_INVALID"] * (CALLS - 1))
    assert (await OrderLine.get(id=line.id)).claimed_count == 3
    await assert_the_books_are_right()


async def test_without_lock_and_guards_a_piece_stands_in_two_requests(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await paid(deps, shop, wechat)
    member_id = (await Order.get(id=line.order_id)).member_id

    async def no_guard(_: UUID, __: dict[UUID, int]) -> None:
        """Nothing is counted."""

    without_member_locks(monkeypatch, together=2)
    monkeypatch.setattr(after_sale, "claim", no_guard)
    decided_before_any_writes(monkeypatch, after_sale, "write_lines", together=2)
    assert after_sale_row.claim is not no_guard
    answers = await at_once(ask(deps, member_id, line) for _ in range(2))
    assert answers == ["ok", "ok"]
    assert await AfterSale.filter(order_id=line.order_id).count() == 2
