"""Bulk grants of coupons 批量发券."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons.coupon import GrantState
from loyalty.people.rights import Right
from models.coupons.coupon import CouponGrant as CouponGrantRow
from resolvers.coupons import coupon_grant as grant_verbs
from schema.catalogue.catalogue import Key
from schema.context import Info
from schema.coupons.coupon_terms import named_as_here
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.programme import ProgrammeInvalidRefusal
from schema.refusal import SimpleRefusal

describe(
    GrantState,
    "How a bulk grant stands.",
    {
        GrantState.RUNNING: "It goes on, step by step.",
        GrantState.DONE: "Everybody it was meant for has been gone through.",
        GrantState.STOPPED: "An operator stopped it; what was granted stays good.",
        GrantState.EXHAUSTED: "The template gives out no more: its quota, its time or its state ended it.",
    },
)


@strawberry.type(description="A template's coupons for many members: a job that goes through them in steps.")
class CouponGrant:
    """A grant and its progress."""

    id: UUID = strawberry.field(description="Opaque id.")
    template_id: UUID = strawberry.field(description="The template.")
    state: GrantState = strawberry.field(description="How it stands.")
    reason: str = strawberry.field(description="Why, 1 to 200 characters.")
    tier_codes: list[str] = strawberry.field(description="Only members of these own tiers; empty: no matter which.")
    total: int = strawberry.field(description="Members it was meant for when it was started.")
    granted_count: int = strawberry.field(description="Members who got a coupon so far.")
    skipped_count: int = strawberry.field(description="Members left out so far: they have as many as they may.")
    started_at: datetime = strawberry.field(description="When it was started.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null while it runs.")
    started_by_id: UUID = strawberry.field(description="The operator who started it.")

    @classmethod
    def from_row(cls, row: CouponGrantRow) -> "CouponGrant":
        """The stored grant."""
        return cls(
            id=row.id,
            template_id=row.template_id,
            state=GrantState(row.state),
            reason=row.reason,
            tier_codes=list(row.audience["tier_codes"]),
            total=row.total,
            granted_count=row.granted_count,
            skipped_count=row.skipped_count,
            started_at=row.started_at,
            finished_at=row.finished_at,
            started_by_id=row.started_by_id,
        )


@strawberry.input(description="Whom to grant a coupon each: these members, those of these tiers, or everybody.")
class CouponGrantStartInput:
    """The audience."""

    template_id: UUID = strawberry.field(description="The template, which is published and within its time.")
    member_ids: list[UUID] = strawberry.field(default_factory=list, description="At most 500 members; not with tiers.")
    tier_codes: list[str] = strawberry.field(default_factory=list, description="Own tiers; not with members.")
    reason: str = strawberry.field(description="Why, for the audit log; 1 to 200 characters.")


@strawberry.type(description="The bulk grant as it stands.")
class CouponGrantChanged:
    """Success of couponGrantStart and couponGrantStop."""

    grant: CouponGrant = strawberry.field(description="The grant as it is now.")


CouponGrantResult = Annotated[
    CouponGrantChanged | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponGrantResult", description="The grant, or why not."),
]


def coupon_granter(info: Info) -> UUID:
    """The id of the operator who gives or takes coupons."""
    return require_right(info, Right.COUPON_GRANT).subject_id


@strawberry.type
class OperatorQuery:
    """Grants and their progress."""

    @strawberry.field(description="Every bulk grant, newest first.", extensions=[Needs(Right.COUPON_READ)])
    async def coupon_grants(self, info: Info, first: First = 20, after: After = None) -> Connection[CouponGrant]:
        found = await grant_verbs.grants(info.context.deps, page=page(grant_verbs.NEWEST, first, after))
        return connection(found, CouponGrant.from_row)

    @strawberry.field(
        description="One bulk grant, for its progress; null if there is none.", extensions=[Needs(Right.COUPON_READ)]
    )
    async def coupon_grant(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The grant.")]
    ) -> CouponGrant | None:
        row = await grant_verbs.one(info.context.deps, id)
        return CouponGrant.from_row(row) if row else None


@strawberry.type
class OperatorMutation:
    """Granting."""

    @strawberry.mutation(
        description="Start granting one coupon each to these members, to those of these tiers, or to everybody who has "
        "joined. It goes through the template's quota in steps, and leaves out who has as many as allowed.",
        extensions=[Needs(Right.COUPON_GRANT)],
    )
    async def coupon_grant_start(
        self,
        info: Info,
        input: Annotated[CouponGrantStartInput, strawberry.argument(description="What, to whom and why.")],
        idempotency_key: Key,
    ) -> CouponGrantResult:
        with named_as_here():
            row = await grant_verbs.start(
                info.context.deps,
                operator_id=coupon_granter(info),
                template_id=input.template_id,
                member_ids=input.member_ids,
                tier_codes=input.tier_codes,
                reason=input.reason,
                idempotency_key=idempotency_key,
            )
        return CouponGrantChanged(grant=CouponGrant.from_row(row))

    @strawberry.mutation(
        description="Stop a bulk grant; one that has ended stays as it is. What was granted stays good.",
        extensions=[Needs(Right.COUPON_GRANT)],
    )
    async def coupon_grant_stop(
        self,
        info: Info,
        id: Annotated[UUID, strawberry.argument(description="The grant.")],
        idempotency_key: Key,
    ) -> CouponGrantResult:
        row = await grant_verbs.stop(
            info.context.deps, operator_id=coupon_granter(info), grant_id=id, idempotency_key=idempotency_key
        )
        return CouponGrantChanged(grant=CouponGrant.from_row(row))
