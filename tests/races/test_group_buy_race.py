"""Many members, few seats: the last seat, the end of a team, leaving, refunds and sweeps at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from jobs.sweeps import SWEEPS
from loyalty.group_buys.group_buy import Fallback, SeatState, TeamState
from models.engine import changed, rows, transaction
from models.group_buys.group_buy import GroupBuy, GroupSeat, GroupTeam
from models.ids import new_secret
from models.orders.order import Order
from resolvers.clock import SetClock
from resolvers.delivery import fulfilment
from resolvers.deps import Deps
from resolvers.group_buys import group_seat, group_team
from resolvers.group_buys.group_seat import Change
from resolvers.payments.after_sale import Asked, request
from resolvers.payments.after_sale_decision import approve
from tests import teams
from tests.doors import Bearer, Door, bearer, make_operator
from tests.patience import PATIENCE_S
from tests.races.buyers import (
    CANCEL,
    CONFIRM,
    PAY,
    Buyer,
    assert_the_books_are_right,
    at_once,
    buyer,
    one,
    without_constraints,
    without_member_locks,
)
from tests.refunds import lines_of
from tests.sandbox_server import SandboxControl

SEAT = "__typename ... on GroupSeatHeld { order { id } seat { team { token state } } } ... on Refusal { code }"
OPEN = f"""
mutation Open($item: ID!, $size: Int!, $key: IdempotencyKey!) {{
  done: groupBuyOpen(input: {{itemId: $item}}, size: $size, idempotencyKey: $key) {{ {SEAT} }}
}}
"""
JOIN = f"""
mutation Join($item: ID!, $token: String!, $fallback: Fallback!, $key: IdempotencyKey!) {{
  done: groupBuyJoin(input: {{itemId: $item}}, token: $token, fallback: $fallback, idempotencyKey: $key) {{ {SEAT} }}
}}
"""
LEAVE = """
mutation Leave($id: ID!) {
  done: groupBuyLeave(orderId: $id) { __typename ... on GroupBuyLeft { order { state } } ... on Refusal { code } }
}
"""
REFUND = """
mutation Refund($id: ID!, $key: IdempotencyKey!) {
  done: orderRefund(orderId: $id, reason: "退款", idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""


async def joins(
    who: Buyer, sale: teams.Campaign, team: GroupTeam, fallback: Fallback = Fallback.REFUND, key: str | None = None
) -> dict[str, Any]:
    """One tap on "join"."""
    return await who.ask(
        JOIN, item=str(sale.item_id), token=team.token, fallback=fallback.name, key=key or new_secret(12)
    )


async def seated(who: Buyer, sale: teams.Campaign, team: GroupTeam, fallback: Fallback = Fallback.REFUND) -> str:
    """The id of the unpaid order of a member who holds a seat."""
    answer = await joins(who, sale, team, fallback)
    assert answer["__typename"] == "GroupSeatHeld", answer
    order_id: str = answer["order"]["id"]
    return order_id


async def opened(who: Buyer, wechat: SandboxControl, sale: teams.Campaign, *, size: int) -> GroupTeam:
    """A team that somebody opened and paid for."""
    answer = await who.ask(OPEN, item=str(sale.item_id), size=size, key=new_secret(12))
    await who.pay(wechat, answer["order"]["id"])
    await wechat.settle()
    return await GroupTeam.get(token=answer["seat"]["team"]["token"])


async def crowd(deps: Deps, shop: Door, wechat: SandboxControl, many: int) -> list[Buyer]:
    """Members who can pay."""
    return [await buyer(deps, shop, wechat) for _ in range(many)]


async def later(clock: SetClock, wechat: SandboxControl, **span: int) -> None:
    """Both clocks go on together."""
    clock.advance(timedelta(**span))
    await wechat.advance(timedelta(**span).total_seconds())


async def swept(deps: Deps, *names: str) -> None:
    """A round of these sweeps, one after the other."""
    for name in names:
        (sweep,) = [one for one in SWEEPS if one.name == name]
        await sweep.round(deps)


async def done(deps: Deps, wechat: SandboxControl) -> None:
    """What is due about teams, orders and refunds is done, and WeChat is heard."""
    for _ in range(3):
        await swept(deps, "close_orders", "end_teams", "see_to_seats", "send_refunds")
        await wechat.settle()


async def order_of(team: GroupTeam, member_id: UUID) -> str:
    """The order of a member's seat in a team."""
    return str((await GroupSeat.get(team_id=team.id, member_id=member_id)).order_id)


async def states_of(team: GroupTeam) -> Counter[str]:
    """The seats of a team by state."""
    return Counter([seat.state for seat in await GroupSeat.filter(team_id=team.id)])


async def refunds_of(order_id: object) -> list[int]:
    """What went back of an order."""
    found = await rows("SELECT amount_fen FROM refund WHERE order_id = $1 AND state = 'succeeded'", [str(order_id)])
    return [row["amount_fen"] for row in found]


async def assert_never_too_many() -> None:
    """No team has more members than seats, whatever its counts say."""
    over = await rows(
        "SELECT team.id FROM group_team team JOIN group_seat seat ON seat.team_id = team.id "
        "AND seat.state IN ('pending', 'posted', 'returned') GROUP BY team.id HAVING count(*) > team.size"
    )
    assert over == []


# The last seat


@pytest.mark.parametrize("fallback", list(Fallback))
async def test_five_who_join_for_the_last_seat_fill_the_team_and_four_go_where_they_wished(
    deps: Deps, shop: Door, wechat: SandboxControl, fallback: Fallback
) -> None:
    sale = await teams.campaign(deps, sizes=(3,))
    leaders = await crowd(deps, shop, wechat, 3)
    team, *others = [await opened(each, wechat, sale, size=3) for each in leaders]
    await teams.joined(deps, wechat, sale, team)
    five = await crowd(deps, shop, wechat, 5)
    answers = await at_once(joins(each, sale, team, fallback) for each in five)
    codes = Counter(answer.get("code") for answer in answers)
    there = Counter(answer["seat"]["team"]["token"] for answer in answers if "seat" in answer)
    assert there[team.token] == 1
    match fallback:
        case Fallback.REFUND:
            assert codes == {None: 1, "GROUP_TEAM_FULL": 4}
        case Fallback.OTHER_TEAM:
            assert codes == {None: 5}
            assert [there[other.token] for other in others] == [2, 2]
        case Fallback.NEW_TEAM:
            assert codes == {None: 5}
            assert sorted(there.values()) == [1] * 5
    paying = [(who, answer["order"]["id"]) for who, answer in zip(five, answers, strict=True) if "order" in answer]
    await at_once(who.pay(wechat, order_id) for who, order_id in paying)
    await wechat.settle()
    full = await GroupTeam.get(id=team.id)
    assert (full.state, full.joined_count, full.held_count) == (TeamState.COMPLETE, 3, 0)
    assert await states_of(team) == {SeatState.POSTED: 3}
    if fallback is Fallback.OTHER_TEAM:
        assert [(await GroupTeam.get(id=other.id)).state for other in others] == [TeamState.COMPLETE] * 2
    await assert_never_too_many()
    await assert_the_books_are_right()


async def test_another_team_that_is_busy_is_waited_for_and_not_passed_over(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    leaders = await crowd(deps, shop, wechat, 2)
    full, other = [await opened(each, wechat, sale, size=2) for each in leaders]
    await teams.joined(deps, wechat, sale, full)
    (late,) = await crowd(deps, shop, wechat, 1)
    is_busy, is_free = asyncio.Event(), asyncio.Event()

    async def keeps_busy() -> None:
        async with transaction():
            await group_seat.locked(other.id)
            is_busy.set()
            await is_free.wait()

    keeping = asyncio.create_task(keeps_busy())
    await is_busy.wait()
    joining = asyncio.create_task(joins(late, sale, full, Fallback.OTHER_TEAM))
    async with asyncio.timeout(PATIENCE_S):
        while not await rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not joining.done()
    # Who waits for one team has no other locked.
    async with transaction():
        await rows("SET LOCAL lock_timeout = '120s'")
        await group_seat.locked(full.id)
    is_free.set()
    await keeping
    assert (await joining)["seat"]["team"]["token"] == other.token
    await assert_the_books_are_right()


async def held_back(deps: Deps, wechat: SandboxControl, who: Buyer, order_id: str) -> str:
    """A payment that is open at WeChat although its order was closed: the network held its request back."""
    await wechat.fault("prepay", "reset", times=2)
    assert (await who.ask(PAY, id=order_id))["code"] == "PAYMENT_UNAVAILABLE"
    await who.ask(CANCEL, id=order_id)
    (attempt,) = await rows("SELECT * FROM payment_attempt WHERE order_id = $1", [order_id])
    await deps.pay.prepay(
        out_trade_no=attempt["out_trade_no"],
        description="订单",
        total_fen=attempt["total_fen"],
        openid=attempt["openid"],
        notify_url=deps.pay_notify_url,
        time_expire=attempt["expires_at"],
    )
    return str(attempt["out_trade_no"])


@pytest.mark.parametrize("fallback", list(Fallback))
async def test_five_late_payments_for_the_last_seat_fill_the_team_and_four_go_where_they_wished(
    deps: Deps, shop: Door, wechat: SandboxControl, fallback: Fallback
) -> None:
    sale = await teams.campaign(deps, sizes=(3,))
    leaders = await crowd(deps, shop, wechat, 3)
    team, *others = [await opened(each, wechat, sale, size=3) for each in leaders]
    await teams.joined(deps, wechat, sale, team)
    five = await crowd(deps, shop, wechat, 5)
    orders, numbers = [], []
    for each in five:
        orders.append(await seated(each, sale, team, fallback))
        numbers.append(await held_back(deps, wechat, each, orders[-1]))
    await at_once(wechat.pay(number) for number in numbers)
    await wechat.settle()
    await done(deps, wechat)
    full = await GroupTeam.get(id=team.id)
    assert (full.state, full.joined_count, full.held_count) == (TeamState.COMPLETE, 3, 0)
    paid = Counter([(await Order.get(id=order_id)).state for order_id in orders])
    back = [await refunds_of(order_id) for order_id in orders]
    match fallback:
        case Fallback.REFUND:
            assert paid == {"paid": 1, "closed": 4}
            assert sorted(back) == [[], [8_000], [8_000], [8_000], [8_000]]
        case Fallback.OTHER_TEAM:
            assert paid == {"paid": 5}
            assert [(await GroupTeam.get(id=other.id)).state for other in others] == [TeamState.COMPLETE] * 2
        case Fallback.NEW_TEAM:
            assert paid == {"paid": 5}
            assert await GroupTeam.filter(state=TeamState.OPEN, joined_count=1).count() == 2 + 4
    await assert_never_too_many()
    await assert_the_books_are_right()


async def test_who_all_look_before_they_sit_down_overfill_the_team(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    (leader,) = await crowd(deps, shop, wechat, 1)
    team = await opened(leader, wechat, sale, size=2)
    five = await crowd(deps, shop, wechat, 5)
    await without_constraints("group_team")
    have_looked = asyncio.Barrier(5)

    async def not_locked(team_id: UUID) -> tuple[GroupTeam, GroupBuy]:
        found = await GroupTeam.get(id=team_id)
        await asyncio.wait_for(have_looked.wait(), PATIENCE_S)
        return found, await GroupBuy.get(id=found.group_buy_id)

    monkeypatch.setattr(group_seat, "locked", not_locked)
    answers = await at_once(joins(each, sale, team) for each in five)
    assert [answer["__typename"] for answer in answers] == ["GroupSeatHeld"] * 5
    assert await GroupSeat.filter(team_id=team.id).count() == 6


async def test_without_the_lock_alone_the_constraint_keeps_the_team_from_overfilling(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    (leader,) = await crowd(deps, shop, wechat, 1)
    team = await opened(leader, wechat, sale, size=2)
    take = "UPDATE group_team SET held_count = held_count + 1 WHERE id = $1"
    await changed(take, [team.id])
    with pytest.raises(IntegrityError, match="group_team_never_one_too_many"):
        await changed(take, [team.id])
    assert (await GroupTeam.get(id=team.id)).held_count == 1


async def test_a_member_who_taps_join_many_times_has_one_seat(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps, sizes=(9,), prices=(8_000,), member_limit=2)
    leader, member = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=9)
    answers = await at_once(joins(member, sale, team) for _ in range(8))
    assert Counter(answer.get("code") for answer in answers) == {None: 1, "GROUP_ALREADY_IN": 7}
    again = await at_once(joins(leader, sale, team, Fallback.NEW_TEAM) for _ in range(3))
    assert {answer["code"] for answer in again} == {"GROUP_ALREADY_IN"}
    other = await crowd(deps, shop, wechat, 1)
    one_key = await at_once(joins(other[0], sale, team, key="one-key-of-a-phone") for _ in range(8))
    assert len({answer["order"]["id"] for answer in one_key}) == 1
    assert (await GroupTeam.get(id=team.id)).held_count == 2
    await assert_the_books_are_right()


# The end of a team


@pytest.mark.parametrize("round_", range(3))
async def test_the_end_of_a_team_and_its_last_join_have_one_outcome(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock, round_: int
) -> None:
    sale = await teams.campaign(deps, sizes=(2,), team_hours=1)
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    await later(clock, wechat, minutes=59, seconds=59)
    friend, leader = await friend.signed_in_again(deps), await leader.signed_in_again(deps)

    async def ends() -> None:
        for _ in range(round_):
            await asyncio.sleep(0)
        clock.advance(timedelta(seconds=1))
        await wechat.advance(1)
        await at_once(group_team.end_team(deps, team_id=team.id) for _ in range(3))

    answers, _ = await asyncio.gather(joins(friend, sale, team), ends())
    found = await GroupTeam.get(id=team.id)
    if answers["__typename"] == "GroupSeatHeld":
        assert (found.state, found.held_count) == (TeamState.OPEN, 1)
        await friend.pay(wechat, answers["order"]["id"])
        await wechat.settle()
        await done(deps, wechat)
        assert (await GroupTeam.get(id=team.id)).state == TeamState.COMPLETE
        assert await one("SELECT count(*) FROM refund") == 0
    else:
        assert answers["code"] == "GROUP_TEAM_OVER"
        await done(deps, wechat)
        assert (await GroupTeam.get(id=team.id)).state == TeamState.FAILED
        assert await refunds_of(await order_of(team, leader.member_id)) == [8_000]
        assert await one("SELECT count(*) FROM refund") == 1
    await assert_the_books_are_right()


async def test_the_end_of_a_team_waits_for_the_payment_that_is_on_its_way(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(2,), team_hours=1)
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    await later(clock, wechat, minutes=55)
    friend = await friend.signed_in_again(deps)
    order_id = await seated(friend, sale, team)
    await later(clock, wechat, minutes=5)
    await friend.pay(wechat, order_id)
    await at_once([wechat.settle(), *(group_team.end_team(deps, team_id=team.id) for _ in range(4))])
    await done(deps, wechat)
    found = await GroupTeam.get(id=team.id)
    assert (found.state, found.joined_count) == (TeamState.COMPLETE, 2)
    assert await one("SELECT count(*) FROM refund") == 0
    orders = [await Order.get(id=seat.order_id) for seat in await GroupSeat.filter(team_id=team.id)]
    assert [row.fulfilment_state for row in orders] == ["to_ship", "to_ship"]
    await assert_the_books_are_right()


async def test_without_waiting_for_held_seats_a_member_pays_into_a_team_that_is_over(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(2,), team_hours=1)
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    await later(clock, wechat, minutes=55)
    friend = await friend.signed_in_again(deps)
    await seated(friend, sale, team)
    await later(clock, wechat, minutes=5)
    await without_constraints("group_team")
    async with transaction():
        found, campaign = await group_seat.locked(team.id)
        found.held_count = 0
        await group_seat.change(found, campaign, Change(), clock.now())
    assert found.state == TeamState.FAILED
    assert await GroupSeat.filter(team_id=team.id, state=SeatState.PENDING).count() == 1


async def test_a_pay_deadline_and_its_payment_have_one_outcome(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    order_id = await seated(friend, sale, team)
    params = await friend.ask(PAY, id=order_id)
    params.pop("__typename")
    await later(clock, wechat, minutes=29)
    await wechat.post("request_payment", **params)
    clock.advance(timedelta(minutes=1))
    await at_once([swept(deps, "close_orders"), swept(deps, "close_orders"), wechat.settle()])
    await done(deps, wechat)
    found, order = await GroupTeam.get(id=team.id), await Order.get(id=order_id)
    assert (found.state, found.joined_count, found.held_count) == (TeamState.COMPLETE, 2, 0)
    assert order.state == "paid"
    assert await one("SELECT count(*) FROM refund") == 0
    await assert_the_books_are_right()


async def test_two_workers_refund_each_member_of_a_failed_team_once(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(9,), team_hours=1)
    members = await crowd(deps, shop, wechat, 5)
    team = await opened(members[0], wechat, sale, size=9)
    orders = [await seated(each, sale, team) for each in members[1:]]
    for each, order_id in zip(members[1:], orders, strict=True):
        await each.pay(wechat, order_id)
    await wechat.settle()
    await later(clock, wechat, hours=1)
    await at_once(swept(deps, "end_teams", "see_to_seats") for _ in range(3))
    await at_once(swept(deps, "see_to_seats", "send_refunds") for _ in range(3))
    await done(deps, wechat)
    assert await states_of(team) == {SeatState.RETURNED: 5}
    for each in members:
        assert await refunds_of(await order_of(team, each.member_id)) == [8_000]
    assert await one("SELECT count(*) FROM refund") == 5
    assert await teams.stock_left(sale.sku_id) == 100
    await assert_the_books_are_right()


async def test_one_seat_is_seen_to_once_by_many_workers(
    deps: Deps, shop: Door, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    order_id = await seated(friend, sale, team)
    await friend.pay(wechat, order_id)
    await wechat.settle()
    seats = await GroupSeat.filter(team_id=team.id)
    await at_once(
        group_team.see_to(deps, seat_id=seat.id, member_id=seat.member_id) for seat in seats for _ in range(4)
    )
    for each, mine in ((leader, await order_of(team, leader.member_id)), (friend, order_id)):
        assert (await each.timeline(mine)).count("team_complete") == 1
        assert (await Order.get(id=mine)).fulfilment_state == "to_ship"
    claimed = await at_once(group_team.claim_seats(deps, 50) for _ in range(3))
    assert claimed == [[], [], []]
    await assert_the_books_are_right()


async def seen_to_by_two_at_once(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> tuple[Sequence[object], list[str]]:
    """What came of it, and the timeline: no member was locked, and both had looked before the first one wrote."""
    sale = await teams.campaign(deps, sizes=(2,))
    (leader,) = await crowd(deps, shop, wechat, 1)
    team = await opened(leader, wechat, sale, size=2)
    await teams.joined(deps, wechat, sale, team)
    seat = await GroupSeat.get(team_id=team.id, member_id=leader.member_id)
    have_read, really_get = asyncio.Barrier(2), Order.get

    async def read_by_both(**which: Any) -> Order:
        found = await really_get(**which)
        await asyncio.wait_for(have_read.wait(), PATIENCE_S)
        return found

    with monkeypatch.context() as patched:
        without_member_locks(patched, together=2)
        patched.setattr(Order, "get", read_by_both)
        both = (group_team.see_to(deps, seat_id=seat.id, member_id=seat.member_id) for _ in range(2))
        came_of_it = await asyncio.gather(*both, return_exceptions=True)
    return came_of_it, await leader.timeline(str(seat.order_id))


async def test_without_the_members_lock_alone_the_orders_state_keeps_a_seat_from_being_seen_to_twice(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    came_of_it, timeline = await seen_to_by_two_at_once(deps, shop, wechat, monkeypatch)
    assert sorted(type(one).__name__ for one in came_of_it) == ["AssertionError", "NoneType"]
    assert timeline.count("team_complete") == 1
    await assert_the_books_are_right()


async def test_without_lock_and_state_one_seat_is_seen_to_twice(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blindly(order: Order, column: str, wanted: str, **_: object) -> None:
        await changed(f"UPDATE shop_order SET {column} = $2 WHERE id = $1", [order.id, wanted])

    monkeypatch.setattr(fulfilment, "turn", blindly)
    came_of_it, timeline = await seen_to_by_two_at_once(deps, shop, wechat, monkeypatch)
    assert came_of_it == [None, None]
    assert timeline.count("team_complete") == 2


# Leaving and refunds


@pytest.mark.parametrize("round_", range(3))
async def test_the_leader_leaves_while_the_last_payment_completes_the_team(
    deps: Deps, shop: Door, wechat: SandboxControl, round_: int
) -> None:
    sale = await teams.campaign(deps, sizes=(3,))
    leader, second, last = await crowd(deps, shop, wechat, 3)
    team = await opened(leader, wechat, sale, size=3)
    for each in (second, last):
        order_id = await seated(each, sale, team)
        await each.pay(wechat, order_id)
        if each is second:
            await wechat.settle()
    mine = await order_of(team, leader.member_id)

    async def leaves() -> dict[str, Any]:
        for _ in range(round_ * 20):
            await asyncio.sleep(0)
        return await leader.ask(LEAVE, id=mine)

    left, _ = await asyncio.gather(leaves(), wechat.settle())
    await done(deps, wechat)
    found = await GroupTeam.get(id=team.id)
    if left["__typename"] == "GroupBuyLeft":
        assert (found.state, found.joined_count, found.leader_id) == (TeamState.OPEN, 2, second.member_id)
        assert await leader.state(mine) == "REFUNDED"
        assert await refunds_of(mine) == [8_000]
    else:
        assert left["code"] == "GROUP_SEAT_NOT_FOUND"
        assert (found.state, found.joined_count, found.leader_id) == (TeamState.COMPLETE, 3, leader.member_id)
        assert await leader.state(mine) == "PAID"
        assert await one("SELECT count(*) FROM refund") == 0
    await assert_the_books_are_right()


async def test_a_leader_who_leaves_by_an_old_look_undoes_the_complete_team(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    order_id = await seated(friend, sale, team)
    seen = await GroupTeam.get(id=team.id)
    await friend.pay(wechat, order_id)
    await wechat.settle()

    async def as_seen(_: UUID) -> tuple[GroupTeam, GroupBuy]:
        return seen, await GroupBuy.get(id=sale.id)

    async def looks(**_: object) -> GroupTeam:
        return seen

    monkeypatch.setattr(group_seat, "locked", as_seen)
    monkeypatch.setattr(GroupTeam, "get_or_none", looks)
    left = await leader.ask(LEAVE, id=await order_of(team, leader.member_id))
    assert left["__typename"] == "GroupBuyLeft"
    monkeypatch.undo()
    assert await states_of(team) == {SeatState.LEFT: 1, SeatState.POSTED: 1}
    undone = await GroupTeam.get(id=team.id)
    assert (undone.state, undone.joined_count) == (TeamState.OPEN, 0)


async def test_two_who_leave_at_once_hand_on_the_lead_and_then_nobody_is_left(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(9,))
    members = await crowd(deps, shop, wechat, 4)
    team = await opened(members[0], wechat, sale, size=9)
    orders = {members[0].member_id: await order_of(team, members[0].member_id)}
    for each in members[1:]:
        orders[each.member_id] = await seated(each, sale, team)
        await each.pay(wechat, orders[each.member_id])
        await wechat.settle()
    first, second, third, fourth = members
    left = await at_once(each.ask(LEAVE, id=orders[each.member_id]) for each in (first, second) for _ in range(2))
    assert [answer["__typename"] for answer in left] == ["GroupBuyLeft"] * 4
    found = await GroupTeam.get(id=team.id)
    assert (found.state, found.joined_count, found.leader_id) == (TeamState.OPEN, 2, third.member_id)
    await at_once(each.ask(LEAVE, id=orders[each.member_id]) for each in (third, fourth))
    await done(deps, wechat)
    found = await GroupTeam.get(id=team.id)
    assert (found.state, found.joined_count, found.leader_id) == (TeamState.FAILED, 0, None)
    for order_id in orders.values():
        assert await refunds_of(order_id) == [8_000]
    await assert_the_books_are_right()


@pytest.mark.parametrize("how", ["operator", "after-sale"])
async def test_a_refund_of_a_seat_while_the_team_completes_loses_nothing(
    deps: Deps, shop: Door, admin: Door, wechat: SandboxControl, how: str
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=2)
    mine = await order_of(team, leader.member_id)
    order_id = await seated(friend, sale, team)
    await friend.pay(wechat, order_id)
    boss = await make_operator(deps)
    token = await bearer(deps, boss)
    asking = None
    if how == "after-sale":
        (line,) = await lines_of(UUID(mine))
        asked = Asked(kind="refund_only", reason="other", pieces={line.id: 1})  # type: ignore[arg-type]
        asking = await request(
            deps, member_id=leader.member_id, order_id=UUID(mine), asked=asked, idempotency_key=new_secret(12)
        )

    async def refunds(token: Bearer) -> None:
        if asking is None:
            await Buyer(admin, token).ask(REFUND, id=mine, key=new_secret(12))
        else:
            await approve(
                deps,
                operator_id=boss.id,
                after_sale_id=asking.id,
                words="",
                expected=None,
                idempotency_key=new_secret(12),
            )

    await at_once([refunds(token), wechat.settle(), swept(deps, "see_to_seats"), swept(deps, "see_to_seats")])
    await done(deps, wechat)
    assert await leader.state(mine) == "REFUNDED"
    assert await refunds_of(mine) == [8_000]
    found = await GroupTeam.get(id=team.id)
    if found.state == TeamState.COMPLETE:
        assert await states_of(team) == {SeatState.RETURNED: 1, SeatState.POSTED: 1}
        assert (await Order.get(id=order_id)).fulfilment_state == "to_ship"
    else:
        assert (found.state, found.joined_count, found.leader_id) == (TeamState.OPEN, 1, friend.member_id)
        assert (await Order.get(id=order_id)).fulfilment_state == "none"
    await assert_the_books_are_right()


async def test_a_seat_that_is_paid_many_times_over_is_taken_once(
    deps: Deps, shop: Door, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(3,))
    leader, friend = await crowd(deps, shop, wechat, 2)
    team = await opened(leader, wechat, sale, size=3)
    order_id = await seated(friend, sale, team)
    await wechat.script_notices(duplicate=19, fresh_ids=True)
    await friend.pay(wechat, order_id)
    await at_once([wechat.settle(), *(friend.ask(CONFIRM, id=order_id) for _ in range(4))])
    await wechat.settle()
    found = await GroupTeam.get(id=team.id)
    assert (found.state, found.joined_count, found.held_count) == (TeamState.OPEN, 2, 0)
    assert (await friend.timeline(order_id)).count("team_joined") == 1
    await assert_the_books_are_right()
