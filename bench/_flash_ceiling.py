"""The database's own ceiling for purchases of one flash item: pgbench with what a purchase reads and writes.

The rows written are copies of those of a purchase that was made, with ids, members and keys of their own.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.store import MEMBER_ID
from models import postgres
from models.engine import rows
from resolvers.flash_sales.flash_facts import EACH, LOCKING
from resolvers.flash_sales.flash_hold import TAKE

CLIENTS = 10
"""As many as a server process has connections."""

NEW_ID = "md5('{} ' || :a || ' ' || n)::uuid"
ORDER_ID = NEW_ID.format("order")
MEMBER = MEMBER_ID.format("(:m + n)")
OWN = {
    "shop_order": {"id": ORDER_ID, "number": "lpad((:a * 100 + n)::text, 24, '0')", "member_id": MEMBER},
    "order_line": {"id": NEW_ID.format("line"), "order_id": ORDER_ID},
    "order_event": {"id": NEW_ID.format("event"), "order_id": ORDER_ID},
    "flash_ticket": {
        "id": NEW_ID.format("ticket"),
        "order_id": ORDER_ID,
        "member_id": MEMBER,
        "reservation": "'bench ' || :a || ' ' || n",
    },
    "idempotency_record": {"id": NEW_ID.format("key"), "subject_id": MEMBER, "key": "'bench-' || :a || '-' || n"},
}
PATTERNS = {
    "shop_order": "id = '{order_id}'",
    "order_line": "order_id = '{order_id}'",
    "order_event": "order_id = '{order_id}'",
    "flash_ticket": "order_id = '{order_id}'",
    "idempotency_record": "subject_id = '{member_id}' AND result->>'order_id' = '{order_id}'",
}


async def script_of(item_id: UUID, *, together: int, members: tuple[int, int]) -> str:
    """What pgbench is to do: one transaction of so many orders of this item, by members of these numbers."""
    made = await rows(
        "SELECT order_id, member_id FROM flash_ticket WHERE item_id = $1 ORDER BY id DESC LIMIT 1", [item_id]
    )
    first, last = members
    item = f"'{item_id}'::uuid"
    numbers = f"generate_series(0, {together - 1}) n"
    several = f"ARRAY(SELECT {MEMBER} FROM {numbers})"
    keys = f"ARRAY(SELECT 'bench-' || :a || '-' || n FROM {numbers})"
    *before, main = [await _insert(table, made[0], together) for table in OWN]
    parts = ", ".join(f"part_{number} AS ({one})" for number, one in enumerate(before))
    lines = [
        "\\set a random(1, 1000000000000)",
        f"\\set m random({first}, {last - together})",
        "BEGIN;",
        f"{_bound(LOCKING, item, 'now()', several)};",
        f"{_bound(EACH, several, 'now()', keys, item)};",
        f"WITH {parts} {main};",
        f"{_bound(TAKE, item, str(together))};",
        "COMMIT;",
    ]
    return "\n".join(" ".join(line.split()) for line in lines) + "\n"


async def _insert(table: str, made: Mapping[str, Any], together: int) -> str:
    columns = await rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND is_generated = 'NEVER' "
        "ORDER BY ordinal_position",
        [table],
    )
    names = [row["column_name"] for row in columns]
    values = ", ".join(OWN[table].get(name, f'pattern."{name}"') for name in names)
    pattern = PATTERNS[table].format(**made)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM (SELECT * FROM {table} WHERE {pattern} "
        f"LIMIT 1) pattern, generate_series(0, {together - 1}) n"
    )


def _bound(sql: str, *values: str) -> str:
    for number, value in enumerate(values, 1):
        sql = sql.replace(f"${number}", value)
    return sql


def orders_per_s(url: str, script: str, *, together: int, seconds: float) -> float | None:
    """Orders a second; None when this PostgreSQL came without pgbench."""
    program = postgres.find_binaries().folder / "pgbench"
    if not program.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "purchase.sql"
        file.write_text(script)
        shown = subprocess.run(
            [program, "-n", "-c", str(CLIENTS), "-T", str(max(1, round(seconds))), "-f", file, url],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([\d.]+)", shown.stdout)
    assert found is not None, shown.stderr[-2000:]
    return float(found.group(1)) * together
