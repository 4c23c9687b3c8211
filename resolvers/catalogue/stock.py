"""Stock: what is left of a SKU, and the ledger of every move that made it so."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from loyalty.catalogue import catalogue as rule
from loyalty.catalogue.catalogue import SkuNotFound, StockKind
from loyalty.orders.order import OutOfStock
from models.catalogue.catalogue import Sku, StockEntry
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

NEWEST = Keyset("stock_entry.newest", (Key("id", UUID),))

TAKES = frozenset({StockKind.HOLD, StockKind.CARVE_OUT})
"""What takes stock off the shelf."""

_MOVE = """
WITH moved AS (
    UPDATE sku SET stock_left = stock_left + $2 WHERE id = $1 AND stock_left + $2 >= 0 RETURNING id, stock_left
)
INSERT INTO stock_entry (id, sku_id, kind, amount, left_after, cause_id, note, at)
SELECT $3, id, $4, $2, stock_left, $5, $6, $7 FROM moved RETURNING left_after
"""


async def move(
    kind: StockKind, cause_id: UUID, amounts: Mapping[UUID, int], now: datetime, *, note: str = ""
) -> dict[UUID, int]:
    """Move stock of the given SKUs, all or nothing, inside the caller's transaction and as its last statements.

    ``amounts`` are signed from the shelf's point of view: negative for a hold, positive for a release or a return.
    Each SKU is one guarded statement that also writes the ledger row, in ascending SKU id, so that two verbs with
    the same SKUs never wait for each other in a circle. A cause moves a SKU at most once in the same kind.

    Returns what is left of each SKU.

    Raises:
        OutOfStock: a SKU has less than is to be taken; raised through the transaction, it takes everything back.
    """
    assert in_transaction(), "stock moves together with its cause"
    left: dict[UUID, int] = {}
    for sku_id, amount in sorted(amounts.items()):
        assert amount != 0, "a move of nothing"
        assert kind is StockKind.SUPPLY or (amount < 0) == (kind in TAKES), f"a {kind} of {amount}"
        moved = await rows(_MOVE, [sku_id, amount, new_id(now), kind, cause_id, note, now])
        if not moved:
            found = await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id])
            assert found, f"no SKU {sku_id}"
            raise OutOfStock(sku_id=str(sku_id), left=found[0]["stock_left"])
        left[sku_id] = moved[0]["left_after"]
    return left


@retried
async def adjust(
    deps: Deps, *, operator_id: UUID, sku_id: UUID, amount: int, reason: str, idempotency_key: str
) -> tuple[Sku, StockEntry]:
    """Supply or correct the stock of a SKU by ``amount``, up or down. Returns the SKU and the entry.

    Raises: KeyReused, CatalogueInvalid, SkuNotFound, OutOfStock.
    """
    now = deps.clock.now()
    content = {"sku_id": str(sku_id), "amount": amount, "reason": reason}
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="stockAdjust", content=content)
        cause_id = UUID(before["cause_id"]) if before is not None else new_id(now)
        if before is None:
            rule.admit_adjustment(amount=amount, reason=reason)
            if not await Sku.exists(id=sku_id):
                raise SkuNotFound
            after = {"amount": amount, "reason": reason.strip(), "cause_id": str(cause_id)}
            await record(operator_id, "stock.adjust", "sku", sku_id, None, after, now)
            await remember(
                operator_id,
                key=idempotency_key,
                operation="stockAdjust",
                content=content,
                result={"cause_id": str(cause_id)},
                now=now,
            )
            left = await move(StockKind.SUPPLY, cause_id, {sku_id: amount}, now, note=reason.strip())
            rule.admit_stock(left[sku_id])
    return await Sku.get(id=sku_id), await StockEntry.get(cause_id=cause_id, sku_id=sku_id, kind=StockKind.SUPPLY)


async def entries(deps: Deps, sku_id: UUID, *, page: Page) -> Slice[StockEntry]:
    """The stock ledger of a SKU by ``NEWEST``."""
    return await fetch(StockEntry.filter(sku_id=sku_id), page)
