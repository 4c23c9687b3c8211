"""Finds paid orders whose goods wait too long, and tells a person before WeChat's time for sending them is over."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loyalty.delivery.fulfilment import WAITING
from loyalty.payments.exception_case import CaseKind
from models.engine import in_transaction, rows, transaction
from resolvers.deps import Deps
from resolvers.payments.exception_case import cause_gone, open_case

_WAITS = """
SELECT id, member_id, EXISTS (SELECT FROM order_address WHERE order_id = shop_order.id) AS address
FROM shop_order WHERE fulfilment_state = ANY($1::text[]) AND state = 'paid' AND paid_at <= $2
AND (fulfilment_state <> 'to_pick_up' OR pick_up_ready_at IS NULL)
"""

_OVERDUE = f"""
{_WAITS} AND NOT EXISTS (SELECT FROM exception_case WHERE key = 'unshipped:' || shop_order.id) ORDER BY id LIMIT $3
"""


async def overdue(deps: Deps, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Ids of orders, with their members, that wait too long and of which nobody was told."""
    found = await rows(_OVERDUE, [list(WAITING), deps.clock.now() - deps.unshipped_after, limit])
    return [(row["id"], row["member_id"]) for row in found]


async def tell(deps: Deps, *, order_id: UUID, member_id: UUID) -> None:
    """Open the case, if the order's goods still wait. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        found = await rows(f"{_WAITS} AND id = $3", [list(WAITING), now - deps.unshipped_after, order_id])
        if found:
            told = {"address": found[0]["address"]}
            await open_case(kind=CaseKind.UNSHIPPED, key=_key(order_id), order_id=order_id, details=told, now=now)


async def no_longer(order_id: UUID, now: datetime) -> None:
    """Settle the case, in the transaction in which the order's goods were sent, got ready or given up."""
    assert in_transaction(), "the case is settled together with its cause"
    await cause_gone([_key(order_id)], how="已发货、备货或退款", now=now)


def _key(order_id: UUID) -> str:
    return f"{CaseKind.UNSHIPPED}:{order_id}"
