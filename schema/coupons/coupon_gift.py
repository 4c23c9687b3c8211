"""Giving coupons to friends 转赠: offering, taking, taking back, and what operators see of it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.coupons.coupon_gift import GiftState
from loyalty.people.rights import Right
from models.coupons.coupon import Coupon as CouponRow
from models.coupons.coupon_gift import CouponGift as CouponGiftRow
from resolvers.coupons import coupon_gift as verbs
from schema.arguments import Key
from schema.context import Info
from schema.coupons.coupon import Coupon, CouponStateRefusal
from schema.coupons.coupon_terms import CouponTermsView
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForMembers, Needs, require_member
from schema.refusal import SimpleRefusal

describe(
    GiftState,
    "Where a gift stands.",
    {
        GiftState.OFFERED: "Whoever brings its token first has the coupon.",
        GiftState.ACCEPTED: "A friend took it.",
        GiftState.WITHDRAWN: "The giver took it back.",
        GiftState.EXPIRED: "Nobody took it in time; the coupon came back.",
    },
)


@strawberry.type
class CouponGiftFacts:
    """What both schemas say of a gift."""

    id: UUID = strawberry.field(description="Opaque id.")
    coupon_id: UUID = strawberry.field(description="The giver's coupon.")
    state: GiftState = strawberry.field(description="Where it stands.")
    made_at: datetime = strawberry.field(description="When it was offered.")
    expires_at: datetime = strawberry.field(description="It can be taken until before this instant.")
    ended_at: datetime | None = strawberry.field(description="When it was taken or came back; null while offered.")


@strawberry.type(description="A coupon that the member offers to a friend.")
class CouponGift(CouponGiftFacts):
    """A gift as its giver sees it."""

    @strawberry.field(description="The giver's coupon as it is now.")
    async def coupon(self, info: Info) -> Coupon:
        """Loaded for all the gifts of the answer at once."""
        row = await info.context.loaders.load(verbs.coupons_by_ids, self.coupon_id)
        assert row is not None, "a gift is of a coupon"
        return Coupon.from_row(row)

    @classmethod
    def from_row(cls, row: CouponGiftRow) -> "CouponGift":
        """The stored gift."""
        return cls(
            id=row.id,
            coupon_id=row.coupon_id,
            state=GiftState(row.state),
            made_at=row.made_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
        )


@strawberry.type(name="CouponGift", description="A coupon that one member offered to another.")
class OperatorCouponGift(CouponGiftFacts):
    """A gift with both its members."""

    giver_id: UUID = strawberry.field(description="The member who offered it.")
    friend_id: UUID | None = strawberry.field(description="The member who took it; null unless it was taken.")
    received_coupon_id: UUID | None = strawberry.field(description="The friend's coupon; null unless it was taken.")

    @classmethod
    def from_row(cls, row: CouponGiftRow) -> "OperatorCouponGift":
        """The stored gift."""
        shown = CouponGift.from_row(row)
        return cls(**vars(shown), giver_id=row.giver_id, friend_id=row.friend_id, received_coupon_id=row.received_id)


@strawberry.type(description="A gift as a friend who opens its link sees it.")
class CouponGiftOpened:
    """What there is to take."""

    title: str = strawberry.field(description="The coupon's name.")
    terms: CouponTermsView = strawberry.field(description="What the coupon does.")
    usable_from: datetime = strawberry.field(description="It can be used from this instant on.")
    expires_at: datetime = strawberry.field(description="It can be used until before this instant.")
    take_until: datetime = strawberry.field(description="It can be taken until before this instant.")
    yours: bool = strawberry.field(description="Whether it is the member's own gift, which only others can take.")


@strawberry.type(description="The coupon is offered. Its link carries the token.")
class CouponGiftOffered:
    """Success of couponGift."""

    gift: CouponGift = strawberry.field(description="The gift.")
    token: str = strawberry.field(description="32 characters for the link; whoever brings it first has the coupon.")


@strawberry.type(description="The coupon is the friend's.")
class CouponGiftAccepted:
    """Success of couponGiftAccept."""

    coupon: Coupon = strawberry.field(description="The friend's new coupon.")


@strawberry.type(description="The coupon is the giver's to use again.")
class CouponGiftWithdrawn:
    """Success of couponGiftWithdraw."""

    gift: CouponGift = strawberry.field(description="The gift as it is now.")


CouponGiftResult = Annotated[
    CouponGiftOffered | CouponStateRefusal | SimpleRefusal,
    strawberry.union("CouponGiftResult", description="The gift, or why the coupon cannot be given."),
]
CouponGiftAcceptResult = Annotated[
    CouponGiftAccepted | SimpleRefusal,
    strawberry.union("CouponGiftAcceptResult", description="The coupon, or why there is none."),
]
CouponGiftWithdrawResult = Annotated[
    CouponGiftWithdrawn | SimpleRefusal,
    strawberry.union("CouponGiftWithdrawResult", description="The gift that came back, or why it did not."),
]
Token = Annotated[str, strawberry.argument(description="The token of the link.")]


@strawberry.type
class ShopQuery:
    """A member's gifts."""

    @strawberry.field(description="Coupons that the member gave or offered, newest first.", extensions=[ForMembers()])
    async def coupon_gifts(self, info: Info, first: First = 20, after: After = None) -> Connection[CouponGift]:
        found = await verbs.offered_by(
            info.context.deps, member_id=require_member(info), page=page(verbs.NEWEST, first, after)
        )
        return connection(found, CouponGift.from_row)

    @strawberry.field(
        description="What a link gives; null when there is nothing to take any more.", extensions=[ForMembers()]
    )
    async def coupon_gift_opened(self, info: Info, token: Token) -> CouponGiftOpened | None:
        found = await verbs.opened(info.context.deps, token=token)
        if found is None:
            return None
        gift, row = found
        return await _opened(info, gift, row)


