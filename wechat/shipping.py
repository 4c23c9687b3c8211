"""Order shipping management (发货信息管理): telling WeChat how an order's goods reach the buyer.

Official sources: "发货信息录入", "查询订单发货状态", "查询订单列表" and the page of the service. Without it the money
of an order stays frozen. What was told completely can be told anew once; a later ``upload_time`` wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from wechat.errors import AnswerUnreadable
from wechat.mini import MiniProgramHost
from wechat.token import TokenProvider
from wechat.wire import Wire, part, parts, text, text_or_none, whole

EXPRESS: Final = 1
BY_TRANSACTION: Final = 2
"""``order_number_type``: the order is named by WeChat's transaction id."""

UNIFIED: Final = 1
SPLIT: Final = 2
MAX_PARCELS: Final = 15
CHINA: Final = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedParcel:
    """One parcel, or the one hand-over of an order without any: then there is only a description, 1 to 120 characters.

    ``receiver_contact`` is the receiver's masked phone (``138****1234``), which SF Express wants.
    """

    item_desc: str
    express_company: str | None = None
    tracking_no: str | None = None
    receiver_contact: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """How the goods of one payment reach the buyer.

    ``logistics_type``: 1 express, 2 same city, 3 virtual, 4 pick-up. Split (分拆发货) is for express only; its
    ``is_all_delivered`` says whether these parcels are all.
    """

    transaction_id: str
    openid: str = field(repr=False)
    logistics_type: int
    is_split: bool
    is_all_delivered: bool
    parcels: tuple[ShippedParcel, ...]

    def body(self, upload_at: datetime) -> dict[str, Any]:
        """The request body."""
        told: dict[str, Any] = {
            "order_key": {"order_number_type": BY_TRANSACTION, "transaction_id": self.transaction_id},
            "logistics_type": self.logistics_type,
            "delivery_mode": SPLIT if self.is_split else UNIFIED,
            "shipping_list": [_parcel(parcel) for parcel in self.parcels],
            "upload_time": upload_time(upload_at),
            "payer": {"openid": self.openid},
        }
        if self.is_split:
            told["is_all_delivered"] = self.is_all_delivered
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingStatus:
    """What WeChat knows of a payment's goods.

    ``order_state``: 1 to ship, 2 shipped, 3 received, 4 done, 5 refunded, 6 awaiting settlement. ``logistics_type``
    is 0 and ``is_split`` false before anything was told; ``parcels`` are carrier and tracking number.
    """

    transaction_id: str
    order_state: int
    in_complaint: bool
    logistics_type: int
    is_split: bool
    is_finished: bool
    finished_count: int
    parcels: tuple[tuple[str | None, str | None], ...]

    def has(self, shipment: Shipment) -> bool:
        """Whether WeChat has exactly this, so that telling it again would only spend the one correction."""
        told = sorted((parcel.express_company or "", parcel.tracking_no or "") for parcel in shipment.parcels)
        known = sorted((carrier or "", number or "") for carrier, number in self.parcels)
        return (
            self.logistics_type == shipment.logistics_type
            and self.is_finished == (shipment.is_all_delivered or not shipment.is_split)
            and known == told
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingPage:
    """Some of the orders that WeChat manages; ``last_index`` goes on from here while ``has_more``."""

    orders: tuple[ShippingStatus, ...]
    last_index: str | None
    has_more: bool


class ShippingClient:
    """``/wxa/sec/order/*``. Raises any ``wechat.errors.WeChatError``."""

    def __init__(self, host: MiniProgramHost, tokens: TokenProvider, *, appid: str) -> None:
        self._host = host
        self._tokens = tokens
        self._appid = appid

    async def upload(self, shipment: Shipment, *, upload_at: datetime) -> None:
        """Tell WeChat. ``upload_at`` is later than that of any upload before of the same payment.

        Raises: PaymentUnknown (not known yet: later again), ShippingUnchanged (WeChat has it already), ReshipUsed,
            ShippingImpossible (for good).
        """
        await self._post("upload_shipping_info", shipment.body(upload_at))

    async def status(self, transaction_id: str) -> ShippingStatus:
        """What WeChat knows of one payment. Raises: PaymentUnknown."""
        return _status(part(await self._post("get_order", {"transaction_id": transaction_id}), "order"))

    async def orders(
        self,
        *,
        paid_from: datetime | None = None,
        paid_until: datetime | None = None,
        order_state: int | None = None,
        last_index: str | None = None,
        page_size: int = 50,
    ) -> ShippingPage:
        """The orders that WeChat manages, by when they were paid (both ends counted in) and state."""
        wanted: dict[str, Any] = {"page_size": page_size}
        if paid_from is not None and paid_until is not None:
            wanted["pay_time_range"] = {
                "begin_time": int(paid_from.timestamp()),
                "end_time": int(paid_until.timestamp()),
            }
        if order_state is not None:
            wanted["order_state"] = order_state
        if last_index is not None:
            wanted["last_index"] = last_index
        answer = await self._post("get_order_list", wanted)
        return ShippingPage(
            orders=tuple(_status(one) for one in parts(answer, "order_list")),
            last_index=text_or_none(answer, "last_index"),
            has_more=_flag(answer, "has_more"),
        )

    async def is_trade_managed(self) -> bool:
        """Whether this mini-program has to tell WeChat at all."""
        return _flag(await self._post("is_trade_managed", {"appid": self._appid}), "is_trade_managed")

    async def _post(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._tokens.using(
            lambda token: self._host.post(f"/wxa/sec/order/{call}", {"access_token": token}, body)
        )


def upload_time(at: datetime) -> str:
    """The instant as WeChat wants it: RFC 3339 with milliseconds, in China Standard Time."""
    return at.astimezone(CHINA).isoformat(timespec="milliseconds")


def _parcel(parcel: ShippedParcel) -> dict[str, Any]:
    told: dict[str, Any] = {"item_desc": parcel.item_desc}
    if parcel.tracking_no is not None:
        told |= {"tracking_no": parcel.tracking_no, "express_company": parcel.express_company}
    if parcel.receiver_contact is not None:
        told["contact"] = {"receiver_contact": parcel.receiver_contact}
    return told


def _status(wire: Wire) -> ShippingStatus:
    shipping = part(wire, "shipping")
    return ShippingStatus(
        transaction_id=text(wire, "transaction_id"),
        order_state=whole(wire, "order_state"),
        in_complaint=_flag(wire, "in_complaint"),
        logistics_type=whole(shipping, "logistics_type") if "logistics_type" in shipping else 0,
        is_split="delivery_mode" in shipping and whole(shipping, "delivery_mode") == SPLIT,
        is_finished=_flag(shipping, "finish_shipping"),
        finished_count=whole(shipping, "finish_shipping_count") if "finish_shipping_count" in shipping else 0,
        parcels=_known(parts(shipping, "shipping_list")),
    )


def _known(listed: Sequence[Wire]) -> tuple[tuple[str | None, str | None], ...]:
    return tuple((text_or_none(one, "express_company"), text_or_none(one, "tracking_no")) for one in listed)


def _flag(wire: Wire, key: str) -> bool:
    value = wire.get(key, False)
    if not isinstance(value, bool):
        raise AnswerUnreadable("ANSWER_UNREADABLE", f"field {key} is not true or false")
    return value
