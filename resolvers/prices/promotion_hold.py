"""The uses of promotions that orders and kept quotes hold, and the quota that everybody shares.

Everything here runs inside the caller's transaction with the member locked. A quota row is locked before any of its
holds, and several in ascending promotion id.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.prices.promotion import PromotionGone, PromotionHoldState
from loyalty.prices.promotion_effect import AppliedPromotion
from models.engine import changed, in_transaction, rows
from models.ids import new_id
from models.orders.order import Order
from models.prices.promotion import OrderPromotion, PromotionHold
from resolvers.deps import Deps

TAKE = """
UPDATE promotion_quota SET used_count = used_count + $2, spent_fen = spent_fen + $3 WHERE promotion_id = $1
AND (total_limit IS NULL OR used_count + $2 <= total_limit) AND (budget_fen IS NULL OR spent_fen + $3 <= budget_fen)
RETURNING promotion_id
"""
"""The guarded write that decides who has the last of a promotion."""

_GIVE_UP = """
UPDATE promotion_quota SET used_count = used_count - $2, spent_fen = spent_fen - $3 WHERE promotion_id = $1
RETURNING promotion_id
"""

_WANTED = """
SELECT used.promotion_id, used.uses, used.discount_fen, promotion.code,
    (terms.definition ->> 'member_limit')::int AS member_limit,
    (SELECT coalesce(sum(uses), 0)::int FROM promotion_hold hold WHERE hold.promotion_id = used.promotion_id
        AND hold.member_id = $2 AND hold.state IN ('pending', 'posted')
        AND (hold.expires_at IS NULL OR hold.expires_at > $3)) AS had_count
FROM order_promotion used JOIN promotion ON promotion.id = used.promotion_id
JOIN promotion_version terms ON terms.id = used.version_id
WHERE used.order_id = $1 AND NOT EXISTS (SELECT 1 FROM promotion_hold live WHERE live.order_id = used.order_id
    AND live.promotion_id = used.promotion_id AND live.state IN ('pending', 'posted'))
ORDER BY used.promotion_id
"""


async def write(order: Order, applied: Sequence[AppliedPromotion], now: datetime) -> None:
    """Write down what each promotion takes off a new order, before the order holds it."""
    if not applied:
        return
    await OrderPromotion.bulk_create(
        [
            OrderPromotion(
                id=new_id(now),
                order_id=order.id,
                promotion_id=one.promotion.id,
                version_id=one.promotion.version_id,
                uses=one.uses,
                discount_fen=one.discount_fen,
                of_pieces=one.promotion.terms.kind.of_pieces,
                shares=list(one.shares),
            )
            for one in applied
        ]
    )


async def hold(_: Deps, order: Order, __: UUID, now: datetime) -> None:
    """Hold the uses of the order's promotions, but for those that it took over from a kept quote.

    Raises: PromotionGone: there is less left, altogether or for the member.
    """
    if not _may_have_any(order):
        return
    for wanted in await rows(_WANTED, [order.id, order.member_id, now]):
        limit = wanted["member_limit"]
        if limit is not None and wanted["had_count"] + wanted["uses"] > limit:
            raise PromotionGone(promotion=wanted["code"])
        await take(
            wanted["promotion_id"],
            member_id=order.member_id,
            uses=wanted["uses"],
            discount_fen=wanted["discount_fen"],
            now=now,
            order_id=order.id,
        )


async def take(
    promotion_id: UUID,
    *,
    member_id: UUID,
    uses: int,
    discount_fen: int,
    now: datetime,
    order_id: UUID | None = None,
    quote_id: UUID | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Hold uses of one promotion, for an order or, until ``expires_at``, for a quote.

    What quotes hold no longer is free again first, so nothing depends on a sweep.

    Raises: PromotionGone.
    """
    await lock([promotion_id])
    over = await rows(
        "UPDATE promotion_hold SET state = 'expired', resolved_at = $2 WHERE promotion_id = $1 AND state = 'pending' "
        "AND expires_at <= $2 RETURNING promotion_id, uses, discount_fen",
        [promotion_id, now],
    )
    await _give_up(over)
    if not await rows(TAKE, [promotion_id, uses, discount_fen]):
        found = await rows("SELECT code FROM promotion WHERE id = $1", [promotion_id])
        raise PromotionGone(promotion=found[0]["code"])
    await PromotionHold.create(
        id=new_id(now),
        promotion_id=promotion_id,
        member_id=member_id,
        order_id=order_id,
        quote_id=quote_id,
        state=PromotionHoldState.PENDING,
        uses=uses,
        discount_fen=discount_fen,
        expires_at=expires_at,
        made_at=now,
    )


