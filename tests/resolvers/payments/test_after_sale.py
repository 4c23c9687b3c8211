"""After-sale requests: asked for, changed, answered, sent back, refunded, and what time does with them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.worker import run_due
from loyalty.idempotency import KeyReused
from loyalty.orders.order import OrderNotFound, OrderState, OrderStateRefused
from loyalty.payments.after_sale import (
    AfterSaleInvalid,
    AfterSaleKind,
    AfterSaleNotFound,
    AfterSaleReason,
    AfterSaleState,
    AfterSaleStateRefused,
    AfterSaleTerms,
    AfterSaleTooLate,
    NoReasonExcluded,
    NothingToReturn,
    ReturnNeeded,
)
from loyalty.payments.exception_case import CaseKind
from loyalty.payments.refund import RefundChanged, RefundEffect, RefundLinesInvalid
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order, OrderLine
from models.payments.after_sale import AfterSale, OrderRefund
from models.payments.payment import ExceptionCase
from resolvers.clock import SetClock
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.payments import after_sale, after_sale_decision, refund
from resolvers.payments.after_sale import Asked
from tests.doors import make_member, make_operator
from tests.refunds import bought, give_back, lines_of, pay_by_hand, send, standing, use_up
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

PICTURE = "https://img.example.com/1.jpg"


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because its clock does what is due for all orders there are."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def open_store(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach; its books hold after every test."""
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


async def paid(deps: Deps, wechat: SandboxControl, *quantities: int) -> tuple[Order, list[OrderLine]]:
    """A paid order with a line for each quantity, 300 yuan a piece."""
    member = await make_member(deps, openid=await wechat.openid())
    wanted = {await put_on_shelf(deps, price_fen=30_000): quantity for quantity in quantities or (1,)}
    one = await bought(deps, wechat, member.id, wanted)
    return one, await lines_of(one.id)


async def received(deps: Deps, one: Order) -> None:
    """All of the order's goods were sent, and are there."""
    await send(deps, one.id)
    await fulfilment.confirm_receipt(deps, member_id=one.member_id, order_id=one.id)


def wish(pieces: dict[UUID, int], **fields: Any) -> Asked:
    return Asked(**{"kind": AfterSaleKind.REFUND_ONLY, "reason": AfterSaleReason.NO_REASON, "pieces": pieces, **fields})


def returned(pieces: dict[UUID, int], **fields: Any) -> Asked:
    return wish(pieces, kind=AfterSaleKind.RETURN_AND_REFUND, **fields)


async def ask(deps: Deps, one: Order, asked: Asked, *, key: str | None = None) -> AfterSale:
    return await after_sale.request(
        deps, member_id=one.member_id, order_id=one.id, asked=asked, idempotency_key=key or new_secret(12)
    )


async def decide(deps: Deps, verb: Any, row: AfterSale, **fields: Any) -> AfterSale:
    boss = await make_operator(deps)
    decided: AfterSale = await verb(
        deps, operator_id=boss.id, after_sale_id=row.id, idempotency_key=new_secret(12), **fields
    )
    return decided


async def approve(deps: Deps, row: AfterSale, **fields: Any) -> AfterSale:
    return await decide(deps, after_sale_decision.approve, row, **{"words": "", "expected": None, **fields})


async def state_of(row: AfterSale) -> str:
    return (await AfterSale.get(id=row.id)).state


async def told(one: Order) -> list[str]:
    found = await rows("SELECT kind FROM order_event WHERE order_id = $1 ORDER BY id", [one.id])
    return [row["kind"] for row in found if row["kind"] not in ("placed", "paid")]


async def wait(wechat: SandboxControl, clock: SetClock, by: timedelta) -> None:
    clock.advance(by)
    await wechat.advance(by.total_seconds())


