"""What a cart makes of a member's coupons, and the best combination of them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons.coupon import UnusableReason
from loyalty.coupons.coupon_choice import CouponVerdict, Plan, Verdict
from loyalty.coupons.coupon_use import HeldCoupon
from resolvers.coupons import coupon as verbs
from resolvers.orders import order as order_verbs
from resolvers.orders.order_delivery import DeliveryWish
from schema.context import Info
from schema.coupons.coupon_terms import CouponTermsView
from schema.enums import describe
from schema.orders.order_place import OrderLineInput, wishes
from schema.orders.order_refusal import (
    OutOfStockRefusal,
    PurchaseLimitRefusal,
    RegionNotDeliveredRefusal,
    SkuNotOnSaleRefusal,
)
from schema.permissions import ForMembers, require_member
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    UnusableReason,
    "Why a coupon takes nothing off a cart.",
    {
        UnusableReason.NOT_AVAILABLE: "It is on another order, used, or gone.",
        UnusableReason.NOT_STARTED: "Its time has not come.",
        UnusableReason.EXPIRED: "Its time is over.",
        UnusableReason.OUT_OF_SCOPE: "Nothing in the cart is among what it is for.",
        UnusableReason.BELOW_THRESHOLD: "The goods that it is for cost too little; `missing` says by how much.",
        UnusableReason.NO_SHIPPING_FEE: "There is no shipping fee that it could take off, or none is known yet.",
        UnusableReason.NOTHING_LEFT: "Other coupons leave nothing for it.",
    },
)
describe(
    Verdict,
    "What became of a coupon when the best combination was looked for.",
    {
        Verdict.APPLIED: "It is in the best combination.",
        Verdict.NOT_CHOSEN: "It could be used, but another combination takes off more, or as much and ends sooner.",
        Verdict.UNUSABLE: "It cannot be used on this cart.",
    },
)


@strawberry.type(description="What becomes of one of the member's coupons for a cart.")
class CartCoupon:
    """One line of the plan."""

    coupon_id: UUID = strawberry.field(description="The coupon.")
    template_id: UUID = strawberry.field(description="The template it is of.")
    expires_at: datetime = strawberry.field(description="It can be used until before this instant.")
    verdict: Verdict = strawberry.field(description="What became of it.")
    discount: Fen = strawberry.field(description="What it takes off in the best combination, in fen; else 0.")
    alone: Fen | None = strawberry.field(
        description="What it would take off as the only coupon, in fen; null if it cannot be used."
    )
    reason: UnusableReason | None = strawberry.field(description="Why it cannot be used; null if it can.")
    missing: Fen | None = strawberry.field(
        description="What the goods that it is for lack to its threshold, in fen; null unless that is the reason."
    )
    held: strawberry.Private[HeldCoupon]

    @strawberry.field(description="Its name: that of its template.")
    async def title(self, info: Info) -> str:
        """Loaded for all the coupons of the answer at once."""
        template = await info.context.loaders.load(verbs.templates_by_ids, self.template_id)
        assert template is not None, "a coupon is of a template"
        return template.title

    @strawberry.field(description="What it does.")
    def terms(self) -> CouponTermsView:
        """They were read for the plan."""
        return CouponTermsView.from_rule(self.held.terms)

    @classmethod
    def from_rule(cls, one: CouponVerdict) -> "CartCoupon":
        """One verdict."""
        missing = one.why.missing_fen if one.why else None
        return cls(
            coupon_id=one.coupon.id,
            template_id=one.coupon.template_id,
            expires_at=one.coupon.expires_at,
            verdict=one.verdict,
            discount=Fen(one.discount_fen),
            alone=None if one.alone_fen is None else Fen(one.alone_fen),
            reason=one.why.reason if one.why else None,
            missing=None if missing is None else Fen(missing),
            held=one.coupon,
        )


@strawberry.type(description="The member's coupons for a cart, and the best combination of them.")
class CartCoupons:
    """A plan. Nothing is reserved for it."""

    best_coupon_ids: list[UUID] = strawberry.field(
        description="The best combination; send it as `couponIds`. Ties go to what ends soonest, then wastes least."
    )
    best_discount: Fen = strawberry.field(description="What it takes off, in fen.")
    exact: bool = strawberry.field(
        description="Whether the order costs less in no other way to use promotions and coupons. False: there were "
        "more ways, or more coupons, than are tried, and this is the best of those that were; a better one may exist."
    )
    usable: list[CartCoupon] = strawberry.field(description="Coupons that can be used, in the order they apply.")
    unusable: list[CartCoupon] = strawberry.field(description="Coupons that cannot be used, with the reason.")

    @classmethod
    def from_rule(cls, plan: Plan) -> "CartCoupons":
        """The plan as the rule made it."""
        told = [CartCoupon.from_rule(one) for one in plan.verdicts]
        return cls(
            best_coupon_ids=[one.coupon_id for one in plan.applied],
            best_discount=Fen(plan.discount_fen),
            exact=plan.exact,
            usable=[one for one in told if one.verdict is not Verdict.UNUSABLE],
            unusable=[one for one in told if one.verdict is Verdict.UNUSABLE],
        )


CartCouponsResult = Annotated[
    CartCoupons
    | OutOfStockRefusal
    | PurchaseLimitRefusal
    | SkuNotOnSaleRefusal
    | RegionNotDeliveredRefusal
    | SimpleRefusal,
    strawberry.union("CartCouponsResult", description="The coupons for a cart, or why it could not be ordered."),
]


@strawberry.type
class ShopQuery:
    """Coupons for a cart."""

    @strawberry.field(
        description="Which of the member's coupons can be used for a cart, which cannot and why, and the best "
        "combination. Up to 200 coupons are weighed up, those that end soonest first.",
        extensions=[ForMembers()],
    )
    async def cart_coupons(
        self,
        info: Info,
        lines: Annotated[list[OrderLineInput], strawberry.argument(description="The cart, 1 to 50 lines.")],
        address_id: Annotated[
            UUID | None,
            strawberry.argument(
                description="The address it would be shipped to, for coupons off the shipping fee; without it there is "
                "no fee yet."
            ),
        ] = None,
    ) -> CartCouponsResult:
        plan = await order_verbs.weigh_coupons(
            info.context.deps,
            member_id=require_member(info),
            lines=wishes(lines),
            delivery=DeliveryWish(address_id=address_id) if address_id else None,
        )
        return CartCoupons.from_rule(plan)
