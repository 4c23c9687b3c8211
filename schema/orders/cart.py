"""The cart 购物车: what a member wants to buy, as it stands now."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.orders import cart as rule
from loyalty.orders.cart import Availability
from loyalty.prices.unit_price import unit_price
from resolvers.catalogue import catalogue
from resolvers.orders import cart as verbs
from resolvers.orders import order as order_verbs
from resolvers.orders.cart import LineInCart
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.orders.order_price import CouponWish
from resolvers.people.address import default_id
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.orders.order_place import OrderLineInput, wishes
from schema.orders.order_preview import OrderPreviewResult, OrderQuote
from schema.orders.order_refusal import SkuNotOnSaleRefusal
from schema.permissions import ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import Fen, Points

describe(
    Availability,
    "Whether a line of the cart could be ordered now.",
    {
        Availability.AVAILABLE: "As many as wanted.",
        Availability.SHORT: "Fewer pieces are left than wanted.",
        Availability.OUT_OF_STOCK: "None is left.",
        Availability.LIMIT_REACHED: "With what the member has bought, more than one member may have.",
        Availability.GONE: "It is not on sale any more.",
    },
)


@strawberry.type(description="So many of one SKU, at today's price. The cart holds neither price nor stock.")
class CartLine:
    """One line."""

    sku_id: UUID = strawberry.field(description="The SKU; the line is named by it.")
    product_id: UUID = strawberry.field(description="The product.")
    product_title: str = strawberry.field(description="The product's title.")
    sku_title: str = strawberry.field(description="The SKU's title.")
    image_url: str | None = strawberry.field(description="The product's first picture; null if it has none.")
    list_price: Fen = strawberry.field(description="List price of one piece, in fen.")
    quantity: int = strawberry.field(description="How many pieces, 1 to 999.")
    selected: bool = strawberry.field(description="Whether the member wants to order it now.")
    availability: Availability = strawberry.field(description="Whether it could be ordered now.")
    left: int = strawberry.field(description="Pieces left at this moment, 0 or more.")
    updated_at: datetime = strawberry.field(description="When its quantity last changed.")
    member_price_fen: strawberry.Private[int | None]

    @strawberry.field(
        description="What one piece costs this member, in fen, before promotions, coupons and points: the lowest of "
        "list price, member price and the list price less the tier's discount."
    )
    async def your_price(self, info: Info) -> Fen:
        """The tier is loaded once for all lines."""
        tier = await info.context.loaders.load(catalogue.tiers_of, require_member(info))
        price_fen, _ = unit_price(list_price_fen=self.list_price, member_price_fen=self.member_price_fen, tier=tier)
        return Fen(price_fen)

    @classmethod
    def of(cls, line: LineInCart) -> "CartLine":
        """The line as it stands."""
        return cls(
            sku_id=line.sku_id,
            product_id=line.product_id,
            product_title=line.product_title,
            sku_title=line.sku_title,
            image_url=line.image_url,
            list_price=Fen(line.list_price_fen),
            quantity=line.quantity,
            selected=line.selected,
            availability=line.availability,
            left=line.left,
            updated_at=line.updated_at,
            member_price_fen=line.member_price_fen,
        )


@strawberry.type(description="A member's cart.")
class Cart:
    """All of it."""

    lines: list[CartLine] = strawberry.field(description="At most 100, what was put in last first.")
    found: strawberry.Private[list[LineInCart]]

    @strawberry.field(description="Pieces of all lines together.")
    def pieces(self) -> int:
        """For the number on the cart's icon."""
        return sum(line.quantity for line in self.found)

    @strawberry.field(
        description="What an order of the selected lines that can be had would cost now: the same preview as "
        "`orderPreview`, and refused alike; `LINE_COUNT_INVALID` while there is no such line, or more than 50."
    )
    async def quote(
        self,
        info: Info,
        address_id: Annotated[
            UUID | None,
            strawberry.argument(
                description="Where it would be shipped to; the default address unless given. Without any, no shipping "
                "fee is counted in yet."
            ),
        ] = None,
        coupon_ids: Annotated[
            list[UUID] | None, strawberry.argument(description="Coupons to use on it, at most 5.")
        ] = None,
        best_coupons: Annotated[
            bool, strawberry.argument(description="Use the best combination of the member's coupons.")
        ] = False,
        points: Annotated[
            Points | None, strawberry.argument(description="Points to use on it; none unless given.")
        ] = None,
    ) -> OrderPreviewResult:
        """Priced by the order's own pipeline."""
        member_id = require_member(info)
        there = address_id or await default_id(member_id)
        delivery = DeliveryWish(address_id=there) if there else None
        found = await order_verbs.preview_with_hints(
            info.context.deps,
            member_id=member_id,
            lines=verbs.wanted_now(self.found),
            points_wanted=points or Points(0),
            coupons=CouponWish(ids=tuple(coupon_ids or ()), best=best_coupons),
            delivery=delivery,
        )
        return OrderQuote.from_quote(found.quote, found.hints)


@refusal_type(rule.CartFull)
@strawberry.type(name="CartFull", description="The cart takes no further line. Code `CART_FULL`.")
class CartFullRefusal(Refusal):
    """How many there may be."""

    most: int = strawberry.field(description="How many lines a cart has at most.")


