"""Coupons: their states and refusals, what the terms of a template say, and when a coupon is good.

Giving out is in ``loyalty.coupons.coupon_issue``, using in ``loyalty.coupons.coupon_use``, the best choice in
``loyalty.coupons.coupon_choice``.

Source: docs/rules/coupon.md
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import ClassVar, Self
from uuid import UUID

from loyalty.money import BP
from loyalty.programme import Definition, Fields, Name, Reason, invalid, scope_names
from loyalty.refusal import Refusal
from loyalty.shop_time import business_day, day_end, day_start

MAX_COUPON_FEN = 1_000_000_000
MAX_COUPONS_PER_ORDER = 5
MAX_SCOPE = 200
MAX_QUOTA = 10_000_000
MAX_BATCH = 5_000
MAX_GRANT_MEMBERS = 500
DEFAULT_GROUP = "standard"


class CouponKind(StrEnum):
    """What a coupon takes off."""

    AMOUNT = "amount"
    PERCENT = "percent"
    EXCHANGE = "exchange"
    SHIPPING = "shipping"


APPLY_ORDER = (CouponKind.EXCHANGE, CouponKind.AMOUNT, CouponKind.PERCENT, CouponKind.SHIPPING)
"""In one order, coupons are applied in this order of their kinds; within a kind, the older template first."""


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


# A template's terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which goods a coupon is for. Without categories and products: all. Exclusions win over both."""

    category_ids: frozenset[UUID] = frozenset()
    product_ids: frozenset[UUID] = frozenset()
    excluded_category_ids: frozenset[UUID] = frozenset()
    excluded_product_ids: frozenset[UUID] = frozenset()

    def covers(self, product_id: UUID, category_ids: Collection[UUID]) -> bool:
        """Whether a product is meant; ``category_ids`` are its category and the one above."""
        if product_id in self.excluded_product_ids or not self.excluded_category_ids.isdisjoint(category_ids):
            return False
        if not self.category_ids and not self.product_ids:
            return True
        return product_id in self.product_ids or not self.category_ids.isdisjoint(category_ids)

    def definition(self) -> dict[str, list[str]]:
        """What ``_parse_scope`` reads back."""
        return {
            "category_ids": _texts(self.category_ids),
            "product_ids": _texts(self.product_ids),
            "excluded_category_ids": _texts(self.excluded_category_ids),
            "excluded_product_ids": _texts(self.excluded_product_ids),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponTerms:
    """One version of a template's terms.

    ``amount_fen`` belongs to the kind amount, ``discount_bp`` to percent; ``cap_fen`` is the most that a percent,
    exchange or shipping coupon takes off, None: no cap. Valid from ``valid_from`` to ``valid_until``, both shop days
    included, or for ``valid_days`` days after the claim, from ``delay_days`` later on. ``member_limit`` None: no limit.
    A coupon may be given on ``gift_limit`` times, each time for ``gift_hours`` hours.
    """

    kind: CouponKind
    amount_fen: int | None = None
    discount_bp: int | None = None
    cap_fen: int | None = None
    threshold_fen: int = 0
    scope: Scope = field(default_factory=Scope)
    valid_from: date | None = None
    valid_until: date | None = None
    valid_days: int | None = None
    delay_days: int = 0
    group: str = DEFAULT_GROUP
    combines_with: frozenset[str] = frozenset()
    exclusive: bool = False
    max_per_order: int = 1
    member_limit: int | None = None
    member_daily_limit: int | None = None
    return_grace_days: int = 7
    gift_limit: int = 1
    gift_hours: int = 24

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        kind = fields.choice("kind", CouponKind)
        for name, owners in _OWNERS.items():
            if fields.has(name) and kind not in owners:
                raise invalid(name, Reason(f"does not belong to a coupon of the kind {kind}", "不适用于此类券"))
        valid_from, valid_until = _parse_days(fields)
        fixed = valid_until is not None
        exclusive = fields.boolean("exclusive", False)
        combines_with = frozenset(fields.codes("combines_with"))
        if exclusive and combines_with:
            raise invalid("combines_with", Reason("must be empty for an exclusive coupon", "独享券不可叠加"))
        terms = cls(
            kind=kind,
            amount_fen=fields.integer("amount_fen", 1, MAX_COUPON_FEN) if kind is CouponKind.AMOUNT else None,
            discount_bp=fields.integer("discount_bp", 1, BP) if kind is CouponKind.PERCENT else None,
            cap_fen=fields.optional_integer("cap_fen", 1, MAX_COUPON_FEN),
            threshold_fen=fields.integer("threshold_fen", 0, MAX_COUPON_FEN, 0),
            scope=_parse_scope(fields),
            valid_from=valid_from,
            valid_until=valid_until,
            valid_days=None if fixed else fields.integer("valid_days", 1, 3_650),
            delay_days=0 if fixed else fields.integer("delay_days", 0, 365, 0),
            group=fields.code("group") if fields.has("group") else DEFAULT_GROUP,
            combines_with=combines_with,
            exclusive=exclusive,
            max_per_order=fields.integer("max_per_order", 1, MAX_COUPONS_PER_ORDER, 1),
            member_limit=fields.optional_integer("member_limit", 1, 1_000_000),
            member_daily_limit=fields.optional_integer("member_daily_limit", 1, 1_000_000),
            return_grace_days=fields.integer("return_grace_days", 0, 365, 7),
            gift_limit=fields.integer("gift_limit", 0, 10, 1),
            gift_hours=fields.integer("gift_hours", 1, 168, 24),
        )
        fields.done()
        return terms

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to equal terms."""
        return {
            "kind": self.kind.value,
            "amount_fen": self.amount_fen,
            "discount_bp": self.discount_bp,
            "cap_fen": self.cap_fen,
            "threshold_fen": self.threshold_fen,
            "scope": self.scope.definition(),
            "valid_from": self.valid_from.isoformat() if self.valid_from else None,
            "valid_until": self.valid_until.isoformat() if self.valid_until else None,
            "valid_days": self.valid_days,
            "delay_days": self.delay_days or None,
            "group": self.group,
            "combines_with": sorted(self.combines_with),
            "exclusive": self.exclusive,
            "max_per_order": self.max_per_order,
            "member_limit": self.member_limit,
            "member_daily_limit": self.member_daily_limit,
            "return_grace_days": self.return_grace_days,
            "gift_limit": self.gift_limit,
            "gift_hours": self.gift_hours,
        }

    def names(self) -> list[Name]:
        """The goods of the scope, which must be there."""
        return scope_names(self.scope.definition())

    def worth_fen(self) -> int | None:
        """The most that one coupon can cost the shop, in fen; None when nothing bounds it."""
        return self.amount_fen if self.kind is CouponKind.AMOUNT else self.cap_fen

    def combines(self, other: "CouponTerms") -> bool:
        """Whether coupons of these terms go together: each names the other's group, and neither is exclusive."""
        agreed = other.group in self.combines_with and self.group in other.combines_with
        return agreed and not self.exclusive and not other.exclusive


_OWNERS = {
    "amount_fen": {CouponKind.AMOUNT},
    "discount_bp": {CouponKind.PERCENT},
    "cap_fen": {CouponKind.PERCENT, CouponKind.EXCHANGE, CouponKind.SHIPPING},
}


def _texts(ids: Collection[UUID]) -> list[str]:
    return sorted(str(one) for one in ids)


def _parse_days(fields: Fields) -> tuple[date | None, date | None]:
    if not fields.has("valid_until"):
        if fields.has("valid_from"):
            raise invalid("valid_from", Reason("needs valid_until", "须同时设置 valid_until"))
        return None, None
    for name in ("valid_days", "delay_days"):
        if fields.has(name):
            raise invalid(name, Reason("does not go with fixed days", "固定有效期不适用"))
    valid_from = fields.day("valid_from") if fields.has("valid_from") else None
    valid_until = fields.day("valid_until")
    if valid_from is not None and valid_until < valid_from:
        raise invalid("valid_until", Reason("must not be before valid_from", "不能早于 valid_from"))
    return valid_from, valid_until


def _parse_scope(fields: Fields) -> Scope:
    part = fields.part("scope")
    if part is None:
        return Scope()
    scope = Scope(
        category_ids=frozenset(part.ids("category_ids", MAX_SCOPE)),
        product_ids=frozenset(part.ids("product_ids", MAX_SCOPE)),
        excluded_category_ids=frozenset(part.ids("excluded_category_ids", MAX_SCOPE)),
        excluded_product_ids=frozenset(part.ids("excluded_product_ids", MAX_SCOPE)),
    )
    part.done()
    return scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """A coupon can be used from ``usable_from`` until before ``expires_at``."""

    usable_from: datetime
    expires_at: datetime


def validity(terms: CouponTerms, *, claimed_at: datetime, zone: tzinfo) -> Validity:
    """When a coupon that is claimed at ``claimed_at`` can be used.

    Days after the claim are whole shop days: without a delay the rest of the day of the claim comes on top.
    """
    if terms.valid_until is not None:
        starts_at = day_start(terms.valid_from, zone) if terms.valid_from else claimed_at
        return Validity(usable_from=max(starts_at, claimed_at), expires_at=day_end(terms.valid_until, zone))
    assert terms.valid_days is not None, "terms without fixed days have a number of days"
    today = business_day(claimed_at, zone)
    first = today + timedelta(days=terms.delay_days)
    last = first + timedelta(days=terms.valid_days - (1 if terms.delay_days else 0))
    usable_from = day_start(first, zone) if terms.delay_days else claimed_at
    return Validity(usable_from=usable_from, expires_at=day_end(last, zone))


def returned_until(terms: CouponTerms, *, expires_at: datetime, now: datetime, zone: tzinfo) -> datetime:
    """Until when a coupon is good that an order gives back at ``now``: as before, or so many more days if it ended.

    The days are whole shop days after today. Without any (``return_grace_days`` 0), what has ended stays ended.
    """
    if now < expires_at or terms.return_grace_days == 0:
        return expires_at
    return day_end(business_day(now, zone) + timedelta(days=terms.return_grace_days), zone)
