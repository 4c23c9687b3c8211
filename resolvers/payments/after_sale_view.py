"""Reading after-sale requests and refunds in pieces: lists by key, and the parts of many at once."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from loyalty.payments.after_sale import AfterSaleState
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.payments.after_sale import AfterSale, AfterSaleLine, OrderRefund, OrderRefundLine
from resolvers.deps import Deps

NEWEST = Keyset("after_sale.newest", (Key("id", UUID),))


async def requests(
    *, page: Page, member_id: UUID | None, order_id: UUID | None, state: AfterSaleState | None
) -> Slice[AfterSale]:
    """Requests, newest first: the shop's or a member's, all or those of an order or in a state."""
    wanted: dict[str, Any] = {"member_id": member_id, "order_id": order_id, "state": state}
    return await fetch(AfterSale.filter(**{name: value for name, value in wanted.items() if value is not None}), page)


async def request(after_sale_id: UUID, *, member_id: UUID | None) -> AfterSale | None:
    """One request, of the member if one is given."""
    row = await AfterSale.get_or_none(id=after_sale_id)
    return row if row is not None and member_id in (None, row.member_id) else None


async def lines_by_request(_: Deps, after_sale_ids: Sequence[UUID]) -> Mapping[UUID, list[AfterSaleLine]]:
    """The pieces of each request."""
    found: dict[UUID, list[AfterSaleLine]] = {one: [] for one in after_sale_ids}
    for row in await AfterSaleLine.filter(after_sale_id__in=list(after_sale_ids)).order_by("id"):
        found[row.after_sale_id].append(row)
    return found


async def parts_by_order(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, list[OrderRefund]]:
    """The parts of each order that go or went back, oldest first."""
    found: dict[UUID, list[OrderRefund]] = {one: [] for one in order_ids}
    for row in await OrderRefund.filter(order_id__in=list(order_ids)).order_by("id"):
        found[row.order_id].append(row)
    return found


async def parts_by_id(_: Deps, part_ids: Sequence[UUID]) -> Mapping[UUID, OrderRefund]:
    """These parts."""
    return {row.id: row for row in await OrderRefund.filter(id__in=list(part_ids))}


async def lines_by_part(_: Deps, part_ids: Sequence[UUID]) -> Mapping[UUID, list[OrderRefundLine]]:
    """The pieces of each part."""
    found: dict[UUID, list[OrderRefundLine]] = {one: [] for one in part_ids}
    for row in await OrderRefundLine.filter(order_refund_id__in=list(part_ids)).order_by("id"):
        found[row.order_refund_id].append(row)
    return found
