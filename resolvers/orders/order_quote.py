"""A price that is kept for a member for some minutes, with the promotions that made it, for one order.

It ends by the clock: nothing has to be swept for it to be over.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.orders.order import OrderLine
from loyalty.orders.order_quote import QuoteDiffers, QuoteNotFound, QuoteState
from loyalty.prices.pricing import Quote
from loyalty.prices.promotion import PromotionGone, PromotionHoldState
from models.engine import changed, in_transaction, retried, rows, savepoint, transaction
from models.ids import new_id
from models.orders.order import Order
from models.prices.promotion import OrderQuote, PromotionHold
from resolvers.deps import Deps
from resolvers.orders import order_delivery
from resolvers.orders.order_delivery import NOWHERE, DeliveryWish
from resolvers.orders.order_price import NO_COUPONS, CouponWish, freeze, price_basket, read_basket
from resolvers.prices import promotion_hold
from resolvers.replay import remember, replayed


def asked_for(
    lines: Sequence[OrderLine], points_wanted: int, coupons: CouponWish, delivery: DeliveryWish
) -> dict[str, Any]:
    """What a price is asked for, as JSON; the order has to ask for the same."""
    content: dict[str, Any] = {
        "lines": [[str(line.sku_id), line.quantity] for line in lines],
        "points": points_wanted,
    }
    if coupons != NO_COUPONS:
        content["coupons"] = "best" if coupons.best else sorted(str(one) for one in coupons.ids)
    return content | delivery.content()


@retried
async def keep(
    deps: Deps,
    *,
    member_id: UUID,
    lines: Sequence[OrderLine],
    points_wanted: int,
    coupons: CouponWish = NO_COUPONS,
    delivery: DeliveryWish = NOWHERE,
    idempotency_key: str,
) -> OrderQuote:
    """Keep the price that an order of these lines has now, and hold its promotions, for ``deps.quote_window``.

    A member has one kept quote: an earlier one is given up. Stock, coupons and points are not held.

    Raises: what ``resolvers.orders.order.place`` raises for lines, coupons, points and the key; PromotionGone.
    """
    now = deps.clock.now()
    content = asked_for(lines, points_wanted, coupons, delivery)
    key, operation = idempotency_key, "orderQuoteKeep"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await OrderQuote.get(id=UUID(before["quote_id"]))
        old = await OrderQuote.get_or_none(member_id=member_id, state=QuoteState.PENDING)
        basket = await read_basket(member_id, lines, now, zone=deps.zone, without=old.id if old else None)
        going = await order_delivery.read(deps, basket, delivery, now)
        priced = await price_basket(basket, coupons, points_wanted, now, ship=going.ship)
        if old is not None:
            await _end([old], now)
        kept = await OrderQuote.create(
            id=new_id(now),
            member_id=member_id,
            state=QuoteState.PENDING,
            content=content,
            frozen=freeze(basket, priced.promoted),
            payable_fen=priced.quote.payable_fen,
            expires_at=now + deps.quote_window,
            made_at=now,
        )
        result = {"quote_id": str(kept.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await _hold_instead(old or kept, kept, priced.quote, now)
        return kept


async def _hold_instead(old: OrderQuote, kept: OrderQuote, quote: Quote, now: datetime) -> None:
    """Hold what a price needs instead of what a quote holds; the quotas of both are locked first, in their order."""
    held = await PromotionHold.filter(quote_id=old.id, state=PromotionHoldState.PENDING)
    await promotion_hold.lock([*(one.promotion_id for one in held), *(one.promotion.id for one in quote.promotions)])
    await promotion_hold.release_quotes([old.id], now)
    await _hold(kept, quote, now)


async def _hold(kept: OrderQuote, quote: Quote, now: datetime) -> None:
    for one in sorted(quote.promotions, key=lambda each: each.promotion.id):
        await promotion_hold.take(
            one.promotion.id,
            member_id=kept.member_id,
            uses=one.uses,
            discount_fen=one.discount_fen,
            now=now,
            quote_id=kept.id,
            expires_at=kept.expires_at,
        )


async def _end(quotes: Sequence[OrderQuote], now: datetime) -> None:
    await changed(
        "UPDATE order_quote SET state = CASE WHEN expires_at <= $2 THEN 'expired' ELSE 'released' END, "
        "resolved_at = $2 WHERE id = ANY($1::uuid[]) AND state = 'pending'",
        [[one.id for one in quotes], now],
    )


async def ended(deps: Deps, limit: int) -> list[UUID]:
    """Members with a kept quote that is over and still stands as if it held something."""
    found = await rows(
        "SELECT member_id FROM order_quote WHERE state = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
        [deps.clock.now(), limit],
    )
    return [row["member_id"] for row in found]


@retried
async def expire(deps: Deps, *, member_id: UUID) -> None:
    """Note that a kept quote is over, so that quotas tell what is held. Nothing waits for it. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        over = await OrderQuote.filter(member_id=member_id, state=QuoteState.PENDING, expires_at__lte=now)
        await _end(over, now)
        await promotion_hold.release_quotes([one.id for one in over], now)


async def kept_for(member_id: UUID, quote_id: UUID, *, content: Mapping[str, Any], now: datetime) -> OrderQuote:
    """The quote that an order is placed from, in the member's lock.

    Raises:
        QuoteNotFound: there is none, it is over, or it was used.
        QuoteDiffers: it was kept for another order.
    """
    assert in_transaction(), "a quote is used in the transaction of its order"
    kept = await OrderQuote.get_or_none(id=quote_id, member_id=member_id, state=QuoteState.PENDING)
    if kept is None or kept.expires_at <= now:
        raise QuoteNotFound
    if kept.content != content:
        raise QuoteDiffers
    return kept


async def renew(kept: OrderQuote, quote: Quote, now: datetime) -> bool:
    """Let the kept quote hold what this price needs instead. False, and nothing is done: there is not enough of it."""
    try:
        async with savepoint():
            await _hold_instead(kept, kept, quote, now)
    except PromotionGone:
        return False
    return True


async def use(kept: OrderQuote, order: Order, quote: Quote, now: datetime) -> None:
    """The order is placed from the quote: it has the promotions that the quote held. Once, by compare-and-set.

    Raises: QuoteNotFound: it is over after all.
    """
    moved = await changed(
        "UPDATE order_quote SET state = 'posted', order_id = $2, resolved_at = $3 "
        "WHERE id = $1 AND state = 'pending' AND expires_at > $3",
        [kept.id, order.id, now],
    )
    if not moved or not await promotion_hold.take_over(order, kept.id, quote.promotions, now):
        raise QuoteNotFound


async def one(member_id: UUID, quote_id: UUID) -> OrderQuote | None:
    """A kept quote of the member, in whatever state."""
    return await OrderQuote.get_or_none(id=quote_id, member_id=member_id)
