"""What a preview of an order shows beside its sums: its lines, and what more would save more."""

from uuid import UUID

import strawberry

from loyalty.pricing import QuotedLine as QuotedLineValue
from loyalty.promotion_hint import Hint, HintKind
from schema.enums import describe
from schema.scalars import Fen

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
