"""A line of an order before pricing, and what one piece of it costs without any promotion.

Source: docs/rules/pricing.md
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from loyalty.money import apply_bp


class PriceSource(StrEnum):
    """Which price a unit is sold at."""

    LIST = "list"
    ACTIVITY = "activity"
    MEMBER = "member"
    TIER = "tier"


class PriceStep(StrEnum):
    """The steps of the pipeline, in their order."""

    LIST = "list"
    ACTIVITY = "activity"
    MEMBER = "member"
    TIER = "tier"
    DISCOUNT = "discount"
    BUNDLE = "bundle"
    AMOUNT_OFF = "amount_off"
    COUPON = "coupon"
    POINTS = "points"
    SHIPPING = "shipping"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One line before pricing; prices are fen for one unit. ``member_price_fen`` None: the SKU has none.

    ``activity_price_fen`` is what an activity asks for each of its pieces, such as a flash sale or a group-buy, and
    ``activity_code`` names it; None: the line is in no activity. ``product_id`` and ``category_ids`` (its category and
    the one above) say which promotions and coupons are for it.
    """

    sku_id: UUID
    quantity: int
    list_price_fen: int
    member_price_fen: int | None = None
    activity_price_fen: int | None = None
    activity_code: str | None = None
    product_id: UUID | None = None
    category_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """What the member's tier takes off the list price, in 1/10,000."""

    code: str
    discount_bp: int


def unit_price(
    *,
    list_price_fen: int,
    member_price_fen: int | None = None,
    tier: TierTerms | None = None,
    activity_price_fen: int | None = None,
) -> tuple[int, PriceSource]:
    """The price of one unit: the lowest of list price, activity price, member price, list price less the tier discount.

    They never add up. The discount is rounded half up to a fen and leaves at least 1 fen. At equal prices the list
    price is named first, then the activity, the member price, the tier.
    """
    best, source = list_price_fen, PriceSource.LIST
    if activity_price_fen is not None and activity_price_fen < best:
        best, source = activity_price_fen, PriceSource.ACTIVITY
    if member_price_fen is not None and member_price_fen < best:
        best, source = member_price_fen, PriceSource.MEMBER
    if tier is not None:
        discounted = max(1, list_price_fen - apply_bp(list_price_fen, tier.discount_bp))
        if discounted < best:
            best, source = discounted, PriceSource.TIER
    return best, source
