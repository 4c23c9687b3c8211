"""The e-membership card 会员码: a code on the phone, and the till that reads it."""

from datetime import datetime
from typing import Annotated

import strawberry

from loyalty.people.rights import Right
from resolvers.people import member_code as verbs
from schema.context import Info
from schema.people.member import Member
from schema.permissions import ForMembers, Needs, require_member, require_right
from schema.refusal import SimpleRefusal
from schema.scalars import IdempotencyKey


@strawberry.type(description="A code to be shown as a bar code or QR code at the till.")
class MemberCode:
    """A new code."""

    code: str = strawberry.field(description="18 digits that begin with 88.")
    ends_at: datetime = strawberry.field(description="It can be resolved until before this instant, a minute ahead.")


MemberCodeResult = Annotated[
    MemberCode | SimpleRefusal,
    strawberry.union("MemberCodeResult", description="The code. No refusal is known; a client expects one."),
]


@strawberry.type(description="Whose code the till has read.")
class MemberCodeResolved:
    """Success of memberCodeResolve."""

    member: Member = strawberry.field(description="The member at the till.")


MemberCodeResolveResult = Annotated[
    MemberCodeResolved | SimpleRefusal,
    strawberry.union("MemberCodeResolveResult", description="The member, or MEMBER_CODE_INVALID."),
]


@strawberry.type
class ShopMutation:
    """The card."""

    @strawberry.mutation(
        description="A new member code, good for one minute and one till. Codes shown before live on until they end. "
        "Answers RATE_LIMITED beyond 10 at once and then one in 5 s, TRY_AGAIN while codes cannot be kept.",
        extensions=[ForMembers()],
    )
    async def member_code(self, info: Info) -> MemberCodeResult:
        """One code."""
        shown = await verbs.show(info.context.deps, member_id=require_member(info))
        return MemberCode(code=shown.code, ends_at=shown.ends_at)


@strawberry.type
class OperatorMutation:
    """The till."""

    @strawberry.mutation(
        description="The member whose code was read: once, to the first till that asks. MEMBER_CODE_INVALID to every "
        "other, and for a code that is unknown or older than a minute. After TRY_AGAIN the same key is sent again.",
        extensions=[Needs(Right.MEMBER_CODE_RESOLVE)],
    )
    async def member_code_resolve(
        self,
        info: Info,
        code: Annotated[str, strawberry.argument(description="What was read; blanks around it are dropped.")],
        idempotency_key: Annotated[IdempotencyKey, strawberry.argument(description="Of this reading.")],
    ) -> MemberCodeResolveResult:
        """One reading."""
        row = await verbs.resolve(
            info.context.deps,
            operator_id=require_right(info, Right.MEMBER_CODE_RESOLVE).subject_id,
            code=code,
            idempotency_key=idempotency_key,
        )
        return MemberCodeResolved(member=Member.from_row(row))
