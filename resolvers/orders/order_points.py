"""The points on an order: held when it is placed, spent when it is paid, given back after it."""

from datetime import datetime
from uuid import UUID

from models.engine import rows
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import version


async def hold(_: Deps, order: Order, __: UUID, now: datetime) -> None:
    """Hold the points that the order uses. Raises: PointsShort."""
    if order.points_used:
        await points.hold(order.member_id, amount=order.points_used, cause_kind="order", cause_id=order.id, now=now)


async def post(_: Deps, order: Order, now: datetime) -> None:
    """Spend what is held."""
    await points.post(cause_kind="order", cause_id=order.id, now=now, version_id=order.points_version_id)


async def release(_: Deps, order: Order, now: datetime) -> None:
    """Give back what is held."""
    programme = await version("points", order.points_version_id)
    await points.release(cause_kind="order", cause_id=order.id, now=now, programme=programme)


async def give_back(_: Deps, order: Order, now: datetime) -> None:
    """Give back what was spent on the pieces that have gone back, into the lots it came from."""
    found = await rows(
        "SELECT (SELECT coalesce(sum(points_used), 0) FROM order_refund "
        "WHERE order_id = $1 AND state = 'done')::bigint AS gone, (SELECT coalesce(sum(amount), 0) FROM points_entry "
        "WHERE cause_kind = 'order' AND cause_id = $1 AND kind = 'spend_reversal')::bigint AS returned",
        [order.id],
    )
    gone, returned = found[0]["gone"], found[0]["returned"]
    if gone > returned:
        await points.return_spent(
            order.member_id,
            cause_kind="order",
            cause_id=order.id,
            amount=gone - returned,
            key=f"order:{order.id}:return:{returned}",
            now=now,
            programme=await version("points", order.points_version_id),
        )
