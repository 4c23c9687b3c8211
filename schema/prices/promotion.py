"""Promotions 促销 as members meet them: what is on, and what a piece costs now."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.prices.promotion import OfferedPromotion
from loyalty.prices.promotion_terms import PromotionKind
from resolvers.prices import promotion_offer as verbs
from resolvers.prices.promotion_offer import PriceNow as PriceNowValue
from schema.context import Info
from schema.permissions import ForEveryone
from schema.prices.promotion_terms import PromotionTermsView
from schema.scalars import Fen


@strawberry.type(description="A promotion that is on.")
class Promotion:
    """A promotion as members see it."""

    id: UUID = strawberry.field(description="Opaque id.")
    code: str = strawberry.field(description="How explanations of prices name it.")
    kind: PromotionKind = strawberry.field(description="What it does.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters; fit for a badge.")
    closes_at: datetime | None = strawberry.field(description="It runs until before this instant; null: no end.")
    uses_left: int | None = strawberry.field(
        description="How often the one who asks may still use it: pieces, sets or orders; null: without a limit."
    )
    terms: PromotionTermsView = strawberry.field(description="What it does.")

    @classmethod
    def from_rule(cls, one: OfferedPromotion) -> "Promotion":
        """The promotion as the rule knows it."""
        return cls(
            id=one.id,
            code=one.code,
            kind=one.terms.kind,
            title=one.title,
            closes_at=one.closes_at,
            uses_left=one.uses_left,
            terms=PromotionTermsView.from_rule(one.terms),
        )


@strawberry.type(description="What one piece costs now, with the promotions of single pieces.")
class PriceNow:
    """A price, and what makes it so."""

    price: Fen = strawberry.field(description="In fen.")
    promotion: Promotion | None = strawberry.field(description="The promotion that makes it so; null: none does.")

    @classmethod
    def from_value(cls, found: PriceNowValue) -> "PriceNow":
        """What was found."""
        return cls(
            price=Fen(found.price_fen), promotion=Promotion.from_rule(found.promotion) if found.promotion else None
        )


async def price_now(info: Info, sku_id: UUID) -> PriceNow:
    """What one piece costs the one who asks; loaded for all the SKUs of the answer at once."""
    found = await info.context.loaders.load(verbs.prices_now, (info.context.member_id, sku_id))
    assert found is not None, "a SKU that is shown has a price"
    return PriceNow.from_value(found)


@strawberry.type
class ShopQuery:
    """What is on."""

    @strawberry.field(
        description="The promotions that the one who asks may use now, at most 200, what ends first comes first. A "
        "visitor is seen as a newcomer without a tier.",
        extensions=[ForEveryone()],
    )
    async def promotions(
        self,
        info: Info,
        product_id: Annotated[
            UUID | None, strawberry.argument(description="Only those that are for a SKU of this product.")
        ] = None,
    ) -> list[Promotion]:
        found = await verbs.on_now(info.context.deps, info.context.member_id, product_id=product_id)
        return [Promotion.from_rule(one) for one in found]
