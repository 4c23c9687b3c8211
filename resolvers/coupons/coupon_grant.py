"""Granting a template's coupons to many members: a job that goes through them in steps, watched and stopped."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from loyalty.coupons import coupon as rule
from loyalty.coupons import coupon_issue as issue_rule
from loyalty.coupons.coupon import (
    CouponChannel,
    CouponGrantNotFound,
    CouponLimitReached,
    CouponNotOffered,
    CouponTemplateNotFound,
    GrantState,
)
from loyalty.coupons.coupon_terms import Validity, validity
from loyalty.programme import Name, Noun, Reason, invalid
from loyalty.shop_time import business_day
from models.coupons.coupon import CouponGrant, CouponTemplate
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.coupons import coupon_issue as gate
from resolvers.deps import Deps
from resolvers.naming import admit_names
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

NEWEST = Keyset("coupon_grant.newest", (Key("id", UUID),))
STEP = 50
"""So many members at a time: they are locked together, and a claim waits no longer than for one step."""

STEPS_A_ROUND = 20
LEASE = timedelta(seconds=30)

_AUDIENCE = """
FROM member JOIN membership ON membership.member_id = member.id
WHERE member.created_at <= $1 AND member.disabled_at IS NULL
  AND (cardinality($2::uuid[]) = 0 OR member.id = ANY($2::uuid[]))
  AND (cardinality($3::text[]) = 0 OR membership.tier_code = ANY($3::text[]))
