"""Price history: which former price may be shown struck through beside the present one.

Source: docs/rules/price_history.md, after 《规范促销行为暂行规定》 article 21
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

WINDOW: Final = timedelta(days=7)
"""So long before a price began, its end excluded, the lowest price counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A price in fen that was shown from ``from_at`` until before ``until_at``: the lower of list and member price."""

    price_fen: int
    from_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """What a piece was really sold for, in fen above 0, after discounts, promotions and coupons."""

    price_fen: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A price in fen of a SKU that began at ``began_at``: of the shelf, or of an activity."""

    sku_id: UUID
    present_fen: int
    began_at: datetime
    flash_item_id: UUID | None = None


def struck_through(
    *, present_fen: int, began_at: datetime, listed: Sequence[Listed], deals: Sequence[Deal]
) -> int | None:
    """The price in fen that may be struck through beside ``present_fen``; None if there is no honest one.

    ``deals`` are those of the window, or at least the last one before it; what came at ``began_at`` or later does not
    count.
    """
    opens_at = began_at - WINDOW
    before = [deal for deal in deals if deal.at < began_at]
    recent = [deal.price_fen for deal in before if deal.at >= opens_at]
    if not recent:
        if not before:
            return None
        recent = [max(before, key=lambda deal: deal.at).price_fen]
    shown = [one.price_fen for one in listed if one.from_at < began_at and one.until_at > opens_at]
    baseline_fen = min([*recent, *shown])
    return baseline_fen if baseline_fen > present_fen else None
