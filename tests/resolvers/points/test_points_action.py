"""Deeds are rewarded once each, within limits and caps; the store itself rewards a completed profile."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.idempotency import KeyReused
from loyalty.orders.order import OrderLine
from loyalty.people.member import BirthdayInvalid, BirthdayLocked, MarketingTopic, MemberNotFound
from loyalty.people.rights import Role
from loyalty.points.points import EntryKind
from loyalty.points.points_action import ActionCauseInvalid, ActionLimitReached, ActionNotRewarded
from models.engine import transaction
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.people.member import Member
from models.people.operator import AuditRow
from models.points.points import PointsAccount, PointsEntry
from models.points.points_action import PointsAction
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.payments import settlement
from resolvers.people import member, member_profile
from resolvers.points import balance, check_in
from resolvers.points.points_action import reward
from resolvers.programme import ProgrammeKind
from tests.doors import make_member, make_operator
from tests.rulebook import published
from tests.shelf import put_on_shelf

ACTIONS = [
    {"code": "profile_completed", "points": 100},
    {"code": "review", "points": 10, "times_per_day": 2, "times_per_member": 3},
    {"code": "visit", "points": 7},
]


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def rules(deps: Deps, **more: Any) -> None:
    await published(deps, ProgrammeKind.POINTS, {"actions": ACTIONS, **more})


async def does(deps: Deps, member_id: UUID, code: str, cause: str, key: str | None = None) -> PointsAction:
    boss = await make_operator(deps, Role.USER_OPERATIONS)
    return await reward(
        deps,
        operator_id=boss.id,
        member_id=member_id,
        action_code=code,
        cause=cause,
        idempotency_key=key or new_secret(12),
    )


async def balance_of(member_id: UUID) -> int:
    account: int = (await PointsAccount.get(member_id=member_id)).balance
    return account


async def the_books_are_right() -> None:
    broken = {finding.invariant.name: finding.offenders for finding in await verify() if finding.offenders}
    assert not broken, broken


async def test_a_deed_is_rewarded_once_whatever_the_key(deps: Deps) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    first = await does(deps, member_id, "review", "r-1")
    again = await does(deps, member_id, "review", "r-1")
    assert (first.id, first.points) == (again.id, 10)
    entry = await PointsEntry.get(member_id=member_id)
    assert (entry.kind, entry.cause_kind, entry.cause_id, entry.note) == (EntryKind.EARN, "action", first.id, "review")
    assert await balance_of(member_id) == 10
    await the_books_are_right()


async def test_an_operators_key_is_good_for_one_deed(deps: Deps) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    boss = await make_operator(deps, Role.USER_OPERATIONS)

    async def by_boss(cause: str) -> PointsAction:
        return await reward(
            deps,
            operator_id=boss.id,
            member_id=member_id,
            action_code="visit",
            cause=cause,
            idempotency_key="one-key-only",
        )

    assert (await by_boss("v-1")).id == (await by_boss("v-1")).id
    with pytest.raises(KeyReused):
        await by_boss("v-2")
    audit = await AuditRow.get(operator_id=boss.id)
    assert (audit.action, audit.subject_id) == ("points.action_reward", str(member_id))
    assert audit.after["points"] == 7


async def test_limits_are_by_shop_day_and_by_life(deps: Deps, clock: SetClock) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    clock.at = datetime(2026, 11, 20, 15, 59, 59, tzinfo=UTC)
    for cause in ("r-1", "r-2"):
        await does(deps, member_id, "review", cause)
    with pytest.raises(ActionLimitReached):
        await does(deps, member_id, "review", "r-3")
    clock.advance(timedelta(seconds=1))
    assert (await does(deps, member_id, "review", "r-3")).business_day == date(2026, 11, 21)
    clock.advance(timedelta(days=1))
    with pytest.raises(ActionLimitReached):
        await does(deps, member_id, "review", "r-4")
    assert (await does(deps, member_id, "visit", "r-4")).points == 7, "another action has limits of its own"
    assert await balance_of(member_id) == 37


async def test_caps_cut_a_deed_and_never_refuse_it(deps: Deps, clock: SetClock) -> None:
    await rules(deps, cap_per_day=12, cap_per_member=30)
    member_id = (await make_member(deps)).id
    paid = [(await does(deps, member_id, "visit", f"v-{at}")).points for at in range(3)]
    assert paid == [7, 5, 0]
    clock.advance(timedelta(days=1))
    paid = [(await does(deps, member_id, "visit", f"w-{at}")).points for at in range(2)]
    clock.advance(timedelta(days=1))
    paid += [(await does(deps, member_id, "visit", f"x-{at}")).points for at in range(2)]
    assert paid == [7, 5, 6, 0]
    assert await balance_of(member_id) == 30
    await the_books_are_right()


async def test_caps_count_every_kind_of_earning_together(deps: Deps) -> None:
    await rules(deps, cap_per_day=8)
    await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 5})
    member_id = (await make_member(deps)).id
    await does(deps, member_id, "visit", "v-1")
    assert (await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))).points == 1


@pytest.mark.parametrize(
    ("code", "cause", "refusal"),
    [
        ("share", "s-1", ActionNotRewarded),
        ("", "s-1", ActionNotRewarded),
        ("visit", "", ActionCauseInvalid),
        ("visit", "with blank", ActionCauseInvalid),
        ("share", "评价", ActionCauseInvalid),
    ],
)
async def test_what_cannot_be_rewarded_is_refused_and_leaves_nothing(
    deps: Deps, code: str, cause: str, refusal: type[Exception]
) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    with pytest.raises(refusal):
        await does(deps, member_id, code, cause)
    assert not await PointsAction.exists(member_id=member_id)
    assert await balance_of(member_id) == 0


async def test_nobody_is_not_rewarded(deps: Deps) -> None:
    await rules(deps)
    with pytest.raises(MemberNotFound):
        await does(deps, new_id(deps.clock.now()), "visit", "v-1")


# The profile


async def names(deps: Deps, member_id: UUID, nickname: str) -> Member:
    return await member.update(
        deps, member_id=member_id, nickname=nickname, avatar_url=None, idempotency_key=new_secret(12)
    )


async def born(deps: Deps, member_id: UUID, day: date, key: str | None = None) -> Member:
    return await member_profile.set_birthday(
        deps, member_id=member_id, birthday=day, idempotency_key=key or new_secret(12)
    )


@pytest.mark.parametrize("name_first", [True, False])
async def test_completing_the_profile_is_rewarded_once_in_a_life(deps: Deps, clock: SetClock, name_first: bool) -> None:
    await rules(deps)
    member_id = (await make_member(deps)).id
    if name_first:
        await names(deps, member_id, "小友")
    else:
        await born(deps, member_id, date(1990, 5, 1))
    assert await balance_of(member_id) == 0
    await born(deps, member_id, date(1990, 5, 1))
    await names(deps, member_id, "小友")
    assert await balance_of(member_id) == 100
    clock.advance(timedelta(days=400))
    await member_profile.remove_birthday(deps, member_id=member_id, idempotency_key=new_secret(12))
    await born(deps, member_id, date(1991, 5, 1))
    await names(deps, member_id, "老友")
    assert await balance_of(member_id) == 100
    assert (await PointsAction.get(member_id=member_id)).code == "profile_completed"


async def test_a_store_that_does_not_reward_the_profile_keeps_it_all_the_same(deps: Deps) -> None:
    member_id = (await make_member(deps, nickname="小友")).id
    await born(deps, member_id, date(1990, 5, 1))
    assert await balance_of(member_id) == 0
    await rules(deps)
    await names(deps, member_id, "小友友")
    assert await balance_of(member_id) == 100, "rewarded when it is saved complete the next time"


async def test_a_birthday_changes_once_a_year_by_the_shops_calendar(deps: Deps, clock: SetClock) -> None:
    member_id = (await make_member(deps)).id
    clock.at = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    row = await born(deps, member_id, date(1990, 5, 1))
    assert (row.birthday, row.birthday_changed_on) == (date(1990, 5, 1), date(2026, 11, 21))
    await born(deps, member_id, date(1990, 5, 1))
    clock.at = datetime(2027, 11, 20, 15, 59, 59, tzinfo=UTC)
    with pytest.raises(BirthdayLocked) as refused:
        await born(deps, member_id, date(1990, 5, 2))
    assert refused.value.data == {"from_day": "2027-11-21"}
    clock.advance(timedelta(seconds=1))
    assert (await born(deps, member_id, date(1990, 5, 2))).birthday == date(1990, 5, 2)


async def test_taking_a_birthday_away_does_not_shorten_the_year(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    await born(deps, member_id, date(1990, 5, 1))
    row = await member_profile.remove_birthday(deps, member_id=member_id, idempotency_key=new_secret(12))
    assert row.birthday is None
    with pytest.raises(BirthdayLocked):
        await born(deps, member_id, date(1990, 5, 1))
    assert (await Member.get(id=member_id)).birthday is None


async def test_a_birthday_of_tomorrow_is_refused_and_its_key_is_free(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    with pytest.raises(BirthdayInvalid):
        await born(deps, member_id, date(2026, 11, 21), "birthday-key")
    assert (await born(deps, member_id, date(2026, 11, 20), "birthday-key")).birthday == date(2026, 11, 20)
    with pytest.raises(KeyReused):
        await born(deps, member_id, date(2026, 11, 19), "birthday-key")


async def test_preferences_are_kept_whole(deps: Deps) -> None:
    row = await make_member(deps)
    fresh = await Member.get(id=row.id)
    assert (fresh.personalised, fresh.marketing_topics) == (True, [])
    for topics in ([MarketingTopic.EVENTS, MarketingTopic.OFFERS, MarketingTopic.EVENTS], []):
        await member_profile.set_preferences(
            deps, member_id=row.id, personalised=not topics, topics=topics, idempotency_key=new_secret(12)
        )
        kept = await Member.get(id=row.id)
        assert (kept.personalised, kept.marketing_topics) == (not topics, ["offers", "events"] if topics else [])


# Orders


async def buys_for(deps: Deps, member_id: UUID, yuan: int) -> Order:
    placed = await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps, price_fen=yuan * 100), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    return await Order.get(id=placed.id)


async def test_the_birthday_and_member_day_boosts_are_frozen_when_the_order_is_placed(
    deps: Deps, clock: SetClock
) -> None:
    boosts = [
        {"code": "wednesday", "kind": "weekday", "factor_bp": 20_000, "weekdays": [3]},
        {"code": "birthday", "kind": "birthday", "factor_bp": 30_000},
        {"code": "month", "kind": "birthday_month", "factor_bp": 15_000},
    ]
    await rules(deps, boosts=boosts)
    member_id, other_id = (await make_member(deps)).id, (await make_member(deps)).id
    await born(deps, member_id, date(1990, 11, 26))
    factors = []
    for day in (20, 25, 26):
        clock.at = datetime(2026, 11, day, 4, 0, tzinfo=UTC)
        factors.append([(await buys_for(deps, one, 10)).points_multiplier_bp for one in (member_id, other_id)])
    assert factors == [[15_000, 10_000], [20_000, 20_000], [30_000, 10_000]]
    clock.at = datetime(2026, 12, 2, 4, 0, tzinfo=UTC)
    assert (await buys_for(deps, member_id, 10)).points_multiplier_bp == 20_000


async def test_points_of_an_order_are_pending_until_its_return_window_closes(deps: Deps, clock: SetClock) -> None:
    await rules(deps, pending_days=7, cap_per_day=1_050)
    member_id = (await make_member(deps)).id
    placed = [await buys_for(deps, member_id, yuan) for yuan in (1_000, 100)]
    for one in placed:
        async with transaction(member_id):
            await settlement.book(deps, await Order.get(id=one.id), paid_fen=one.payable_fen, now=clock.now())
    found = (await balance.balances(deps, [member_id]))[member_id]
    assert (found.balance, found.available, found.pending) == (1_050, 0, 1_050)
    clock.advance(timedelta(days=7) - timedelta(microseconds=1))
    assert (await balance.balances(deps, [member_id]))[member_id].available == 0
    clock.advance(timedelta(microseconds=1))
    found = (await balance.balances(deps, [member_id]))[member_id]
    assert (found.available, found.pending) == (1_050, 0)
