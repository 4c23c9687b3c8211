"""Coupons at the till: a code on the member's phone, what it is worth, used once, and taken back within a day."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.coupons.coupon import CouponEventKind, CouponState
from loyalty.coupons.coupon_terms import CouponTerms, returned_until
from loyalty.coupons.coupon_till import (
    TILL_CODE,
    CouponTillCodeInvalid,
    CouponTillUseNotFound,
    admit_reversal,
    admit_words,
    till_worth,
)
from loyalty.coupons.coupon_use import HeldCoupon
from loyalty.delivery.pick_up import PickUpPointNotFound
from loyalty.programme import Reason, invalid
from models.coupons.coupon import Coupon
from models.coupons.coupon_till import CouponTillUse
from models.delivery.fulfilment import PickUpPoint
from models.engine import changed, retried, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers import one_time_code
from resolvers.coupons.coupon import terms_by_version
from resolvers.coupons.coupon_hold import chosen
from resolvers.coupons.coupon_issue import give_up, tell
from resolvers.deps import Deps
from resolvers.one_time_code import ShownCode
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

NEWEST = Keyset("coupon_till_use.newest", (Key("id", UUID),))


@dataclass(frozen=True, slots=True, kw_only=True)
class TillPreview:
    """What a till sees before it uses a coupon; ``discount_fen`` None for a piece of no price."""

    coupon: Coupon
    terms: CouponTerms
    discount_fen: int | None


async def show(deps: Deps, *, member_id: UUID, coupon_id: UUID) -> ShownCode:
    """A new code for a coupon of the member. Those shown before live on until they end.

    Raises, in this order:
        TooMany: the phone asks for more codes than it can show.
        CouponNotFound: no such coupon of this member.
        CouponNotForTill, CouponNotUsable: it cannot be used at a till now, whatever the goods cost.
        OUTAGES: Redis is away, and no code can be kept.
    """
    await one_time_code.take_turn(deps, "couponTillCode", member_id)
    now = deps.clock.now()
    (coupon,) = await chosen(member_id, [coupon_id])
    till_worth(coupon, amount_fen=max(coupon.terms.threshold_fen, 1_000_000), now=now)
    return await one_time_code.show(deps, TILL_CODE, coupon_id, now)


async def preview(deps: Deps, *, code: str, amount_fen: int | None) -> TillPreview:
    """What the coupon of a code is, and what it takes off. Nothing is used or reserved.

    Raises: CouponTillCodeInvalid, and as ``verify`` what keeps the coupon from being used.
    """
    now = deps.clock.now()
    coupon = await _read(deps, code, now)
    if await CouponTillUse.exists(code_mark=_mark(deps, code)):
        raise CouponTillCodeInvalid
    held = await _held(coupon)
    return TillPreview(coupon=coupon, terms=held.terms, discount_fen=till_worth(held, amount_fen=amount_fen, now=now))


async def verify(
    deps: Deps,
    *,
    operator_id: UUID,
    code: str,
    amount_fen: int | None,
    pick_up_point_id: UUID | None,
    place: str,
    note: str,
    idempotency_key: str,
) -> CouponTillUse:
    """Use the coupon of a code at a till, once. The place is that of the pick-up point if one is named.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key; a replay answers also when the code has ended.
        CouponTillCodeInvalid: unknown, used before, or over.
        PickUpPointNotFound: there is no such point.
        ProgrammeInvalid: the place or the note is too long, or there is no place.
        CouponNotForTill, CouponNotUsable, ProgrammeInvalid, CouponTillAmountMissing: as ``till_worth`` says.
        OUTAGES: Redis is away; the same key may be sent again.
    """
    content: dict[str, object] = {
        "code": code.strip(),
        "amount_fen": amount_fen,
        "pick_up_point_id": str(pick_up_point_id) if pick_up_point_id else None,
        "place": place,
        "note": note,
    }
    known = await _known(operator_id, content, idempotency_key)
    if known is not None:
        return known
    coupon = await _read(deps, code, deps.clock.now())
    return await _use(
        deps,
        operator_id,
        coupon,
        mark=_mark(deps, code),
        amount_fen=amount_fen,
        pick_up_point_id=pick_up_point_id,
        place=place,
        note=note,
        content=content,
        key=idempotency_key,
    )


async def _read(deps: Deps, code: str, now: datetime) -> Coupon:
    return await Coupon.get(id=await one_time_code.read(deps, TILL_CODE, code, now))


def _mark(deps: Deps, code: str) -> str:
    return deps.seal.mark(TILL_CODE.admit(code), kind="coupon_till")


async def _held(coupon: Coupon) -> HeldCoupon:
    (held,) = await chosen(coupon.member_id, [coupon.id])
    return held


@retried
async def _known(operator_id: UUID, content: dict[str, object], key: str) -> CouponTillUse | None:
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="couponVerify", content=content)
        return await CouponTillUse.get(id=UUID(before["use_id"])) if before else None


@retried
async def _use(
    deps: Deps,
    operator_id: UUID,
    coupon: Coupon,
    *,
    mark: str,
    amount_fen: int | None,
    pick_up_point_id: UUID | None,
    place: str,
    note: str,
    content: dict[str, object],
    key: str,
) -> CouponTillUse:
    now = deps.clock.now()
    async with transaction(coupon.member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="couponVerify", content=content)
        if before is not None:
            return await CouponTillUse.get(id=UUID(before["use_id"]))
        if await CouponTillUse.exists(code_mark=mark):
            raise CouponTillCodeInvalid
        if pick_up_point_id is not None:
            point = await PickUpPoint.get_or_none(id=pick_up_point_id)
            if point is None:
                raise PickUpPointNotFound
            place = point.name
        admit_words(place=place, note=note)
        discount_fen = till_worth(await _held(coupon), amount_fen=amount_fen, now=now)
        use = CouponTillUse(
            id=new_id(now),
            coupon_id=coupon.id,
            member_id=coupon.member_id,
            operator_id=operator_id,
            code_mark=mark,
            pick_up_point_id=pick_up_point_id,
            amount_fen=amount_fen,
            discount_fen=discount_fen,
            place=place.strip(),
            note=note.strip(),
            used_at=now,
        )
        await _write(use)
        await tell([coupon.id], CouponEventKind.USED, now, till_use_id=str(use.id), place=use.place)
        after = {"use_id": str(use.id), "amount_fen": amount_fen, "discount_fen": discount_fen, "place": use.place}
        await record(operator_id, "coupon.verify", "coupon", coupon.id, None, after, now)
        result = {"use_id": str(use.id)}
        await remember(operator_id, key=key, operation="couponVerify", content=content, result=result, now=now)
        return use


async def _write(use: CouponTillUse) -> None:
    """The use, and the coupon as it leaves it."""
    await use.save(force_create=True)
    await _turn_used(use.coupon_id, use.id)


async def _turn_used(coupon_id: UUID, use_id: UUID) -> None:
    used = await changed(
        "UPDATE coupon SET state = 'used', till_use_id = $2, due_at = NULL WHERE id = $1 AND state = 'issued'",
        [coupon_id, use_id],
    )
    assert used == 1, "the member's lock keeps the coupon as it was read"


@retried
async def reverse(deps: Deps, *, operator_id: UUID, use_id: UUID, reason: str, idempotency_key: str) -> CouponTillUse:
    """Take a use at a till back: the coupon is good again, for some more days if it has ended meanwhile.

    Raises, in this order:
        CouponTillUseNotFound: no such use.
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: no reason.
        CouponTillUseFinal: taken back already, or 24 hours have passed.
    """
    now = deps.clock.now()
    found = await CouponTillUse.get_or_none(id=use_id)
    if found is None:
        raise CouponTillUseNotFound
    key, operation = idempotency_key, "couponTillReverse"
    content = {"use_id": str(use_id), "reason": reason}
    async with transaction(found.member_id):
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            if not 1 <= len(reason.strip()) <= 200:
                raise invalid("reason", Reason("must be 1 to 200 characters", "须为 1 至 200 个字符"))
            use = await CouponTillUse.get(id=use_id)
            admit_reversal(used_at=use.used_at, reversed_at=use.reversed_at, now=now)
            await CouponTillUse.filter(id=use_id).update(
                reversed_at=now, reversed_by_id=operator_id, reverse_reason=reason.strip()
            )
            await _bring_back(deps, use, now)
            after = {"use_id": str(use_id), "reason": reason.strip()}
            await record(operator_id, "coupon.till_reverse", "coupon", use.coupon_id, None, after, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await CouponTillUse.get(id=use_id)


async def _bring_back(deps: Deps, use: CouponTillUse, now: datetime) -> None:
    coupon = await Coupon.get(id=use.coupon_id)
    _, terms = (await terms_by_version(deps, [coupon.version_id]))[coupon.version_id]
    until = returned_until(terms, expires_at=coupon.expires_at, now=now, zone=deps.zone)
    moved = await changed(
        "UPDATE coupon SET state = 'issued', till_use_id = NULL, expires_at = $3, due_at = $3 "
        "WHERE id = $1 AND till_use_id = $2",
        [coupon.id, use.id, until],
    )
    assert moved == 1, "the member's lock keeps the coupon as it was read"
    details = {"until": until.isoformat()} if until > coupon.expires_at else {}
    await tell([coupon.id], CouponEventKind.RETURNED, now, order_id=None, till_use_id=str(use.id), **details)
    if until <= now:
        await give_up([await Coupon.get(id=coupon.id)], CouponState.EXPIRED, CouponEventKind.EXPIRED, now)


async def uses(deps: Deps, *, page: Page, member_id: UUID | None = None) -> Slice[CouponTillUse]:
    """Coupons used at tills, newest first: all of them, or a member's."""
    wanted = {"member_id": member_id} if member_id else {}
    return await fetch(CouponTillUse.filter(**wanted), page)
