"""What a member does with an order: see its price, place it, cancel it; and how an unpaid order is closed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from loyalty import order as rule
from loyalty.catalogue import StockKind
from loyalty.order import CloseReason, OrderLine, OrderState, SkuTerms
from loyalty.payment import AttemptState
from loyalty.points import PointsProgramme, available, multiplier_bp
from loyalty.points_window import BoostOccasion
from loyalty.pricing import PriceLine, Quote, TierTerms, price
from loyalty.shop_time import business_day
from loyalty.tier import TierLevel, TierTable
from models import points_ledger as ledger
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.order import Order
from models.order import OrderLine as OrderLineRow
from resolvers import payment, points, stock
from resolvers.deps import Deps
from resolvers.member import tier_terms
from resolvers.order_row import note, owned, quantities, step
from resolvers.programme import InForce, points_programme, tier_table
from resolvers.programme import version as programme_version
from resolvers.replay import remember, replayed
from resolvers.settlement import book
from wechat.errors import OrderNotExist, OrderPaid, WeChatError

log = structlog.get_logger()

CLOSE_RETRY = timedelta(seconds=60)
"""How long a close that WeChat did not answer waits for its next try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basket:
    """Everything an order is decided and priced from, read once."""

    lines: tuple[OrderLine, ...]
    skus: dict[UUID, dict[str, Any]]
    tier: TierLevel
    tier_version: InForce[TierTable]
    programme: InForce[PointsProgramme]
    available_points: int
    quote: Quote


async def _basket(member_id: UUID, lines: Sequence[OrderLine], points_wanted: int, now: datetime) -> _Basket:
    found = await rows(
        "SELECT sku.id, sku.title, sku.price_fen, sku.member_price_fen, sku.stock_left, sku.purchase_limit, "
        "product.title AS product_title, (product.state = 'published' AND NOT sku.hidden) AS on_sale, "
        "coalesce((SELECT sum(line.quantity) FROM order_line line JOIN shop_order o ON o.id = line.order_id "
        "WHERE line.sku_id = sku.id AND o.member_id = $2 AND o.state NOT IN ('closed', 'refunded')), 0)::int AS bought "
        "FROM sku JOIN product ON product.id = sku.product_id WHERE sku.id = ANY($1::uuid[])",
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
    tier_version = await tier_table(now)
    tier = await tier_terms(member_id, tier_version.rules, now)
    programme = await points_programme(now)
    spendable = available(await ledger.open_lots(member_id), now)
    quote = price(
        [
            PriceLine(
                sku_id=line.sku_id,
                quantity=line.quantity,
                list_price_fen=skus[line.sku_id]["price_fen"],
                member_price_fen=skus[line.sku_id]["member_price_fen"],
            )
            for line in admitted
        ],
        tier=TierTerms(code=tier.code, discount_bp=tier.discount_bp),
        programme=programme.rules,
        points=points_wanted,
        available_points=spendable,
    )
    return _Basket(
        lines=admitted,
        skus=skus,
        tier=tier,
        tier_version=tier_version,
        programme=programme,
        available_points=spendable,
        quote=quote,
    )


async def preview(deps: Deps, *, member_id: UUID, lines: Sequence[OrderLine], points_wanted: int) -> Quote:
    """What an order of these lines would cost now; nothing is kept.

    Raises: what ``place`` raises, but for the key.
    """
    return (await _basket(member_id, lines, points_wanted, deps.clock.now())).quote


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
) -> Order:
    """Place an order: its price is frozen, its points are held, its stock is taken, until it is paid or closed.

    An order with nothing to pay is paid at once.

    Raises:
        LineCountInvalid, QuantityInvalid, SkuNotOnSale, PurchaseLimitReached, OutOfStock: a line cannot be had.
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
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="orderPlace", content=content)
        if before is not None:
            return await Order.get(id=UUID(before["order_id"]))
        rule.admit_remark(remark)
        basket = await _basket(member_id, lines, points_wanted, now)
        quote = basket.quote
        rule.admit_amount(payable_fen=quote.payable_fen, expected_fen=expected_fen)
        order = await _write(deps, member_id, basket, remark, now)
        if quote.points_used:
            await points.hold(member_id, amount=quote.points_used, cause_kind="order", cause_id=order.id, now=now)
        if quote.payable_fen == 0:
            await book(deps, order, paid_fen=0, now=now)
        await remember(
            member_id,
            key=idempotency_key,
            operation="orderPlace",
            content=content,
            result={"order_id": str(order.id)},
            now=now,
        )
        await stock.move(StockKind.HOLD, order.id, {line.sku_id: -line.quantity for line in basket.lines}, now)
        return order


async def _write(deps: Deps, member_id: UUID, basket: _Basket, remark: str, now: datetime) -> Order:
    quote = basket.quote
    order_id = new_id(now)
    day = business_day(now, deps.zone)
    pay_by = rule.pay_deadline(now, deps.pay_window)
    occasion = BoostOccasion(day=day, tier_code=basket.tier.code)
    order = await Order.create(
        id=order_id,
        number=rule.order_number(day, order_id),
        member_id=member_id,
        state=OrderState.UNPAID,
        goods_fen=quote.goods_fen,
        discount_fen=quote.discount_fen,
        points_used=quote.points_used,
        points_fen=quote.points_fen,
        payable_fen=quote.payable_fen,
        explain=[asdict(step) for step in quote.explain],
        remark=remark,
        tier_code=basket.tier.code,
        points_multiplier_bp=multiplier_bp(
            basket.programme.rules, tier_bp=basket.tier.points_multiplier_bp, occasion=occasion
        ),
        tier_version_id=basket.tier_version.version_id,
        points_version_id=basket.programme.version_id,
        pay_by=pay_by,
        close_due_at=pay_by,
        created_at=now,
    )
    await OrderLineRow.bulk_create(
        [
            OrderLineRow(
                id=new_id(now),
                order_id=order_id,
                position=position,
                sku_id=line.sku_id,
                product_title=basket.skus[line.sku_id]["product_title"],
                sku_title=basket.skus[line.sku_id]["title"],
                quantity=line.quantity,
                list_price_fen=line.list_price_fen,
                unit_price_fen=line.unit_price_fen,
                goods_fen=line.goods_fen,
                discount_fen=line.discount_fen,
                points_fen=line.points_fen,
                payable_fen=line.payable_fen,
            )
            for position, line in enumerate(quote.lines)
        ]
    )
    await note(order_id, "placed", now, payable_fen=quote.payable_fen, points_used=quote.points_used)
    return order


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
            return
    await _finish_closing(deps, order_id, member_id, [attempt["id"] for attempt in attempts])


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
        programme = await programme_version("points", order.points_version_id)
        await points.release(cause_kind="order", cause_id=order_id, now=now, programme=programme)
        await stock.move(StockKind.RELEASE, order_id, await quantities(order_id), now)


async def due_to_close(now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Ids of orders, with their members, that wait for a close: unpaid past their deadline, or still closing."""
    found = await rows(
        "SELECT id, member_id FROM shop_order WHERE close_due_at <= $1 ORDER BY close_due_at LIMIT $2", [now, limit]
    )
    return [(row["id"], row["member_id"]) for row in found]
