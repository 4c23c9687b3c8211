"""Coupons: their states and refusals, and how many of them there may be.

What the terms of a template say is in ``loyalty.coupons.coupon_terms``, giving out in ``loyalty.coupons.coupon_issue``,
using in ``loyalty.coupons.coupon_use``, the best choice in ``loyalty.coupons.coupon_choice``.

Source: docs/rules/coupon.md
"""

from enum import StrEnum
from typing import ClassVar

from loyalty.refusal import Refusal

MAX_QUOTA = 10_000_000
MAX_BATCH = 5_000
MAX_GRANT_MEMBERS = 500


class CouponState(StrEnum):
    """Where a coupon stands. A reserved one that its order gives back is issued again."""

    ISSUED = "issued"
    RESERVED = "reserved"
    USED = "used"
    EXPIRED = "expired"
    VOID = "void"
    GIFTING = "gifting"
    GIVEN = "given"


class CouponChannel(StrEnum):
    """How a member came by a coupon."""

    CLAIM = "claim"
    CODE = "code"
    GRANT = "grant"
    TIER = "tier"
    MALL = "mall"
    GIFT = "gift"
    NEWCOMER = "newcomer"
    BIRTHDAY = "birthday"


class CouponEventKind(StrEnum):
    """What happens to a coupon."""

    ISSUED = "issued"
    RESERVED = "reserved"
    USED = "used"
    RELEASED = "released"
    RETURNED = "returned"
    EXPIRED = "expired"
    VOIDED = "voided"
    GIFTING = "gifting"
    GIFT_RETURNED = "gift_returned"
    GIVEN = "given"


class TemplateState(StrEnum):
    """A draft has never been given out; a paused template gives out no more, what it gave stays good."""

    DRAFT = "draft"
    PUBLISHED = "published"
    PAUSED = "paused"


class GrantState(StrEnum):
    """How a bulk grant stands. EXHAUSTED: the template had nothing left for the rest."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    EXHAUSTED = "exhausted"


class UnusableReason(StrEnum):
    """Why a coupon takes nothing off a cart."""

    NOT_AVAILABLE = "not_available"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    OUT_OF_SCOPE = "out_of_scope"
    BELOW_THRESHOLD = "below_threshold"
    NO_SHIPPING_FEE = "no_shipping_fee"
    NOTHING_LEFT = "nothing_left"


class CouponNotFound(Refusal):
    """No such coupon, or another member's: the two are not told apart."""

    code = "COUPON_NOT_FOUND"
    zh = "优惠券不存在"
    en = "There is no such coupon."


class CouponTemplateNotFound(Refusal):
    """No such template, for an operator."""

    code = "COUPON_TEMPLATE_NOT_FOUND"
    zh = "券模板不存在"
    en = "There is no such coupon template."


class CouponTemplateCodeTaken(Refusal):
    """Another template has this code."""

    code = "COUPON_TEMPLATE_CODE_TAKEN"
    zh = "券模板编码已被使用"
    en = "Another coupon template has this code."


class CouponNotOffered(Refusal):
    """Nothing to be claimed here: no such template, not published, or outside its time."""

    code = "COUPON_NOT_OFFERED"
    zh = "该优惠券不存在或不在领取时间内"
    en = "This coupon is not offered."


class CouponLimitReached(Refusal):
    """A member may have ``limit`` of them, in all or on one day, and has ``had``."""

    code = "COUPON_LIMIT_REACHED"
    zh = "每人限领 {limit} 张，您已领 {had} 张"
    en = "The limit is {limit} for each member; you have had {had}."


class CouponsGone(Refusal):
    """The total, the day's number or the budget of the template is used up."""

    code = "COUPONS_GONE"
    zh = "优惠券已领完"
    en = "There are no more of these coupons."


class CouponCodeInvalid(Refusal):
    """No such code, or it was redeemed, or its batch has ended: guessing learns nothing."""

    code = "COUPON_CODE_INVALID"
    zh = "兑换码无效或已被使用"
    en = "This code is not valid."


class CouponNotUsable(Refusal):
    """The coupon ``coupon_id`` takes nothing off this order: ``reason``, and ``missing`` fen below the threshold."""

    code = "COUPON_NOT_USABLE"
    zh = "该优惠券不可用于此订单"
    en = "This coupon cannot be used on this order."


class CouponsNotCombinable(Refusal):
    """``coupon_id`` and ``other_id`` do not go together on one order."""

    code = "COUPONS_NOT_COMBINABLE"
    zh = "所选优惠券不可叠加使用"
    en = "These coupons cannot be used together."


class CouponChoiceUnclear(Refusal):
    """Coupons were named and the best ones asked for at once."""

    code = "COUPON_CHOICE_UNCLEAR"
    zh = "不能同时指定优惠券并选择最优组合"
    en = "Name coupons or ask for the best ones, not both."


class TooManyCoupons(Refusal):
    """More than ``most`` coupons, of one template or altogether, on one order."""

    code = "TOO_MANY_COUPONS"
    zh = "每单最多使用 {most} 张优惠券"
    en = "At most {most} coupons can be used on one order."


class CouponStateRefused(Refusal):
    """What was asked for is not possible in the coupon's ``state``."""

    code = "COUPON_STATE_REFUSED"
    zh = "优惠券当前状态（{state}）不支持此操作"
    en = "This is not possible while the coupon is {state}."
    zh_words: ClassVar = {
        CouponState.ISSUED: "可使用",
        CouponState.RESERVED: "订单占用中",
        CouponState.USED: "已使用",
        CouponState.EXPIRED: "已过期",
        CouponState.VOID: "已作废",
        CouponState.GIFTING: "赠送中",
        CouponState.GIVEN: "已赠出",
    }


class CouponGrantNotFound(Refusal):
    """No such bulk grant."""

    code = "COUPON_GRANT_NOT_FOUND"
    zh = "发券任务不存在"
    en = "There is no such grant."
