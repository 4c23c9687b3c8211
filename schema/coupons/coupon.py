"""Coupons 优惠券 as members see them: what can be claimed, what they have, and what a cart makes of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons import coupon as rule
from loyalty.coupons.coupon import CouponChannel, CouponEventKind, CouponState
from loyalty.coupons.coupon_issue import TemplateOffer
from models.coupons.coupon import Coupon as CouponRow
from models.coupons.coupon import CouponTemplate as CouponTemplateRow
from resolvers.coupons import coupon as verbs
from schema.arguments import Key
from schema.context import Info
from schema.coupons.coupon_terms import CouponTermsView
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.refusal import Refusal, SimpleRefusal, refusal_type

describe(
    CouponState,
    "Where a coupon stands.",
    {
        CouponState.ISSUED: "It is the member's to use, within its time.",
        CouponState.RESERVED: "It is on an order that is not paid yet.",
        CouponState.USED: "It was used on an order that is paid, or at a till.",
        CouponState.EXPIRED: "It ended unused.",
        CouponState.VOID: "It was taken away, or its exchange was given back.",
        CouponState.GIFTING: "It is offered to a friend and cannot be used 赠送中.",
        CouponState.GIVEN: "A friend took it and has one instead 已赠出.",
    },
)
describe(
    CouponChannel,
    "How a member came by a coupon.",
    {
        CouponChannel.CLAIM: "Claimed 领取.",
        CouponChannel.CODE: "By a code 兑换码.",
        CouponChannel.GRANT: "Granted by the shop 发放.",
        CouponChannel.TIER: "A benefit of the tier 等级月度券.",
        CouponChannel.MALL: "Exchanged for points 积分兑换.",
        CouponChannel.GIFT: "From a friend 好友赠送.",
        CouponChannel.NEWCOMER: "With the newcomer pack 新人礼包.",
        CouponChannel.BIRTHDAY: "A benefit of the tier on the birthday 生日券.",
    },
)
describe(
    CouponEventKind,
    "What happened to a coupon.",
    {
        CouponEventKind.ISSUED: "A member got it.",
        CouponEventKind.RESERVED: "An order was placed with it.",
        CouponEventKind.USED: "That order was paid, or it was used at a till.",
        CouponEventKind.RELEASED: "That order was closed; the coupon is free again.",
        CouponEventKind.RETURNED: "That order was refunded, or the use at the till reversed; the coupon is free again.",
        CouponEventKind.EXPIRED: "Its time was over.",
        CouponEventKind.VOIDED: "It was taken away.",
        CouponEventKind.GIFTING: "It was offered to a friend.",
        CouponEventKind.GIFT_RETURNED: "The offer ended untaken; the coupon is free again.",
        CouponEventKind.GIVEN: "A friend took it.",
    },
)


@strawberry.type(description="A coupon that can be claimed.")
class CouponOffer:
    """A template as members see it."""

    id: UUID = strawberry.field(description="The template; claim it by this id.")
    title: str = strawberry.field(description="Its name, 1 to 60 characters.")
    description: str = strawberry.field(description="Plain text, at most 5,000 characters, or empty.")
    opens_at: datetime | None = strawberry.field(description="Claimed from this instant on; null: at once.")
    closes_at: datetime | None = strawberry.field(description="Claimed until before this instant; null: no end.")
    published_at: datetime = strawberry.field(description="When it was last published.")

    @strawberry.field(description="What its coupons do, now.")
    async def terms(self, info: Info) -> CouponTermsView:
        """Loaded for all the offers of the answer at once."""
        terms = await info.context.loaders.load(verbs.terms_in_force, self.id)
        assert terms is not None, "a template has terms from its first day"
        return CouponTermsView.from_rule(terms)

    @strawberry.field(description="Whether it can be claimed at this moment, as far as its time goes.")
    def offered(self, info: Info) -> bool:
        """Decided at the instant of the request."""
        offer = TemplateOffer(published=True, opens_at=self.opens_at, closes_at=self.closes_at)
        return offer.offered(info.context.now)

    @strawberry.field(description="Coupons of it that you were given; null for a visitor.")
    async def yours(self, info: Info) -> int | None:
        """Loaded for all the offers of the answer at once."""
        member_id = info.context.member_id
        if member_id is None:
            return None
        return await info.context.loaders.load(verbs.had_counts, (member_id, self.id)) or 0

    @classmethod
    def from_row(cls, row: CouponTemplateRow) -> "CouponOffer":
        """The stored template, which is published."""
        assert row.published_at is not None, "what is offered was published"
        return cls(
            id=row.id,
            title=row.title,
            description=row.description,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            published_at=row.published_at,
        )


@strawberry.type(description="One thing that happened to a coupon.")
class CouponEvent:
    """One line of its history."""

    kind: CouponEventKind = strawberry.field(description="What.")
    order_id: UUID | None = strawberry.field(description="The order it was about; null for others.")
    at: datetime = strawberry.field(description="When.")

    @classmethod
    def from_row(cls, row: verbs.CouponHistoryLine) -> "CouponEvent":
        """The stored event."""
        return cls(kind=CouponEventKind(row.kind), order_id=row.order_id, at=row.at)


@strawberry.type(description="A member's coupon.")
class Coupon:
    """One coupon."""

    id: UUID = strawberry.field(description="Opaque id.")
    template_id: UUID = strawberry.field(description="The template it is of.")
    state: CouponState = strawberry.field(description="Where it stands.")
    channel: CouponChannel = strawberry.field(description="How the member came by it.")
    usable_from: datetime = strawberry.field(description="It can be used from this instant on.")
    expires_at: datetime = strawberry.field(description="It can be used until before this instant.")
    order_id: UUID | None = strawberry.field(description="The order that has reserved or used it; null without one.")
    issued_at: datetime = strawberry.field(description="When the member got it.")
    version_id: strawberry.Private[UUID]

    @strawberry.field(description="Its name: that of its template.")
    async def title(self, info: Info) -> str:
        """Loaded for all the coupons of the answer at once."""
        template = await info.context.loaders.load(verbs.templates_by_ids, self.template_id)
        assert template is not None, "a coupon is of a template"
        return template.title

    @strawberry.field(description="What it does: the terms that it was given with.")
    async def terms(self, info: Info) -> CouponTermsView:
        """Loaded for all the coupons of the answer at once."""
        found = await info.context.loaders.load(verbs.terms_by_version, self.version_id)
        assert found is not None, "a coupon is of a version"
        return CouponTermsView.from_rule(found[1])

    @strawberry.field(description="What happened to it, oldest first: the newest 200.")
    async def events(self, info: Info) -> list[CouponEvent]:
        """Loaded for all the coupons of the answer at once."""
        return [
            CouponEvent.from_row(row) for row in await info.context.loaders.load(verbs.events_by_coupon, self.id) or ()
        ]

    @classmethod
    def from_row(cls, row: CouponRow) -> "Coupon":
        """The stored coupon."""
        return cls(
            id=row.id,
            template_id=row.template_id,
            state=CouponState(row.state),
            channel=CouponChannel(row.channel),
            usable_from=row.usable_from,
            expires_at=row.expires_at,
            order_id=row.order_id,
            issued_at=row.issued_at,
            version_id=row.version_id,
        )


@refusal_type(rule.CouponLimitReached)
@strawberry.type(
    name="CouponLimitReached", description="The member has as many as allowed. Code `COUPON_LIMIT_REACHED`."
)
class CouponLimitRefusal(Refusal):
    """A limit per member."""

    limit: int = strawberry.field(description="Coupons a member may have, in all or today.")
    had: int = strawberry.field(description="Coupons the member was given, in all or today.")


@refusal_type(rule.CouponStateRefused)
@strawberry.type(
    name="CouponStateRefused", description="Not possible in the coupon's state. Code `COUPON_STATE_REFUSED`."
)
class CouponStateRefusal(Refusal):
    """The wrong state."""

    state: str = strawberry.field(description="The coupon's state, in lower case.")


@strawberry.type(description="The coupon is the member's.")
class CouponClaimed:
    """Success of couponClaim and couponRedeemCode."""

    coupon: Coupon = strawberry.field(description="The coupon.")


@strawberry.type(description="The month's coupons are the member's.")
class CouponsClaimed:
    """Success of couponClaimMonthly."""

    coupons: list[Coupon] = strawberry.field(description="The coupons, 1 to 100.")


CouponClaimResult = Annotated[
    CouponClaimed | CouponLimitRefusal | SimpleRefusal,
    strawberry.union("CouponClaimResult", description="The coupon, or why there is none."),
]
CouponClaimMonthlyResult = Annotated[
    CouponsClaimed | CouponLimitRefusal | SimpleRefusal,
    strawberry.union("CouponClaimMonthlyResult", description="The coupons, or why there are none."),
]
CouponStateFilter = Annotated[CouponState | None, strawberry.argument(description="Only coupons in this state.")]


@strawberry.type
class ShopQuery:
    """Coupons of the shop and of the member."""

    @strawberry.field(
        description="What members can claim, also what is still to open; what was published last comes first.",
        extensions=[ForEveryone()],
    )
    async def coupon_offers(self, info: Info, first: First = 20, after: After = None) -> Connection[CouponOffer]:
        found = await verbs.claimable(info.context.deps, page=page(verbs.OFFERED, first, after))
        return connection(found, CouponOffer.from_row)

    @strawberry.field(description="The member's coupons, newest first.", extensions=[ForMembers()])
    async def coupons(
        self, info: Info, first: First = 20, after: After = None, state: CouponStateFilter = None
    ) -> Connection[Coupon]:
        found = await verbs.mine(
            info.context.deps, member_id=require_member(info), page=page(verbs.NEWEST, first, after), state=state
        )
        return connection(found, Coupon.from_row)

    @strawberry.field(description="One coupon of the member; null if there is none.", extensions=[ForMembers()])
    async def coupon(
        self, info: Info, id: Annotated[UUID, strawberry.argument(description="The coupon.")]
    ) -> Coupon | None:
        row = await verbs.one(info.context.deps, member_id=require_member(info), coupon_id=id)
        return Coupon.from_row(row) if row else None


@strawberry.type
class ShopMutation:
    """Ways to a coupon."""

    @strawberry.mutation(description="Claim one coupon.", extensions=[ForMembers()])
    async def coupon_claim(
        self,
        info: Info,
        template_id: Annotated[UUID, strawberry.argument(description="The template, out of `couponOffers`.")],
        idempotency_key: Key,
    ) -> CouponClaimResult:
        row = await verbs.claim(
            info.context.deps,
            member_id=require_member(info),
            template_id=template_id,
            idempotency_key=idempotency_key,
        )
        return CouponClaimed(coupon=Coupon.from_row(row))

    @strawberry.mutation(
        description="Redeem a code, which works once. At most 10 tries at once, then one in 30 seconds.",
        extensions=[ForMembers()],
    )
    async def coupon_redeem_code(
        self,
        info: Info,
        code: Annotated[
            str,
            strawberry.argument(
                description="As it was typed: 12 letters and digits; case, blanks and dashes do not matter."
            ),
        ],
        idempotency_key: Key,
    ) -> CouponClaimResult:
        row = await verbs.redeem_code(
            info.context.deps, member_id=require_member(info), code=code, idempotency_key=idempotency_key
        )
        return CouponClaimed(coupon=Coupon.from_row(row))

    @strawberry.mutation(
        description="Take the coupons of this shop month that the member's tier gives and that were not taken yet.",
        extensions=[ForMembers()],
    )
    async def coupon_claim_monthly(self, info: Info, idempotency_key: Key) -> CouponClaimMonthlyResult:
        taken: Sequence[CouponRow] = await verbs.claim_monthly(
            info.context.deps, member_id=require_member(info), idempotency_key=idempotency_key
        )
        return CouponsClaimed(coupons=[Coupon.from_row(row) for row in taken])
