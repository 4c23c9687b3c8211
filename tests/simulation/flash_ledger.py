"""The books of a flash sale for the checker: two triggers write every change down, and in the end all of it is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from cache import flash_gate
from cache.client import Client
from models.engine import rows, script
from resolvers.clock import SystemClock
from tests.flash import Sale, pieces
from tests.simulation.flash_seen import BookedOrder, BookedPlace, BookedRefund, Books, Level

LEDGER = """
CREATE TABLE item_seen (seq bigint GENERATED ALWAYS AS IDENTITY, item_id uuid, taken int, left_count int,
    orders int, offers int, returned int, closed bool);
CREATE FUNCTION see_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO item_seen (item_id, taken, left_count, orders, offers, returned, closed) SELECT NEW.id,
        NEW.held_count + NEW.sold_count, NEW.left_count, (SELECT coalesce(sum(quantity - returned_count), 0)
        FROM flash_ticket WHERE item_id = NEW.id AND state IN ('pending', 'posted', 'returned')),
        (SELECT coalesce(sum(quantity), 0) FROM flash_wait WHERE item_id = NEW.id AND state = 'offered'),
        NEW.returned_count, NEW.closed_at IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER see_item AFTER UPDATE ON flash_item FOR EACH ROW EXECUTE FUNCTION see_item();
CREATE TABLE place_seen (seq bigint GENERATED ALWAYS AS IDENTITY, wait_id uuid, by xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION see_place() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO place_seen (wait_id) VALUES (NEW.id); RETURN NULL;
END $$;
CREATE TRIGGER see_place AFTER UPDATE ON flash_wait FOR EACH ROW
    WHEN (OLD.state = 'waiting' AND NEW.state <> 'waiting') EXECUTE FUNCTION see_place();
"""
NO_LEDGER = """
DROP TRIGGER see_item ON flash_item; DROP FUNCTION see_item; DROP TABLE item_seen;
DROP TRIGGER see_place ON flash_wait; DROP FUNCTION see_place; DROP TABLE place_seen;
"""

_SESSION = """
SELECT state = 'closed' AS closed, (SELECT stock_left FROM sku WHERE id = $2) - (SELECT sum(amount) FROM stock_entry
    WHERE sku_id = $2 AND kind = 'supply')::int AS stock FROM flash_sale WHERE id = $1
"""
"""Whether it is closed, and what the SKU has, less what it was supplied with."""

_REFUNDS = """
SELECT record.key, part.order_id::text, line.quantity AS pieces, line.restocked_count AS came_back
FROM order_refund part JOIN order_refund_line line ON line.order_refund_id = part.id
JOIN order_line of_order ON of_order.id = line.line_id JOIN refund ON refund.order_refund_id = part.id
JOIN idempotency_record record ON record.result->>'refund_id' = refund.id::text
WHERE of_order.sku_id = $1 AND part.state = 'done'
"""


@asynccontextmanager
async def ledger() -> AsyncIterator[None]:
    """Everything that happens in the open database is written down."""
    await script(LEDGER)
    try:
        yield
    finally:
        await script(NO_LEDGER)


async def books_of(redis: Client, sale: Sale, *, carved: int, limit: int) -> Books:
    """What the database and the gate say of a sale now."""
    levels = await rows(
        "SELECT taken, left_count AS left, orders, offers, returned, closed FROM item_seen WHERE item_id = $1 "
        "ORDER BY seq",
        [sale.item_id],
    )
    session = (await rows(_SESSION, [sale.id, sale.sku_id]))[0]
    fields = await redis.execute_command("HGETALL", f"flash:{{sale:{sale.item_id}}}:gate")
    seen = await flash_gate.look(redis, sale.item_id, old_before=SystemClock().now())
    assert seen is not None, "the gate is there"
    return Books(
        at=SystemClock().now().timestamp(),
        carved=carved,
        limit=limit,
        counts=await pieces(sale),
        orders=await _orders(sale),
        levels=[Level(**row) for row in levels],
        gate_left=seen.left,
        gate_in_flight=seen.in_flight,
        gate_had={
            name.decode()[2:]: int(value) for name, value in fields.items() if name.startswith(b"m:") and int(value)
        },
        places=await _places(sale),
        refunds=[BookedRefund(**row) for row in await rows(_REFUNDS, [sale.sku_id])],
        closed=session["closed"],
        sku_got=session["stock"] + carved,
    )


async def _orders(sale: Sale) -> list[BookedOrder]:
    found = await rows(
        "SELECT o.id, o.member_id, o.state, max(ticket.reservation) AS reservation, count(ticket.id)::int AS tickets, "
        "max(ticket.quantity) AS quantity, max(ticket.returned_count) AS returned, max(line.shipped_count) AS sent "
        "FROM shop_order o LEFT JOIN flash_ticket ticket ON ticket.order_id = o.id "
        "JOIN order_line line ON line.order_id = o.id WHERE line.sku_id = $1 GROUP BY o.id",
        [sale.sku_id],
    )
    return [
        BookedOrder(
            id=str(row["id"]),
            member=str(row["member_id"]),
            key=row["reservation"].partition(":")[2],
            quantity=row["quantity"],
            state=row["state"].upper(),
            tickets=row["tickets"],
            sent=row["sent"],
            returned=row["returned"],
        )
        for row in found
    ]


async def _places(sale: Sale) -> list[BookedPlace]:
    found = await rows(
        "SELECT wait.*, (SELECT min(other.seq) FROM place_seen seen JOIN place_seen other ON other.by = seen.by "
        "WHERE seen.wait_id = wait.id)::bigint AS turn FROM flash_wait wait WHERE wait.item_id = $1 ORDER BY wait.id",
        [sale.item_id],
    )
    return [
        BookedPlace(
            id=str(row["id"]),
            member=str(row["member_id"]),
            quantity=row["quantity"],
            state=row["state"].upper(),
            turn=row["turn"],
            offered_at=_seconds(row["offered_at"]),
            claim_by=_seconds(row["claim_by"]),
            settled_at=_seconds(row["settled_at"]),
            order_id=str(row["order_id"] or ""),
        )
        for row in found
    ]


def _seconds(at: Any) -> float | None:
    return at.timestamp() if isinstance(at, datetime) else None