async def test_before_anything_is_sent_a_member_gets_pieces_back(open_store: Deps, wechat: SandboxControl) -> None:
    one, (line,) = await paid(open_store, wechat, 3)
    seen = await after_sale.preview(
        open_store,
        order_id=one.id,
        member_id=one.member_id,
        pieces={line.id: 2},
        shops_fault=False,
        goods_come_back=False,
    )
    row = await ask(open_store, one, wish({line.id: 2}, text="买多了", pictures=(PICTURE,), expected=seen.digest()))
    assert (row.state, row.answer_by) == ("requested", open_store.clock.now() + timedelta(hours=48))
    assert (await OrderLine.get(id=line.id)).claimed_count == 2
    again = await after_sale.preview_request(open_store, after_sale_id=row.id, member_id=one.member_id)
    assert again.digest() == seen.digest()
    await approve(open_store, row, expected=seen.digest())
    await wechat.settle()
    part = await OrderRefund.get(order_id=one.id)
    assert (await AfterSale.get(id=row.id)).order_refund_id == part.id
    assert (await state_of(row), part.amount_fen, part.reason) == ("refunded", 60_000, "七天无理由退货")
    assert RefundEffect.parse(part.effect) == seen
    assert (await OrderLine.get(id=line.id)).refunded_count == 2
    assert await told(one) == ["after_sale_requested", "after_sale_approved", "refund_requested", "part_refunded"]


