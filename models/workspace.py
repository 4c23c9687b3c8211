"""A store beside the store: the same empty tables in a schema of their own, for what must leave no trace in the books.

Whatever runs inside ``workspace`` reads and writes there and nowhere else, because its connections know no other
schema: also a table that somebody adds to the verbs later. The schema is dropped at the end; one that a crash left
behind is dropped by the next.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from tortoise.connection import get_connections

from models.asyncpg_backend import _Client, translated
from models.engine import in_transaction, rows, script

PREFIX = "workspace_"


@asynccontextmanager
async def workspace(workspace_id: UUID, *, filled_from: Iterable[str] = (), pool_size: int) -> AsyncIterator[None]:
    """Run the block on empty copies of all tables; those named in ``filled_from`` come with their rows.

    Checks, unique keys and indexes are copied, references and triggers are not. There is one workspace at a time.
    The database user must be allowed to make a schema.
    """
    assert not in_transaction(), "a workspace has connections of its own"
    home = (await rows("SELECT current_schema() AS name"))[0]["name"]
    name = f"{PREFIX}{workspace_id.hex}"
    await _drop_all()
    tables = [
        row["name"] for row in await rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = $1", [home])
    ]
    await script(
        f'CREATE SCHEMA "{name}"; '
        + "; ".join(f'CREATE TABLE "{name}"."{table}" (LIKE "{home}"."{table}" INCLUDING ALL)' for table in tables)
        + "".join(f'; INSERT INTO "{name}"."{table}" SELECT * FROM "{home}"."{table}"' for table in filled_from)
    )
    connections = get_connections()
    credentials = {**connections.db_config["default"]["credentials"], "minsize": 1, "maxsize": pool_size}
    client = _Client(connection_name="default", schema=name, **credentials)
    token = connections.set("default", client)
    try:
        await translated(client.create_connection(with_db=True))
        yield
    finally:
        await client.close()
        connections.reset(token)
        await script(f'DROP SCHEMA "{name}" CASCADE')


async def _drop_all() -> None:
    left = await rows("SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE $1", [f"{PREFIX}%"])
    for row in left:
        await script(f'DROP SCHEMA IF EXISTS "{row["name"]}" CASCADE')
