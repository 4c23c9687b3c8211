"""What a refund does, in both schemas: its preview, and what it did."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import orjson
import strawberry

from loyalty.payments import refund as rule
from loyalty.payments.refund import ByHand, PartState
from models.payments.after_sale import OrderRefund as OrderRefundRow
from models.payments.after_sale import OrderRefundLine as OrderRefundLineRow
from resolvers.payments import after_sale_view as views
from schema.context import Info
from schema.enums import describe
from schema.payments.claw_back import ClawBackMode
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen, Points

describe(
    PartState,
    "How a part of an order that goes back stands.",
    {
        PartState.REQUESTED: "Its money is on its way.",
        PartState.DONE: "Money, points, coupons and stock are back.",
    },
)

describe(
    ByHand,
    "Why the shop pays money back in another way than WeChat. More may come.",
    {
        ByHand.USED_UP: "WeChat takes 50 refunds of a payment, and as many were asked for.",
        ByHand.OVERDUE: "WeChat takes no refund from 365 days after the payment.",
        ByHand.REFUSED: "WeChat refused, closed or could not deliver it; only of what was done, never in a preview.",
    },
    name="RefundByHand",
)


@strawberry.input(description="So many pieces of a line of an order.")
class RefundLineInput:
    """One wish."""

    line_id: UUID = strawberry.field(description="The line, by the `id` of the order's line.")
    quantity: int = strawberry.field(description="How many pieces, from 1.")


@strawberry.type(description="Points that come back.")
class RefundPointsBack:
    """Of one lot."""

    lot_id: UUID = strawberry.field(description="The lot that they came from.")
    amount: Points = strawberry.field(description="How many.")
    expires_at: datetime | None = strawberry.field(description="Usable until before this instant; null for ever.")
    renewed: bool = strawberry.field(
        description="Whether they come back in a new lot that ends after a grace, because the old one ends too soon."
    )


@strawberry.type(description="A coupon that comes back.")
class RefundCouponBack:
    """One coupon."""

    coupon_id: UUID = strawberry.field(description="The coupon.")
    expires_at: datetime = strawberry.field(description="Usable until before this instant.")
    extended: bool = strawberry.field(description="Whether that is longer than before.")


@strawberry.type(description="Pieces that come back to the stock.")
class RefundStockBack:
    """Of one SKU."""

    sku_id: UUID = strawberry.field(description="The SKU.")
    quantity: int = strawberry.field(description="How many pieces.")


@strawberry.type(description="All that a refund does.")
class RefundEffect:
    """A preview, or what was done."""

    digest: str = strawberry.field(
        description="The fingerprint of all this, the ends of graces apart; send it as `expected` to have just this."
    )
    cash: Fen = strawberry.field(description="The money that goes back, in fen, shipping included.")
    shipping: Fen = strawberry.field(description="How much of it is for shipping, in fen.")
    points_back: list[RefundPointsBack] = strawberry.field(description="Points that were used, by lot.")
    coupons_back: list[RefundCouponBack] = strawberry.field(description="Coupons that are free again.")
    claw_back: ClawBackMode = strawberry.field(description="What becomes of earned points that are spent already.")
    points_taken: Points = strawberry.field(description="Earned points that leave the account.")
    points_owed: Points = strawberry.field(description="Earned points that become a debt.")
    points_forgiven: Points = strawberry.field(description="Earned points that are given up.")
    growth_taken: Points = strawberry.field(description="Growth value that is taken back.")
    tier_before: str = strawberry.field(description="The code of the member's own tier before.")
    tier_after: str = strawberry.field(description="And after.")
    stock_back: list[RefundStockBack] = strawberry.field(description="Pieces that come back to the stock, by SKU.")
    by_hand: ByHand | None = strawberry.field(
        description="Why not WeChat but the shop pays `cash` back, by hand: in a preview that it will, of what was "
        "done that it has. Null: WeChat pays it back the way it came, or there is none."
    )

    @strawberry.field(description="`byHand` in a sentence for whoever confirms the refund; null with it.")
    def by_hand_note(self, info: Info) -> str | None:
        return self.by_hand.words(info.context.language) if self.by_hand else None

    @classmethod
    def from_effect(cls, effect: rule.RefundEffect) -> "RefundEffect":
        return cls(
            digest=effect.digest(),
            cash=Fen(effect.cash_fen),
            shipping=Fen(effect.shipping_fen),
            points_back=[
                RefundPointsBack(
                    lot_id=one.lot_id, amount=Points(one.amount), expires_at=one.expires_at, renewed=one.renewed
                )
                for one in effect.points_back
            ],
            coupons_back=[
                RefundCouponBack(coupon_id=one.coupon_id, expires_at=one.expires_at, extended=one.extended)
                for one in effect.coupons_back
            ],
            claw_back=ClawBackMode(effect.claw_back),
            points_taken=Points(effect.points_taken),
            points_owed=Points(effect.points_owed),
            points_forgiven=Points(effect.points_forgiven),
            growth_taken=Points(effect.growth_taken),
            tier_before=effect.tier_before,
            tier_after=effect.tier_after,
            stock_back=[RefundStockBack(sku_id=one.sku_id, quantity=one.quantity) for one in effect.stock_back],
            by_hand=effect.by_hand,
        )


@strawberry.type(description="So many pieces of a line that go back.")
class OrderRefundLine:
    """One line of a part."""

    line_id: UUID = strawberry.field(description="The order's line.")
    quantity: int = strawberry.field(description="How many pieces.")
    amount: Fen = strawberry.field(description="The money for them, in fen.")
    points_used: Points = strawberry.field(description="The points that had been used on them.")

    @classmethod
    def from_row(cls, row: OrderRefundLineRow) -> "OrderRefundLine":
        return cls(
            line_id=row.line_id,
            quantity=row.quantity,
            amount=Fen(row.money_fen),
            points_used=Points(row.points_used),
        )


@strawberry.type(description="A part of an order that goes back together.")
class OrderRefund:
    """One refund of pieces."""

    id: UUID = strawberry.field(description="Opaque id.")
    order_id: UUID = strawberry.field(description="The order.")
    state: PartState = strawberry.field(description="How it stands.")
    reason: str = strawberry.field(description="What the payer is told, up to 80 characters.")
    amount: Fen = strawberry.field(description="The money that goes back, in fen, shipping included.")
    shipping: Fen = strawberry.field(description="How much of it is for shipping, in fen.")
    points_used: Points = strawberry.field(description="The points that come back.")
    requested_at: datetime = strawberry.field(description="When it was begun.")
    done_at: datetime | None = strawberry.field(description="When everything was back.")
    effect: RefundEffect | None = strawberry.field(description="What it did; null until it is done.")

    @strawberry.field(description="Its lines, 1 to 50.")
    async def lines(self, info: Info) -> list[OrderRefundLine]:
        found = await info.context.loaders.load(views.lines_by_part, self.id)
        return [OrderRefundLine.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: OrderRefundRow) -> "OrderRefund":
        return cls(
            id=row.id,
            order_id=row.order_id,
            state=PartState(row.state),
            reason=row.reason,
            amount=Fen(row.amount_fen),
            shipping=Fen(row.shipping_fen),
            points_used=Points(row.points_used),
            requested_at=row.requested_at,
            done_at=row.done_at,
            effect=RefundEffect.from_effect(rule.RefundEffect.parse(row.effect)) if row.effect else None,
        )


@refusal_type(rule.RefundChanged)
@strawberry.type(name="RefundChanged", description="It would do something else than was previewed. `REFUND_CHANGED`.")
class RefundChangedRefusal(Refusal):
    """With the new preview."""

    effect: strawberry.Private[str]

    @strawberry.field(description="What it would do now.")
    def preview(self) -> RefundEffect:
        return RefundEffect.from_effect(rule.RefundEffect.parse(orjson.loads(self.effect)))


@refusal_type(rule.RefundLinesInvalid)
@strawberry.type(name="RefundLinesInvalid", description="These pieces are not there. Code `REFUND_LINES_INVALID`.")
class RefundLinesRefusal(Refusal):
    """How many are."""

    left: int = strawberry.field(description="How many pieces of that line are left.")


RefundPreviewResult = Annotated[
    RefundEffect | RefundLinesRefusal | SimpleRefusal,
    strawberry.union("RefundPreviewResult", description="What a refund would do now, or why there is none."),
]


def pieces(lines: list[RefundLineInput]) -> dict[UUID, int]:
    """The lines as the verbs take them. Raises: RefundLinesInvalid: a line stands there twice."""
    found = {line.line_id: line.quantity for line in lines}
    if len(found) < len(lines):
        raise rule.RefundLinesInvalid(left=0, line_id=None)
    return found