async def _opened(info: Info, gift: CouponGiftRow, row: CouponRow) -> CouponGiftOpened:
    coupon = Coupon.from_row(row)
    return CouponGiftOpened(
        title=await coupon.title(info),
        terms=await coupon.terms(info),
        usable_from=row.usable_from,
        expires_at=row.expires_at,
        take_until=gift.expires_at,
        yours=gift.giver_id == require_member(info),
    )


@strawberry.type
class ShopMutation:
    """Giving and taking."""

    @strawberry.mutation(
        description="Offer a coupon to a friend. It cannot be used until the gift comes back. Refusals: "
        "`COUPON_NOT_FOUND`, `COUPON_STATE_REFUSED`, `COUPON_NOT_GIVABLE`, `KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def coupon_gift(
        self,
        info: Info,
        coupon_id: Annotated[UUID, strawberry.argument(description="The coupon.")],
        idempotency_key: Key,
    ) -> CouponGiftResult:
        offer = await verbs.give(
            info.context.deps, member_id=require_member(info), coupon_id=coupon_id, idempotency_key=idempotency_key
        )
        return CouponGiftOffered(gift=CouponGift.from_row(offer.gift), token=offer.token)

    @strawberry.mutation(
        description="Take a gift: a coupon of one's own, with the terms and the time of the given one. Refusals: "
        "`COUPON_GIFT_INVALID`, `COUPON_GIFT_OWN`, `KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def coupon_gift_accept(self, info: Info, token: Token, idempotency_key: Key) -> CouponGiftAcceptResult:
        row = await verbs.accept(
            info.context.deps, member_id=require_member(info), token=token, idempotency_key=idempotency_key
        )
        return CouponGiftAccepted(coupon=Coupon.from_row(row))

    @strawberry.mutation(
        description="Take a gift back that nobody has taken. Refusals: `COUPON_GIFT_NOT_FOUND`, `COUPON_GIFT_ENDED`, "
        "`KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def coupon_gift_withdraw(
        self,
        info: Info,
        id: Annotated[UUID, strawberry.argument(description="The gift.")],
        idempotency_key: Key,
    ) -> CouponGiftWithdrawResult:
        row = await verbs.withdraw(
            info.context.deps, member_id=require_member(info), gift_id=id, idempotency_key=idempotency_key
        )
        return CouponGiftWithdrawn(gift=CouponGift.from_row(row))


@strawberry.type
class OperatorQuery:
    """Who gave what to whom."""

    @strawberry.field(
        description="Coupons that a member gave, offered, or was given by others, newest first.",
        extensions=[Needs(Right.MEMBER_READ)],
    )
    async def coupon_gifts(
        self,
        info: Info,
        member_id: Annotated[UUID, strawberry.argument(description="The member.")],
        first: First = 20,
        after: After = None,
    ) -> Connection[OperatorCouponGift]:
        found = await verbs.about(info.context.deps, member_id=member_id, page=page(verbs.NEWEST, first, after))
        return connection(found, OperatorCouponGift.from_row)
