"""Cursors and pages as the API says them."""

import base64
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.keyset import Key, Keyset, KeyValue, Page, Slice
from schema.errors import BadInput
from schema.paging import CURSOR_MAX_LENGTH, FIRST_MAX, connection, page, read_cursor, write_cursor

ALL = Keyset(
    "test.all",
    (Key("at", datetime), Key("day", date), Key("amount", int), Key("name", str), Key("id", UUID, descending=False)),
)
NEWEST = Keyset("test.newest", (Key("at", datetime), Key("id", UUID)))
NOON = datetime(2026, 11, 11, 4, 0, 0, 123_456, tzinfo=UTC)
ONE = UUID("01930000-0000-7000-8000-000000000001")


@dataclass
class Row:
    at: datetime
    id: UUID


def forged(*values: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


@given(
    at=st.datetimes(timezones=st.just(UTC)),
    day=st.dates(),
    amount=st.integers(-(2**63) + 1, 2**63 - 1),
    name=st.text(max_size=20, alphabet=st.characters(codec="utf-8", exclude_characters="\0")),
    id=st.uuids(),
)
def test_a_cursor_comes_back_as_the_values_it_was_made_of(
    at: datetime, day: date, amount: int, name: str, id: UUID
) -> None:
    values = (at, day, amount, name, id)
    assert read_cursor(ALL, write_cursor(ALL, values)) == values


def test_a_cursor_of_one_list_is_none_of_another() -> None:
    other = Keyset("test.other", NEWEST.keys)
    with pytest.raises(BadInput):
        read_cursor(other, write_cursor(NEWEST, (NOON, ONE)))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "游标",
        "\0",
        "\ud800",
        "W10=",
        "x" * (CURSOR_MAX_LENGTH + 1),
        forged(),
        forged(1),
        forged(1, "test.newest"),
        forged(2, "test.newest", 0, ONE.hex),
        forged(1, "test.newest", 0, ONE.hex, 1),
        forged(1, "test.newest", "0", ONE.hex),
        forged(1, "test.newest", True, ONE.hex),
        forged(1, "test.newest", 0.5, ONE.hex),
        forged(1, "test.newest", None, ONE.hex),
        forged(1, "test.newest", 2**63, ONE.hex),
        forged(1, "test.newest", 2**62, ONE.hex),
        forged(1, "test.newest", 0, "not-a-uuid"),
        forged(1, "test.newest", 0, 1),
        forged(1, ["test.newest"], 0, ONE.hex),
        base64.urlsafe_b64encode(b'{"a":1}').decode(),
        base64.urlsafe_b64encode(b"[" * 300).decode(),
    ],
)
def test_a_forged_cursor_is_bad_input(cursor: str) -> None:
    with pytest.raises(BadInput):
        read_cursor(NEWEST, cursor)


def test_a_nul_in_a_cursor_is_bad_input() -> None:
    by_name = Keyset("test.name", (Key("name", str),))
    assert read_cursor(by_name, forged(1, "test.name", "a")) == ("a",)
    with pytest.raises(BadInput):
        read_cursor(by_name, forged(1, "test.name", "a\0"))


@given(st.text(max_size=200))
def test_no_text_at_all_breaks_a_cursor(cursor: str) -> None:
    with pytest.raises(BadInput):
        read_cursor(NEWEST, cursor)


@pytest.mark.parametrize("first", [1, FIRST_MAX])
def test_a_page_has_1_to_50_entries(first: int) -> None:
    assert page(NEWEST, first, None) == Page(NEWEST, first, None)


@pytest.mark.parametrize("first", [0, -1, FIRST_MAX + 1, 2**31 - 1])
def test_a_page_of_any_other_size_is_bad_input(first: int) -> None:
    with pytest.raises(BadInput) as refused:
        page(NEWEST, first, None)
    assert "50" in refused.value.zh
    assert "50" in refused.value.en


def test_a_connection_says_where_to_go_on() -> None:
    rows: list[Any] = [Row(NOON, ONE), Row(NOON, UUID(int=5))]
    found = connection(Slice(Page(NEWEST, 2), rows, has_more=True), lambda row: row.id)
    assert found.nodes == [ONE, UUID(int=5)]
    assert found.page_info.has_next_page is True
    end: tuple[KeyValue, ...] = (NOON, UUID(int=5))
    assert found.page_info.end_cursor == write_cursor(NEWEST, end)
    assert read_cursor(NEWEST, found.page_info.end_cursor) == end


def test_an_empty_page_ends_nowhere() -> None:
    found = connection(Slice(Page(NEWEST, 2), [], has_more=False), lambda row: row)
    assert (found.nodes, found.page_info.has_next_page, found.page_info.end_cursor) == ([], False, None)
