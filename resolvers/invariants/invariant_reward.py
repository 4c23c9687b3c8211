"""What check-ins, deeds and invitations promise: each gave what it says."""

from resolvers.invariants.invariant import Invariant

REWARDS = (
    Invariant(
        name="check_in_counts",
        promise="a member's check-ins count 1, 2, 3 … by day, and a streak goes on over days that protection covered",
        offenders="""
            SELECT member_id, business_day, total_days, place, streak_days, streak_before FROM (
                SELECT member_id, business_day, total_days, streak_days, row_number() OVER walk AS place,
                    lag(streak_days) OVER walk AS streak_before, lag(business_day) OVER walk AS day_before
                FROM check_in WINDOW walk AS (PARTITION BY member_id ORDER BY business_day)
            ) walked
            WHERE total_days <> place OR streak_days <> CASE WHEN business_day - day_before - 1 = (
                SELECT count(*) FROM protected_day covered WHERE covered.member_id = walked.member_id
                    AND covered.business_day > day_before AND covered.business_day < walked.business_day
            ) THEN streak_before + 1 ELSE 1 END
        """,
    ),
    Invariant(
        name="check_in_paid",
        promise="a check-in gave the points and the growth value that it says, and cost its price",
        offenders="""
            SELECT coalesce(day.id, points.cause_id, growth.cause_id) AS id, day.points, points.given, day.price_points,
                points.price, day.growth, growth.given AS growth_given
            FROM check_in day
            FULL JOIN (
                SELECT cause_id, member_id, coalesce(sum(amount) FILTER (WHERE kind = 'earn'), 0) AS given,
                    coalesce(-sum(amount) FILTER (WHERE kind = 'spend'), 0) AS price
                FROM points_entry WHERE cause_kind = 'check_in' GROUP BY 1, 2
            ) points ON points.cause_id = day.id AND points.member_id = day.member_id
            FULL JOIN (
                SELECT cause_id, member_id, sum(amount) AS given FROM growth_entry
                WHERE cause_kind = 'check_in' GROUP BY 1, 2
            ) growth ON growth.cause_id = day.id AND growth.member_id = day.member_id
            WHERE (day.points, day.price_points, day.growth) IS DISTINCT FROM
                (coalesce(points.given, 0), coalesce(points.price, 0), coalesce(growth.given, 0))
        """,
    ),
    Invariant(
        name="points_actions",
        promise="a rewarded deed gave the points that it says",
        offenders="""
            SELECT coalesce(deed.id, entry.cause_id) AS id, deed.code, deed.points, entry.given FROM points_action deed
            FULL JOIN (
                SELECT cause_id, member_id, sum(amount) AS given FROM points_entry
                WHERE cause_kind = 'action' AND kind = 'earn' GROUP BY 1, 2
            ) entry ON entry.cause_id = deed.id AND entry.member_id = deed.member_id
            WHERE deed.points IS DISTINCT FROM coalesce(entry.given, 0)
        """,
    ),
    Invariant(
        name="referral_rewards",
        promise="a referral reward or goal that was paid gave what it says, one that was taken back took it back, "
        "any other gave nothing",
        offenders="""
            SELECT coalesce(reward.id, points.cause_id, growth.cause_id) AS id, reward.state, reward.points,
                points.given AS points_given, points.taken AS points_taken, reward.growth, growth.given AS growth_given
            FROM (
                SELECT id, member_id, points, growth, state, paid_at IS NOT NULL AS was_paid,
                    state = 'clawed_back' AS was_taken FROM referral_reward
                UNION ALL
                SELECT id, member_id, points, growth, 'unlocked', true, lost_at IS NOT NULL FROM referral_goal
            ) reward
            FULL JOIN (
                SELECT cause_id, member_id, coalesce(sum(amount) FILTER (WHERE kind = 'earn'), 0) AS given,
                    coalesce(sum(debt_change - amount) FILTER (WHERE kind = 'earn_reversal'), 0) AS taken
                FROM points_entry WHERE cause_kind IN ('referral', 'referral_goal') GROUP BY 1, 2
            ) points ON points.cause_id = reward.id AND points.member_id = reward.member_id
            FULL JOIN (
                SELECT cause_id, member_id, sum(amount) FILTER (WHERE kind = 'referral') AS given FROM growth_entry
                WHERE cause_kind IN ('referral', 'referral_goal') GROUP BY 1, 2
            ) growth ON growth.cause_id = reward.id AND growth.member_id = reward.member_id
            WHERE coalesce(points.given, 0) IS DISTINCT FROM CASE WHEN reward.was_paid THEN reward.points ELSE 0 END
               OR coalesce(points.taken, 0) IS DISTINCT FROM CASE WHEN reward.was_taken THEN reward.points ELSE 0 END
               OR coalesce(growth.given, 0) IS DISTINCT FROM CASE WHEN reward.was_paid THEN reward.growth ELSE 0 END
        """,
    ),
    Invariant(
        name="referral_goals",
        promise="who has an unlocked goal has so many friends whose first orders count",
        offenders="""
            SELECT goal.id, goal.member_id, goal.friends, coalesce(friend.total, 0) AS friends_counted
            FROM referral_goal goal
            LEFT JOIN (SELECT member_id, count(*) AS total FROM referral_reward
                       WHERE side = 'inviter' AND stage = 'first_order' AND state = 'paid' GROUP BY 1) friend
                USING (member_id)
            WHERE goal.lost_at IS NULL AND coalesce(friend.total, 0) < goal.friends
        """,
    ),
)
