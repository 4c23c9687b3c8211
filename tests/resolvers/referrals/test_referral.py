"""Bringing friends, verb by verb: who is bound to whom, and what comes of it."""

from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from loyalty.orders.order import OrderLine
from loyalty.points.points import EntryKind
from loyalty.referrals.referral_code import MAX_TOKENS, ReferralCampaignInvalid, ReferralCodeUnknown, ReferralTokenLimit
from loyalty.referrals.referral_programme import BindingSource
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from models.points.points import PointsEntry
from models.referrals.referral import Referral, ReferralDecision, ReferralReward, ReferralTrace
from models.tiers.tier import GrowthEntry
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import INVARIANTS
from resolvers.orders import order
from resolvers.payments import payment, refund
from resolvers.points import points
from resolvers.programme import points_programme
from resolvers.referrals import referral, referral_reward, referral_view
from tests.doors import make_member, make_operator
from tests.friends import account, an_address, buys, comes, friend, inviter, passes, rewards, rules
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def books_hold() -> None:
    for invariant in INVARIANTS:
        if invariant.name.startswith(("referral", "points", "growth")):
            assert await rows(invariant.offenders) == [], invariant.name


async def refunds(deps: Deps, order_id: Any) -> None:
    boss = await make_operator(deps)
    await refund.refund_order(
        deps, operator_id=boss.id, order_id=order_id, reason="退货", idempotency_key=new_secret(12)
    )


async def spends(deps: Deps, member_id: Any, amount: int) -> None:
    now, cause_id = deps.clock.now(), new_id(deps.clock.now())
    async with transaction(member_id):
        await points.hold(member_id, amount=amount, cause_kind="test", cause_id=cause_id, now=now)
        programme = await points_programme(now)
        await points.post(cause_kind="test", cause_id=cause_id, now=now, version_id=programme.version_id)


def refused_with(signed_in: Any) -> str:
    refusal = signed_in.referral.refusal
    return str(refusal.data.get("reason", refusal.code)) if refusal else "bound"


# Sharing


async def test_a_code_is_made_once_and_reads_back_however_it_is_typed(deps: Deps, wechat: SandboxControl) -> None:
    inviter_id, code = await inviter(deps)
    assert await referral.code_of(deps, member_id=inviter_id) == code
    friend_id = await friend(deps, wechat, f" {code[:4].lower()}-{code[4:]} ")
    bound = await Referral.get(invitee_id=friend_id)
    assert (bound.inviter_id, bound.source, bound.campaign) == (inviter_id, "code", "")


async def test_a_token_is_the_same_for_the_same_wish_and_keeps_its_campaign(deps: Deps, wechat: SandboxControl) -> None:
    inviter_id, _ = await inviter(deps)
    one = await referral.create_token(deps, member_id=inviter_id, source=BindingSource.QR, campaign="autumn")
    again = await referral.create_token(deps, member_id=inviter_id, source=BindingSource.QR, campaign="autumn")
    card = await referral.create_token(deps, member_id=inviter_id, source=BindingSource.CARD, campaign="autumn")
    assert one.token == again.token != card.token
    bound = await Referral.get(invitee_id=await friend(deps, wechat, one.token))
    assert (bound.inviter_id, bound.source, bound.campaign) == (inviter_id, "qr", "autumn")


async def test_tokens_have_plain_campaigns_and_a_limit(deps: Deps) -> None:
    member = await make_member(deps)
    with pytest.raises(ReferralCampaignInvalid):
        await referral.create_token(deps, member_id=member.id, source=BindingSource.QR, campaign="双十一")
    for number in range(MAX_TOKENS):
        await referral.create_token(deps, member_id=member.id, source=BindingSource.QR, campaign=f"c{number}")
    with pytest.raises(ReferralTokenLimit):
        await referral.create_token(deps, member_id=member.id, source=BindingSource.QR, campaign="one_more")
    assert (
        await referral.create_token(deps, member_id=member.id, source=BindingSource.QR, campaign="c0")
    ).campaign == "c0"


