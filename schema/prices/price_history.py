"""The history of prices 价格历史, for operators."""

from datetime import datetime
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.prices.price_change import PriceChange as PriceChangeRow
from resolvers.prices import price_history as verbs
from schema.catalogue.sku import SkuIdArgument
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.scalars import Fen


@strawberry.type(description="What a SKU cost from an instant on. It is never changed.")
class PriceChange:
    """One line of the history."""

    id: UUID = strawberry.field(description="Opaque id.")
    seq: int = strawberry.field(description="Counts the prices of a SKU from 1 without a gap.")
    price: Fen = strawberry.field(description="List price of one piece, in fen.")
    member_price: Fen | None = strawberry.field(description="Price for members, in fen; null if there was none.")
    struck_through_price: Fen | None = strawberry.field(
        description="What may be shown struck through beside `price`, in fen; null if nothing may."
    )
    began_at: datetime = strawberry.field(
        description="When `price` began: earlier than `at` if only the member price changed then."
    )
    at: datetime = strawberry.field(description="From this instant on.")

    @classmethod
    def from_row(cls, row: PriceChangeRow) -> "PriceChange":
        """The stored line."""
        return cls(
            id=row.id,
            seq=row.seq,
            price=Fen(row.price_fen),
            member_price=None if row.member_price_fen is None else Fen(row.member_price_fen),
            struck_through_price=None if row.baseline_fen is None else Fen(row.baseline_fen),
            began_at=row.began_at,
            at=row.at,
        )


@strawberry.type
class OperatorQuery:
    """The history."""

    @strawberry.field(
        description="Every price that a SKU had, newest first; empty if there is no such SKU.",
        extensions=[Needs(Right.CATALOGUE_READ)],
    )
    async def price_changes(
        self, info: Info, sku_id: SkuIdArgument, first: First = 20, after: After = None
    ) -> Connection[PriceChange]:
        """One page."""
        found = await verbs.history(info.context.deps, sku_id, page=page(verbs.NEWEST, first, after))
        return connection(found, PriceChange.from_row)
