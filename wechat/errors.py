"""What WeChat's servers can answer that is not success, as exceptions with stable names.

Two questions decide what a caller may do next, so every error answers both:

- ``retriable``: may the *same* call (same numbers, same content) be repeated after a pause?
- ``unclear``: may the call have taken effect although no answer was obtained? Then nothing is known until a query
says so.

Error numbers are those of the official documentation of code2Session, of the access token and of WeChat Pay API v3.
"""

from typing import ClassVar


class WeChatError(Exception):
    """Any failure of a call to WeChat.

    ``code`` is WeChat's own code as text ("40029", "ORDER_PAID") or, where no answer came, one of ours
    ("UNREACHABLE", "TIMEOUT", "CONNECTION_LOST", "ANSWER_UNREADABLE", "SIGNATURE_INVALID").
    ``trace`` is WeChat's own request id, to be logged and quoted to its support.
    """

    retriable: ClassVar[bool] = False
    unclear: ClassVar[bool] = False

    def __init__(self, code: str, message: str, *, trace: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.trace = trace

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" [{self.trace}]" if self.trace else "")


# --- no usable answer -------------------------------------------------------------------------------------------------


class Unreachable(WeChatError):
    """No connection could be made, so nothing was sent and nothing has happened."""

    retriable = True


class OutcomeUnknown(WeChatError):
    """Sent, but no trustworthy answer: a timeout, a lost connection or any 5xx. Query, or repeat the same number."""

    retriable = True
    unclear = True


class AnswerUnreadable(OutcomeUnknown):
    """A success whose body is not what the documentation promises. The effect may well have happened."""


class SignatureInvalid(WeChatError):
    """A notification that WeChat did not sign, or not lately. Answer it with 4xx and store nothing as fact."""


class AnswerUnverified(SignatureInvalid):
    """A 2xx answer whose signature does not hold. It must not be used, yet the call may have taken effect."""

    unclear = True


class NoticeUnreadable(WeChatError):
    """A notification with a good signature whose content cannot be decrypted or lacks promised fields."""


class NoticeUnsupported(WeChatError):
    """A genuine notification of an event that this store does not handle; ``code`` is the event type."""


# --- common refusals --------------------------------------------------------------------------------------------------


class RequestRefused(WeChatError):
    """WeChat refused the call as it stands (parameter error and the like): our bug or a setting, not to be repeated."""


class Misconfigured(RequestRefused):
    """App id, secret, merchant number, key or permission is wrong: an alarm for the operator of the store."""


class FrequencyLimited(WeChatError):
    """Too fast (45011, HTTP 429): the call had no effect and may be repeated after a pause."""

    retriable = True


class QuotaExhausted(WeChatError):
    """The day's quota of this call is used up (45009). It returns at midnight, China Standard Time."""


class SystemBusy(WeChatError):
    """errcode -1: WeChat asks to try again; nothing has happened."""

    retriable = True


# --- mini-program -----------------------------------------------------------------------------------------------------


class CodeInvalid(WeChatError):
    """40029: the code is unknown or older than 5 minutes. The mini-program must ask for a new one."""


class CodeUsed(CodeInvalid):
    """40163: the code was exchanged before. Same remedy as `CodeInvalid`; also the sign of a replay."""


class RiskBlocked(WeChatError):
    """40226: WeChat holds this user for high-risk. Refuse the login."""


class TokenRejected(WeChatError):
    """40001, 40014, 42001: the access token is not (or no longer) good. Fetch anew once, then repeat the call once."""


# --- order shipping management ----------------------------------------------------------------------------------------


class PaymentUnknown(WeChatError):
    """10060001: WeChat's shipping management does not know the payment, or not yet: it learns of it a moment later."""

    retriable = True


class ShippingUnchanged(WeChatError):
    """10060023: WeChat has exactly this already."""


class ReshipUsed(WeChatError):
    """10060002, 10060003: what was told is complete and was corrected once; it stays as it is."""


class ShippingImpossible(WeChatError):
    """10060004: the payment takes no shipping: it was refunded, received, or needs none."""


# --- WeChat Pay -------------------------------------------------------------------------------------------------------


class OrderPaid(WeChatError):
    """Close or prepay met an order that is paid. A hint, not proof: query it and book what the query says."""


class OrderClosed(WeChatError):
    """The order is closed at WeChat; the number can never be paid again."""


class OrderNotExist(WeChatError):
    """WeChat knows no such order for this merchant."""


class OutTradeNoUsed(WeChatError):
    """The number was used before with other parameters. A changed price needs a new number."""


class RefundNotExist(WeChatError):
    """WeChat knows no such refund (or, asking for a refund, no such order)."""


class BalanceTooLow(WeChatError):
    """The merchant's balance cannot bear the refund. Staff must top up; then repeat with the same refund number."""


class BillNotReady(WeChatError):
    """The day's bill is still being made; bills are ready after 10:00 on the next day (China Standard Time)."""

    retriable = True


class BillAbsent(WeChatError):
    """There was no trade on that day, so there is no bill."""


_MINI: dict[int, type[WeChatError]] = {
    -1: SystemBusy,
    40001: TokenRejected,
    40014: TokenRejected,
    42001: TokenRejected,
    40013: Misconfigured,
    40125: Misconfigured,
    41002: Misconfigured,
    41004: Misconfigured,
    40029: CodeInvalid,
    40163: CodeUsed,
    40226: RiskBlocked,
    45009: QuotaExhausted,
    45011: FrequencyLimited,
    10060001: PaymentUnknown,
    10060002: ReshipUsed,
    10060003: ReshipUsed,
    10060004: ShippingImpossible,
    10060023: ShippingUnchanged,
}

_PAY: dict[str, type[WeChatError]] = {
    "SIGN_ERROR": Misconfigured,
    "APPID_MCHID_NOT_MATCH": Misconfigured,
    "MCH_NOT_EXISTS": Misconfigured,
    "NO_AUTH": Misconfigured,
    "ORDER_PAID": OrderPaid,
    "ORDERPAID": OrderPaid,
    "ORDER_CLOSED": OrderClosed,
    "ORDERCLOSED": OrderClosed,
    "ORDER_NOT_EXIST": OrderNotExist,
    "ORDERNOTEXIST": OrderNotExist,
    "OUT_TRADE_NO_USED": OutTradeNoUsed,
    "RESOURCE_NOT_EXISTS": RefundNotExist,
    "NOT_ENOUGH": BalanceTooLow,
    "STATEMENT_CREATING": BillNotReady,
    "NO_STATEMENT_EXIST": BillAbsent,
    "FREQUENCY_LIMITED": FrequencyLimited,
    "RATELIMIT_EXCEEDED": FrequencyLimited,
    "FREQUENCY_LIMIT_EXCEED": FrequencyLimited,
}


def mini_error(errcode: int, errmsg: str) -> WeChatError:
    """The error for a non-zero ``errcode`` of ``api.weixin.qq.com``; ``errmsg`` ends in WeChat's ``rid``."""
    message, _, trace = errmsg.partition("rid: ")
    kind = _MINI.get(errcode, RequestRefused)
    return kind(str(errcode), message.rstrip(" ,"), trace=trace or None)


def pay_error(status: int, code: str, message: str, *, trace: str | None = None) -> WeChatError:
    """The error for a non-2xx answer of WeChat Pay v3. Any 5xx is unclear, whatever its body says."""
    if status >= 500:
        return OutcomeUnknown(code, message, trace=trace)
    if status == 429:
        return FrequencyLimited(code, message, trace=trace)
    return _PAY.get(code, RequestRefused)(code, message, trace=trace)
