"""The items of the points mall as operators make, change and count them."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.points import points_mall as rule
from loyalty.points.points_mall import MallItemKind, MallItemState
from models.points.points_mall import MallItem as MallItemRow
from models.points.points_mall import MallItemVersion as MallItemVersionRow
from resolvers.points import points_mall as verbs
from resolvers.points.points_mall import ItemChanges, NewItem
from schema.arguments import sent
from schema.catalogue.catalogue import CatalogueInvalidRefusal, Key, MediaUrlInvalidRefusal
from schema.catalogue.stock import StockMove
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_right
from schema.points.points_mall import ItemId, KindArgument, MallItemFacts, MallTerms, item_facts
from schema.programme import ProgrammeInvalidRefusal, api_words
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points

describe(
    MallItemState,
    "Whether an item is in the mall.",
    {
        MallItemState.DRAFT: "Never published.",
        MallItemState.PUBLISHED: "In the mall; exchanged within its time.",
        MallItemState.HIDDEN: "Taken out of the mall.",
    },
)


@strawberry.type(name="MallItem", description="Something that points buy.")
class OperatorMallItem(MallItemFacts):
    """An item as operators see it."""

    state: MallItemState = strawberry.field(description="Whether it is in the mall.")
    sku_id: UUID | None = strawberry.field(description="The SKU that goods are tied to and counted by.")
    published_at: datetime | None = strawberry.field(description="When it last came into the mall; null for a draft.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed; its stock does not count.")

    @classmethod
    def from_row(cls, row: MallItemRow) -> "OperatorMallItem":
        """The stored item."""
        return cls(
            **item_facts(row),
            state=MallItemState(row.state),
            sku_id=row.sku_id,
            published_at=row.published_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@strawberry.type(description="One version of an item's terms.")
class MallItemVersion:
    """Terms with their number."""

    id: UUID = strawberry.field(description="Opaque id of the version.")
    version: int = strawberry.field(description="Counts from 1 within the item; exchanges name it.")
    terms: MallTerms = strawberry.field(description="The terms.")
    made_at: datetime = strawberry.field(description="When they were made.")
    made_by_id: UUID = strawberry.field(description="The operator who made them.")

    @classmethod
    def from_row(cls, row: MallItemVersionRow) -> "MallItemVersion":
        """The stored version."""
        return cls(
            id=row.id,
            version=row.version,
            terms=MallTerms.from_rule(rule.MallItem.parse(row.definition)),
            made_at=row.made_at,
            made_by_id=row.made_by_id,
        )


@strawberry.type(description="One move of an item's own stock. The entries of an item add up to its `stockLeft`.")
class MallStockEntry(StockMove):
    """One line of the stock ledger of an item."""

    cause_id: UUID = strawberry.field(
        description="What moved it: the order, a late payment, the item when it was made, or the adjustment."
    )


@strawberry.input(description="Another limit for the members of a tier.")
class MallTierLimitInput:
    """One tier's limit."""

    tier_code: str = strawberry.field(description="A tier of the table; each once.")
    limit: int = strawberry.field(description="1 to 1,000,000 pieces for a member in all.")


