"""Twenty friends of one inviter at once, one friend of two inviters at once, through real connections."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import pytest

from loyalty.orders.order import OrderLine
from models import engine
from models.ids import new_secret
from models.referrals.referral import Referral, ReferralReward
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.referrals import referral, referral_reward
from tests.friends import account, comes, friend, inviter, rules, settles
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

FRIENDS = 20
LIMIT = 5


async def twenty_friends(deps: Deps, wechat: SandboxControl) -> tuple[UUID, list[UUID]]:
    """An inviter, and the referrals of friends whose orders were settled at the same moment and whose time has come."""
    await rules(deps, daily_limit=LIMIT, goals=[{"code": "five", "friends": LIMIT, "points": 1_000}])
    inviter_id, code = await inviter(deps)
    friends = [await friend(deps, wechat, code) for _ in range(FRIENDS)]
    sku_id = await put_on_shelf(deps, price_fen=5_000)
    deps.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    placed = [
        await order.place(
            deps,
            member_id=friend_id,
            lines=[OrderLine(sku_id=sku_id, quantity=1)],
            points_wanted=0,
            expected_fen=None,
            remark="",
            idempotency_key=new_secret(12),
        )
        for friend_id in friends
    ]
    await asyncio.gather(*(settles(deps, one) for one in placed))
    deps.clock.advance(timedelta(days=7))  # type: ignore[attr-defined]
    bound = await Referral.filter(inviter_id=inviter_id)
    assert len([one for one in bound if one.order_id]) == FRIENDS
    return inviter_id, [one.id for one in bound]


async def paid(inviter_id: UUID) -> int:
    return await ReferralReward.filter(member_id=inviter_id, side="inviter", state="paid").count()


async def test_twenty_friends_at_once_pay_exactly_the_days_limit(deps: Deps, wechat: SandboxControl) -> None:
    inviter_id, referrals = await twenty_friends(deps, wechat)
    # Each three times, as several workers would whose leases ran out.
    await asyncio.gather(*(referral_reward.advance(deps, referral_id=one) for one in referrals * 3))
    assert await paid(inviter_id) == LIMIT
    assert (
        await ReferralReward.filter(member_id=inviter_id, state="rejected", reason="limit").count() == FRIENDS - LIMIT
    )
    assert await account(inviter_id) == (LIMIT * 200 + 1_000, 0, LIMIT * 20)
    friends_paid = await ReferralReward.filter(side="invitee", stage="first_order", state="paid").count()
    assert friends_paid == FRIENDS


async def test_without_the_inviters_lock_the_limit_would_be_passed(
    deps: Deps, wechat: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    inviter_id, referrals = await twenty_friends(deps, wechat)
    everybody_is_in = asyncio.Barrier(FRIENDS)

    async def meet_instead(members: Iterable[UUID]) -> None:
        await everybody_is_in.wait()

    monkeypatch.setattr(engine, "lock_members", meet_instead)
    await asyncio.gather(
        *(referral_reward.advance.__wrapped__(deps, referral_id=one) for one in referrals),  # type: ignore[attr-defined]
        return_exceptions=True,
    )
    assert await paid(inviter_id) > LIMIT


async def test_a_friend_who_logs_in_by_two_invitations_at_once_is_bound_to_one(
    deps: Deps, wechat: SandboxControl
) -> None:
    codes = [(await inviter(deps))[1] for _ in range(5)]
    openid = await wechat.openid()
    signed_in = await asyncio.gather(*(comes(deps, wechat, code, openid=openid) for code in codes * 2))
    (member_id,) = {one.member.id for one in signed_in}
    assert sum(one.referral is not None and one.referral.refusal is None for one in signed_in) == 1
    assert await Referral.filter(invitee_id=member_id).count() == 1


async def test_two_who_invite_each_other_at_once_close_no_loop(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    people = [await wechat.openid() for _ in range(4)]
    members = [(await comes(deps, wechat, None, openid=openid)).member.id for openid in people]
    codes = [await referral.code_of(deps, member_id=member_id) for member_id in members]
    # All at one instant: each is still new to the one before, the first to the last.
    outcomes = await asyncio.gather(
        *(comes(deps, wechat, codes[at - 1], openid=openid) for at, openid in enumerate(people))
    )
    refused = [
        one.referral.refusal for one in outcomes if one.referral is not None and one.referral.refusal is not None
    ]
    assert [refusal.data for refusal in refused] == [{"reason": "loop"}]
    assert await Referral.filter(invitee_id__in=members).count() == 3
