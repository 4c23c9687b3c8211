"""Coupons on orders: which a member holds, reserved with the order, used at its payment, given back after it.

Everything that writes runs inside the caller's transaction with the member locked.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

import orjson

from loyalty.coupons.coupon import (
    CouponEventKind,
    CouponNotFound,
    CouponNotUsable,
    CouponState,
    UnusableReason,
)
from loyalty.coupons.coupon_terms import CouponTerms, returned_until
from loyalty.coupons.coupon_use import AppliedCoupon, HeldCoupon
from models.coupons.coupon import Coupon, OrderCoupon
from models.engine import changed, in_transaction, rows
from models.ids import new_id
from models.orders.order import Order
from resolvers.coupons.coupon_issue import give_up, tell
from resolvers.deps import Deps

MOST_WEIGHED = 200
"""So many of a member's coupons are weighed up for a cart, those that end soonest first."""

_HELD = """
SELECT coupon.id, coupon.template_id, template.code, terms.version, terms.definition::text, coupon.usable_from,
    coupon.expires_at, coupon.state = 'issued' AS available
FROM coupon JOIN coupon_template template ON template.id = coupon.template_id
JOIN coupon_template_version terms ON terms.id = coupon.version_id
"""

_OF_WHAT_IS_GONE = """
AND NOT EXISTS (
    SELECT 1 FROM order_coupon taken JOIN order_line line ON line.order_id = taken.order_id
    WHERE taken.coupon_id = coupon.id AND taken.order_id = coupon.order_id
        AND line.refunded_count < line.quantity AND (taken.shares->>line.position)::bigint > 0
) AND NOT EXISTS (
    SELECT 1 FROM order_coupon taken WHERE taken.coupon_id = coupon.id AND taken.order_id = coupon.order_id
        AND taken.shipping_fen > 0 AND NOT EXISTS (
            SELECT 1 FROM order_refund part
            WHERE part.order_id = taken.order_id AND part.state = 'done' AND part.shipping_back
        )
)
"""


async def held(member_id: UUID, now: datetime) -> list[HeldCoupon]:
    """The member's coupons that are issued and not over, those that end soonest first."""
    found = await rows(
        f"{_HELD} WHERE coupon.member_id = $1 AND coupon.state = 'issued' AND coupon.expires_at > $2 "
        "ORDER BY coupon.expires_at, coupon.id LIMIT $3",
        [member_id, now, MOST_WEIGHED],
    )
    return [_read(row) for row in found]


async def chosen(member_id: UUID, coupon_ids: Sequence[UUID]) -> list[HeldCoupon]:
    """These coupons of the member, each once. Raises: CouponNotFound."""
    found = await rows(
        f"{_HELD} WHERE coupon.member_id = $1 AND coupon.id = ANY($2::uuid[])", [member_id, list(coupon_ids)]
    )
    if len(found) < len(set(coupon_ids)):
        raise CouponNotFound
    return [_read(row) for row in found]


def _read(row: dict[str, Any]) -> HeldCoupon:
    return HeldCoupon(
        id=row["id"],
        template_id=row["template_id"],
        template_code=row["code"],
        version=row["version"],
        terms=CouponTerms.parse(orjson.loads(row["definition"])),
        usable_from=row["usable_from"],
        expires_at=row["expires_at"],
        available=row["available"],
    )


async def write(order: Order, applied: Sequence[AppliedCoupon], now: datetime) -> None:
    """Write down what each coupon takes off a new order, before the order holds them."""
    if not applied:
        return
    await OrderCoupon.bulk_create(
        [
            OrderCoupon(
                id=new_id(now),
                order_id=order.id,
                coupon_id=one.coupon_id,
                discount_fen=one.discount_fen,
                shares=list(one.shares),
                shipping_fen=one.shipping_fen,
            )
            for one in applied
        ]
    )


async def hold(_: Deps, order: Order, __: UUID, now: datetime) -> None:
    """Reserve the order's coupons. Being over does not matter when late money revives it.

    Raises: CouponNotUsable: one of them is not free, or has expired.
    """
    await _reserve(order, await coupon_ids(order), now)


