"""Money against everything else: late, twice, repeated, and at the moment of the cancellation."""

import asyncio
from datetime import timedelta
from uuid import UUID

from jobs.worker import run_due
from models.engine import changed, rows, transaction
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import Door
from tests.patience import PATIENCE_S
from tests.races.buyers import (
    CANCEL,
    CONFIRM,
    PAY,
    Buyer,
    assert_the_books_are_right,
    at_once,
    attempts,
    buyer,
    one,
)
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

COPIES = 50
HANDLERS = 10


async def collected_fen(wechat: SandboxControl) -> int:
    """What WeChat has of the payers' money."""
    totals = (await wechat.ledger())["totals"]
    return int(totals["paid_fen"]) - int(totals["refunded_fen"])


async def booked_fen() -> int:
    """What the books say that WeChat has."""
    return int(
        await one(
            "SELECT (SELECT coalesce(sum(total_fen), 0) FROM payment) - "
            "(SELECT coalesce(sum(amount_fen), 0) FROM refund WHERE state = 'succeeded')"
        )
    )


async def later(deps: Deps, clock: SetClock, wechat: SandboxControl, by: timedelta) -> None:
    """Time passes, and everything due is done."""
    clock.advance(by)
    await wechat.advance(by.total_seconds())
    await run_due(deps)
    await wechat.settle()


async def cases(kind: str) -> int:
    """How many cases of a kind there ever were."""
    return int(await one("SELECT count(*) FROM exception_case WHERE kind = $1", kind))


# A success after the cancellation


async def cancelled_while_paying(
    deps: Deps, member: Buyer, wechat: SandboxControl, sku_id: UUID, *, points: int = 0
) -> str:
    """An order whose payment is open at WeChat although it was cancelled: the network held its request back."""
    order_id = await member.placed(sku_id, points=points)
    await wechat.fault("prepay", "reset", times=2)
    assert (await member.ask(PAY, id=order_id))["code"] == "PAYMENT_UNAVAILABLE"
    assert (await member.ask(CANCEL, id=order_id))["order"]["state"] == "CLOSED"
    (attempt,) = await rows("SELECT * FROM payment_attempt WHERE order_id = $1", [UUID(order_id)])
    await deps.pay.prepay(
        out_trade_no=attempt["out_trade_no"],
        description="订单",
        total_fen=attempt["total_fen"],
        openid=attempt["openid"],
        notify_url=deps.pay_notify_url,
        time_expire=attempt["expires_at"],
    )
    return order_id


