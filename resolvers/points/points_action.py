"""Points for deeds: each deed is rewarded once, as often as the programme's limits and caps allow."""

from datetime import datetime, tzinfo
from uuid import UUID

from loyalty.people.member import MemberNotFound
from loyalty.points.points import EntryKind
from loyalty.points.points_action import admit_action, admit_cause
from loyalty.shop_time import business_day
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.people.member import Member
from models.points.points_action import PointsAction
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.points import points
from resolvers.programme import points_programme
from resolvers.replay import remember, replayed


async def reward_action(member_id: UUID, *, code: str, cause: str, now: datetime, zone: tzinfo) -> PointsAction:
    """Reward a deed, in the caller's transaction with the member locked. A deed rewarded before is given as it is.

    The points are cut to what the caps leave, perhaps to nothing; the deed counts all the same.

    Raises, in this order: ActionCauseInvalid, ActionNotRewarded, ActionLimitReached.
    """
    assert in_transaction(), "limits are counted under the member's lock"
    admit_cause(cause)
    before = await PointsAction.get_or_none(member_id=member_id, code=code, cause=cause)
    if before is not None:
        return before
    day = business_day(now, zone)
    done = await rows(
        "SELECT count(*)::int AS ever, (count(*) FILTER (WHERE business_day = $3))::int AS today "
        "FROM points_action WHERE member_id = $1 AND code = $2",
        [member_id, code, day],
    )
    programme = await points_programme(now)
    wanted = admit_action(programme.rules, code, times_today=done[0]["today"], times_ever=done[0]["ever"])
    earned = await points.within_caps(member_id, programme.rules, wanted, now=now, zone=zone)
    deed = await PointsAction.create(
        id=new_id(now),
        member_id=member_id,
        code=code,
        cause=cause,
        business_day=day,
        points=earned,
        version_id=programme.version_id,
        at=now,
    )
    if earned:
        await points.credit(
            member_id,
            amount=earned,
            kind=EntryKind.EARN,
            cause_kind="action",
            cause_id=deed.id,
            key=f"action:{deed.id}",
            now=now,
            zone=zone,
            programme=programme,
            note=code,
        )
    return deed


@retried
async def reward(
    deps: Deps, *, operator_id: UUID, member_id: UUID, action_code: str, cause: str, idempotency_key: str
) -> PointsAction:
    """Reward a deed that the shop observed outside the store, such as a review or a visit; ``cause`` tells it apart.

    The same deed under another key is the same reward.

    Raises:
        MemberNotFound: there is no such member.
        ActionCauseInvalid, ActionNotRewarded, ActionLimitReached: why the deed earns nothing.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"member_id": str(member_id), "action": action_code, "cause": cause}
    if not await Member.exists(id=member_id):
        raise MemberNotFound()
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="pointsActionReward", content=content)
        if before is not None:
            return await PointsAction.get(id=UUID(before["action_id"]))
        deed = await reward_action(member_id, code=action_code, cause=cause, now=now, zone=deps.zone)
        await record(
            operator_id,
            "points.action_reward",
            "member",
            member_id,
            None,
            {"action": action_code, "cause": cause, "points": deed.points, "action_id": str(deed.id)},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="pointsActionReward",
            content=content,
            result={"action_id": str(deed.id)},
            now=now,
        )
        return deed
