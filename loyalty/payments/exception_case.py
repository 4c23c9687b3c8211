"""The exceptions inbox: what a machine could not finish, by when a person must see to it, and what that person can do.

Source: docs/rules/exception_case.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from loyalty.refusal import Language, Refusal

MAX_RESOLUTION = 200


class CaseKind(StrEnum):
    """What could not be finished."""

    PAYMENT_MISMATCH = "payment_mismatch"
    UNKNOWN_ORDER = "unknown_order"
    LATE_PAYMENT = "late_payment"
    DUPLICATE_PAYMENT = "duplicate_payment"
    NOTICE_STUCK = "notice_stuck"
    CLOSE_STUCK = "close_stuck"
    HOLD_STUCK = "hold_stuck"
    REFUND_STUCK = "refund_stuck"
    REFUND_CLOSED = "refund_closed"
    REFUND_ABNORMAL = "refund_abnormal"
    REFUND_MISMATCH = "refund_mismatch"
    REFUND_TWICE = "refund_twice"
    REFUNDS_USED_UP = "refunds_used_up"
    EXCHANGE_UNDELIVERED = "exchange_undelivered"
    UNSHIPPED = "unshipped"
    SHIPPING_UPLOAD_FAILED = "shipping_upload_failed"
    AFTER_SALE_OVERDUE = "after_sale_overdue"
    BILL_MISSING = "bill_missing"
    BILL_OURS_ONLY = "bill_ours_only"
    BILL_THEIRS_ONLY = "bill_theirs_only"
    BILL_AMOUNT_DIFFERS = "bill_amount_differs"


class CaseAction(StrEnum):
    """What an operator can do about a case, each by a mutation of its own."""

    RETRY = "retry"
    REFUND = "refund"
    ACCEPT = "accept"
    PAID_BY_HAND = "paid_by_hand"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRule:
    """What a kind of case means: its cause in words, how long it may stand open, what to do; the first is suggested."""

    zh: str
    en: str
    within: timedelta
    actions: tuple[CaseAction, ...]
    advice_zh: str
    advice_en: str

    def cause(self, language: Language) -> str:
        """What happened, in a sentence."""
        return self.zh if language == "zh" else self.en

    def advice(self, language: Language) -> str:
        """What to do, in a sentence."""
        return self.advice_zh if language == "zh" else self.advice_en


def _hours(number: int) -> timedelta:
    return timedelta(hours=number)


RULES: Mapping[CaseKind, CaseRule] = {
    CaseKind.PAYMENT_MISMATCH: CaseRule(
        zh="微信收到的款项与订单不一致，未入账",
        en="WeChat collected what does not agree with the order; it is not booked.",
        within=_hours(24),
        actions=(CaseAction.REFUND, CaseAction.ACCEPT, CaseAction.RESOLVE),
        advice_zh="退回这笔款项；金额一致且确认无误时可予接受",
        advice_en="Send the money back; accept it if the amount is right and the difference is understood.",
    ),
    CaseKind.UNKNOWN_ORDER: CaseRule(
        zh="微信收到的款项没有对应的订单",
        en="WeChat collected money under a number that is not ours.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="再查一次；仍无订单时在商户平台退款并说明",
        advice_en="Ask again; if there is still no order, refund it in WeChat's console and say so.",
    ),
    CaseKind.LATE_PAYMENT: CaseRule(
        zh="订单关闭后才收到款项，正在全额退回",
        en="Money came for a closed order; all of it is on its way back.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.REFUND, CaseAction.RESOLVE),
        advice_zh="等待退款到账；退款被微信关闭时重新退款",
        advice_en="Wait for the refund; refund again if WeChat closed it.",
    ),
    CaseKind.DUPLICATE_PAYMENT: CaseRule(
        zh="同一订单重复付款，多付的款项正在退回",
        en="An order was paid twice; the second payment is on its way back.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.REFUND, CaseAction.RESOLVE),
        advice_zh="等待退款到账；退款被微信关闭时重新退款",
        advice_en="Wait for the refund; refund again if WeChat closed it.",
    ),
    CaseKind.NOTICE_STUCK: CaseRule(
        zh="微信的通知多次处理失败",
        en="A notice of WeChat could not be applied, however often it was tried.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="重新处理",
        advice_en="Apply it again.",
    ),
    CaseKind.CLOSE_STUCK: CaseRule(
        zh="微信迟迟未能关闭支付单，订单占用的库存和权益未释放",
        en="WeChat does not close the payment, so the order keeps what it holds.",
        within=_hours(4),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="重新请求关闭",
        advice_en="Ask WeChat to close it again.",
    ),
    CaseKind.HOLD_STUCK: CaseRule(
        zh="订单早已到期，占用的权益仍未释放",
        en="An order is long over and still holds something.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="释放占用",
        advice_en="Release what it holds.",
    ),
    CaseKind.REFUND_STUCK: CaseRule(
        zh="退款迟迟未完成：多次请求未成功，或处理中已满 3 天；系统继续重试",
        en="A refund does not come to its end: refused again and again, or in process for 3 days; the store goes on "
        "asking.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="查看原因（如商户余额不足），处理后重试",
        advice_en="Look at the error (such as the merchant's balance), mend it, try now.",
    ),
    CaseKind.REFUND_CLOSED: CaseRule(
        zh="微信关闭或拒绝了退款，款项未退回",
        en="WeChat closed or refused a refund; no money went back.",
        within=_hours(24),
        actions=(CaseAction.REFUND, CaseAction.PAID_BY_HAND, CaseAction.RESOLVE),
        advice_zh="查看原因后用新单号重新退款；微信无法退回时线下退款并留存凭证",
        advice_en="Look at the error and refund again under a new number; what WeChat cannot do, pay back by hand.",
    ),
    CaseKind.REFUND_ABNORMAL: CaseRule(
        zh="退款异常：用户的账户无法收款",
        en="The payer's account cannot take the refund.",
        within=_hours(48),
        actions=(CaseAction.RETRY, CaseAction.PAID_BY_HAND, CaseAction.RESOLVE),
        advice_zh="在商户平台处理后重查；或线下退款并留存凭证",
        advice_en="Settle it in WeChat's console and ask again, or pay it back by hand and keep the proof.",
    ),
    CaseKind.REFUND_MISMATCH: CaseRule(
        zh="微信退款金额与申请不一致",
        en="WeChat refunded another amount than was asked for.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="重新查询；仍不一致时联系微信支付并说明",
        advice_en="Ask again; if it still differs, take it up with WeChat Pay and say so.",
    ),
    CaseKind.REFUND_TWICE: CaseRule(
        zh="微信退回了已另行退还的款项，可能退了两次",
        en="WeChat paid back what went back in another way already; the money may have gone twice.",
        within=_hours(24),
        actions=(CaseAction.RESOLVE,),
        advice_zh="与会员核实，追回多退的款项并说明",
        advice_en="Ask the member, get back what went twice, and say so.",
    ),
    CaseKind.REFUNDS_USED_UP: CaseRule(
        zh="微信不再受理该笔支付的退款，款项须由商家另行退还",
        en="WeChat takes no more refunds of this payment; the shop has to pay this one back in another way.",
        within=_hours(24),
        actions=(CaseAction.PAID_BY_HAND,),
        advice_zh="线下退款并留存凭证",
        advice_en="Pay it back by hand and keep the proof.",
    ),
    CaseKind.EXCHANGE_UNDELIVERED: CaseRule(
        zh="积分兑换已付款，但权益未能发放",
        en="An exchange is paid, and what it gives could not be given.",
        within=_hours(24),
        actions=(CaseAction.RETRY, CaseAction.REFUND, CaseAction.RESOLVE),
        advice_zh="重新发放；不能发放时退款",
        advice_en="Deliver again; refund it if that cannot be.",
    ),
    CaseKind.UNSHIPPED: CaseRule(
        zh="已付款订单迟迟未发货或备货",
        en="A paid order is neither sent nor ready to be picked up; WeChat wants goods sent within 48 hours.",
        within=_hours(12),
        actions=(CaseAction.RESOLVE,),
        advice_zh="尽快发货或备货；不能发货时退款",
        advice_en="Send it or tell the member that it is ready; refund it if that cannot be.",
    ),
    CaseKind.SHIPPING_UPLOAD_FAILED: CaseRule(
        zh="发货信息未能上传微信，款项可能延迟结算",
        en="WeChat did not take the shipping information; the money may be settled late.",
        within=_hours(12),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="检查单号后重新上传",
        advice_en="Check the parcel's number and upload again.",
    ),
    CaseKind.AFTER_SALE_OVERDUE: CaseRule(
        zh="售后申请超过处理时限",
        en="Nobody answered an after-sale request in time.",
        within=_hours(24),
        actions=(CaseAction.RESOLVE,),
        advice_zh="尽快答复售后申请",
        advice_en="Decide the request.",
    ),
    CaseKind.BILL_MISSING: CaseRule(
        zh="对账：微信账单迟迟无法获取或读取",
        en="Reconciliation: a bill of WeChat cannot be had or read.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="检查商户号的账单权限后重新获取；仍无法获取时人工对账并说明",
        advice_en="See that the merchant may have bills and fetch it again; or compare it by hand and say so.",
    ),
    CaseKind.BILL_OURS_ONLY: CaseRule(
        zh="对账：我方有，微信账单没有",
        en="Reconciliation: booked here, missing in WeChat's bill.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="向微信查询该单号；核实后说明",
        advice_en="Ask WeChat about the number; explain what remains.",
    ),
    CaseKind.BILL_THEIRS_ONLY: CaseRule(
        zh="对账：微信账单有，我方没有",
        en="Reconciliation: in WeChat's bill, not booked here.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="向微信查询该单号并入账；核实后说明",
        advice_en="Ask WeChat about the number and book it; explain what remains.",
    ),
    CaseKind.BILL_AMOUNT_DIFFERS: CaseRule(
        zh="对账：双方金额不一致",
        en="Reconciliation: both have it, with different amounts.",
        within=_hours(72),
        actions=(CaseAction.RETRY, CaseAction.RESOLVE),
        advice_zh="向微信查询该单号；核实后说明",
        advice_en="Ask WeChat about the number; explain what remains.",
    ),
}
"""Every kind there is. What a version of tomorrow opens, it adds here first."""


class CaseNotFound(Refusal):
    """No such case in the exceptions inbox, or somebody settled it already."""

    code = "CASE_NOT_FOUND"
    zh = "异常事项不存在或已处理"
    en = "There is no such open case."


class ResolutionInvalid(Refusal):
    """A case is settled with a word on how: 1 to ``most`` characters."""

    code = "RESOLUTION_INVALID"
    zh = "处理说明须为 1 至 {most} 个字"
    en = "A resolution must be 1 to {most} characters."


class CaseActionRefused(Refusal):
    """The case's kind, or what it is about, does not allow this now; nothing changed."""

    code = "CASE_ACTION_REFUSED"
    zh = "该异常事项当前不支持此操作"
    en = "This cannot be done about this case now."


def due_at(kind: CaseKind, opened_at: datetime) -> datetime:
    """By when somebody must have seen to a case of this kind."""
    return opened_at + RULES[kind].within


def admit_action(kind: CaseKind, action: CaseAction) -> None:
    """Whether the kind of case has this action. Raises: CaseActionRefused."""
    if action not in RULES[kind].actions:
        raise CaseActionRefused()


def admit_accept(*, paid_fen: int | None, expected_fen: int) -> None:
    """Whether a payment that differs may be booked all the same: never with another amount.

    Raises: CaseActionRefused.
    """
    if paid_fen != expected_fen:
        raise CaseActionRefused()


def admit_resolution(resolution: str) -> None:
    """Whether a case may be settled with these words. Raises: ResolutionInvalid."""
    if not 1 <= len(resolution.strip()) <= MAX_RESOLUTION:
        raise ResolutionInvalid(most=MAX_RESOLUTION)
