"""The committed list is what the migrations make, and what goes missing or out of force is found."""

import asyncpg
import pytest

from models import declared, engine
from tests.conftest import make_database

pytestmark = pytest.mark.asyncio(loop_scope="session")
CHANGES = [
    (
        "ALTER TABLE growth_entry DROP CONSTRAINT growth_entry_balance_not_negative",
        "constraint growth_entry growth_entry_balance_not_negative",
    ),
    (
        "ALTER TABLE growth_entry DROP CONSTRAINT growth_entry_balance_not_negative;"
        "ALTER TABLE growth_entry ADD CONSTRAINT growth_entry_balance_not_negative CHECK (false) NOT VALID",
        "constraint growth_entry growth_entry_balance_not_negative",
    ),
    (
        "ALTER TABLE points_entry DISABLE TRIGGER points_entry_only_grows",
        "trigger points_entry points_entry_only_grows",
    ),
    ("DROP TRIGGER points_entry_only_grows ON points_entry", "trigger points_entry points_entry_only_grows"),
]


async def test_the_committed_list_is_what_the_migrations_make(store: None) -> None:
    assert await declared.present() == declared.declared(), "run `make schema` and review the change"


@pytest.mark.parametrize(("change", "missing"), CHANGES)
async def test_what_goes_missing_or_out_of_force_is_found(
    postgres_url: str, migrated_template: str, worker_id: str, change: str, missing: str
) -> None:
    url = await make_database(postgres_url, f"youli_declared_{worker_id}", template=migrated_template)
    async with engine.database(url, pool_size=2):
        assert await declared.problems() == []
        await _by_hand(url, change)
        assert await declared.problems() == [f"missing or not in force: {missing}"]


async def test_an_index_that_goes_missing_is_found(postgres_url: str, migrated_template: str, worker_id: str) -> None:
    url = await make_database(postgres_url, f"youli_declared_{worker_id}", template=migrated_template)
    line = next(line for line in sorted(declared.declared()) if line.startswith("index "))
    async with engine.database(url, pool_size=2):
        await _by_hand(url, f"DROP INDEX {line.split()[2]}")
        assert await declared.problems() == [f"missing or not in force: {line}"]


async def _by_hand(url: str, change: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(change)
    await connection.close()
