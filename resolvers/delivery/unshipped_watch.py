"""Finds paid orders whose goods wait too long, and tells a person before WeChat's time for sending them is over.

An order is told by its own id, and once more for each parcel voided after its case was settled, by the parcel's.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loyalty.delivery.fulfilment import WAITING
from loyalty.payments.exception_case import CaseKind
from models.engine import in_transaction, rows, transaction
from resolvers.deps import Deps
from resolvers.payments.exception_case import cause_gone, open_case

_KEYS = """
SELECT 'unshipped:' || parcel.id AS key FROM parcel WHERE order_id = {order_id} AND voided_at IS NOT NULL
UNION ALL SELECT 'unshipped:' || {order_id}
"""

_WAITS = f"""
SELECT o.id, o.member_id, EXISTS (SELECT FROM order_address WHERE order_id = o.id) AS address,
    CASE WHEN first.id IS NULL THEN o.id ELSE voided.id END AS told_of,
    CASE WHEN first.id IS NULL THEN o.paid_at ELSE voided.voided_at END AS since
FROM shop_order o LEFT JOIN exception_case first ON first.key = 'unshipped:' || o.id
LEFT JOIN LATERAL (
    SELECT id, voided_at FROM parcel WHERE order_id = o.id AND voided_at IS NOT NULL
    ORDER BY voided_at DESC, id DESC LIMIT 1
) voided ON first.id IS NOT NULL
WHERE o.fulfilment_state = ANY($1::text[]) AND o.state = 'paid' AND o.paid_at <= $2
AND (o.fulfilment_state <> 'to_pick_up' OR o.pick_up_ready_at IS NULL)
AND (first.id IS NULL OR (voided.voided_at <= $2 AND NOT EXISTS (
    SELECT FROM exception_case told WHERE told.key = ANY(ARRAY({_KEYS.format(order_id="o.id")}))
    AND (told.resolved_at IS NULL OR told.resolved_at >= voided.voided_at)
)))
"""


async def overdue(deps: Deps, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Ids of orders, with their members, that wait too long and of which nobody was told."""
    found = await rows(
        f"{_WAITS} ORDER BY o.id LIMIT $3", [list(WAITING), deps.clock.now() - deps.unshipped_after, limit]
    )
    return [(row["id"], row["member_id"]) for row in found]


async def tell(deps: Deps, *, order_id: UUID, member_id: UUID) -> None:
    """Open the case, if the order's goods still wait. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        for row in await rows(f"{_WAITS} AND o.id = $3", [list(WAITING), now - deps.unshipped_after, order_id]):
            told = {"address": row["address"], "since": row["since"].isoformat()}
            key = f"{CaseKind.UNSHIPPED}:{row['told_of']}"
            await open_case(kind=CaseKind.UNSHIPPED, key=key, order_id=order_id, details=told, now=now)


async def no_longer(order_id: UUID, now: datetime) -> None:
    """Settle the case, in the transaction in which the order's goods were sent, got ready or given up."""
    assert in_transaction(), "the case is settled together with its cause"
    known = await rows(_KEYS.format(order_id="$1::uuid"), [order_id])
    await cause_gone([row["key"] for row in known], how="已发货、备货或退款", now=now)
