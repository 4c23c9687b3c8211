"""Giving coupons to friends: offered by a link, taken by the first friend, taken back by the giver or the clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tortoise.expressions import Q

from loyalty.coupons.coupon import CouponChannel, CouponEventKind, CouponNotFound, CouponState
from loyalty.coupons.coupon_gift import (
    CouponGiftInvalid,
    CouponGiftNotFound,
    GiftState,
    admit_acceptance,
    admit_gift,
    admit_withdrawal,
)
from loyalty.shop_time import business_day
from models.coupons.coupon import Coupon
from models.coupons.coupon_gift import CouponGift
from models.engine import changed, retried, rows, transaction
from models.ids import new_id, new_secret
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.coupons.coupon import terms_by_version
from resolvers.coupons.coupon_issue import tell
from resolvers.deps import Deps
from resolvers.replay import remember, replayed

NEWEST = Keyset("coupon_gift.newest", (Key("id", UUID),))
TOKEN_BYTES = 24
MAX_TOKEN_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A gift with the token of its link."""

    gift: CouponGift
    token: str


def _mark(deps: Deps, token: str) -> str:
    return deps.seal.mark(token, kind="coupon_gift")


def _belongs_to(gift_id: UUID) -> str:
    return f"coupon_gift:{gift_id}"


