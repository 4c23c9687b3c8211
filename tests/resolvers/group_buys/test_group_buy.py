"""Group-buys, verb by verb: teams that fill, fail, are left, and are paid too late."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from jobs.worker import run_due
from loyalty.delivery.fulfilment import FulfilmentStateRefused
from loyalty.delivery.pick_up import PickUpPlace
from loyalty.group_buys.group_buy import (
    Fallback,
    GroupAlreadyIn,
    GroupBuyStateRefused,
    GroupLimitReached,
    GroupNewcomersOnly,
    GroupNotOffered,
    GroupSeatNotFound,
    GroupTeamFull,
    GroupTeamNotFound,
    GroupTeamOver,
    SeatState,
    TeamState,
)
from loyalty.idempotency import KeyReused
from loyalty.orders.order import AmountChanged, OrderKind, OrderState, QuantityInvalid
from loyalty.payments.after_sale import AfterSaleKind, AfterSaleReason, AfterSaleState
from loyalty.payments.exception_case import CaseKind
from loyalty.payments.payment import PaymentUnavailable
from loyalty.programme import ProgrammeInvalid
from models.engine import rows
from models.group_buys.group_buy import GroupBuy, GroupSeat, GroupTeam
from models.ids import new_secret
from models.keyset import Page
from models.orders.order import Order
from models.payments.after_sale import AfterSale
from models.payments.payment import ExceptionCase
from resolvers.clock import SetClock
from resolvers.delivery import pick_up_point
from resolvers.deps import Deps
from resolvers.group_buys import group_buy, group_campaign
from resolvers.group_buys.group_buy import Wish
from resolvers.invariants.verify import verify
from resolvers.orders import order, order_address
from resolvers.payments import after_sale, after_sale_decision, payment
from resolvers.payments.after_sale import Asked
from tests import teams
from tests.doors import make_operator
from tests.refunds import give_back, lines_of, pay_by_hand, send, standing, use_up
from tests.sandbox_server import SandboxControl
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: everything that is due is done here."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def deps(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


async def later(clock: SetClock, wechat: SandboxControl, **span: int) -> None:
    """Both clocks go on together."""
    clock.advance(timedelta(**span))
    await wechat.advance(timedelta(**span).total_seconds())


async def worked(deps: Deps, wechat: SandboxControl) -> None:
    """Everything that is due is done, and what WeChat has to say to it is heard."""
    for _ in range(3):
        await run_due(deps)
        await wechat.settle()


async def run_sweep(deps: Deps, name: str) -> None:
    """What is due of one sweep is done."""
    (sweep,) = [one for one in SWEEPS if one.name == name]
    await sweep.round(deps)


async def two_pieces(deps: Deps, wechat: SandboxControl, sale: teams.Campaign, team: GroupTeam) -> Order:
    """The paid order of a new member who joined with two pieces."""
    one = await group_buy.join(
        deps,
        member_id=await teams.payer(deps, wechat),
        token=team.token,
        fallback=Fallback.REFUND,
        wish=Wish(item_id=sale.item_id, quantity=2),
        idempotency_key=new_secret(12),
    )
    await teams.pay(deps, wechat, one)
    return await Order.get(id=one.id)


async def state(one: Order) -> OrderState:
    return OrderState((await Order.get(id=one.id)).state)


async def seat_of(one: Order) -> GroupSeat:
    return await GroupSeat.get(order_id=one.id)


async def test_a_team_opens_with_its_leaders_payment(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    leader = await teams.payer(deps, wechat)
    one = await teams.open_order(deps, sale, leader)
    assert (one.kind, one.payable_fen, one.discount_fen) == (OrderKind.GROUP, 8_000, 2_000)
    team = await teams.team_of(one)
    assert (team.state, team.held_count, team.ends_at) == (TeamState.PENDING, 1, None)
    assert await group_buy.team_by_token(deps, team.token) is None
    await teams.pay(deps, wechat, one)
    team = await teams.team_of(one)
    assert (team.state, team.joined_count, team.held_count, team.leader_id) == (TeamState.OPEN, 1, 0, leader)
    assert team.ends_at == deps.clock.now() + timedelta(hours=24)
    assert (await group_buy.team_by_token(deps, team.token)) == team
    assert (await Order.get(id=one.id)).fulfilment_state == "none"


async def test_the_last_payment_completes_the_team_and_all_its_goods_are_to_be_sent(
    deps: Deps, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, sale)
    paid = [await teams.joined(deps, wechat, sale, team) for _ in range(2)]
    team = await GroupTeam.get(id=team.id)
    assert (team.state, team.joined_count, team.settled_at) == (TeamState.COMPLETE, 3, deps.clock.now())
    await worked(deps, wechat)
    seats = await GroupSeat.filter(team_id=team.id)
    for seat in seats:
        member_order = await Order.get(id=seat.order_id)
        assert (member_order.state, member_order.fulfilment_state) == (OrderState.PAID, "to_ship")
    with pytest.raises(GroupTeamOver):
        await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    with pytest.raises(GroupSeatNotFound):
        await group_buy.leave(deps, member_id=paid[0].member_id, order_id=paid[0].id)
    assert await teams.stock_left(sale.sku_id) == 97


async def test_a_team_that_fails_refunds_each_of_its_members_once(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, team_hours=1)
    team = await teams.open_team(deps, wechat, sale)
    one = await teams.joined(deps, wechat, sale, team)
    await later(clock, wechat, minutes=59)
    await worked(deps, wechat)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.OPEN
    await later(clock, wechat, minutes=1)
    await worked(deps, wechat)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.FAILED
    for seat in await GroupSeat.filter(team_id=team.id):
        assert seat.state == SeatState.RETURNED
        assert (await Order.get(id=seat.order_id)).state == OrderState.REFUNDED
        refunds = await rows("SELECT cause, state, amount_fen FROM refund WHERE order_id = $1", [seat.order_id])
        assert refunds == [{"cause": "team_failed", "state": "succeeded", "amount_fen": 8_000}]
    assert await teams.stock_left(sale.sku_id) == 100
    await worked(deps, wechat)
    assert len(await rows("SELECT 1 FROM refund WHERE order_id = $1", [one.id])) == 1


async def test_a_refund_that_fails_stops_no_other(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sale = await teams.campaign(deps, team_hours=1)
    team = await teams.open_team(deps, wechat, sale)
    await teams.joined(deps, wechat, sale, team)
    await later(clock, wechat, hours=1)
    await wechat.fault("refund", "system_error")
    await worked(deps, wechat)
    states = [(await Order.get(id=seat.order_id)).state for seat in await GroupSeat.filter(team_id=team.id)]
    assert sorted(states) == [OrderState.REFUNDED, OrderState.REFUNDING]
    await later(clock, wechat, minutes=5)
    await worked(deps, wechat)
    states = [(await Order.get(id=seat.order_id)).state for seat in await GroupSeat.filter(team_id=team.id)]
    assert states == [OrderState.REFUNDED, OrderState.REFUNDED]


async def test_what_wechat_takes_no_refund_of_any_more_is_paid_back_by_hand(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, team_hours=1)
    team = await teams.open_team(deps, wechat, sale)
    one = await teams.joined(deps, wechat, sale, team)
    await use_up(one.id)
    await later(clock, wechat, hours=1)
    await worked(deps, wechat)
    assert (await state(one), (await seat_of(one)).due_at) == (OrderState.REFUNDING, None)
    case = await ExceptionCase.get(order_id=one.id)
    assert case.kind == CaseKind.REFUNDS_USED_UP
    await later(clock, wechat, minutes=5)
    await worked(deps, wechat)
    assert await ExceptionCase.filter(order_id=one.id).count() == 1
    await pay_by_hand(deps, case.id)
    assert (await state(one), (await seat_of(one)).state) == (OrderState.REFUNDED, SeatState.RETURNED)
    assert await teams.stock_left(sale.sku_id) == 100


async def test_enough_members_complete_a_team_at_its_end_and_nobody_is_invented(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, team_hours=1, virtual_from=2)
    team = await teams.open_team(deps, wechat, sale)
    alone = await teams.open_team(deps, wechat, sale)
    await teams.joined(deps, wechat, sale, team)
    await later(clock, wechat, hours=1)
    await worked(deps, wechat)
    team = await GroupTeam.get(id=team.id)
    assert (team.state, team.joined_count, team.size) == (TeamState.COMPLETE, 2, 3)
    assert await GroupSeat.filter(team_id=team.id).count() == 2
    assert (await GroupTeam.get(id=alone.id)).state == TeamState.FAILED


async def test_the_end_of_a_team_waits_for_who_is_paying(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sale = await teams.campaign(deps, sizes=(2,), team_hours=1)
    team = await teams.open_team(deps, wechat, sale, size=2)
    await later(clock, wechat, minutes=50)
    one = await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    await later(clock, wechat, minutes=11)
    await worked(deps, wechat)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.OPEN
    with pytest.raises(GroupTeamOver):
        await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    await teams.pay(deps, wechat, one)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.COMPLETE


async def test_a_seat_that_is_not_paid_is_free_again(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    team = await teams.open_team(deps, wechat, sale, size=2)
    slow = await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    with pytest.raises(GroupTeamFull):
        await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    await later(clock, wechat, minutes=30)
    await worked(deps, wechat)
    assert (await state(slow), (await seat_of(slow)).state) == (OrderState.CLOSED, SeatState.RELEASED)
    await teams.joined(deps, wechat, sale, team)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.COMPLETE


async def test_a_leader_who_does_not_pay_leaves_no_team(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    one = await teams.open_order(deps, sale, await teams.payer(deps, wechat))
    await order.cancel(deps, member_id=one.member_id, order_id=one.id)
    team = await teams.team_of(one)
    assert (team.state, team.held_count, team.opened_at) == (TeamState.FAILED, 0, None)


async def closed_while_paying(deps: Deps, wechat: SandboxControl, one: Order) -> str:
    """A payment that is open at WeChat although its order was closed: the network held its request back."""
    await wechat.fault("prepay", "reset", times=2)
    with pytest.raises(PaymentUnavailable):
        await payment.pay(deps, member_id=one.member_id, order_id=one.id)
    await order.cancel(deps, member_id=one.member_id, order_id=one.id)
    (attempt,) = await rows("SELECT * FROM payment_attempt WHERE order_id = $1", [one.id])
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
async def test_money_that_comes_after_the_last_seat_is_gone_does_as_its_member_wished(
    deps: Deps, wechat: SandboxControl, fallback: Fallback
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    team = await teams.open_team(deps, wechat, sale, size=2)
    other = await teams.open_team(deps, wechat, sale, size=2)
    late = await teams.join_order(deps, sale, team, await teams.payer(deps, wechat), fallback)
    number = await closed_while_paying(deps, wechat, late)
    await teams.joined(deps, wechat, sale, team)
    await wechat.pay(number)
    await wechat.settle()
    seat = await seat_of(late)
    match fallback:
        case Fallback.REFUND:
            assert (await state(late), seat.state) == (OrderState.CLOSED, SeatState.RELEASED)
            causes = await rows("SELECT cause, amount_fen FROM refund WHERE order_id = $1", [late.id])
            assert causes == [{"cause": "late_payment", "amount_fen": 8_000}]
        case Fallback.OTHER_TEAM:
            assert (await state(late), seat.state, seat.team_id) == (OrderState.PAID, SeatState.POSTED, other.id)
            assert (await GroupTeam.get(id=other.id)).state == TeamState.COMPLETE
        case Fallback.NEW_TEAM:
            assert (await state(late), seat.state) == (OrderState.PAID, SeatState.POSTED)
            new = await teams.team_of(late)
            assert (new.state, new.leader_id, new.joined_count) == (TeamState.OPEN, late.member_id, 1)
    assert (await GroupTeam.get(id=team.id)).joined_count == 2


async def test_a_closed_campaign_takes_no_new_team_but_for_a_leader_who_is_paying(
    deps: Deps, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    team = await teams.open_team(deps, wechat, sale, size=2)
    late = await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=2)
    number = await closed_while_paying(deps, wechat, late)
    paying = await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=2)
    boss = await make_operator(deps)
    await group_campaign.close(deps, operator_id=boss.id, group_buy_id=sale.id, idempotency_key=new_secret(12))
    await wechat.pay(number)
    await wechat.settle()
    assert await state(late) == OrderState.CLOSED
    assert [row["cause"] for row in await rows("SELECT cause FROM refund WHERE order_id = $1", [late.id])] == [
        "late_payment"
    ]
    await teams.pay(deps, wechat, paying)
    assert (await teams.team_of(paying)).state == TeamState.OPEN
    with pytest.raises(GroupNotOffered):
        await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=2)
    await teams.joined(deps, wechat, sale, team)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.COMPLETE


@pytest.mark.parametrize("fallback", [Fallback.NEW_TEAM, Fallback.OTHER_TEAM])
async def test_who_finds_a_full_team_goes_where_he_wished(
    deps: Deps, wechat: SandboxControl, fallback: Fallback
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    full = await teams.open_team(deps, wechat, sale, size=2)
    await teams.joined(deps, wechat, sale, full)
    other = await teams.open_team(deps, wechat, sale, size=2)
    one = await teams.joined(deps, wechat, sale, full, fallback)
    team = await teams.team_of(one)
    if fallback is Fallback.OTHER_TEAM:
        assert (team.id, team.state) == (other.id, TeamState.COMPLETE)
    else:
        assert (team.state, team.leader_id, team.size) == (TeamState.OPEN, one.member_id, 2)


async def test_a_member_who_leaves_is_refunded_and_the_next_one_leads(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, sale)
    first = await GroupSeat.get(team_id=team.id)
    second = await teams.joined(deps, wechat, sale, team)
    await group_buy.leave(deps, member_id=first.member_id, order_id=first.order_id)
    after = await GroupTeam.get(id=team.id)
    assert (after.leader_id, after.joined_count, after.state) == (second.member_id, 1, TeamState.OPEN)
    await group_buy.leave(deps, member_id=first.member_id, order_id=first.order_id)
    await wechat.settle()
    assert (await Order.get(id=first.order_id)).state == OrderState.REFUNDED
    assert len(await rows("SELECT 1 FROM refund WHERE order_id = $1", [first.order_id])) == 1
    await group_buy.leave(deps, member_id=second.member_id, order_id=second.id)
    await worked(deps, wechat)
    after = await GroupTeam.get(id=team.id)
    assert (after.leader_id, after.joined_count, after.state) == (None, 0, TeamState.FAILED)
    assert await teams.stock_left(sale.sku_id) == 100


async def test_whoever_pays_while_nobody_leads_leads(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, sale)
    first = await GroupSeat.get(team_id=team.id)
    one = await teams.join_order(deps, sale, team, await teams.payer(deps, wechat))
    await group_buy.leave(deps, member_id=first.member_id, order_id=first.order_id)
    assert (await GroupTeam.get(id=team.id)).state == TeamState.OPEN
    await teams.pay(deps, wechat, one)
    after = await GroupTeam.get(id=team.id)
    assert (after.leader_id, after.joined_count) == (one.member_id, 1)


async def test_only_newcomers_join_where_the_campaign_says_so(deps: Deps, wechat: SandboxControl) -> None:
    usual = await teams.campaign(deps)
    sale = await teams.campaign(deps, newcomers_only=True)
    old = (await GroupSeat.get(team_id=(await teams.open_team(deps, wechat, usual)).id)).member_id
    team = await teams.open_team(deps, wechat, sale)
    with pytest.raises(GroupNewcomersOnly):
        await teams.join_order(deps, sale, team, old)
    await teams.open_order(deps, sale, old)
    new = await teams.payer(deps, wechat)
    await teams.join_order(deps, sale, team, new)
    another = await teams.open_team(deps, wechat, sale)
    with pytest.raises(GroupNewcomersOnly):
        await teams.join_order(deps, sale, another, new)


async def test_whose_team_failed_is_a_newcomer_still(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sale = await teams.campaign(deps, newcomers_only=True, team_hours=1)
    team = await teams.open_team(deps, wechat, sale)
    new = await teams.joined(deps, wechat, sale, team)
    another = await teams.open_team(deps, wechat, await teams.campaign(deps, newcomers_only=True))
    await later(clock, wechat, hours=1)
    await worked(deps, wechat)
    assert await state(new) == OrderState.REFUNDED
    again = await teams.campaign(deps, newcomers_only=True)
    one = await teams.join_order(deps, again, await teams.open_team(deps, wechat, again), new.member_id)
    await teams.pay(deps, wechat, one)
    await group_buy.leave(deps, member_id=one.member_id, order_id=one.id)
    await wechat.settle()
    bought = await teams.open_order(deps, await teams.campaign(deps, sizes=(2,)), new.member_id, size=2)
    await teams.pay(deps, wechat, bought)
    with pytest.raises(GroupNewcomersOnly):
        await teams.join_order(deps, again, await teams.open_team(deps, wechat, again), new.member_id)
    assert (await GroupTeam.get(id=another.id)).joined_count == 1


@pytest.mark.parametrize("since", ["another order of the campaign", "another paid order"])
async def test_late_money_passes_no_limit(deps: Deps, wechat: SandboxControl, since: str) -> None:
    sale = await teams.campaign(deps, member_limit=1, newcomers_only=True)
    team = await teams.open_team(deps, wechat, sale)
    late = await teams.join_order(deps, sale, team, await teams.payer(deps, wechat), Fallback.NEW_TEAM)
    number = await closed_while_paying(deps, wechat, late)
    if since == "another order of the campaign":
        await teams.open_order(deps, sale, late.member_id)
    else:
        await teams.pay(deps, wechat, await teams.open_order(deps, await teams.campaign(deps), late.member_id))
    await wechat.pay(number)
    await wechat.settle()
    assert (await state(late), (await seat_of(late)).state) == (OrderState.CLOSED, SeatState.RELEASED)
    causes = await rows("SELECT cause, state FROM refund WHERE order_id = $1", [late.id])
    assert causes == [{"cause": "late_payment", "state": "succeeded"}]
    assert (await GroupTeam.get(id=team.id)).joined_count == 1


async def test_a_team_that_fails_closes_requests_and_waits_for_parts_that_go_back(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, sizes=(5,), team_hours=1, most_pieces=2)
    team = await teams.open_team(deps, wechat, sale, size=5)
    asking, returning = [await two_pieces(deps, wechat, sale, team) for _ in range(2)]
    (line,) = await lines_of(asking.id)
    asked = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 1})
    request = await after_sale.request(
        deps, member_id=asking.member_id, order_id=asking.id, asked=asked, idempotency_key=new_secret(12)
    )
    await wechat.fault("refund", "system_error")
    (line,) = await lines_of(returning.id)
    await give_back(deps, wechat, returning.id, {line.id: 1})
    assert (await seat_of(returning)).state == SeatState.POSTED
    await later(clock, wechat, hours=1)
    await run_sweep(deps, "end_teams")
    await run_sweep(deps, "see_to_seats")
    assert await state(returning) == OrderState.PAID
    assert (await seat_of(returning)).due_at is not None
    assert (await AfterSale.get(id=request.id)).state == AfterSaleState.CLOSED
    await later(clock, wechat, minutes=15)
    await worked(deps, wechat)
    await later(clock, wechat, minutes=15)
    await worked(deps, wechat)
    for one, refunds in ((asking, [16_000]), (returning, [8_000, 8_000])):
        assert (await state(one), (await seat_of(one)).state) == (OrderState.REFUNDED, SeatState.RETURNED)
        found = await rows("SELECT amount_fen FROM refund WHERE order_id = $1 AND state = 'succeeded'", [one.id])
        assert [row["amount_fen"] for row in found] == refunds
    assert await teams.stock_left(sale.sku_id) == 100


async def test_an_after_sale_of_all_pieces_leaves_the_open_team(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, sale)
    one = await teams.joined(deps, wechat, sale, team)
    (line,) = await lines_of(one.id)
    asked = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 1})
    request = await after_sale.request(
        deps, member_id=one.member_id, order_id=one.id, asked=asked, idempotency_key=new_secret(12)
    )
    assert (await GroupTeam.get(id=team.id)).joined_count == 2
    await after_sale_decision.approve(
        deps,
        operator_id=(await make_operator(deps)).id,
        after_sale_id=request.id,
        words="",
        expected=None,
        idempotency_key=new_secret(12),
    )
    await wechat.settle()
    assert (await state(one), (await seat_of(one)).state) == (OrderState.REFUNDED, SeatState.LEFT)
    assert (await GroupTeam.get(id=team.id)).joined_count == 1


async def test_who_asks_for_money_back_and_then_leaves_is_refunded_once(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, sale)
    one = await teams.joined(deps, wechat, sale, team)
    (line,) = await lines_of(one.id)
    asked = Asked(kind=AfterSaleKind.REFUND_ONLY, reason=AfterSaleReason.OTHER, pieces={line.id: 1})
    request = await after_sale.request(
        deps, member_id=one.member_id, order_id=one.id, asked=asked, idempotency_key=new_secret(12)
    )
    await group_buy.leave(deps, member_id=one.member_id, order_id=one.id)
    await wechat.settle()
    assert (await AfterSale.get(id=request.id)).state == AfterSaleState.CLOSED
    assert (await state(one), (await seat_of(one)).state) == (OrderState.REFUNDED, SeatState.LEFT)
    assert len(await rows("SELECT 1 FROM refund WHERE order_id = $1", [one.id])) == 1


async def test_goods_are_sent_only_once_the_team_is_complete(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    team = await teams.open_team(deps, wechat, sale, size=2)
    first = await GroupSeat.get(team_id=team.id)
    with pytest.raises(FulfilmentStateRefused):
        await send(deps, first.order_id)
    await teams.joined(deps, wechat, sale, team)
    with pytest.raises(FulfilmentStateRefused):
        await send(deps, first.order_id)
    await worked(deps, wechat)
    await send(deps, first.order_id)
    assert (await Order.get(id=first.order_id)).fulfilment_state == "shipped"


async def test_goods_wait_at_the_point_that_was_chosen_before_the_team_was_complete(
    deps: Deps, wechat: SandboxControl
) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    team = await teams.open_team(deps, wechat, sale, size=2)
    first = await GroupSeat.get(team_id=team.id)
    boss = await make_operator(deps)
    place = PickUpPlace(name="天河店", address="天河路 385 号", opening_hours="10:00-22:00", phone="020-12345678")
    point = await pick_up_point.create(deps, operator_id=boss.id, place=place, idempotency_key=new_secret(12))
    await order_address.set_pick_up(deps, member_id=first.member_id, order_id=first.order_id, point_id=point.id)
    assert (await Order.get(id=first.order_id)).fulfilment_state == "none"
    await teams.joined(deps, wechat, sale, team)
    await worked(deps, wechat)
    assert (await Order.get(id=first.order_id)).fulfilment_state == "to_pick_up"


async def test_a_team_that_fails_leaves_the_books_as_if_it_had_never_been(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    sale = await teams.campaign(deps, team_hours=1)
    member_id = await teams.payer(deps, wechat)
    before = await standing(member_id, [sale.sku_id])
    one = await teams.open_order(deps, sale, member_id)
    await teams.pay(deps, wechat, one)
    assert await standing(member_id, [sale.sku_id]) != before
    assert (await rows("SELECT growth_value FROM membership WHERE member_id = $1", [member_id]))[0]["growth_value"] > 0
    await later(clock, wechat, hours=1)
    await worked(deps, wechat)
    assert await state(one) == OrderState.REFUNDED
    assert await standing(member_id, [sale.sku_id]) == before


async def test_limits_hold_for_each_member(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps, member_limit=1, most_pieces=2)
    team = await teams.open_team(deps, wechat, sale)
    member_id = await teams.payer(deps, wechat)
    one = await teams.join_order(deps, sale, team, member_id)
    with pytest.raises(GroupAlreadyIn):
        await teams.join_order(deps, sale, team, member_id)
    with pytest.raises(GroupLimitReached):
        await teams.open_order(deps, sale, member_id)
    await order.cancel(deps, member_id=member_id, order_id=one.id)
    with pytest.raises(QuantityInvalid):
        await group_buy.open_team(
            deps,
            member_id=member_id,
            size=3,
            wish=Wish(item_id=sale.item_id, quantity=3),
            idempotency_key="piecesofthree",
        )
    await teams.open_order(deps, sale, member_id)


async def test_the_ladder_has_a_price_for_each_size(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps, sizes=(2, 5), prices=(9_000, 7_000))
    small = await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=2)
    large = await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=5)
    assert (small.payable_fen, large.payable_fen) == (9_000, 7_000)
    with pytest.raises(GroupNotOffered):
        await teams.open_order(deps, sale, await teams.payer(deps, wechat), size=3)


async def test_a_key_stands_for_one_order(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps)
    member_id, key = await teams.payer(deps, wechat), new_secret(12)
    wish = Wish(item_id=sale.item_id, expected_fen=8_000)
    one = await group_buy.open_team(deps, member_id=member_id, size=3, wish=wish, idempotency_key=key)
    again = await group_buy.open_team(deps, member_id=member_id, size=3, wish=wish, idempotency_key=key)
    assert one.id == again.id
    other = Wish(item_id=sale.item_id, expected_fen=8_000, remark="快")
    with pytest.raises(KeyReused):
        await group_buy.open_team(deps, member_id=member_id, size=3, wish=other, idempotency_key=key)
    dear = Wish(item_id=sale.item_id, expected_fen=7_999)
    with pytest.raises(AmountChanged):
        await group_buy.open_team(deps, member_id=member_id, size=3, wish=dear, idempotency_key=new_secret(12))
    assert await GroupSeat.filter(member_id=member_id).count() == 1


async def test_what_is_not_there_cannot_be_joined(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    sale, another = await teams.campaign(deps), await teams.campaign(deps)
    team = await teams.open_team(deps, wechat, another)
    member_id = await teams.payer(deps, wechat)
    with pytest.raises(GroupTeamNotFound):
        await teams.join_order(deps, sale, team, member_id)
    await later(clock, wechat, days=7)
    with pytest.raises(GroupNotOffered):
        await teams.open_order(deps, sale, member_id)


async def test_teams_to_join_have_a_seat_and_not_oneself(deps: Deps, wechat: SandboxControl) -> None:
    sale = await teams.campaign(deps, sizes=(2,))
    full, free = [await teams.open_team(deps, wechat, sale, size=2) for _ in range(2)]
    await teams.joined(deps, wechat, sale, full)
    leader = (await GroupSeat.get(team_id=free.id)).member_id
    page = Page(keyset=group_buy.ENDING, first=20)
    others = await group_buy.teams_to_join(deps, group_buy_id=sale.id, page=page)
    assert [team.id for team in others.rows] == [free.id]
    own = await group_buy.teams_to_join(deps, group_buy_id=sale.id, page=page, member_id=leader)
    assert own.rows == []


async def test_a_draft_is_changed_and_a_published_campaign_stays(deps: Deps) -> None:
    boss = await make_operator(deps)
    sale = await teams.campaign(deps)
    with pytest.raises(GroupBuyStateRefused):
        await group_campaign.change(
            deps, operator_id=boss.id, group_buy_id=sale.id, changes={"title": "新"}, idempotency_key=new_secret(12)
        )
    campaign = await GroupBuy.get(id=sale.id)
    terms = group_campaign.terms_of(campaign)
    items = [group_campaign.ItemWish(sku_id=sale.sku_id, prices_fen=(8_000,))]
    draft = await group_campaign.create(
        deps, operator_id=boss.id, terms=terms, items=items, idempotency_key=new_secret(12)
    )
    changed = await group_campaign.change(
        deps,
        operator_id=boss.id,
        group_buy_id=draft.id,
        changes={"title": "新团", "virtual_from": 2},
        idempotency_key=new_secret(12),
    )
    assert (changed.title, changed.virtual_from) == ("新团", 2)
    with pytest.raises(ProgrammeInvalid):
        await group_campaign.change(
            deps, operator_id=boss.id, group_buy_id=draft.id, changes={"sizes": (2, 3)}, idempotency_key=new_secret(12)
        )


async def test_the_books_add_up(deps: Deps) -> None:
    broken = [finding.invariant.name for finding in await verify() if finding.offenders]
    assert broken == []
