"""What WeChat Pay says, as values. All amounts are whole fen, all times aware.

Official sources: "JSAPI prepay", "Query an order", "Refund", "Payment notification" and "Refund notification" of API
v3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from wechat.wire import Wire, instant_or_none, part, parts, text, text_or_none, whole, whole_or_none

OUT_TRADE_NO: Final = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
"""The merchant's order number: 6 to 32 characters, unique per merchant, never used twice with other parameters."""

OUT_REFUND_NO: Final = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
"""The merchant's refund number: up to 64 characters. A refund is repeated with the same number, never with a new
one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayConfig:
    """A merchant's settings.

    ``serial`` is that of the merchant certificate, ``apiv3_key`` 32 ASCII characters, ``verifying_keys`` maps each
    serial that may sign for WeChat to its PEM (public key or platform certificate) and ``preferred_serial`` is the
    one asked for.
    Raises ValueError for a setting that cannot be right.
    """

    appid: str
    mchid: str
    private_key_pem: str = field(repr=False)
    serial: str
    apiv3_key: str = field(repr=False)
    verifying_keys: Mapping[str, str] = field(repr=False)
    preferred_serial: str

    def __post_init__(self) -> None:
        if not (self.appid and self.mchid and self.serial):
            raise ValueError("appid, mchid and the merchant certificate's serial are required")
        if len(self.apiv3_key.encode()) != 32:
            raise ValueError("the APIv3 key has 32 bytes")
        if self.preferred_serial not in self.verifying_keys:
            raise ValueError("there is no verifying key of the preferred serial")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayParams:
    """The five fields of ``wx.requestPayment``; the app id is signed too but not handed to the mini-program."""

    time_stamp: str
    nonce_str: str
    package: str
    sign_type: str
    pay_sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One coupon used in a payment, and who bears it."""

    coupon_id: str
    name: str | None
    scope: str | None
    amount_fen: int
    wechatpay_contribute_fen: int
    merchant_contribute_fen: int
    other_contribute_fen: int

    @classmethod
    def from_wire(cls, wire: Wire) -> "Promotion":
        return cls(
            coupon_id=text(wire, "coupon_id"),
            name=text_or_none(wire, "name"),
            scope=text_or_none(wire, "scope"),
            amount_fen=whole(wire, "amount"),
            wechatpay_contribute_fen=whole_or_none(wire, "wechatpay_contribute") or 0,
            merchant_contribute_fen=whole_or_none(wire, "merchant_contribute") or 0,
            other_contribute_fen=whole_or_none(wire, "other_contribute") or 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One order at WeChat.

    ``trade_state`` is NOTPAY, SUCCESS, CLOSED or REFUND (paid, and some of it refunded since); scan payments also know
    USERPAYING, REVOKED, PAYERROR. ``transaction_id``, ``success_time``, ``openid`` and the amounts may be None while
    it is unpaid. ``payer_total_fen`` is less than ``total_fen`` where WeChat's coupons paid a part: book by
    ``total_fen``.
    """

    appid: str
    mchid: str
    out_trade_no: str
    transaction_id: str | None
    trade_type: str | None
    trade_state: str
    trade_state_desc: str | None
    attach: str | None
    bank_type: str | None
    success_time: datetime | None
    openid: str | None
    total_fen: int | None
    payer_total_fen: int | None
    currency: str | None
    promotions: tuple[Promotion, ...]

    @property
    def paid(self) -> bool:
        """True once money has moved; a refunded order was paid."""
        return self.trade_state in ("SUCCESS", "REFUND")

    @classmethod
    def from_wire(cls, wire: Wire) -> "Transaction":
        amount = part(wire, "amount")
        return cls(
            appid=text(wire, "appid"),
            mchid=text(wire, "mchid"),
            out_trade_no=text(wire, "out_trade_no"),
            transaction_id=text_or_none(wire, "transaction_id"),
            trade_type=text_or_none(wire, "trade_type"),
            trade_state=text(wire, "trade_state"),
            trade_state_desc=text_or_none(wire, "trade_state_desc"),
            attach=text_or_none(wire, "attach"),
            bank_type=text_or_none(wire, "bank_type"),
            success_time=instant_or_none(wire, "success_time"),
            openid=text_or_none(part(wire, "payer"), "openid"),
            total_fen=whole_or_none(amount, "total"),
            payer_total_fen=whole_or_none(amount, "payer_total"),
            currency=text_or_none(amount, "currency"),
            promotions=tuple(Promotion.from_wire(each) for each in parts(wire, "promotion_detail")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundResult:
    """A refund as its request or its query answers.

    ``status`` is PROCESSING (accepted, not done), SUCCESS, CLOSED (will not happen) or ABNORMAL (the user's card cannot
    take it; staff must act in WeChat's merchant console). HTTP success alone never means that the money is back.
    """

    refund_id: str
    out_refund_no: str
    transaction_id: str
    out_trade_no: str
    status: str
    refund_fen: int
    total_fen: int
    payer_refund_fen: int | None
    success_time: datetime | None
    user_received_account: str | None

    @classmethod
    def from_wire(cls, wire: Wire) -> "RefundResult":
        amount = part(wire, "amount")
        return cls(
            refund_id=text(wire, "refund_id"),
            out_refund_no=text(wire, "out_refund_no"),
            transaction_id=text(wire, "transaction_id"),
            out_trade_no=text(wire, "out_trade_no"),
            status=text(wire, "status"),
            refund_fen=whole(amount, "refund"),
            total_fen=whole(amount, "total"),
            payer_refund_fen=whole_or_none(amount, "payer_refund"),
            success_time=instant_or_none(wire, "success_time"),
            user_received_account=text_or_none(wire, "user_received_account"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNotice:
    """What a refund notification carries; ``status`` is SUCCESS, CLOSED or ABNORMAL."""

    mchid: str
    transaction_id: str
    out_trade_no: str
    refund_id: str
    out_refund_no: str
    status: str
    refund_fen: int
    total_fen: int
    payer_refund_fen: int | None
    success_time: datetime | None
    user_received_account: str | None

    @classmethod
    def from_wire(cls, wire: Wire) -> "RefundNotice":
        amount = part(wire, "amount")
        return cls(
            mchid=text(wire, "mchid"),
            transaction_id=text(wire, "transaction_id"),
            out_trade_no=text(wire, "out_trade_no"),
            refund_id=text(wire, "refund_id"),
            out_refund_no=text(wire, "out_refund_no"),
            status=text(wire, "refund_status"),
            refund_fen=whole(amount, "refund"),
            total_fen=whole(amount, "total"),
            payer_refund_fen=whole_or_none(amount, "payer_refund"),
            success_time=instant_or_none(wire, "success_time"),
            user_received_account=text_or_none(wire, "user_received_account"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification whose signature held and whose content was decrypted.

    ``id`` is unique per notification and the same on each of its retries. ``raw`` is the body exactly as received, to
    be stored; ``resource`` is what it says. It may come twice, late, out of order or never.
    """

    id: str
    event_type: str
    summary: str
    create_time: datetime | None
    resource: Transaction | RefundNotice
    raw: bytes = field(repr=False)