async def coupon_ids(order: Order) -> list[UUID]:
    """The coupons that the order was placed with."""
    if order.coupon_fen == 0:
        return []
    found = await rows("SELECT coupon_id FROM order_coupon WHERE order_id = $1", [order.id])
    return [row["coupon_id"] for row in found]


async def _reserve(order: Order, wanted: Sequence[UUID], now: datetime) -> None:
    assert in_transaction(), "coupons are reserved together with their order"
    if not wanted:
        return
    reserved = await rows(
        "UPDATE coupon SET state = 'reserved', order_id = $3, reserved_until = $4, due_at = NULL "
        "WHERE id = ANY($1::uuid[]) AND member_id = $2 AND state = 'issued' RETURNING id",
        [list(wanted), order.member_id, order.id, order.pay_by],
    )
    missing = set(wanted) - {row["id"] for row in reserved}
    if missing:
        raise CouponNotUsable(coupon_id=str(min(missing)), reason=UnusableReason.NOT_AVAILABLE.value, missing=None)
    await tell(list(wanted), CouponEventKind.RESERVED, now, order_id=order.id)


async def post(_: Deps, order: Order, now: datetime) -> None:
    """The order is paid: its coupons are used."""
    wanted = await coupon_ids(order)
    if not wanted:
        return
    used = await changed(
        "UPDATE coupon SET state = 'used', reserved_until = NULL WHERE order_id = $1 AND state = 'reserved'",
        [order.id],
    )
    assert used == len(wanted), "an open order has its coupons reserved"
    await tell(wanted, CouponEventKind.USED, now, order_id=order.id)


async def release(deps: Deps, order: Order, now: datetime) -> None:
    """The order is closed: its coupons are free again. What ended meanwhile is good for some more days, once."""
    await _give_back(order, CouponState.RESERVED, CouponEventKind.RELEASED, now=now, zone=deps.zone)


async def give_back(deps: Deps, order: Order, now: datetime) -> None:
    """Pieces of the order are refunded: a coupon is free again when it takes nothing off what stays.

    What ended meanwhile is good for some more days.
    """
    await _give_back(order, CouponState.USED, CouponEventKind.RETURNED, now=now, zone=deps.zone)


async def _give_back(order: Order, state: CouponState, kind: CouponEventKind, *, now: datetime, zone: tzinfo) -> None:
    assert in_transaction(), "coupons come back together with their order"
    if order.coupon_fen == 0:
        return
    found = await rows(
        "SELECT coupon.id, coupon.expires_at, coupon.extended_at, terms.definition::text FROM coupon "
        "JOIN coupon_template_version terms ON terms.id = coupon.version_id "
        f"WHERE coupon.order_id = $1 AND coupon.state = $2 {_OF_WHAT_IS_GONE if state is CouponState.USED else ''} "
        "ORDER BY coupon.id",
        [order.id, state],
    )
    over: list[UUID] = []
    for row in found:
        ended_at = row["expires_at"]
        expires_at = ended_at
        if kind is CouponEventKind.RETURNED or row["extended_at"] is None:
            terms = CouponTerms.parse(orjson.loads(row["definition"]))
            expires_at = returned_until(terms, expires_at=ended_at, now=now, zone=zone)
        extended_at = now if expires_at > ended_at and kind is CouponEventKind.RELEASED else row["extended_at"]
        moved = await changed(
            "UPDATE coupon SET state = 'issued', order_id = NULL, reserved_until = NULL, expires_at = $3, due_at = $3, "
            "extended_at = $4 WHERE id = $1 AND state = $2",
            [row["id"], state, expires_at, extended_at],
        )
        assert moved == 1, "the member's lock keeps the coupon as it was read"
        details = {"until": expires_at.isoformat()} if expires_at > ended_at else {}
        await tell([row["id"]], kind, now, order_id=order.id, **details)
        if expires_at <= now:
            over.append(row["id"])
    if over:
        ended = await Coupon.filter(id__in=over)
        await give_up(ended, CouponState.EXPIRED, CouponEventKind.EXPIRED, now)
