"""What a refund of some pieces of an order gives back and takes back, and the fingerprint of its preview.

Source: docs/rules/after_sale.md
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from loyalty.money import next_share, prorate
from loyalty.refusal import Language, Refusal

MOST_REFUNDS = 50
"""So many refunds WeChat takes for one payment."""

REFUNDED_WITHIN = timedelta(days=365)
"""From so long after a payment on, WeChat takes no refund of it."""


class PartState(StrEnum):
    """How a part of an order that goes back stands: REQUESTED until its money is back."""

    REQUESTED = "requested"
    DONE = "done"


class ByHand(StrEnum):
    """Why the shop pays money back in another way than WeChat. REFUSED is known only afterwards."""

    USED_UP = "used_up"
    OVERDUE = "overdue"
    REFUSED = "refused"

    def words(self, language: Language) -> str:
        """What whoever looks at the refund reads."""
        zh, en = _BY_HAND_WORDS[self]
        return zh if language == "zh" else en


_BY_HAND_WORDS: Mapping[ByHand, tuple[str, str]] = {
    ByHand.USED_UP: (
        f"该笔支付的退款次数已用完（{MOST_REFUNDS} 次），款项由商家线下退还",
        f"WeChat takes {MOST_REFUNDS} refunds of a payment; the shop pays this one back in another way.",
    ),
    ByHand.OVERDUE: (
        f"付款已满 {REFUNDED_WITHIN.days} 天，微信不再受理退款，款项由商家线下退还",
        f"WeChat takes no refund {REFUNDED_WITHIN.days} days after the payment; the shop pays it back in another way.",
    ),
    ByHand.REFUSED: (
        "微信未能退回款项，已由商家线下退还",
        "WeChat did not bring the money back; the shop has paid it back in another way.",
    ),
}


def is_overdue(*, paid_at: datetime, now: datetime) -> bool:
    """Whether it is too late for WeChat to take a refund of a payment."""
    return now >= paid_at + REFUNDED_WITHIN


def by_hand(*, refunds: int, paid_at: datetime, now: datetime) -> ByHand | None:
    """Why WeChat takes no more refunds of a payment of which ``refunds`` were asked for; None: it takes one more."""
    if is_overdue(paid_at=paid_at, now=now):
        return ByHand.OVERDUE
    return ByHand.USED_UP if refunds >= MOST_REFUNDS else None


class RefundLinesInvalid(Refusal):
    """Not what can be refunded of the order; of the line that is meant ``left`` pieces are left."""

    code = "REFUND_LINES_INVALID"
    zh = "退款商品或数量有误，剩余可退 {left} 件"
    en = "These pieces cannot be refunded; {left} are left."


class RefundInProgress(Refusal):
    """Another refund of the order is on its way."""

    code = "REFUND_IN_PROGRESS"
    zh = "该订单有退款正在处理，请稍后再试"
    en = "Another refund of this order is on its way."


class RefundChanged(Refusal):
    """The facts are not those of the preview that was confirmed; ``effect`` is the present one, as JSON."""

    code = "REFUND_CHANGED"
    zh = "退款内容已变化，请重新确认"
    en = "What the refund would do has changed; please confirm it again."


class RefundsUsedUp(Refusal):
    """WeChat takes ``most`` refunds for one payment, so none is asked for anew."""

    code = "REFUNDS_USED_UP"
    zh = "该笔支付的退款次数已达上限（{most} 次）"
    en = "A payment can be refunded {most} times at most."


class RefundOverdue(Refusal):
    """WeChat takes no refund of a payment from ``days`` days after it, so none is asked for anew."""

    code = "REFUND_OVERDUE"
    zh = "付款已满 {days} 天，微信不再受理退款"
    en = "WeChat takes no refund {days} days after the payment."


class RefundNotStuck(Refusal):
    """Only a refund that WeChat has closed unpaid is asked for anew."""

    code = "REFUND_NOT_STUCK"
    zh = "该退款无需重新发起"
    en = "This refund was not closed by WeChat."


class RefundNotWhole(Refusal):
    """An exchange is refunded whole."""

    code = "REFUND_NOT_WHOLE"
    zh = "积分兑换订单只能整单退款"
    en = "An exchange is refunded whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidLine:
    """A line of a paid order as a refund meets it.

    ``refunded`` pieces have gone back, ``claimed`` are those that this refund may not touch: on their way back, or in
    open requests. Money and points are those of the whole line.
    """

    line_id: UUID
    quantity: int
    refunded: int = 0
    claimed: int = 0
    payable_fen: int
    points_used: int = 0

    @property
    def left(self) -> int:
        """How many pieces may be refunded."""
        return self.quantity - self.refunded - self.claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedLine:
    """So many pieces of a line, with the money in fen and the points that were used on them."""

    line_id: UUID
    quantity: int
    money_fen: int
    points_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart:
    """A part of an order that is refunded together. ``last``: nothing of the order is left then.

    ``shipping_back`` says that shipping goes back with it, whatever the member had to pay for it.
    """

    lines: tuple[RefundedLine, ...]
    shipping_fen: int
    shipping_back: bool
    last: bool

    @property
    def amount_fen(self) -> int:
        """The money that goes back."""
        return sum(line.money_fen for line in self.lines) + self.shipping_fen

    @property
    def points_used(self) -> int:
        """The points that come back."""
        return sum(line.points_used for line in self.lines)

    @property
    def pieces(self) -> dict[UUID, int]:
        """How many pieces of each line."""
        return {line.line_id: line.quantity for line in self.lines}


def points_by_line(points_used: int, costs: Sequence[int]) -> list[int]:
    """How the points of an order were shared over its lines when it was priced.

    ``costs`` are what the lines cost before points.
    """
    return prorate(points_used, costs)


def everything_left(lines: Sequence[PaidLine]) -> dict[UUID, int]:
    """All pieces that may be refunded, by line."""
    return {line.line_id: line.left for line in lines if line.left}


def shipping_comes_back(*, last: bool, sent: bool, shops_fault: bool) -> bool:
    """Whether the shipping fee goes back with a refund. ``sent``: something of the order was ever sent."""
    return last and (shops_fault or not sent)


def part_of(
    lines: Sequence[PaidLine],
    wanted: Mapping[UUID, int],
    *,
    shipping_fen: int = 0,
    sent: bool = False,
    shops_fault: bool = False,
) -> RefundPart:
    """The part of an order that so many pieces of its lines are.

    ``shipping_fen`` is what was paid for shipping. Money and points are running shares, rounded down, so that all parts
    of a line together are exactly what it took.

    Raises: RefundLinesInvalid.
    """
    known = {line.line_id: line for line in lines}
    if not wanted:
        raise RefundLinesInvalid(left=sum(line.left for line in lines), line_id=None)
    for line_id, quantity in wanted.items():
        left = known[line_id].left if line_id in known else 0
        if not 1 <= quantity <= left:
            raise RefundLinesInvalid(left=left, line_id=str(line_id))
    parts = tuple(_part_of_line(line, wanted[line.line_id]) for line in lines if line.line_id in wanted)
    last = all(line.refunded + wanted.get(line.line_id, 0) == line.quantity for line in lines)
    back = shipping_comes_back(last=last, sent=sent, shops_fault=shops_fault)
    return RefundPart(lines=parts, shipping_fen=shipping_fen if back else 0, shipping_back=back, last=last)


def _part_of_line(line: PaidLine, quantity: int) -> RefundedLine:
    def share(total: int) -> int:
        return next_share(total, done=line.refunded, doing=quantity, whole=line.quantity)

    return RefundedLine(
        line_id=line.line_id,
        quantity=quantity,
        money_fen=share(line.payable_fen),
        points_used=share(line.points_used),
    )


def stays(earned: int, lines: Sequence[PaidLine], pieces: Mapping[UUID, int]) -> int:
    """How much of what the order earned belongs to the pieces that stay when ``pieces`` go back as well.

    Each line has its share by what it cost in money, by largest remainder; of that the pieces that are gone have theirs
    rounded down.
    """
    shares = prorate(earned, [line.payable_fen for line in lines])
    gone = (
        next_share(share, done=0, doing=line.refunded + pieces.get(line.line_id, 0), whole=line.quantity)
        for line, share in zip(lines, shares, strict=True)
    )
    return earned - sum(gone)


def to_take_back(*, stay: int, left: int) -> int:
    """How much of what an order earned a refund takes back: what is ``left`` of it above what may ``stay``."""
    assert min(stay, left) >= 0, "neither is ever negative"
    return max(0, left - stay)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentLine:
    """How far the pieces of a line have come, of those that have not gone back."""

    unsent: int
    sent: int


def pieces_sent(line: SentLine, quantity: int, *, returned: bool) -> int:
    """How many of so many pieces that go back were sent: as many as can be if they are ``returned``, else as few."""
    return min(quantity, line.sent) if returned else max(0, quantity - line.unsent)


# What a refund does, said before it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsBack:
    """Points that come back. ``renewed``: into a new lot that ends after the grace, because the old one ends too soon.

    ``lot_id`` is the lot that they came from.
    """

    lot_id: UUID
    amount: int
    expires_at: datetime | None
    renewed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponBack:
    """A coupon that comes back, usable until before ``expires_at``; ``extended`` says that it is longer than before."""

    coupon_id: UUID
    expires_at: datetime
    extended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StockBack:
    """Pieces that come back to the stock of a SKU."""

    sku_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundEffect:
    """All that a refund does. ``by_hand`` says why not WeChat pays ``cash_fen`` back but the shop; None: WeChat does.

    Of the points that the order earned, ``points_taken`` leave the account, ``points_owed`` become a debt and
    ``points_forgiven`` are given up, by ``claw_back``, the mode of the programme.
    """

    cash_fen: int
    shipping_fen: int
    points_back: tuple[PointsBack, ...]
    coupons_back: tuple[CouponBack, ...]
    claw_back: str
    points_taken: int
    points_owed: int
    points_forgiven: int
    growth_taken: int
    tier_before: str
    tier_after: str
    stock_back: tuple[StockBack, ...]
    by_hand: ByHand | None = None

    @property
    def earned_reversed(self) -> int:
        """How much of what the order earned is settled by this refund."""
        return self.points_taken + self.points_owed + self.points_forgiven

    def definition(self) -> dict[str, Any]:
        """The effect as JSON values."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_plain))
        return told

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """Read back what ``definition`` made."""
        return cls(
            **{
                **told,
                "points_back": tuple(
                    PointsBack(**{**one, "lot_id": UUID(one["lot_id"]), "expires_at": _instant(one["expires_at"])})
                    for one in told["points_back"]
                ),
                "coupons_back": tuple(
                    CouponBack(
                        coupon_id=UUID(one["coupon_id"]),
                        expires_at=datetime.fromisoformat(one["expires_at"]),
                        extended=one["extended"],
                    )
                    for one in told["coupons_back"]
                ),
                "stock_back": tuple(
                    StockBack(sku_id=UUID(one["sku_id"]), quantity=one["quantity"]) for one in told["stock_back"]
                ),
                "by_hand": ByHand(told["by_hand"]) if told.get("by_hand") else None,
            }
        )

    def digest(self) -> str:
        """The fingerprint: equal for effects that a member would call the same.

        The end of a grace moves with the clock and does not count.
        """
        told = self.definition()
        if self.by_hand is None:
            # A preview that was made before this was told stays good.
            del told["by_hand"]
        for lot in told["points_back"]:
            if lot["renewed"]:
                lot["expires_at"] = None
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _instant(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