async def test_a_return_goes_from_the_parcel_to_the_refund(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    await received(open_store, one)
    before = await standing(one.member_id, [line.sku_id])
    row = await ask(open_store, one, returned({line.id: 1}))
    await approve(open_store, row, words="上海市南京路 1 号")
    assert (await AfterSale.get(id=row.id)).decision == "上海市南京路 1 号"
    assert await state_of(row) == "approved"
    for number in ("SF1000", "SF1001"):
        await after_sale.send_back(
            open_store, member_id=one.member_id, after_sale_id=row.id, carrier="顺丰", number=number
        )
    found = await AfterSale.get(id=row.id)
    assert (found.state, found.carrier, found.parcel_number) == ("returning", "顺丰", "SF1001")
    await decide(open_store, after_sale_decision.receive, row, expected=None)
    await wechat.settle()
    assert await state_of(row) == "refunded"
    after = await standing(one.member_id, [line.sku_id])
    assert after["stock"][0]["stock_left"] == before["stock"][0]["stock_left"] + 1
    assert "after_sale_sent_back" in await told(one)
    assert "after_sale_received" in await told(one)


async def test_goods_that_stay_with_the_member_do_not_come_back_to_the_stock(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one, (line,) = await paid(open_store, wechat, 3)
    await send(open_store, one.id, {line.id: 2})
    before = await standing(one.member_id, [line.sku_id])
    row = await ask(open_store, one, wish({line.id: 2}, reason=AfterSaleReason.DAMAGED))
    await approve(open_store, row)
    await wechat.settle()
    after = await standing(one.member_id, [line.sku_id])
    # One of the two was not sent yet, the other stays with the member.
    assert after["stock"][0]["stock_left"] == before["stock"][0]["stock_left"] + 1


async def test_what_was_not_sent_is_still_owed_when_a_sent_piece_comes_back(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one, (line,) = await paid(open_store, wechat, 3)
    await send(open_store, one.id, {line.id: 2})
    row = await ask(open_store, one, returned({line.id: 1}, reason=AfterSaleReason.DAMAGED))
    await approve(open_store, row)
    await after_sale.send_back(open_store, member_id=one.member_id, after_sale_id=row.id, carrier="顺丰", number="S1")
    await decide(open_store, after_sale_decision.receive, row, expected=None)
    await wechat.settle()
    assert await state_of(row) == "refunded"
    found = await OrderLine.get(id=line.id)
    assert (found.shipped_count, found.refunded_count, found.returned_count) == (2, 1, 1)
    await send(open_store, one.id)
    assert (await Order.get(id=one.id)).fulfilment_state == "shipped"
    assert (await OrderLine.get(id=line.id)).shipped_count == 3


async def test_what_may_not_be_asked_for_is_refused_and_changes_nothing(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    other, _ = await paid(open_store, wechat)
    with pytest.raises(NothingToReturn):
        await ask(open_store, one, returned({line.id: 1}))
    for pieces in ({}, {line.id: 3}, {line.id: 0}, {(await lines_of(other.id))[0].id: 1}):
        with pytest.raises(RefundLinesInvalid):
            await ask(open_store, one, wish(pieces))
    with pytest.raises(AfterSaleInvalid):
        await ask(open_store, one, wish({line.id: 1}, pictures=("http://img.example.com/1.jpg",)))
    with pytest.raises(OrderNotFound):
        await ask(open_store, replace_member(one, other.member_id), wish({line.id: 1}))
    await received(open_store, one)
    with pytest.raises(ReturnNeeded):
        await ask(open_store, one, wish({line.id: 1}))
    await rows("UPDATE order_line SET no_reason_return = false WHERE id = $1", [line.id])
    with pytest.raises(NoReasonExcluded):
        await ask(open_store, one, returned({line.id: 1}))
    await rows("UPDATE order_line SET no_reason_return = true WHERE id = $1", [line.id])
    await wait(wechat, clock, timedelta(days=8))
    with pytest.raises(AfterSaleTooLate):
        await ask(open_store, one, returned({line.id: 1}))
    await wait(wechat, clock, timedelta(days=9))
    with pytest.raises(AfterSaleTooLate):
        await ask(open_store, one, returned({line.id: 1}, reason=AfterSaleReason.QUALITY))
    assert not await AfterSale.exists(order_id=one.id)
    assert (await OrderLine.get(id=line.id)).claimed_count == 0


def replace_member(one: Order, member_id: UUID) -> Order:
    return Order(id=one.id, member_id=member_id)


async def test_a_piece_stands_in_one_open_request_and_in_no_refund_meanwhile(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    row = await ask(open_store, one, wish({line.id: 2}))
    with pytest.raises(RefundLinesInvalid):
        await ask(open_store, one, wish({line.id: 1}))
    with pytest.raises(RefundLinesInvalid):
        await give_back(open_store, wechat, one.id, {line.id: 1})
    await after_sale.change(open_store, member_id=one.member_id, after_sale_id=row.id, asked=wish({line.id: 1}))
    second = await ask(open_store, one, wish({line.id: 1}))
    for _ in range(2):
        withdrawn = await after_sale.withdraw(open_store, member_id=one.member_id, after_sale_id=second.id)
        assert withdrawn.state == "withdrawn"
    await give_back(open_store, wechat, one.id, {line.id: 1})
    found = await OrderLine.get(id=line.id)
    assert (found.claimed_count, found.refunded_count) == (1, 1)


async def test_one_key_is_one_request(open_store: Deps, wechat: SandboxControl) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    rows_made = [await ask(open_store, one, wish({line.id: 1}), key="the-same-tap") for _ in range(2)]
    assert rows_made[0].id == rows_made[1].id
    with pytest.raises(KeyReused):
        await ask(open_store, one, wish({line.id: 2}), key="the-same-tap")


async def test_a_request_is_its_members_own_and_takes_no_other_step(open_store: Deps, wechat: SandboxControl) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    row = await ask(open_store, one, wish({line.id: 1}))
    stranger = (await make_member(open_store)).id
    with pytest.raises(AfterSaleNotFound):
        await after_sale.withdraw(open_store, member_id=stranger, after_sale_id=row.id)
    with pytest.raises(AfterSaleNotFound):
        await after_sale.preview_request(open_store, after_sale_id=row.id, member_id=stranger)
    with pytest.raises(AfterSaleStateRefused):
        await after_sale.send_back(
            open_store, member_id=one.member_id, after_sale_id=row.id, carrier="顺丰", number="SF1"
        )
    with pytest.raises(AfterSaleStateRefused):
        await decide(open_store, after_sale_decision.receive, row, expected=None)
    with pytest.raises(AfterSaleInvalid):
        await decide(open_store, after_sale_decision.reject, row, words=" ")
    await decide(open_store, after_sale_decision.reject, row, words="商品完好")
    assert (await AfterSale.get(id=row.id)).decision == "商品完好"
    with pytest.raises(AfterSaleStateRefused):
        await after_sale.withdraw(open_store, member_id=one.member_id, after_sale_id=row.id)
    with pytest.raises(AfterSaleStateRefused):
        await approve(open_store, row)
    assert (await OrderLine.get(id=line.id)).claimed_count == 0
    audited = await rows("SELECT action FROM audit_row WHERE subject_id = $1 ORDER BY id", [str(row.id)])
    assert [entry["action"] for entry in audited] == ["after_sale.reject"]


async def test_an_approval_of_something_else_than_was_previewed_is_refused(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    row = await ask(open_store, one, wish({line.id: 1}))
    with pytest.raises(RefundChanged):
        await approve(open_store, row, expected="0" * 32)
    assert await state_of(row) == "requested"
    with pytest.raises(RefundChanged):
        await ask(open_store, one, wish({line.id: 1}, expected="0" * 32))


async def test_an_approved_refund_waits_for_the_one_on_its_way(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one, (line,) = await paid(open_store, wechat, 3)
    first, second = [await ask(open_store, one, wish({line.id: 1})) for _ in range(2)]
    await wechat.script_refunds(status="SUCCESS", after_s=600, times=1)
    await approve(open_store, first)
    await approve(open_store, second)
    assert (await state_of(first), await state_of(second)) == ("refunding", "approved")
    for _ in range(4):
        await wait(wechat, clock, timedelta(minutes=5))
        await run_due(open_store)
        await wechat.settle()
    assert (await state_of(first), await state_of(second)) == ("refunded", "refunded")
    assert (await Order.get(id=one.id)).refunded_fen == 60_000


async def test_a_request_that_wechat_takes_no_refund_for_is_paid_back_by_hand(
    open_store: Deps, wechat: SandboxControl
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    await use_up(one.id)
    row = await approve(open_store, await ask(open_store, one, wish({line.id: 2})))
    assert row.state == AfterSaleState.REFUNDING
    case = await ExceptionCase.get(order_id=one.id)
    assert case.kind == CaseKind.REFUNDS_USED_UP
    await pay_by_hand(open_store, case.id)
    assert (await state_of(row), (await Order.get(id=one.id)).state) == (AfterSaleState.REFUNDED, OrderState.REFUNDED)


async def test_the_shops_silence_is_a_case_or_an_approval_as_it_has_set(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    row = await ask(open_store, one, wish({line.id: 1}))
    await wait(wechat, clock, timedelta(hours=48, seconds=-1))
    await run_due(open_store)
    assert await state_of(row) == "requested"
    await wait(wechat, clock, timedelta(seconds=1))
    await run_due(open_store)
    assert await state_of(row) == "requested"
    # The same 48 hours are over for goods that nobody has sent.
    case = "SELECT resolved_at FROM exception_case WHERE order_id = $1 AND kind = 'after_sale_overdue'"
    assert await rows(case, [one.id]) == [{"resolved_at": None}]
    await approve(open_store, row)
    assert (await rows(case, [one.id]))[0]["resolved_at"] is not None
    await wechat.settle()
    kind_shop = replace(open_store, after_sale=AfterSaleTerms(approves_on_silence=True))
    second = await ask(kind_shop, one, wish({line.id: 1}))
    await wait(wechat, clock, timedelta(hours=48))
    await run_due(kind_shop)
    await wechat.settle()
    found = await AfterSale.get(id=second.id)
    assert (found.state, found.decided_by_id) == ("refunded", None)
    assert (await Order.get(id=one.id)).state == OrderState.REFUNDED


async def test_a_return_without_a_parcel_is_closed_and_one_that_is_long_under_way_is_received(
    open_store: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    await send(open_store, one.id)
    late, long = [await ask(open_store, one, returned({line.id: 1})) for _ in range(2)]
    for row in (late, long):
        await approve(open_store, row)
    await after_sale.send_back(open_store, member_id=one.member_id, after_sale_id=long.id, carrier="顺丰", number="S1")
    await wait(wechat, clock, timedelta(days=7))
    await run_due(open_store)
    assert (await state_of(late), await state_of(long)) == ("closed", "returning")
    await wait(wechat, clock, timedelta(days=3))
    await run_due(open_store)
    await wechat.settle()
    assert await state_of(long) == "refunded"
    found = await OrderLine.get(id=line.id)
    assert (found.claimed_count, found.refunded_count) == (0, 1)


async def test_the_shops_refund_of_an_order_closes_its_requests(open_store: Deps, wechat: SandboxControl) -> None:
    one, (line,) = await paid(open_store, wechat, 2)
    row = await ask(open_store, one, wish({line.id: 1}))
    boss = await make_operator(open_store)
    await refund.refund_order(
        open_store, operator_id=boss.id, order_id=one.id, reason="缺货", idempotency_key=new_secret(12)
    )
    await wechat.settle()
    assert (await state_of(row), (await Order.get(id=one.id)).state) == (AfterSaleState.CLOSED, OrderState.REFUNDED)
    with pytest.raises(OrderStateRefused):
        await ask(open_store, one, wish({line.id: 1}))
