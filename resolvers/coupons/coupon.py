"""What a member does with coupons: see them, claim them, redeem a code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from tortoise.expressions import Q

from cache.rate_limit import Limit
from cache.rate_limit import take as take_turn
from loyalty.coupons.coupon import (
    CouponChannel,
    CouponCodeInvalid,
    CouponNotOffered,
    CouponState,
    TemplateState,
)
from loyalty.coupons.coupon_code import read_code
from loyalty.coupons.coupon_terms import CouponTerms
from loyalty.shop_time import business_day, month_start
from loyalty.tiers.tier_benefit import BenefitKind, coupons_due
from models.coupons.coupon import Coupon, CouponCode, CouponCodeBatch, CouponTemplate
from models.engine import retried, rows, transaction
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.coupons import coupon_issue as gate
from resolvers.deps import Deps
from resolvers.replay import remember, replayed
from resolvers.tiers.tier import benefits_of

OFFERED = Keyset("coupon_template.offered", (Key("published_at", datetime), Key("id", UUID)))
"""As members see templates: what was published last comes first."""

NEWEST = Keyset("coupon.newest", (Key("id", UUID),))

EVENTS_SHOWN = 200
"""How many lines of a coupon's history are read at most: a member can place orders with it and cancel them for ever."""

CODES_BY_MEMBER = Limit("member", burst=10, every=timedelta(seconds=30))
"""Who mistypes is not stopped; who guesses gets nowhere among 2^60 codes."""


# Reading


async def claimable(deps: Deps, *, page: Page) -> Slice[CouponTemplate]:
    """What members can claim by ``OFFERED``, also what is still to open; what has closed is gone."""
    still_there = Q(closes_at=None) | Q(closes_at__gt=deps.clock.now())
    return await fetch(CouponTemplate.filter(still_there, state=TemplateState.PUBLISHED, claimable=True), page)


async def mine(deps: Deps, *, member_id: UUID, page: Page, state: CouponState | None = None) -> Slice[Coupon]:
    """A member's coupons, newest first, or those in a state."""
    wanted: dict[str, Any] = {"state": state} if state else {}
    return await fetch(Coupon.filter(member_id=member_id, **wanted), page)


async def one(deps: Deps, *, member_id: UUID, coupon_id: UUID) -> Coupon | None:
    """A coupon of the member."""
    return await Coupon.get_or_none(id=coupon_id, member_id=member_id)


async def templates_by_ids(_: Deps, template_ids: Sequence[UUID]) -> Mapping[UUID, CouponTemplate]:
    """Templates by id."""
    return {row.id: row for row in await CouponTemplate.filter(id__in=list(template_ids))}


async def titles_by_coupon(_: Deps, coupon_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """The names of coupons by the coupon's id."""
    found = await rows(
        "SELECT coupon.id, template.title FROM coupon "
        "JOIN coupon_template template ON template.id = coupon.template_id WHERE coupon.id = ANY($1::uuid[])",
        [list(coupon_ids)],
    )
    return {row["id"]: row["title"] for row in found}


async def terms_by_version(_: Deps, version_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, CouponTerms]]:
    """The number and the terms of versions by their id."""
    found = await rows(
        "SELECT id, version, definition::text FROM coupon_template_version WHERE id = ANY($1::uuid[])",
        [list(version_ids)],
    )
    return {row["id"]: (row["version"], CouponTerms.parse(orjson.loads(row["definition"]))) for row in found}


async def terms_in_force(_: Deps, template_ids: Sequence[UUID]) -> Mapping[UUID, CouponTerms]:
    """The terms in force of templates by the template's id."""
    found = await rows(
        "SELECT template.id, terms.definition::text FROM coupon_template template JOIN coupon_template_version terms "
        "ON terms.template_id = template.id AND terms.version = template.version WHERE template.id = ANY($1::uuid[])",
        [list(template_ids)],
    )
    return {row["id"]: CouponTerms.parse(orjson.loads(row["definition"])) for row in found}


