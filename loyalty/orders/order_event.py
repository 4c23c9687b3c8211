"""The timeline of an order: every kind of thing that can happen to it, and what the member reads about it.

Source: docs/rules/order.md
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class OrderEventKind(StrEnum):
    """One kind of line in an order's timeline. What is stored is the value; a value never changes its meaning."""

    PLACED = "placed"
    PAID = "paid"
    CLOSING = "closing"
    CLOSED = "closed"
    REVIVED = "revived"
    LATE_PAYMENT = "late_payment"
    DUPLICATE_PAYMENT = "duplicate_payment"
    MISMATCHED_PAYMENT = "mismatched_payment"
    PAYMENT_RETURNED = "payment_returned"
    NOT_DELIVERED = "not_delivered"
    DELIVERED = "delivered"
    ADDRESS_SET = "address_set"
    PICK_UP_SET = "pick_up_set"
    PARCEL_SENT = "parcel_sent"
    PARCEL_CHANGED = "parcel_changed"
    PARCEL_VOIDED = "parcel_voided"
    SHIPPED = "shipped"
    PICK_UP_READY = "pick_up_ready"
    RECEIVED = "received"
    REFUND_REQUESTED = "refund_requested"
    REFUND_FAILED = "refund_failed"
    REFUND_BY_HAND = "refund_by_hand"
    PART_REFUNDED = "part_refunded"
    REFUNDED = "refunded"
    AFTER_SALE_REQUESTED = "after_sale_requested"
    AFTER_SALE_CHANGED = "after_sale_changed"
    AFTER_SALE_APPROVED = "after_sale_approved"
    AFTER_SALE_REJECTED = "after_sale_rejected"
    AFTER_SALE_SENT_BACK = "after_sale_sent_back"
    AFTER_SALE_RECEIVED = "after_sale_received"
    AFTER_SALE_WITHDRAWN = "after_sale_withdrawn"
    AFTER_SALE_CLOSED = "after_sale_closed"
    TEAM_JOINED = "team_joined"
    TEAM_LEFT = "team_left"
    TEAM_COMPLETE = "team_complete"
    TEAM_FAILED = "team_failed"


class EventTitle(NamedTuple):
    """What is read on the timeline, in Chinese and English."""

    zh: str
    en: str


TITLES: Mapping[OrderEventKind, EventTitle] = {
    OrderEventKind.PLACED: EventTitle("已下单", "Placed"),
    OrderEventKind.PAID: EventTitle("已支付", "Paid"),
    OrderEventKind.CLOSING: EventTitle("正在关闭", "Being closed"),
    OrderEventKind.CLOSED: EventTitle("已关闭", "Closed"),
    OrderEventKind.REVIVED: EventTitle("付款到账，订单恢复", "Open again: the payment arrived"),
    OrderEventKind.LATE_PAYMENT: EventTitle("订单关闭后收到付款，将原路退回", "Paid too late: the money goes back"),
    OrderEventKind.DUPLICATE_PAYMENT: EventTitle(
        "收到重复付款，将原路退回", "Paid twice: the second payment goes back"
    ),
    OrderEventKind.MISMATCHED_PAYMENT: EventTitle(
        "付款与订单不符，将原路退回", "Not what was asked for: the money goes back"
    ),
    OrderEventKind.PAYMENT_RETURNED: EventTitle("多收款项已退回", "That payment is back"),
    OrderEventKind.NOT_DELIVERED: EventTitle(
        "权益未能发放，客服处理中", "Could not be given out; the shop looks into it"
    ),
    OrderEventKind.DELIVERED: EventTitle("权益已补发", "Given out after all"),
    OrderEventKind.ADDRESS_SET: EventTitle("已填写收货地址", "An address was given"),
    OrderEventKind.PICK_UP_SET: EventTitle("已选择到店自提", "A pick-up point was chosen"),
    OrderEventKind.PARCEL_SENT: EventTitle("包裹已发出", "A parcel was sent"),
    OrderEventKind.PARCEL_CHANGED: EventTitle("运单号已更正", "A tracking number was corrected"),
    OrderEventKind.PARCEL_VOIDED: EventTitle("包裹已作废", "A parcel was not sent after all"),
    OrderEventKind.SHIPPED: EventTitle("已全部发货", "Everything was sent"),
    OrderEventKind.PICK_UP_READY: EventTitle("备货完成，可以提货", "Ready to be picked up"),
    OrderEventKind.RECEIVED: EventTitle("已收货", "Received"),
    OrderEventKind.REFUND_REQUESTED: EventTitle("已申请退款", "A refund was asked for"),
    OrderEventKind.REFUND_FAILED: EventTitle(
        "款项未能原路退回，客服处理中", "The money could not go back the way it came; the shop looks into it"
    ),
    OrderEventKind.REFUND_BY_HAND: EventTitle("商家已另行退款", "The shop has paid it back in another way"),
    OrderEventKind.PART_REFUNDED: EventTitle("部分商品已退款", "Refunded in part"),
    OrderEventKind.REFUNDED: EventTitle("已退款", "Refunded"),
    OrderEventKind.AFTER_SALE_REQUESTED: EventTitle("已提交售后申请", "After-sale was asked for"),
    OrderEventKind.AFTER_SALE_CHANGED: EventTitle("售后申请已修改", "The after-sale request was changed"),
    OrderEventKind.AFTER_SALE_APPROVED: EventTitle("售后申请已同意", "The after-sale request was approved"),
    OrderEventKind.AFTER_SALE_REJECTED: EventTitle("售后申请未通过", "The after-sale request was rejected"),
    OrderEventKind.AFTER_SALE_SENT_BACK: EventTitle("退货已寄出", "The goods were sent back"),
    OrderEventKind.AFTER_SALE_RECEIVED: EventTitle("商家已收到退货", "The shop received the goods"),
    OrderEventKind.AFTER_SALE_WITHDRAWN: EventTitle("售后申请已撤销", "The after-sale request was withdrawn"),
    OrderEventKind.AFTER_SALE_CLOSED: EventTitle("售后申请已关闭", "The after-sale request was closed"),
    OrderEventKind.TEAM_JOINED: EventTitle("已入团", "In the team"),
    OrderEventKind.TEAM_LEFT: EventTitle("已退团", "Left the team"),
    OrderEventKind.TEAM_COMPLETE: EventTitle("已成团", "The team is complete"),
    OrderEventKind.TEAM_FAILED: EventTitle("未成团，将全额退款", "The team failed: the money goes back"),
}


def kind_of(value: str) -> OrderEventKind | None:
    """The kind that a stored value names; None for one that a newer version of the store has written."""
    try:
        return OrderEventKind(value)
    except ValueError:
        return None
