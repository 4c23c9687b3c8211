"""The newcomer pack 新人礼包: what it is, publishing another one, and who was given what."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons import newcomer_pack as rule
from loyalty.people.rights import Right
from models.coupons.newcomer_pack import NewcomerGrant as NewcomerGrantRow
from models.programme import ProgrammeVersion as ProgrammeVersionRow
from resolvers import programme
from resolvers.coupons import newcomer_pack as verbs
from resolvers.programme import ProgrammeKind
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, Needs
from schema.programme import (
    EffectiveAt,
    Note,
    ProgrammeInvalidRefusal,
    ProgrammeVersion,
    PublicationKey,
    columns,
    definition_of,
    history_page,
    in_force,
    publish_version,
)
from schema.refusal import SimpleRefusal


@strawberry.type(description="Some coupons of a template.")
class NewcomerPackItem:
    """One item."""

    template_code: str = strawberry.field(description="The code of the coupon template.")
    count: int = strawberry.field(description="How many coupons, 1 to 20.")


@strawberry.type(description="What a member is given for joining, once.")
class NewcomerPack:
    """The items."""

    items: list[NewcomerPackItem] = strawberry.field(description="At most 10; empty: there is no pack.")

    @classmethod
    def from_rule(cls, rules: rule.NewcomerPack) -> "NewcomerPack":
        """The pack as the rule knows it."""
        return cls(items=[NewcomerPackItem(template_code=item.template_code, count=item.count) for item in rules.items])


@strawberry.type(description="One version of the newcomer pack.")
class NewcomerPackVersion(ProgrammeVersion):
    """A pack with its number."""

    pack: NewcomerPack = strawberry.field(description="The pack.")

    @classmethod
    def from_row(cls, row: ProgrammeVersionRow) -> "NewcomerPackVersion":
        """The stored version."""
        return cls(**columns(row), pack=NewcomerPack.from_rule(programme.rules_of(row)))


@strawberry.type(description="What became of one item of a member's pack.")
class NewcomerPackGiven:
    """One item."""

    template_code: str = strawberry.field(description="The code of the coupon template.")
    count: int = strawberry.field(description="How many the pack has.")
    given: int = strawberry.field(description="How many were given.")
    refusal: str | None = strawberry.field(description="The code of why not all were given; null if they were.")


@strawberry.type(description="The pack of a member who joined.")
class NewcomerGrant:
    """One member's."""

    id: UUID = strawberry.field(description="Opaque id.")
    member_id: UUID = strawberry.field(description="The member.")
    version_id: UUID = strawberry.field(description="The version of the pack that was in force at joining.")
    joined_at: datetime = strawberry.field(description="When the member joined.")
    given_at: datetime | None = strawberry.field(description="When it was given; null while it is owed.")
    items: list[NewcomerPackGiven] = strawberry.field(description="What was given; empty while it is owed.")

    @classmethod
    def from_row(cls, row: NewcomerGrantRow) -> "NewcomerGrant":
        """The stored grant."""
        return cls(
            id=row.id,
            member_id=row.member_id,
            version_id=row.version_id,
            joined_at=row.joined_at,
            given_at=row.given_at,
            items=[
                NewcomerPackGiven(
                    template_code=one["template_code"],
                    count=one["count"],
                    given=one["given"],
                    refusal=one["refusal"] or None,
                )
                for one in row.outcome
            ],
        )


@strawberry.input(description="Some coupons of a template.")
class NewcomerPackItemInput:
    """One item."""

    template_code: str = strawberry.field(description="The code of a coupon template; each once.")
    count: int = strawberry.field(description="How many coupons, 1 to 20.")


@strawberry.input(description="What members who join from then on are given.")
class NewcomerPackInput:
    """The whole pack."""

    items: list[NewcomerPackItemInput] = strawberry.field(description="At most 10; an empty list: no pack.")


@strawberry.type(description="The newcomer pack was published.")
class NewcomerPackPublished:
    """What there is now."""

    version: NewcomerPackVersion = strawberry.field(description="The new version.")


NewcomerPackPublishResult = Annotated[
    NewcomerPackPublished | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("NewcomerPackPublishResult", description="The new version, or why there is none."),
]


@strawberry.type
class ShopQuery:
    """What joining brings."""

    @strawberry.field(description="What a member is given for joining now.", extensions=[ForEveryone()])
    async def newcomer_pack(self, info: Info) -> NewcomerPack:
        """The pack in force."""
        return NewcomerPack.from_rule(programme.rules_of(await in_force(info, ProgrammeKind.NEWCOMER_PACK)))


@strawberry.type
class OperatorQuery:
    """Every version, and what was given."""

    @strawberry.field(description="The newcomer pack in force.", extensions=[Needs(Right.COUPON_READ)])
    async def newcomer_pack(self, info: Info) -> NewcomerPackVersion:
        """The version in force."""
        return NewcomerPackVersion.from_row(await in_force(info, ProgrammeKind.NEWCOMER_PACK))

    @strawberry.field(
        description="All newcomer packs, the newest first, those to come included.",
        extensions=[Needs(Right.COUPON_READ)],
    )
    async def newcomer_pack_versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[NewcomerPackVersion]:
        """One page."""
        found = await history_page(info, ProgrammeKind.NEWCOMER_PACK, first, after)
        return connection(found, NewcomerPackVersion.from_row)

    @strawberry.field(description="The packs of those who joined, newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def newcomer_grants(self, info: Info, first: First = 20, after: After = None) -> Connection[NewcomerGrant]:
        """One page."""
        found = await verbs.grants(info.context.deps, page=page(verbs.NEWEST, first, after))
        return connection(found, NewcomerGrant.from_row)


@strawberry.type
class OperatorMutation:
    """Publishing."""

    @strawberry.mutation(
        description="Publish a newcomer pack. Who joined before keeps the pack of that day.",
        extensions=[Needs(Right.COUPON_GRANT)],
    )
    async def newcomer_pack_publish(
        self,
        info: Info,
        pack: Annotated[NewcomerPackInput, strawberry.argument(description="The whole new pack.")],
        idempotency_key: PublicationKey,
        effective_at: EffectiveAt = None,
        note: Note = "",
    ) -> NewcomerPackPublishResult:
        """The next version."""
        row = await publish_version(
            info,
            Right.COUPON_GRANT,
            ProgrammeKind.NEWCOMER_PACK,
            definition_of(pack),
            effective_at=effective_at,
            note=note,
            idempotency_key=idempotency_key,
        )
        return NewcomerPackPublished(version=NewcomerPackVersion.from_row(row))
