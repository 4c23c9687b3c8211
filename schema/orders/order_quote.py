"""Prices that are kept for a member for some minutes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.orders.order_quote import QuoteState
from models.prices.promotion import OrderQuote as OrderQuoteRow
from resolvers.orders import order_quote as verbs
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.orders.order_place import OrderPlaceInput, coupon_wish, delivery_wish, wishes
from schema.orders.order_refusal import (
    CouponNotUsableRefusal,
    CouponsNotCombinableRefusal,
    OutOfStockRefusal,
    PointsCapRefusal,
    PointsShortRefusal,
    PurchaseLimitRefusal,
    SkuNotOnSaleRefusal,
)
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    QuoteState,
    "How a kept price stands.",
    {
        QuoteState.PENDING: "It can be used until its time is over.",
        QuoteState.POSTED: "An order was placed from it.",
        QuoteState.RELEASED: "Another one was kept instead.",
        QuoteState.EXPIRED: "Its time is over.",
    },
)


@strawberry.type(description="A price that is kept, with its promotions. Stock, coupons and points are not held.")
class KeptQuote:
    """A kept price."""

    id: UUID = strawberry.field(description="Send it as `quoteId` with the same lines, coupons and points.")
    payable: Fen = strawberry.field(description="The money to pay at most, in fen, as far as coupons and points stay.")
    expires_at: datetime = strawberry.field(description="It can be used until before this instant.")
    stored: strawberry.Private[QuoteState]

    @strawberry.field(description="How it stands.")
    async def state(self, info: Info) -> QuoteState:
        """Decided at the instant of the request: what is over is over before a job has noted it."""
        is_over = self.stored is QuoteState.PENDING and self.expires_at <= info.context.now
        return QuoteState.EXPIRED if is_over else self.stored

    @classmethod
    def from_row(cls, row: OrderQuoteRow) -> "KeptQuote":
        """The stored quote."""
        return cls(id=row.id, stored=QuoteState(row.state), payable=Fen(row.payable_fen), expires_at=row.expires_at)


@strawberry.type(description="The price is kept.")
class OrderQuoteKept:
    """Success of orderQuoteKeep."""

    quote: KeptQuote = strawberry.field(description="The kept price.")


OrderQuoteKeepResult = Annotated[
    OrderQuoteKept
    | OutOfStockRefusal
    | PurchaseLimitRefusal
    | SkuNotOnSaleRefusal
    | CouponNotUsableRefusal
    | CouponsNotCombinableRefusal
    | PointsShortRefusal
    | PointsCapRefusal
    | SimpleRefusal,
    strawberry.union("OrderQuoteKeepResult", description="The kept price, or why it could not be ordered."),
]


@strawberry.type
class ShopQuery:
    """A member's kept prices."""

    @strawberry.field(description="One kept price of the member; null if there is none.", extensions=[ForMembers()])
    async def kept_quote(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The kept price.")]
    ) -> KeptQuote | None:
        row = await verbs.one(require_member(info), id)
        return KeptQuote.from_row(row) if row else None


@strawberry.type
class ShopMutation:
    """Keeping a price."""

    @strawberry.mutation(
        description="Keep the price that an order has now for some minutes, and hold its promotions. An earlier kept "
        "price of the member is given up. `remark`, `expectedPayable` and `quoteId` mean nothing here.",
        extensions=[ForMembers()],
    )
    async def order_quote_keep(
        self,
        info: Info,
        input: Annotated[OrderPlaceInput, strawberry.argument(description="What is to be ordered.")],
        idempotency_key: Key,
    ) -> OrderQuoteKeepResult:
        row = await verbs.keep(
            info.context.deps,
            member_id=require_member(info),
            lines=wishes(input.lines),
            points_wanted=input.points,
            coupons=coupon_wish(input),
            delivery=delivery_wish(input),
            idempotency_key=idempotency_key,
        )
        return OrderQuoteKept(quote=KeptQuote.from_row(row))
