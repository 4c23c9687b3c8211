"""Many hands send the last pieces, many tills read one code: one does. The controls look first and write then."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from loyalty.delivery.fulfilment import Pieces
from loyalty.delivery.pick_up import PickUpPlace
from loyalty.refusal import Refusal
from models.engine import changed, rows
from models.ids import new_secret
from models.orders.order import Order, OrderEvent
from models.people.operator import AuditRow
from resolvers.delivery import fulfilment, parcel, pick_up, pick_up_point
from resolvers.deps import Deps
from resolvers.payments import after_sale_row
from tests.doors import make_operator
from tests.fulfilled import paid_order
from tests.races.buyers import assert_the_books_are_right, at_once, without_member_locks
from tests.refunds import ask_back
from tests.sandbox_server import SandboxControl

AT_ONCE = 12
TILLS = 10


async def _operators(deps: Deps, count: int) -> list[UUID]:
    return [(await make_operator(deps)).id for _ in range(count)]


async def test_twelve_hands_send_three_pieces_and_three_are_sent(deps: Deps, wechat: SandboxControl) -> None:
    order, (line,) = await paid_order(deps, wechat, 3)
    hands = await _operators(deps, AT_ONCE)

    async def sends(at: int) -> str:
        try:
            await parcel.create(
                deps,
                operator_id=hands[at],
                order_id=order.id,
                carrier="YTO",
                tracking_number=f"YT00000{at:02d}",
                pieces=[Pieces(line_id=line, quantity=1)],
                idempotency_key=new_secret(12),
            )
        except Refusal as refusal:
            return refusal.code
        return "sent"

    answers = await at_once(sends(at) for at in range(AT_ONCE))
    assert sorted(answers) == sorted(["sent"] * 3 + ["FULFILMENT_STATE_REFUSED"] * (AT_ONCE - 3))
    assert (await fulfilment.pieces(order.id))[0].shipped_count == 3
    assert (await Order.get(id=order.id)).fulfilment_state == "shipped"
    assert await OrderEvent.filter(order_id=order.id, kind="shipped").count() == 1


async def test_control_counting_first_and_sending_then_sends_too_much(deps: Deps, wechat: SandboxControl) -> None:
    order, (line,) = await paid_order(deps, wechat, 3)
    all_have_looked = asyncio.Barrier(AT_ONCE)

    async def sends() -> bool:
        left = (await fulfilment.pieces(order.id))[0].left
        await all_have_looked.wait()
        return left >= 1

    assert await at_once(sends() for _ in range(AT_ONCE)) == [True] * AT_ONCE
    # The column itself refuses what the look would have let through.
    taken = await changed(
        "UPDATE order_line SET shipped_count = shipped_count + $2 "
        "WHERE id = $1 AND shipped_count + $2 <= quantity - refunded_count - refunding_count",
        [line, AT_ONCE],
    )
    assert taken == 0


async def test_ten_tills_read_one_code_and_one_hands_out(deps: Deps, wechat: SandboxControl) -> None:
    order = await _waiting(deps, wechat)
    shown = await pick_up.show(deps, member_id=order.member_id, order_id=order.id)
    tills = await _operators(deps, TILLS)

    async def reads(at: int) -> str:
        try:
            await pick_up.verify(deps, operator_id=tills[at], code=shown.code, idempotency_key=new_secret(12))
        except Refusal as refusal:
            return refusal.code
        return "handed out"

    answers = await at_once(reads(at) for at in range(TILLS))
    assert sorted(answers) == sorted(["handed out"] + ["PICK_UP_CODE_INVALID"] * (TILLS - 1))
    assert await OrderEvent.filter(order_id=order.id, kind="received").count() == 1
    assert await AuditRow.filter(action="pick_up.verify", subject_id=str(order.id)).count() == 1


async def test_control_looking_at_the_order_first_lets_every_till_hand_out(deps: Deps, wechat: SandboxControl) -> None:
    order = await _waiting(deps, wechat)
    all_have_looked = asyncio.Barrier(TILLS)

    async def reads() -> bool:
        found = await rows("SELECT fulfilment_state FROM shop_order WHERE id = $1", [order.id])
        await all_have_looked.wait()
        return bool(found[0]["fulfilment_state"] == "to_pick_up")

    assert await at_once(reads() for _ in range(TILLS)) == [True] * TILLS


async def test_a_receipt_races_a_void_and_one_of_them_stands(deps: Deps, wechat: SandboxControl) -> None:
    order, _ = await paid_order(deps, wechat)
    (hand,) = await _operators(deps, 1)
    sent = await parcel.create(
        deps,
        operator_id=hand,
        order_id=order.id,
        carrier="YTO",
        tracking_number="YT0000001",
        pieces=None,
        idempotency_key=new_secret(12),
    )

    async def quietly(verb: str) -> str:
        try:
            if verb == "void":
                await parcel.void(deps, operator_id=hand, parcel_id=sent.id)
            else:
                await fulfilment.confirm_receipt(deps, member_id=order.member_id, order_id=order.id)
        except Refusal as refusal:
            return refusal.code
        return verb

    answers = await at_once(quietly(verb) for verb in ("void", "receipt"))
    state = (await Order.get(id=order.id)).fulfilment_state
    assert (sorted(answers), state) in (
        (["FULFILMENT_STATE_REFUSED", "receipt"], "received"),
        (["FULFILMENT_STATE_REFUSED", "void"], "to_ship"),
    )


async def _asked_back_and_read(deps: Deps, order: Order, till: UUID) -> list[str]:
    """The member asks for the money of one of two pieces while the till reads the code: how each ended."""
    (line, *_) = await rows("SELECT id FROM order_line WHERE order_id = $1", [order.id])
    shown = await pick_up.show(deps, member_id=order.member_id, order_id=order.id)

    async def quietly(deed: Awaitable[object], name: str) -> str:
        try:
            await deed
        except Refusal as refusal:
            return refusal.code
        return name

    reads = pick_up.verify(deps, operator_id=till, code=shown.code, idempotency_key=new_secret(12))
    asks = ask_back(deps, order, {line["id"]: 1})
    return await at_once([quietly(asks, "asked back"), quietly(reads, "handed out")])


async def test_a_piece_is_asked_back_or_handed_out_and_never_both(deps: Deps, wechat: SandboxControl) -> None:
    tills = await _operators(deps, 8)
    for till in tills:
        order = await _waiting(deps, wechat, 2)
        answers = await _asked_back_and_read(deps, order, till)
        assert answers in (["asked back", "PIECES_CLAIMED"], ["RETURN_NEEDED", "handed out"])
    await assert_the_books_are_right()


async def test_control_without_the_lock_a_piece_is_handed_out_and_its_money_asked_back(
    deps: Deps, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (till,) = await _operators(deps, 1)
    order = await _waiting(deps, wechat, 2)
    both_have_looked = asyncio.Barrier(2)

    def after_a_look(real: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def writes(*args: object, **kwargs: object) -> object:
            await asyncio.wait_for(both_have_looked.wait(), 20)
            return await real(*args, **kwargs)

        return writes

    without_member_locks(monkeypatch, together=2)
    monkeypatch.setattr("resolvers.payments.after_sale.claim", after_a_look(after_sale_row.claim))
    monkeypatch.setattr(fulfilment, "receive", after_a_look(fulfilment.receive))
    assert await _asked_back_and_read(deps, order, till) == ["asked back", "handed out"]


async def _waiting(deps: Deps, wechat: SandboxControl, quantity: int = 1) -> Order:
    (hand,) = await _operators(deps, 1)
    point = await pick_up_point.create(
        deps,
        operator_id=hand,
        place=PickUpPlace(name="湖滨店", address="湖滨路 1 号"),
        idempotency_key=new_secret(12),
    )
    return (await paid_order(deps, wechat, quantity, pick_up_point_id=point.id))[0]
