"""A migration is made for what changed in the tables, and for nothing else."""

from models.new_migration import changes
from models.people.member import Member


async def test_the_models_and_the_migrations_agree() -> None:
    assert [operation.describe() for writer in await changes() for operation in writer.operations] == []


async def test_another_word_about_a_table_needs_no_migration() -> None:
    said = Member._meta.table_description
    Member._meta.table_description = "Said differently."
    try:
        assert await changes() == []
    finally:
        Member._meta.table_description = said


async def test_another_index_needs_one() -> None:
    unique = Member._meta.unique_together
    Member._meta.unique_together = (("id", "created_at"),)
    try:
        assert len(await changes()) == 1
    finally:
        Member._meta.unique_together = unique
