"""What is suspicious about a referral, who decides it, and stopping it all."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.idempotency import KeyReused
from loyalty.referrals.referral import (
    LeaderboardPeriod,
    ReferralNoteInvalid,
    ReferralReviewRefused,
    ReferralRewardNotFound,
    RejectReason,
)
from models.engine import changed, rows
from models.ids import new_id, new_secret
from models.keyset import Page
from models.payments.payment import Payment, PaymentAttempt
from models.people.operator import AuditRow
from models.referrals.referral import Referral, ReferralDecision, ReferralReward, ReferralSwitch
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.referrals import referral_review, referral_view
from tests.doors import make_member, make_operator
from tests.friends import account, buys, comes, friend, inviter, passes, rewards, rules
from tests.sandbox_server import SandboxControl


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def same_device(deps: Deps, wechat: SandboxControl) -> tuple[UUID, UUID]:
    """An inviter and a friend who came from the same device; the friend has bought."""
    openid = await wechat.openid()
    invites = await comes(deps, wechat, None, openid=openid, device_id="one phone")
    code = (await referral_view.summary(deps, member_id=invites.member.id)).code
    friend_id = await friend(deps, wechat, code, device_id="one phone")
    await buys(deps, friend_id)
    return invites.member.id, friend_id


async def suspicious(inviter_id: UUID) -> ReferralReward:
    return await ReferralReward.get(member_id=inviter_id, side="inviter", stage="first_order")


async def decide(deps: Deps, boss_id: UUID, reward_id: UUID, reason: RejectReason | None, **how: Any) -> ReferralReward:
    given = {"note": "看过了", "idempotency_key": new_secret(12), **how}
    if reason is None:
        return await referral_review.approve(deps, operator_id=boss_id, reward_id=reward_id, **given)
    return await referral_review.reject(deps, operator_id=boss_id, reward_id=reward_id, reason=reason, **given)


# Suspicion


async def test_one_device_waits_for_a_person_with_its_evidence(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, _ = await same_device(deps, wechat)
    await passes(deps, days=30)
    reward = await suspicious(inviter_id)
    assert (reward.state, reward.needs_review, reward.risk_score) == ("held", True, 75)
    assert reward.evidence == [
        {"signal": "same_device", "weight": 60, "figure": 1},
        {"signal": "hurried_order", "weight": 15, "figure": 1},
    ]
    queue = await referral_review.queue(deps, page=Page(referral_review.OLDEST, 10))
    assert reward.id in [row.id for row in queue.rows]
    assert await account(inviter_id) == (0, 0, 0)
    outcomes = [row.outcome for row in await ReferralDecision.filter(subject_id=reward.id).order_by("id")]
    assert outcomes == ["held", "needs review"]


async def test_a_score_beyond_doubt_is_rejected_with_the_heaviest_evidence(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, reject_score=75)
    inviter_id, friend_id = await same_device(deps, wechat)
    await passes(deps)
    assert (await rewards(friend_id))["first_order", "inviter"] == "rejected: same_device"
    assert await account(inviter_id) == (0, 0, 0)


async def test_one_network_alone_is_not_enough_and_can_be_switched_off(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, weights={"same_network": 49, "hurried_order": 0})
    invites = await comes(deps, wechat, None, client_ip="198.51.100.7")
    code = (await referral_view.summary(deps, member_id=invites.member.id)).code
    friend_id = await friend(deps, wechat, code, client_ip="198.51.100.7")
    await buys(deps, friend_id)
    await passes(deps, days=7)
    reward = await suspicious(invites.member.id)
    assert (reward.state, reward.risk_score) == ("paid", 49)


async def test_one_payer_is_seen(deps: Deps, wechat: SandboxControl, clock: SetClock) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    clock.advance(timedelta(minutes=1))
    for member_id in (inviter_id, friend_id):
        one = await buys(deps, member_id)
        attempt = await PaymentAttempt.create(
            id=new_id(clock.now()),
            order_id=one.id,
            out_trade_no=one.id.hex,
            total_fen=5_000,
            openid="o-one-payer",
            state="succeeded",
            expires_at=clock.now(),
            created_at=clock.now(),
        )
        await Payment.create(
            id=new_id(clock.now()),
            attempt_id=attempt.id,
            order_id=one.id,
            transaction_id=one.id.hex,
            total_fen=5_000,
            outcome="settled",
            recorded_at=clock.now(),
        )
    await passes(deps)
    assert (await suspicious(inviter_id)).evidence == [{"signal": "same_payer", "weight": 80, "figure": 1}]


@pytest.mark.parametrize(("before", "signals"), [(8, set()), (9, {"burst"})])
async def test_ten_bindings_in_an_hour_are_a_burst(
    deps: Deps, wechat: SandboxControl, clock: SetClock, before: int, signals: set[str]
) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    for _ in range(before):
        await friend(deps, wechat, code)
    clock.advance(timedelta(hours=1, seconds=-1))
    last = await friend(deps, wechat, code)
    clock.advance(timedelta(minutes=2))
    await buys(deps, last)
    await passes(deps)
    bound = await Referral.get(invitee_id=last)
    reward = await ReferralReward.get(referral_id=bound.id, side="inviter")
    assert {one["signal"] for one in reward.evidence} == signals
    assert inviter_id == reward.member_id


# A person decides


async def test_an_approval_is_paid_when_the_window_is_over_and_not_before(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, _ = await same_device(deps, wechat)
    await passes(deps)
    boss = await make_operator(deps)
    reward = await suspicious(inviter_id)
    key = new_secret(12)
    for _ in range(2):
        row = await decide(deps, boss.id, reward.id, None, idempotency_key=key)
        assert (row.state, row.needs_review, row.review) == ("held", False, "approved")
    with pytest.raises(ReferralReviewRefused) as refused:
        await decide(deps, boss.id, reward.id, None)
    assert refused.value.data == {"state": "held"}
    await passes(deps, days=7, seconds=-1)
    assert await account(inviter_id) == (0, 0, 0)
    await passes(deps, seconds=1)
    assert await account(inviter_id) == (200, 0, 20)
    audited = await AuditRow.filter(operator_id=boss.id)
    assert [(row.action, row.subject_id, row.after["note"]) for row in audited] == [
        ("referral_reward.approve", str(reward.id), "看过了")
    ]


async def test_an_approval_after_the_window_pays_at_once(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, _ = await same_device(deps, wechat)
    await passes(deps, days=7)
    boss = await make_operator(deps)
    row = await decide(deps, boss.id, (await suspicious(inviter_id)).id, None)
    assert row.state == "paid"
    assert await account(inviter_id) == (200, 0, 20)


async def test_a_rejection_is_for_good_and_says_why(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, friend_id = await same_device(deps, wechat)
    await passes(deps)
    boss = await make_operator(deps)
    reward = await suspicious(inviter_id)
    row = await decide(deps, boss.id, reward.id, RejectReason.SAME_DEVICE, note="同一台手机")
    assert (row.state, row.reason, row.review_note) == ("rejected", "same_device", "同一台手机")
    await passes(deps, days=8)
    assert await account(inviter_id) == (0, 0, 0)
    assert (await rewards(friend_id))["first_order", "inviter"] == "rejected: same_device"
    decision = await ReferralDecision.filter(subject_id=reward.id).order_by("-id").first()
    assert decision is not None
    assert decision.outcome == "rejected: same_device"
    assert decision.inputs["operator_id"] == str(boss.id)
    with pytest.raises(ReferralReviewRefused):
        await decide(deps, boss.id, reward.id, None)


async def test_a_decision_needs_a_reason_a_waiting_reward_and_a_key_of_its_own(
    deps: Deps, wechat: SandboxControl
) -> None:
    await rules(deps)
    inviter_id, _ = await same_device(deps, wechat)
    await passes(deps)
    boss = await make_operator(deps)
    reward = await suspicious(inviter_id)
    with pytest.raises(ReferralNoteInvalid):
        await decide(deps, boss.id, reward.id, None, note=" ")
    with pytest.raises(ReferralRewardNotFound):
        await decide(deps, boss.id, boss.id, None)
    assert (await suspicious(inviter_id)).needs_review
    key = new_secret(12)
    await decide(deps, boss.id, reward.id, None, idempotency_key=key)
    with pytest.raises(KeyReused):
        await decide(deps, boss.id, reward.id, RejectReason.SUSPICIOUS, idempotency_key=key)


async def test_a_refund_takes_a_reward_out_of_the_queue(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, friend_id = await same_device(deps, wechat)
    await passes(deps)
    bound = await Referral.get(invitee_id=friend_id)
    await changed("UPDATE shop_order SET state = 'refunded' WHERE id = $1", [bound.order_id])
    await changed("UPDATE referral SET due_at = $2 WHERE id = $1", [bound.id, deps.clock.now()])
    await passes(deps)
    reward = await suspicious(inviter_id)
    assert (reward.state, reward.reason, reward.needs_review) == ("rejected", "order_refunded", False)


# Stopping


async def test_a_stop_keeps_what_is_due_and_paying_goes_on_after_it(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    await buys(deps, friend_id)
    boss = await make_operator(deps)
    key = new_secret(12)
    for _ in range(2):
        stop = await referral_review.switch(
            deps, operator_id=boss.id, running=False, reason="有人刷单", idempotency_key=key
        )
        assert not stop.running
    assert await ReferralSwitch.all().count() == 1
    refused = await comes(deps, wechat, code)
    assert refused.referral is not None
    assert refused.referral.refusal is not None
    assert refused.referral.refusal.data == {"reason": "stopped"}
    await passes(deps, days=7)
    assert await account(inviter_id) == (0, 0, 0)
    assert (await rewards(friend_id))["first_order", "inviter"] == "held"
    assert not (await referral_view.summary(deps, member_id=inviter_id)).running
    deps.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
    await referral_review.switch(
        deps, operator_id=boss.id, running=True, reason="查清了", idempotency_key=new_secret(12)
    )
    await passes(deps, minutes=10)
    assert await account(inviter_id) == (200, 0, 20)
    actions = [(row.action, row.before, row.after["running"]) for row in await AuditRow.filter(operator_id=boss.id)]
    assert actions == [
        ("referral.switch", {"running": True}, False),
        ("referral.switch", {"running": False}, True),
    ]


async def test_a_stop_needs_a_reason(deps: Deps) -> None:
    boss = await make_operator(deps)
    with pytest.raises(ReferralNoteInvalid):
        await referral_review.switch(
            deps, operator_id=boss.id, running=False, reason="", idempotency_key=new_secret(12)
        )
    assert await ReferralSwitch.filter(operator_id=boss.id).count() == 0


async def test_refunds_are_taken_back_while_it_is_stopped(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps)
    inviter_id, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    await buys(deps, friend_id)
    await passes(deps, days=7)
    assert await account(inviter_id) == (200, 0, 20)
    boss = await make_operator(deps)
    await referral_review.switch(
        deps, operator_id=boss.id, running=False, reason="有人刷单", idempotency_key=new_secret(12)
    )
    bound = await Referral.get(invitee_id=friend_id)
    await changed("UPDATE shop_order SET state = 'refunded' WHERE id = $1", [bound.order_id])
    await changed("UPDATE referral SET due_at = $2 WHERE id = $1", [bound.id, deps.clock.now()])
    await passes(deps)
    assert await account(inviter_id) == (0, 0, 0)


# The leaderboard


async def test_the_leaderboard_counts_friends_of_the_week_and_of_the_month(deps: Deps, wechat: SandboxControl) -> None:
    await rules(deps, return_days=0)
    many, code_of_many = await inviter(deps)
    early, code_of_early = await inviter(deps)
    await make_member(deps)
    for code in (code_of_early, code_of_many):
        await buys(deps, await friend(deps, wechat, code))
        await passes(deps, minutes=1)
    assert [(one.place, one.standing.member_id) for one in await places(deps)] == [(1, early), (2, many)]
    await buys(deps, await friend(deps, wechat, code_of_many))
    await passes(deps, minutes=1)
    assert [(one.standing.member_id, one.standing.friends) for one in await places(deps)] == [(many, 2), (early, 1)]
    assert [one.standing.member_id for one in await places(deps, top=1)] == [many]
    await passes(deps, days=7)
    assert await places(deps) == []
    assert [one.standing.friends for one in await places(deps, LeaderboardPeriod.MONTH)] == [2, 1]
    await passes(deps, days=7)
    assert await places(deps, LeaderboardPeriod.MONTH) == []


async def places(deps: Deps, period: LeaderboardPeriod = LeaderboardPeriod.WEEK, top: int = 10) -> list[Any]:
    return list((await referral_view.places(deps, period=period, day=None, top=top))[1])


async def test_a_decision_is_never_changed(deps: Deps, wechat: SandboxControl) -> None:
    _, code = await inviter(deps)
    friend_id = await friend(deps, wechat, code)
    with pytest.raises(Exception, match="only grows"):
        await rows("UPDATE referral_decision SET outcome = 'paid' WHERE member_id = $1 RETURNING id", [friend_id])
