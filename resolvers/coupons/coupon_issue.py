"""Giving a coupon out, whatever the channel: one gate of limits, one quota row, one claim key.

Everything here runs inside the caller's transaction with the member locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any
from uuid import UUID

import orjson

from loyalty.coupons import coupon_issue as issue_rule
from loyalty.coupons.coupon import (
    CouponChannel,
    CouponEventKind,
    CouponLimitReached,
    CouponNotOffered,
    CouponsGone,
    CouponState,
    TemplateState,
)
from loyalty.coupons.coupon_issue import TemplateOffer
from loyalty.coupons.coupon_terms import CouponTerms, Validity
from loyalty.shop_time import business_day
from models.coupons.coupon import Coupon, CouponTemplate
from models.engine import in_transaction, rows
from models.ids import new_id

_TAKE = """
UPDATE coupon_quota SET
    issued_count = issued_count + $2, committed_fen = committed_fen + $2 * $3::bigint,
    day_count = CASE WHEN day >= $4 THEN day_count ELSE 0 END + $2, day = greatest(day, $4)
WHERE template_id = $1
  AND (total_limit IS NULL OR issued_count + $2 <= total_limit)
  AND (daily_limit IS NULL OR CASE WHEN day >= $4 THEN day_count ELSE 0 END + $2 <= daily_limit)
  AND (budget_fen IS NULL OR committed_fen + $2 * $3::bigint <= budget_fen)
RETURNING issued_count
"""

_LEFT = """
SELECT least($2::bigint,
    coalesce(total_limit - issued_count, $2::bigint),
    coalesce(daily_limit - CASE WHEN day >= $4 THEN day_count ELSE 0 END, $2::bigint),
    coalesce((budget_fen - committed_fen) / nullif($3::bigint, 0), $2::bigint)
)::int AS many FROM coupon_quota WHERE template_id = $1 FOR UPDATE
"""

_TELL = """
INSERT INTO coupon_event (id, coupon_id, seq, kind, order_id, details, at)
SELECT told.id, told.coupon_id, 1 + (SELECT count(*) FROM coupon_event WHERE coupon_id = told.coupon_id),
    $3, $4, $5::text::jsonb, $6
