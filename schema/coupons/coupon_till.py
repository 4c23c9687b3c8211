"""Coupons at the till 线下核销: the code on the phone, and what the staff do with it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.coupons.coupon_till import CouponTillUse as CouponTillUseRow
from resolvers.coupons import coupon as member_verbs
from resolvers.coupons import coupon_till as verbs
from schema.arguments import Key
from schema.context import Info
from schema.coupons.coupon_terms import CouponTermsView
from schema.orders.order_refusal import CouponNotUsableRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForMembers, Needs, require_member, require_right
from schema.programme import ProgrammeInvalidRefusal, api_words
from schema.refusal import SimpleRefusal
from schema.scalars import Fen


@strawberry.type(description="A code to be shown as a bar code or QR code at the till.")
class CouponTillCode:
    """A new code."""

    code: str = strawberry.field(description="18 digits that begin with 89.")
    ends_at: datetime = strawberry.field(description="It can be used until before this instant, 2 minutes ahead.")


CouponTillCodeResult = Annotated[
    CouponTillCode | CouponNotUsableRefusal | SimpleRefusal,
    strawberry.union("CouponTillCodeResult", description="The code, or why the coupon cannot be used at a till."),
]


@strawberry.type(description="What a till sees of a coupon before it uses it. Nothing is used or reserved.")
class CouponTillPreview:
    """A look."""

    coupon_id: UUID = strawberry.field(description="The coupon.")
    title: str = strawberry.field(description="Its name.")
    terms: CouponTermsView = strawberry.field(description="What it does; staff see what its scope covers.")
    expires_at: datetime = strawberry.field(description="It can be used until before this instant.")
    discount: Fen | None = strawberry.field(
        description="What it takes off the amount, in fen; null for a piece that it is exchanged for without a price."
    )


CouponTillPreviewResult = Annotated[
    CouponTillPreview | CouponNotUsableRefusal | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTillPreviewResult", description="What the coupon is worth, or why it cannot be used."),
]


@strawberry.type(description="A coupon that was used at a till.")
class CouponTillUse:
    """One use."""

    id: UUID = strawberry.field(description="Opaque id.")
    coupon_id: UUID = strawberry.field(description="The coupon.")
    member_id: UUID = strawberry.field(description="Whose coupon it is.")
    operator_id: UUID = strawberry.field(description="Who used it.")
    amount: Fen | None = strawberry.field(description="What the goods cost, in fen; null where no price was needed.")
    discount: Fen | None = strawberry.field(description="What it took off, in fen; null where no price was needed.")
    place: str = strawberry.field(description="Where, 1 to 60 characters.")
    pick_up_point_id: UUID | None = strawberry.field(description="The pick-up point that the place is, if it is one.")
    note: str = strawberry.field(description="What the staff noted, at most 200 characters, or empty.")
    used_at: datetime = strawberry.field(description="When.")
    reversed_at: datetime | None = strawberry.field(description="When it was taken back; null unless it was.")
    reversed_by_id: UUID | None = strawberry.field(description="Who took it back.")
    reverse_reason: str | None = strawberry.field(description="Why it was taken back.")

    @strawberry.field(description="The coupon's name.")
    async def title(self, info: Info) -> str:
        """Loaded for all the uses of the answer at once."""
        return await _title(info, self.coupon_id)

    @classmethod
    def from_row(cls, row: CouponTillUseRow) -> "CouponTillUse":
        """The stored use."""
        return cls(
            id=row.id,
            coupon_id=row.coupon_id,
            member_id=row.member_id,
            operator_id=row.operator_id,
            amount=None if row.amount_fen is None else Fen(row.amount_fen),
            discount=None if row.discount_fen is None else Fen(row.discount_fen),
            place=row.place,
            pick_up_point_id=row.pick_up_point_id,
            note=row.note,
            used_at=row.used_at,
            reversed_at=row.reversed_at,
            reversed_by_id=row.reversed_by_id,
            reverse_reason=row.reverse_reason or None,
        )


@strawberry.type(description="The coupon was used, or its use was taken back.")
class CouponVerified:
    """Success of couponVerify and couponTillReverse."""

    use: CouponTillUse = strawberry.field(description="The use as it is now.")


CouponVerifyResult = Annotated[
    CouponVerified | CouponNotUsableRefusal | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponVerifyResult", description="The use, or why the coupon was not used."),
]
CouponTillReverseResult = Annotated[
    CouponVerified | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTillReverseResult", description="The use, or why it stands."),
]
Code = Annotated[str, strawberry.argument(description="What was read; blanks around it are dropped.")]
Amount = Annotated[
    Fen | None,
    strawberry.argument(
        description="What the goods that it is for cost, 1 to 1,000,000,000 fen; may be left out for a piece that an "
        "exchange coupon without a threshold gives."
    ),
]


@strawberry.type
class ShopMutation:
    """The phone."""

    @strawberry.mutation(
        description="A new code for one of the member's coupons, good for 2 minutes and one use. Answers RATE_LIMITED "
        "beyond 10 at once and then one in 5 s, TRY_AGAIN while codes cannot be kept. Refusals: `COUPON_NOT_FOUND`, "
        "`COUPON_NOT_FOR_TILL`, `COUPON_NOT_USABLE`.",
        extensions=[ForMembers()],
    )
    async def coupon_till_code(
        self, info: Info, coupon_id: Annotated[UUID, strawberry.argument(description="The coupon.")]
    ) -> CouponTillCodeResult:
        found = await verbs.show(info.context.deps, member_id=require_member(info), coupon_id=coupon_id)
        return CouponTillCode(code=found.code, ends_at=found.ends_at)


@strawberry.type
class OperatorQuery:
    """Looking before using, and looking back."""

    @strawberry.field(
        description="What the coupon of a code is worth at the till. Refusals: `COUPON_TILL_CODE_INVALID`, "
        "`COUPON_NOT_FOR_TILL`, `COUPON_NOT_USABLE`, `COUPON_TILL_AMOUNT_MISSING`, `PROGRAMME_INVALID`.",
        extensions=[Needs(Right.COUPON_VERIFY)],
    )
    async def coupon_till_preview(self, info: Info, code: Code, amount: Amount = None) -> CouponTillPreviewResult:
        with api_words():
            found = await verbs.preview(info.context.deps, code=code, amount_fen=amount)
        return CouponTillPreview(
            coupon_id=found.coupon.id,
            title=await _title(info, found.coupon.id),
            terms=CouponTermsView.from_rule(found.terms),
            expires_at=found.coupon.expires_at,
            discount=None if found.discount_fen is None else Fen(found.discount_fen),
        )

    @strawberry.field(
        description="Coupons used at tills, newest first, also those that were taken back.",
        extensions=[Needs(Right.COUPON_READ)],
    )
    async def coupon_till_uses(
        self,
        info: Info,
        member_id: Annotated[UUID | None, strawberry.argument(description="Only those of this member.")] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[CouponTillUse]:
        found = await verbs.uses(info.context.deps, page=page(verbs.NEWEST, first, after), member_id=member_id)
        return connection(found, CouponTillUse.from_row)


async def _title(info: Info, coupon_id: UUID) -> str:
    title = await info.context.loaders.load(member_verbs.titles_by_coupon, coupon_id)
    assert title is not None, "a coupon is of a template"
    return title


@strawberry.type
class OperatorMutation:
    """The till."""

    @strawberry.mutation(
        description="Use the coupon of a code, once. After TRY_AGAIN the same key is sent again. Refusals: "
        "`COUPON_TILL_CODE_INVALID`, `PICK_UP_POINT_NOT_FOUND`, `PROGRAMME_INVALID`, `COUPON_NOT_FOR_TILL`, "
        "`COUPON_NOT_USABLE`, `COUPON_TILL_AMOUNT_MISSING`, `KEY_REUSED`.",
        extensions=[Needs(Right.COUPON_VERIFY)],
    )
    async def coupon_verify(
        self,
        info: Info,
        code: Code,
        idempotency_key: Key,
        amount: Amount = None,
        pick_up_point_id: Annotated[
            UUID | None, strawberry.argument(description="The pick-up point where it is; its name is the place then.")
        ] = None,
        place: Annotated[
            str, strawberry.argument(description="Where, 1 to 60 characters; may be left out at a pick-up point.")
        ] = "",
        note: Annotated[str, strawberry.argument(description="For the books, at most 200 characters.")] = "",
    ) -> CouponVerifyResult:
        with api_words():
            row = await verbs.verify(
                info.context.deps,
                operator_id=require_right(info, Right.COUPON_VERIFY).subject_id,
                code=code,
                amount_fen=amount,
                pick_up_point_id=pick_up_point_id,
                place=place,
                note=note,
                idempotency_key=idempotency_key,
            )
        return CouponVerified(use=CouponTillUse.from_row(row))

    @strawberry.mutation(
        description="Take a use at a till back, within 24 hours; the coupon is good again. Refusals: "
        "`COUPON_TILL_USE_NOT_FOUND`, `PROGRAMME_INVALID`, `COUPON_TILL_USE_FINAL`, `KEY_REUSED`.",
        extensions=[Needs(Right.COUPON_TILL_REVERSE)],
    )
    async def coupon_till_reverse(
        self,
        info: Info,
        use_id: Annotated[UUID, strawberry.argument(description="The use.")],
        reason: Annotated[str, strawberry.argument(description="Why, for the audit log; 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> CouponTillReverseResult:
        with api_words():
            row = await verbs.reverse(
                info.context.deps,
                operator_id=require_right(info, Right.COUPON_TILL_REVERSE).subject_id,
                use_id=use_id,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        return CouponVerified(use=CouponTillUse.from_row(row))
