"""Coupons for tests: templates made by the verbs that operators use, and coupons that members claim."""

from typing import Any
from uuid import UUID

from loyalty.coupons.coupon_issue import Quota
from loyalty.coupons.coupon_till import TILL_CODE
from models.coupons.coupon import Coupon, CouponQuota, CouponTemplate
from models.coupons.coupon_till import CouponTillUse
from models.ids import new_secret
from resolvers import one_time_code
from resolvers.coupons import coupon, coupon_template, coupon_till
from resolvers.coupons.coupon_template import NewTemplate
from resolvers.deps import Deps
from tests.doors import make_operator

TOP = frozenset({"code", "title", "claimable", "opens_at", "closes_at"})
LIMITS = frozenset({"total_limit", "daily_limit", "budget_fen"})


def new_template(**fields: Any) -> NewTemplate:
    """10 yuan off for 30 days, unless told otherwise; terms, limits and the rest are named alike."""
    code = f"c{new_secret(9)}".lower().replace("-", "a").replace("_", "b")
    top = {name: value for name, value in fields.items() if name in TOP}
    quota = Quota(**{name: value for name, value in fields.items() if name in LIMITS})
    terms = {name: value for name, value in fields.items() if name not in TOP | LIMITS}
    terms = {"kind": "amount", **terms}
    if terms["kind"] == "amount":
        terms = {"amount_fen": 1_000, **terms}
    if "valid_until" not in terms:
        terms = {"valid_days": 30, **terms}
    return NewTemplate(**{"code": code, "title": "十元券", "terms": terms, "quota": quota, **top})


async def make_template(deps: Deps, *, published: bool = True, **fields: Any) -> CouponTemplate:
    """A template of a new operator, which gives coupons out unless told otherwise."""
    boss = await make_operator(deps)
    made = await coupon_template.create(
        deps, operator_id=boss.id, template=new_template(**fields), idempotency_key=new_secret(12)
    )
    if not published:
        return made
    return await coupon_template.publish(deps, operator_id=boss.id, template_id=made.id, idempotency_key=new_secret(12))


async def claim(deps: Deps, member_id: UUID, template: CouponTemplate) -> Coupon:
    """One tap."""
    return await coupon.claim(deps, member_id=member_id, template_id=template.id, idempotency_key=new_secret(12))


async def claimed(deps: Deps, member_id: UUID, **fields: Any) -> Coupon:
    """A coupon of a template of its own."""
    return await claim(deps, member_id, await make_template(deps, **fields))


async def counted(template: CouponTemplate) -> tuple[int, int]:
    """How many coupons the template gave out, and what they can cost at most."""
    quota = await CouponQuota.get(template_id=template.id)
    return quota.issued_count, quota.committed_fen


async def used_at_a_till(deps: Deps, member_id: UUID, operator_id: UUID) -> CouponTillUse:
    """A coupon of a template of its own, used on goods for 50 yuan."""
    mine = await claimed(deps, member_id)
    shown = await one_time_code.show(deps, TILL_CODE, mine.id, deps.clock.now())
    return await coupon_till.verify(
        deps,
        operator_id=operator_id,
        code=shown.code,
        amount_fen=5_000,
        pick_up_point_id=None,
        place="店",
        note="",
        idempotency_key=new_secret(12),
    )
