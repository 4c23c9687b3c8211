"""What an order holds while it waits to be paid: one shape for everything that is scarce.

Each kind of scarce thing is a module with four functions. Whatever it is, it is held when the order is placed (or
revived by late money), posted when the order is paid, released when the order is closed, and given back when the order
is refunded; each once, by compare-and-set, inside the caller's transaction with the order's member locked. See
docs/decisions/0010-one-shape-of-hold.md.
"""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from loyalty.orders.order import OrderState
from models.engine import in_transaction
from models.orders.order import Order
from resolvers.coupons import coupon_hold
from resolvers.deps import Deps
from resolvers.flash_sales import flash_hold
from resolvers.group_buys import group_seat
from resolvers.orders import order_points, order_stock
from resolvers.prices import promotion_hold


class OrderHold(Protocol):
    """One kind of scarce thing that orders hold. A module is one; so may be any object with these functions."""

    async def hold(self, deps: Deps, order: Order, cause_id: UUID, now: datetime, /) -> None:
        """Hold what the order needs, or raise the refusal that says what is missing.

        ``cause_id`` is the order's own id when it is placed, and the payment's when late money revives it.
        """

    async def post(self, deps: Deps, order: Order, now: datetime, /) -> None:
        """The order is paid: what is held is spent."""

    async def release(self, deps: Deps, order: Order, now: datetime, /) -> None:
        """The order is closed: what is held is free again."""

    async def give_back(self, deps: Deps, order: Order, now: datetime, /) -> None:
        """All of the order is refunded: what was spent is free again. Those in ``BY_PIECE`` hear of every part."""


OWN: tuple[OrderHold, ...] = (order_points, coupon_hold)
"""What belongs to the member alone, whose lock is held already."""

SHARED: tuple[OrderHold, ...] = (promotion_hold, group_seat, flash_hold, order_stock)
"""What others want too, in the order of its locks: guarded updates, the last statements of a transaction."""


BY_PIECE: tuple[OrderHold, ...] = (order_points, coupon_hold, flash_hold, order_stock)
"""What comes back with each part of an order that is refunded: these look at which pieces are gone
(``order_line.refunded_count``, ``order_refund``). Anything else comes back with the last piece.
"""


async def hold(deps: Deps, order: Order, cause_id: UUID, now: datetime) -> None:
    """Hold everything that the order needs; the first refusal takes all of it back with the transaction."""
    assert in_transaction(), "an order is written together with what it holds"
    for one in OWN + SHARED:
        await one.hold(deps, order, cause_id, now)


async def post_own(deps: Deps, order: Order, now: datetime) -> None:
    """Spend what the order holds of the member's own."""
    for one in OWN:
        await one.post(deps, order, now)


async def post_shared(deps: Deps, order: Order, now: datetime) -> None:
    """Spend what the order holds of what others want too, after everything else of a payment."""
    for one in SHARED:
        await one.post(deps, order, now)


async def release(deps: Deps, order: Order, now: datetime) -> None:
    """Let go of everything that the order holds."""
    for one in OWN + SHARED:
        await one.release(deps, order, now)


async def give_back_own(deps: Deps, order: Order, now: datetime) -> None:
    """Give back what the refunded pieces had spent of the member's own, before what they earned is taken back."""
    await _give_back(OWN, deps, order, now)


async def give_back_shared(deps: Deps, order: Order, now: datetime) -> None:
    """Give back what the refunded pieces had taken of what others want too, after everything else of a refund."""
    await _give_back(SHARED, deps, order, now)


async def _give_back(held: tuple[OrderHold, ...], deps: Deps, order: Order, now: datetime) -> None:
    for one in held:
        if one in BY_PIECE or order.state == OrderState.REFUNDED:
            await one.give_back(deps, order, now)
