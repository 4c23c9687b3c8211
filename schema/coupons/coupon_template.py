"""Coupons 优惠券 as operators keep them: templates with their terms and quotas, codes, grants, and members' coupons."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.coupons.coupon import TemplateState
from loyalty.coupons.coupon_issue import Quota
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.people.rights import Right
from models.coupons.coupon import CouponTemplate as CouponTemplateRow
from models.coupons.coupon import CouponTemplateVersion as CouponTemplateVersionRow
from resolvers.coupons import coupon as member_verbs
from resolvers.coupons import coupon_template as verbs
from resolvers.coupons.coupon_template import NewTemplate, TemplateChanges
from schema.arguments import sent
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key
from schema.context import Info
from schema.coupons.coupon_terms import CouponTermsInput, CouponTermsView, TemplateId, coupon_writer, named_as_here
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.programme import ProgrammeInvalidRefusal
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    TemplateState,
    "Whether a template gives coupons out.",
    {
        TemplateState.DRAFT: "Never published.",
        TemplateState.PUBLISHED: "It gives coupons out, within its time and quota.",
        TemplateState.PAUSED: "It gives out no more; what members have of it stays good.",
    },
)


@strawberry.type(description="How many coupons a template may give out, and gave.")
class CouponQuota:
    """Limits and what they count."""

    total_limit: int | None = strawberry.field(description="Coupons in all; null without a limit.")
    daily_limit: int | None = strawberry.field(description="Coupons a shop day; null without a limit.")
    budget: Fen | None = strawberry.field(
        description="What its coupons may cost at most together, in fen; null without a budget."
    )
    issued_count: int = strawberry.field(description="Coupons given out, whatever became of them.")
    committed: Fen = strawberry.field(
        description="What those that are neither expired nor taken away can cost at most, in fen."
    )


@strawberry.type(description="What its coupons do, and how many there are.")
class CouponTemplate:
    """A template as operators see it."""

    id: UUID = strawberry.field(description="Opaque id.")
    code: str = strawberry.field(description="How tiers, the points mall and explanations name it, 1 to 40 characters.")
    kind: CouponKind = strawberry.field(description="What its coupons take off.")
    state: TemplateState = strawberry.field(description="Whether it gives coupons out.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    description: str = strawberry.field(description="Plain text, at most 5,000 characters, or empty.")
    claimable: bool = strawberry.field(description="Whether members can claim it themselves.")
    version: int = strawberry.field(description="The number of the terms in force, from 1.")
    opens_at: datetime | None = strawberry.field(description="Given out from this instant on; null: at once.")
    closes_at: datetime | None = strawberry.field(description="Given out until before this instant; null: no end.")
    published_at: datetime | None = strawberry.field(description="When it was last published; null for a draft.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @strawberry.field(description="What its coupons do, now.")
    async def terms(self, info: Info) -> CouponTermsView:
        """Loaded for all the templates of the answer at once."""
        terms = await info.context.loaders.load(member_verbs.terms_in_force, self.id)
        assert terms is not None, "a template has terms from its first day"
        return CouponTermsView.from_rule(terms)

    @strawberry.field(description="How many coupons it may give out, and gave.")
    async def quota(self, info: Info) -> CouponQuota:
        """Loaded for all the templates of the answer at once."""
        row = await info.context.loaders.load(verbs.quotas, self.id)
        assert row is not None, "a template has a quota from its first day"
        return CouponQuota(
            total_limit=row.total_limit,
            daily_limit=row.daily_limit,
            budget=None if row.budget_fen is None else Fen(row.budget_fen),
            issued_count=row.issued_count,
            committed=Fen(row.committed_fen),
        )

    @classmethod
    def from_row(cls, row: CouponTemplateRow) -> "CouponTemplate":
        """The stored template."""
        return cls(
            id=row.id,
            code=row.code,
            kind=CouponKind(row.kind),
            state=TemplateState(row.state),
            title=row.title,
            description=row.description,
            claimable=row.claimable,
            version=row.version,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            published_at=row.published_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@strawberry.type(description="One version of a template's terms.")
class CouponTemplateVersion:
    """Terms with their number."""

    id: UUID = strawberry.field(description="Opaque id of the version.")
    version: int = strawberry.field(description="Counts from 1 within the template.")
    terms: CouponTermsView = strawberry.field(description="The terms.")
    made_at: datetime = strawberry.field(description="When they were made.")
    made_by_id: UUID = strawberry.field(description="The operator who made them.")

    @classmethod
    def from_row(cls, row: CouponTemplateVersionRow) -> "CouponTemplateVersion":
        """The stored version."""
        return cls(
            id=row.id,
            version=row.version,
            terms=CouponTermsView.from_rule(CouponTerms.parse(row.definition)),
            made_at=row.made_at,
            made_by_id=row.made_by_id,
        )


@strawberry.input(description="A template to be made, as a draft.")
class CouponTemplateCreateInput:
    """What a template has."""

    code: str = strawberry.field(
        description="How tiers and the points mall name it, 1 to 40 characters a-z, 0-9 and `_`, a letter first; once."
    )
    title: str = strawberry.field(description="1 to 60 characters.")
    description: str = strawberry.field(default="", description="Plain text, at most 5,000 characters.")
    claimable: bool = strawberry.field(default=True, description="Whether members can claim it themselves.")
    terms: CouponTermsInput = strawberry.field(description="What its coupons do.")
    total_limit: int | None = strawberry.field(
        default=None, description="Coupons in all, 0 to 10,000,000; no limit unless given."
    )
    daily_limit: int | None = strawberry.field(
        default=None, description="Coupons a shop day, 0 to 10,000,000; no limit unless given."
    )
    budget: Fen | None = strawberry.field(
        default=None, description="What they may cost at most together, in fen; no budget unless given."
    )
    opens_at: datetime | None = strawberry.field(default=None, description="Given out from then on; at once else.")
    closes_at: datetime | None = strawberry.field(
        default=None, description="Given out until before then, later than `opensAt`; without end unless given."
    )

    def to_new(self) -> NewTemplate:
        """What the verb takes."""
        return NewTemplate(
            code=self.code,
            title=self.title,
            description=self.description,
            claimable=self.claimable,
            terms=self.terms.to_definition(),
            quota=Quota(total_limit=self.total_limit, daily_limit=self.daily_limit, budget_fen=self.budget),
            opens_at=self.opens_at,
            closes_at=self.closes_at,
        )


@strawberry.input(description="What is to change of a template. A field that is left out stays as it is.")
class CouponTemplateChangeInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The template.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    description: strawberry.Maybe[str] = strawberry.field(description="Plain text, at most 5,000 characters.")
    claimable: strawberry.Maybe[bool] = strawberry.field(description="Whether members can claim it themselves.")
    terms: strawberry.Maybe[CouponTermsInput] = strawberry.field(
        description="All the terms, of the same kind: a new version for the coupons given out after it."
    )
    total_limit: strawberry.Maybe[int | None] = strawberry.field(
        description="Coupons in all, 0 to 10,000,000; null takes the limit away."
    )
    daily_limit: strawberry.Maybe[int | None] = strawberry.field(
        description="Coupons a shop day, 0 to 10,000,000; null takes the limit away."
    )
    budget: strawberry.Maybe[Fen | None] = strawberry.field(
        description="What they may cost at most together, in fen; null takes the budget away."
    )
    opens_at: strawberry.Maybe[datetime | None] = strawberry.field(description="Given out from then on; null: at once.")
    closes_at: strawberry.Maybe[datetime | None] = strawberry.field(
        description="Given out until before then, later than `opensAt`; null: without end."
    )

    def to_changes(self) -> TemplateChanges:
        """What the verb takes."""
        changes = cast("TemplateChanges", sent(self, "title", "description", "claimable", "opens_at", "closes_at"))
        if self.terms:
            changes["terms"] = self.terms.value.to_definition()
        quota = sent(self, "total_limit", "daily_limit", budget="budget_fen")
        if quota:
            changes["quota"] = quota
        return changes


@strawberry.type(description="The template was made, as a draft.")
class CouponTemplateCreated:
    """The new template."""

    template: CouponTemplate = strawberry.field(description="The template.")


@strawberry.type(description="The template is as asked for.")
class CouponTemplateChanged:
    """Success of couponTemplateChange, couponTemplatePublish and couponTemplatePause."""

    template: CouponTemplate = strawberry.field(description="The template as it is now.")


CouponTemplateCreateResult = Annotated[
    CouponTemplateCreated | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTemplateCreateResult", description="The template was made, or why not."),
]
CouponTemplateChangeResult = Annotated[
    CouponTemplateChanged | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTemplateChangeResult", description="The template was changed, or why not."),
]


@strawberry.type
class OperatorQuery:
    """Templates, codes, grants and members' coupons."""

    @strawberry.field(description="Every template, newest first.", extensions=[Needs(Right.COUPON_READ)])
    async def coupon_templates(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: Annotated[TemplateState | None, strawberry.argument(description="Only templates in this state.")] = None,
    ) -> Connection[CouponTemplate]:
        found = await verbs.templates(info.context.deps, page=page(verbs.MADE, first, after), state=state)
        return connection(found, CouponTemplate.from_row)

    @strawberry.field(description="One template; null if there is none.", extensions=[Needs(Right.COUPON_READ)])
    async def coupon_template(self, info: Info, id: TemplateId) -> CouponTemplate | None:
        row = await verbs.one(info.context.deps, id)
        return CouponTemplate.from_row(row) if row else None

    @strawberry.field(
        description="The versions of a template's terms, newest first.", extensions=[Needs(Right.COUPON_READ)]
    )
    async def coupon_template_versions(
        self, info: Info, template_id: TemplateId, first: First = 20, after: After = None
    ) -> Connection[CouponTemplateVersion]:
        found = await verbs.versions(info.context.deps, template_id, page=page(verbs.VERSIONS, first, after))
        return connection(found, CouponTemplateVersion.from_row)


