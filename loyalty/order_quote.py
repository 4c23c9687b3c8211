"""Prices that are kept for a member: for how long, and why one cannot be used.

Source: docs/rules/pricing.md
"""

from datetime import timedelta
from enum import StrEnum

from loyalty.refusal import Refusal

QUOTE_WINDOW = timedelta(minutes=10)
MIN_QUOTE_WINDOW = timedelta(minutes=1)
MAX_QUOTE_WINDOW = timedelta(minutes=60)


class QuoteState(StrEnum):
    """How a kept quote stands. One that is pending is over once its time has come, whoever notes it when."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"


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
