"""The points on an order: held when it is placed, spent when it is paid, given back after it."""

from datetime import datetime
from uuid import UUID

from models.order import Order
from resolvers import points
from resolvers.deps import Deps
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
    """Give back what was spent, into the lots it came from."""
    if order.points_used:
        await points.return_spent(
            order.member_id,
            cause_kind="order",
            cause_id=order.id,
            amount=order.points_used,
            key=f"order:{order.id}:return",
            now=now,
            programme=await version("points", order.points_version_id),
        )