@strawberry.input(description="An item to be made, as a draft.")
class MallItemCreateInput:
    """What an item has."""

    kind: MallItemKind = strawberry.field(description="What an exchange gives. It stays what it is.")
    title: str = strawberry.field(description="1 to 60 characters.")
    description: str = strawberry.field(
        default="", description="Plain text, at most 5,000 characters; empty unless given."
    )
    image_url: str | None = strawberry.field(
        default=None, description="An https address, at most 500 characters; none unless given."
    )
    points: Points = strawberry.field(description="Points for a piece, 1 to 100,000,000.")
    cash: Fen = strawberry.field(
        default=Fen(0), description="Money for a piece in fen, 0 to 1,000,000,000; 0 unless given, and for a charity."
    )
    target_code: str | None = strawberry.field(
        default=None,
        description="The coupon template, the tier or the charity, 1 to 40 characters a-z, 0-9 and `_`; not for goods.",
    )
    trial_days: int | None = strawberry.field(
        default=None, description="How long a tier trial lasts, 1 to 365 days; only for one."
    )
    member_limit: int | None = strawberry.field(
        default=None, description="Pieces a member may have in all, 1 to 1,000,000; nothing for no limit."
    )
    tier_codes: list[str] = strawberry.field(
        default_factory=list, description="Only these tiers of the table may have it; all unless given."
    )
    tier_limits: list[MallTierLimitInput] = strawberry.field(
        default_factory=list, description="Other limits for some tiers, among `tierCodes` if there are any; at most 20."
    )
    sku_id: UUID | None = strawberry.field(
        default=None, description="For goods: the SKU that they are and whose stock counts. It stays what it is."
    )
    stock: int | None = strawberry.field(
        default=None,
        description="Pieces of a stock of its own to start with, 0 to 10,000,000. Goods without a SKU need one; for "
        "other kinds, nothing means that nothing is counted.",
    )
    opens_at: datetime | None = strawberry.field(
        default=None, description="Exchanged from then on; at once if left out."
    )
    closes_at: datetime | None = strawberry.field(
        default=None, description="Exchanged until before then, later than `opensAt`; without end if left out."
    )

    def to_new(self) -> NewItem:
        """What the verb takes."""
        return NewItem(
            title=self.title,
            description=self.description,
            image_url=self.image_url or "",
            terms={
                "kind": self.kind.value,
                "points": self.points,
                "cash_fen": self.cash,
                "target_code": self.target_code,
                "trial_days": self.trial_days,
                "member_limit": self.member_limit,
                "tier_codes": self.tier_codes,
                "tier_limits": _tier_limits(self.tier_limits),
            },
            sku_id=self.sku_id,
            stock=self.stock,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
        )


@strawberry.input(description="What is to change of an item. A field that is left out stays as it is.")
class MallItemChangeInput:
    """Only what is sent changes."""

    id: UUID = strawberry.field(description="The item.")
    title: strawberry.Maybe[str] = strawberry.field(description="1 to 60 characters.")
    description: strawberry.Maybe[str] = strawberry.field(
        description="Plain text, at most 5,000 characters; an empty text clears it."
    )
    image_url: strawberry.Maybe[str | None] = strawberry.field(
        description="An https address, at most 500 characters; null takes it away."
    )
    points: strawberry.Maybe[Points] = strawberry.field(description="Points for a piece, 1 to 100,000,000.")
    cash: strawberry.Maybe[Fen] = strawberry.field(
        description="Money for a piece in fen, 0 to 1,000,000,000; 0 for a charity."
    )
    target_code: strawberry.Maybe[str] = strawberry.field(
        description="The coupon template, the tier or the charity; not for goods."
    )
    trial_days: strawberry.Maybe[int] = strawberry.field(description="How long a tier trial lasts, 1 to 365 days.")
    member_limit: strawberry.Maybe[int | None] = strawberry.field(
        description="Pieces a member may have in all, 1 to 1,000,000; null takes the limit away."
    )
    tier_codes: strawberry.Maybe[list[str]] = strawberry.field(
        description="All the tiers that may have it; an empty list: every tier."
    )
    tier_limits: strawberry.Maybe[list[MallTierLimitInput]] = strawberry.field(
        description="All other limits for tiers, at most 20; an empty list takes them away."
    )
    opens_at: strawberry.Maybe[datetime | None] = strawberry.field(description="Exchanged from then on; null: at once.")
    closes_at: strawberry.Maybe[datetime | None] = strawberry.field(
        description="Exchanged until before then, later than `opensAt`; null: without end."
    )

    def to_changes(self) -> ItemChanges:
        """What the verb takes."""
        changes = cast("ItemChanges", sent(self, "title", "description", "opens_at", "closes_at"))
        if self.image_url:
            changes["image_url"] = self.image_url.value or ""
        terms = sent(self, "points", "target_code", "trial_days", "member_limit", "tier_codes", cash="cash_fen")
        if self.tier_limits:
            terms["tier_limits"] = _tier_limits(self.tier_limits.value)
        if terms:
            changes["terms"] = terms
        return changes


def _tier_limits(given: list[MallTierLimitInput]) -> list[dict[str, object]]:
    return [{"tier_code": one.tier_code, "limit": one.limit} for one in given]


