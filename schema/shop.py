"""The shop schema: what the mini-program asks. A noun joins by adding its classes to the two lists."""

import strawberry

from resolvers.deps import Deps
from resolvers.people.session import enter
from resolvers.people.token import TokenInvalid
from schema import server_info
from schema.assembly import build
from schema.catalogue import category, product
from schema.context import Context
from schema.coupons import coupon, coupon_gift, coupon_till, newcomer_pack
from schema.delivery import fulfilment, pick_up_point
from schema.errors import Unauthenticated
from schema.flash_sales import flash_sale
from schema.group_buys import group_buy
from schema.http import Asked, GraphQLEndpoint
from schema.orders import cart, cart_coupon, order, order_address, order_place, order_preview, order_quote
from schema.payments import after_sale, payment
from schema.people import address, member, member_code, member_profile, session
from schema.points import check_in, check_in_make_up, points, points_book, points_mall, points_programme
from schema.prices import promotion
from schema.rates import Rates
from schema.referrals import referral, referral_programme
from schema.tiers import tier

QUERIES: tuple[type, ...] = (
    server_info.ShopQuery,
    address.ShopQuery,
    cart.ShopQuery,
    order.ShopQuery,
    order_preview.ShopQuery,
    order_quote.ShopQuery,
    after_sale.ShopQuery,
    pick_up_point.ShopQuery,
    category.ShopQuery,
    product.ShopQuery,
    promotion.ShopQuery,
    check_in.ShopQuery,
    coupon.ShopQuery,
    coupon_gift.ShopQuery,
    newcomer_pack.ShopQuery,
    cart_coupon.ShopQuery,
    member.ShopQuery,
    points.ShopQuery,
    points_book.ShopQuery,
    points_mall.ShopQuery,
    flash_sale.ShopQuery,
    group_buy.ShopQuery,
    points_programme.ShopQuery,
    tier.ShopQuery,
    referral.ShopQuery,
    referral_programme.ShopQuery,
)
MUTATIONS: tuple[type, ...] = (
    session.ShopMutation,
    address.ShopMutation,
    cart.ShopMutation,
    order_place.ShopMutation,
    payment.ShopMutation,
    order_address.ShopMutation,
    order_quote.ShopMutation,
    after_sale.ShopMutation,
    fulfilment.ShopMutation,
    points_mall.ShopMutation,
    flash_sale.ShopMutation,
    group_buy.ShopMutation,
    check_in.ShopMutation,
    coupon.ShopMutation,
    coupon_gift.ShopMutation,
    coupon_till.ShopMutation,
    check_in_make_up.ShopMutation,
    member.ShopMutation,
    member_code.ShopMutation,
    member_profile.ShopMutation,
    referral.ShopMutation,
)


def shop_schema() -> strawberry.Schema:
    """Members and visitors see only this; an operator's field cannot leak into it by omission."""
    return build(
        QUERIES,
        MUTATIONS,
        query_description="What members and visitors can read.",
        mutation_description="What members and visitors can do.",
    )


def shop_endpoint(deps: Deps, *, development: bool, rates: Rates | None = None) -> GraphQLEndpoint:
    """The endpoint for ``/graphql``."""
    return GraphQLEndpoint(shop_schema(), deps, sign_in, development=development, rates=rates)


async def sign_in(context: Context, token: str, asked: Asked) -> bool:
    """Put the member a token speaks for into the context, and take the request from its limits: True.

    Raises:
        Unauthenticated: the token is forged, expired or revoked.
        TooMany: a limit is used up.
    """
    try:
        context.member = context.deps.member_tokens.read(token, now=context.now)
        await enter(context.deps, context.member, asked())
    except TokenInvalid:
        context.member = None
        raise Unauthenticated(zh="登录已失效，请重新登录", en="Please sign in again.", reason="TOKEN_INVALID") from None
    return True
