"""Prices that are kept for a member: for how long, and why one cannot be used.

Source: docs/rules/pricing.md
"""

from datetime import timedelta
from enum import StrEnum

from loyalty.orders.order import admit_amount
from loyalty.refusal import Refusal

QUOTE_WINDOW = timedelta(minutes=10)


class QuoteState(StrEnum):
    """How a kept quote stands. One that is pending is over once its time has come, whoever notes it when."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"


def admit_cheaper(*, kept_fen: int, now_fen: int, expected_fen: int | None) -> int:
    """What an order from a kept price costs: the kept price, or what it costs now if that is less.

    Who agreed to the kept price agreed to every lower one. Raises: OrderAmountTooLarge, AmountChanged.
    """
    payable_fen = min(kept_fen, now_fen)
    admit_amount(payable_fen=payable_fen, expected_fen=None if expected_fen == kept_fen else expected_fen)
    return payable_fen


class QuoteNotFound(Refusal):
    """No such kept quote of the member, or it is over, or it was used."""

    code = "QUOTE_NOT_FOUND"
    zh = "报价不存在或已失效，请重新确认价格"
    en = "There is no such quote, or it is over."


class QuoteDiffers(Refusal):
    """The order asks for something else than the quote was kept for."""

    code = "QUOTE_DIFFERS"
    zh = "订单内容与保留的报价不一致"
    en = "The order is not what the quote was kept for."
