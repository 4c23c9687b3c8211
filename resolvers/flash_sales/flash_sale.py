"""What members do at a flash sale: look, and buy.

A purchase passes the gate first and then becomes an order like any other. Purchases of one item that arrive together
share a transaction (``resolvers.group_commit``); whoever cannot come along is written alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError
from tortoise.expressions import Q

from cache import flash_gate as cached_gate
from cache.flash_gate import Asked, Fate
from loyalty.flash_sales import flash_sale as rule
from loyalty.flash_sales.flash_sale import (
    FlashNotOffered,
    FlashOfferGone,
    FlashSaleState,
    FlashSoldOut,
    FlashTerms,
    TicketState,
    WaitState,
)
from loyalty.idempotency import KeyReused, admit_key
from loyalty.orders.order import OrderKind, admit_amount
from loyalty.prices.pricing import price
from loyalty.prices.unit_price import PriceLine, TierTerms
from loyalty.refusal import Refusal
from loyalty.tiers.tier_benefit import opens_for
from models.asyncpg_backend import Conflict, Unavailable
from models.engine import retried, rows, transaction
from models.flash_sales.flash_sale import FlashItem, FlashSale, FlashTicket
from models.idempotency import IdempotencyRecord
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales.flash_facts import ItemFacts, facts_of_each, item_facts, pieces_had, under
from resolvers.flash_sales.flash_gate import AWAY, Entry, early_access
from resolvers.flash_sales.flash_hold import TAKE
from resolvers.orders.order_write import (
    Draft,
    LineOf,
    NewOrder,
    PlacedUnder,
    compose,
    draft,
    write_orders,
)
from resolvers.replay import Call, answer_of, call_of, records_of
from resolvers.tiers.tier import benefits_of

log = structlog.get_logger(__name__)

SHOWN = Keyset("flash_sale.shown", (Key("opens_at", datetime, descending=False), Key("id", UUID, descending=False)))
"""As members see sessions: what opens first comes first."""


# Buying


OPERATION = "flashSalePurchase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One tap on "buy", on its way behind the gate. ``wait_id`` is the place in the queue whose offer it claims.

    ``asked`` is the request as the gate knows it, ``call`` as the idempotency record does.
    """

    member_id: UUID
    item_id: UUID
    quantity: int
    expected_fen: int | None
    wait_id: UUID | None
    asked: Asked
    call: Call
    entry: Entry

    def fate(self, *, written: bool) -> list[tuple[Fate, Asked]]:
        """What the gate is to be told, if anything: its order was written just now, or was not."""
        if written:
            return [(Fate.CLAIM if self.wait_id else Fate.KEEP, self.asked)]
        return [] if self.entry is Entry.KNOWN else [(Fate.DROP, self.asked)]


@dataclass(frozen=True, slots=True)
class _Placed:
    """An order, and whether it was written just now rather than before."""

    order: Order
    is_new: bool


_Answers = dict[UUID, "_Placed | Exception"]
"""By member: in one transaction each has one wish."""


class _Alone(Exception):
    """This purchase cannot come along with the others and is to be written by itself."""


async def purchase(
    deps: Deps,
    *,
    member_id: UUID,
    item_id: UUID,
    quantity: int,
    expected_fen: int | None = None,
    wait_id: UUID | None = None,
    idempotency_key: str,
) -> Order:
    """Buy ``quantity`` pieces, 1 to 99, of an item of a flash sale. They are held until the order's pay deadline.

    "Not open", "over", "limit reached" and "sold out" are mostly answered by the gate, without the database.
    ``expected_fen`` is what the member saw and agreed to. With ``wait_id`` the pieces are those that the queue offers.

    Raises, in this order:
        KeyInvalid, QuantityInvalid: the call.
        KeyReused: the idempotency key.
        FlashNotOffered, FlashNotOpen, FlashOver, FlashLimitReached, FlashSoldOut: see
            ``loyalty.flash_sales.flash_sale.admit``.
        FlashOfferGone: there is no standing offer of so many pieces.
        OrderAmountTooLarge, AmountChanged: what it costs.
    """
    admit_key(idempotency_key)
    rule.admit_quantity(quantity)
    asked = Asked(request=f"{member_id}:{idempotency_key}", member_id=member_id, quantity=quantity)
    entry = Entry.KNOWN if wait_id else await gate.enter(deps, item_id, asked, deps.clock.now())
    wish = Wish(
        member_id=member_id,
        item_id=item_id,
        quantity=quantity,
        expected_fen=expected_fen,
        wait_id=wait_id,
        asked=asked,
        call=_call(member_id, idempotency_key, item_id, quantity, expected_fen, wait_id),
        entry=entry,
    )

    async def write(wishes: Sequence[Wish]) -> Sequence[_Placed | Exception]:
        return await _write_together(deps, item_id, wishes)

    try:
        placed: _Placed = await deps.group_commit.join(("flash_item", item_id), wish, write)
    except _Alone:
        placed = await _write_alone(deps, wish)
    return placed.order


