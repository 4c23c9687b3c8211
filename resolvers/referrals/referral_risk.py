"""How suspicious a referral is, by what the store knows of the two people."""

from datetime import datetime, timedelta

from loyalty.referrals.referral_programme import ReferralProgramme, Stage
from loyalty.referrals.referral_risk import RiskFacts, RiskScore, assess
from models.engine import rows
from models.referrals.referral import Referral

TRACES_KEPT = timedelta(days=90)

_FACTS = """
WITH shared AS (
    SELECT DISTINCT mine.kind FROM referral_trace mine
    JOIN referral_trace theirs ON theirs.kind = mine.kind AND theirs.mark = mine.mark
    WHERE mine.member_id = $1 AND theirs.member_id = $2 AND least(mine.seen_at, theirs.seen_at) >= $4
), payer AS (
    SELECT o.member_id, attempt.openid FROM shop_order o
    JOIN payment ON payment.order_id = o.id JOIN payment_attempt attempt ON attempt.id = payment.attempt_id
    WHERE o.member_id IN ($1, $2)
), friend AS (
    SELECT state, reason FROM referral_reward
    WHERE member_id = $1 AND side = 'inviter' AND stage = 'first_order'
    AND (state IN ('paid', 'clawed_back') OR reason = 'order_refunded')
)
SELECT EXISTS (SELECT 1 FROM shared WHERE kind = 'device') AS same_device,
    EXISTS (SELECT 1 FROM shared WHERE kind = 'network') AS same_network,
    EXISTS (
        SELECT 1 FROM payer mine JOIN payer theirs ON theirs.openid = mine.openid
        WHERE mine.member_id = $1 AND theirs.member_id = $2
    ) AS same_payer,
    (
        SELECT count(*) FROM referral
        WHERE inviter_id = $1 AND bound_at > $3::timestamptz - interval '1 hour' AND bound_at <= $3
    ) AS bindings_last_hour,
    (SELECT count(*) FROM friend) AS friends,
    (SELECT count(*) FROM friend WHERE state <> 'paid') AS friends_refunded,
    (SELECT created_at FROM shop_order WHERE id = $5) AS ordered_at
"""


async def score(referral: Referral, programme: ReferralProgramme, stage: Stage, now: datetime) -> RiskScore:
    """The score of a referral at the moment when one of its rewards qualifies, with its evidence."""
    found = (
        await rows(
            _FACTS,
            [
                referral.inviter_id,
                referral.invitee_id,
                referral.bound_at,
                now - TRACES_KEPT,
                referral.order_id if stage is Stage.FIRST_ORDER else None,
            ],
        )
    )[0]
    ordered_at: datetime | None = found["ordered_at"]
    return assess(
        RiskFacts(
            same_payer=found["same_payer"],
            same_device=found["same_device"],
            same_network=found["same_network"],
            bindings_last_hour=found["bindings_last_hour"],
            seconds_to_order=int((ordered_at - referral.bound_at).total_seconds()) if ordered_at else None,
            friends=found["friends"],
            friends_refunded=found["friends_refunded"],
        ),
        programme.weights,
    )
