"""From a result to a reward: a friend's first order qualifies, is held, paid, rejected or clawed back.

What happens to an order only marks the referral, because it runs under the friend's lock alone. The clock then takes
each referral in a transaction that locks everybody whom it may pay, in ascending id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from loyalty.orders.order import OrderState
from loyalty.referrals.referral import (
    TRANSITIONS,
    HeldReward,
    ReferralState,
    RejectReason,
    Review,
    after_refund,
    decide,
    held_until,
    lost,
    overdue,
    overdue_at,
    qualifies,
    unlocked,
)
from loyalty.referrals.referral_programme import ReferralProgramme, Side, Stage
from loyalty.referrals.referral_risk import Evidence, RiskScore, RiskSignal
from loyalty.shop_time import business_day
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from models.orders.order import Order
from models.referrals.referral import Referral, ReferralGoal, ReferralReward
from resolvers.deps import Deps
from resolvers.programme import InForce, version
from resolvers.referrals import referral_ledger as ledger
from resolvers.referrals.referral import decided
from resolvers.referrals.referral_risk import TRACES_KEPT, score

LEASE = timedelta(minutes=1)
ASK_AGAIN = timedelta(minutes=10)
"""How long a reward waits that is only kept by a stop, or by a refund on its way."""

_ORDER = """
SELECT CASE WHEN o.refunding_fen > 0 THEN 'refunding' ELSE o.state END AS state,
    o.payable_fen - coalesce(sum(refund.amount_fen), 0)::bigint AS left_fen FROM shop_order o
LEFT JOIN refund ON refund.order_id = o.id AND refund.state = 'succeeded'
    AND refund.order_refund_id IS NOT NULL
WHERE o.id = $1 GROUP BY o.id
"""

_PAID_BEFORE = """
SELECT count(*) AS ever, count(*) FILTER (WHERE paid_on = $3) AS today FROM referral_reward
WHERE member_id = $1 AND side = $2 AND paid_on IS NOT NULL
"""

_FRIENDS = """
SELECT count(*) AS friends FROM referral_reward
WHERE member_id = $1 AND side = 'inviter' AND stage = 'first_order' AND state = 'paid'
"""


# What happens to orders


async def order_settled(order: Order, *, paid_fen: int, now: datetime) -> None:
    """A friend's order was paid: if it is the result that was waited for, its rewards qualify.

    Runs in the payment's transaction with the order's member locked.
    """
    assert in_transaction(), "an order is settled under its member's lock"
    found = await rows(
        "SELECT id, version_id, bound_at FROM referral WHERE invitee_id = $1 AND order_id IS NULL", [order.member_id]
    )
    if not found:
        return
    programme: InForce[ReferralProgramme] = await version("referral", found[0]["version_id"])
    if not qualifies(programme.rules, bound_at=found[0]["bound_at"], settled_at=now, paid_fen=paid_fen):
        return
    qualified = await changed(
        "UPDATE referral_reward SET state = 'qualified', qualified_at = $2 "
        "WHERE referral_id = $1 AND stage = 'first_order' AND state = 'pending'",
        [found[0]["id"], now],
    )
    if qualified:
        await changed("UPDATE referral SET order_id = $2, due_at = $3 WHERE id = $1", [found[0]["id"], order.id, now])


async def order_refunded(order: Order, *, now: datetime) -> None:
    """An order's money went back: if it is one that counted, the clock looks at its rewards at once."""
    await changed("UPDATE referral SET due_at = $2 WHERE order_id = $1", [order.id, now])


# The clock