FROM unnest($1::uuid[], $2::uuid[]) AS told(id, coupon_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template with the terms that are in force."""

    row: CouponTemplate
    version_id: UUID
    terms: CouponTerms

    def offer(self) -> TemplateOffer:
        """Its state as the rule sees it."""
        return TemplateOffer(
            published=self.row.state == TemplateState.PUBLISHED,
            opens_at=self.row.opens_at,
            closes_at=self.row.closes_at,
        )


async def template_by(**wanted: Any) -> Template | None:
    """The template with this id or code, in whatever state."""
    row = await CouponTemplate.get_or_none(**wanted)
    if row is None:
        return None
    found = await rows(
        "SELECT id, definition::text FROM coupon_template_version WHERE template_id = $1 AND version = $2",
        [row.id, row.version],
    )
    return Template(row=row, version_id=found[0]["id"], terms=CouponTerms.parse(orjson.loads(found[0]["definition"])))


async def offered_template(**wanted: Any) -> Template:
    """The template with this id or code, which coupons are given out of. Raises: CouponNotOffered."""
    template = await template_by(**wanted)
    if template is None:
        raise CouponNotOffered
    return template


async def had(template_id: UUID, member_ids: Sequence[UUID], day: date) -> dict[UUID, tuple[int, int]]:
    """How many coupons of the template each of the members was given, in all and on that shop day."""
    found = await rows(
        "SELECT member_id, count(*)::int AS ever, count(*) FILTER (WHERE issued_on = $3)::int AS today FROM coupon "
        "WHERE template_id = $1 AND member_id = ANY($2::uuid[]) AND state <> 'void' AND channel <> 'gift' GROUP BY 1",
        [template_id, list(member_ids), day],
    )
    return {row["member_id"]: (row["ever"], row["today"]) for row in found}


async def admit(template: Template, member_id: UUID, *, now: datetime, zone: tzinfo) -> Validity:
    """Whether the member may have one more, and when it will be good. Raises: CouponNotOffered, CouponLimitReached."""
    day = business_day(now, zone)
    ever, today = (await had(template.row.id, [member_id], day)).get(member_id, (0, 0))
    return issue_rule.admit_issue(template.terms, template.offer(), had_count=ever, had_today=today, now=now, zone=zone)


async def write(
    template: Template,
    owners: Sequence[tuple[UUID, str]],
    *,
    channel: CouponChannel,
    cause_id: UUID | None,
    good: Validity,
    now: datetime,
    zone: tzinfo,
) -> list[Coupon]:
    """Write a coupon for each member and claim key. What it takes from the quota is up to the caller."""
    assert in_transaction(), "a coupon is written together with what it takes from the quota"
    coupons = [
        Coupon(
            id=new_id(now),
            template_id=template.row.id,
            version_id=template.version_id,
            member_id=member_id,
            state=CouponState.ISSUED,
            channel=channel,
            claim_key=claim_key,
            cause_id=cause_id,
            worth_fen=template.terms.worth_fen(),
            usable_from=good.usable_from,
            expires_at=good.expires_at,
            due_at=good.expires_at,
            issued_at=now,
            issued_on=business_day(now, zone),
        )
        for member_id, claim_key in owners
    ]
    await Coupon.bulk_create(coupons)
    await tell([coupon.id for coupon in coupons], CouponEventKind.ISSUED, now, channel=channel)
    return coupons


async def take(template: Template, count: int, *, now: datetime, zone: tzinfo) -> None:
    """Take so many coupons out of the template's quota, all or none, as the caller's last statement.

    Raises: CouponsGone.
    """
    worth_fen = template.terms.worth_fen() or 0
    if not await rows(_TAKE, [template.row.id, count, worth_fen, business_day(now, zone)]):
        raise CouponsGone


async def take_up_to(template: Template, count: int, *, now: datetime, zone: tzinfo) -> int:
    """Take as many as there are, up to ``count``, and keep the quota row locked until the transaction ends."""
    found = await rows(_LEFT, [template.row.id, count, template.terms.worth_fen() or 0, business_day(now, zone)])
    many = max(int(found[0]["many"]), 0)
    if many:
        await take(template, many, now=now, zone=zone)
    return many


async def give_many(
    member_id: UUID,
    *,
    template_code: str,
    count: int,
    channel: CouponChannel,
    cause_id: UUID,
    claim_key: str,
    now: datetime,
    zone: tzinfo,
) -> tuple[int, str]:
    """Give a member up to ``count`` coupons of a template, as many as its limits and quota leave.

    How many were given, and the code of why not all: empty if they were. ``claim_key`` is numbered for each coupon.
    """
    template = await template_by(code=template_code)
    if template is None:
        return 0, CouponNotOffered.code
    day = business_day(now, zone)
    ever, today = (await had(template.row.id, [member_id], day)).get(member_id, (0, 0))
    try:
        good = issue_rule.admit_issue(
            template.terms, template.offer(), had_count=ever, had_today=today, now=now, zone=zone
        )
    except (CouponNotOffered, CouponLimitReached) as refusal:
        return 0, refusal.code
    allowed = issue_rule.room(template.terms, had_count=ever, had_today=today, count=count)
    many, refusal_code = issue_rule.many_given(
        count=count, allowed=allowed, left=await take_up_to(template, allowed, now=now, zone=zone)
    )
    if many:
        await write(
            template,
            [(member_id, f"{claim_key}:{number}") for number in range(1, many + 1)],
            channel=channel,
            cause_id=cause_id,
            good=good,
            now=now,
            zone=zone,
        )
    return many, refusal_code


async def template_ids(codes: Sequence[str]) -> dict[str, UUID]:
    """The ids of templates by their code."""
    return {row.code: row.id for row in await CouponTemplate.filter(code__in=list(codes))}


async def give_up(coupons: Sequence[Coupon], state: CouponState, kind: CouponEventKind, now: datetime) -> None:
    """Coupons that will never be used: expired or void. What they could cost goes back into the budget."""
    assert state in (CouponState.EXPIRED, CouponState.VOID), f"a coupon given up is not {state}"
    freed: dict[UUID, int] = {}
    for coupon in sorted(coupons, key=lambda one: one.template_id):
        moved = await rows(
            "UPDATE coupon SET state = $2, due_at = NULL WHERE id = $1 AND state = 'issued' RETURNING template_id",
            [coupon.id, state],
        )
        assert len(moved) == 1, "the member's lock keeps the coupon as it was read"
        freed[coupon.template_id] = freed.get(coupon.template_id, 0) + (coupon.worth_fen or 0)
    await tell([coupon.id for coupon in coupons], kind, now)
    for template_id, amount_fen in freed.items():
        await rows(
            "UPDATE coupon_quota SET committed_fen = committed_fen - $2 WHERE template_id = $1",
            [template_id, amount_fen],
        )


async def tell(
    coupon_ids: Sequence[UUID],
    kind: CouponEventKind,
    now: datetime,
    *,
    order_id: UUID | None = None,
    **details: object,
) -> None:
    """Write what happened to these coupons."""
    ids = [new_id(now) for _ in coupon_ids]
    text = orjson.dumps(details).decode()
    await rows(_TELL, [ids, list(coupon_ids), kind, order_id, text, now])
