"""Orders: the states an order goes through, and which lines may become one.

Source: docs/rules/order.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from loyalty.refusal import Refusal

MAX_LINES = 50
MAX_QUANTITY = 999
MAX_REMARK = 200
MAX_PAYABLE_FEN = 1_000_000_000
"""An order above 10 million yuan is refused: the platform's amount is a 32-bit number."""

PAY_WINDOW = timedelta(minutes=30)
MIN_PAY_WINDOW = timedelta(minutes=5)
MAX_PAY_WINDOW = timedelta(hours=24)


class OrderKind(StrEnum):
    """What an order is of: SKUs at their price, an item of the points mall, of a flash sale, or of a group-buy."""

    PURCHASE = "purchase"
    MALL = "mall"
    FLASH = "flash"
    GROUP = "group"


class OrderState(StrEnum):
    """Where an order stands. CLOSING asks WeChat to close before anything is released; only then it is CLOSED."""

    UNPAID = "unpaid"
    CLOSING = "closing"
    CLOSED = "closed"
    PAID = "paid"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.UNPAID: frozenset({OrderState.CLOSING, OrderState.PAID}),
    OrderState.CLOSING: frozenset({OrderState.CLOSED, OrderState.PAID}),
    OrderState.CLOSED: frozenset({OrderState.PAID}),
    OrderState.PAID: frozenset({OrderState.REFUNDING}),
    OrderState.REFUNDING: frozenset({OrderState.REFUNDED}),
    OrderState.REFUNDED: frozenset(),
}
"""Every step an order may take. CLOSED to PAID is the revival by late money."""


class CloseReason(StrEnum):
    """Why an order was closed."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    BY_OPERATOR = "by_operator"


class OrderNotFound(Refusal):
    """No such order, or not this member's: the two are not told apart."""

    code = "ORDER_NOT_FOUND"
    zh = "订单不存在"
    en = "There is no such order."


class OrderStateRefused(Refusal):
    """What was asked for is not possible in the order's ``state``."""

    code = "ORDER_STATE_REFUSED"
    zh = "订单当前状态（{state}）不支持此操作"
    en = "This is not possible while the order is {state}."
    zh_words: ClassVar = {
        OrderState.UNPAID: "待付款",
        OrderState.CLOSING: "关闭中",
        OrderState.CLOSED: "已关闭",
        OrderState.PAID: "已付款",
        OrderState.REFUNDING: "退款中",
        OrderState.REFUNDED: "已退款",
    }


class OutOfStock(Refusal):
    """Of ``sku_id`` only ``left`` are there."""

    code = "OUT_OF_STOCK"
    zh = "库存不足，剩余 {left} 件"
    en = "Not enough in stock: {left} left."


class PurchaseLimitReached(Refusal):
    """A member may buy ``limit`` of ``sku_id`` and has ``bought`` already, open orders included."""

    code = "PURCHASE_LIMIT_REACHED"
    zh = "每人限购 {limit} 件，您已购 {bought} 件"
    en = "The limit is {limit} for each member; you have {bought}."


class SkuNotOnSale(Refusal):
    """The SKU does not exist, is hidden, or belongs to a product that is."""

    code = "SKU_NOT_ON_SALE"
    zh = "商品已下架或不存在"
    en = "This item is not on sale."


class QuantityInvalid(Refusal):
    """A quantity outside 1..``most``, after equal lines were merged."""

    code = "QUANTITY_INVALID"
    zh = "商品数量须在 1 到 {most} 之间"
    en = "The quantity must be 1 to {most}."


class LineCountInvalid(Refusal):
    """No line, or more than ``most``."""

    code = "LINE_COUNT_INVALID"
    zh = "订单商品须在 1 到 {most} 行之间"
    en = "An order has 1 to {most} lines."


class RemarkTooLong(Refusal):
    """A remark is ``most`` characters at most."""

    code = "REMARK_TOO_LONG"
    zh = "备注不能超过 {most} 个字"
    en = "A remark is {most} characters at most."


class AmountChanged(Refusal):
    """The member confirmed ``expected`` fen and the order costs ``actual`` now."""

    code = "AMOUNT_CHANGED"
    zh = "价格已变化，请重新确认"
    en = "The price has changed; please confirm it again."


