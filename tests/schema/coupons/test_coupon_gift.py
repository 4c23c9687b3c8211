"""A coupon given to a friend, through the doors: offered, seen, taken, taken back, and come back by the clock."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from jobs.worker import run_due
from loyalty.people.rights import Role
from models.coupons.coupon import Coupon, CouponEvent
from models.coupons.coupon_gift import CouponGift
from models.ids import new_secret
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.coupons import claim, claimed, counted, make_template
from tests.doors import Bearer, Door

Tokens = Callable[..., Awaitable[Bearer]]

GIVE = """
mutation Give($id: ID!, $key: IdempotencyKey!) {
  done: couponGift(couponId: $id, idempotencyKey: $key) {
    __typename
    ... on CouponGiftOffered { token gift { id state expiresAt coupon { state } } }
    ... on Refusal { code } ... on CouponStateRefused { state }
  }
}
"""
ACCEPT = """
mutation Accept($token: String!, $key: IdempotencyKey!) {
  done: couponGiftAccept(token: $token, idempotencyKey: $key) {
    __typename
    ... on CouponGiftAccepted { coupon { id state channel expiresAt terms { amount } events { kind } } }
    ... on Refusal { code }
  }
}
"""
WITHDRAW = """
mutation Withdraw($id: ID!, $key: IdempotencyKey!) {
  done: couponGiftWithdraw(id: $id, idempotencyKey: $key) {
    __typename ... on CouponGiftWithdrawn { gift { state coupon { state } } } ... on Refusal { code }
  }
}
"""
CLAIM = """
mutation Claim($id: ID!, $key: IdempotencyKey!) {
  done: couponClaim(templateId: $id, idempotencyKey: $key) {
    ... on Refusal { code } ... on CouponLimitReached { had }
  }
}
"""
OPENED = """
query Opened($token: String!) { couponGiftOpened(token: $token) { title yours terms { amount } takeUntil } }
"""


def a_key() -> str:
    return new_secret(12)


async def ask(door: Door, who: Bearer, text: str, /, **variables: Any) -> dict[str, Any]:
    done: dict[str, Any] = (await door.ask(text, {"key": a_key(), **variables}, token=who))["done"]
    return done


async def given(shop: Door, token: Bearer, coupon_id: object) -> dict[str, Any]:
    offered = await ask(shop, token, GIVE, id=str(coupon_id))
    assert offered["__typename"] == "CouponGiftOffered", offered
    return offered


async def test_a_friend_takes_a_coupon_and_the_history_names_both(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, friend = await member_token(), await member_token()
    template = await make_template(deps, member_limit=1, total_limit=1, budget_fen=1_000)
    coupon = await claim(deps, mine.subject_id, template)
    key = a_key()
    offered = await ask(shop, mine, GIVE, id=str(coupon.id), key=key)
    assert offered["gift"]["state"] == "OFFERED"
    assert offered["gift"]["coupon"] == {"state": "GIFTING"}
    assert await ask(shop, mine, GIVE, id=str(coupon.id), key=key) == offered
    seen = (await shop.ask(OPENED, {"token": offered["token"]}, token=friend))["couponGiftOpened"]
    assert seen["terms"] == {"amount": 1_000}
    assert seen["yours"] is False
    accept_key = a_key()
    taken = await ask(shop, friend, ACCEPT, token=offered["token"], key=accept_key)
    assert taken["coupon"]["state"] == "ISSUED"
    assert taken["coupon"]["channel"] == "GIFT"
    assert taken["coupon"]["events"] == [{"kind": "ISSUED"}]
    assert await ask(shop, friend, ACCEPT, token=offered["token"], key=accept_key) == taken
    assert (await shop.ask(OPENED, {"token": offered["token"]}, token=friend))["couponGiftOpened"] is None
    was = await Coupon.get(id=coupon.id)
    received = await Coupon.get(id=taken["coupon"]["id"])
    assert (was.state, was.member_id) == ("given", mine.subject_id)
    assert (received.version_id, received.expires_at) == (was.version_id, was.expires_at)
    both = {"giver_id": str(mine.subject_id), "friend_id": str(friend.subject_id)}
    for coupon_id, kind in ((was.id, "given"), (received.id, "issued")):
        event = await CouponEvent.get(coupon_id=coupon_id, kind=kind)
        assert event.details["members"] == both
    assert await counted(template) == (1, 1_000)
    boss = await operator_token(Role.SUPPORT)
    gifts = await admin.ask(
        "query($id: ID!) { couponGifts(memberId: $id) { nodes { giverId friendId receivedCouponId state } } }",
        {"id": str(friend.subject_id)},
        token=boss,
    )
    assert gifts["couponGifts"]["nodes"] == [
        {
            "giverId": str(mine.subject_id),
            "friendId": str(friend.subject_id),
            "receivedCouponId": str(received.id),
            "state": "ACCEPTED",
        }
    ]


async def test_limits_count_what_was_given_away_and_not_what_friends_gave(
    shop: Door, deps: Deps, member_token: Tokens
) -> None:
    mine, friend = await member_token(), await member_token()
    template = await make_template(deps, member_limit=1)
    had = await claim(deps, friend.subject_id, template)
    coupon = await claim(deps, mine.subject_id, template)
    offered = await given(shop, mine, coupon.id)
    taken = await ask(shop, friend, ACCEPT, token=offered["token"])
    assert taken["__typename"] == "CouponGiftAccepted"
    assert await ask(shop, mine, CLAIM, id=str(template.id)) == {"code": "COUPON_LIMIT_REACHED", "had": 1}
    assert await ask(shop, friend, CLAIM, id=str(template.id)) == {"code": "COUPON_LIMIT_REACHED", "had": 1}
    on = await ask(shop, friend, GIVE, id=taken["coupon"]["id"])
    assert on == {"__typename": "SimpleRefusal", "code": "COUPON_NOT_GIVABLE"}
    assert (await ask(shop, friend, GIVE, id=str(had.id)))["__typename"] == "CouponGiftOffered"


async def test_what_is_offered_cannot_be_used_offered_or_taken_by_its_giver(
    shop: Door, deps: Deps, member_token: Tokens
) -> None:
    mine, other = await member_token(), await member_token()
    coupon = await claimed(deps, mine.subject_id)
    offered = await given(shop, mine, coupon.id)
    again = await ask(shop, mine, GIVE, id=str(coupon.id))
    assert again == {"__typename": "CouponStateRefused", "code": "COUPON_STATE_REFUSED", "state": "gifting"}
    own = await ask(shop, mine, ACCEPT, token=offered["token"])
    assert own == {"__typename": "SimpleRefusal", "code": "COUPON_GIFT_OWN"}
    not_mine = await ask(shop, other, GIVE, id=str(coupon.id))
    assert not_mine == {"__typename": "SimpleRefusal", "code": "COUPON_NOT_FOUND"}
    theirs = await ask(shop, other, WITHDRAW, id=offered["gift"]["id"])
    assert theirs == {"__typename": "SimpleRefusal", "code": "COUPON_GIFT_NOT_FOUND"}
    for wrong in ("x", "x" * 500, ""):
        nothing = await ask(shop, other, ACCEPT, token=wrong)
        assert nothing == {"__typename": "SimpleRefusal", "code": "COUPON_GIFT_INVALID"}
    assert (await Coupon.get(id=coupon.id)).state == "gifting"


async def test_a_gift_is_taken_back_once(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, friend = await member_token(), await member_token()
    coupon = await claimed(deps, mine.subject_id)
    offered = await given(shop, mine, coupon.id)
    back = await ask(shop, mine, WITHDRAW, id=offered["gift"]["id"])
    assert back["gift"] == {"state": "WITHDRAWN", "coupon": {"state": "ISSUED"}}
    late = await ask(shop, friend, ACCEPT, token=offered["token"])
    assert late == {"__typename": "SimpleRefusal", "code": "COUPON_GIFT_INVALID"}
    twice = await ask(shop, mine, WITHDRAW, id=offered["gift"]["id"])
    assert twice == {"__typename": "SimpleRefusal", "code": "COUPON_GIFT_ENDED"}
    assert (await given(shop, mine, coupon.id))["token"] != offered["token"]


async def test_a_gift_that_nobody_takes_comes_back_and_may_be_over(
    shop: Door, deps: Deps, clock: SetClock, member_token: Tokens
) -> None:
    mine = await member_token()
    lasting, ending = (
        await claimed(deps, mine.subject_id),
        await claimed(deps, mine.subject_id, valid_until="2026-11-20"),
    )
    gifts = [await given(shop, mine, coupon.id) for coupon in (lasting, ending)]
    clock.advance(timedelta(hours=23, minutes=59))
    await run_due(deps)
    await run_due(deps)
    assert (await Coupon.get(id=lasting.id)).state == "gifting"
    assert (await Coupon.get(id=ending.id)).state == "expired"
    clock.advance(timedelta(minutes=1))
    await run_due(deps)
    assert (await Coupon.get(id=lasting.id)).state == "issued"
    assert [(await CouponGift.get(id=gift["gift"]["id"])).state for gift in gifts] == ["expired", "expired"]


async def test_a_template_may_forbid_it_or_let_it_go_further(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, friend, third = await member_token(), await member_token(), await member_token()
    kept = await claimed(deps, mine.subject_id, gift_limit=0)
    assert (await ask(shop, mine, GIVE, id=str(kept.id)))["code"] == "COUPON_NOT_GIVABLE"
    coupon_id: object = (await claimed(deps, mine.subject_id, gift_limit=2, gift_hours=1)).id
    for giver, taker in ((mine, friend), (friend, third)):
        offered = await given(shop, giver, coupon_id)
        coupon_id = (await ask(shop, taker, ACCEPT, token=offered["token"]))["coupon"]["id"]
    assert (await ask(shop, third, GIVE, id=str(coupon_id)))["code"] == "COUPON_NOT_GIVABLE"
