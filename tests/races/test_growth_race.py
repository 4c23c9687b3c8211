"""A hundred growth updates at once: the sum is exact, and the control shows what it would be without the guard."""

import asyncio
from uuid import UUID

import pytest_asyncio

from loyalty.tiers.tier import GrowthEntryKind
from models.engine import changed, rows, transaction
from models.ids import new_id
from models.tiers.tier import GrowthEntry, Membership, TierChange
from resolvers.deps import Deps
from resolvers.programme import tier_table
from resolvers.tiers.growth import grow
from tests.doors import make_member
from tests.rulebook import buys, refunds, tiers

AT_ONCE = 25
"""As many as the pool has connections to spare: all of them are really under way together."""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def balance(member_id: UUID) -> int:
    growth: int = (await Membership.get(member_id=member_id)).growth_value
    return growth


async def test_a_hundred_orders_at_once_add_up_exactly(deps: Deps) -> None:
    await tiers(deps)
    member_id = (await make_member(deps)).id
    room = asyncio.Semaphore(AT_ONCE)

    async def one(growth: int) -> None:
        async with room:
            await buys(deps, member_id, new_id(deps.clock.now()), growth)

    await asyncio.gather(*(one(growth) for growth in range(1, 101)))
    entries = await GrowthEntry.filter(member_id=member_id).order_by("seq")
    assert await balance(member_id) == 5_050 == sum(row.amount for row in entries)
    assert [row.seq for row in entries] == list(range(1, 101))
    sums = [0]
    for row in entries:
        sums.append(sums[-1] + row.amount)
        assert row.balance_after == sums[-1]
    risen = await TierChange.filter(member_id=member_id, reason="growth").order_by("growth_seq")
    assert [(row.from_code, row.to_code) for row in risen] == [("basic", "silver"), ("silver", "gold")]


async def test_one_key_sent_thirty_times_at_once_grows_once(deps: Deps) -> None:
    await tiers(deps)
    member_id = (await make_member(deps)).id
    bought = new_id(deps.clock.now())
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> bool:
        async with room:
            return await buys(deps, member_id, bought, 1_000) is not None

    assert sum(await asyncio.gather(*(one() for _ in range(30)))) == 1
    assert await balance(member_id) == 1_000


async def test_refunds_of_one_order_at_once_take_it_back_once(deps: Deps) -> None:
    await tiers(deps)
    member_id = (await make_member(deps)).id
    bought = new_id(deps.clock.now())
    await buys(deps, member_id, bought, 700)
    await buys(deps, member_id, new_id(deps.clock.now()), 200)
    await asyncio.gather(*(refunds(deps, member_id, bought, key=f"refund {number}") for number in range(20)))
    assert await balance(member_id) == 200


async def test_the_guarded_write_adds_up_even_when_a_caller_forgot_the_lock(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    now = deps.clock.now()
    table = await tier_table(now)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with room, transaction():
            await grow(
                member_id,
                amount=1,
                kind=GrowthEntryKind.EARN,
                cause_kind="order",
                cause_id=member_id,
                key=f"unlocked {number}",
                now=now,
                zone=deps.zone,
                table=table,
            )

    await asyncio.gather(*(one(number) for number in range(100)))
    assert await balance(member_id) == 100
    assert await GrowthEntry.filter(member_id=member_id).count() == 100


async def test_control_reading_and_writing_back_loses_growth(deps: Deps) -> None:
    """The way that other stores go: read the value, add to it, write the sum."""
    member_id = (await make_member(deps)).id
    all_have_read = asyncio.Barrier(AT_ONCE)

    async def one() -> None:
        async with transaction():
            read = (await rows("SELECT growth_value FROM membership WHERE member_id = $1", [member_id]))[0]
            await all_have_read.wait()
            await changed(
                "UPDATE membership SET growth_value = $2 WHERE member_id = $1", [member_id, read["growth_value"] + 1]
            )

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    assert await balance(member_id) == 1, "all but one of the updates are lost"
