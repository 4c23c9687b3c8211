"""What a member does with an order: see its price, place it, cancel it; and how an unpaid order is closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from loyalty.coupons.coupon_choice import Plan
from loyalty.orders import order as rule
from loyalty.orders.order import CloseReason, OrderKind, OrderLine, OrderState
from loyalty.orders.order_quote import admit_cheaper
from loyalty.payments.after_sale import admit_purchase
from loyalty.payments.payment import AttemptState
from loyalty.prices.pricing import Quote
from loyalty.prices.promotion_hint import Hint
from loyalty.refusal import Refusal
from models.engine import changed, retried, rows, transaction
from models.orders.order import Order
from models.prices.promotion import OrderQuote
from resolvers.coupons import coupon_hold
from resolvers.deps import Deps
from resolvers.orders import cart, order_delivery, order_hold, order_quote
from resolvers.orders.order_delivery import NOWHERE, Delivery, DeliveryWish
from resolvers.orders.order_price import (
    NO_COUPONS,
    Basket,
    CouponWish,
    Priced,
    price_basket,
    read_basket,
    thaw,
    weigh_basket,
    what_more,
)
from resolvers.orders.order_quote import asked_for
from resolvers.orders.order_row import note, owned, step
from resolvers.orders.order_write import LineOf, write_order
from resolvers.payments import payment
from resolvers.payments.exception_case import cause_gone, open_case
from resolvers.payments.settlement import book
from resolvers.prices import promotion_hold
from resolvers.replay import remember, replayed
from wechat.errors import OrderNotExist, OrderPaid, WeChatError

log = structlog.get_logger()

CLOSE_RETRY = timedelta(seconds=60)
"""How long a close that WeChat did not answer waits for its next try."""

CLOSE_STUCK = timedelta(hours=1)
"""How long after its pay deadline an order that WeChat does not close becomes a person's affair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an order would cost, and what more would save more, the nearest first."""

    quote: Quote
    hints: tuple[Hint, ...]


async def preview(
    deps: Deps,
    *,
    member_id: UUID,
    lines: Sequence[OrderLine],
    points_wanted: int,
    coupons: CouponWish = NO_COUPONS,
    delivery: DeliveryWish | None = NOWHERE,
) -> Quote:
    """What an order of these lines would cost now; nothing is kept. ``delivery`` None: the goods alone.

    Raises: what ``place`` raises, but for the key.
    """
    now = deps.clock.now()
    basket = await read_basket(member_id, lines, now, zone=deps.zone)
    going = await order_delivery.read(deps, basket, delivery, now)
    return (await price_basket(basket, coupons, points_wanted, now, ship=going.ship)).quote


async def preview_with_hints(
    deps: Deps,
    *,
    member_id: UUID,
    lines: Sequence[OrderLine],
    points_wanted: int,
    coupons: CouponWish = NO_COUPONS,
    delivery: DeliveryWish | None = NOWHERE,
) -> Preview:
    """``preview``, and what more would save more.

    Raises: what ``preview`` raises.
    """
    now = deps.clock.now()
    basket = await read_basket(member_id, lines, now, zone=deps.zone)
    going = await order_delivery.read(deps, basket, delivery, now)
    priced = await price_basket(basket, coupons, points_wanted, now, ship=going.ship)
    return Preview(quote=priced.quote, hints=await what_more(basket, priced, now))


async def weigh_coupons(
    deps: Deps, *, member_id: UUID, lines: Sequence[OrderLine], delivery: DeliveryWish | None = None
) -> Plan:
    """The best combination of the member's coupons for these lines, and what becomes of each of the others.

    ``delivery`` None: it is not known yet, and neither is a shipping fee.

    Raises: what ``place`` raises for lines and delivery.
    """
    now = deps.clock.now()
    basket = await read_basket(member_id, lines, now, zone=deps.zone)
    going = await order_delivery.read(deps, basket, delivery, now)
    return await weigh_basket(basket, now, ship=going.ship)


