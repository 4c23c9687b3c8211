"""The operator schema: what those who run the shop ask. A noun joins by adding its classes to the two lists.

Every field here names who may ask for it (``schema.permissions``); a house test fails on one that does not.
"""

import strawberry

from resolvers.deps import Deps
from resolvers.people.session import read_operator_token
from resolvers.people.token import TokenInvalid
from schema import server_info
from schema.assembly import build
from schema.catalogue import category, product, sku, stock
from schema.context import Context
from schema.coupons import (
    coupon_code,
    coupon_gift,
    coupon_grant,
    coupon_template,
    coupon_till,
    member_coupon,
    newcomer_pack,
)
from schema.delivery import dispatch, pick_up_point, shipping
from schema.errors import Unauthenticated
from schema.flash_sales import flash_session
from schema.group_buys import operator_group_buy
from schema.http import Asked, GraphQLEndpoint
from schema.payments import after_sale_decision, exception_case, reconciliation, refund
from schema.people import address, birthday, member, member_code, operator_account, why_log
from schema.points import check_in, points, points_action, points_book, points_mall_item, points_programme
from schema.prices import operator_promotion, price_history
from schema.rates import Rates
from schema.referrals import referral_programme, referral_review
from schema.tiers import tier, tier_overlay, tier_preview

QUERIES: tuple[type, ...] = (
    server_info.OperatorQuery,
    address.OperatorQuery,
    operator_account.OperatorQuery,
    refund.OperatorQuery,
    after_sale_decision.OperatorQuery,
    dispatch.OperatorQuery,
    pick_up_point.OperatorQuery,
    exception_case.OperatorQuery,
    reconciliation.OperatorQuery,
    birthday.OperatorQuery,
    category.OperatorQuery,
    product.OperatorQuery,
    price_history.OperatorQuery,
    shipping.OperatorQuery,
    stock.OperatorQuery,
    operator_promotion.OperatorQuery,
    check_in.OperatorQuery,
    coupon_template.OperatorQuery,
    coupon_code.OperatorQuery,
    coupon_gift.OperatorQuery,
    newcomer_pack.OperatorQuery,
    coupon_till.OperatorQuery,
    coupon_grant.OperatorQuery,
    member_coupon.OperatorQuery,
    member.OperatorQuery,
    points.OperatorQuery,
    points_book.OperatorQuery,
    points_mall_item.OperatorQuery,
    flash_session.OperatorQuery,
    operator_group_buy.OperatorQuery,
    points_programme.OperatorQuery,
    tier.OperatorQuery,
    tier_overlay.OperatorQuery,
    tier_preview.OperatorQuery,
    why_log.OperatorQuery,
    referral_programme.OperatorQuery,
    referral_review.OperatorQuery,
)
MUTATIONS: tuple[type, ...] = (
    operator_account.OperatorMutation,
    address.OperatorMutation,
    refund.OperatorMutation,
    after_sale_decision.OperatorMutation,
    dispatch.OperatorMutation,
    pick_up_point.OperatorMutation,
    exception_case.OperatorMutation,
    category.OperatorMutation,
    product.OperatorMutation,
    sku.OperatorMutation,
    shipping.OperatorMutation,
    stock.OperatorMutation,
    operator_promotion.OperatorMutation,
    check_in.OperatorMutation,
    coupon_template.OperatorMutation,
    coupon_code.OperatorMutation,
    coupon_grant.OperatorMutation,
    coupon_till.OperatorMutation,
    newcomer_pack.OperatorMutation,
    member_coupon.OperatorMutation,
    member_code.OperatorMutation,
    points_action.OperatorMutation,
    points_programme.OperatorMutation,
    points_book.OperatorMutation,
    points_mall_item.OperatorMutation,
    flash_session.OperatorMutation,
    operator_group_buy.OperatorMutation,
    tier.OperatorMutation,
    tier_overlay.OperatorMutation,
    referral_programme.OperatorMutation,
    referral_review.OperatorMutation,
)


def operator_schema() -> strawberry.Schema:
    """Never served where members call."""
    return build(
        QUERIES,
        MUTATIONS,
        query_description="What operators can read, each field by right.",
        mutation_description="What operators can do, each field by right. Everything done is recorded.",
    )


def operator_endpoint(deps: Deps, *, development: bool, rates: Rates | None = None) -> GraphQLEndpoint:
    """The endpoint for ``/admin/graphql``."""
    return GraphQLEndpoint(operator_schema(), deps, sign_in, development=development, rates=rates)


async def sign_in(context: Context, token: str, _: Asked) -> bool:
    """Put the operator a token speaks for into the context; the limits are not taken: False.

    Raises:
        Unauthenticated: the token is forged, expired or revoked.
    """
    try:
        context.operator = await read_operator_token(context.deps, token, context.now)
    except TokenInvalid:
        raise Unauthenticated(zh="登录已失效，请重新登录", en="Please sign in again.", reason="TOKEN_INVALID") from None
    return False