async def claim_due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Ids of referrals that something is due for, each leased to the caller for a minute."""
    now = deps.clock.now()
    claimed = await rows(
        "UPDATE referral SET due_at = $2 WHERE id IN (SELECT id FROM referral WHERE due_at <= $1 "
        "ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        [now, now + LEASE, limit],
    )
    return [row["id"] for row in claimed]


@retried
async def advance(deps: Deps, *, referral_id: UUID) -> None:
    """Bring the rewards of a referral as far as they can go now. Harmless to repeat."""
    people = await people_of(referral_id)
    async with transaction(*people):
        await advance_locked(deps, referral_id, deps.clock.now())


async def people_of(referral_id: UUID) -> Sequence[UUID]:
    """Everybody whom a referral may pay; who they are never changes."""
    found = await rows("SELECT invitee_id, inviter_id, upline_id FROM referral WHERE id = $1", [referral_id])
    return [member_id for member_id in found[0].values() if member_id is not None]


async def due_to_forget(deps: Deps, limit: int) -> Sequence[UUID]:
    """Ids of traces of devices and networks that are too old to keep."""
    found = await rows(
        "SELECT id FROM referral_trace WHERE seen_at < $1 LIMIT $2", [deps.clock.now() - TRACES_KEPT, limit]
    )
    return [row["id"] for row in found]


async def forget(deps: Deps, trace_id: UUID) -> None:
    """Forget one trace, unless its member came from there again meanwhile."""
    await changed(
        "DELETE FROM referral_trace WHERE id = $1 AND seen_at < $2", [trace_id, deps.clock.now() - TRACES_KEPT]
    )


# One referral


@dataclass(slots=True, kw_only=True)
class _Turn:
    """What one look at a referral knows."""

    deps: Deps
    now: datetime
    referral: Referral
    programme: InForce[ReferralProgramme]
    running: bool
    order_state: str | None
    left_fen: int
    scores: dict[Stage, RiskScore] = field(default_factory=dict)


async def advance_locked(deps: Deps, referral_id: UUID, now: datetime) -> None:
    """The same inside a transaction that has locked everybody."""
    referral = await Referral.get(id=referral_id)
    order = (await rows(_ORDER, [referral.order_id]))[0] if referral.order_id else None
    turn = _Turn(
        deps=deps,
        now=now,
        referral=referral,
        programme=await version("referral", referral.version_id),
        running=await is_running(),
        order_state=order["state"] if order else None,
        left_fen=order["left_fen"] if order and order["state"] != OrderState.REFUNDED else 0,
    )
    rewards = await ReferralReward.filter(referral_id=referral_id).order_by("id")
    for reward in rewards:
        await _advance_reward(turn, reward)
    waits = [at for at in (_wait(turn, reward) for reward in rewards) if at is not None]
    await changed("UPDATE referral SET due_at = $2 WHERE id = $1", [referral_id, min(waits, default=None)])


async def is_running() -> bool:
    """Whether the shop lets referral run: the latest word counts, and without one it runs."""
    found = await rows("SELECT running FROM referral_switch ORDER BY at DESC, id DESC LIMIT 1")
    return not found or bool(found[0]["running"])


async def _advance_reward(turn: _Turn, reward: ReferralReward) -> None:
    rules, referral = turn.programme.rules, turn.referral
    if reward.state == ReferralState.PENDING and overdue(rules, bound_at=referral.bound_at, now=turn.now):
        inputs = {"bound_at": referral.bound_at.isoformat(), "qualify_days": rules.qualify_days}
        await _reject(turn, reward, RejectReason.EXPIRED, inputs)
    if reward.stage == Stage.FIRST_ORDER and referral.order_id is not None:
        became = after_refund(rules, state=ReferralState(reward.state), paid_fen_left=turn.left_fen)
        inputs = {"order_id": str(referral.order_id), "left_fen": turn.left_fen, "min_order_fen": rules.min_order_fen}
        if became is ReferralState.REJECTED:
            await _reject(turn, reward, RejectReason.ORDER_REFUNDED, inputs)
        elif became is ReferralState.CLAWED_BACK:
            await _claw_back(turn, reward, inputs)
    if reward.state == ReferralState.QUALIFIED:
        await _hold(turn, reward)
    if reward.state == ReferralState.HELD and not reward.needs_review:
        await _decide(turn, reward)


async def _hold(turn: _Turn, reward: ReferralReward) -> None:
    stage = Stage(reward.stage)
    if stage not in turn.scores:
        turn.scores[stage] = await score(turn.referral, turn.programme.rules, stage, turn.now)
    assert reward.qualified_at is not None, "a qualified reward says since when"
    reward.held_until = held_until(turn.programme.rules, stage=stage, reached_at=reward.qualified_at)
    reward.risk_score = turn.scores[stage].score
    reward.evidence = evidence_of(turn.scores[stage])
    await _step(turn, reward, ReferralState.HELD, "held", {"held_until": reward.held_until.isoformat()})


async def _decide(turn: _Turn, reward: ReferralReward) -> None:
    assert reward.held_until is not None, "a held reward says until when"
    today = business_day(turn.now, turn.deps.zone)
    before = (await rows(_PAID_BEFORE, [reward.member_id, reward.side, today]))[0]
    decision = decide(
        turn.programme.rules,
        HeldReward(
            side=Side(reward.side),
            held_until=reward.held_until,
            risk=risk_of(reward),
            review=Review(reward.review),
            paid_today=before["today"],
            paid_ever=before["ever"],
        ),
        turn.now,
    )
    inputs = {"review": reward.review, "paid_today": before["today"], "paid_ever": before["ever"]}
    if decision.reason is not None:
        await _reject(turn, reward, decision.reason, inputs)
    elif decision.needs_review:
        reward.needs_review = True
        await _step(turn, reward, ReferralState.HELD, "needs review", inputs)
    elif decision.state is ReferralState.PAID and not _kept(turn, reward):
        reward.paid_at, reward.paid_on = turn.now, today
        await _step(turn, reward, ReferralState.PAID, "paid", {**inputs, **ledger.amounts(reward)})
        await ledger.give(turn.deps, ledger.REWARD, reward, turn.now)
        if _counts_friends(reward):
            await _unlock_goals(turn, reward.member_id)


def _kept(turn: _Turn, reward: ReferralReward) -> bool:
    """Whether it is not paid although its time has come: the shop stopped it all, or the order is being refunded."""
    refunding = reward.stage == Stage.FIRST_ORDER and turn.order_state == OrderState.REFUNDING
    return not turn.running or refunding


async def _reject(turn: _Turn, reward: ReferralReward, reason: RejectReason, inputs: Mapping[str, object]) -> None:
    reward.reason = reason.value
    reward.needs_review = False
    reward.ended_at = turn.now
    await _step(turn, reward, ReferralState.REJECTED, f"rejected: {reason}", inputs)


async def _claw_back(turn: _Turn, reward: ReferralReward, inputs: Mapping[str, object]) -> None:
    reward.reason = RejectReason.ORDER_REFUNDED.value
    reward.ended_at = turn.now
    await _step(turn, reward, ReferralState.CLAWED_BACK, "clawed back", {**inputs, **ledger.amounts(reward)})
    await ledger.take_back(turn.deps, ledger.REWARD, reward, turn.now)
    if _counts_friends(reward):
        await _lose_goals(turn, reward.member_id)


async def _step(
    turn: _Turn, reward: ReferralReward, state: ReferralState, outcome: str, inputs: Mapping[str, object]
) -> None:
    told = ReferralState(reward.state)
    assert state is told or state in TRANSITIONS[told], f"{told} never becomes {state}"
    reward.state = state.value
    await reward.save()
    known = {
        "referral_id": str(turn.referral.id),
        "stage": reward.stage,
        "side": reward.side,
        "from": told.value,
        "risk_score": reward.risk_score,
        "evidence": reward.evidence,
    }
    await decided(
        reward.member_id, "reward", reward.id, turn.programme.version_id, {**known, **inputs}, outcome, turn.now
    )


def _wait(turn: _Turn, reward: ReferralReward) -> datetime | None:
    """When time alone changes something for the reward."""
    if reward.state == ReferralState.PENDING:
        return overdue_at(turn.programme.rules, bound_at=turn.referral.bound_at)
    if reward.state != ReferralState.HELD or reward.needs_review or reward.held_until is None:
        return None
    return reward.held_until if reward.held_until > turn.now else turn.now + ASK_AGAIN


# Goals


def _counts_friends(reward: ReferralReward) -> bool:
    return reward.side == Side.INVITER and reward.stage == Stage.FIRST_ORDER


async def _friends(member_id: UUID) -> int:
    return int((await rows(_FRIENDS, [member_id]))[0]["friends"])


async def _unlock_goals(turn: _Turn, member_id: UUID) -> None:
    friends = await _friends(member_id)
    standing = await ReferralGoal.filter(member_id=member_id, lost_at=None)
    for goal in unlocked(turn.programme.rules, friends=friends, before={row.code for row in standing}):
        row = await ReferralGoal.create(
            id=new_id(turn.now),
            member_id=member_id,
            code=goal.code,
            friends=goal.friends,
            points=goal.points,
            growth=goal.growth,
            version_id=turn.programme.version_id,
            unlocked_at=turn.now,
        )
        await ledger.give(turn.deps, ledger.GOAL, row, turn.now)
        await _goal_decided(turn, row, friends, "unlocked")


async def _lose_goals(turn: _Turn, member_id: UUID) -> None:
    friends = await _friends(member_id)
    for row in await ReferralGoal.filter(member_id=member_id, lost_at=None):
        # Each goal is judged by the version that unlocked it.
        programme: InForce[ReferralProgramme] = await version("referral", row.version_id)
        if lost(programme.rules, friends=friends, before={row.code}):
            row.lost_at = turn.now
            await row.save(update_fields=["lost_at"])
            await ledger.take_back(turn.deps, ledger.GOAL, row, turn.now)
            await _goal_decided(turn, row, friends, "lost")


async def _goal_decided(turn: _Turn, row: ReferralGoal, friends: int, outcome: str) -> None:
    inputs = {"goal": row.code, "needed": row.friends, "friends": friends, **ledger.amounts(row)}
    await decided(row.member_id, "goal", row.id, row.version_id, inputs, outcome, turn.now)


# Risk, as a reward keeps it


def evidence_of(risk: RiskScore) -> list[dict[str, str | int]]:
    """The evidence as JSON values."""
    return [{"signal": one.signal.value, "weight": one.weight, "figure": one.figure} for one in risk.evidence]


def risk_of(reward: ReferralReward) -> RiskScore:
    """The score that a reward was held with, and its evidence; nothing before that."""
    return RiskScore(
        score=reward.risk_score or 0,
        evidence=tuple(
            Evidence(signal=RiskSignal(one["signal"]), weight=one["weight"], figure=one["figure"])
            for one in reward.evidence or ()
        ),
    )