@strawberry.input(description="A supply or a correction of an item's own stock.")
class MallStockAdjustInput:
    """By how much and why."""

    item_id: UUID = strawberry.field(description="The item.")
    amount: int = strawberry.field(
        description="Pieces to add, or with a minus to take; 1 to 10,000,000 either way. Never the number wanted."
    )
    reason: str = strawberry.field(description="Why, for the ledger and the audit log; 1 to 200 characters.")


@strawberry.type(description="The item was made, as a draft.")
class MallItemCreated:
    """The new item."""

    item: OperatorMallItem = strawberry.field(description="The item.")


@strawberry.type(description="The item is as asked for.")
class MallItemChanged:
    """The changed item."""

    item: OperatorMallItem = strawberry.field(description="The item as it is now.")


@strawberry.type(description="The item is in the mall.")
class MallItemPublished:
    """The published item."""

    item: OperatorMallItem = strawberry.field(description="The item as it is now.")


@strawberry.type(description="The item is out of the mall.")
class MallItemHidden:
    """The hidden item."""

    item: OperatorMallItem = strawberry.field(description="The item as it is now.")


@strawberry.type(description="The stock was moved.")
class MallStockAdjusted:
    """What came of it."""

    item: OperatorMallItem = strawberry.field(description="The item with what is left of it now.")
    entry: MallStockEntry = strawberry.field(description="The entry that was written.")


MallItemCreateResult = Annotated[
    MallItemCreated | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | MediaUrlInvalidRefusal | SimpleRefusal,
    strawberry.union("MallItemCreateResult", description="The item was made, or why not."),
]
MallItemChangeResult = Annotated[
    MallItemChanged | ProgrammeInvalidRefusal | CatalogueInvalidRefusal | MediaUrlInvalidRefusal | SimpleRefusal,
    strawberry.union("MallItemChangeResult", description="The item was changed, or why not."),
]
MallItemPublishResult = Annotated[
    MallItemPublished | SimpleRefusal,
    strawberry.union("MallItemPublishResult", description="The item is in the mall, or why not."),
]
MallItemHideResult = Annotated[
    MallItemHidden | SimpleRefusal,
    strawberry.union("MallItemHideResult", description="The item is out of the mall, or why not."),
]
MallStockAdjustResult = Annotated[
    MallStockAdjusted | CatalogueInvalidRefusal | SimpleRefusal,
    strawberry.union("MallStockAdjustResult", description="The stock was moved, or why not."),
]


_RENAMED = {"cash_fen": "cash"}


def _writer(info: Info) -> UUID:
    return require_right(info, Right.MALL_WRITE).subject_id


