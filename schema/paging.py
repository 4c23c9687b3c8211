"""Lists by page: arguments, opaque cursors and the connection types of every list."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import orjson
import strawberry

from models.keyset import Key, Keyset, KeyValue, Page, Slice
from schema.errors import BadInput

FIRST_DEFAULT = 20
FIRST_MAX = 50
CURSOR_VERSION = 1
CURSOR_MAX_LENGTH = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 2**63 - 1

T = TypeVar("T")

First = Annotated[int, strawberry.argument(description=f"How many to return, 1 to {FIRST_MAX}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The `cursor` or `endCursor` to go on from; nothing for the first page."),
]


@strawberry.type(description="Where a page ends.")
class PageInfo:
    """The end of a page."""

    has_next_page: bool = strawberry.field(description="Whether the list goes on after this page.")
    end_cursor: str | None = strawberry.field(
        description="Give it as `after` for the next page; null when the page is empty."
    )


@strawberry.type(description="One entry of a list, with the cursor to go on from.")
class Edge(Generic[T]):
    """One entry and its place."""

    cursor: str = strawberry.field(description="Give it as `after` to go on behind this entry. Opaque.")
    node: T = strawberry.field(description="The entry.")


@strawberry.type(
    description="One page of a list. A page is found by key, so nothing is skipped or repeated as it grows."
)
class Connection(Generic[T]):
    """One page."""

    nodes: list[T] = strawberry.field(description="The entries of this page.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and where to go on.")
    slice: strawberry.Private[Slice[Any]]

    @strawberry.field(description="The entries again, each with its own cursor.")
    def edges(self) -> list[Edge[T]]:
        """Cursors are only written for those who ask."""
        return [
            Edge(cursor=write_cursor(self.slice.page.keyset, self.slice.key_of(row)), node=node)
            for row, node in zip(self.slice.rows, self.nodes, strict=True)
        ]


def connection(slice_: Slice[Any], to_node: Callable[[Any], T]) -> Connection[T]:
    """The page a resolver found, each row turned into its GraphQL type."""
    end = write_cursor(slice_.page.keyset, slice_.key_of(slice_.rows[-1])) if slice_.rows else None
    return Connection(
        nodes=[to_node(row) for row in slice_.rows],
        page_info=PageInfo(has_next_page=slice_.has_more, end_cursor=end),
        slice=slice_,
    )


def page(keyset: Keyset, first: int, after: str | None) -> Page:
    """The page a client asks for.

    Raises:
        BadInput: ``first`` is out of bounds, or ``after`` is not a cursor of this list.
    """
    if not 1 <= first <= FIRST_MAX:
        raise BadInput(zh=f"first 须在 1 到 {FIRST_MAX} 之间", en=f"first must be between 1 and {FIRST_MAX}.")
    return Page(keyset, first, None if after is None else read_cursor(keyset, after))


def write_cursor(keyset: Keyset, values: tuple[KeyValue, ...]) -> str:
    """An opaque text that names the list and a place in it."""
    written = [_written(key, value) for key, value in zip(keyset.keys, values, strict=True)]
    return base64.urlsafe_b64encode(orjson.dumps([CURSOR_VERSION, keyset.name, *written])).decode().rstrip("=")


def read_cursor(keyset: Keyset, cursor: str) -> tuple[KeyValue, ...]:
    """The place a cursor names.

    Raises:
        BadInput: the text is no cursor, or one of another list.
    """
    try:
        if len(cursor) > CURSOR_MAX_LENGTH:
            raise ValueError("longer than any cursor")
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, name, *written = orjson.loads(raw)
        if (version, name) != (CURSOR_VERSION, keyset.name):
            raise ValueError("a cursor of another list")
        return tuple(_read(key, value) for key, value in zip(keyset.keys, written, strict=True))
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise BadInput(zh="after 不是此列表的游标", en="after is not a cursor of this list.") from None


def _written(key: Key, value: KeyValue) -> int | str:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return value.hex
    assert isinstance(value, key.kind), f"{key.column} is a {type(value).__name__}"
    return value


def _read(key: Key, value: object) -> KeyValue:
    if key.kind is datetime or key.kind is int:
        if type(value) is not int or abs(value) > _LARGEST:
            raise ValueError("no 64-bit integer")
        return _EPOCH + timedelta(microseconds=value) if key.kind is datetime else value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text that can be stored")
    if key.kind is UUID:
        return UUID(hex=value)
    return date.fromisoformat(value) if key.kind is date else value
