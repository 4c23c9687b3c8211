"""What the database must hold so that nothing can be broken: every constraint, index and trigger, by name.

The list is committed beside this file and reviewed with the migration that changes it, because tortoise drops some of
what a model declares without a word (upstream #2272). A server compares before it serves. ``python -m models.declared``
writes the list anew from the migrations, on a throwaway engine.
"""

import asyncio
from pathlib import Path

from models import engine, postgres

LIST = Path(__file__).with_name("declared.txt")

# What is there but does not work counts as missing: a constraint not validated, an index not valid, a trigger off.
# NOT NULL has a row of its own from PostgreSQL 18 on, so it is left out to have one list for all versions.
PRESENT = """
SELECT 'constraint ' || conrelid::regclass || ' ' || conname AS line
  FROM pg_constraint
 WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND contype <> 'n' AND convalidated
UNION ALL
SELECT 'index ' || indrelid::regclass || ' ' || indexrelid::regclass
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
 WHERE relnamespace = current_schema()::regnamespace AND indisvalid
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT 'trigger ' || tgrelid::regclass || ' ' || tgname
  FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
 WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND tgenabled <> 'D'
"""


def declared() -> frozenset[str]:
    """The committed list."""
    return frozenset(LIST.read_text().splitlines())


async def present() -> frozenset[str]:
    """What the open database has, and what of it works."""
    return frozenset(row["line"] for row in await engine.rows(PRESENT))


async def problems() -> list[str]:
    """What is declared and missing in the open database, in order; empty when all is well."""
    return [f"missing or not in force: {line}" for line in sorted(declared() - await present())]


async def _write() -> None:
    started = postgres.find_or_start_throwaway(None)
    try:
        async with engine.database(started.url, pool_size=2):
            await engine.migrate()
            LIST.write_text("".join(f"{line}\n" for line in sorted(await present())))
    finally:
        started.stop()


if __name__ == "__main__":
    asyncio.run(_write())
