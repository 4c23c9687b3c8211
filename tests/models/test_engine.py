"""The transaction: what it locks, what it rolls back, what it gives back."""

import asyncio

import asyncpg
import pytest

from models import engine
from models.asyncpg_backend import Unavailable, translated
from models.ids import new_id
from models.people.member import Member
from resolvers.clock import SetClock
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_raising_inside_a_transaction_rolls_back(store: None, clock: SetClock) -> None:
    member_id = new_id(clock.now())
    with pytest.raises(ZeroDivisionError):
        async with engine.transaction():
            await Member.create(id=member_id, created_at=clock.now())
            raise ZeroDivisionError
    assert not await Member.exists(id=member_id)


async def test_locking_outside_a_transaction_fails_loudly(store: None, clock: SetClock) -> None:
    with pytest.raises(AssertionError):
        await engine.lock_members([new_id(clock.now())])


async def test_a_cancelled_begin_gives_its_connection_back(store: None) -> None:
    async def enter_and_leave() -> None:
        async with engine.transaction():
            pass

    for pause in range(200):
        task = asyncio.create_task(enter_and_leave())
        for _ in range(pause % 20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(enter_and_leave() for _ in range(60))), PATIENCE_S)
    assert not engine.in_transaction()


async def test_a_connection_that_ends_in_a_part_of_a_transaction_is_an_outage(store: None) -> None:
    with pytest.raises(Unavailable):
        async with engine.transaction(), engine.savepoint():
            await engine.rows("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_part_of_a_transaction_fails_alone(store: None, clock: SetClock) -> None:
    stays, goes = new_id(clock.now()), new_id(clock.now())
    async with engine.transaction():
        await Member.create(id=stays, created_at=clock.now())
        with pytest.raises(ZeroDivisionError):
            async with engine.savepoint():
                await Member.create(id=goes, created_at=clock.now())
                raise ZeroDivisionError
    assert await Member.exists(id=stays)
    assert not await Member.exists(id=goes)


async def test_a_ledger_row_cannot_be_changed_or_deleted(store: None) -> None:
    for statement in ("UPDATE programme_version SET note = 'x'", "DELETE FROM programme_version"):
        with pytest.raises(Exception, match="only grows"):
            await engine.changed(statement)


async def test_what_is_planned_while_a_table_is_small_goes_by_its_index(store: None) -> None:
    # A foreign key's check is planned once and kept: in a rush it would read more with each row, until an ANALYZE.
    async with engine.transaction():
        await engine.rows("CREATE TEMP TABLE young (id int PRIMARY KEY, text text) ON COMMIT DROP")
        await engine.rows("INSERT INTO young SELECT n, repeat('x', 400) FROM generate_series(1, 60) n")
        await engine.rows("ANALYZE young")
        plan = await engine.rows("EXPLAIN SELECT 1 FROM young WHERE id = 7")
    assert "Index" in plan[0]["QUERY PLAN"], plan


@pytest.mark.parametrize("broken", [asyncpg.InternalClientError, asyncpg.ConnectionDoesNotExistError, BrokenPipeError])
async def test_a_connection_that_breaks_under_a_statement_is_an_outage(broken: type[Exception]) -> None:
    async def step() -> None:
        raise broken("another operation is in progress")

    with pytest.raises(Unavailable):
        await translated(step())
