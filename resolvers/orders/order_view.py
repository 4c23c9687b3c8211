"""Reading orders: lists by key, and the parts of many orders at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.delivery.fulfilment import FulfilmentState
from loyalty.orders.order import OrderKind, OrderState
from models.engine import rows
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order, OrderLine
from models.payments.payment import Refund
from resolvers.deps import Deps

NEWEST = Keyset("order.newest", (Key("id", UUID),))

EVENTS_SHOWN = 200
"""How many lines of a timeline are read at most: a member can ask for a refund and think better of it for ever."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLine:
    """One thing that happened to an order, and when."""

    order_id: UUID
    kind: str
    at: datetime


async def events_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[TimelineLine]]:
    """The timeline of each order, oldest first: its newest ``EVENTS_SHOWN`` lines."""
    found = await rows(
        "SELECT event.order_id, event.kind, event.at FROM unnest($1::uuid[]) AS asked(id) CROSS JOIN LATERAL ("
        "SELECT id, order_id, kind, at FROM order_event WHERE order_id = asked.id ORDER BY id DESC LIMIT $2"
        ") event ORDER BY event.id",
        [list(order_ids), EVENTS_SHOWN],
    )
    return _grouped(order_ids, [TimelineLine(**row) for row in found])


async def refunds_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[Refund]]:
    """The refunds of each order, oldest first."""
    found = await Refund.filter(order_id__in=list(order_ids)).order_by("id")
    return _grouped(order_ids, found)


def _grouped(order_ids: Sequence[UUID], found: Sequence[Any]) -> dict[UUID, list[Any]]:
    groups: dict[UUID, list[Any]] = {order_id: [] for order_id in order_ids}
    for row in found:
        groups[row.order_id].append(row)
    return groups