async def had_counts(_: Deps, keys: Sequence[tuple[UUID, UUID]]) -> Mapping[tuple[UUID, UUID], int]:
    """How many coupons members were given, by (member, template)."""
    found = await rows(
        "SELECT coupon.member_id, coupon.template_id, count(*)::int AS many FROM coupon "
        "JOIN unnest($1::uuid[], $2::uuid[]) AS wanted(member_id, template_id) "
        "ON wanted.member_id = coupon.member_id AND wanted.template_id = coupon.template_id "
        "WHERE state <> 'void' AND channel <> 'gift' GROUP BY 1, 2",
        [[member_id for member_id, _ in keys], [template_id for _, template_id in keys]],
    )
    return {(row["member_id"], row["template_id"]): row["many"] for row in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponHistoryLine:
    """One thing that happened to a coupon, when, and on which order."""

    coupon_id: UUID
    kind: str
    order_id: UUID | None
    at: datetime


async def events_by_coupon(_: Deps, coupon_ids: Sequence[UUID]) -> Mapping[UUID, list[CouponHistoryLine]]:
    """What happened to each coupon, oldest first: the newest ``EVENTS_SHOWN`` lines."""
    found = await rows(
        "SELECT event.coupon_id, event.kind, event.order_id, event.at FROM unnest($1::uuid[]) AS asked(id) "
        "CROSS JOIN LATERAL (SELECT coupon_id, seq, kind, order_id, at FROM coupon_event WHERE coupon_id = asked.id "
        "ORDER BY seq DESC LIMIT $2) event ORDER BY event.seq",
        [list(coupon_ids), EVENTS_SHOWN],
    )
    events: dict[UUID, list[CouponHistoryLine]] = {coupon_id: [] for coupon_id in coupon_ids}
    for row in found:
        events[row["coupon_id"]].append(CouponHistoryLine(**row))
    return events


# Coming by a coupon


@retried
async def claim(deps: Deps, *, member_id: UUID, template_id: UUID, idempotency_key: str) -> Coupon:
    """Claim one coupon of a template.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key.
        CouponNotOffered: nothing to claim here.
        CouponLimitReached: the member has as many as allowed, in all or today.
        CouponsGone: the total, the day's number or the budget is used up.
    """
    now = deps.clock.now()
    content = {"template_id": str(template_id)}
    key, operation = idempotency_key, "couponClaim"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Coupon.get(id=UUID(before["coupon_id"]))
        template = await gate.offered_template(id=template_id, claimable=True)
        good = await gate.admit(template, member_id, now=now, zone=deps.zone)
        claimed = await Coupon.filter(template_id=template_id, member_id=member_id, channel=CouponChannel.CLAIM).count()
        (coupon,) = await gate.write(
            template,
            [(member_id, f"claim:{member_id}:{claimed + 1}")],
            channel=CouponChannel.CLAIM,
            cause_id=None,
            good=good,
            now=now,
            zone=deps.zone,
        )
        result = {"coupon_id": str(coupon.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await gate.take(template, 1, now=now, zone=deps.zone)
        return coupon


@retried
async def redeem_code(deps: Deps, *, member_id: UUID, code: str, idempotency_key: str) -> Coupon:
    """Redeem a code, which works once.

    Raises, in this order:
        TooMany: too many tries.
        CouponCodeInvalid: it cannot be a code.
        KeyInvalid, KeyReused: the idempotency key.
        CouponCodeInvalid: no such code, or it was redeemed, or its batch has ended.
        CouponNotOffered, CouponLimitReached, CouponsGone: as for a claim.
    """
    await take_turn(deps.redis, "couponRedeemCode", (CODES_BY_MEMBER, str(member_id)))
    now = deps.clock.now()
    text = read_code(code)
    content = {"code": text}
    key, operation = idempotency_key, "couponRedeemCode"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Coupon.get(id=UUID(before["coupon_id"]))
        found = await CouponCode.filter(code=text).select_for_update(no_key=True).get_or_none()
        if found is None or found.coupon_id is not None:
            raise CouponCodeInvalid
        batch = await CouponCodeBatch.get(id=found.batch_id)
        if batch.closes_at is not None and batch.closes_at <= now:
            raise CouponCodeInvalid
        template = await gate.offered_template(id=batch.template_id)
        good = await gate.admit(template, member_id, now=now, zone=deps.zone)
        (coupon,) = await gate.write(
            template,
            [(member_id, f"code:{found.id}")],
            channel=CouponChannel.CODE,
            cause_id=found.id,
            good=good,
            now=now,
            zone=deps.zone,
        )
        result = {"coupon_id": str(coupon.id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await CouponCode.filter(id=found.id).update(coupon_id=coupon.id)
        await gate.take(template, 1, now=now, zone=deps.zone)
        return coupon


@retried
async def claim_monthly(deps: Deps, *, member_id: UUID, idempotency_key: str) -> list[Coupon]:
    """Take the coupons of this shop month that the member's tier gives and that were not taken yet.

    Raises, in this order:
        KeyInvalid, KeyReused: the idempotency key.
        CouponNotOffered: the tier gives none, all of this month's were taken, or the template gives out none.
        CouponLimitReached, CouponsGone: as for a claim.
    """
    now = deps.clock.now()
    key, operation, content = idempotency_key, "couponClaimMonthly", dict[str, object]()
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Coupon.filter(id__in=[UUID(one) for one in before["coupon_ids"]]).order_by("id")
        benefits = (await benefits_of(deps, [member_id])).get(member_id, ())
        benefit = next((one for one in benefits if one.kind is BenefitKind.MONTHLY_COUPONS), None)
        month = month_start(business_day(now, deps.zone))
        taken = await Coupon.filter(member_id=member_id, channel=CouponChannel.TIER, issued_on__gte=month).count()
        due = coupons_due(benefit, granted_count=taken)
        if benefit is None or due == 0:
            raise CouponNotOffered
        template = await gate.offered_template(code=benefit.code)
        good = await gate.admit(template, member_id, now=now, zone=deps.zone)
        coupons = await gate.write(
            template,
            [(member_id, f"tier:{member_id}:{month:%Y-%m}:{taken + number}") for number in range(1, due + 1)],
            channel=CouponChannel.TIER,
            cause_id=None,
            good=good,
            now=now,
            zone=deps.zone,
        )
        result = {"coupon_ids": [str(coupon.id) for coupon in coupons]}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        await gate.take(template, due, now=now, zone=deps.zone)
        return coupons
