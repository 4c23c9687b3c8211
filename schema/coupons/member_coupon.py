"""A member's coupons as operators see them and take them away."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.coupons.coupon import Coupon as CouponRow
from resolvers.coupons import coupon as member_verbs
from resolvers.coupons import coupon_template as verbs
from schema.catalogue.catalogue import Key
from schema.context import Info
from schema.coupons.coupon import Coupon, CouponStateFilter, CouponStateRefusal
from schema.coupons.coupon_grant import coupon_granter
from schema.coupons.coupon_terms import named_as_here
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.programme import ProgrammeInvalidRefusal
from schema.refusal import SimpleRefusal


@strawberry.type(name="Coupon", description="A member's coupon.")
class OperatorCoupon(Coupon):
    """A coupon with whose it is."""

    member_id: UUID = strawberry.field(description="The member whose it is.")

    @classmethod
    def from_row(cls, row: CouponRow) -> "OperatorCoupon":
        """The stored coupon."""
        shown = Coupon.from_row(row)
        return cls(**vars(shown), member_id=row.member_id)


@strawberry.type(description="The coupon was taken away.")
class CouponVoided:
    """Success of couponVoid."""

    coupon: OperatorCoupon = strawberry.field(description="The coupon as it is now.")


CouponVoidResult = Annotated[
    CouponVoided | CouponStateRefusal | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponVoidResult", description="The coupon was taken away, or why not."),
]


@strawberry.type
class OperatorQuery:
    """Any member's coupons."""

    @strawberry.field(description="A member's coupons, newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def member_coupons(
        self,
        info: Info,
        member_id: Annotated[UUID, strawberry.argument(description="The member.")],
        first: First = 20,
        after: After = None,
        state: CouponStateFilter = None,
    ) -> Connection[OperatorCoupon]:
        found = await member_verbs.mine(
            info.context.deps, member_id=member_id, page=page(member_verbs.NEWEST, first, after), state=state
        )
        return connection(found, OperatorCoupon.from_row)


@strawberry.type
class OperatorMutation:
    """Taking a coupon away."""

    @strawberry.mutation(
        description="Take a coupon away from its member, if it is not on an order.",
        extensions=[Needs(Right.COUPON_GRANT)],
    )
    async def coupon_void(
        self,
        info: Info,
        id: Annotated[UUID, strawberry.argument(description="The coupon.")],
        reason: Annotated[str, strawberry.argument(description="Why, for the audit log; 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> CouponVoidResult:
        with named_as_here():
            row = await verbs.void(
                info.context.deps,
                operator_id=coupon_granter(info),
                coupon_id=id,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        return CouponVoided(coupon=OperatorCoupon.from_row(row))
