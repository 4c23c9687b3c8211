"""What a member tells about themselves: the birthday, and what they want to hear of."""

from datetime import date
from typing import Annotated

import strawberry

from loyalty.people import member as rule
from resolvers.people import member_profile as verbs
from schema.context import Info
from schema.people.member import Member, MemberUpdated
from schema.permissions import ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type
from schema.scalars import IdempotencyKey

Key = Annotated[IdempotencyKey, strawberry.argument(description="Of this change.")]


@refusal_type(rule.BirthdayLocked)
@strawberry.type(name="BirthdayLocked", description="The birthday was changed less than a year ago.")
class BirthdayLockedRefusal(Refusal):
    """Names the day."""

    from_day: str = strawberry.field(description="The first shop day on which it can be changed, `YYYY-MM-DD`.")


MemberBirthdaySetResult = Annotated[
    MemberUpdated | BirthdayLockedRefusal | SimpleRefusal,
    strawberry.union("MemberBirthdaySetResult", description="The member, or why the birthday was not changed."),
]
MemberBirthdayRemoveResult = Annotated[
    MemberUpdated | SimpleRefusal,
    strawberry.union(
        "MemberBirthdayRemoveResult", description="The member without a birthday, or why nothing changed."
    ),
]
MemberPreferencesSetResult = Annotated[
    MemberUpdated | SimpleRefusal,
    strawberry.union("MemberPreferencesSetResult", description="The member, or why nothing was changed."),
]


@strawberry.type
class ShopMutation:
    """The member's own profile."""

    @strawberry.mutation(
        description="Set the member's birthday. It can be changed once a year; the same one again is no change.",
        extensions=[ForMembers()],
    )
    async def member_birthday_set(
        self,
        info: Info,
        birthday: Annotated[date, strawberry.argument(description="With its year, from 1900-01-01 to today.")],
        idempotency_key: Key,
    ) -> MemberBirthdaySetResult:
        """One change."""
        row = await verbs.set_birthday(
            info.context.deps, member_id=require_member(info), birthday=birthday, idempotency_key=idempotency_key
        )
        return MemberUpdated(member=Member.from_row(row))

    @strawberry.mutation(
        description="Forget the member's birthday, at any time. A new one waits until a year after the last change.",
        extensions=[ForMembers()],
    )
    async def member_birthday_remove(self, info: Info, idempotency_key: Key) -> MemberBirthdayRemoveResult:
        """Forgotten."""
        row = await verbs.remove_birthday(
            info.context.deps, member_id=require_member(info), idempotency_key=idempotency_key
        )
        return MemberUpdated(member=Member.from_row(row))

    @strawberry.mutation(
        description="Set what the member wants: personal recommendations or not, and exactly these topics.",
        extensions=[ForMembers()],
    )
    async def member_preferences_set(
        self,
        info: Info,
        personalised: Annotated[bool, strawberry.argument(description="Whether recommendations may be personal.")],
        marketing_topics: Annotated[
            list[rule.MarketingTopic], strawberry.argument(description="The topics to hear of; none: nothing at all.")
        ],
        idempotency_key: Key,
    ) -> MemberPreferencesSetResult:
        """All of them at once."""
        row = await verbs.set_preferences(
            info.context.deps,
            member_id=require_member(info),
            personalised=personalised,
            topics=marketing_topics,
            idempotency_key=idempotency_key,
        )
        return MemberUpdated(member=Member.from_row(row))
