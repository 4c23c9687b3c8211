"""Stock: what is left of a SKU, and the ledger of every move that made it so."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from loyalty.catalogue import StockKind
from loyalty.order import OutOfStock
from models.engine import in_transaction, rows
from models.ids import new_id

_MOVE = """
WITH moved AS (
    UPDATE sku SET stock_left = stock_left + $2 WHERE id = $1 AND stock_left + $2 >= 0 RETURNING id, stock_left
)
INSERT INTO stock_entry (id, sku_id, kind, amount, left_after, cause_id, note, at)
SELECT $3, id, $4, $2, stock_left, $5, $6, $7 FROM moved RETURNING id
"""


async def move(kind: StockKind, cause_id: UUID, amounts: Mapping[UUID, int], now: datetime, *, note: str = "") -> None:
    """Move stock of the given SKUs, all or nothing, inside the caller's transaction and as its last statements.

    ``amounts`` are signed from the shelf's point of view: negative for a hold, positive for a release or a return.
    Each SKU is one guarded statement that also writes the ledger row, in ascending SKU id, so that two verbs with
    the same SKUs never wait for each other in a circle. A cause moves a SKU at most once in the same kind.

    Raises:
        OutOfStock: a SKU has less than is to be taken; raised through the transaction, it takes everything back.
    """
    assert in_transaction(), "stock moves together with its cause"
    for sku_id, amount in sorted(amounts.items()):
        assert amount != 0, "a move of nothing"
        assert kind is StockKind.SUPPLY or (amount < 0) == (kind is StockKind.HOLD), f"a {kind} of {amount}"
        values = [sku_id, amount, new_id(now), kind, cause_id, note, now]
        if not await rows(_MOVE, values):
            found = await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id])
            assert found, f"no SKU {sku_id}"
            raise OutOfStock(sku_id=str(sku_id), left=found[0]["stock_left"])
