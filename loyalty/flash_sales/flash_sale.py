"""Flash sales: who may buy when, who is offered what comes back, and what a session may look like.

Source: docs/rules/flash_sale.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from loyalty.orders.order import QuantityInvalid
from loyalty.programme import Reason, between, invalid
from loyalty.refusal import Refusal
from loyalty.tiers.tier_benefit import Benefit, opens_for

MAX_ITEMS = 50
MAX_TITLE_LENGTH = 60
MAX_FLASH_STOCK = 100_000
MAX_MEMBER_LIMIT = 99
MAX_WINDOW = timedelta(days=7)
MAX_EARLY = timedelta(minutes=10_080)
"""No tier opens anything sooner than this, see ``loyalty.tiers.tier_benefit``."""

MAX_CLAIM_MINUTES = 60
MAX_REHEARSAL_BUYERS = 2_000
QUEUE_TIMES_STOCK = 10
"""A queue waits for so many times the session's pieces at most: who stands further back only waits in vain."""


class FlashSaleState(StrEnum):
    """Where a session stands. Only a published one sells, within its window."""

    DRAFT = "draft"
    PUBLISHED = "published"
    CLOSED = "closed"


class TicketState(StrEnum):
    """What became of the pieces of a flash order: held, sold, and released or returned."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    RETURNED = "returned"


class WaitState(StrEnum):
    """A place in the queue: waiting, then offered for a time, then claimed by an order, or lost, left or ended."""

    WAITING = "waiting"
    OFFERED = "offered"
    CLAIMED = "claimed"
    LAPSED = "lapsed"
    LEFT = "left"
    ENDED = "ended"


class RehearsalState(StrEnum):
    """How a rehearsal stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class FlashSaleNotFound(Refusal):
    """No such session, for an operator."""

    code = "FLASH_SALE_NOT_FOUND"
    zh = "秒杀场次不存在"
    en = "There is no such flash sale."


class FlashSaleStateRefused(Refusal):
    """What was asked for is not possible in the session's ``state``."""

    code = "FLASH_SALE_STATE_REFUSED"
    zh = "秒杀场次当前状态（{state}）不支持此操作"
    en = "This is not possible while the flash sale is {state}."
    zh_words: ClassVar = {
        FlashSaleState.DRAFT: "草稿",
        FlashSaleState.PUBLISHED: "已发布",
        FlashSaleState.CLOSED: "已结束",
    }


class FlashNotOffered(Refusal):
    """No such item, or its session is not published."""

    code = "FLASH_NOT_OFFERED"
    zh = "该秒杀商品不存在或已下架"
    en = "This item is not offered in a flash sale."


class FlashNotOpen(Refusal):
    """The window has not begun for this member."""

    code = "FLASH_NOT_OPEN"
    zh = "秒杀尚未开始"
    en = "The flash sale has not begun."


class FlashOver(Refusal):
    """The window has ended."""

    code = "FLASH_OVER"
    zh = "秒杀已结束"
    en = "The flash sale is over."


class FlashLimitReached(Refusal):
    """A member may have ``limit`` of the item and has ``bought`` already, unpaid orders included."""

    code = "FLASH_LIMIT_REACHED"
    zh = "每人限购 {limit} 件，您已购 {bought} 件"
    en = "The limit is {limit} for each member; you have {bought}."


class FlashSoldOut(Refusal):
    """Fewer pieces may be taken now than wanted; unpaid orders may still come back."""

    code = "FLASH_SOLD_OUT"
    zh = "已抢光"
    en = "Sold out."


class FlashOfferGone(Refusal):
    """The member has no standing offer of so many pieces."""

    code = "FLASH_OFFER_GONE"
    zh = "候补名额不存在或已过期"
    en = "There is no such offer, or its time is over."


class FlashNotSoldOut(Refusal):
    """There is no need to queue."""

    code = "FLASH_NOT_SOLD_OUT"
    zh = "商品尚有库存，请直接抢购"
    en = "It is not sold out; buy it."


class FlashAlreadyWaiting(Refusal):
    """The member stands in this queue already."""

    code = "FLASH_ALREADY_WAITING"
    zh = "您已在候补队列中"
    en = "You are in this queue already."


class FlashWaitNotFound(Refusal):
    """No such place in a queue, or not this member's."""

    code = "FLASH_WAIT_NOT_FOUND"
    zh = "候补记录不存在"
    en = "There is no such place in a queue."


class FlashRehearsalRunning(Refusal):
    """One rehearsal at a time."""

    code = "FLASH_REHEARSAL_RUNNING"
    zh = "已有演练正在进行"
    en = "Another rehearsal is running."


# Buying


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashTerms:
    """What every buyer of an item meets: sold from ``opens_at`` until before ``closes_at``."""

    opens_at: datetime
    closes_at: datetime
    member_limit: int


def open_count(*, left: int, waiting: int) -> int:
    """How many pieces anybody may take: those left beyond what the queue waits for."""
    return max(0, left - waiting)


def admit_quantity(quantity: int) -> None:
    """Whether so many pieces may be asked for, 1..99. Raises: QuantityInvalid."""
    if not 1 <= quantity <= MAX_MEMBER_LIMIT:
        raise QuantityInvalid(most=MAX_MEMBER_LIMIT)


