"""What group-buys promise: never one too many, and an end for everybody."""

from resolvers.invariants.invariant import Invariant

GROUP_BUYS = (
    Invariant(
        name="group_teams",
        promise="a team's taken and held seats = its seats, never more than its size; who leads it has paid for a seat "
        "in it",
        offenders="""
            SELECT team.id, team.state, team.size, team.joined_count, team.held_count, seat.joined, seat.held,
                seat.leads
            FROM group_team team LEFT JOIN (
                SELECT seat.team_id, count(*) FILTER (WHERE seat.state IN ('posted', 'returned')) AS joined,
                    count(*) FILTER (WHERE seat.state = 'pending') AS held,
                    count(*) FILTER (WHERE seat.state IN ('posted', 'returned') AND seat.member_id = led.leader_id)
                        AS leads
                FROM group_seat seat JOIN group_team led ON led.id = seat.team_id GROUP BY 1
            ) seat ON seat.team_id = team.id
            WHERE (team.joined_count, team.held_count) <> (coalesce(seat.joined, 0), coalesce(seat.held, 0))
               OR team.joined_count + team.held_count > team.size
               OR (team.leader_id IS NULL) <> (team.joined_count = 0)
               OR (team.leader_id IS NOT NULL AND coalesce(seat.leads, 0) = 0)
        """,
    ),
    Invariant(
        name="group_orders",
        promise="every group-buy order has one seat of its member, which stands as the order does; goods are on their "
        "way only once the team is complete",
        offenders="""
            SELECT o.id, o.state, o.fulfilment_state, seat.state AS seat, team.state AS team FROM shop_order o
            LEFT JOIN group_seat seat ON seat.order_id = o.id LEFT JOIN group_team team ON team.id = seat.team_id
            WHERE (o.kind = 'group') <> (seat.id IS NOT NULL) OR (seat.id IS NOT NULL AND (
                seat.member_id <> o.member_id OR (o.fulfilment_state <> 'none' AND team.state <> 'complete') OR
                NOT CASE WHEN o.state IN ('unpaid', 'closing') THEN seat.state = 'pending'
                    WHEN o.state = 'closed' THEN seat.state = 'released'
                    WHEN o.state = 'paid' THEN seat.state = 'posted'
                    WHEN o.state = 'refunding' THEN seat.state IN ('posted', 'left')
                    ELSE seat.state IN ('left', 'returned') END))
            UNION ALL
            SELECT order_id, 'seats', count(*)::text, NULL, NULL FROM group_seat GROUP BY 1 HAVING count(*) > 1
        """,
    ),
    Invariant(
        name="group_ends",
        promise="of a team that has ended every paid order is sent or goes back, or is about to be",
        offenders="""
            SELECT seat.order_id, team.id, team.state, o.state AS order_state, o.fulfilment_state FROM group_seat seat
            JOIN group_team team ON team.id = seat.team_id JOIN shop_order o ON o.id = seat.order_id
            WHERE team.state IN ('complete', 'failed') AND o.state = 'paid' AND seat.due_at IS NULL
              AND (team.state = 'failed' OR o.fulfilment_state = 'none')
               OR (seat.due_at IS NOT NULL AND (team.state NOT IN ('complete', 'failed') OR seat.state <> 'posted'))
        """,
    ),
)
