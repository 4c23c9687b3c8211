"""What purchases of one item are decided from: two statements in their transaction, however many purchases they are.

Each statement is a turn to the database, and while a group of purchases waits for one, all who came after it wait too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.flash_sales.flash_sale import FlashSaleState, FlashTerms
from loyalty.points.points import PointsProgramme
from loyalty.tiers.tier import TierTable
from models.engine import in_transaction, rows
from resolvers.flash_sales.flash_hold import had
from resolvers.orders.order_write import PLACING, PlacedUnder, placed_by
from resolvers.programme import FOR_ORDERING, InForce, read_for_ordering
from resolvers.replay import RECORD, Call

_ITEM = f"""
SELECT {{locked}} AS locked, {FOR_ORDERING}, item.*
FROM (VALUES (1)) AS always(one) LEFT JOIN (
    SELECT item.id, item.sku_id, item.price_fen, item.member_limit, item.left_count, item.waiting_count, item.closed_at,
        sale.state, sale.opens_at, sale.closes_at, sku.price_fen AS list_price_fen, sku.member_price_fen,
        sku.title AS sku_title, product.title AS product_title, product.id AS product_id
    FROM flash_item item JOIN flash_sale sale ON sale.id = item.sale_id JOIN sku ON sku.id = item.sku_id
    JOIN product ON product.id = sku.product_id WHERE item.id = $1
) item ON true
"""
_HERE = _ITEM.format(locked="$3::uuid[]")
LOCKING = _ITEM.format(
    locked="ARRAY(SELECT id FROM member WHERE id = ANY($3::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"
)
EACH = f"""
SELECT member.*, record.*, had.pieces FROM unnest($1::uuid[], $3::text[]) AS asked(subject_id, key)
JOIN ({PLACING}) member ON member.member_id = asked.subject_id
LEFT JOIN ({had("$4", "$1")}) had ON had.member_id = asked.subject_id
LEFT JOIN LATERAL ({RECORD}) record ON true
"""


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """An item at this moment, and the rules that its orders are placed under. ``locked`` are the caller's members.

    ``columns`` are those of the item, its session, SKU and product; None: there is no such item, or its session is not
    published.
    """

    locked: frozenset[UUID]
    columns: Mapping[str, Any] | None
    table: InForce[TierTable]
    programme: InForce[PointsProgramme]

    @property
    def terms(self) -> FlashTerms:
        """The window and the limit of an item that is there."""
        assert self.columns is not None, "an item that is not there has no terms"
        return FlashTerms(**{name: self.columns[name] for name in ("opens_at", "closes_at", "member_limit")})


async def item_facts(item_id: UUID, members: Sequence[UUID], now: datetime, *, locking: bool) -> ItemFacts:
    """Read an item; ``locking``: and lock those members whose lock is free. Else all of them are locked already."""
    assert in_transaction(), "a lock outside a transaction protects nothing"
    (row,) = await rows(LOCKING if locking else _HERE, [item_id, now, sorted(members)])
    table, programme = read_for_ordering(row["programmes"])
    columns = row if row["state"] == FlashSaleState.PUBLISHED else None
    return ItemFacts(frozenset(row["locked"]), columns, table, programme)


async def facts_of_each(item_id: UUID, calls: Sequence[Call], now: datetime) -> Mapping[UUID, Mapping[str, Any]]:
    """What is known of locked members, each with a call: what they have, how they stand, what their call answered.

    The rows are read by ``pieces_had``, ``resolvers.orders.order_write.placed_by`` and ``resolvers.replay.answer_of``.
    """
    assert in_transaction(), "what is read outside the lock decides nothing"
    found = await rows(EACH, [[call.subject_id for call in calls], now, [call.key for call in calls], item_id])
    return {row["member_id"]: row for row in found}


def pieces_had(row: Mapping[str, Any]) -> int:
    """How many pieces of the item a member has in unpaid and paid orders."""
    return row["pieces"] or 0


def under(item: ItemFacts, row: Mapping[str, Any], now: datetime) -> PlacedUnder:
    """What an order of a member is placed under."""
    return placed_by(row, item.table, item.programme, now)
