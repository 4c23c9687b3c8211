"""Coupons 优惠券 as operators keep them: templates with their terms and quotas, codes, grants, and members' coupons."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty import coupon as rule
from loyalty.coupon import CouponKind, GrantState, Quota, TemplateState
from loyalty.programme import ProgrammeInvalid
from loyalty.rights import Right
from models.coupon import Coupon as CouponRow
from models.coupon import CouponCode as CouponCodeRow
from models.coupon import CouponCodeBatch as CouponCodeBatchRow
from models.coupon import CouponGrant as CouponGrantRow
from models.coupon import CouponTemplate as CouponTemplateRow
from models.coupon import CouponTemplateVersion as CouponTemplateVersionRow
from resolvers import coupon as member_verbs
from resolvers import coupon_grant as grant_verbs
from resolvers import coupon_template as verbs
from resolvers.coupon_template import NewTemplate, TemplateChanges
from schema.catalogue import CatalogueInvalidRefusal, Key
from schema.context import Info
from schema.coupon import Coupon, CouponStateFilter, CouponTermsView
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.programme import ProgrammeInvalidRefusal, definition_of, in_api_words
from schema.refusal import Refusal, SimpleRefusal, refusal_type
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

# Templates


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
            terms=CouponTermsView.from_rule(rule.CouponTerms.parse(row.definition)),
            made_at=row.made_at,
            made_by_id=row.made_by_id,
        )


@strawberry.input(description="Which goods a coupon is for. Without categories and products: all. Exclusions win.")
class CouponScopeInput:
    """Four lists of at most 200 ids each."""

    category_ids: list[UUID] | None = strawberry.field(default=None, description="These, with those under them.")
    product_ids: list[UUID] | None = strawberry.field(default=None, description="These products.")
    excluded_category_ids: list[UUID] | None = strawberry.field(
        default=None, description="Not these categories, nor those under them."
    )
    excluded_product_ids: list[UUID] | None = strawberry.field(default=None, description="Not these products.")


@strawberry.input(description="What the coupons of a template do. A whole version: what is left out takes its default.")
class CouponTermsInput:
    """The terms."""

    kind: CouponKind = strawberry.field(description="What they take off. It stays what it is.")
    amount: Fen | None = strawberry.field(
        default=None, description="The face of an amount coupon in fen, 1 to 1,000,000,000; required there."
    )
    discount_bp: int | None = strawberry.field(
        default=None, description="The part that a percent coupon takes off, 1 to 10,000 in 1/10,000; required there."
    )
    cap: Fen | None = strawberry.field(
        default=None, description="The most that a percent or exchange coupon takes off, in fen; no cap unless given."
    )
    threshold: Fen = strawberry.field(
        default=Fen(0), description="The goods must cost at least this much before coupons, in fen; 0 for none."
    )
    scope: CouponScopeInput | None = strawberry.field(default=None, description="Which goods; all unless given.")
    valid_from: date | None = strawberry.field(default=None, description="First shop day; needs validUntil.")
    valid_until: date | None = strawberry.field(default=None, description="Last shop day of fixed days.")
    valid_days: int | None = strawberry.field(
        default=None, description="Whole shop days after the claim, 1 to 3,650; required unless days are fixed."
    )
    delay_days: int | None = strawberry.field(
        default=None, description="Days after the claim until it can be used, 0 to 365; 0 unless given."
    )
    group: str | None = strawberry.field(
        default=None, description="A group, 1 to 40 characters a-z, 0-9 and `_`; `standard` unless given."
    )
    combines_with: list[str] | None = strawberry.field(
        default=None, description="Groups whose coupons it goes with, if those name its group too; none unless given."
    )
    exclusive: bool = strawberry.field(default=False, description="Whether it goes with no other coupon.")
    max_per_order: int = strawberry.field(default=1, description="Coupons of it on one order, 1 to 5.")
    member_limit: int | None = strawberry.field(
        default=None, description="Coupons a member may have in all, 1 to 1,000,000; no limit unless given."
    )
    member_daily_limit: int | None = strawberry.field(
        default=None, description="Coupons a member may have a shop day, 1 to 1,000,000; no limit unless given."
    )
    return_grace_days: int = strawberry.field(
        default=7, description="Days for which it is good again if it ended while an order had it, 0 to 365."
    )

    def to_definition(self) -> dict[str, object]:
        """What the rule parses, every field named so that a change takes what was left out away."""
        given = definition_of(self)
        for name in ("amount", "cap", "threshold"):
            given[f"{name}_fen"] = given.pop(name, None)
        return {**dict.fromkeys(_TERMS), **given}


_TERMS = (
    "scope",
    "discount_bp",
    "valid_from",
    "valid_until",
    "valid_days",
    "delay_days",
    "group",
    "combines_with",
    "member_limit",
    "member_daily_limit",
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
        changes: TemplateChanges = {}
        if self.title:
            changes["title"] = self.title.value
        if self.description:
            changes["description"] = self.description.value
        if self.claimable:
            changes["claimable"] = self.claimable.value
        if self.opens_at:
            changes["opens_at"] = self.opens_at.value
        if self.closes_at:
            changes["closes_at"] = self.closes_at.value
        if self.terms:
            changes["terms"] = self.terms.value.to_definition()
        quota: dict[str, int | None] = {}
        if self.total_limit:
            quota["total_limit"] = self.total_limit.value
        if self.daily_limit:
            quota["daily_limit"] = self.daily_limit.value
        if self.budget:
            quota["budget_fen"] = self.budget.value
        if quota:
            changes["quota"] = quota
        return changes


# Codes and grants


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


@strawberry.input(description="A batch of codes to be made.")
class CouponCodesMakeInput:
    """How many, of what."""

    template_id: UUID = strawberry.field(description="The template whose coupons they give.")
    title: str = strawberry.field(description="What it is made for, 1 to 60 characters.")
    size: int = strawberry.field(description="How many codes, 1 to 5,000.")
    closes_at: datetime | None = strawberry.field(default=None, description="Redeemed until before then; no end else.")


@strawberry.input(description="Whom to grant a coupon each: these members, those of these tiers, or everybody.")
class CouponGrantStartInput:
    """The audience."""

    template_id: UUID = strawberry.field(description="The template, which is published and within its time.")
    member_ids: list[UUID] = strawberry.field(default_factory=list, description="At most 500 members; not with tiers.")
    tier_codes: list[str] = strawberry.field(default_factory=list, description="Own tiers; not with members.")
    reason: str = strawberry.field(description="Why, for the audit log; 1 to 200 characters.")


@strawberry.type(name="Coupon", description="A member's coupon.")
class OperatorCoupon(Coupon):
    """A coupon with whose it is."""

    member_id: UUID = strawberry.field(description="The member whose it is.")

    @classmethod
    def from_row(cls, row: CouponRow) -> "OperatorCoupon":
        """The stored coupon."""
        shown = Coupon.from_row(row)
        return cls(**vars(shown), member_id=row.member_id)


# Results


@refusal_type(rule.CouponStateRefused)
@strawberry.type(
    name="CouponStateRefused", description="Not possible in the coupon's state. Code `COUPON_STATE_REFUSED`."
)
class CouponStateRefusal(Refusal):
    """The wrong state."""

    state: str = strawberry.field(description="The coupon's state, in lower case.")


@strawberry.type(description="The template was made, as a draft.")
class CouponTemplateCreated:
    """The new template."""

    template: CouponTemplate = strawberry.field(description="The template.")


@strawberry.type(description="The template is as asked for.")
class CouponTemplateChanged:
    """Success of couponTemplateChange, couponTemplatePublish and couponTemplatePause."""

    template: CouponTemplate = strawberry.field(description="The template as it is now.")


@strawberry.type(description="The codes were made.")
class CouponCodesMade:
    """The new batch."""

    batch: CouponCodeBatch = strawberry.field(description="The batch; its codes are in `couponCodes`.")


@strawberry.type(description="The bulk grant as it stands.")
class CouponGrantChanged:
    """Success of couponGrantStart and couponGrantStop."""

    grant: CouponGrant = strawberry.field(description="The grant as it is now.")


@strawberry.type(description="The coupon was taken away.")
class CouponVoided:
    """Success of couponVoid."""

    coupon: OperatorCoupon = strawberry.field(description="The coupon as it is now.")


CouponTemplateCreateResult = Annotated[
    CouponTemplateCreated | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTemplateCreateResult", description="The template was made, or why not."),
]
CouponTemplateChangeResult = Annotated[
    CouponTemplateChanged | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponTemplateChangeResult", description="The template was changed, or why not."),
]
CouponCodesMakeResult = Annotated[
    CouponCodesMade | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponCodesMakeResult", description="The codes were made, or why not."),
]
CouponGrantResult = Annotated[
    CouponGrantChanged | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponGrantResult", description="The grant, or why not."),
]
CouponVoidResult = Annotated[
    CouponVoided | CouponStateRefusal | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("CouponVoidResult", description="The coupon was taken away, or why not."),
]

TemplateId = Annotated[UUID, strawberry.argument(description="The template.")]


_TOP = frozenset({"code", "total_limit", "daily_limit", "opens_at", "closes_at", "title", "size", "reason"})
_MONEY = {
    "amount_fen": "terms.amount",
    "cap_fen": "terms.cap",
    "threshold_fen": "terms.threshold",
    "budget_fen": "budget",
}


@contextmanager
def _named_as_here() -> Iterator[None]:
    """The terms are an input of their own here, and money has no unit in its name."""
    try:
        yield
    except ProgrammeInvalid as refusal:
        named = str(refusal.data["field"])
        if named in _TOP | {"member_ids", "tier_codes"} or named in _MONEY:
            raise in_api_words(refusal, _MONEY) from None
        raise in_api_words(ProgrammeInvalid(**{**refusal.data, "field": f"terms.{named}"})) from None


def _writer(info: Info) -> UUID:
    return require_right(info, Right.COUPON_WRITE).subject_id


def _granter(info: Info) -> UUID:
    return require_right(info, Right.COUPON_GRANT).subject_id


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
        with _named_as_here():
            row = await verbs.create(
                info.context.deps,
                operator_id=_writer(info),
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
        with _named_as_here():
            row = await verbs.change(
                info.context.deps,
                operator_id=_writer(info),
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
            info.context.deps, operator_id=_writer(info), template_id=id, idempotency_key=idempotency_key
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
            info.context.deps, operator_id=_writer(info), template_id=id, idempotency_key=idempotency_key
        )
        return CouponTemplateChanged(template=CouponTemplate.from_row(row))

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
        with _named_as_here():
            row = await verbs.make_codes(
                info.context.deps,
                operator_id=_writer(info),
                template_id=input.template_id,
                title=input.title,
                size=input.size,
                closes_at=input.closes_at,
                idempotency_key=idempotency_key,
            )
        return CouponCodesMade(batch=CouponCodeBatch.from_row(row))

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
        with _named_as_here():
            row = await grant_verbs.start(
                info.context.deps,
                operator_id=_granter(info),
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
            info.context.deps, operator_id=_granter(info), grant_id=id, idempotency_key=idempotency_key
        )
        return CouponGrantChanged(grant=CouponGrant.from_row(row))

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
        with _named_as_here():
            row = await verbs.void(
                info.context.deps,
                operator_id=_granter(info),
                coupon_id=id,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        return CouponVoided(coupon=OperatorCoupon.from_row(row))