def _call(
    member_id: UUID, key: str, item_id: UUID, quantity: int, expected_fen: int | None, wait_id: UUID | None
) -> Call:
    content = {
        "item_id": str(item_id),
        "quantity": quantity,
        "expected_fen": expected_fen,
        "wait_id": str(wait_id) if wait_id else None,
    }
    return call_of(member_id, key=key, operation=OPERATION, content=content)


async def _write_together(deps: Deps, item_id: UUID, wishes: Sequence[Wish]) -> Sequence[_Placed | Exception]:
    """One transaction for all who can come along: a second tap of a member cannot, nor a member who is busy."""
    first: dict[UUID, int] = {}
    for at, wish in enumerate(wishes):
        first.setdefault(wish.member_id, at)
    along = sorted(first.values())
    answers: list[_Placed | Exception] = [_Alone() for _ in wishes]
    try:
        found = await _write(deps, [wishes[at] for at in along], waits=False)
    except Unavailable as error:
        found = [error] * len(along)
    except (Conflict, IntegrityError, FlashSoldOut, FlashOfferGone):
        # Somebody else was faster with a piece or a key: each finds out for himself.
        found = [_Alone()] * len(along)
    except Exception:
        log.exception("a group of purchases failed, each is written alone", item_id=str(item_id), many=len(along))
        found = [_Alone()] * len(along)
    for at, answer in zip(along, found, strict=True):
        answers[at] = answer
    fates = [
        fate
        for wish, answer in zip(wishes, answers, strict=True)
        if not isinstance(answer, _Alone)
        for fate in wish.fate(written=isinstance(answer, _Placed) and answer.is_new)
    ]
    deps.group_commit.follow(gate.settle(deps, item_id, fates))
    return answers


async def _write_alone(deps: Deps, wish: Wish) -> _Placed:
    written = False
    try:
        placed = await _one(deps, wish)
        written = placed.is_new
    finally:
        deps.group_commit.follow(gate.settle(deps, wish.item_id, wish.fate(written=written)))
    return placed


@retried
async def _one(deps: Deps, wish: Wish) -> _Placed:
    (answer,) = await _write(deps, [wish], waits=True)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _write(deps: Deps, wishes: Sequence[Wish], *, waits: bool) -> list[_Placed | Exception]:
    """Write the orders of different members in one transaction; a refusal is the answer of the one it is for.

    Raises: FlashSoldOut, FlashOfferGone: somebody else was faster, and nothing is written.
    """
    now = deps.clock.now()
    item_id = wishes[0].item_id
    answers: _Answers = {}
    members = [wish.member_id for wish in wishes]
    async with transaction(*(members if waits else ())):
        item = await item_facts(item_id, members, now, locking=not waits)
        answers |= {member_id: _Alone() for member_id in members if member_id not in item.locked}
        along = [wish for wish in wishes if wish.member_id in item.locked]
        each = await facts_of_each(item_id, [wish.call for wish in along], now)
        new = await _not_replayed(along, each, answers)
        if new:
            await _write_new(deps, new, item, each, answers, now)
    return [answers[member_id] for member_id in members]


