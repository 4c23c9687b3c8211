"""Sessions of flash sales 秒杀场次 as those who run the shop keep them, and their rehearsals."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.flash_sales.flash_sale import MAX_ITEMS, FlashSaleState, RehearsalState
from loyalty.people.rights import Right
from models.flash_sales.flash_sale import FlashItem as FlashItemRow
from models.flash_sales.flash_sale import FlashRehearsal as FlashRehearsalRow
from models.flash_sales.flash_sale import FlashSale as FlashSaleRow
from resolvers.flash_sales import flash_rehearsal, flash_sale
from resolvers.flash_sales import flash_session as verbs
from resolvers.flash_sales.flash_session import ItemWish, NewSale, SaleChanges
from schema.arguments import Key, sent
from schema.context import Info
from schema.enums import describe
from schema.orders.order_refusal import OutOfStockRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.programme import ProgrammeInvalidRefusal, api_words
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    FlashSaleState,
    "Where a session of a flash sale stands.",
    {
        FlashSaleState.DRAFT: "Being prepared; members do not see it.",
        FlashSaleState.PUBLISHED: "Its pieces are carved out of the SKUs; it sells within its window.",
        FlashSaleState.CLOSED: "Over; what was left went back to the SKUs.",
    },
)
describe(
    RehearsalState,
    "How a rehearsal stands.",
    {
        RehearsalState.RUNNING: "Waiting for the worker, or under way.",
        RehearsalState.DONE: "It has a result.",
        RehearsalState.FAILED: "It could not be run; `failure` says why.",
    },
)


@strawberry.type(name="FlashItem", description="A SKU at a flash price: stock = left + held + sold + returned.")
class OperatorFlashItem:
    """An item with where its pieces are."""

    id: UUID = strawberry.field(description="Opaque id of the item.")
    sku_id: UUID = strawberry.field(description="The SKU.")
    product_title: str = strawberry.field(description="The product's title.")
    sku_title: str = strawberry.field(description="The SKU's title.")
    price: Fen = strawberry.field(description="Flash price of a piece, in fen.")
    stock: int = strawberry.field(description="Pieces carved out at publishing, 1 to 100,000.")
    member_limit: int = strawberry.field(description="Pieces a member may have, 1 to 99.")
    left_count: int = strawberry.field(description="Pieces that are not taken.")
    held_count: int = strawberry.field(description="Pieces of unpaid orders and standing offers of the queue.")
    sold_count: int = strawberry.field(description="Pieces of paid orders.")
    returned_count: int = strawberry.field(description="Pieces that went back to the SKU.")
    waiting_count: int = strawberry.field(description="Pieces that the queue waits for.")
    epoch: int = strawberry.field(description="How often the gate was loaded; each Redis loss adds one.")

    @classmethod
    def from_row(cls, row: FlashItemRow) -> "OperatorFlashItem":
        """The stored item with its SKU and product."""
        return cls(
            id=row.id,
            sku_id=row.sku_id,
            product_title=row.sku.product.title,
            sku_title=row.sku.title,
            price=Fen(row.price_fen),
            stock=row.stock,
            member_limit=row.member_limit,
            left_count=row.left_count,
            held_count=row.held_count,
            sold_count=row.sold_count,
            returned_count=row.returned_count,
            waiting_count=row.waiting_count,
            epoch=row.epoch,
        )


@strawberry.type(name="FlashSale", description="A session of a flash sale.")
class OperatorFlashSale:
    """A session as operators see it."""

    id: UUID = strawberry.field(description="Opaque id of the session.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    state: FlashSaleState = strawberry.field(description="Where it stands.")
    opens_at: datetime = strawberry.field(description="It sells from this instant on.")
    closes_at: datetime = strawberry.field(description="It sells until before this instant.")
    claim_minutes: int = strawberry.field(description="How long an offer of the queue stands, 1 to 60 minutes.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    published_at: datetime | None = strawberry.field(description="When it was published; null for a draft.")
    closed_at: datetime | None = strawberry.field(description="When it was closed.")

    @strawberry.field(description="Its items, 1 to 50, in their order.")
    async def items(self, info: Info) -> list[OperatorFlashItem]:
        """Loaded for all the sessions of the answer at once."""
        found = await info.context.loaders.load(flash_sale.items_by_sale, self.id)
        return [OperatorFlashItem.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: FlashSaleRow) -> "OperatorFlashSale":
        """The stored session."""
        return cls(
            id=row.id,
            title=row.title,
            state=FlashSaleState(row.state),
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            claim_minutes=row.claim_minutes,
            created_at=row.created_at,
            updated_at=row.updated_at,
            published_at=row.published_at,
            closed_at=row.closed_at,
        )


@strawberry.type(description="What a rehearsal sold of one item.")
class RehearsedItem:
    """Sold against stock."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    stock: int = strawberry.field(description="Pieces that there were.")
    sold: int = strawberry.field(description="Pieces that were sold, never more.")