def admit_window(terms: FlashTerms, *, early: Benefit | None, now: datetime) -> None:
    """Whether the window is open for a member with the tier's ``early`` access. Raises: FlashNotOpen, FlashOver."""
    if now < opens_for(early, opens_at=terms.opens_at):
        raise FlashNotOpen
    if now >= terms.closes_at:
        raise FlashOver


def admit_limit(terms: FlashTerms, *, quantity: int, had_count: int) -> None:
    """Whether a member who has ``had_count`` may have so many more. Raises: FlashLimitReached."""
    if had_count + quantity > terms.member_limit:
        raise FlashLimitReached(limit=terms.member_limit, bought=had_count)


def admit(
    terms: FlashTerms, *, quantity: int, early: Benefit | None, had_count: int, left: int, waiting: int, now: datetime
) -> None:
    """Whether a member may buy ``quantity`` pieces now.

    ``had_count`` is what the member has in unpaid and paid orders, ``waiting`` what the queue waits for. The guarded
    write decides in the end.

    Raises, in this order: QuantityInvalid, FlashNotOpen, FlashOver, FlashLimitReached, FlashSoldOut.
    """
    admit_quantity(quantity)
    admit_window(terms, early=early, now=now)
    admit_limit(terms, quantity=quantity, had_count=had_count)
    if quantity > open_count(left=left, waiting=waiting):
        raise FlashSoldOut


# The queue


def offers_due(queue: Sequence[int], *, left: int) -> int:
    """How many from the head of the queue can be served; ``queue`` is how many pieces each waits for, in order.

    Nobody is passed over: the first who wants more than there is ends it.
    """
    served = 0
    for wanted in queue:
        if wanted > left:
            break
        left -= wanted
        served += 1
    return served


def claim_by(terms: FlashTerms, *, offered_at: datetime, claim_minutes: int) -> datetime:
    """Until before when an offer of the queue stands: so many minutes, and no longer than the window."""
    return min(offered_at + timedelta(minutes=claim_minutes), terms.closes_at)


# What operators make


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFlashItem:
    """An item as an operator wants it. ``list_price_fen`` is the SKU's."""

    sku_id: UUID
    price_fen: int
    list_price_fen: int
    stock: int
    member_limit: int


def admit_session(*, title: str, opens_at: datetime, closes_at: datetime, claim_minutes: int, now: datetime) -> None:
    """Whether a session may have these values. Raises: ProgrammeInvalid, which names the first that cannot work."""
    if not 1 <= len(title.strip()) <= MAX_TITLE_LENGTH:
        raise invalid(
            "title", Reason(f"must be 1 to {MAX_TITLE_LENGTH} characters", f"须为 1 至 {MAX_TITLE_LENGTH} 个字符")
        )
    if closes_at <= opens_at:
        raise invalid("closes_at", Reason("must be later than opens_at", "必须晚于 opens_at"))
    if closes_at - opens_at > MAX_WINDOW:
        raise invalid("closes_at", Reason("must be within 7 days of opens_at", "与 opens_at 相距不得超过 7 天"))
    if closes_at <= now:
        raise invalid("closes_at", Reason("must not lie in the past", "不能早于现在"))
    if not 1 <= claim_minutes <= MAX_CLAIM_MINUTES:
        raise invalid("claim_minutes", between(1, MAX_CLAIM_MINUTES))


def admit_items(items: Sequence[NewFlashItem]) -> None:
    """Whether a session may have these items. Raises: ProgrammeInvalid, which names the first that cannot work."""
    if not 1 <= len(items) <= MAX_ITEMS:
        raise invalid("items", Reason(f"must have 1 to {MAX_ITEMS} entries", f"须有 1 至 {MAX_ITEMS} 项"))
    seen: set[UUID] = set()
    for at, item in enumerate(items):
        if item.sku_id in seen:
            raise invalid(f"items[{at}].sku_id", Reason("stands there twice", "重复"))
        seen.add(item.sku_id)
        if not 1 <= item.price_fen <= item.list_price_fen:
            raise invalid(f"items[{at}].price_fen", between(1, item.list_price_fen))
        if not 1 <= item.stock <= MAX_FLASH_STOCK:
            raise invalid(f"items[{at}].stock", between(1, MAX_FLASH_STOCK))
        if not 1 <= item.member_limit <= MAX_MEMBER_LIMIT:
            raise invalid(f"items[{at}].member_limit", between(1, MAX_MEMBER_LIMIT))


def admit_rehearsal(*, buyers: int) -> None:
    """Whether so many made-up buyers may rehearse. Raises: ProgrammeInvalid."""
    if not 1 <= buyers <= MAX_REHEARSAL_BUYERS:
        raise invalid("buyers", between(1, MAX_REHEARSAL_BUYERS))


def admit_state(state: FlashSaleState, *, wanted: FlashSaleState) -> None:
    """Whether a session in ``state`` may be treated as one in ``wanted``. Raises: FlashSaleStateRefused."""
    if state is not wanted:
        raise FlashSaleStateRefused(state=state.value)
