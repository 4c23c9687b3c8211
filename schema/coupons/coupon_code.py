"""Codes 兑换码 as operators make and see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from models.coupons.coupon import CouponCode as CouponCodeRow
from models.coupons.coupon import CouponCodeBatch as CouponCodeBatchRow
from resolvers.coupons import coupon_template as verbs
from schema.catalogue.catalogue import Key
from schema.context import Info
from schema.coupons.coupon_terms import TemplateId, coupon_writer, named_as_here
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.programme import ProgrammeInvalidRefusal
from schema.refusal import SimpleRefusal


@strawberry.type(description="Codes that were made together, each of which gives one coupon to one member.")
class CouponCodeBatch:
    """A batch."""

    id: UUID = strawberry.field(description="Opaque id.")
    title: str = strawberry.field(description="What it was made for, 1 to 60 characters.")
    size: int = strawberry.field(description="How many codes, 1 to 5,000.")
    closes_at: datetime | None = strawberry.field(description="Redeemed until before this instant; null: no end.")
    made_at: datetime = strawberry.field(description="When it was made.")
    made_by_id: UUID = strawberry.field(description="The operator who made it.")

    @strawberry.field(description="How many of its codes were redeemed.")
    async def redeemed_count(self, info: Info) -> int:
        """Loaded for all the batches of the answer at once."""
        return await info.context.loaders.load(verbs.redeemed_counts, self.id) or 0

    @classmethod
    def from_row(cls, row: CouponCodeBatchRow) -> "CouponCodeBatch":
        """The stored batch."""
        return cls(
            id=row.id,
            title=row.title,
            size=row.size,
            closes_at=row.closes_at,
            made_at=row.made_at,
            made_by_id=row.made_by_id,
        )


@strawberry.type(description="A code. Whoever types it first has its coupon: treat it like one.")
class CouponCode:
    """One code of a batch."""

    id: UUID = strawberry.field(description="Opaque id.")
    code: str = strawberry.field(description="12 letters and digits.")
    coupon_id: UUID | None = strawberry.field(description="The coupon that it gave; null until it is redeemed.")

    @classmethod
    def from_row(cls, row: CouponCodeRow) -> "CouponCode":
        """The stored code."""
        return cls(id=row.id, code=row.code, coupon_id=row.coupon_id)


@strawberry.input(description="A batch of codes to be made.")
class CouponCodesMakeInput:
    """How many, of what."""

    template_id: UUID = strawberry.field(description="The template whose coupons they give.")
    title: str = strawberry.field(description="What it is made for, 1 to 60 characters.")
    size: int = strawberry.field(description="How many codes, 1 to 5,000.")
    closes_at: datetime | None = strawberry.field(default=None, description="Redeemed until before then; no end else.")


@strawberry.type(description="The codes were made.")
class CouponCodesMade:
    """The new batch."""

    batch: CouponCodeBatch = strawberry.field(description="The batch; its codes are in `couponCodes`.")


CouponCodesMakeResult = Annotated[
    CouponCodesMade | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponCodesMakeResult", description="The codes were made, or why not."),
]


@strawberry.type
class OperatorQuery:
    """Batches and their codes."""

    @strawberry.field(
        description="The batches of codes of a template, newest first.", extensions=[Needs(Right.COUPON_READ)]
    )
    async def coupon_code_batches(
        self, info: Info, template_id: TemplateId, first: First = 20, after: After = None
    ) -> Connection[CouponCodeBatch]:
        found = await verbs.batches(info.context.deps, template_id, page=page(verbs.BATCHES, first, after))
        return connection(found, CouponCodeBatch.from_row)

    @strawberry.field(
        description="The codes of a batch. They are worth their coupons, so only who makes codes sees them.",
        extensions=[Needs(Right.COUPON_WRITE)],
    )
    async def coupon_codes(
        self,
        info: Info,
        batch_id: Annotated[UUID, strawberry.argument(description="The batch.")],
        first: First = 20,
        after: After = None,
    ) -> Connection[CouponCode]:
        found = await verbs.codes(info.context.deps, batch_id, page=page(verbs.CODES, first, after))
        return connection(found, CouponCode.from_row)


@strawberry.type
class OperatorMutation:
    """Making codes."""

    @strawberry.mutation(
        description="Make a batch of codes, each of which gives one coupon to one member, within the template's quota.",
        extensions=[Needs(Right.COUPON_WRITE)],
    )
    async def coupon_codes_make(
        self,
        info: Info,
        input: Annotated[CouponCodesMakeInput, strawberry.argument(description="The batch.")],
        idempotency_key: Key,
    ) -> CouponCodesMakeResult:
        with named_as_here():
            row = await verbs.make_codes(
                info.context.deps,
                operator_id=coupon_writer(info),
                template_id=input.template_id,
                title=input.title,
                size=input.size,
                closes_at=input.closes_at,
                idempotency_key=idempotency_key,
            )
        return CouponCodesMade(batch=CouponCodeBatch.from_row(row))