"""


async def grants(deps: Deps, *, page: Page) -> Slice[CouponGrant]:
    """Every bulk grant, newest first."""
    return await fetch(CouponGrant.all(), page)


async def one(deps: Deps, grant_id: UUID) -> CouponGrant | None:
    """A bulk grant."""
    return await CouponGrant.get_or_none(id=grant_id)


@retried
async def start(
    deps: Deps,
    *,
    operator_id: UUID,
    template_id: UUID,
    member_ids: Sequence[UUID],
    tier_codes: Sequence[str],
    reason: str,
    idempotency_key: str,
) -> CouponGrant:
    """Start granting one coupon each to these members, to those of these tiers, or to everybody who has joined.

    The coupons come in the steps that the worker takes; a template is granted whether or not it can be claimed.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: members and tiers together, no reason, or a tier that is not there.
        CouponTemplateNotFound: there is no such template.
        CouponNotOffered: it is not published or outside its time.
    """
    now = deps.clock.now()
    audience = {"member_ids": [str(one) for one in member_ids], "tier_codes": list(tier_codes)}
    content = {"template_id": str(template_id), **audience, "reason": reason}
    key, operation = idempotency_key, "couponGrantStart"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await CouponGrant.get(id=UUID(before["grant_id"]))
        if member_ids and tier_codes:
            raise invalid("tier_codes", Reason("does not go with members", "不能与会员列表同时使用"))
        if len(member_ids) > rule.MAX_GRANT_MEMBERS:
            most = rule.MAX_GRANT_MEMBERS
            raise invalid("member_ids", Reason(f"must have at most {most} entries", f"最多 {most} 项"))
        if not 1 <= len(reason.strip()) <= 200:
            raise invalid("reason", Reason("must be 1 to 200 characters", "须为 1 至 200 个字符"))
        await admit_names([Name("tier_codes", Noun.TIER, code) for code in tier_codes], now)
        template = await CouponTemplate.get_or_none(id=template_id)
        if template is None:
            raise CouponTemplateNotFound
        if not (await gate.offered_template(id=template_id)).offer().offered(now):
            raise CouponNotOffered
        counted = await rows(f"SELECT count(*)::int AS many {_AUDIENCE}", [now, list(member_ids), list(tier_codes)])
        grant = await CouponGrant.create(
            id=new_id(now),
            template_id=template_id,
            state=GrantState.RUNNING,
            audience=audience,
            reason=reason.strip(),
            total=counted[0]["many"],
            due_at=now,
            started_at=now,
            started_by_id=operator_id,
        )
        await record(operator_id, "coupon_grant.start", "coupon_grant", grant.id, None, content, now)
        result = {"grant_id": str(grant.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return grant


@retried
async def stop(deps: Deps, *, operator_id: UUID, grant_id: UUID, idempotency_key: str) -> CouponGrant:
    """Stop a bulk grant after the step it is at; one that has ended stays as it is. What was granted stays good.

    Raises: KeyInvalid, KeyReused, CouponGrantNotFound.
    """
    now = deps.clock.now()
    content = {"grant_id": str(grant_id)}
    key, operation = idempotency_key, "couponGrantStop"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            grant = await CouponGrant.filter(id=grant_id).select_for_update(no_key=True).get_or_none()
            if grant is None:
                raise CouponGrantNotFound
            if grant.state == GrantState.RUNNING:
                await _finish(grant.id, GrantState.STOPPED, now)
                after = {"state": GrantState.STOPPED, "granted": grant.granted_count}
                await record(
                    operator_id, "coupon_grant.stop", "coupon_grant", grant.id, {"state": grant.state}, after, now
                )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await CouponGrant.get(id=grant_id)


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of grants whose next step is due, each leased to the caller."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE coupon_grant SET due_at = $2 WHERE id IN (SELECT id FROM coupon_grant WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + LEASE, limit],
    )
    return [row["id"] for row in claimed]


async def carry_on(deps: Deps, *, grant_id: UUID) -> None:
    """Take the steps of one round: as many as the lease surely covers, so that other grants have their turn."""
    for _ in range(STEPS_A_ROUND):
        if not await advance(deps, grant_id=grant_id):
            return


async def advance(deps: Deps, *, grant_id: UUID) -> bool:
    """Take one step of a grant; False when there is nothing left to do. Harmless to repeat and to run side by side."""
    now = deps.clock.now()
    grant = await CouponGrant.get(id=grant_id)
    if grant.state != GrantState.RUNNING:
        return False
    member_ids = await _next_members(grant)
    return await _step(deps, grant_id, grant.cursor, member_ids, now)


async def _next_members(grant: CouponGrant) -> list[UUID]:
    found = await rows(
        f"SELECT member.id {_AUDIENCE} AND ($4::uuid IS NULL OR member.id > $4) ORDER BY member.id LIMIT {STEP}",
        [grant.started_at, *_wanted(grant.audience), grant.cursor],
    )
    return [row["id"] for row in found]


def _wanted(audience: dict[str, Any]) -> tuple[list[UUID], list[str]]:
    return [UUID(one) for one in audience["member_ids"]], list(audience["tier_codes"])


@retried
async def _step(deps: Deps, grant_id: UUID, cursor: UUID | None, member_ids: Sequence[UUID], now: datetime) -> bool:
    async with transaction(*member_ids):
        grant = await CouponGrant.filter(id=grant_id).select_for_update(no_key=True).get()
        if grant.state != GrantState.RUNNING or grant.cursor != cursor:
            return grant.state == GrantState.RUNNING
        if not member_ids:
            await _finish(grant_id, GrantState.DONE, now)
            return False
        template = await gate.offered_template(id=grant.template_id)
        wanted, good = await _admitted(deps, template, member_ids, now)
        if good is None:
            await _finish(grant_id, GrantState.EXHAUSTED, now)
            return False
        many = await gate.take_up_to(template, len(wanted), now=now, zone=deps.zone)
        granted = wanted[:many]
        if granted:
            await gate.write(
                template,
                [(member_id, f"grant:{grant_id}:{member_id}") for member_id in granted],
                channel=CouponChannel.GRANT,
                cause_id=grant_id,
                good=good,
                now=now,
                zone=deps.zone,
            )
        exhausted = many < len(wanted)
        reached = member_ids[-1] if not exhausted else granted[-1] if granted else cursor
        passed = sum(reached is not None and member_id <= reached for member_id in member_ids)
        await CouponGrant.filter(id=grant_id).update(
            granted_count=grant.granted_count + len(granted),
            skipped_count=grant.skipped_count + passed - len(granted),
            cursor=reached,
            due_at=now,
        )
        if exhausted:
            await _finish(grant_id, GrantState.EXHAUSTED, now)
            return False
        return True


async def _admitted(
    deps: Deps, template: gate.Template, member_ids: Sequence[UUID], now: datetime
) -> tuple[list[UUID], Validity | None]:
    """Those who may have one more, and when it will be good; None when the template gives out nothing any more."""
    had = await gate.had(template.row.id, member_ids, business_day(now, deps.zone))
    wanted: list[UUID] = []
    good: Validity | None = None
    for member_id in member_ids:
        ever, today = had.get(member_id, (0, 0))
        try:
            good = issue_rule.admit_issue(
                template.terms, template.offer(), had_count=ever, had_today=today, now=now, zone=deps.zone
            )
        except CouponLimitReached:
            continue
        except CouponNotOffered:
            return [], None
        wanted.append(member_id)
    if good is None:
        good = validity(template.terms, claimed_at=now, zone=deps.zone)
    return wanted, good


async def _finish(grant_id: UUID, state: GrantState, now: datetime) -> None:
    await CouponGrant.filter(id=grant_id).update(state=state, due_at=None, finished_at=now)
