"""One gift: two friends, a friend and the giver who takes it back, a friend and an order of the giver."""

from typing import Any
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from loyalty.coupons.coupon import CouponState, CouponStateRefused
from loyalty.coupons.coupon_gift import CouponGiftInvalid, GiftState
from models.asyncpg_backend import Conflict
from models.coupons.coupon import Coupon
from models.coupons.coupon_gift import CouponGift
from models.engine import rows
from models.ids import new_secret
from resolvers.coupons import coupon_gift
from resolvers.deps import Deps
from tests.coupons import claimed
from tests.doors import Door, make_member
from tests.races.buyers import (
    Buyer,
    assert_the_books_are_right,
    at_once,
    buyer,
    decided_before_any_writes,
    one,
    without_constraints,
    without_member_locks,
)
from tests.races.test_coupon_race import place
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

ACCEPT = """
mutation Accept($token: String!, $key: IdempotencyKey!) {
  done: couponGiftAccept(token: $token, idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""
WITHDRAW = """
mutation Withdraw($id: ID!, $key: IdempotencyKey!) {
  done: couponGiftWithdraw(id: $id, idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""


async def offered(deps: Deps, giver_id: UUID) -> coupon_gift.Offer:
    """A gift of a new coupon."""
    mine = await claimed(deps, giver_id)
    return await coupon_gift.give(deps, member_id=giver_id, coupon_id=mine.id, idempotency_key=new_secret(12))


async def take(friend: Buyer, token: str) -> str:
    return said(await friend.ask(ACCEPT, token=token, key=new_secret(12)))


async def take_back(giver: Buyer, gift_id: UUID) -> str:
    return said(await giver.ask(WITHDRAW, id=str(gift_id), key=new_secret(12)))


def said(answer: dict[str, Any]) -> str:
    text: str = answer.get("code", answer["__typename"])
    return text


async def test_of_many_friends_at_once_one_has_the_coupon(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    giver = await make_member(deps)
    friends = [await buyer(deps, shop, wechat) for _ in range(8)]
    for _ in range(3):
        offer = await offered(deps, giver.id)
        answers = await at_once(take(friend, offer.token) for friend in friends)
        assert sorted(answers) == ["COUPON_GIFT_INVALID"] * 7 + ["CouponGiftAccepted"]
        assert await one("SELECT count(*) FROM coupon WHERE cause_id = $1", offer.gift.id) == 1
    await assert_the_books_are_right()


async def test_a_gift_is_taken_or_taken_back(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    giver, friend = await buyer(deps, shop, wechat), await buyer(deps, shop, wechat)
    for _ in range(10):
        offer = await offered(deps, giver.member_id)
        answers = await at_once([take(friend, offer.token), take_back(giver, offer.gift.id)])
        assert answers in (
            ["CouponGiftAccepted", "COUPON_GIFT_ENDED"],
            ["COUPON_GIFT_INVALID", "CouponGiftWithdrawn"],
        )
        state = (await CouponGift.get(id=offer.gift.id)).state
        assert state == (GiftState.ACCEPTED if answers[0] == "CouponGiftAccepted" else GiftState.WITHDRAWN)
    await assert_the_books_are_right()


async def test_a_coupon_is_used_or_given_never_both(deps: Deps, shop: Door, wechat: SandboxControl) -> None:
    giver, friend = await buyer(deps, shop, wechat), await buyer(deps, shop, wechat)
    sku_id = await put_on_shelf(deps)

    async def give_and_take(coupon_id: UUID) -> str:
        offer = await coupon_gift.give(
            deps, member_id=giver.member_id, coupon_id=coupon_id, idempotency_key=new_secret(12)
        )
        return await take(friend, offer.token)

    async def tried(coupon_id: UUID) -> str:
        try:
            return await give_and_take(coupon_id)
        except CouponStateRefused as refusal:
            return refusal.code

    for _ in range(10):
        mine = await claimed(deps, giver.member_id)
        gift, order = await at_once([tried(mine.id), used(giver, sku_id, mine.id)])
        assert (gift, order) in {
            ("CouponGiftAccepted", "COUPON_NOT_USABLE"),
            ("COUPON_STATE_REFUSED", "OrderPlaced"),
        }
        assert (await Coupon.get(id=mine.id)).state in {CouponState.GIVEN, CouponState.RESERVED}
    await assert_the_books_are_right()


async def used(giver: Buyer, sku_id: UUID, coupon_id: UUID) -> str:
    return said(await place(giver, sku_id, coupon_id))


async def test_the_constraints_alone_keep_a_gift_to_one_friend(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = await offered(deps, (await make_member(deps)).id)
    answers = await _without_locks_and_guards(deps, shop, wechat, monkeypatch, offer)
    assert answers.count("taken") == 1
    assert await one("SELECT count(*) FROM coupon WHERE cause_id = $1", offer.gift.id) == 1


async def test_without_locks_guards_and_constraints_two_friends_have_one_coupon(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = await offered(deps, (await make_member(deps)).id)
    await without_constraints("coupon", "coupon_gift", "coupon_event")
    assert await _without_locks_and_guards(deps, shop, wechat, monkeypatch, offer) == ["taken", "taken"]
    assert await one("SELECT count(*) FROM coupon WHERE cause_id = $1", offer.gift.id) == 2


async def _without_locks_and_guards(
    deps: Deps, shop: Door, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch, offer: coupon_gift.Offer
) -> list[str]:
    friends = [await make_member(deps), await make_member(deps)]
    without_member_locks(monkeypatch, together=2)

    async def unguarded(coupon_id: UUID, was: CouponState, state: CouponState) -> None:
        await rows("UPDATE coupon SET state = $2, due_at = NULL WHERE id = $1", [coupon_id, state])

    async def unguarded_end(gift_id: UUID, state: GiftState, *_: object, friend_id: UUID, received_id: UUID) -> None:
        await rows(
            "UPDATE coupon_gift SET state = $2, due_at = NULL, ended_at = now(), friend_id = $3, received_id = $4 "
            "WHERE id = $1",
            [gift_id, state, friend_id, received_id],
        )

    monkeypatch.setattr(coupon_gift, "_turn", unguarded)
    monkeypatch.setattr(coupon_gift, "_end", unguarded_end)
    decided_before_any_writes(monkeypatch, coupon_gift, "_turn", together=2)

    async def tried(friend_id: UUID) -> str:
        try:
            await coupon_gift.accept(deps, member_id=friend_id, token=offer.token, idempotency_key=new_secret(12))
        except (CouponGiftInvalid, Conflict, IntegrityError):
            return "refused"
        return "taken"

    return await at_once(tried(friend.id) for friend in friends)
