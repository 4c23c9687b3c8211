"""What the order machine needs to know of a mall exchange: the item's stock, what it gives, and if it comes back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from uuid import UUID

from loyalty.catalogue.catalogue import StockKind
from loyalty.coupons.coupon import CouponNotOffered, CouponsGone
from loyalty.orders.order import OrderKind, OutOfStock
from loyalty.points import points_mall as rule
from loyalty.points.points_mall import MallItem, MallItemKind
from loyalty.tiers import tier_overlay as overlay_rule
from loyalty.tiers.tier import TierNotFound
from loyalty.tiers.tier_overlay import TierTrialRefused
from models.asyncpg_backend import Conflict
from models.engine import in_transaction, rows
from models.ids import new_id
from models.orders.order import Order
from models.points.points_mall import MallExchange, MallItemVersion
from models.tiers.tier import TierOverlay
from resolvers.deps import Deps
from resolvers.orders.order_row import note
from resolvers.payments.exception_case import open_case
from resolvers.points import mall_coupon
from resolvers.programme import tier_table
from resolvers.tiers.tier import standings_at
from resolvers.tiers.tier_overlay import grant_trial, take_back_trial

_SHIFT = """
WITH shifted AS (
    UPDATE mall_item SET stock_left = stock_left + $2, exchanged_count = exchanged_count - $2,
        exchanged_points = exchanged_points + $3
    WHERE id = $1 AND (stock_left IS NULL OR stock_left + $2 >= 0)
        AND ($8::int IS NULL OR (version = $8 AND state = 'published'))
    RETURNING id, stock_left
), told AS (
    INSERT INTO mall_stock_entry (id, item_id, kind, amount, left_after, cause_id, note, at)
    SELECT $4, id, $5, $2, stock_left, $6, '', $7 FROM shifted WHERE stock_left IS NOT NULL
)
SELECT id FROM shifted
"""


async def shift(kind: StockKind, cause_id: UUID, order_id: UUID, now: datetime) -> None:
    """Hold, release or return the pieces of an exchange.

    A new exchange, whose cause is the order itself, meets the item published and under the terms it was priced with; a
    revived one comes whatever has become of the item since.

    Raises:
        OutOfStock: fewer are left than are to be held.
        Conflict: an operator was faster; run again, the verb meets the new terms.
    """
    assert in_transaction(), "an item's stock moves together with its cause"
    exchange = await MallExchange.get(order_id=order_id).select_related("version")
    version = exchange.version.version if kind is StockKind.HOLD and cause_id == order_id else None
    sign = -1 if kind is StockKind.HOLD else 1
    amount, points = sign * exchange.quantity, -sign * exchange.points
    shifted = await rows(_SHIFT, [exchange.item_id, amount, points, new_id(now), kind, cause_id, now, version])
    if not shifted:
        found = await rows("SELECT stock_left FROM mall_item WHERE id = $1", [exchange.item_id])
        left = found[0]["stock_left"]
        if left is not None and left < exchange.quantity:
            raise OutOfStock(left=left)
        raise Conflict("the item's terms have changed meanwhile")


async def exchanged_count(member_id: UUID, item_id: UUID) -> int:
    """How many pieces of an item a member has in exchanges that were not given back."""
    found = await rows(
        "SELECT coalesce(sum(exchange.quantity), 0)::int AS pieces FROM mall_exchange exchange "
        "JOIN shop_order o ON o.id = exchange.order_id "
        "WHERE exchange.item_id = $1 AND exchange.member_id = $2 AND o.state NOT IN ('closed', 'refunded')",
        [item_id, member_id],
    )
    return int(found[0]["pieces"])


async def admit_delivery(member_id: UUID, terms: MallItem, now: datetime) -> None:
    """Whether the member can be given what an exchange gives: a tier trial must be above the own tier, and a coupon's
    template must give coupons out.

    Raises: TierNotFound, TierTrialRefused, CouponNotOffered.
    """
    if terms.kind is MallItemKind.COUPON:
        await mall_coupon.admit(terms.target_code, now)
    if terms.kind is not MallItemKind.TIER_TRIAL:
        return
    code, days = _trial(terms)
    table = (await tier_table(now)).rules
    standing = (await standings_at([member_id], table, now))[member_id]
    overlay_rule.admit_trial(
        table,
        own_code=standing.progress.current.code,
        trial_code=code,
        starts_at=now,
        ends_at=now + timedelta(days=days),
    )


def _trial(terms: MallItem) -> tuple[str, int]:
    assert terms.target_code is not None, "a trial is of a tier"
    assert terms.trial_days is not None, "a trial ends"
    return terms.target_code, terms.trial_days


async def deliver(order: Order, *, now: datetime, zone: tzinfo) -> None:
    """Give what a paid exchange gives, as far as the store gives it by itself; goods are sent by people.

    A tier trial that the member has outgrown while paying, and coupons that ran out meanwhile, open a case: a person
    refunds the order. An exchange without money is refused instead.

    Raises: TierNotFound, TierTrialRefused, CouponNotOffered, CouponsGone.
    """
    if order.kind != OrderKind.MALL:
        return
    exchange, terms = await _terms(order.id)
    try:
        await _give(order, exchange, terms, now=now, zone=zone)
    except (TierNotFound, TierTrialRefused, CouponNotOffered, CouponsGone) as refusal:
        if order.payable_fen == 0:
            raise
        await note(order.id, "not_delivered", now, reason=refusal.code)
        await open_case(
            kind="exchange_undelivered",
            key=f"exchange_undelivered:{order.id}",
            order_id=order.id,
            details={"item_id": str(exchange.item_id), "reason": refusal.code},
            now=now,
        )


async def _give(order: Order, exchange: MallExchange, terms: MallItem, *, now: datetime, zone: tzinfo) -> None:
    if terms.kind is MallItemKind.TIER_TRIAL:
        code, days = _trial(terms)
        await grant_trial(order.member_id, tier_code=code, days=days, cause_kind="order", cause_id=order.id, now=now)
    elif terms.kind is MallItemKind.COUPON:
        await mall_coupon.give(
            order.member_id,
            template_code=terms.target_code,
            quantity=exchange.quantity,
            order_id=order.id,
            now=now,
            zone=zone,
        )


async def deliver_again(order: Order, *, now: datetime, zone: tzinfo) -> None:
    """Give what a paid exchange could not give when it was paid, in the transaction that settles its case.

    Raises: TierNotFound, TierTrialRefused, CouponNotOffered, CouponsGone.
    """
    exchange, terms = await _terms(order.id)
    await _give(order, exchange, terms, now=now, zone=zone)
    await note(order.id, "delivered", now)


async def admit_revival(order: Order, now: datetime) -> None:
    """Whether a closed order may be had again: the member may have used the limit up, or outgrown a trial, since.

    Raises: MallLimitReached, TierNotFound, TierTrialRefused, CouponNotOffered.
    """
    if order.kind != OrderKind.MALL:
        return
    exchange, terms = await _terms(order.id)
    had = await exchanged_count(order.member_id, exchange.item_id)
    rule.admit_limit(terms, quantity=exchange.quantity, tier_code=order.tier_code, exchanged_count=had)
    await admit_delivery(order.member_id, terms, now)


async def take_back(order: Order, now: datetime) -> None:
    """Take back what a paid exchange gave, before its order is refunded.

    Raises: MallNotReturnable: it is used, or a gift to charity.
    """
    if order.kind != OrderKind.MALL:
        return
    _, terms = await _terms(order.id)
    used = False
    if await TierOverlay.exists(cause_kind="order", cause_id=order.id):
        used = not await take_back_trial(order.member_id, cause_kind="order", cause_id=order.id, now=now)
    coupons = await mall_coupon.given(order.id)
    if coupons:
        used = not await mall_coupon.take_back(coupons, now)
    rule.admit_return(terms, used=used)


async def _terms(order_id: UUID) -> tuple[MallExchange, MallItem]:
    exchange = await MallExchange.get(order_id=order_id)
    version = await MallItemVersion.get(id=exchange.version_id)
    return exchange, MallItem.parse(version.definition)


async def by_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, tuple[MallExchange, int]]:
    """What these orders are about, as far as they are exchanges, each with the number of its version."""
    found = await MallExchange.filter(order_id__in=list(order_ids)).select_related("version")
    return {one.order_id: (one, one.version.version) for one in found}
