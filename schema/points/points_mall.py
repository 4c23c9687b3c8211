"""The points mall 积分商城: items as members and operators see them, the exchange, and how items are kept."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from loyalty.points import points_mall as rule
from loyalty.points.points_mall import MallItemKind, MallItemState, MallOffer
from models.points.points_mall import MallItem as MallItemRow
from resolvers.catalogue import catalogue
from resolvers.points import points_mall as verbs
from schema.catalogue.catalogue import Key
from schema.context import Info
from schema.enums import describe
from schema.orders.order import Order
from schema.orders.order_refusal import PointsShortRefusal
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen, Points

describe(
    MallItemKind,
    "What an exchange gives.",
    {
        MallItemKind.GOODS: "Goods 实物.",
        MallItemKind.COUPON: "A coupon 优惠券, of the template that `targetCode` names, when the exchange is paid.",
        MallItemKind.TIER_TRIAL: "A higher tier for some days 等级体验, from the payment on.",
        MallItemKind.CHARITY: "A gift to charity 公益. Never given back.",
    },
)


@strawberry.type(description="Another limit for the members of a tier.")
class MallTierLimit:
    """One tier's limit."""

    tier_code: str = strawberry.field(description="The tier.")
    limit: int = strawberry.field(description="Pieces a member of it may have in all, from 1.")


@strawberry.type(description="What an item costs and who may have it. A version of it never changes.")
class MallTerms:
    """The price and the limits."""

    points: Points = strawberry.field(description="Points for a piece.")
    cash: Fen = strawberry.field(description="Money for a piece beside the points, in fen; 0 for points alone.")
    target_code: str | None = strawberry.field(
        description="The coupon template, the tier or the charity that a piece gives; null for goods."
    )
    trial_days: int | None = strawberry.field(description="How many days a tier trial lasts; null for other kinds.")
    member_limit: int | None = strawberry.field(description="Pieces a member may have in all; null without a limit.")
    tier_codes: list[str] = strawberry.field(description="Only members of these tiers may have it; empty: all may.")
    tier_limits: list[MallTierLimit] = strawberry.field(
        description="What takes the place of `memberLimit` for some tiers."
    )

    @classmethod
    def from_rule(cls, terms: rule.MallItem) -> "MallTerms":
        """The terms as the rule knows them."""
        return cls(
            points=Points(terms.points),
            cash=Fen(terms.cash_fen),
            target_code=terms.target_code,
            trial_days=terms.trial_days,
            member_limit=terms.member_limit,
            tier_codes=list(terms.tier_codes),
            tier_limits=[MallTierLimit(tier_code=code, limit=limit) for code, limit in terms.tier_limits.items()],
        )