@strawberry.type(description="How often buyers were refused with one code.")
class RehearsedRefusal:
    """One code."""

    code: str = strawberry.field(description="The refusal's code, such as `FLASH_SOLD_OUT`.")
    count: int = strawberry.field(description="How often.")


@strawberry.type(description="What came of a rehearsal.")
class RehearsalResult:
    """The figures."""

    items: list[RehearsedItem] = strawberry.field(description="What was sold of each item.")
    orders: int = strawberry.field(description="Orders placed.")
    refusals: list[RehearsedRefusal] = strawberry.field(description="Refusals by code.")
    p50_ms: float = strawberry.field(description="Half of the answers came within so many milliseconds.")
    p99_ms: float = strawberry.field(description="99 of 100 answers came within so many milliseconds.")
    seconds: float = strawberry.field(description="How long the whole run took, in seconds.")
    broken: list[str] = strawberry.field(description="Invariants that did not hold; empty as it must be.")


@strawberry.type(description="A rehearsal of a session by made-up buyers, without a trace in the books.")
class FlashRehearsal:
    """A rehearsal and its progress."""

    id: UUID = strawberry.field(description="Opaque id of the rehearsal.")
    sale_id: UUID = strawberry.field(description="The session.")
    state: RehearsalState = strawberry.field(description="How it stands.")
    buyers: int = strawberry.field(description="Made-up buyers, 1 to 2,000.")
    answered_count: int = strawberry.field(description="Buyers who have had their answer.")
    failure: str = strawberry.field(description="Why it failed; empty otherwise.")
    started_at: datetime = strawberry.field(description="When it was asked for.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
    result: RehearsalResult | None = strawberry.field(description="What came of it; null until it is done.")

    @classmethod
    def from_row(cls, row: FlashRehearsalRow) -> "FlashRehearsal":
        """The stored rehearsal."""
        return cls(
            id=row.id,
            sale_id=row.sale_id,
            state=RehearsalState(row.state),
            buyers=row.buyers,
            answered_count=row.answered_count,
            failure=row.failure,
            started_at=row.started_at,
            finished_at=row.finished_at,
            result=_result(row),
        )


def _result(row: FlashRehearsalRow) -> RehearsalResult | None:
    found = row.result
    if found is None:
        return None
    return RehearsalResult(
        items=[
            RehearsedItem(sku_id=UUID(item["sku_id"]), stock=item["stock"], sold=item["sold"])
            for item in found["items"]
        ],
        orders=found["orders"],
        refusals=[RehearsedRefusal(code=code, count=count) for code, count in sorted(found["refusals"].items())],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        seconds=found["seconds"],
        broken=found["broken"],
    )


# What operators do


@strawberry.input(description="An item of a session.")
class FlashItemInput:
    """One SKU."""

    sku_id: UUID = strawberry.field(description="The SKU; each once in a session.")
    price: Fen = strawberry.field(description="Flash price of a piece in fen, 1 to the list price.")
    stock: int = strawberry.field(description="Pieces to carve out of the SKU's stock at publishing, 1 to 100,000.")
    member_limit: int = strawberry.field(default=1, description="Pieces for each member, 1 to 99.")

    def to_wish(self) -> ItemWish:
        """The item as the verbs take it."""
        return ItemWish(sku_id=self.sku_id, price_fen=self.price, stock=self.stock, member_limit=self.member_limit)


@strawberry.input(description="A session to be made, as a draft.")
class FlashSaleCreateInput:
    """A new session."""

    title: str = strawberry.field(description="1 to 60 characters.")
    opens_at: datetime = strawberry.field(description="It sells from this instant on.")
    closes_at: datetime = strawberry.field(description="It sells until before this instant, at most 7 days later.")
    claim_minutes: int = strawberry.field(
        default=10, description="How long an offer of the queue stands, 1 to 60 minutes."
    )
    items: list[FlashItemInput] = strawberry.field(description="1 to 50 items.")


@strawberry.input(description="What to change of a draft; what is absent stays.")
class FlashSaleChangeInput:
    """Changes."""

    id: UUID = strawberry.field(description="The session.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    opens_at: strawberry.Maybe[datetime] = strawberry.field(description="It sells from this instant on.")
    closes_at: strawberry.Maybe[datetime] = strawberry.field(description="It sells until before this instant.")
    claim_minutes: strawberry.Maybe[int] = strawberry.field(description="1 to 60 minutes.")
    items: strawberry.Maybe[list[FlashItemInput]] = strawberry.field(description="All items anew, 1 to 50.")

    def to_changes(self) -> SaleChanges:
        """The changes as the verb takes them."""
        changes = cast("SaleChanges", sent(self, "title", "opens_at", "closes_at", "claim_minutes"))
        if self.items is not None:
            changes["items"] = [item.to_wish() for item in self.items.value]
        return changes


@strawberry.type(description="The session after the change.")
class FlashSaleChanged:
    """Success of the mutations of a session."""

    sale: OperatorFlashSale = strawberry.field(description="The session as it stands now.")


@strawberry.type(description="The rehearsal, which the worker runs.")
class FlashRehearsalStarted:
    """Success of flashSaleRehearse."""

    rehearsal: FlashRehearsal = strawberry.field(description="The rehearsal; ask for it again to see how it goes.")


FlashSaleChangeResult = Annotated[
    FlashSaleChanged | ProgrammeInvalidRefusal | OutOfStockRefusal | SimpleRefusal,
    strawberry.union("FlashSaleChangeResult", description="The session, or why nothing was changed."),
]
FlashSaleRehearseResult = Annotated[
    FlashRehearsalStarted | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("FlashSaleRehearseResult", description="The rehearsal, or why there is none."),
]
SaleId = Annotated[UUID, strawberry.argument(description="The session.")]


_PRICES = {f"items[{at}].price_fen": f"items[{at}].price" for at in range(MAX_ITEMS)}


def _writer(info: Info) -> UUID:
    return require_right(info, Right.FLASH_WRITE).subject_id


@strawberry.type
class OperatorQuery:
    """Flash sales as those who run them see them."""

    @strawberry.field(description="Every session, newest first.", extensions=[Needs(Right.FLASH_READ)])
    async def flash_sales(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: Annotated[FlashSaleState | None, strawberry.argument(description="Only sessions in this state.")] = None,
    ) -> Connection[OperatorFlashSale]:
        """One page."""
        found = await verbs.sales(info.context.deps, page=page(verbs.MADE, first, after), state=state)
        return connection(found, OperatorFlashSale.from_row)

    @strawberry.field(description="One session; null if there is none.", extensions=[Needs(Right.FLASH_READ)])
    async def flash_sale(self, info: Info, id: SaleId) -> OperatorFlashSale | None:
        """One session."""
        row = await verbs.one(info.context.deps, id)
        return OperatorFlashSale.from_row(row) if row else None

    @strawberry.field(description="The rehearsals of a session, newest first.", extensions=[Needs(Right.FLASH_READ)])
    async def flash_rehearsals(
        self, info: Info, sale_id: SaleId, first: First = 20, after: After = None
    ) -> Connection[FlashRehearsal]:
        """One page."""
        found = await flash_rehearsal.rehearsals(
            info.context.deps, page=page(flash_rehearsal.NEWEST, first, after), sale_id=sale_id
        )
        return connection(found, FlashRehearsal.from_row)

    @strawberry.field(description="One rehearsal; null if there is none.", extensions=[Needs(Right.FLASH_READ)])
    async def flash_rehearsal(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The rehearsal.")]
    ) -> FlashRehearsal | None:
        """One rehearsal."""
        row = await flash_rehearsal.one(info.context.deps, id)
        return FlashRehearsal.from_row(row) if row else None


@strawberry.type
class OperatorMutation:
    """What operators do with flash sales."""

    @strawberry.mutation(
        description="Make a session, as a draft. Refusals: `PROGRAMME_INVALID`, `SKU_NOT_FOUND`, `KEY_REUSED`.",
        extensions=[Needs(Right.FLASH_WRITE)],
    )
    async def flash_sale_create(
        self,
        info: Info,
        input: Annotated[FlashSaleCreateInput, strawberry.argument(description="What it has.")],
        idempotency_key: Key,
    ) -> FlashSaleChangeResult:
        """One call."""
        new = NewSale(
            title=input.title,
            opens_at=input.opens_at,
            closes_at=input.closes_at,
            claim_minutes=input.claim_minutes,
            items=[item.to_wish() for item in input.items],
        )
        with api_words(_PRICES):
            row = await verbs.create(
                info.context.deps, operator_id=_writer(info), sale=new, idempotency_key=idempotency_key
            )
        return FlashSaleChanged(sale=OperatorFlashSale.from_row(row))

    @strawberry.mutation(
        description="Change a draft. Refusals: `FLASH_SALE_NOT_FOUND`, `FLASH_SALE_STATE_REFUSED`, "
        "`PROGRAMME_INVALID`, `SKU_NOT_FOUND`, `KEY_REUSED`.",
        extensions=[Needs(Right.FLASH_WRITE)],
    )
    async def flash_sale_change(
        self,
        info: Info,
        input: Annotated[FlashSaleChangeInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> FlashSaleChangeResult:
        """One call."""
        with api_words(_PRICES):
            row = await verbs.change(
                info.context.deps,
                operator_id=_writer(info),
                sale_id=input.id,
                changes=input.to_changes(),
                idempotency_key=idempotency_key,
            )
        return FlashSaleChanged(sale=OperatorFlashSale.from_row(row))

    @strawberry.mutation(
        description="Publish a draft: its pieces are carved out of the SKUs, all of them or none. Refusals: "
        "`FLASH_SALE_NOT_FOUND`, `FLASH_SALE_STATE_REFUSED`, `PROGRAMME_INVALID`, `OUT_OF_STOCK`, `KEY_REUSED`.",
        extensions=[Needs(Right.FLASH_WRITE)],
    )
    async def flash_sale_publish(self, info: Info, id: SaleId, idempotency_key: Key) -> FlashSaleChangeResult:
        """One call."""
        with api_words(_PRICES):
            row = await verbs.publish(
                info.context.deps, operator_id=_writer(info), sale_id=id, idempotency_key=idempotency_key
            )
        return FlashSaleChanged(sale=OperatorFlashSale.from_row(row))

    @strawberry.mutation(
        description="Close a published session at once: what is left goes back to the SKUs, the queue ends, unpaid "
        "orders stay. Refusals: `FLASH_SALE_NOT_FOUND`, `FLASH_SALE_STATE_REFUSED`, `KEY_REUSED`.",
        extensions=[Needs(Right.FLASH_WRITE)],
    )
    async def flash_sale_close(self, info: Info, id: SaleId, idempotency_key: Key) -> FlashSaleChangeResult:
        """One call."""
        row = await verbs.close(
            info.context.deps, operator_id=_writer(info), sale_id=id, idempotency_key=idempotency_key
        )
        return FlashSaleChanged(sale=OperatorFlashSale.from_row(row))

    @strawberry.mutation(
        description="Rehearse a session with made-up buyers against a copy of it; the books keep no trace. One at a "
        "time. Refusals: `FLASH_SALE_NOT_FOUND`, `FLASH_REHEARSAL_RUNNING`, `PROGRAMME_INVALID`, `KEY_REUSED`.",
        extensions=[Needs(Right.FLASH_WRITE)],
    )
    async def flash_sale_rehearse(
        self,
        info: Info,
        id: SaleId,
        buyers: Annotated[int, strawberry.argument(description="Made-up buyers, 1 to 2,000.")],
        idempotency_key: Key,
    ) -> FlashSaleRehearseResult:
        """One call."""
        row = await flash_rehearsal.start(
            info.context.deps,
            operator_id=_writer(info),
            sale_id=id,
            buyers=buyers,
            idempotency_key=idempotency_key,
        )
        return FlashRehearsalStarted(rehearsal=FlashRehearsal.from_row(row))
