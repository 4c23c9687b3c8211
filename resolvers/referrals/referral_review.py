"""What operators do about referral: look at what is suspicious, decide it, and stop or start it all."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from loyalty.referrals.referral import (
    ReferralRewardNotFound,
    ReferralState,
    RejectReason,
    Review,
    admit_note,
    admit_review,
)
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.referrals.referral import Referral, ReferralReward, ReferralSwitch
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.referrals.referral import decided
from resolvers.referrals.referral_reward import advance_locked, people_of
from resolvers.replay import remember, replayed

OLDEST = Keyset("referral_review.oldest", (Key("id", UUID, descending=False),))


async def queue(deps: Deps, *, page: Page) -> Slice[ReferralReward]:
    """The rewards that wait for a person, the longest waiting first."""
    return await fetch(ReferralReward.filter(needs_review=True), page)


async def by_ids(deps: Deps, referral_ids: Sequence[UUID]) -> Mapping[UUID, Referral]:
    """These referrals, for loaders."""
    return {row.id: row for row in await Referral.filter(id__in=referral_ids)}


@retried
async def approve(deps: Deps, *, operator_id: UUID, reward_id: UUID, note: str, idempotency_key: str) -> ReferralReward:
    """Let a suspicious reward pass: it is paid as soon as its time has come, which may be at once.

    Raises:
        ReferralRewardNotFound, ReferralReviewRefused: nothing waits for a review there.
        ReferralNoteInvalid: nobody says why.
        KeyInvalid, KeyReused: the idempotency key.
    """
    return await _review(
        deps, operator_id=operator_id, reward_id=reward_id, reason=None, note=note, idempotency_key=idempotency_key
    )


@retried
async def reject(
    deps: Deps, *, operator_id: UUID, reward_id: UUID, reason: RejectReason, note: str, idempotency_key: str
) -> ReferralReward:
    """Reject a suspicious reward for good.

    Raises:
        ReferralRewardNotFound, ReferralReviewRefused: nothing waits for a review there.
        ReferralNoteInvalid: nobody says why.
        KeyInvalid, KeyReused: the idempotency key.
    """
    return await _review(
        deps, operator_id=operator_id, reward_id=reward_id, reason=reason, note=note, idempotency_key=idempotency_key
    )


async def _review(
    deps: Deps, *, operator_id: UUID, reward_id: UUID, reason: RejectReason | None, note: str, idempotency_key: str
) -> ReferralReward:
    now = deps.clock.now()
    found = await rows("SELECT referral_id FROM referral_reward WHERE id = $1", [reward_id])
    if not found:
        raise ReferralRewardNotFound
    referral_id: UUID = found[0]["referral_id"]
    operation = "referralRewardApprove" if reason is None else "referralRewardReject"
    content = {"reward_id": str(reward_id), "reason": reason, "note": note}
    async with transaction(*await people_of(referral_id)):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation=operation, content=content)
        reward = await ReferralReward.get(id=reward_id)
        if before is not None:
            return reward
        why = admit_note(note)
        admit_review(ReferralState(reward.state), needs_review=reward.needs_review)
        await _decide(reward, operator_id, reason, why, now)
        await remember(operator_id, key=idempotency_key, operation=operation, content=content, result={}, now=now)
        await advance_locked(deps, referral_id, now)
        return await ReferralReward.get(id=reward_id)


async def _decide(
    reward: ReferralReward, operator_id: UUID, reason: RejectReason | None, note: str, now: datetime
) -> None:
    reward.needs_review = False
    reward.reviewed_by_id = operator_id
    reward.reviewed_at = now
    reward.review_note = note
    if reason is None:
        reward.review = Review.APPROVED.value
    else:
        reward.state = ReferralState.REJECTED.value
        reward.reason = reason.value
        reward.ended_at = now
    await reward.save()
    outcome = "approved" if reason is None else f"rejected: {reason}"
    referral = await Referral.get(id=reward.referral_id)
    inputs = {
        "referral_id": str(referral.id),
        "stage": reward.stage,
        "side": reward.side,
        "risk_score": reward.risk_score,
        "evidence": reward.evidence,
        "operator_id": str(operator_id),
        "note": note,
    }
    await decided(reward.member_id, "reward", reward.id, referral.version_id, inputs, outcome, now)
    await record(
        operator_id,
        "referral_reward.approve" if reason is None else "referral_reward.reject",
        "referral_reward",
        reward.id,
        {"state": ReferralState.HELD.value},
        {"state": reward.state, "reason": reward.reason, "note": note},
        now,
    )


# Stopping


async def latest_switch() -> ReferralSwitch | None:
    """The last time that somebody stopped referral or let it go on; None if nobody ever did."""
    return await ReferralSwitch.all().order_by("-at", "-id").first()


@retried
async def switch(deps: Deps, *, operator_id: UUID, running: bool, reason: str, idempotency_key: str) -> ReferralSwitch:
    """Stop referral at once, or let it go on: what was kept by the stop is paid within minutes.

    Raises:
        ReferralNoteInvalid: nobody says why.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"running": running, "reason": reason}
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="referralSwitch", content=content)
        if before is not None:
            return await ReferralSwitch.get(id=UUID(before["switch_id"]))
        why = admit_note(reason)
        told = await latest_switch()
        made = await ReferralSwitch.create(id=new_id(now), running=running, reason=why, operator_id=operator_id, at=now)
        await record(
            operator_id,
            "referral.switch",
            "referral",
            made.id,
            {"running": told.running if told else True},
            {"running": running, "reason": why},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="referralSwitch",
            content=content,
            result={"switch_id": str(made.id)},
            now=now,
        )
        return made
