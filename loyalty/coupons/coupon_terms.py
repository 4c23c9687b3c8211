"""What the terms of a coupon template say: what a coupon takes off, of which goods, and when it is good.

Source: docs/rules/coupon.md
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Self
from uuid import UUID

from loyalty.money import BP
from loyalty.programme import Definition, Fields, Name, Reason, invalid, scope_names
from loyalty.shop_time import business_day, day_end, day_start

MAX_COUPON_FEN = 1_000_000_000
MAX_COUPONS_PER_ORDER = 5
MAX_SCOPE = 200
DEFAULT_GROUP = "standard"


class CouponKind(StrEnum):
    """What a coupon takes off."""

    AMOUNT = "amount"
    PERCENT = "percent"
    EXCHANGE = "exchange"
    SHIPPING = "shipping"


APPLY_ORDER = (CouponKind.EXCHANGE, CouponKind.AMOUNT, CouponKind.PERCENT, CouponKind.SHIPPING)
"""In one order, coupons are applied in this order of their kinds; within a kind, the older template first."""


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
