"""Pages by key against the real database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tortoise.queryset import QuerySet

from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Category
from models.ids import new_id
from models.keyset import Key, Keyset, Page, fetch

NOON = datetime(2026, 11, 11, 4, tzinfo=UTC)
NEWEST = Keyset("category.newest", (Key("created_at", datetime), Key("id", UUID)))
BY_POSITION = Keyset(
    "category.position",
    (Key("position", int, descending=False), Key("created_at", datetime), Key("id", UUID, descending=False)),
)


async def shelves(name: str, count: int) -> list[Category]:
    """So many categories, three of each instant and two of each position."""
    rows = [
        Category(
            id=new_id(NOON),
            name=f"{name} {number}",
            position=number % 5,
            created_at=NOON + timedelta(seconds=number // 3),
        )
        for number in range(count)
    ]
    await Category.bulk_create(rows)
    return rows


def named(name: str) -> QuerySet[Category]:
    """The categories of one test."""
    return Category.filter(name__startswith=f"{name} ")


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.usefixtures("store")
async def test_pages_put_together_are_the_whole_list_in_order(size: int) -> None:
    name = f"pages of {size}"
    rows = await shelves(name, 10)
    for keyset, expected in (
        (NEWEST, sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)),
        (BY_POSITION, sorted(rows, key=lambda row: (row.position, -row.created_at.timestamp(), row.id))),
    ):
        seen: list[UUID] = []
        after = None
        while True:
            found = await fetch(named(name), Page(keyset, size, after))
            assert len(found.rows) <= size
            seen += [row.id for row in found.rows]
            if not found.has_more:
                break
            after = found.key_of(found.rows[-1])
        assert seen == [row.id for row in expected]


@pytest.mark.usefixtures("store")
async def test_rows_that_come_in_front_meanwhile_neither_hide_nor_repeat_others() -> None:
    rows = await shelves("meanwhile", 6)
    newest_first = sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
    first = await fetch(named("meanwhile"), Page(NEWEST, 3))
    await Category.create(id=new_id(NOON), name="meanwhile late", created_at=NOON + timedelta(days=1))
    second = await fetch(named("meanwhile"), Page(NEWEST, 3, first.key_of(first.rows[-1])))
    assert [row.id for row in [*first.rows, *second.rows]] == [row.id for row in newest_first]
    assert not second.has_more


@pytest.mark.usefixtures("store")
async def test_a_page_is_one_statement() -> None:
    await shelves("statements", 5)
    counter = SqlCount()
    counting = sql_count.set(counter)
    try:
        found = await fetch(named("statements"), Page(NEWEST, 2))
        assert counter.value == 1
        await fetch(named("statements"), Page(NEWEST, 2, found.key_of(found.rows[-1])))
        assert counter.value == 2
    finally:
        sql_count.reset(counting)
