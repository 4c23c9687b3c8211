"""What a member does with an order: see its price, place it, cancel it; and how an unpaid order is closed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from loyalty import order as rule
from loyalty.coupon import CouponChoiceUnclear
from loyalty.coupon_choice import Plan, best_plan
from loyalty.coupon_use import AppliedCoupon, CouponLine, admit_coupons
from loyalty.order import CloseReason, OrderKind, OrderLine, OrderState, SkuTerms
from loyalty.payment import AttemptState
from loyalty.points_lot import available
from loyalty.pricing import Quote, coupon_lines, price
from loyalty.promotion_choice import promote
from loyalty.unit_price import PriceLine, TierTerms
from models import points_ledger as ledger
from models.engine import changed, retried, rows, transaction
from models.order import Order
from resolvers import coupon_hold, order_hold, payment
from resolvers.deps import Deps
from resolvers.exception_case import open_case
from resolvers.order_row import note, owned, step
from resolvers.order_write import LineOf, PlacedUnder, placed_under, write_order
from resolvers.replay import remember, replayed
from resolvers.settlement import book
from wechat.errors import OrderNotExist, OrderPaid, WeChatError

log = structlog.get_logger()

CLOSE_RETRY = timedelta(seconds=60)
"""How long a close that WeChat did not answer waits for its next try."""

CLOSE_STUCK = timedelta(hours=1)
"""How long after its pay deadline an order that WeChat does not close becomes a person's affair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponWish:
    """The coupons that an order is to use: these, or the best combination of those the member has."""

    ids: tuple[UUID, ...] = ()
    best: bool = False


NO_COUPONS = CouponWish()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basket:
    """What an order is decided and priced from, read once. ``prices`` are the lines before anything is taken off."""

    lines: tuple[OrderLine, ...]
    skus: dict[UUID, dict[str, Any]]
    under: PlacedUnder
    tier: TierTerms
    prices: tuple[PriceLine, ...]

    def for_coupons(self) -> list[CouponLine]:
        """The lines as coupons meet them."""
        return coupon_lines(self.prices, promote(self.prices, tier=self.tier))


async def _basket(member_id: UUID, lines: Sequence[OrderLine], now: datetime) -> _Basket:
    found = await rows(
        "SELECT sku.id, sku.title, sku.price_fen, sku.member_price_fen, sku.stock_left, sku.purchase_limit, "
        "product.title AS product_title, product.id AS product_id, product.category_id, category.parent_id, "
        "(product.state = 'published' AND NOT sku.hidden) AS on_sale, "
        "coalesce((SELECT sum(line.quantity) FROM order_line line JOIN shop_order o ON o.id = line.order_id "
        "WHERE line.sku_id = sku.id AND o.member_id = $2 AND o.kind = 'purchase' "
        "AND o.state NOT IN ('closed', 'refunded')), 0)::int AS bought "
        "FROM sku JOIN product ON product.id = sku.product_id LEFT JOIN category ON category.id = product.category_id "
        "WHERE sku.id = ANY($1::uuid[])",
        [[line.sku_id for line in lines[: rule.MAX_LINES]], member_id],
    )
    skus = {row["id"]: row for row in found}
    admitted = rule.admit_lines(
        lines,
        {
            sku_id: SkuTerms(
                sku_id=sku_id,
                on_sale=row["on_sale"],
                stock_left=row["stock_left"],
                purchase_limit=row["purchase_limit"],
                bought_count=row["bought"],
            )
            for sku_id, row in skus.items()
        },
    )
    under = await placed_under(member_id, now)
    return _Basket(
        lines=admitted,
        skus=skus,
        under=under,
        tier=TierTerms(code=under.tier.code, discount_bp=under.tier.discount_bp),
        prices=tuple(_price_line(line, skus[line.sku_id]) for line in admitted),
    )


def _price_line(line: OrderLine, sku: dict[str, Any]) -> PriceLine:
    categories = (sku["category_id"], sku["parent_id"])
    return PriceLine(
        sku_id=line.sku_id,
        quantity=line.quantity,
        list_price_fen=sku["price_fen"],
        member_price_fen=sku["member_price_fen"],
        product_id=sku["product_id"],
        category_ids=frozenset(one for one in categories if one is not None),
    )


