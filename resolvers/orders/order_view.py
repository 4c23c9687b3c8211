"""Reading orders: lists by key, and the parts of many orders at once."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.orders.order import OrderKind, OrderState
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order, OrderEvent, OrderLine
from models.payments.payment import Refund
from resolvers.deps import Deps

NEWEST = Keyset("order.newest", (Key("id", UUID),))


async def orders(
    *,
    page: Page,
    member_id: UUID | None,
    state: OrderState | None,
    kind: OrderKind | None,
    fulfilment: FulfilmentState | None = None,
) -> Slice[Order]:
    """Orders, newest first: the shop's or a member's, all or those in a state of a kind, or with goods in a state."""
    wanted: dict[str, Any] = {"member_id": member_id, "state": state, "kind": kind, "fulfilment_state": fulfilment}
    return await fetch(Order.filter(**{name: value for name, value in wanted.items() if value is not None}), page)


async def lines_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[OrderLine]]:
    """The lines of each order, in their order."""
    found = await OrderLine.filter(order_id__in=list(order_ids)).order_by("position")
    return _grouped(order_ids, found)


async def events_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[OrderEvent]]:
    """The timeline of each order, oldest first."""
    found = await OrderEvent.filter(order_id__in=list(order_ids)).order_by("id")
    return _grouped(order_ids, found)


async def refunds_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[Refund]]:
    """The refunds of each order, oldest first."""
    found = await Refund.filter(order_id__in=list(order_ids)).order_by("id")
    return _grouped(order_ids, found)


def _grouped(order_ids: Sequence[UUID], found: Sequence[Any]) -> dict[UUID, list[Any]]:
    groups: dict[UUID, list[Any]] = {order_id: [] for order_id in order_ids}
    for row in found:
        groups[row.order_id].append(row)
    return groups