async def test_an_order_that_is_cancelled_while_its_payment_opens_hands_out_no_payment(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    await wechat.fault("prepay", "slow", seconds=300)
    paying = asyncio.create_task(member.ask(PAY, id=order_id))
    async with asyncio.timeout(PATIENCE_S):
        while not await attempts(order_id):
            continue
    assert (await member.ask(CANCEL, id=order_id))["order"]["state"] == "CLOSED"
    await wechat.delete("faults")
    assert (await paying)["code"] == "ORDER_STATE_REFUSED"
    (there,) = (await wechat.ledger())["orders"]
    assert there["trade_state"] == "CLOSED"


async def test_money_for_a_cancelled_order_revives_it_if_all_can_be_had_again(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    await member.bought(wechat, await put_on_shelf(deps, price_fen=50_000))
    sku_id = await put_on_shelf(deps, stock_left=1)
    order_id = await cancelled_while_paying(deps, member, wechat, sku_id, points=300)
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 1
    await wechat.pay((await attempts(order_id))[0])
    await wechat.settle()
    assert await member.state(order_id) == "PAID"
    assert await member.timeline(order_id) == ["placed", "closing", "closed", "revived", "paid"]
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 0
    assert await one("SELECT held FROM points_account WHERE member_id = $1", member.member_id) == 0
    assert await collected_fen(wechat) == await booked_fen() == 50_000 + 10_000 - 300
    await assert_the_books_are_right()


async def test_money_for_a_cancelled_order_whose_stock_is_gone_goes_back_with_a_case(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    sku_id = await put_on_shelf(deps, stock_left=1)
    order_id = await cancelled_while_paying(deps, member, wechat, sku_id)
    await (await buyer(deps, shop, wechat)).placed(sku_id)
    await wechat.pay((await attempts(order_id))[0])
    await wechat.settle()
    assert await member.state(order_id) == "CLOSED"
    assert await member.timeline(order_id) == ["placed", "closing", "closed", "late_payment", "payment_returned"]
    assert await cases("late_payment") == 1
    assert await collected_fen(wechat) == await booked_fen() == 0
    assert (await wechat.ledger())["totals"]["refunded_count"] == 1
    assert await one("SELECT count(*) FROM points_entry") == 0
    await assert_the_books_are_right()


async def test_money_for_a_cancelled_order_whose_points_are_gone_goes_back_with_a_case(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    await member.bought(wechat, await put_on_shelf(deps, price_fen=50_000))
    sku_id = await put_on_shelf(deps)
    order_id = await cancelled_while_paying(deps, member, wechat, sku_id, points=300)
    await member.placed(sku_id, points=300)
    await wechat.pay((await attempts(order_id))[0])
    await wechat.settle()
    assert await member.state(order_id) == "CLOSED"
    assert await cases("late_payment") == 1
    assert await collected_fen(wechat) == await booked_fen() == 50_000
    await assert_the_books_are_right()


async def test_money_for_a_cancelled_order_goes_back_when_the_limit_was_used_up_meanwhile(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    sku_id = await put_on_shelf(deps, purchase_limit=1)
    order_id = await cancelled_while_paying(deps, member, wechat, sku_id)
    await member.placed(sku_id)
    await wechat.pay((await attempts(order_id))[0])
    await wechat.settle()
    assert await member.state(order_id) == "CLOSED"
    assert await cases("late_payment") == 1
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 99
    assert await collected_fen(wechat) == await booked_fen() == 0
    await assert_the_books_are_right()


async def test_without_its_notice_late_money_is_with_wechat_and_in_no_book(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await cancelled_while_paying(deps, member, wechat, await put_on_shelf(deps))
    await wechat.script_notices(drop=True)
    await wechat.pay((await attempts(order_id))[0])
    await wechat.settle()
    assert await member.state(order_id) == "CLOSED"
    assert (await collected_fen(wechat), await booked_fen()) == (10_000, 0)


async def test_a_cancellation_and_a_payment_at_the_same_moment_have_one_outcome(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sku_id = await put_on_shelf(deps)
    members = [await buyer(deps, shop, wechat) for _ in range(8)]

    async def tap_both(member: Buyer) -> str:
        order_id = await member.placed(sku_id)
        params = await member.ask(PAY, id=order_id)
        params.pop("__typename")
        await asyncio.gather(
            wechat.http.post("/_sandbox/request_payment", json=params),
            member.ask(CANCEL, id=order_id),
            member.ask(CONFIRM, id=order_id),
        )
        return order_id

    orders = await at_once(tap_both(member) for member in members)
    await wechat.settle()
    await later(deps, clock, wechat, timedelta(minutes=5))
    members = [await member.signed_in_again(deps) for member in members]
    states = [await member.state(order_id) for member, order_id in zip(members, orders, strict=True)]
    assert set(states) <= {"PAID", "CLOSED"}
    assert await collected_fen(wechat) == await booked_fen() == 10_000 * states.count("PAID")
    assert await one("SELECT stock_left FROM sku WHERE id = $1", sku_id) == 100 - states.count("PAID")
    await assert_the_books_are_right()


# Two attempts


async def two_open_payments(member: Buyer, order_id: str) -> tuple[str, str]:
    """Two numbers under which the same order can be paid: the store believed the first to be closed."""
    assert (await member.ask(PAY, id=order_id))["__typename"] == "PaymentRequested"
    await changed(
        "UPDATE payment_attempt SET state = 'closed', poll_due_at = NULL WHERE order_id = $1", [UUID(order_id)]
    )
    assert (await member.ask(PAY, id=order_id))["__typename"] == "PaymentRequested"
    first, second = await attempts(order_id)
    return first, second


async def pay_both(wechat: SandboxControl, numbers: tuple[str, str]) -> list[int]:
    """The payer pays under both; the numbers of the notices, which are still to be delivered."""
    await wechat.script_notices(drop=True, times=2)
    for number in numbers:
        await wechat.pay(number)
    await wechat.settle()
    return [(await wechat.notices(number))[0]["number"] for number in numbers]


async def test_of_two_payments_of_one_order_the_second_goes_back_once(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    numbers = await two_open_payments(member, order_id)
    await wechat.fault("refund", "system_error_after_effect")
    notices = await pay_both(wechat, numbers)
    sent = await at_once(wechat.post("notices/send", number=number, honest=True) for number in notices * 5)
    assert {attempt["status"] for attempt in sent} == {204}
    for _ in range(4):
        await later(deps, clock, wechat, timedelta(minutes=3))
    member = await member.signed_in_again(deps)
    assert await member.state(order_id) == "PAID"
    totals = (await wechat.ledger())["totals"]
    assert (totals["paid_count"], totals["refunded_count"]) == (2, 1)
    assert await collected_fen(wechat) == await booked_fen() == 10_000
    assert sorted(row["outcome"] for row in await rows("SELECT outcome FROM payment")) == ["second", "settled"]
    assert await cases("duplicate_payment") == 1
    assert await one("SELECT count(*) FROM points_entry WHERE kind = 'earn'") == 1
    await assert_the_books_are_right()


async def test_without_the_second_notice_wechat_keeps_both_payments(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    first, _ = await pay_both(wechat, await two_open_payments(member, order_id))
    await wechat.post("notices/send", number=first, honest=True)
    assert (await collected_fen(wechat), await booked_fen()) == (20_000, 10_000)


async def test_another_transaction_under_the_same_number_is_a_case_and_moves_no_money(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.bought(wechat, await put_on_shelf(deps))
    (number,) = await attempts(order_id)
    await wechat.post("notices/forge", out_trade_no=number, forge={"transaction_id": "4200000000000000000000000001"})
    await wechat.settle()
    assert await member.state(order_id) == "PAID"
    assert await collected_fen(wechat) == await booked_fen() == 10_000
    assert await cases("payment_mismatch") == 1
    assert await one("SELECT count(*) FROM payment") == 1


# One notice, many times


async def paid_but_untold(member: Buyer, wechat: SandboxControl, order_id: str) -> int:
    """The number of the one notice of a payment, which is still to be delivered."""
    await wechat.script_notices(drop=True)
    await member.pay(wechat, order_id)
    await wechat.settle()
    (number,) = await attempts(order_id)
    notice_number: int = (await wechat.notices(number))[0]["number"]
    return notice_number


async def test_the_same_notice_50_times_at_once_pays_and_earns_once(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    number = await paid_but_untold(member, wechat, order_id)
    sent = await at_once(wechat.post("notices/send", number=number, honest=True) for _ in range(COPIES))
    assert [attempt["status"] for attempt in sent] == [204] * COPIES
    assert await member.timeline(order_id) == ["placed", "paid"]
    assert await one("SELECT count(*) FROM payment_notice") == 1
    assert await one("SELECT count(*) FROM payment") == 1
    earned = await rows("SELECT kind, amount FROM points_entry WHERE member_id = $1", [member.member_id])
    assert earned == [{"kind": "earn", "amount": 100}]
    assert await one("SELECT growth_value FROM membership WHERE member_id = $1", member.member_id) == 100
    await assert_the_books_are_right()


async def test_50_notices_of_one_payment_pay_and_earn_once(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    await wechat.script_notices(duplicate=COPIES - 1, fresh_ids=True)
    await member.pay(wechat, order_id)
    await wechat.settle()
    assert await one("SELECT count(*) FROM payment_notice") == COPIES
    assert await member.timeline(order_id) == ["placed", "paid"]
    assert await one("SELECT count(*) FROM payment") == 1
    assert await one("SELECT count(*) FROM points_entry") == 1
    await assert_the_books_are_right()


async def test_a_notice_a_poll_and_a_phone_that_asks_book_one_payment(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = await member.placed(await put_on_shelf(deps))
    number = await paid_but_untold(member, wechat, order_id)
    clock.advance(timedelta(seconds=30))
    await asyncio.gather(
        *(wechat.post("notices/send", number=number, honest=True) for _ in range(3)),
        *(member.ask(CONFIRM, id=order_id) for _ in range(3)),
        *(run_due(deps) for _ in range(3)),
    )
    assert await member.timeline(order_id) == ["placed", "paid"]
    assert await one("SELECT count(*) FROM payment") == 1
    assert await one("SELECT count(*) FROM points_entry") == 1
    await assert_the_books_are_right()


async def test_handlers_that_look_before_they_book_earn_more_than_once(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    member = await buyer(deps, shop, wechat)
    order_id = UUID(await member.placed(await put_on_shelf(deps)))

    have_looked = asyncio.Barrier(HANDLERS)

    async def book_naively() -> bool:
        async with transaction():
            if await one("SELECT state FROM shop_order WHERE id = $1", order_id) != "unpaid":
                return False
            await have_looked.wait()
            await changed("UPDATE points_account SET balance = balance + 100 WHERE member_id = $1", [member.member_id])
            await changed("UPDATE shop_order SET state = 'paid' WHERE id = $1", [order_id])
        return True

    assert sum(await at_once(book_naively() for _ in range(HANDLERS))) > 1
    assert await one("SELECT balance FROM points_account WHERE member_id = $1", member.member_id) > 100