@retried
async def give(deps: Deps, *, member_id: UUID, coupon_id: UUID, idempotency_key: str) -> Offer:
    """Offer a coupon to whoever brings the token first. The same key shows the same token again.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key.
        CouponNotFound: no such coupon of this member.
        CouponStateRefused: it is not issued, or has ended.
        CouponNotGivable: the terms forbid it, or it was given on as often as they allow.
    """
    now = deps.clock.now()
    key, operation, content = idempotency_key, "couponGift", {"coupon_id": str(coupon_id)}
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            gift = await CouponGift.get(id=UUID(before["gift_id"]))
            return Offer(gift=gift, token=deps.seal.open(gift.token_sealed, belongs_to=_belongs_to(gift.id)))
        coupon = await Coupon.get_or_none(id=coupon_id, member_id=member_id)
        if coupon is None:
            raise CouponNotFound
        _, terms = (await terms_by_version(deps, [coupon.version_id]))[coupon.version_id]
        ends_at = admit_gift(
            terms,
            state=CouponState(coupon.state),
            gift_count=coupon.gift_count,
            expires_at=coupon.expires_at,
            now=now,
        )
        await _turn(coupon_id, CouponState.ISSUED, CouponState.GIFTING)
        token, gift_id = new_secret(TOKEN_BYTES), new_id(now)
        gift = await CouponGift.create(
            id=gift_id,
            coupon_id=coupon_id,
            giver_id=member_id,
            state=GiftState.OFFERED,
            token_mark=_mark(deps, token),
            token_sealed=deps.seal.close(token, belongs_to=_belongs_to(gift_id)),
            made_at=now,
            expires_at=ends_at,
            due_at=ends_at,
        )
        await tell([coupon_id], CouponEventKind.GIFTING, now, gift_id=str(gift_id))
        result = {"gift_id": str(gift_id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        return Offer(gift=gift, token=token)


@retried
async def accept(deps: Deps, *, member_id: UUID, token: str, idempotency_key: str) -> Coupon:
    """Take a gift: a coupon of the friend's own, with the terms and the time of the given one.

    Raises, in this order:
        CouponGiftInvalid: no such token.
        KeyInvalid, KeyReused: the idempotency key.
        CouponGiftOwn: the giver opened the link.
        CouponGiftInvalid: it was taken, taken back, or has ended.
    """
    now = deps.clock.now()
    found = await by_token(deps, token)
    if found is None:
        raise CouponGiftInvalid
    key, operation, content = idempotency_key, "couponGiftAccept", {"gift_id": str(found.id)}
    async with transaction(*{found.giver_id, member_id}):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Coupon.get(id=UUID(before["coupon_id"]))
        gift = await CouponGift.get(id=found.id)
        admit_acceptance(
            state=GiftState(gift.state),
            expires_at=gift.expires_at,
            giver_id=gift.giver_id,
            friend_id=member_id,
            now=now,
        )
        given = await Coupon.get(id=gift.coupon_id)
        await _turn(given.id, CouponState.GIFTING, CouponState.GIVEN)
        received = await Coupon.create(
            id=new_id(now),
            template_id=given.template_id,
            version_id=given.version_id,
            member_id=member_id,
            state=CouponState.ISSUED,
            channel=CouponChannel.GIFT,
            claim_key=f"gift:{gift.id}",
            cause_id=gift.id,
            worth_fen=given.worth_fen,
            usable_from=given.usable_from,
            expires_at=given.expires_at,
            due_at=given.expires_at,
            issued_at=now,
            issued_on=business_day(now, deps.zone),
            gift_count=given.gift_count + 1,
        )
        await _end(gift.id, GiftState.ACCEPTED, now, friend_id=member_id, received_id=received.id)
        both = {"giver_id": str(gift.giver_id), "friend_id": str(member_id)}
        await tell([given.id], CouponEventKind.GIVEN, now, gift_id=str(gift.id), members=both)
        await tell(
            [received.id], CouponEventKind.ISSUED, now, channel=CouponChannel.GIFT, gift_id=str(gift.id), members=both
        )
        result = {"coupon_id": str(received.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        return received


@retried
async def withdraw(deps: Deps, *, member_id: UUID, gift_id: UUID, idempotency_key: str) -> CouponGift:
    """Take a gift back that nobody has taken.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key.
        CouponGiftNotFound: no such gift of this member.
        CouponGiftEnded: a friend has it, or it came back already.
    """
    now = deps.clock.now()
    key, operation, content = idempotency_key, "couponGiftWithdraw", {"gift_id": str(gift_id)}
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        gift = await CouponGift.get_or_none(id=gift_id, giver_id=member_id)
        if gift is None:
            raise CouponGiftNotFound
        if before is None:
            admit_withdrawal(GiftState(gift.state))
            await _bring_back(gift, GiftState.WITHDRAWN, now)
            await remember(member_id, key=key, operation=operation, content=content, result={}, now=now)
        return await CouponGift.get(id=gift_id)


# What the clock does


async def ended(deps: Deps, limit: int) -> list[tuple[UUID, UUID]]:
    """Gifts that nobody took in time, each with its giver."""
    found = await rows(
        "SELECT id, giver_id FROM coupon_gift WHERE due_at <= $1 ORDER BY due_at LIMIT $2", [deps.clock.now(), limit]
    )
    return [(row["id"], row["giver_id"]) for row in found]


@retried
async def expire(deps: Deps, *, gift_id: UUID, giver_id: UUID) -> None:
    """Bring a coupon back whose gift nobody took in time. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(giver_id):
        gift = await CouponGift.get(id=gift_id)
        if gift.due_at is not None and gift.due_at <= now:
            await _bring_back(gift, GiftState.EXPIRED, now)


# Reading


async def by_token(deps: Deps, token: str) -> CouponGift | None:
    """The gift of a link, in whatever state."""
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    return await CouponGift.get_or_none(token_mark=_mark(deps, token))


async def opened(deps: Deps, *, token: str) -> tuple[CouponGift, Coupon] | None:
    """A gift that can still be taken, with the coupon that it gives."""
    gift = await by_token(deps, token)
    if gift is None or gift.state != GiftState.OFFERED or gift.expires_at <= deps.clock.now():
        return None
    return gift, await Coupon.get(id=gift.coupon_id)


async def offered_by(deps: Deps, *, member_id: UUID, page: Page) -> Slice[CouponGift]:
    """What a member gave or offered, newest first."""
    return await fetch(CouponGift.filter(giver_id=member_id), page)


async def about(deps: Deps, *, member_id: UUID, page: Page) -> Slice[CouponGift]:
    """What a member gave or was given, newest first."""
    return await fetch(CouponGift.filter(Q(giver_id=member_id) | Q(friend_id=member_id)), page)


async def coupons_by_ids(_: Deps, coupon_ids: Sequence[UUID]) -> Mapping[UUID, Coupon]:
    """Coupons by id."""
    return {row.id: row for row in await Coupon.filter(id__in=list(coupon_ids))}


# Moving


async def _turn(coupon_id: UUID, was: CouponState, state: CouponState) -> None:
    turned = await changed(
        "UPDATE coupon SET state = $3::text, due_at = CASE WHEN $3::text = 'issued' THEN expires_at END "
        "WHERE id = $1 AND state = $2",
        [coupon_id, was, state],
    )
    assert turned == 1, "the giver's lock keeps the coupon as it was read"


async def _end(
    gift_id: UUID, state: GiftState, now: datetime, *, friend_id: UUID | None = None, received_id: UUID | None = None
) -> None:
    ended = await changed(
        "UPDATE coupon_gift SET state = $2, due_at = NULL, ended_at = $3, friend_id = $4, received_id = $5 "
        "WHERE id = $1 AND state = 'offered'",
        [gift_id, state, now, friend_id, received_id],
    )
    assert ended == 1, "the giver's lock keeps the gift as it was read"


async def _bring_back(gift: CouponGift, state: GiftState, now: datetime) -> None:
    """The coupon is issued again; the clock expires it if its own time is over."""
    await _turn(gift.coupon_id, CouponState.GIFTING, CouponState.ISSUED)
    await _end(gift.id, state, now)
    await tell([gift.coupon_id], CouponEventKind.GIFT_RETURNED, now, gift_id=str(gift.id))
