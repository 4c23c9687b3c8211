"""Finds what should not be: an order that is over and still holds something, or one that nobody closes."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from loyalty.payments.exception_case import CaseKind
from models.engine import rows, transaction
from resolvers.deps import Deps
from resolvers.payments.exception_case import open_case

PATIENCE = timedelta(hours=1)
"""How long after its deadline an order may still be on its way to being closed."""

_STUCK = """
SELECT id FROM (
    SELECT o.id FROM points_hold held JOIN shop_order o ON o.id = held.cause_id
     WHERE held.state = 'pending' AND held.cause_kind = 'order' AND o.state IN ('closed', 'refunded')
    UNION SELECT o.id FROM coupon held JOIN shop_order o ON o.id = held.order_id
     WHERE held.state = 'reserved' AND o.state IN ('closed', 'refunded')
    UNION SELECT id FROM shop_order WHERE state IN ('unpaid', 'closing') AND pay_by < $1
) stuck
WHERE NOT EXISTS (SELECT FROM exception_case WHERE key IN ('hold_stuck:' || stuck.id, 'close_stuck:' || stuck.id))
ORDER BY id LIMIT $2
"""


async def stuck(deps: Deps, limit: int) -> Sequence[UUID]:
    """Ids of orders that hold what they should not, and that stand in no case yet."""
    return [row["id"] for row in await rows(_STUCK, [deps.clock.now() - PATIENCE, limit])]


async def tell(deps: Deps, order_id: UUID) -> None:
    """Open the case."""
    async with transaction():
        await open_case(
            kind=CaseKind.HOLD_STUCK,
            key=f"hold_stuck:{order_id}",
            order_id=order_id,
            details={},
            now=deps.clock.now(),
        )
