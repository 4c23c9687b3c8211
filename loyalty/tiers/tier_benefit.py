"""The benefits of a tier as typed values: each kind says which figure it carries and what the figure means.

Source: docs/rules/tier.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from loyalty.programme import DUPLICATE, Fields, Reason, invalid
from loyalty.shop_time import is_birthday


class BenefitKind(StrEnum):
    """What a tier can give besides its discount and its points factor."""

    FREE_SHIPPING = "free_shipping"
    BIRTHDAY_GIFT = "birthday_gift"
    BIRTHDAY_COUPONS = "birthday_coupons"
    MONTHLY_COUPONS = "monthly_coupons"
    EARLY_ACCESS = "early_access"
    SERVICE_LINE = "service_line"
    EVENT_ACCESS = "event_access"


IN_EFFECT = frozenset(
    {
        BenefitKind.FREE_SHIPPING,
        BenefitKind.BIRTHDAY_GIFT,
        BenefitKind.BIRTHDAY_COUPONS,
        BenefitKind.MONTHLY_COUPONS,
        BenefitKind.EARLY_ACCESS,
        BenefitKind.SERVICE_LINE,
    }
)
"""What the store acts on, or only has to show; the others are shown and take effect with their mechanism."""


COUPON_BENEFITS = frozenset({BenefitKind.BIRTHDAY_COUPONS, BenefitKind.MONTHLY_COUPONS})
"""The code of these is that of a coupon template."""


class _Figure(NamedTuple):
    """The figure of a kind: its bounds, and whether a code (a gift, template or service line) goes with it."""

    low: int
    high: int
    default: int | None
    takes_code: bool


_FIGURES = {
    BenefitKind.FREE_SHIPPING: _Figure(0, 1_000_000_000, 0, False),
    BenefitKind.BIRTHDAY_GIFT: _Figure(0, 1_000_000, 0, True),
    BenefitKind.BIRTHDAY_COUPONS: _Figure(1, 20, None, True),
    BenefitKind.MONTHLY_COUPONS: _Figure(1, 100, None, True),
    BenefitKind.EARLY_ACCESS: _Figure(1, 10_080, None, False),
    BenefitKind.SERVICE_LINE: _Figure(0, 0, 0, True),
    BenefitKind.EVENT_ACCESS: _Figure(0, 0, 0, False),
}

_NO_CODE = Reason("does not belong to this kind of benefit", "不适用于此类权益")
_GIFT = Reason("must be points above 0, unless a code names the gift", "须大于 0，或用 code 指定礼品")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefit:
    """One benefit. ``figure`` means, by kind:

    free_shipping: from goods of this amount in fen; birthday_gift: points; birthday_coupons: coupons;
    monthly_coupons: coupons a month;
    early_access: minutes before the others; service_line and event_access: 0. ``code`` names the gift, the coupon
    template or the service line. ``monthly_limit`` is how many orders a month free_shipping is for; None: all.
    """

    kind: BenefitKind
    figure: int = 0
    code: str | None = None
    monthly_limit: int | None = None

    def definition(self) -> dict[str, object]:
        """The definition that reads back to an equal benefit."""
        limit = {} if self.monthly_limit is None else {"monthly_limit": self.monthly_limit}
        return {"kind": self.kind.value, "figure": self.figure, "code": self.code, **limit}


def parse_benefits(items: Sequence[Fields]) -> tuple[Benefit, ...]:
    """Read the benefits of one level, each kind at most once. Raises: ProgrammeInvalid."""
    benefits: list[Benefit] = []
    for item in items:
        kind = item.choice("kind", BenefitKind)
        if any(benefit.kind is kind for benefit in benefits):
            raise invalid(item.path("kind"), DUPLICATE)
        shape = _FIGURES[kind]
        figure = item.integer("figure", shape.low, shape.high, shape.default)
        named = item.has("code")
        if named and not shape.takes_code:
            raise invalid(item.path("code"), _NO_CODE)
        if kind is BenefitKind.BIRTHDAY_GIFT and figure == 0 and not named:
            raise invalid(item.path("figure"), _GIFT)
        needs_code = kind in COUPON_BENEFITS or kind is BenefitKind.SERVICE_LINE
        limited = kind is BenefitKind.FREE_SHIPPING
        benefits.append(
            Benefit(
                kind=kind,
                figure=figure,
                code=item.code("code") if named or needs_code else None,
                monthly_limit=item.optional_integer("monthly_limit", 1, 1_000) if limited else None,
            )
        )
        item.done()
    return tuple(benefits)


# What a benefit does


def ships_free(benefit: Benefit | None, *, payable_fen: int) -> bool:
    """Whether an order with goods of ``payable_fen`` is shipped free by the tier's free_shipping, if its month has
    room for one more.
    """
    return benefit is not None and benefit.kind is BenefitKind.FREE_SHIPPING and payable_fen >= benefit.figure


def opens_for(benefit: Benefit | None, *, opens_at: datetime) -> datetime:
    """When something that opens at ``opens_at`` opens for a member with the tier's early_access."""
    if benefit is None or benefit.kind is not BenefitKind.EARLY_ACCESS:
        return opens_at
    return opens_at - timedelta(minutes=benefit.figure)


def coupons_due(benefit: Benefit | None, *, granted_count: int) -> int:
    """How many coupons of this shop month a member of the tier has not got yet, by the tier's monthly_coupons.

    Rising within a month brings the difference; falling takes nothing back.
    """
    if benefit is None or benefit.kind is not BenefitKind.MONTHLY_COUPONS:
        return 0
    return max(0, benefit.figure - granted_count)


_OF_BIRTHDAYS = (BenefitKind.BIRTHDAY_GIFT, BenefitKind.BIRTHDAY_COUPONS)


def gift_due(benefit: Benefit | None, *, birthday: date | None, today: date, last_given_on: date | None) -> bool:
    """Whether a birthday benefit of the tier is due: on the birthday, and not within 330 days of the last one.

    The distance keeps a changed birthday from bringing a second gift a year.
    """
    if benefit is None or benefit.kind not in _OF_BIRTHDAYS or birthday is None:
        return False
    rested = last_given_on is None or (today - last_given_on).days >= 330
    return rested and is_birthday(birthday, today)
