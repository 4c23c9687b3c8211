"""Why: the decisions about a member with the rules' version, what went in and what came out, for operators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from resolvers.people import why_log as verbs
from resolvers.people.why_log import WhySubject
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs

describe(
    WhySubject,
    "What was decided about.",
    {
        WhySubject.TIER_CHANGE: "The tier, or what lies over it.",
        WhySubject.POINTS_ENTRY: "An entry of the points ledger.",
        WhySubject.GROWTH_ENTRY: "An entry of the growth ledger.",
        WhySubject.CHECK_IN: "A check-in and what it paid.",
        WhySubject.NEWCOMER_PACK: "The pack for joining, and why not all of it was given.",
        WhySubject.BIRTHDAY: "A birthday that the store looked at, and what the tier gave.",
        WhySubject.REFERRAL_DECISION: "A binding, reward or goal of referral, refused ones included.",
    },
)


@strawberry.type(description="One of the facts that a decision rested on.")
class WhyInput:
    """A name and a value."""

    name: str = strawberry.field(
        description="Which fact, such as `growth` or `keep_threshold`; a part as `whole.part`."
    )
    value: str = strawberry.field(description="As text; lists and numbers as JSON has them.")


@strawberry.type(description="One decision about a member: by which rules, from which facts, with which outcome.")
class WhyLogEntry:
    """A line of the why-log."""

    id: UUID = strawberry.field(description="The id of the entry, change, check-in or decision itself.")
    member_id: UUID = strawberry.field(description="Whom it is about.")
    subject: WhySubject = strawberry.field(description="What was decided about.")
    at: datetime = strawberry.field(description="When.")
    rule: str | None = strawberry.field(
        description="The kind of rules that decided: `tier`, `points`, `check_in`, `referral` or `newcomer_pack`; null "
        "if none had to."
    )
    version: int | None = strawberry.field(description="The number of the published version of these rules.")
    version_id: UUID | None = strawberry.field(description="Its id.")
    outcome: str = strawberry.field(description="What came out, such as `period_end: gold > silver` or `earn: +120`.")
    inputs: list[WhyInput] = strawberry.field(description="What went in.")

    @classmethod
    def from_why(cls, why: verbs.Why) -> "WhyLogEntry":
        """A decision as the resolver found it."""
        return cls(
            id=why.id,
            member_id=why.member_id,
            subject=why.subject,
            at=why.at,
            rule=why.rule,
            version=why.version,
            version_id=why.version_id,
            outcome=why.outcome,
            inputs=[WhyInput(name=name, value=value) for name, value in why.inputs],
        )


@strawberry.type
class OperatorQuery:
    """Answers for whoever is asked why."""

    @strawberry.field(
        description="Every decision about a member, newest first: tier changes, points, growth, check-ins, referral.",
        extensions=[Needs(Right.WHY_READ)],
    )
    async def why_log(
        self,
        info: Info,
        member_id: Annotated[UUID, strawberry.argument(description="The member's id.")],
        first: First = 20,
        after: After = None,
    ) -> Connection[WhyLogEntry]:
        """One statement; empty for an unknown member."""
        found = await verbs.browse(info.context.deps, member_id=member_id, page=page(verbs.NEWEST, first, after))
        return connection(found, WhyLogEntry.from_why)

    @strawberry.field(
        description="The decision behind one entry, tier change, check-in or referral decision; null if there is none.",
        extensions=[Needs(Right.WHY_READ)],
    )
    async def why_log_entry(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="Its id.")]
    ) -> WhyLogEntry | None:
        """One statement."""
        found = await verbs.by_id(info.context.deps, entry_id=id)
        return WhyLogEntry.from_why(found) if found else None