async def _not_replayed(
    wishes: Sequence[Wish], each: Mapping[UUID, Mapping[str, Any]], answers: _Answers
) -> list[Wish]:
    new: list[Wish] = []
    before: dict[UUID, UUID] = {}
    for wish in wishes:
        try:
            known = answer_of(wish.call, each[wish.member_id])
        except KeyReused as refusal:
            answers[wish.member_id] = refusal
            continue
        if known is None:
            new.append(wish)
        else:
            before[UUID(known["order_id"])] = wish.member_id
    if before:
        for order in await Order.filter(id__in=list(before)):
            answers[before[order.id]] = _Placed(order, is_new=False)
    return new


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the wishes of a group are decided from. ``drafts`` are those made so far."""

    item: Mapping[str, Any]
    terms: FlashTerms
    had: Mapping[UUID, int]
    under: Mapping[UUID, PlacedUnder]
    offers: Mapping[UUID, Mapping[str, Any]]
    drafts: dict[tuple[int, str, date | None], Draft]


async def _write_new(
    deps: Deps,
    wishes: Sequence[Wish],
    item: ItemFacts,
    each: Mapping[UUID, Mapping[str, Any]],
    answers: _Answers,
    now: datetime,
) -> None:
    if item.columns is None:
        answers |= {wish.member_id: FlashNotOffered() for wish in wishes}
        return
    members = [wish.member_id for wish in wishes]
    facts = _Facts(
        item=item.columns,
        terms=item.terms,
        had={member_id: pieces_had(each[member_id]) for member_id in members},
        under={member_id: under(item, each[member_id], now) for member_id in members},
        offers=await _offers([wish.wait_id for wish in wishes if wish.wait_id is not None]),
        drafts={},
    )
    left, written = facts.item["left_count"], []
    for wish in wishes:
        try:
            composed = _decide(deps, wish, facts, left, now)
        except Refusal as refusal:
            answers[wish.member_id] = refusal
        else:
            written.append((wish, composed))
            left -= 0 if wish.wait_id else wish.quantity
    if not written:
        return
    calls = [(wish.call, {"order_id": str(composed.id)}) for wish, composed in written]
    await write_orders(
        [composed for _, composed in written],
        (FlashTicket, [_ticket(wish, composed.id, now) for wish, composed in written]),
        (IdempotencyRecord, records_of(calls, now)),
    )
    await _claim([(wish.wait_id, composed.id) for wish, composed in written if wish.wait_id], now)
    wanted = sum(wish.quantity for wish, _ in written if wish.wait_id is None)
    if wanted and not await rows(TAKE, [item.columns["id"], wanted]):
        raise FlashSoldOut
    answers |= {wish.member_id: _Placed(composed.row(), is_new=True) for wish, composed in written}


async def _offers(claims: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
    found = await rows("SELECT * FROM flash_wait WHERE id = ANY($1::uuid[])", [claims]) if claims else []
    return {row["id"]: row for row in found}


def _decide(deps: Deps, wish: Wish, facts: _Facts, left: int, now: datetime) -> NewOrder:
    item, under = facts.item, facts.under[wish.member_id]
    claims = wish.wait_id is not None
    rule.admit(
        facts.terms,
        quantity=wish.quantity,
        early=early_access(under.tier.benefits),
        had_count=facts.had[wish.member_id],
        # What the queue offers is set aside already.
        left=wish.quantity if claims else left,
        waiting=0 if claims else item["waiting_count"],
        now=now,
    )
    if wish.wait_id is not None:
        _admit_claim(wish, facts.offers.get(wish.wait_id), now)
    common = _draft(deps, facts, wish.quantity, under, now)
    admit_amount(payable_fen=common.payable_fen, expected_fen=wish.expected_fen)
    return compose(common, wish.member_id, now)


def _draft(deps: Deps, facts: _Facts, quantity: int, under: PlacedUnder, now: datetime) -> Draft:
    """The orders of so many pieces by members of that tier and birthday, priced once for all of them."""
    key = (quantity, under.tier.code, under.birthday)
    if key not in facts.drafts:
        item = facts.item
        line = PriceLine(
            sku_id=item["sku_id"],
            quantity=quantity,
            list_price_fen=item["list_price_fen"],
            member_price_fen=item["member_price_fen"],
            activity_price_fen=item["price_fen"],
            activity_code="flash_sale",
            product_id=item["product_id"],
        )
        facts.drafts[key] = draft(
            deps,
            kind=OrderKind.FLASH,
            quote=price([line], tier=TierTerms(code=under.tier.code, discount_bp=under.tier.discount_bp)),
            lines_of=[LineOf(sku_id=item["sku_id"], product_title=item["product_title"], sku_title=item["sku_title"])],
            under=under,
            remark="",
            now=now,
        )
    return facts.drafts[key]


def _admit_claim(wish: Wish, offer: Mapping[str, Any] | None, now: datetime) -> None:
    if (
        offer is None
        or (offer["member_id"], offer["item_id"]) != (wish.member_id, wish.item_id)
        or (offer["state"], offer["quantity"]) != (WaitState.OFFERED, wish.quantity)
        or now >= offer["claim_by"]
    ):
        raise FlashOfferGone


async def _claim(claims: Sequence[tuple[UUID, UUID]], now: datetime) -> None:
    """The orders (second) have what the queue offered (first)."""
    if not claims:
        return
    claimed = await rows(
        "UPDATE flash_wait wait SET state = 'claimed', order_id = claim.order_id, settled_at = $3 "
        "FROM unnest($1::uuid[], $2::uuid[]) AS claim(id, order_id) "
        "WHERE wait.id = claim.id AND wait.state = 'offered' AND wait.claim_by > $3 RETURNING wait.id",
        [[wait_id for wait_id, _ in claims], [order_id for _, order_id in claims], now],
    )
    if len(claimed) < len(claims):
        raise FlashOfferGone


def _ticket(wish: Wish, order_id: UUID, now: datetime) -> Mapping[str, Any]:
    return {
        "id": new_id(now),
        "item_id": wish.item_id,
        "member_id": wish.member_id,
        "order_id": order_id,
        "quantity": wish.quantity,
        "state": TicketState.PENDING,
        "reservation": wish.asked.request,
        "created_at": now,
    }


# Looking


async def shown(deps: Deps, *, page: Page) -> Slice[FlashSale]:
    """Sessions that are running or coming, by ``SHOWN``."""
    return await fetch(FlashSale.filter(_shown(deps.clock.now())), page)


async def shown_one(deps: Deps, sale_id: UUID) -> FlashSale | None:
    """One session that is running or coming."""
    return await FlashSale.get_or_none(_shown(deps.clock.now()), id=sale_id)


def _shown(now: datetime) -> Q:
    return Q(state=FlashSaleState.PUBLISHED, closes_at__gt=now)


async def items_by_sale(_: Deps, sale_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[FlashItem]]:
    """The items of sessions, in their order, each with its SKU and product."""
    found = await FlashItem.filter(sale_id__in=list(sale_ids)).select_related("sku__product").order_by("position")
    groups: dict[UUID, list[FlashItem]] = {sale_id: [] for sale_id in sale_ids}
    for item in found:
        groups[item.sale_id].append(item)
    return groups


async def open_counts(deps: Deps, item_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many pieces anybody may take at this moment, by the gates; those without a gate from the database."""
    try:
        found = dict(await cached_gate.left_of(deps.redis, item_ids))
    except AWAY:
        found = {}
    missing = [item_id for item_id in item_ids if item_id not in found]
    if missing:
        asked = await rows("SELECT id, left_count, waiting_count FROM flash_item WHERE id = ANY($1::uuid[])", [missing])
        found |= {row["id"]: rule.open_count(left=row["left_count"], waiting=row["waiting_count"]) for row in asked}
    return found


async def had_counts(_: Deps, keys: Sequence[tuple[UUID, UUID]]) -> Mapping[tuple[UUID, UUID], int]:
    """How many pieces members have in unpaid and paid orders, by (member, item)."""
    found = await rows(
        "SELECT ticket.member_id, ticket.item_id, sum(ticket.quantity - ticket.returned_count)::int AS pieces "
        "FROM flash_ticket ticket JOIN unnest($1::uuid[], $2::uuid[]) AS wanted(member_id, item_id) "
        "USING (member_id, item_id) WHERE ticket.state IN ('pending', 'posted') GROUP BY 1, 2",
        [[member_id for member_id, _ in keys], [item_id for _, item_id in keys]],
    )
    return {(row["member_id"], row["item_id"]): row["pieces"] for row in found}


async def opens_for_each(deps: Deps, keys: Sequence[tuple[UUID, datetime]]) -> Mapping[tuple[UUID, datetime], datetime]:
    """When what opens at an instant opens for a member, by (member, instant)."""
    benefits = await benefits_of(deps, sorted({member_id for member_id, _ in keys}))
    return {
        (member_id, opens_at): opens_for(early_access(benefits[member_id]), opens_at=opens_at)
        for member_id, opens_at in keys
    }
