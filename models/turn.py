"""Moving a row that is locked from the state it was read in to another one."""

from models.base import Row
from models.engine import changed, in_transaction


async def turn(row: Row, column: str, wanted: str, **columns: object) -> None:
    """Set ``column`` to ``wanted`` by compare-and-set, with the columns that go with it, in the store and on ``row``.

    Whether the step is allowed is the caller's part.
    """
    assert in_transaction(), "a row moves under its member's lock"
    values = {column: wanted, **columns}
    sets = ", ".join(f"{name} = ${position}" for position, name in enumerate(values, start=3))
    moved = await changed(
        f"UPDATE {row._meta.db_table} SET {sets} WHERE id = $1 AND {column} = $2",
        [row.id, getattr(row, column), *values.values()],
    )
    assert moved == 1, "the member's lock keeps the row as it was read"
    row.update_from_dict(values)
