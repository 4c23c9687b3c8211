"""Promotions 促销 as operators keep them: their terms, limits, versions, and what is left of them."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.prices.promotion import PromotionQuota, PromotionState
from loyalty.prices.promotion_terms import PromotionKind, PromotionTerms
from models.prices.promotion import Promotion as PromotionRow
from models.prices.promotion import PromotionVersion as PromotionVersionRow
from resolvers.prices import promotion as verbs
from resolvers.prices.promotion import NewPromotion, PromotionChanges
from schema.arguments import sent
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.prices.promotion_terms import PromotionTermsInput, PromotionTermsView, named_as_here
from schema.programme import ProgrammeInvalidRefusal
from schema.refusal import SimpleRefusal
from schema.scalars import Fen

describe(
    PromotionState,
    "Whether a promotion runs.",
    {
        PromotionState.DRAFT: "It never ran.",
        PromotionState.PUBLISHED: "It runs in its window.",
        PromotionState.STOPPED: "It runs no more.",
    },
)

PromotionId = Annotated[UUID, strawberry.argument(description="The promotion.")]


@strawberry.type(name="PromotionQuota", description="How often a promotion may be used, and was.")
class PromotionQuotaView:
    """Limits and what they count."""

    total_limit: int | None = strawberry.field(description="Uses in all; null without a limit.")
    budget: Fen | None = strawberry.field(description="What it may cost in all, in fen; null without a budget.")
    used_count: int = strawberry.field(description="Uses that orders and kept prices hold or have spent.")
    spent: Fen = strawberry.field(description="What these cost, in fen.")


@strawberry.type(description="A price rule that runs for a time.")
class Promotion:
    """A promotion as operators see it."""

    id: UUID = strawberry.field(description="Opaque id.")
    code: str = strawberry.field(description="How explanations name it, 1 to 40 characters.")
    kind: PromotionKind = strawberry.field(description="What it does.")
    state: PromotionState = strawberry.field(description="Whether it runs.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters, as members read it.")
    priority: int = strawberry.field(description="Of ways that cost the same the higher is taken, 0 to 1,000.")
    version: int = strawberry.field(description="The number of the version in force, from 1.")
    opens_at: datetime | None = strawberry.field(description="It runs from this instant on; null: at once.")
    closes_at: datetime | None = strawberry.field(description="It runs until before this instant; null: no end.")
    published_at: datetime | None = strawberry.field(description="When it was published; null for a draft.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @strawberry.field(description="What it does, now.")
    async def terms(self, info: Info) -> PromotionTermsView:
        """Loaded for all the promotions of the answer at once."""
        row = await info.context.loaders.load(verbs.current_versions, self.id)
        assert row is not None, "a promotion has terms from its first day"
        return PromotionTermsView.from_rule(PromotionTerms.parse(row.definition))

    @strawberry.field(
        description="The tiers it is for that are in no table, in force or published for later, because one without "
        "them was published: it is for nobody of them."
    )
    async def missing_tier_codes(self, info: Info) -> list[str]:
        """Looked for at once for all the promotions of the answer."""
        return list(await info.context.loaders.load(verbs.missing_tiers, self.id) or ())

    @strawberry.field(description="How often it may be used, and was.")
    async def quota(self, info: Info) -> PromotionQuotaView:
        """Loaded for all the promotions of the answer at once."""
        row = await info.context.loaders.load(verbs.quotas, self.id)
        assert row is not None, "a promotion has a quota from its first day"
        return PromotionQuotaView(
            total_limit=row.total_limit,
            budget=None if row.budget_fen is None else Fen(row.budget_fen),
            used_count=row.used_count,
            spent=Fen(row.spent_fen),
        )

    @classmethod
    def from_row(cls, row: PromotionRow) -> "Promotion":
        """The stored promotion."""
        return cls(
            id=row.id,
            code=row.code,
            kind=PromotionKind(row.kind),
            state=PromotionState(row.state),
            title=row.title,
            priority=row.priority,
            version=row.version,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            published_at=row.published_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@strawberry.type(description="One version of a promotion.")
class PromotionVersion:
    """What it said at a time."""

    id: UUID = strawberry.field(description="Opaque id of the version.")
    version: int = strawberry.field(description="Counts from 1 within the promotion.")
    title: str = strawberry.field(description="Its name then.")
    priority: int = strawberry.field(description="Its priority then.")
    opens_at: datetime | None = strawberry.field(description="Its start then.")
    closes_at: datetime | None = strawberry.field(description="Its end then.")
    terms: PromotionTermsView = strawberry.field(description="The terms.")
    made_at: datetime = strawberry.field(description="When it was made.")
    made_by_id: UUID = strawberry.field(description="The operator who made it.")

    @classmethod
    def from_row(cls, row: PromotionVersionRow) -> "PromotionVersion":
        """The stored version."""
        return cls(
            id=row.id,
            version=row.version,
            title=row.title,
            priority=row.priority,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            terms=PromotionTermsView.from_rule(PromotionTerms.parse(row.definition)),
            made_at=row.made_at,
            made_by_id=row.made_by_id,
        )


@strawberry.input(description="A promotion to be made, as a draft.")
class PromotionCreateInput:
    """What a promotion has."""

    code: str = strawberry.field(description="1 to 40 characters a-z, 0-9 and `_`, a letter first; once.")
    title: str = strawberry.field(description="Its name as members read it, 1 to 60 characters.")
    priority: int = strawberry.field(
        default=0, description="Of ways that cost the same the higher is taken, 0 to 1,000."
    )
    terms: PromotionTermsInput = strawberry.field(description="What it does.")
    total_limit: int | None = strawberry.field(
        default=None, description="Uses in all, 0 to 10,000,000; no limit unless given."
    )
    budget: Fen | None = strawberry.field(
        default=None, description="What it may cost in all, in fen; no budget unless given."
    )
    opens_at: datetime | None = strawberry.field(default=None, description="It runs from then on; at once else.")
    closes_at: datetime | None = strawberry.field(
        default=None, description="It runs until before then, later than `opensAt`; without end unless given."
    )

    def to_new(self) -> NewPromotion:
        """What the verb takes."""
        return NewPromotion(
            code=self.code,
            title=self.title,
            priority=self.priority,
            terms=self.terms.to_definition(),
            quota=PromotionQuota(total_limit=self.total_limit, budget_fen=self.budget),
            opens_at=self.opens_at,
            closes_at=self.closes_at,
        )


@strawberry.input(description="What is to change of a promotion. A field that is left out stays as it is.")
class PromotionChangeInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The promotion.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    priority: strawberry.Maybe[int] = strawberry.field(description="0 to 1,000.")
    terms: strawberry.Maybe[PromotionTermsInput] = strawberry.field(description="All the terms, of the same kind.")
    total_limit: strawberry.Maybe[int | None] = strawberry.field(
        description="Uses in all, 0 to 10,000,000; null takes the limit away."
    )
    budget: strawberry.Maybe[Fen | None] = strawberry.field(
        description="What it may cost in all, in fen; null takes the budget away."
    )
    opens_at: strawberry.Maybe[datetime | None] = strawberry.field(description="It runs from then on; null: at once.")
    closes_at: strawberry.Maybe[datetime | None] = strawberry.field(
        description="It runs until before then, later than `opensAt`; null: without end."
    )

    def to_changes(self) -> PromotionChanges:
        """What the verb takes."""
        changes = cast("PromotionChanges", sent(self, "title", "priority", "opens_at", "closes_at"))
        if self.terms:
            changes["terms"] = self.terms.value.to_definition()
        quota = sent(self, "total_limit", budget="budget_fen")
        if quota:
            changes["quota"] = quota
        return changes


@strawberry.type(description="The promotion was made, as a draft.")
class PromotionCreated:
    """The new promotion."""

    promotion: Promotion = strawberry.field(description="The promotion.")


@strawberry.type(description="The promotion is as asked for.")
class PromotionChanged:
    """Success of promotionChange, promotionPublish and promotionStop."""

    promotion: Promotion = strawberry.field(description="The promotion as it is now.")


PromotionCreateResult = Annotated[
    PromotionCreated | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("PromotionCreateResult", description="The promotion was made, or why not."),
]
PromotionChangeResult = Annotated[
    PromotionChanged | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("PromotionChangeResult", description="The promotion was changed, or why not."),
]


def _writer(info: Info) -> UUID:
    return require_right(info, Right.PROMOTION_WRITE).subject_id


@strawberry.type
class OperatorQuery:
    """Promotions and their versions."""

    @strawberry.field(description="Every promotion, newest first.", extensions=[Needs(Right.PROMOTION_READ)])
    async def promotions(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        state: Annotated[PromotionState | None, strawberry.argument(description="Only those in this state.")] = None,
        kind: Annotated[PromotionKind | None, strawberry.argument(description="Only those of this kind.")] = None,
    ) -> Connection[Promotion]:
        found = await verbs.promotions(info.context.deps, page=page(verbs.MADE, first, after), state=state, kind=kind)
        return connection(found, Promotion.from_row)

    @strawberry.field(description="One promotion; null if there is none.", extensions=[Needs(Right.PROMOTION_READ)])
    async def promotion(self, info: Info, id: PromotionId) -> Promotion | None:
        row = await verbs.one(info.context.deps, id)
        return Promotion.from_row(row) if row else None

    @strawberry.field(
        description="The versions of a promotion, newest first.", extensions=[Needs(Right.PROMOTION_READ)]
    )
    async def promotion_versions(
        self, info: Info, promotion_id: PromotionId, first: First = 20, after: After = None
    ) -> Connection[PromotionVersion]:
        found = await verbs.versions(info.context.deps, promotion_id, page=page(verbs.VERSIONS, first, after))
        return connection(found, PromotionVersion.from_row)


@strawberry.type
class OperatorMutation:
    """What operators do with promotions."""

    @strawberry.mutation(description="Make a promotion, as a draft.", extensions=[Needs(Right.PROMOTION_WRITE)])
    async def promotion_create(
        self,
        info: Info,
        input: Annotated[PromotionCreateInput, strawberry.argument(description="The promotion.")],
        idempotency_key: Key,
    ) -> PromotionCreateResult:
        with named_as_here():
            row = await verbs.create(
                info.context.deps,
                operator_id=_writer(info),
                promotion=input.to_new(),
                idempotency_key=idempotency_key,
            )
        return PromotionCreated(promotion=Promotion.from_row(row))

    @strawberry.mutation(
        description="Change a promotion. Anything but its limits is a new version, for orders priced after it.",
        extensions=[Needs(Right.PROMOTION_WRITE)],
    )
    async def promotion_change(
        self,
        info: Info,
        input: Annotated[PromotionChangeInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> PromotionChangeResult:
        with named_as_here():
            row = await verbs.change(
                info.context.deps,
                operator_id=_writer(info),
                promotion_id=input.id,
                changes=input.to_changes(),
                idempotency_key=idempotency_key,
            )
        return PromotionChanged(promotion=Promotion.from_row(row))

    @strawberry.mutation(
        description="Let a promotion run in its window. At most 200 are published at a time that have not ended, of "
        "BUNDLE, PIECES and AMOUNT_OFF together 8.",
        extensions=[Needs(Right.PROMOTION_WRITE)],
    )
    async def promotion_publish(self, info: Info, id: PromotionId, idempotency_key: Key) -> PromotionChangeResult:
        row = await verbs.publish(
            info.context.deps, operator_id=_writer(info), promotion_id=id, idempotency_key=idempotency_key
        )
        return PromotionChanged(promotion=Promotion.from_row(row))

    @strawberry.mutation(
        description="Let a promotion run no more, for good. Orders and kept prices keep what they have of it.",
        extensions=[Needs(Right.PROMOTION_WRITE)],
    )
    async def promotion_stop(self, info: Info, id: PromotionId, idempotency_key: Key) -> PromotionChangeResult:
        row = await verbs.stop(
            info.context.deps, operator_id=_writer(info), promotion_id=id, idempotency_key=idempotency_key
        )
        return PromotionChanged(promotion=Promotion.from_row(row))