async def take_over(order: Order, quote_id: UUID, applied: Sequence[AppliedPromotion], now: datetime) -> bool:
    """Let an order have what the quote that it is placed from holds. False: the quote holds it no longer.

    What the order needs less than the quote is free again.
    """
    held = await rows(
        "SELECT id, promotion_id, uses, discount_fen FROM promotion_hold WHERE quote_id = $1 AND state = 'pending' "
        "ORDER BY promotion_id",
        [quote_id],
    )
    await lock([row["promotion_id"] for row in held])
    needs = {one.promotion.id: one for one in applied}
    kept = [row for row in held if row["promotion_id"] in needs]
    if len(kept) < len(needs):
        return False
    for row in kept:
        need = needs[row["promotion_id"]]
        less = {"uses": row["uses"] - need.uses, "discount_fen": row["discount_fen"] - need.discount_fen}
        assert min(less.values()) >= 0, "an order needs no more than the quote that it is placed from"
        moved = await changed(
            "UPDATE promotion_hold SET order_id = $2, expires_at = NULL, uses = $3, discount_fen = $4 "
            "WHERE id = $1 AND state = 'pending'",
            [row["id"], order.id, need.uses, need.discount_fen],
        )
        if not moved:
            return False
        if any(less.values()):
            await _give_up([{"promotion_id": row["promotion_id"], **less}])
    await _resolve("quote_id = $1 AND order_id IS NULL AND state = 'pending'", quote_id, "released", now)
    return True


async def post(_: Deps, order: Order, now: datetime) -> None:
    """The order is paid: what it held is spent, which the quota counts alike."""
    if _may_have_any(order):
        await changed(
            "UPDATE promotion_hold SET state = 'posted', resolved_at = $2 WHERE order_id = $1 AND state = 'pending'",
            [order.id, now],
        )


async def release(_: Deps, order: Order, now: datetime) -> None:
    """The order is closed: what it held is free again."""
    if _may_have_any(order):
        await _resolve("order_id = $1 AND state = 'pending'", order.id, "released", now)


async def give_back(_: Deps, order: Order, now: datetime) -> None:
    """All of the order is refunded: what it used is free again."""
    if _may_have_any(order):
        await _resolve("order_id = $1 AND state = 'posted'", order.id, "returned", now)


async def release_quotes(quote_ids: Sequence[UUID], now: datetime) -> None:
    """Kept quotes are given up: what they held is free again."""
    for quote_id in quote_ids:
        await _resolve("quote_id = $1 AND order_id IS NULL AND state = 'pending'", quote_id, "released", now)


def _may_have_any(order: Order) -> bool:
    return bool(order.discount_fen or order.promotion_fen)


async def _resolve(which: str, owner_id: UUID, state: str, now: datetime) -> None:
    assert in_transaction(), "promotions are given back together with their order"
    found = await rows(f"SELECT promotion_id FROM promotion_hold WHERE {which}", [owner_id])
    if not found:
        return
    await lock([row["promotion_id"] for row in found])
    gone = await rows(
        f"UPDATE promotion_hold SET state = $2, resolved_at = $3 WHERE {which} "
        "RETURNING promotion_id, uses, discount_fen",
        [owner_id, state, now],
    )
    await _give_up(gone)


async def lock(promotion_ids: Sequence[UUID]) -> None:
    """Lock the quotas of these promotions in their order, so that nobody waits for another in a circle."""
    for promotion_id in sorted(set(promotion_ids)):
        await rows("SELECT 1 FROM promotion_quota WHERE promotion_id = $1 FOR NO KEY UPDATE", [promotion_id])


async def _give_up(gone: Sequence[dict[str, Any]]) -> None:
    for row in gone:
        await rows(_GIVE_UP, [row["promotion_id"], row["uses"], row["discount_fen"]])
