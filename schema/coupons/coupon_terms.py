"""A coupon's terms, as they are shown and as operators write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.people.rights import Right
from loyalty.programme import ProgrammeInvalid
from schema.context import Info
from schema.enums import describe
from schema.permissions import require_right
from schema.programme import definition_of, in_api_words
from schema.scalars import Fen

describe(
    CouponKind,
    "What a coupon takes off.",
    {
        CouponKind.AMOUNT: "Up to its face 代金券、满减券.",
        CouponKind.PERCENT: "A part of the goods, up to its cap 折扣券.",
        CouponKind.EXCHANGE: "The price of one piece of the dearest line that it is for, up to its cap 兑换券.",
        CouponKind.SHIPPING: "The shipping fee, up to its cap 包邮券.",
    },
)


@strawberry.type(description="Which goods a coupon is for. Without categories and products: all. Exclusions win.")
class CouponScope:
    """Four lists."""

    category_ids: list[UUID] = strawberry.field(description="These categories, with those under them.")
    product_ids: list[UUID] = strawberry.field(description="These products.")
    excluded_category_ids: list[UUID] = strawberry.field(description="Not these categories, nor those under them.")
    excluded_product_ids: list[UUID] = strawberry.field(description="Not these products.")


@strawberry.type(name="CouponTerms", description="What a coupon does. A version of a template's terms never changes.")
class CouponTermsView:
    """One version."""

    kind: CouponKind = strawberry.field(description="What it takes off.")
    amount: Fen | None = strawberry.field(description="The face of an amount coupon, in fen; null for others.")
    discount_bp: int | None = strawberry.field(
        description="The part a percent coupon takes off, in 1/10,000: 1,500 is 八五折; null for others."
    )
    cap: Fen | None = strawberry.field(description="The most that it takes off, in fen; null without a cap.")
    threshold: Fen = strawberry.field(
        description="The goods that it is for cost at least this much before coupons, in fen; 0: no threshold."
    )
    scope: CouponScope = strawberry.field(description="Which goods it is for.")
    valid_from: date | None = strawberry.field(description="First shop day of fixed days; null: from the claim on.")
    valid_until: date | None = strawberry.field(description="Last shop day of fixed days; null: days after the claim.")
    valid_days: int | None = strawberry.field(description="Whole shop days after the claim; null for fixed days.")
    delay_days: int = strawberry.field(description="Days after the claim until it can be used, 0 to 365.")
    group: str = strawberry.field(description="The group it is of, for combining.")
    combines_with: list[str] = strawberry.field(
        description="Groups whose coupons it goes with, if those name its group too."
    )
    exclusive: bool = strawberry.field(description="Whether it goes with no other coupon.")
    max_per_order: int = strawberry.field(description="Coupons of this template on one order, 1 to 5.")
    member_limit: int | None = strawberry.field(description="Coupons a member may have in all; null without a limit.")
    member_daily_limit: int | None = strawberry.field(
        description="Coupons a member may have a shop day; null: no limit."
    )
    return_grace_days: int = strawberry.field(
        description="Days for which it is good again if it ended while an order had it, 0 to 365."
    )
    gift_limit: int = strawberry.field(description="How often it may be given on to a friend, 0 (never) to 10.")
    gift_hours: int = strawberry.field(description="Hours that a friend has to take it, 1 to 168.")

    @classmethod
    def from_rule(cls, terms: CouponTerms) -> "CouponTermsView":
        """The terms as the rule knows them."""
        scope = terms.scope
        return cls(
            kind=terms.kind,
            amount=None if terms.amount_fen is None else Fen(terms.amount_fen),
            discount_bp=terms.discount_bp,
            cap=None if terms.cap_fen is None else Fen(terms.cap_fen),
            threshold=Fen(terms.threshold_fen),
            scope=CouponScope(
                category_ids=sorted(scope.category_ids),
                product_ids=sorted(scope.product_ids),
                excluded_category_ids=sorted(scope.excluded_category_ids),
                excluded_product_ids=sorted(scope.excluded_product_ids),
            ),
            valid_from=terms.valid_from,
            valid_until=terms.valid_until,
            valid_days=terms.valid_days,
            delay_days=terms.delay_days,
            group=terms.group,
            combines_with=sorted(terms.combines_with),
            exclusive=terms.exclusive,
            max_per_order=terms.max_per_order,
            member_limit=terms.member_limit,
            member_daily_limit=terms.member_daily_limit,
            return_grace_days=terms.return_grace_days,
            gift_limit=terms.gift_limit,
            gift_hours=terms.gift_hours,
        )


@strawberry.input(description="Which goods a coupon is for. Without categories and products: all. Exclusions win.")
class CouponScopeInput:
    """Four lists of at most 200 ids each."""

    category_ids: list[UUID] | None = strawberry.field(default=None, description="These, with those under them.")
    product_ids: list[UUID] | None = strawberry.field(default=None, description="These products.")
    excluded_category_ids: list[UUID] | None = strawberry.field(
        default=None, description="Not these categories, nor those under them."
    )
    excluded_product_ids: list[UUID] | None = strawberry.field(default=None, description="Not these products.")


@strawberry.input(description="What the coupons of a template do. A whole version: what is left out takes its default.")
class CouponTermsInput:
    """The terms."""

    kind: CouponKind = strawberry.field(description="What they take off. It stays what it is.")
    amount: Fen | None = strawberry.field(
        default=None, description="The face of an amount coupon in fen, 1 to 1,000,000,000; required there."
    )
    discount_bp: int | None = strawberry.field(
        default=None, description="The part that a percent coupon takes off, 1 to 10,000 in 1/10,000; required there."
    )
    cap: Fen | None = strawberry.field(
        default=None,
        description="The most that a percent, exchange or shipping coupon takes off, in fen; no cap unless given.",
    )
    threshold: Fen = strawberry.field(
        default=Fen(0), description="The goods must cost at least this much before coupons, in fen; 0 for none."
    )
    scope: CouponScopeInput | None = strawberry.field(default=None, description="Which goods; all unless given.")
    valid_from: date | None = strawberry.field(default=None, description="First shop day; needs validUntil.")
    valid_until: date | None = strawberry.field(default=None, description="Last shop day of fixed days.")
    valid_days: int | None = strawberry.field(
        default=None, description="Whole shop days after the claim, 1 to 3,650; required unless days are fixed."
    )
    delay_days: int | None = strawberry.field(
        default=None, description="Days after the claim until it can be used, 0 to 365; 0 unless given."
    )
    group: str | None = strawberry.field(
        default=None, description="A group, 1 to 40 characters a-z, 0-9 and `_`; `standard` unless given."
    )
    combines_with: list[str] | None = strawberry.field(
        default=None, description="Groups whose coupons it goes with, if those name its group too; none unless given."
    )
    exclusive: bool = strawberry.field(default=False, description="Whether it goes with no other coupon.")
    max_per_order: int = strawberry.field(default=1, description="Coupons of it on one order, 1 to 5.")
    member_limit: int | None = strawberry.field(
        default=None, description="Coupons a member may have in all, 1 to 1,000,000; no limit unless given."
    )
    member_daily_limit: int | None = strawberry.field(
        default=None, description="Coupons a member may have a shop day, 1 to 1,000,000; no limit unless given."
    )
    return_grace_days: int = strawberry.field(
        default=7, description="Days for which it is good again if it ended while an order had it, 0 to 365."
    )
    gift_limit: int = strawberry.field(
        default=1, description="How often a coupon may be given on from member to member, 0 (never) to 10."
    )
    gift_hours: int = strawberry.field(default=24, description="Hours that a friend has to take it, 1 to 168.")

    def to_definition(self) -> dict[str, object]:
        """What the rule parses, every field named so that a change takes what was left out away."""
        given = definition_of(self)
        for name in ("amount", "cap", "threshold"):
            given[f"{name}_fen"] = given.pop(name, None)
        return {**dict.fromkeys(_TERMS), **given}


_TERMS = (
    "scope",
    "discount_bp",
    "valid_from",
    "valid_until",
    "valid_days",
    "delay_days",
    "group",
    "combines_with",
    "member_limit",
    "member_daily_limit",
)


_TOP = frozenset({"code", "total_limit", "daily_limit", "opens_at", "closes_at", "title", "size", "reason"})
_MONEY = {
    "amount_fen": "terms.amount",
    "cap_fen": "terms.cap",
    "threshold_fen": "terms.threshold",
    "budget_fen": "budget",
}


@contextmanager
def named_as_here() -> Iterator[None]:
    """The terms are an input of their own here, and money has no unit in its name."""
    try:
        yield
    except ProgrammeInvalid as refusal:
        named = str(refusal.data["field"])
        if named in _TOP | {"member_ids", "tier_codes"} or named in _MONEY:
            raise in_api_words(refusal, _MONEY) from None
        raise in_api_words(ProgrammeInvalid(**{**refusal.data, "field": f"terms.{named}"})) from None


def coupon_writer(info: Info) -> UUID:
    """The id of the operator who changes templates."""
    return require_right(info, Right.COUPON_WRITE).subject_id


TemplateId = Annotated[UUID, strawberry.argument(description="The template.")]
