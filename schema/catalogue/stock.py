"""Stock as operators see and move it."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import strawberry

from loyalty.catalogue.catalogue import StockKind
from loyalty.people.rights import Right
from models.catalogue.catalogue import StockEntry as StockEntryRow
from models.points.points_mall import MallStockEntry as MallStockEntryRow
from resolvers.catalogue import stock as verbs
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key, writer
from schema.catalogue.sku import OperatorSku, SkuIdArgument
from schema.context import Info
from schema.orders.order_refusal import OutOfStockRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.refusal import SimpleRefusal


@strawberry.type
class StockMove:
    """One line of a stock ledger, be it a SKU's or that of an item of the points mall."""

    id: UUID = strawberry.field(description="Opaque id of the entry.")
    kind: StockKind = strawberry.field(description="Why it moved.")
    amount: int = strawberry.field(description="Pieces; positive onto the shelf, negative off it, never 0.")
    left_after: int = strawberry.field(description="Pieces left after the move, 0 or more.")
    cause_id: UUID = strawberry.field(description="What moved it.")
    note: str = strawberry.field(description="The operator's reason, empty for other moves; at most 200 characters.")
    at: datetime = strawberry.field(description="When it moved.")

    @classmethod
    def from_row(cls, row: StockEntryRow | MallStockEntryRow) -> Self:
        """The stored entry."""
        return cls(
            id=row.id,
            kind=StockKind(row.kind),
            amount=row.amount,
            left_after=row.left_after,
            cause_id=row.cause_id,
            note=row.note,
            at=row.at,
        )


@strawberry.type(description="One move of the stock of a SKU. The entries of a SKU add up to its `stockLeft`.")
class StockEntry(StockMove):
    """One line of the stock ledger of a SKU."""

    cause_id: UUID = strawberry.field(
        description="What moved it: the order, the product or SKU when it was made, or the adjustment."
    )


@strawberry.input(description="A supply or a correction of stock.")
class StockAdjustInput:
    """By how much and why."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    amount: int = strawberry.field(
        description="Pieces to add, or with a minus to take; 1 to 10,000,000 either way. Never the number wanted."
    )
    reason: str = strawberry.field(description="Why, for the ledger and the audit log; 1 to 200 characters.")


@strawberry.type(description="The stock was moved.")
class StockAdjusted:
    """What came of it."""

    sku: OperatorSku = strawberry.field(description="The SKU with what is left of it now.")
    entry: StockEntry = strawberry.field(description="The entry that was written.")


StockAdjustResult = Annotated[
    StockAdjusted | OutOfStockRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("StockAdjustResult", description="The stock was moved, or why not."),
]


@strawberry.type
class OperatorQuery:
    """The ledger."""

    @strawberry.field(
        description="Every move of the stock of a SKU, newest first; empty if there is no such SKU.",
        extensions=[Needs(Right.CATALOGUE_READ)],
    )
    async def stock_entries(
        self, info: Info, sku_id: SkuIdArgument, first: First = 20, after: After = None
    ) -> Connection[StockEntry]:
        """One page."""
        found = await verbs.entries(info.context.deps, sku_id, page=page(verbs.NEWEST, first, after))
        return connection(found, StockEntry.from_row)


@strawberry.type
class OperatorMutation:
    """Moves by hand."""

    @strawberry.mutation(
        description=(
            "Move the stock of a SKU by an amount, up or down, with a reason. Orders placed meanwhile are kept. What "
            "is left stays between 0 and 10,000,000. Refusals: `SKU_NOT_FOUND`, `OUT_OF_STOCK`, `CATALOGUE_INVALID`, "
            "`KEY_REUSED`."
        ),
        extensions=[Needs(Right.CATALOGUE_WRITE)],
    )
    async def stock_adjust(
        self,
        info: Info,
        input: Annotated[StockAdjustInput, strawberry.argument(description="By how much and why.")],
        idempotency_key: Key,
    ) -> StockAdjustResult:
        """One call."""
        sku, entry = await verbs.adjust(
            info.context.deps,
            operator_id=writer(info),
            sku_id=input.sku_id,
            amount=input.amount,
            reason=input.reason,
            idempotency_key=idempotency_key,
        )
        return StockAdjusted(sku=OperatorSku.from_row(sku), entry=StockEntry.from_row(entry))