@strawberry.type(description="The cart as it is now.")
class CartChanged:
    """Success of what changes a cart."""

    cart: Cart = strawberry.field(description="The cart.")


@strawberry.type(description="The phone's own cart is merged; forget it and its key.")
class CartMerged:
    """Success of cartMerge."""

    cart: Cart = strawberry.field(description="The cart.")
    left_out: list[UUID] = strawberry.field(
        description="SKUs that are not on sale or found no place, as they were left out when the merge first came."
    )


CartResult = Annotated[
    CartChanged | CartFullRefusal | SkuNotOnSaleRefusal | SimpleRefusal,
    strawberry.union("CartResult", description="The cart, or why it was not changed."),
]
CartMergeResult = Annotated[
    CartMerged | CartFullRefusal | SimpleRefusal,
    strawberry.union("CartMergeResult", description="The cart, or why nothing was merged."),
]

SkuId = Annotated[UUID, strawberry.argument(description="The SKU.")]
Lines = Annotated[
    list[UUID] | None, strawberry.argument(description="The SKUs of the lines; null is all lines. Others are no error.")
]


async def _cart(info: Info) -> Cart:
    found = list(await verbs.lines(info.context.deps, member_id=require_member(info)))
    return Cart(lines=[CartLine.of(line) for line in found], found=found)


@strawberry.type
class ShopQuery:
    """A member's own cart."""

    @strawberry.field(
        description="The member's cart with prices, availability and total of this moment.", extensions=[ForMembers()]
    )
    async def cart(self, info: Info) -> Cart:
        """In one statement, the total apart."""
        return await _cart(info)


@strawberry.type
class ShopMutation:
    """What a member does with the cart."""

    @strawberry.mutation(
        description="Put pieces of a SKU into the cart, on top of those in it; the line is selected. Refusals: "
        "`SKU_NOT_ON_SALE`, `QUANTITY_INVALID`, `CART_FULL`, `KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def cart_add(
        self,
        info: Info,
        sku_id: SkuId,
        idempotency_key: Key,
        quantity: Annotated[int, strawberry.argument(description="How many pieces to add, 1 to 999.")] = 1,
    ) -> CartResult:
        """One call."""
        await verbs.add(
            info.context.deps,
            member_id=require_member(info),
            sku_id=sku_id,
            quantity=quantity,
            idempotency_key=idempotency_key,
        )
        return CartChanged(cart=await _cart(info))

    @strawberry.mutation(
        description="Let a line have exactly so many pieces. Harmless to repeat. Refusals: `QUANTITY_INVALID`, "
        "`CART_LINE_NOT_FOUND`.",
        extensions=[ForMembers()],
    )
    async def cart_set_quantity(
        self, info: Info, sku_id: SkuId, quantity: Annotated[int, strawberry.argument(description="1 to 999 pieces.")]
    ) -> CartResult:
        """One call."""
        await verbs.set_quantity(info.context.deps, member_id=require_member(info), sku_id=sku_id, quantity=quantity)
        return CartChanged(cart=await _cart(info))

    @strawberry.mutation(
        description="Select lines, or take them out of the selection. Harmless to repeat.", extensions=[ForMembers()]
    )
    async def cart_select(
        self,
        info: Info,
        selected: Annotated[bool, strawberry.argument(description="Whether they are to be ordered now.")],
        sku_ids: Lines = None,
    ) -> CartResult:
        """One call."""
        await verbs.select(info.context.deps, member_id=require_member(info), sku_ids=sku_ids, selected=selected)
        return CartChanged(cart=await _cart(info))

    @strawberry.mutation(description="Take lines out of the cart. Harmless to repeat.", extensions=[ForMembers()])
    async def cart_remove(
        self,
        info: Info,
        sku_ids: Annotated[list[UUID], strawberry.argument(description="The SKUs of the lines. Others are no error.")],
    ) -> CartResult:
        """One call."""
        await verbs.remove(info.context.deps, member_id=require_member(info), sku_ids=sku_ids)
        return CartChanged(cart=await _cart(info))

    @strawberry.mutation(description="Take all lines out of the cart. Harmless to repeat.", extensions=[ForMembers()])
    async def cart_clear(self, info: Info) -> CartResult:
        """One call."""
        await verbs.remove(info.context.deps, member_id=require_member(info), sku_ids=None)
        return CartChanged(cart=await _cart(info))

    @strawberry.mutation(
        description="Take over the cart that a phone kept before its owner logged in: pieces are added, up to 999 a "
        "line. Make the key when that cart begins, and send the same key and lines until an answer comes; what was "
        "merged once is not merged again. Refusals: `CART_FULL` (more than 100 lines), `QUANTITY_INVALID`, "
        "`KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def cart_merge(
        self,
        info: Info,
        lines: Annotated[list[OrderLineInput], strawberry.argument(description="At most 100 lines.")],
        idempotency_key: Key,
    ) -> CartMergeResult:
        """One call."""
        left_out = await verbs.merge(
            info.context.deps, member_id=require_member(info), lines=wishes(lines), idempotency_key=idempotency_key
        )
        return CartMerged(cart=await _cart(info), left_out=list(left_out))
