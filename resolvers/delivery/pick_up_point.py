"""The places where members fetch their orders, kept by operators."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

from loyalty.delivery.pick_up import PickUpPlace, PickUpPointNotFound, fit_place
from models.delivery.fulfilment import PickUpPoint
from models.engine import changed, in_transaction, retried, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

NEWEST = Keyset("pick_up_point.newest", (Key("id", UUID),))


async def browse(*, page: Page, hidden_too: bool) -> Slice[PickUpPoint]:
    """The points, newest first; members see those that are not hidden."""
    return await fetch(PickUpPoint.all() if hidden_too else PickUpPoint.filter(is_hidden=False), page)


@retried
async def create(deps: Deps, *, operator_id: UUID, place: PickUpPlace, idempotency_key: str) -> PickUpPoint:
    """Open a point. Raises: PickUpPointInvalid, KeyInvalid, KeyReused."""
    now = deps.clock.now()
    content = asdict(place)
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="pickUpPointCreate", content=content)
        if before is not None:
            return await PickUpPoint.get(id=UUID(before["point_id"]))
        kept = asdict(fit_place(place))
        point = await PickUpPoint.create(id=new_id(now), **kept, created_at=now, updated_at=now)
        await record(operator_id, "pick_up_point.create", "pick_up_point", point.id, None, _told(kept), now)
        await remember(
            operator_id,
            key=idempotency_key,
            operation="pickUpPointCreate",
            content=content,
            result={"point_id": str(point.id)},
            now=now,
        )
        return point


@retried
async def change(
    deps: Deps, *, operator_id: UUID, point_id: UUID, place: PickUpPlace, is_hidden: bool, idempotency_key: str
) -> PickUpPoint:
    """Write a point anew, and show or hide it. A hidden one still hands out what was ordered there.

    Raises: PickUpPointNotFound, PickUpPointInvalid, KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    content = {"point_id": str(point_id), "is_hidden": is_hidden, **asdict(place)}
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="pickUpPointChange", content=content)
        if before is None:
            point = await PickUpPoint.filter(id=point_id).select_for_update(no_key=True).get_or_none()
            if point is None:
                raise PickUpPointNotFound()
            kept = asdict(fit_place(place)) | {"is_hidden": is_hidden}
            was = {name: getattr(point, name) for name in kept}
            await changed(
                "UPDATE pick_up_point SET name = $2, address = $3, opening_hours = $4, phone = $5, is_hidden = $6, "
                "updated_at = $7 WHERE id = $1",
                [point_id, *kept.values(), now],
            )
            await record(operator_id, "pick_up_point.change", "pick_up_point", point_id, _told(was), _told(kept), now)
            await remember(
                operator_id,
                key=idempotency_key,
                operation="pickUpPointChange",
                content=content,
                result={"point_id": str(point_id)},
                now=now,
            )
        return await PickUpPoint.get(id=point_id)


def _told(kept: Mapping[str, object]) -> dict[str, object]:
    """The columns as the audit log has them, where ``phone`` is a person's and never told: this one is the shop's."""
    return {"shop_phone" if name == "phone" else name: value for name, value in kept.items()}


async def chosen(point_id: UUID) -> PickUpPoint:
    """The point that a new order names. Raises: PickUpPointNotFound, also for a hidden one."""
    point = await PickUpPoint.get_or_none(id=point_id, is_hidden=False)
    if point is None:
        raise PickUpPointNotFound()
    return point


async def choose(order: Order, point_id: UUID) -> None:
    """The new order is picked up there, in its transaction. Raises: PickUpPointNotFound, also for a hidden point."""
    assert in_transaction(), "an order is written together with where it goes"
    await chosen(point_id)
    await changed("UPDATE shop_order SET pick_up_point_id = $2 WHERE id = $1", [order.id, point_id])
    order.pick_up_point_id = point_id


async def by_ids(_: Deps, point_ids: Sequence[UUID]) -> Mapping[UUID, PickUpPoint]:
    """The points with these ids, hidden ones too."""
    return {point.id: point for point in await PickUpPoint.filter(id__in=list(point_ids))}
