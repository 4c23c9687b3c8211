"""Who in the shop may do what: the roles operators have and the rights each role carries."""

from collections.abc import Mapping
from enum import StrEnum


class Right(StrEnum):
    """One thing an operator may be allowed to do: what it is about, a dot, and the act."""

    CATALOGUE_READ = "catalogue.read"
    CATALOGUE_WRITE = "catalogue.write"
    TIER_READ = "tier.read"
    TIER_PUBLISH = "tier.publish"
    TIER_OVERRIDE = "tier.override"
    POINTS_READ = "points.read"
    POINTS_PUBLISH = "points.publish"
    POINTS_ADJUST = "points.adjust"
    POINTS_REWARD = "points.reward"
    CHECK_IN_READ = "check_in.read"
    CHECK_IN_PUBLISH = "check_in.publish"
    REFERRAL_READ = "referral.read"
    REFERRAL_PUBLISH = "referral.publish"
    REFERRAL_REVIEW = "referral.review"
    MALL_READ = "mall.read"
    MALL_WRITE = "mall.write"
    FLASH_READ = "flash.read"
    FLASH_WRITE = "flash.write"
    COUPON_READ = "coupon.read"
    COUPON_WRITE = "coupon.write"
    COUPON_GRANT = "coupon.grant"
    COUPON_VERIFY = "coupon.verify"
    COUPON_TILL_REVERSE = "coupon.till_reverse"
    GROUP_READ = "group_buy.read"
    GROUP_WRITE = "group_buy.write"
    PROMOTION_READ = "promotion.read"
    PROMOTION_WRITE = "promotion.write"
    MEMBER_READ = "member.read"
    MEMBER_WRITE = "member.write"
    MEMBER_CODE_RESOLVE = "member.code_resolve"
    ORDER_READ = "order.read"
    ORDER_CANCEL = "order.cancel"
    ORDER_REFUND = "order.refund"
    AFTER_SALE_DECIDE = "after_sale.decide"
    ORDER_SHIP = "order.ship"
    PICK_UP_WRITE = "pick_up.write"
    PICK_UP_VERIFY = "pick_up.verify"
    ORDER_ADDRESS_READ = "order.address_read"
    SHIPPING_READ = "shipping.read"
    SHIPPING_WRITE = "shipping.write"
    PAYMENT_READ = "payment.read"
    PAYMENT_SETTLE = "payment.settle"
    OPERATOR_READ = "operator.read"
    OPERATOR_WRITE = "operator.write"
    AUDIT_READ = "audit.read"
    WHY_READ = "why.read"


class Role(StrEnum):
    """What an operator is hired for. A role names a fixed set of rights."""

    OWNER = "owner"
    USER_OPERATIONS = "user_operations"
    CONTENT_OPERATIONS = "content_operations"
    ACTIVITY_OPERATIONS = "activity_operations"
    DATA_OPERATIONS = "data_operations"
    STAFF = "staff"
    SUPPORT = "support"
    FINANCE = "finance"


_SEES_THE_SHOP = frozenset(
    {
        Right.CATALOGUE_READ,
        Right.SHIPPING_READ,
        Right.TIER_READ,
        Right.POINTS_READ,
        Right.CHECK_IN_READ,
        Right.MALL_READ,
        Right.FLASH_READ,
        Right.COUPON_READ,
        Right.PROMOTION_READ,
        Right.GROUP_READ,
    }
)

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.USER_OPERATIONS: _SEES_THE_SHOP
    | {
        Right.MALL_WRITE,
        Right.COUPON_WRITE,
        Right.COUPON_GRANT,
        Right.COUPON_VERIFY,
        Right.COUPON_TILL_REVERSE,
        Right.MEMBER_READ,
        Right.MEMBER_WRITE,
        Right.WHY_READ,
        Right.ORDER_READ,
        Right.TIER_PUBLISH,
        Right.TIER_OVERRIDE,
        Right.POINTS_PUBLISH,
        Right.POINTS_ADJUST,
        Right.POINTS_REWARD,
        Right.CHECK_IN_PUBLISH,
        Right.REFERRAL_READ,
        Right.REFERRAL_PUBLISH,
        Right.REFERRAL_REVIEW,
    },
    Role.CONTENT_OPERATIONS: _SEES_THE_SHOP | {Right.CATALOGUE_WRITE, Right.SHIPPING_WRITE},
    Role.ACTIVITY_OPERATIONS: _SEES_THE_SHOP
    | {
        Right.CATALOGUE_WRITE,
        Right.SHIPPING_WRITE,
        Right.POINTS_REWARD,
        Right.MALL_WRITE,
        Right.FLASH_WRITE,
        Right.COUPON_WRITE,
        Right.COUPON_GRANT,
        Right.PROMOTION_WRITE,
        Right.GROUP_WRITE,
        Right.CHECK_IN_PUBLISH,
        Right.REFERRAL_READ,
        Right.REFERRAL_PUBLISH,
        Right.REFERRAL_REVIEW,
        Right.MEMBER_READ,
        Right.ORDER_READ,
        Right.ORDER_SHIP,
        Right.PICK_UP_WRITE,
    },
    Role.DATA_OPERATIONS: _SEES_THE_SHOP
    | {Right.WHY_READ, Right.MEMBER_READ, Right.ORDER_READ, Right.PAYMENT_READ, Right.REFERRAL_READ},
    Role.STAFF: _SEES_THE_SHOP
    | {
        Right.MEMBER_READ,
        Right.MEMBER_CODE_RESOLVE,
        Right.ORDER_READ,
        Right.ORDER_ADDRESS_READ,
        Right.ORDER_SHIP,
        Right.PICK_UP_VERIFY,
        Right.COUPON_VERIFY,
    },
    Role.SUPPORT: _SEES_THE_SHOP
    | {
        Right.WHY_READ,
        Right.MEMBER_READ,
        Right.ORDER_READ,
        Right.ORDER_ADDRESS_READ,
        Right.ORDER_CANCEL,
        Right.ORDER_REFUND,
        Right.AFTER_SALE_DECIDE,
        Right.ORDER_SHIP,
        Right.COUPON_TILL_REVERSE,
        Right.PAYMENT_READ,
    },
    Role.FINANCE: _SEES_THE_SHOP
    | {
        Right.WHY_READ,
        Right.MEMBER_READ,
        Right.ORDER_READ,
        Right.ORDER_REFUND,
        Right.AFTER_SALE_DECIDE,
        Right.PAYMENT_READ,
        Right.PAYMENT_SETTLE,
        Right.AUDIT_READ,
    },
}


def rights_of(role: str) -> frozenset[Right]:
    """The rights a role carries; a role this version does not know carries none."""
    try:
        return RIGHTS[Role(role)]
    except ValueError:
        return frozenset()
