"""What a member tells about themselves beyond a name: the birthday, and what they want to hear of."""

from collections.abc import Collection
from datetime import date, datetime, tzinfo
from uuid import UUID

from loyalty.people.member import PROFILE_COMPLETED, MarketingTopic, admit_birthday, admit_topics, profile_complete
from loyalty.points.points_action import ActionLimitReached, ActionNotRewarded
from loyalty.shop_time import business_day
from models.engine import retried, transaction
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.points.points_action import reward_action
from resolvers.replay import remember, replayed


async def reward_completed_profile(member: Member, *, now: datetime, zone: tzinfo) -> None:
    """Reward the profile once it is complete, in the caller's transaction with the member locked.

    A profile is completed once in a life, so the member is the cause. What the programme does not reward is no error.
    """
    if profile_complete(nickname=member.nickname, birthday=member.birthday):
        try:
            await reward_action(member.id, code=PROFILE_COMPLETED, cause=str(member.id), now=now, zone=zone)
        except (ActionNotRewarded, ActionLimitReached):
            return


@retried
async def set_birthday(deps: Deps, *, member_id: UUID, birthday: date, idempotency_key: str) -> Member:
    """Keep the member's birthday; the same one again changes nothing.

    Raises:
        BirthdayInvalid: before 1900, or after today.
        BirthdayLocked: it was changed less than a year ago.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    content = {"birthday": birthday.isoformat()}
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="memberBirthdaySet", content=content)
        member = await Member.get(id=member_id)
        if before is not None:
            return member
        if admit_birthday(birthday, current=member.birthday, changed_on=member.birthday_changed_on, today=today):
            member.birthday, member.birthday_changed_on = birthday, today
            await member.save(update_fields=["birthday", "birthday_changed_on"])
            await reward_completed_profile(member, now=now, zone=deps.zone)
        await remember(
            member_id, key=idempotency_key, operation="memberBirthdaySet", content=content, result={}, now=now
        )
        return member


@retried
async def remove_birthday(deps: Deps, *, member_id: UUID, idempotency_key: str) -> Member:
    """Forget the member's birthday, at any time; when it was last changed is kept, so the year goes on.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="memberBirthdayRemove", content={})
        member = await Member.get(id=member_id)
        if before is None:
            member.birthday = None
            await member.save(update_fields=["birthday"])
            await remember(
                member_id, key=idempotency_key, operation="memberBirthdayRemove", content={}, result={}, now=now
            )
        return member


@retried
async def set_preferences(
    deps: Deps, *, member_id: UUID, personalised: bool, topics: Collection[MarketingTopic], idempotency_key: str
) -> Member:
    """Keep whether recommendations are personal, and exactly these topics.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    kept = admit_topics(topics)
    content = {"personalised": personalised, "topics": list(kept)}
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="memberPreferencesSet", content=content)
        member = await Member.get(id=member_id)
        if before is None:
            member.personalised, member.marketing_topics = personalised, [topic.value for topic in kept]
            await member.save(update_fields=["personalised", "marketing_topics"])
            await remember(
                member_id, key=idempotency_key, operation="memberPreferencesSet", content=content, result={}, now=now
            )
        return member