@strawberry.type
class OperatorQuery:
    """The mall as those who run it see it."""

    @strawberry.field(
        description="Items in every state; what was made last comes first.", extensions=[Needs(Right.MALL_READ)]
    )
    async def mall_items(
        self,
        info: Info,
        state: Annotated[MallItemState | None, strawberry.argument(description="Only those in this state.")] = None,
        kind: KindArgument = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[OperatorMallItem]:
        """One page."""
        found = await verbs.items(info.context.deps, page=page(verbs.MADE, first, after), state=state, kind=kind)
        return connection(found, OperatorMallItem.from_row)

    @strawberry.field(
        description="An item in whatever state; null if there is none.", extensions=[Needs(Right.MALL_READ)]
    )
    async def mall_item(self, info: Info, id: ItemId) -> OperatorMallItem | None:
        """One item."""
        row = await verbs.one(info.context.deps, id)
        return OperatorMallItem.from_row(row) if row else None

    @strawberry.field(
        description="Every version of an item's terms, newest first; empty if there is no such item.",
        extensions=[Needs(Right.MALL_READ)],
    )
    async def mall_item_versions(
        self, info: Info, item_id: ItemId, first: First = 20, after: After = None
    ) -> Connection[MallItemVersion]:
        """One page."""
        found = await verbs.versions(info.context.deps, item_id, page=page(verbs.VERSIONS, first, after))
        return connection(found, MallItemVersion.from_row)

    @strawberry.field(
        description="Every move of an item's own stock, newest first; empty if it has none.",
        extensions=[Needs(Right.MALL_READ)],
    )
    async def mall_stock_entries(
        self, info: Info, item_id: ItemId, first: First = 20, after: After = None
    ) -> Connection[MallStockEntry]:
        """One page."""
        found = await verbs.stock_entries(info.context.deps, item_id, page=page(verbs.STOCK_ENTRIES, first, after))
        return connection(found, MallStockEntry.from_row)


@strawberry.type
class OperatorMutation:
    """For those who fill the mall."""

    @strawberry.mutation(
        description=(
            "Make an item, as a draft. Refusals: `PROGRAMME_INVALID`, `CATALOGUE_INVALID`, `MEDIA_URL_INVALID`, "
            "`SKU_NOT_FOUND`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.MALL_WRITE)],
    )
    async def mall_item_create(
        self,
        info: Info,
        input: Annotated[MallItemCreateInput, strawberry.argument(description="What it has.")],
        idempotency_key: Key,
    ) -> MallItemCreateResult:
        """One call."""
        with api_words(_RENAMED):
            row = await verbs.create(
                info.context.deps, operator_id=_writer(info), item=input.to_new(), idempotency_key=idempotency_key
            )
        return MallItemCreated(item=OperatorMallItem.from_row(row))

    @strawberry.mutation(
        description=(
            "Change an item. Another price or other limits are a new version of its terms, for the exchanges after "
            "it. Refusals: `MALL_ITEM_NOT_FOUND`, `PROGRAMME_INVALID`, `CATALOGUE_INVALID`, `MEDIA_URL_INVALID`, "
            "`KEY_REUSED`."
        ),
        extensions=[Needs(Right.MALL_WRITE)],
    )
    async def mall_item_change(
        self,
        info: Info,
        input: Annotated[MallItemChangeInput, strawberry.argument(description="What is to change.")],
        idempotency_key: Key,
    ) -> MallItemChangeResult:
        """One call."""
        with api_words(_RENAMED):
            row = await verbs.change(
                info.context.deps,
                operator_id=_writer(info),
                item_id=input.id,
                changes=input.to_changes(),
                idempotency_key=idempotency_key,
            )
        return MallItemChanged(item=OperatorMallItem.from_row(row))

    @strawberry.mutation(
        description=(
            "Put an item into the mall. Nothing happens to one that is there already. Refusals: "
            "`MALL_ITEM_NOT_FOUND`, `COUPON_TEMPLATE_NOT_FOUND` for a coupon of no template, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.MALL_WRITE)],
    )
    async def mall_item_publish(self, info: Info, item_id: ItemId, idempotency_key: Key) -> MallItemPublishResult:
        """One call."""
        row = await verbs.publish(
            info.context.deps, operator_id=_writer(info), item_id=item_id, idempotency_key=idempotency_key
        )
        return MallItemPublished(item=OperatorMallItem.from_row(row))

    @strawberry.mutation(
        description=(
            "Take an item out of the mall; exchanges that have it keep it. Nothing happens to one that is not there. "
            "Refusals: `MALL_ITEM_NOT_FOUND`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.MALL_WRITE)],
    )
    async def mall_item_hide(self, info: Info, item_id: ItemId, idempotency_key: Key) -> MallItemHideResult:
        """One call."""
        row = await verbs.hide(
            info.context.deps, operator_id=_writer(info), item_id=item_id, idempotency_key=idempotency_key
        )
        return MallItemHidden(item=OperatorMallItem.from_row(row))

    @strawberry.mutation(
        description=(
            "Move an item's own stock by an amount, up or down, with a reason. What is left stays between 0 and "
            "10,000,000. Refusals: `MALL_ITEM_NOT_FOUND`, `MALL_STOCK_NOT_COUNTED`, `OUT_OF_STOCK`, "
            "`CATALOGUE_INVALID`, `KEY_REUSED`."
        ),
        extensions=[Needs(Right.MALL_WRITE)],
    )
    async def mall_stock_adjust(
        self,
        info: Info,
        input: Annotated[MallStockAdjustInput, strawberry.argument(description="By how much and why.")],
        idempotency_key: Key,
    ) -> MallStockAdjustResult:
        """One call."""
        item, entry = await verbs.adjust_stock(
            info.context.deps,
            operator_id=_writer(info),
            item_id=input.item_id,
            amount=input.amount,
            reason=input.reason,
            idempotency_key=idempotency_key,
        )
        return MallStockAdjusted(item=OperatorMallItem.from_row(item), entry=MallStockEntry.from_row(entry))
