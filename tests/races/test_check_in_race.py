"""Twenty check-ins at once while points are being spent: one reward, and the spend survives."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.points.points import EntryKind
from models.engine import changed, rows, transaction
from models.ids import new_id, new_secret
from models.points.check_in import CheckIn
from models.points.points import PointsAccount, PointsEntry
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import points_programme
from tests.doors import Bearer, Door, make_member

CHECK_IN = """
mutation ($key: IdempotencyKey!) {
  checkIn(idempotencyKey: $key) {
    ... on CheckInDone { checkIn { id points streakDays } }
    ... on Refusal { code }
  }
}
"""
AT_ONCE = 20

Tokens = Callable[..., Awaitable[Bearer]]


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """The control leaves a broken balance behind, which no other test shall find."""
    return own_store_url


async def give(deps: Deps, member_id: UUID, amount: int) -> None:
    now = deps.clock.now()
    async with transaction(member_id):
        await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.ADJUST,
            cause_kind="operator",
            cause_id=new_id(now),
            key=f"gift:{new_id(now)}",
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
        )


async def spend(deps: Deps, member_id: UUID, amount: int) -> None:
    now = deps.clock.now()
    order_id = new_id(now)
    async with transaction(member_id):
        await points.hold(member_id, amount=amount, cause_kind="order", cause_id=order_id, now=now)
        programme = await points_programme(now)
        await points.post(cause_kind="order", cause_id=order_id, now=now, version_id=programme.version_id)


async def test_twenty_taps_are_paid_once_and_a_spend_beside_them_survives(
    deps: Deps, shop: Door, member_token: Tokens
) -> None:
    token = await member_token()
    member_id = token.subject_id
    await give(deps, member_id, 100)
    answers, *_ = await asyncio.gather(
        asyncio.gather(*(shop.ask(CHECK_IN, {"key": new_secret(12)}, token=token) for _ in range(AT_ONCE))),
        spend(deps, member_id, 60),
    )
    done = [one["checkIn"] for one in answers if "checkIn" in one["checkIn"]]
    refused = [one["checkIn"]["code"] for one in answers if "code" in one["checkIn"]]
    assert (len(done), refused) == (1, ["ALREADY_CHECKED_IN"] * (AT_ONCE - 1))
    assert await CheckIn.filter(member_id=member_id).count() == 1
    entries = await PointsEntry.filter(member_id=member_id).order_by("seq")
    assert sorted((row.kind, row.amount) for row in entries) == [("adjust", 100), ("earn", 1), ("spend", -60)]
    assert [row.seq for row in entries] == [1, 2, 3]
    account = await PointsAccount.get(member_id=member_id)
    assert (account.balance, account.held) == (41, 0)


async def test_one_key_sent_twenty_times_at_once_gets_one_answer(deps: Deps, shop: Door, member_token: Tokens) -> None:
    token = await member_token()
    answers = await asyncio.gather(
        *(shop.ask(CHECK_IN, {"key": "one-key-for-all"}, token=token) for _ in range(AT_ONCE))
    )
    assert len({one["checkIn"]["checkIn"]["id"] for one in answers}) == 1
    assert (await PointsAccount.get(member_id=token.subject_id)).balance == 1


async def test_taps_around_midnight_are_paid_once_for_each_day(
    deps: Deps, clock: SetClock, shop: Door, member_token: Tokens
) -> None:
    clock.at = clock.at.replace(hour=15, minute=59, second=59, microsecond=999_000)
    token = await member_token()

    async def taps() -> list[int]:
        answers = await asyncio.gather(
            *(shop.ask(CHECK_IN, {"key": new_secret(12)}, token=token) for _ in range(AT_ONCE))
        )
        return [one["checkIn"]["checkIn"]["streakDays"] for one in answers if "checkIn" in one["checkIn"]]

    assert await taps() == [1]
    clock.advance(timedelta(milliseconds=1))
    assert await taps() == [2]
    assert (await PointsAccount.get(member_id=token.subject_id)).balance == 2


async def test_control_looking_first_and_writing_balances_back_pays_twenty_times_and_loses_the_spend(
    deps: Deps,
) -> None:
    """The way that other stores go: no unique row for the day, no lock, the balance read and written as a number."""
    member_id = (await make_member(deps)).id
    await give(deps, member_id, 100)
    all_have_looked = asyncio.Barrier(AT_ONCE + 1)
    await rows("CREATE TABLE unguarded_check_in (member_id uuid, business_day date)")

    async def read_balance() -> int:
        found = await rows("SELECT balance FROM points_account WHERE member_id = $1", [member_id])
        balance: int = found[0]["balance"]
        return balance

    async def write_balance(balance: int) -> None:
        await changed("UPDATE points_account SET balance = $2 WHERE member_id = $1", [member_id, balance])

    async def tap() -> bool:
        async with transaction():
            before = await rows("SELECT 1 FROM unguarded_check_in WHERE member_id = $1", [member_id])
            balance = await read_balance()
            await all_have_looked.wait()
            if before:
                return False
            await rows("INSERT INTO unguarded_check_in VALUES ($1, '2026-11-20')", [member_id])
            await write_balance(balance + 1)
            return True

    async def spend_60() -> bool:
        async with transaction():
            balance = await read_balance()
            await all_have_looked.wait()
            await write_balance(balance - 60)
            return True

    try:
        rewarded = await asyncio.gather(spend_60(), *(tap() for _ in range(AT_ONCE)))
        assert sum(rewarded) == AT_ONCE + 1, "every tap was rewarded"
        assert await read_balance() in (40, 101), "and either the spend or every reward is lost"
        assert (await rows("SELECT count(*) AS n FROM unguarded_check_in"))[0]["n"] == AT_ONCE
    finally:
        await rows("DROP TABLE unguarded_check_in")


async def test_the_table_itself_refuses_a_second_row_of_the_day(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    now = deps.clock.now()
    version = (await rows("SELECT id FROM programme_version WHERE kind = 'check_in' LIMIT 1"))[0]["id"]

    async def row() -> CheckIn:
        return await CheckIn.create(
            id=new_id(now),
            member_id=member_id,
            business_day=now.date(),
            cycle_started_on=now.date(),
            cycle_day=1,
            streak_days=1,
            total_days=1,
            version_id=version,
            rewards=[],
            at=now,
        )

    await row()
    with pytest.raises(Exception, match="check_in"):
        await row()