@strawberry.type
class OperatorMutation:
    """What operators do with coupons."""

    @strawberry.mutation(
        description="Make a template, as a draft with its terms.", extensions=[Needs(Right.COUPON_WRITE)]
    )
    async def coupon_template_create(
        self,
        info: Info,
        input: Annotated[CouponTemplateCreateInput, strawberry.argument(description="The template.")],
        idempotency_key: Key,
    ) -> CouponTemplateCreateResult:
        with named_as_here():
            row = await verbs.create(
                info.context.deps,
                operator_id=coupon_writer(info),
                template=input.to_new(),
                idempotency_key=idempotency_key,
            )
        return CouponTemplateCreated(template=CouponTemplate.from_row(row))

    @strawberry.mutation(
        description="Change a template. Other terms are a new version, for the coupons given out after it.",
        extensions=[Needs(Right.COUPON_WRITE)],
    )
    async def coupon_template_change(
        self,
        info: Info,
        input: Annotated[CouponTemplateChangeInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> CouponTemplateChangeResult:
        with named_as_here():
            row = await verbs.change(
                info.context.deps,
                operator_id=coupon_writer(info),
                template_id=input.id,
                changes=input.to_changes(),
                idempotency_key=idempotency_key,
            )
        return CouponTemplateChanged(template=CouponTemplate.from_row(row))

    @strawberry.mutation(description="Let a template give coupons out.", extensions=[Needs(Right.COUPON_WRITE)])
    async def coupon_template_publish(
        self, info: Info, id: TemplateId, idempotency_key: Key
    ) -> CouponTemplateChangeResult:
        row = await verbs.publish(
            info.context.deps, operator_id=coupon_writer(info), template_id=id, idempotency_key=idempotency_key
        )
        return CouponTemplateChanged(template=CouponTemplate.from_row(row))

    @strawberry.mutation(
        description="Let a template give out no more; what members have of it stays good.",
        extensions=[Needs(Right.COUPON_WRITE)],
    )
    async def coupon_template_pause(
        self, info: Info, id: TemplateId, idempotency_key: Key
    ) -> CouponTemplateChangeResult:
        row = await verbs.pause(
            info.context.deps, operator_id=coupon_writer(info), template_id=id, idempotency_key=idempotency_key
        )
        return CouponTemplateChanged(template=CouponTemplate.from_row(row))
