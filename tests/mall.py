"""The points mall for tests: points for a member, and items made by the verbs that operators use."""

from typing import Any
from uuid import UUID

from loyalty.points.points import EntryKind
from models.engine import transaction
from models.ids import new_id, new_secret
from models.points.points_mall import MallItem
from resolvers.deps import Deps
from resolvers.points import points, points_mall
from resolvers.points.points_mall import NewItem
from resolvers.programme import points_programme
from tests.doors import make_operator


async def give_points(deps: Deps, member_id: UUID, amount: int) -> None:
    """So many points in a lot of their own, which an operator booked in."""
    now = deps.clock.now()
    async with transaction(member_id):
        await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.ADJUST,
            cause_kind="test",
            cause_id=new_id(now),
            key=new_secret(12),
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
        )


def new_item(*, title: str = "茶杯", sku_id: UUID | None = None, stock: int | None = None, **terms: Any) -> NewItem:
    """Goods at 500 points, of which there are 10, unless told otherwise."""
    definition = {"kind": "goods", "points": 500, **terms}
    counted = 10 if stock is None and sku_id is None and definition["kind"] == "goods" else stock
    window = {name: definition.pop(name) for name in ("opens_at", "closes_at") if name in definition}
    return NewItem(title=title, terms=definition, sku_id=sku_id, stock=counted, **window)


async def make_item(deps: Deps, *, published: bool = True, **fields: Any) -> MallItem:
    """An item of a new operator, in the mall unless told otherwise."""
    operator = await make_operator(deps)
    item = await points_mall.create(
        deps, operator_id=operator.id, item=new_item(**fields), idempotency_key=new_secret(12)
    )
    if not published:
        return item
    return await points_mall.publish(deps, operator_id=operator.id, item_id=item.id, idempotency_key=new_secret(12))