async def test_nothing_is_paid_for_sharing(deps: Deps) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    await referral.create_token(deps, member_id=inviter_id, source=BindingSource.CARD, campaign="")
    await referral.open_invitation(deps, text=code, client_ip=an_address())
    await passes(deps, days=1)
    assert await account(inviter_id) == (0, 0, 0)
    assert await ReferralReward.filter(member_id=inviter_id).count() == 0


# Binding


async def test_a_friend_is_bound_under_the_rules_of_that_day(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    bound = await Referral.get(invitee_id=friend_id)
    await rules(deps, rewards=[{"stage": "first_order", "side": "inviter", "points": 9_999}])
    assert await rewards(friend_id) == {
        ("registration", "invitee"): "qualified",
        ("first_order", "inviter"): "pending",
        ("first_order", "invitee"): "pending",
    }
    await buys(deps, friend_id)
    await passes(deps, days=7)
    assert (await account(inviter_id))[0] == 200
    decision = await ReferralDecision.get(member_id=friend_id, subject="binding")
    assert (decision.outcome, decision.subject_id, decision.version_id) == ("bound", bound.id, bound.version_id)
    assert decision.inputs["inviter_id"] == str(inviter_id)


@pytest.mark.parametrize(("late", "answer"), [({"days": 7, "seconds": -1}, "bound"), ({"days": 7}, "expired")])
async def test_the_click_is_stamped_and_binds_for_seven_days(
    deps: Deps, wechat: SandboxControl, clock: SetClock, late: dict[str, float], answer: str
) -> None:
    _, code = await inviter(deps)
    click = (await referral.open_invitation(deps, text=code, client_ip=an_address())).click
    clock.advance(timedelta(**late))
    signed_in = await comes(deps, wechat, click)
    assert refused_with(signed_in) == answer
    assert await Referral.filter(invitee_id=signed_in.member.id).count() == (answer == "bound")
    outcomes = [row.outcome for row in await ReferralDecision.filter(member_id=signed_in.member.id)]
    assert outcomes == ["bound" if answer == "bound" else "refused: expired"]


async def test_who_opened_it_first_and_logged_in_without_it_is_still_new(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    _, code = await inviter(deps)
    click = (await referral.open_invitation(deps, text=code, client_ip=an_address())).click
    openid = await wechat.openid()
    clock.advance(timedelta(minutes=1))
    await comes(deps, wechat, None, openid=openid)
    clock.advance(timedelta(minutes=1))
    assert refused_with(await comes(deps, wechat, code, openid=openid)) == "not_new"
    assert refused_with(await comes(deps, wechat, click, openid=openid)) == "bound"


async def test_who_bought_before_is_not_new(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    _, code = await inviter(deps)
    click = (await referral.open_invitation(deps, text=code, client_ip=an_address())).click
    openid = await wechat.openid()
    clock.advance(timedelta(minutes=1))
    signed_in = await comes(deps, wechat, None, openid=openid)
    await buys(deps, signed_in.member.id, 100)
    assert refused_with(await comes(deps, wechat, click, openid=openid)) == "not_new"


async def test_a_member_is_bound_once_and_never_to_themselves(deps: Deps, wechat: SandboxControl) -> None:
    first_id, first = await inviter(deps)
    _, second = await inviter(deps)
    openid = await wechat.openid()
    friend_id = await friend(deps, wechat, first, openid=openid)
    for code in (first, second):
        assert refused_with(await comes(deps, wechat, code, openid=openid)) == "already_bound"
    own = await referral.code_of(deps, member_id=friend_id)
    assert refused_with(await comes(deps, wechat, own, openid=openid)) == "self"
    assert (await Referral.get(invitee_id=friend_id)).inviter_id == first_id


async def test_nobody_is_bound_to_somebody_below(deps: Deps, wechat: SandboxControl) -> None:
    openid = await wechat.openid()
    top = await comes(deps, wechat, None, openid=openid)
    middle = await friend(deps, wechat, await referral.code_of(deps, member_id=top.member.id))
    lowest = await friend(deps, wechat, await referral.code_of(deps, member_id=middle))
    below = await referral.code_of(deps, member_id=lowest)
    assert refused_with(await comes(deps, wechat, below, openid=openid)) == "loop"
    assert await Referral.filter(invitee_id=top.member.id).count() == 0


async def test_a_way_of_coming_that_does_not_count_is_refused(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, sources=["qr"])
    inviter_id, code = await inviter(deps)
    assert refused_with(await comes(deps, wechat, code)) == "source"
    token = await referral.create_token(deps, member_id=inviter_id, source=BindingSource.QR, campaign="")
    assert refused_with(await comes(deps, wechat, token.token)) == "bound"


@pytest.mark.parametrize("text", ["", "nobody", "00000000", "a" * 17, "k.notours", "." * 600, "s1.AAAA", "s1.é"])
async def test_what_is_nobodys_does_not_hinder_the_login(deps: Deps, wechat: SandboxControl, text: str) -> None:
    signed_in = await comes(deps, wechat, text)
    assert (refused_with(signed_in) if text else signed_in.referral) == ("REFERRAL_CODE_UNKNOWN" if text else None)
    assert await Referral.filter(invitee_id=signed_in.member.id).count() == 0


async def test_a_stamp_that_was_changed_is_nobodys(deps: Deps, wechat: SandboxControl) -> None:
    _, code = await inviter(deps)
    click = (await referral.open_invitation(deps, text=code, client_ip=an_address())).click
    changed = click[:-6] + ("A" if click[-6] != "A" else "B") + click[-5:]
    assert refused_with(await comes(deps, wechat, changed)) == "REFERRAL_CODE_UNKNOWN"


async def test_the_code_of_a_disabled_member_is_nobodys(deps: Deps) -> None:
    member = await make_member(deps)
    code = await referral.code_of(deps, member_id=member.id)
    member.disabled_at = deps.clock.now()
    await member.save(update_fields=["disabled_at"])
    with pytest.raises(ReferralCodeUnknown):
        await referral.open_invitation(deps, text=code, client_ip=an_address())


# From the result to the reward


async def test_joining_is_paid_at_once_and_once(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    _, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    bound = await Referral.get(invitee_id=friend_id)
    for _ in range(3):
        await referral_reward.advance(deps, referral_id=bound.id)
    assert await account(friend_id) == (50, 0, 0)
    assert (await rewards(friend_id))["registration", "invitee"] == "paid"
    await books_hold()


async def test_a_first_order_is_held_for_its_return_window_and_then_pays_both(
    deps: Deps, wechat: SandboxControl
) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    one = await buys(deps, friend_id)
    await passes(deps, days=7, seconds=-1)
    assert await account(inviter_id) == (0, 0, 0)
    assert (await rewards(friend_id))["first_order", "inviter"] == "held"
    await passes(deps, seconds=1)
    assert await account(inviter_id) == (200, 0, 20)
    assert await rewards(friend_id) == {
        ("registration", "invitee"): "paid",
        ("first_order", "inviter"): "paid",
        ("first_order", "invitee"): "paid",
    }
    reward = await ReferralReward.get(member_id=inviter_id)
    entry = await PointsEntry.get(member_id=inviter_id)
    assert (entry.kind, entry.cause_kind, entry.cause_id) == (EntryKind.EARN, "referral", reward.id)
    assert (await GrowthEntry.get(member_id=inviter_id)).cause_id == reward.id
    assert (await Referral.get(invitee_id=friend_id)).order_id == one.id
    decisions = await ReferralDecision.filter(subject_id=reward.id).order_by("id")
    assert [row.outcome for row in decisions] == ["held", "paid"]
    assert decisions[-1].inputs["points"] == 200
    assert decisions[-1].version_id == (await Referral.get(invitee_id=friend_id)).version_id
    await books_hold()


async def test_a_smaller_order_neither_counts_nor_spoils(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    await buys(deps, friend_id, 4_999)
    assert (await rewards(friend_id))["first_order", "inviter"] == "pending"
    counted = await buys(deps, friend_id, 5_000)
    later = await buys(deps, friend_id, 9_000)
    await refunds(deps, later.id)
    await passes(deps, days=7)
    assert (await account(inviter_id))[0] == 200
    assert (await Referral.get(invitee_id=friend_id)).order_id == counted.id


@pytest.mark.parametrize(
    ("late", "state"), [({"days": 30, "seconds": -1}, "held"), ({"days": 30}, "rejected: expired")]
)
async def test_the_first_order_has_thirty_days(
    deps: Deps, wechat: SandboxControl, clock: SetClock, late: dict[str, float], state: str
) -> None:
    await rules(deps)
    _, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    clock.advance(timedelta(**late))
    await buys(deps, friend_id)
    await passes(deps)
    assert (await rewards(friend_id))["first_order", "inviter"] == state


async def test_what_waits_too_long_expires_without_an_order(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    _, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    await passes(deps, days=30)
    assert await rewards(friend_id) == {
        ("registration", "invitee"): "paid",
        ("first_order", "inviter"): "rejected: expired",
        ("first_order", "invitee"): "rejected: expired",
    }
    assert (await Referral.get(invitee_id=friend_id)).due_at is None


# Limits


async def test_a_daily_limit_rejects_the_inviters_third_and_pays_the_friend(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, daily_limit=2)
    inviter_id, code = await inviter(deps)
    friends = [await friend(deps, wechat, code) for _ in range(4)]
    for friend_id in friends[:3]:
        await buys(deps, friend_id)
    await passes(deps, days=1)
    await buys(deps, friends[3])
    await passes(deps, days=6)
    states = sorted([(await rewards(one))["first_order", "inviter"] for one in friends[:3]])
    assert states == ["paid", "paid", "rejected: limit"]
    assert [(await rewards(one))["first_order", "invitee"] for one in friends[:3]] == ["paid"] * 3
    await passes(deps, days=1)
    assert (await rewards(friends[3]))["first_order", "inviter"] == "paid"
    assert (await account(inviter_id))[0] == 600


async def test_a_total_limit_holds_for_good(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, total_limit=1)
    inviter_id, code = await inviter(deps)
    for state in ("paid", "rejected: limit"):
        friend_id = await friend(deps, wechat, code)
        await buys(deps, friend_id)
        await passes(deps, days=8)
        assert (await rewards(friend_id))["first_order", "inviter"] == state
    assert (await account(inviter_id))[0] == 200


# Refunds


async def test_a_refund_in_the_return_window_rejects(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    one = await buys(deps, friend_id)
    await passes(deps, days=1)
    await refunds(deps, one.id)
    await passes(deps, days=7)
    assert (await rewards(friend_id))["first_order", "inviter"] == "rejected: order_refunded"
    assert (await rewards(friend_id))["registration", "invitee"] == "paid"
    assert await account(inviter_id) == (0, 0, 0)
    await buys(deps, friend_id)
    await passes(deps, days=7)
    assert (await rewards(friend_id))["first_order", "inviter"] == "rejected: order_refunded"
    await books_hold()


async def test_a_late_refund_claws_back_with_a_debt_for_what_is_spent(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    one = await buys(deps, friend_id)
    await passes(deps, days=7)
    await spends(deps, inviter_id, 150)
    await refunds(deps, one.id)
    await passes(deps)
    assert await account(inviter_id) == (0, 150, 0)
    assert (await rewards(friend_id))["first_order", "inviter"] == "clawed_back: order_refunded"
    assert (await rewards(friend_id))["first_order", "invitee"] == "clawed_back: order_refunded"
    await passes(deps, days=1)
    assert await account(inviter_id) == (0, 150, 0)
    await books_hold()


async def test_money_that_comes_and_goes_by_wechat_pays_and_claws_back(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    async with reachable(deps) as open_store:
        friend_id = await friend(open_store, wechat, code)
        placed = await order.place(
            open_store,
            member_id=friend_id,
            lines=[OrderLine(sku_id=await put_on_shelf(deps, price_fen=5_000), quantity=1)],
            points_wanted=0,
            expected_fen=None,
            remark="",
            idempotency_key=new_secret(12),
        )
        await wechat.request_payment(await payment.pay(open_store, member_id=friend_id, order_id=placed.id))
        await wechat.settle()
        await wechat.advance(7 * 86_400)
        await passes(open_store, days=7)
        assert await account(inviter_id) == (200, 0, 20)
        await refunds(open_store, placed.id)
        await passes(open_store)
        await wechat.settle()
        await wechat.advance(300)
        await passes(open_store, minutes=5)
        assert await account(inviter_id) == (0, 0, 0)
    for invariant in INVARIANTS:
        assert await rows(invariant.offenders) == [], invariant.name


# Goals


async def test_three_friends_unlock_a_goal_that_claw_backs_take_and_a_fourth_gives_again(
    deps: Deps, wechat: SandboxControl
) -> None:
    await rules(deps, rewards=[], goals=[{"code": "three", "friends": 3, "points": 500, "growth": 30}])
    inviter_id, code = await inviter(deps)
    orders = [await buys(deps, await friend(deps, wechat, code)) for _ in range(2)]
    await passes(deps, days=7)
    assert await account(inviter_id) == (0, 0, 0)
    orders.append(await buys(deps, await friend(deps, wechat, code)))
    await passes(deps, days=7)
    assert await account(inviter_id) == (500, 0, 30)
    progress = (await referral_view.summary(deps, member_id=inviter_id)).goals
    assert [(one.goal.code, one.friends, one.is_unlocked) for one in progress] == [("three", 3, True)]
    await refunds(deps, orders[0].id)
    await passes(deps)
    assert await account(inviter_id) == (0, 0, 0)
    assert not (await referral_view.summary(deps, member_id=inviter_id)).goals[0].is_unlocked
    await buys(deps, await friend(deps, wechat, code))
    await passes(deps, days=7)
    assert await account(inviter_id) == (500, 0, 30)
    outcomes = [
        row.outcome for row in await ReferralDecision.filter(member_id=inviter_id, subject="goal").order_by("id")
    ]
    assert outcomes == ["unlocked", "lost", "unlocked"]
    await books_hold()


# Levels


@pytest.mark.parametrize(("depth", "upline_points"), [(1, 0), (2, 20)])
async def test_rewards_reach_one_level_up_or_two_and_never_three(
    deps: Deps, wechat: SandboxControl, depth: int, upline_points: int
) -> None:
    own: list[dict[str, Any]] = [{"stage": "first_order", "side": "inviter", "points": 200}]
    upline = [{"stage": "first_order", "side": "upline", "points": 20}] if depth == 2 else []
    await rules(deps, depth=depth, rewards=[*own, *upline])
    top, code = await inviter(deps)
    second = await friend(deps, wechat, code)
    third = await friend(deps, wechat, await referral.code_of(deps, member_id=second))
    fourth = await friend(deps, wechat, await referral.code_of(deps, member_id=third))
    await buys(deps, fourth)
    await passes(deps, days=7)
    assert [(await account(one))[0] for one in (top, second, third)] == [0, upline_points, 200]
    await books_hold()


# What is remembered


async def test_devices_and_networks_are_hashes_that_are_forgotten_after_ninety_days(
    deps: Deps, wechat: SandboxControl, clock: SetClock
) -> None:
    openid = await wechat.openid()
    signed_in = await comes(deps, wechat, None, openid=openid, device_id="phone-1", client_ip="203.0.113.9")
    traces = await ReferralTrace.filter(member_id=signed_in.member.id)
    assert sorted(row.kind for row in traces) == ["device", "network"]
    assert not any("phone" in row.mark or "203" in row.mark[:3] for row in traces)
    clock.advance(timedelta(days=1))
    await comes(deps, wechat, None, openid=openid, device_id="phone-1", client_ip="203.0.113.10")
    assert await ReferralTrace.filter(member_id=signed_in.member.id).count() == 3
    await passes(deps, days=89, seconds=1)
    kinds = [row.kind for row in await ReferralTrace.filter(member_id=signed_in.member.id)]
    assert sorted(kinds) == ["device", "network"]
    await passes(deps, days=1)
    assert await ReferralTrace.filter(member_id=signed_in.member.id).count() == 0
