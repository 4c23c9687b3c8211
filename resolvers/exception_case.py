"""The exceptions inbox: what a machine could not finish, one row for each thing."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import orjson

from models.engine import rows
from models.ids import new_id


async def open_case(
    *, kind: str, key: str, order_id: UUID | None, details: Mapping[str, object], now: datetime
) -> None:
    """Put something into the inbox, once for each ``key``, in the transaction that met it."""
    await rows(
        "INSERT INTO exception_case (id, kind, key, order_id, details, opened_at, resolution) "
        "VALUES ($1, $2, $3, $4, $5::jsonb, $6, '') ON CONFLICT (key) DO NOTHING",
        [new_id(now), kind, key, order_id, orjson.dumps(dict(details)).decode(), now],
    )