@retried
async def place(
    deps: Deps,
    *,
    member_id: UUID,
    lines: Sequence[OrderLine],
    points_wanted: int,
    expected_fen: int | None,
    remark: str,
    idempotency_key: str,
    coupons: CouponWish = NO_COUPONS,
    quote_id: UUID | None = None,
    delivery: DeliveryWish = NOWHERE,
    from_cart: bool = False,
    accepts_no_return: bool = False,
) -> Order:
    """Place an order: its price is frozen, its coupons are reserved, its points and promotions held, its stock taken,
    until it is paid or closed.

    An order with nothing to pay is paid at once. From a kept quote it has the quote's prices and promotions, or
    those of now if it costs less by them. With ``from_cart``, what was ordered leaves the member's cart.
    ``accepts_no_return`` is the member's word that some goods cannot be returned without a reason.

    Raises:
        LineCountInvalid, QuantityInvalid, SkuNotOnSale, PurchaseLimitReached, OutOfStock: a line cannot be had.
        NoReturnNotAccepted: such goods without that word.
        CouponChoiceUnclear, CouponNotFound, TooManyCoupons, CouponNotUsable, CouponsNotCombinable: the coupons.
        PointsStep, PointsCapExceeded, PointsShort: the points cannot be used.
        RemarkTooLong: the remark.
        PromotionGone: somebody else took the last of a promotion.
        QuoteNotFound, QuoteDiffers: the kept quote.
        OrderAmountTooLarge, AmountChanged: the amount is not what it may be or what the member agreed to.
        DeliveryUnclear, AddressNotFound, PickUpPointNotFound: where it is to go.
        AddressRequired, RegionNotDelivered: goods that cannot be sent there.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    asked = asked_for(lines, points_wanted, coupons, delivery)
    content = {**asked, "expected_fen": expected_fen, "remark": remark}
    if quote_id is not None:
        content["quote_id"] = str(quote_id)
    if from_cart:
        content["from_cart"] = True
    if accepts_no_return:
        content["accepts_no_return"] = True
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="orderPlace", content=content)
        if before is not None:
            return await Order.get(id=UUID(before["order_id"]))
        rule.admit_remark(remark)
        kept = await order_quote.kept_for(member_id, quote_id, content=asked, now=now) if quote_id else None
        basket = await read_basket(member_id, lines, now, zone=deps.zone, without=kept.id if kept else None)
        excepted = any(sku["no_return_cause"] for sku in basket.skus.values())
        admit_purchase(excepted=excepted, accepted=accepts_no_return)
        way = _Way(deps, delivery, coupons, points_wanted, now)
        if kept is None:
            going, priced = await way.price(basket)
            rule.admit_amount(payable_fen=priced.quote.payable_fen, expected_fen=expected_fen)
        else:
            going, priced = await way.price_kept(kept, basket, expected_fen)
        quote = priced.quote
        order = await write_order(
            deps,
            member_id,
            kind=OrderKind.PURCHASE,
            quote=quote,
            lines_of=[_line_of(basket.skus[line.sku_id]) for line in quote.lines],
            under=basket.under,
            remark=remark,
            now=now,
        )
        await order_delivery.write(deps, order, going, priced.shipping, now)
        if from_cart:
            await cart.take_ordered(member_id, basket.lines, now)
        await coupon_hold.write(order, quote.coupons, now)
        await promotion_hold.write(order, quote.promotions, now)
        await remember(
            member_id,
            key=idempotency_key,
            operation="orderPlace",
            content=content,
            result={"order_id": str(order.id)},
            now=now,
        )
        if kept is not None:
            await order_quote.use(kept, order, quote, now)
        await order_hold.hold(deps, order, order.id, now)
        if quote.payable_fen == 0:
            await book(deps, order, paid_fen=0, now=now)
        return order


class _Way(NamedTuple):
    """What prices an order beside its lines."""

    deps: Deps
    delivery: DeliveryWish
    coupons: CouponWish
    points: int
    now: datetime

    async def price(self, basket: Basket, terms_of: datetime | None = None) -> tuple[Delivery, Priced]:
        """Where the order goes, under the terms of then, and what it costs."""
        going = await order_delivery.read(self.deps, basket, self.delivery, self.now, terms_of=terms_of)
        return going, await price_basket(basket, self.coupons, self.points, self.now, ship=going.ship)

    async def price_kept(self, kept: OrderQuote, basket: Basket, expected_fen: int | None) -> tuple[Delivery, Priced]:
        """The same from a kept quote, or by what is now if that is cheaper: then the quote holds what it takes.

        Raises: what an order by the kept price is refused for; OrderAmountTooLarge, AmountChanged.
        """
        as_kept = await self.price(thaw(basket, kept.frozen), kept.made_at)
        kept_fen = as_kept[1].quote.payable_fen
        try:
            as_now = await self.price(basket)
        except Refusal:
            as_now = as_kept
        now_fen = as_now[1].quote.payable_fen
        if now_fen < kept_fen and not await order_quote.renew(kept, as_now[1].quote, self.now):
            as_now, now_fen = as_kept, kept_fen
        admit_cheaper(kept_fen=kept_fen, now_fen=now_fen, expected_fen=expected_fen)
        return as_now if now_fen < kept_fen else as_kept


def _line_of(sku: dict[str, Any]) -> LineOf:
    return LineOf(
        sku_id=sku["id"],
        product_title=sku["product_title"],
        sku_title=sku["title"],
        no_reason_return=sku["no_return_cause"] is None,
    )


async def cancel(deps: Deps, *, member_id: UUID, order_id: UUID) -> Order:
    """Cancel an unpaid order. Harmless to repeat. A payment that was faster than the cancellation wins.

    Raises: OrderNotFound, OrderStateRefused (it is paid).
    """
    order = await owned(member_id, order_id)
    await close(deps, order_id=order.id, member_id=member_id, reason=CloseReason.CANCELLED)
    order = await owned(member_id, order_id)
    if order.state not in (OrderState.CLOSED, OrderState.CLOSING):
        raise rule.OrderStateRefused(state=order.state)
    return order


async def close(deps: Deps, *, order_id: UUID, member_id: UUID, reason: CloseReason) -> None:
    """Close an unpaid order: first here (CLOSING), then at WeChat, and only then give back what it holds (CLOSED).

    If WeChat says that it was paid, the payment is booked instead. If WeChat does not answer, the order stays CLOSING
    and the sweep tries again.
    """
    if not await _start_closing(deps, order_id, member_id, reason):
        return
    attempts = await rows(
        "SELECT id, out_trade_no FROM payment_attempt WHERE order_id = $1 AND state IN ('created', 'prepaid')",
        [order_id],
    )
    for attempt in attempts:
        try:
            await deps.pay.close(attempt["out_trade_no"])
        except OrderPaid:
            await payment.query(deps, out_trade_no=attempt["out_trade_no"])
            return
        except OrderNotExist:
            pass
        except WeChatError as error:
            log.warning("close_postponed", order_id=str(order_id), error=error.code)
            await _tell_if_stuck(deps, order_id, error)
            return
    await _finish_closing(deps, order_id, member_id, [attempt["id"] for attempt in attempts])


async def _tell_if_stuck(deps: Deps, order_id: UUID, error: WeChatError) -> None:
    now = deps.clock.now()
    async with transaction():
        order = await Order.get(id=order_id)
        if now >= order.pay_by + CLOSE_STUCK:
            await open_case(
                kind="close_stuck",
                key=f"close_stuck:{order_id}",
                order_id=order_id,
                details={"error": error.code},
                now=now,
            )


@retried
async def _start_closing(deps: Deps, order_id: UUID, member_id: UUID, reason: CloseReason) -> bool:
    now = deps.clock.now()
    async with transaction(member_id):
        order = await Order.get(id=order_id)
        if order.state == OrderState.UNPAID:
            await step(order, OrderState.CLOSING)
            await note(order_id, "closing", now, reason=reason)
        if order.state != OrderState.CLOSING:
            return False
        await changed("UPDATE shop_order SET close_due_at = $2 WHERE id = $1", [order_id, now + CLOSE_RETRY])
        return True


@retried
async def _finish_closing(deps: Deps, order_id: UUID, member_id: UUID, attempt_ids: Sequence[UUID]) -> None:
    now = deps.clock.now()
    async with transaction(member_id):
        order = await Order.get(id=order_id)
        if order.state != OrderState.CLOSING:
            return
        opened = await rows(
            "SELECT 1 FROM payment_attempt WHERE order_id = $1 AND state IN ('created', 'prepaid') "
            "AND NOT id = ANY($2::uuid[])",
            [order_id, list(attempt_ids)],
        )
        assert not opened, "no attempt is opened while an order is closing"
        await step(order, OrderState.CLOSED, closed_at=now, close_due_at=None)
        await changed(
            "UPDATE payment_attempt SET state = $2, poll_due_at = NULL WHERE id = ANY($1::uuid[])",
            [list(attempt_ids), AttemptState.CLOSED],
        )
        await note(order_id, "closed", now)
        await cause_gone([f"close_stuck:{order_id}", f"hold_stuck:{order_id}"], how="订单已关闭", now=now)
        await order_hold.release(deps, order, now)


async def due_to_close(now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Ids of orders, with their members, that wait for a close: unpaid past their deadline, or still closing."""
    found = await rows(
        "SELECT id, member_id FROM shop_order WHERE close_due_at <= $1 ORDER BY close_due_at LIMIT $2", [now, limit]
    )
    return [(row["id"], row["member_id"]) for row in found]