@strawberry.type
class MallItemFacts:
    """What both schemas say of an item."""

    id: UUID = strawberry.field(description="Opaque id of the item.")
    kind: MallItemKind = strawberry.field(description="What an exchange gives.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    description: str = strawberry.field(description="Plain text, at most 5,000 characters, or empty.")
    image_url: str | None = strawberry.field(description="The https address of its picture; null without one.")
    version: int = strawberry.field(description="The number of the terms in force, from 1.")
    opens_at: datetime | None = strawberry.field(description="Exchanged from this instant on; null: at once.")
    closes_at: datetime | None = strawberry.field(description="Exchanged until before this instant; null: no end.")
    exchanged_count: int = strawberry.field(description="Pieces exchanged by all members and not given back.")
    exchanged_points: Points = strawberry.field(
        description="What these cost in points; for a charity, all that was given."
    )
    row: strawberry.Private[MallItemRow]

    @strawberry.field(description="What it costs and who may have it, now.")
    async def terms(self, info: Info) -> MallTerms:
        """Loaded for all the items of the answer at once."""
        return MallTerms.from_rule(await _terms(info, self.id))

    @strawberry.field(description="Pieces left at this moment, 0 or more; null where nothing is counted.")
    async def stock_left(self, info: Info) -> int | None:
        """The SKU's stock is loaded for all the items of the answer at once."""
        if self.row.sku_id is None:
            return self.row.stock_left
        sku = await info.context.loaders.load(verbs.skus, self.row.sku_id)
        return sku.stock_left if sku else None

    @strawberry.field(description="Whether it can be exchanged at this moment, as far as its state and time go.")
    def offered(self, info: Info) -> bool:
        """Decided at the instant of the request."""
        offer = MallOffer(
            published=self.row.state == MallItemState.PUBLISHED,
            stock_left=None,
            opens_at=self.row.opens_at,
            closes_at=self.row.closes_at,
        )
        return offer.offered(info.context.now)


async def _terms(info: Info, item_id: UUID) -> rule.MallItem:
    terms = await info.context.loaders.load(verbs.terms_of, item_id)
    assert terms is not None, "an item has terms from its first day"
    return terms


def item_facts(row: MallItemRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": MallItemKind(row.kind),
        "title": row.title,
        "description": row.description,
        "image_url": row.image_url or None,
        "version": row.version,
        "opens_at": row.opens_at,
        "closes_at": row.closes_at,
        "exchanged_count": row.exchanged_count,
        "exchanged_points": Points(row.exchanged_points),
        "row": row,
    }


@strawberry.type(description="What an item is to the member who asks.")
class MallItemYours:
    """The member's own limit."""

    for_your_tier: bool = strawberry.field(description="Whether members of your tier may have it.")
    limit: int | None = strawberry.field(description="Pieces you may have in all; null without a limit.")
    exchanged: int = strawberry.field(description="Pieces you have, open exchanges included, given-back ones not.")


@strawberry.type(description="Something that points buy.")
class MallItem(MallItemFacts):
    """An item as members see it."""

    published_at: datetime = strawberry.field(description="When it last came into the mall.")

    @strawberry.field(description="What it is to you; null for a visitor.")
    async def yours(self, info: Info) -> MallItemYours | None:
        """Loaded for all the items of the answer at once."""
        member_id = info.context.member_id
        if member_id is None:
            return None
        terms = await _terms(info, self.id)
        tier = await info.context.loaders.load(catalogue.tiers_of, member_id)
        assert tier is not None, "a member has a tier"
        exchanged = await info.context.loaders.load(verbs.exchanged_counts, (member_id, self.id))
        return MallItemYours(
            for_your_tier=not terms.tier_codes or tier.code in terms.tier_codes,
            limit=terms.limit_for(tier.code),
            exchanged=exchanged or 0,
        )

    @classmethod
    def from_row(cls, row: MallItemRow) -> "MallItem":
        """The stored item, which is published."""
        assert row.published_at is not None, "what is in the mall was published"
        return cls(**item_facts(row), published_at=row.published_at)


@strawberry.input(description="What to exchange.")
class MallExchangeInput:
    """An item, how many, and what the member agreed to."""

    item_id: UUID = strawberry.field(description="The item.")
    quantity: int = strawberry.field(default=1, description="Pieces, 1 to 99; a tier trial one at a time.")
    expected_points: Points = strawberry.field(
        description="The points that the member saw and agreed to, for all pieces; another price is refused."
    )
    expected_cash: Fen = strawberry.field(
        default=Fen(0), description="The money, likewise, in fen; 0 for points alone."
    )


@refusal_type(rule.MallLimitReached)
@strawberry.type(name="MallLimitReached", description="The member may not have so many. Code `MALL_LIMIT_REACHED`.")
class MallLimitRefusal(Refusal):
    """A limit per member."""

    limit: int = strawberry.field(description="Pieces the member may have in all.")
    exchanged: int = strawberry.field(description="Pieces the member has, open exchanges included.")


@refusal_type(rule.MallPriceChanged)
@strawberry.type(
    name="MallPriceChanged", description="The price is not what the member agreed to. Code `MALL_PRICE_CHANGED`."
)
class MallPriceRefusal(Refusal):
    """Another price."""

    points: Points = strawberry.field(description="What it costs now in points, all pieces together.")
    cash: Fen = strawberry.field(description="What it costs now in money, all pieces together, in fen.")


@strawberry.type(description="The exchange, as the order that it is.")
class MallExchanged:
    """Success of mallExchange."""

    order: Order = strawberry.field(description="The order; pay it with `orderPay` unless payable is 0.")


MallExchangeResult = Annotated[
    MallExchanged | MallLimitRefusal | MallPriceRefusal | PointsShortRefusal | SimpleRefusal,
    strawberry.union("MallExchangeResult", description="The order, or why the item could not be exchanged."),
]

ItemId = Annotated[UUID, strawberry.argument(description="The item.")]
KindArgument = Annotated[MallItemKind | None, strawberry.argument(description="Only items of this kind.")]


@strawberry.type
class ShopQuery:
    """The mall as members and visitors see it."""

    @strawberry.field(
        description="What is in the mall, also what is still to open; what came in last comes first.",
        extensions=[ForEveryone()],
    )
    async def mall_items(
        self, info: Info, kind: KindArgument = None, first: First = 20, after: After = None
    ) -> Connection[MallItem]:
        """One page."""
        found = await verbs.offered(info.context.deps, page=page(verbs.OFFERED, first, after), kind=kind)
        return connection(found, MallItem.from_row)

    @strawberry.field(description="An item in the mall; null if there is none.", extensions=[ForEveryone()])
    async def mall_item(self, info: Info, id: ItemId) -> MallItem | None:
        """One item."""
        row = await verbs.offered_one(info.context.deps, id)
        return MallItem.from_row(row) if row else None


@strawberry.type
class ShopMutation:
    """What a member does in the mall."""

    @strawberry.mutation(
        description=(
            "Exchange an item: an order whose points are held and whose pieces are taken. Without cash it is paid at "
            "once; with cash it waits for `orderPay` until its pay deadline, and `orderCancel` gives everything back. "
            "Refusals: `MALL_ITEM_NOT_OFFERED`, `QUANTITY_INVALID`, `MALL_TIER_REFUSED`, `MALL_LIMIT_REACHED`, "
            "`OUT_OF_STOCK`, `POINTS_SHORT`, `TIER_NOT_FOUND`, `TIER_TRIAL_REFUSED`, `ORDER_AMOUNT_TOO_LARGE`, "
            "`MALL_PRICE_CHANGED`, `KEY_REUSED`."
        ),
        extensions=[ForMembers()],
    )
    async def mall_exchange(
        self,
        info: Info,
        input: Annotated[MallExchangeInput, strawberry.argument(description="What to exchange.")],
        idempotency_key: Key,
    ) -> MallExchangeResult:
        """One call."""
        order = await verbs.exchange(
            info.context.deps,
            member_id=require_member(info),
            item_id=input.item_id,
            quantity=input.quantity,
            expected_points=input.expected_points,
            expected_fen=input.expected_cash,
            idempotency_key=idempotency_key,
        )
        return MallExchanged(order=Order.from_row(order))