async def _coupons(basket: _Basket, member_id: UUID, wish: CouponWish, now: datetime) -> tuple[AppliedCoupon, ...]:
    if wish.best and wish.ids:
        raise CouponChoiceUnclear
    if wish.best:
        return (await _weighed(basket, member_id, now)).applied
    if not wish.ids:
        return ()
    return admit_coupons(await coupon_hold.chosen(member_id, wish.ids), basket.for_coupons(), now=now)


async def _quote(basket: _Basket, member_id: UUID, wish: CouponWish, points_wanted: int, now: datetime) -> Quote:
    return price(
        basket.prices,
        tier=basket.tier,
        coupons=await _coupons(basket, member_id, wish, now),
        programme=basket.under.programme.rules,
        points=points_wanted,
        available_points=available(await ledger.open_lots(member_id), now),
    )


async def preview(
    deps: Deps, *, member_id: UUID, lines: Sequence[OrderLine], points_wanted: int, coupons: CouponWish = NO_COUPONS
) -> Quote:
    """What an order of these lines would cost now; nothing is kept.

    Raises: what ``place`` raises, but for the key.
    """
    now = deps.clock.now()
    return await _quote(await _basket(member_id, lines, now), member_id, coupons, points_wanted, now)


async def weigh_coupons(deps: Deps, *, member_id: UUID, lines: Sequence[OrderLine]) -> Plan:
    """The best combination of the member's coupons for these lines, and what becomes of each of the others.

    Raises: what ``place`` raises for lines.
    """
    now = deps.clock.now()
    return await _weighed(await _basket(member_id, lines, now), member_id, now)


async def _weighed(basket: _Basket, member_id: UUID, now: datetime) -> Plan:
    held = await coupon_hold.held(member_id, now)
    # In a thread, because a full wallet is a second's arithmetic for which nobody else is to wait.
    return await asyncio.to_thread(best_plan, held, basket.for_coupons(), now=now)


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
) -> Order:
    """Place an order: its price is frozen, its coupons are reserved, its points held, its stock taken, until it is
    paid or closed.

    An order with nothing to pay is paid at once.

    Raises:
        LineCountInvalid, QuantityInvalid, SkuNotOnSale, PurchaseLimitReached, OutOfStock: a line cannot be had.
        CouponChoiceUnclear, CouponNotFound, TooManyCoupons, CouponNotUsable, CouponsNotCombinable: the coupons.
        PointsStep, PointsCapExceeded, PointsShort: the points cannot be used.
        RemarkTooLong: the remark.
        OrderAmountTooLarge, AmountChanged: the amount is not what it may be or what the member agreed to.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {
        "lines": [[str(line.sku_id), line.quantity] for line in lines],
        "points": points_wanted,
        "expected_fen": expected_fen,
        "remark": remark,
    }
    if coupons != NO_COUPONS:
        content["coupons"] = "best" if coupons.best else sorted(str(one) for one in coupons.ids)
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="orderPlace", content=content)
        if before is not None:
            return await Order.get(id=UUID(before["order_id"]))
        rule.admit_remark(remark)
        basket = await _basket(member_id, lines, now)
        quote = await _quote(basket, member_id, coupons, points_wanted, now)
        rule.admit_amount(payable_fen=quote.payable_fen, expected_fen=expected_fen)
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
        await coupon_hold.write(order, quote.coupons, now)
        await remember(
            member_id,
            key=idempotency_key,
            operation="orderPlace",
            content=content,
            result={"order_id": str(order.id)},
            now=now,
        )
        await order_hold.hold(deps, order, order.id, now)
        if quote.payable_fen == 0:
            await book(deps, order, paid_fen=0, now=now)
        return order


def _line_of(sku: dict[str, Any]) -> LineOf:
    return LineOf(sku_id=sku["id"], product_title=sku["product_title"], sku_title=sku["title"])


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
        await order_hold.release(deps, order, now)


async def due_to_close(now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Ids of orders, with their members, that wait for a close: unpaid past their deadline, or still closing."""
    found = await rows(
        "SELECT id, member_id FROM shop_order WHERE close_due_at <= $1 ORDER BY close_due_at LIMIT $2", [now, limit]
    )
    return [(row["id"], row["member_id"]) for row in found]
