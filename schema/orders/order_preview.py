"""What an order would cost now: its sums, its lines, and what more would save more."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.prices.pricing import Quote
from loyalty.prices.pricing import QuotedLine as QuotedLineValue
from loyalty.prices.promotion_hint import Hint, HintKind
from resolvers.orders import order as verbs
from schema.context import Info
from schema.enums import describe
from schema.orders.order_place import OrderPlaceInput, coupon_wish, delivery_wish, wishes
from schema.orders.order_price import PriceExplanation
from schema.orders.order_refusal import (
    CouponNotUsableRefusal,
    CouponsNotCombinableRefusal,
    OutOfStockRefusal,
    PointsCapRefusal,
    PointsShortRefusal,
    PurchaseLimitRefusal,
    RegionNotDeliveredRefusal,
    SkuNotOnSaleRefusal,
)
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points

describe(
    HintKind,
    "What a hint is about.",
    {
        HintKind.PROMOTION: "The next step or set of a promotion.",
        HintKind.COUPON: "The threshold of one of the member's coupons.",
        HintKind.SHIPPING: "Free shipping.",
    },
)


@strawberry.type(description="What more would save more. Either `missing` or `missingPieces` is there.")
class OrderHint:
    """One hint."""

    kind: HintKind = strawberry.field(description="What it is about.")
    code: str | None = strawberry.field(description="The promotion's code, or that of the coupon's template.")
    title: str | None = strawberry.field(description="The promotion's title; null for others.")
    missing: Fen | None = strawberry.field(description="So much more of goods is needed, in fen.")
    missing_pieces: int | None = strawberry.field(description="So many more pieces are needed.")
    saves: Fen = strawberry.field(
        description="What that would save, in fen; with pieces: of the cheapest goods that it is for in the cart."
    )

    @classmethod
    def from_rule(cls, hint: Hint) -> "OrderHint":
        """The hint as the rule knows it."""
        return cls(
            kind=hint.kind,
            code=hint.code,
            title=hint.title,
            missing=None if hint.missing_fen is None else Fen(hint.missing_fen),
            missing_pieces=hint.missing_pieces,
            saves=Fen(hint.saves_fen),
        )


@strawberry.type(description="One line of a preview: goods = discount + promotion + coupon + points + payable.")
class QuotedLine:
    """One SKU with its shares."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 999.")
    list_price: Fen = strawberry.field(description="List price of one piece, in fen.")
    unit_price: Fen = strawberry.field(
        description="Price of one piece, in fen; where a promotion is for some of the pieces only, of the dearest."
    )
    goods: Fen = strawberry.field(description="List price times quantity, in fen.")
    discount: Fen = strawberry.field(description="What lower prices of single pieces take off, in fen.")
    promotion_amount: Fen = strawberry.field(description="What N-for-M and amount-off promotions take off, in fen.")
    coupon_amount: Fen = strawberry.field(description="What coupons take off, in fen.")
    points_amount: Fen = strawberry.field(description="What points pay, in fen.")
    payable: Fen = strawberry.field(description="The money to pay, in fen.")

    @classmethod
    def from_rule(cls, line: QuotedLineValue) -> "QuotedLine":
        """The line as the rule knows it."""
        return cls(
            sku_id=line.sku_id,
            quantity=line.quantity,
            list_price=Fen(line.list_price_fen),
            unit_price=Fen(line.unit_price_fen),
            goods=Fen(line.goods_fen),
            discount=Fen(line.discount_fen),
            promotion_amount=Fen(line.promotion_fen),
            coupon_amount=Fen(line.coupon_fen),
            points_amount=Fen(line.points_fen),
            payable=Fen(line.payable_fen),
        )


@strawberry.type(description="What an order of these lines would cost now. Nothing is kept for it.")
class OrderQuote:
    """A preview."""

    goods: Fen = strawberry.field(description="The goods at list price, in fen.")
    discount: Fen = strawberry.field(description="What lower prices of single pieces take off, in fen.")
    promotion_amount: Fen = strawberry.field(description="What N-for-M and amount-off promotions take off, in fen.")
    coupon_amount: Fen = strawberry.field(description="What coupons take off, in fen.")
    shipping: Fen = strawberry.field(description="The shipping fee before a coupon for it, in fen.")
    shipping_coupon_amount: Fen = strawberry.field(
        description="What a coupon takes off the shipping fee, in fen; part of `couponAmount`."
    )
    coupon_ids: list[UUID] = strawberry.field(
        description="The coupons it would use; send them as `couponIds` to have the same ones."
    )
    points_used: Points = strawberry.field(description="Points it would use.")
    points_amount: Fen = strawberry.field(description="What these points pay, in fen.")
    points_most: Points = strawberry.field(description="The most points this order takes from this member.")
    payable: Fen = strawberry.field(description="The money to pay, in fen; send it as `expectedPayable`.")
    explain: list[PriceExplanation] = strawberry.field(description="How the price came about; it adds up to payable.")
    lines: list[QuotedLine] = strawberry.field(description="Its lines, 1 to 50, lines of one SKU merged.")
    hints: list[OrderHint] = strawberry.field(description="What more would save more, the nearest first.")

    @classmethod
    def from_quote(cls, quote: Quote, hints: Sequence[Hint] = ()) -> "OrderQuote":
        return cls(
            goods=Fen(quote.goods_fen),
            discount=Fen(quote.discount_fen),
            promotion_amount=Fen(quote.promotion_fen),
            coupon_amount=Fen(quote.coupon_fen),
            shipping=Fen(quote.shipping_fen),
            shipping_coupon_amount=Fen(quote.shipping_coupon_fen),
            coupon_ids=[one.coupon_id for one in quote.coupons],
            points_used=Points(quote.points_used),
            points_amount=Fen(quote.points_fen),
            points_most=Points(quote.points_most),
            payable=Fen(quote.payable_fen),
            explain=[PriceExplanation.from_rule(step) for step in quote.explain],
            lines=[QuotedLine.from_rule(line) for line in quote.lines],
            hints=[OrderHint.from_rule(hint) for hint in hints],
        )


OrderPreviewResult = Annotated[
    OrderQuote
    | OutOfStockRefusal
    | PurchaseLimitRefusal
    | SkuNotOnSaleRefusal
    | RegionNotDeliveredRefusal
    | CouponNotUsableRefusal
    | CouponsNotCombinableRefusal
    | PointsShortRefusal
    | PointsCapRefusal
    | SimpleRefusal,
    strawberry.union("OrderPreviewResult", description="The price, or why it could not be ordered."),
]


@strawberry.type
class ShopQuery:
    """What a member asks before ordering."""

    @strawberry.field(description="What an order would cost now.", extensions=[ForMembers()])
    async def order_preview(
        self, info: Info, input: Annotated[OrderPlaceInput, strawberry.argument(description="What to order.")]
    ) -> OrderPreviewResult:
        found = await verbs.preview_with_hints(
            info.context.deps,
            member_id=require_member(info),
            lines=wishes(input.lines),
            points_wanted=input.points,
            coupons=coupon_wish(input),
            delivery=delivery_wish(input),
        )
        return OrderQuote.from_quote(found.quote, found.hints)