class OrderAmountTooLarge(Refusal):
    """More than ``most`` fen to pay in one order."""

    code = "ORDER_AMOUNT_TOO_LARGE"
    zh = "订单金额超出上限"
    en = "The amount of this order is too large."


def admit_step(current: OrderState, wanted: OrderState) -> None:
    """Whether an order may go from ``current`` to ``wanted``. Raises: OrderStateRefused."""
    if wanted not in TRANSITIONS[current]:
        raise OrderStateRefused(state=current.value)


def pay_deadline(placed_at: datetime, window: timedelta = PAY_WINDOW) -> datetime:
    """The instant from which an unpaid order is closed. ``window`` is 5 minutes to 24 hours."""
    assert MIN_PAY_WINDOW <= window <= MAX_PAY_WINDOW, f"a pay window of {window}"
    return placed_at + window


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """So many of one SKU."""

    sku_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuTerms:
    """What an order line is measured against, as read when the order is placed.

    ``bought_count`` is what the member has of it in orders that are neither closed nor refunded.
    """

    sku_id: UUID
    on_sale: bool
    stock_left: int
    purchase_limit: int | None = None
    bought_count: int = 0


def admit_lines(lines: Sequence[OrderLine], terms: Mapping[UUID, SkuTerms]) -> tuple[OrderLine, ...]:
    """The lines as the order keeps them: equal SKUs merged into the line that came first.

    The stock that is read here may be gone a moment later; the guarded write decides in the end.

    Raises, line by line in this order: LineCountInvalid (before all), QuantityInvalid, SkuNotOnSale,
    PurchaseLimitReached, OutOfStock.
    """
    if not 1 <= len(lines) <= MAX_LINES:
        raise LineCountInvalid(most=MAX_LINES)
    quantities: dict[UUID, int] = {}
    for line in lines:
        if not 1 <= line.quantity <= MAX_QUANTITY:
            raise QuantityInvalid(sku_id=str(line.sku_id), most=MAX_QUANTITY)
        quantities[line.sku_id] = quantities.get(line.sku_id, 0) + line.quantity
    return tuple(_admit_line(sku_id, quantity, terms.get(sku_id)) for sku_id, quantity in quantities.items())


def _admit_line(sku_id: UUID, quantity: int, sku: SkuTerms | None) -> OrderLine:
    if quantity > MAX_QUANTITY:
        raise QuantityInvalid(sku_id=str(sku_id), most=MAX_QUANTITY)
    if sku is None or not sku.on_sale:
        raise SkuNotOnSale(sku_id=str(sku_id))
    if sku.purchase_limit is not None and sku.bought_count + quantity > sku.purchase_limit:
        raise PurchaseLimitReached(sku_id=str(sku_id), limit=sku.purchase_limit, bought=sku.bought_count)
    if quantity > sku.stock_left:
        raise OutOfStock(sku_id=str(sku_id), left=max(sku.stock_left, 0))
    return OrderLine(sku_id=sku_id, quantity=quantity)


def admit_remark(remark: str) -> None:
    """Whether the order may carry this remark. Raises: RemarkTooLong."""
    if len(remark) > MAX_REMARK:
        raise RemarkTooLong(most=MAX_REMARK)


def admit_amount(*, payable_fen: int, expected_fen: int | None = None) -> None:
    """Whether an order may cost ``payable_fen``; ``expected_fen`` is what the member saw and agreed to, if sent.

    Raises, in this order: OrderAmountTooLarge, AmountChanged.
    """
    if payable_fen > MAX_PAYABLE_FEN:
        raise OrderAmountTooLarge(most=MAX_PAYABLE_FEN)
    if expected_fen is not None and expected_fen != payable_fen:
        raise AmountChanged(expected=expected_fen, actual=payable_fen)


def order_number(day: date, order_id: UUID) -> str:
    """The number a member reads to a shop assistant: the shop day, then 16 digits drawn from the id."""
    return f"{day.year:04d}{day.month:02d}{day.day:02d}{order_id.int % 10**16:016d}"
