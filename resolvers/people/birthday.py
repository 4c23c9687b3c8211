"""Birthdays: the gift that a member's tier gives, on the day, once."""

from collections.abc import Sequence
from uuid import UUID

from tortoise.expressions import Q

from loyalty.coupons.coupon import CouponChannel
from loyalty.points.points import EntryKind
from loyalty.shop_time import birthdays_on, business_day, is_birthday
from loyalty.tiers.tier_benefit import BenefitKind, gift_due
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.birthday import Birthday
from models.people.member import Member
from resolvers.coupons.coupon_issue import give_many
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import points_programme, tier_table
from resolvers.tiers.tier import standings

GIVEN = Q(points__gt=0) | ~Q(gift_code="") | Q(coupon_count__gt=0)
NEWEST = Keyset("birthday.newest", (Key("id", UUID),))

_TODAY = """
SELECT member.id FROM member
WHERE birthday IS NOT NULL AND extract(month FROM birthday) * 100 + extract(day FROM birthday) = ANY($1::numeric[])
  AND NOT EXISTS (SELECT 1 FROM birthday kept WHERE kept.member_id = member.id AND kept.business_day = $2)
LIMIT $3
"""


async def due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Members whose birthday is today and not looked at yet."""
    today = business_day(deps.clock.now(), deps.zone)
    days = [month * 100 + day for month, day in birthdays_on(today)]
    return [row["id"] for row in await rows(_TODAY, [days, today, limit])]


@retried
async def keep(deps: Deps, *, member_id: UUID) -> Birthday | None:
    """Look at a member's birthday and give what the tier gives; None when it is not today. Harmless to repeat.

    The gift's points are no earnings: the caps do not count them. Its coupons go through the gate of their template, as
    far as there are any; why not all is kept.
    """
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    async with transaction(member_id):
        before = await Birthday.get_or_none(member_id=member_id, business_day=today)
        member = await Member.get(id=member_id)
        if before is not None or member.birthday is None or not is_birthday(member.birthday, today):
            return before
        tier = (await standings(deps, [member_id]))[member_id].applies
        benefit = tier.benefit(BenefitKind.BIRTHDAY_GIFT)
        last = await Birthday.filter(GIVEN, member_id=member_id).order_by("-id").first()
        last_given_on = last.business_day if last else None
        given = gift_due(benefit, birthday=member.birthday, today=today, last_given_on=last_given_on)
        coupons = tier.benefit(BenefitKind.BIRTHDAY_COUPONS)
        birthday_id, coupon_count, coupon_refusal = new_id(now), 0, ""
        if coupons and gift_due(coupons, birthday=member.birthday, today=today, last_given_on=last_given_on):
            coupon_count, coupon_refusal = await give_many(
                member_id,
                template_code=coupons.code or "",
                count=coupons.figure,
                channel=CouponChannel.BIRTHDAY,
                cause_id=birthday_id,
                claim_key=f"birthday:{birthday_id}",
                now=now,
                zone=deps.zone,
            )
        kept = await Birthday.create(
            id=birthday_id,
            member_id=member_id,
            business_day=today,
            tier_code=tier.code,
            points=benefit.figure if benefit and given else 0,
            gift_code=(benefit.code or "") if benefit and given else "",
            coupon_count=coupon_count,
            coupon_refusal=coupon_refusal,
            version_id=(await tier_table(now)).version_id,
            at=now,
        )
        if kept.points:
            await points.credit(
                member_id,
                amount=kept.points,
                kind=EntryKind.GIFT,
                cause_kind="birthday",
                cause_id=kept.id,
                key=f"birthday:{kept.id}",
                now=now,
                zone=deps.zone,
                programme=await points_programme(now),
            )
        return kept


async def gifts(*, page: Page) -> Slice[Birthday]:
    """The gifts that tiers gave, newest first."""
    return await fetch(Birthday.filter(GIVEN), page)
