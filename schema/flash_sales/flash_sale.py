"""Flash sales 秒杀 as members see them: what runs and comes, buying, and the queue."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.flash_sales import flash_sale as rule
from loyalty.flash_sales.flash_sale import WaitState
from models.flash_sales.flash_sale import FlashWait as FlashWaitRow
from resolvers.flash_sales import flash_sale as verbs
from resolvers.flash_sales import flash_wait as queue
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.flash_sales.flash_item import FlashSale
from schema.orders.order import Order
from schema.orders.order_refusal import AmountChangedRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen

describe(
    WaitState,
    "Where a place in the queue of a sold-out item stands.",
    {
        WaitState.WAITING: "Waiting for pieces to come back.",
        WaitState.OFFERED: "Pieces are held for you until `claimBy`; claim them with `flashSalePurchase(waitId:)`.",
        WaitState.CLAIMED: "Bought.",
        WaitState.LAPSED: "Not claimed in time.",
        WaitState.LEFT: "Left by the member.",
        WaitState.ENDED: "The session was over first.",
    },
)


@strawberry.input(description="What to buy.")
class FlashSalePurchaseInput:
    """An item, how many, and what the member agreed to."""

    item_id: UUID = strawberry.field(description="The item.")
    quantity: int = strawberry.field(default=1, description="Pieces, 1 to 99 and at most the item's limit.")
    expected_payable: Fen | None = strawberry.field(
        default=None, description="What the member saw and agreed to, in fen; another price is refused."
    )
    wait_id: UUID | None = strawberry.field(
        default=None, description="The place in the queue whose offer is claimed; nothing for an ordinary purchase."
    )


@refusal_type(rule.FlashLimitReached)
@strawberry.type(name="FlashLimitReached", description="The member may not have so many. Code `FLASH_LIMIT_REACHED`.")
class FlashLimitRefusal(Refusal):
    """A limit per member."""

    limit: int = strawberry.field(description="Pieces a member may have.")
    bought: int = strawberry.field(description="Pieces the member has, unpaid orders included.")


@strawberry.type(description="The purchase, as the order that it is.")
class FlashSalePurchased:
    """Success of flashSalePurchase."""

    order: Order = strawberry.field(description="The order; its pieces are held until `payBy`.")


FlashSalePurchaseResult = Annotated[
    FlashSalePurchased | FlashLimitRefusal | AmountChangedRefusal | SimpleRefusal,
    strawberry.union("FlashSalePurchaseResult", description="The order, or why it could not be bought."),
]


@strawberry.type(description="A place in the queue of an item that is sold out.")
class FlashWait:
    """A member's own place."""

    id: UUID = strawberry.field(description="Opaque id of the place; claim an offer with it as `waitId`.")
    item_id: UUID = strawberry.field(description="The item.")
    quantity: int = strawberry.field(description="Pieces waited for, 1 to 99.")
    state: WaitState = strawberry.field(description="Where it stands.")
    created_at: datetime = strawberry.field(description="When the member joined.")
    claim_by: datetime | None = strawberry.field(description="An offer stands until before this instant.")
    order_id: UUID | None = strawberry.field(description="The order that claimed it.")

    @strawberry.field(description="How many places are before it; null unless it waits.")
    async def ahead(self, info: Info) -> int | None:
        """Counted for all the places of the answer at once."""
        return await info.context.loaders.load(queue.ahead_counts, self.id)

    @classmethod
    def from_row(cls, row: FlashWaitRow) -> "FlashWait":
        """The stored place."""
        return cls(
            id=row.id,
            item_id=row.item_id,
            quantity=row.quantity,
            state=WaitState(row.state),
            created_at=row.created_at,
            claim_by=row.claim_by,
            order_id=row.order_id,
        )


@strawberry.type(description="The place in the queue after the change.")
class FlashWaitChanged:
    """Success of flashSaleWait and flashSaleWaitLeave."""

    wait: FlashWait = strawberry.field(description="The place as it stands now.")


FlashSaleWaitResult = Annotated[
    FlashWaitChanged | FlashLimitRefusal | SimpleRefusal,
    strawberry.union("FlashSaleWaitResult", description="The place, or why there is none."),
]


@strawberry.type
class ShopQuery:
    """What members and visitors see."""

    @strawberry.field(
        description="Sessions of flash sales that are running or coming, what opens first comes first.",
        extensions=[ForEveryone()],
    )
    async def flash_sales(self, info: Info, first: First = 20, after: After = None) -> Connection[FlashSale]:
        """One page."""
        found = await verbs.shown(info.context.deps, page=page(verbs.SHOWN, first, after))
        return connection(found, FlashSale.from_row)

    @strawberry.field(
        description="One session that is running or coming; null if there is none.", extensions=[ForEveryone()]
    )
    async def flash_sale(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The session.")]
    ) -> FlashSale | None:
        """One session."""
        row = await verbs.shown_one(info.context.deps, id)
        return FlashSale.from_row(row) if row else None

    @strawberry.field(
        description="The member's places in queues, newest first, ended ones included.", extensions=[ForMembers()]
    )
    async def flash_sale_waits(self, info: Info, first: First = 20, after: After = None) -> Connection[FlashWait]:
        """One page."""
        found = await queue.places(
            info.context.deps, member_id=require_member(info), page=page(queue.NEWEST, first, after)
        )
        return connection(found, FlashWait.from_row)


@strawberry.type
class ShopMutation:
    """What a member does at a flash sale."""

    @strawberry.mutation(
        description="Buy an item of a flash sale: an order whose pieces are held until its pay deadline. Coupons and "
        "points are not taken.",
        extensions=[ForMembers()],
    )
    async def flash_sale_purchase(
        self,
        info: Info,
        input: Annotated[FlashSalePurchaseInput, strawberry.argument(description="What to buy.")],
        idempotency_key: Key,
    ) -> FlashSalePurchaseResult:
        """One order, or a refusal."""
        order = await verbs.purchase(
            info.context.deps,
            member_id=require_member(info),
            item_id=input.item_id,
            quantity=input.quantity,
            expected_fen=input.expected_payable,
            wait_id=input.wait_id,
            idempotency_key=idempotency_key,
        )
        return FlashSalePurchased(order=Order.from_row(order))

    @strawberry.mutation(
        description="Queue for an item that is sold out. What comes back is offered in the order of the queue.",
        extensions=[ForMembers()],
    )
    async def flash_sale_wait(
        self,
        info: Info,
        item_id: Annotated[UUID, strawberry.argument(description="The item.")],
        idempotency_key: Key,
        quantity: Annotated[int, strawberry.argument(description="Pieces, 1 to 99 and within the limit.")] = 1,
    ) -> FlashSaleWaitResult:
        """One place, or a refusal."""
        row = await queue.join(
            info.context.deps,
            member_id=require_member(info),
            item_id=item_id,
            quantity=quantity,
            idempotency_key=idempotency_key,
        )
        return FlashWaitChanged(wait=FlashWait.from_row(row))

    @strawberry.mutation(
        description="Leave a queue, or give an offer back. Harmless to repeat.", extensions=[ForMembers()]
    )
    async def flash_sale_wait_leave(
        self, info: Info, wait_id: Annotated[UUID, strawberry.argument(description="The place in the queue.")]
    ) -> FlashSaleWaitResult:
        """The place as it stands then."""
        row = await queue.leave(info.context.deps, member_id=require_member(info), wait_id=wait_id)
        return FlashWaitChanged(wait=FlashWait.from_row(row))
