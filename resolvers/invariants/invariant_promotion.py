"""What promotions promise: their shares of orders, and the quota that these take."""

from resolvers.invariants.invariant import Invariant

PROMOTIONS = (
    Invariant(
        name="order_promotions",
        promise="what promotions of the whole order take off an order and each of its lines adds up, and what those of "
        "single pieces take off is within the discount",
        offenders="""
            SELECT o.id, NULL::int AS position, o.promotion_fen, coalesce(taken.wide, 0) AS taken
            FROM shop_order o LEFT JOIN (
                SELECT order_id, sum(discount_fen) FILTER (WHERE NOT of_pieces) AS wide FROM order_promotion GROUP BY 1
            ) taken ON taken.order_id = o.id WHERE o.promotion_fen <> coalesce(taken.wide, 0)
            UNION ALL
            SELECT line.order_id, line.position, line.promotion_fen, coalesce(shared.wide, 0)
            FROM order_line line LEFT JOIN (
                SELECT order_id, place - 1 AS position, sum(fen::bigint) FILTER (WHERE NOT of_pieces) AS wide,
                    sum(fen::bigint) FILTER (WHERE of_pieces) AS pieces
                FROM order_promotion, jsonb_array_elements_text(shares) WITH ORDINALITY AS share(fen, place)
                GROUP BY 1, 2
            ) shared ON shared.order_id = line.order_id AND shared.position = line.position
            WHERE line.promotion_fen <> coalesce(shared.wide, 0) OR line.discount_fen < coalesce(shared.pieces, 0)
        """,
    ),
    Invariant(
        name="promotions_of_orders",
        promise="what an order took of a promotion is held while it is open, spent while it is paid, and free after; "
        "a kept price that is over holds nothing that an order has",
        offenders="""
            SELECT used.order_id, used.promotion_id, o.state, hold.state AS hold_state FROM order_promotion used
            JOIN shop_order o ON o.id = used.order_id
            LEFT JOIN promotion_hold hold ON hold.order_id = used.order_id AND hold.promotion_id = used.promotion_id
                AND hold.state IN ('pending', 'posted')
            WHERE hold.state IS DISTINCT FROM CASE WHEN o.state IN ('unpaid', 'closing') THEN 'pending'
                WHEN o.state IN ('paid', 'refunding') THEN 'posted' END
               OR (hold.uses, hold.discount_fen) <> (used.uses, used.discount_fen)
            UNION ALL
            SELECT hold.order_id, hold.promotion_id, quote.state, hold.state FROM promotion_hold hold
            LEFT JOIN order_promotion used ON used.order_id = hold.order_id AND used.promotion_id = hold.promotion_id
            LEFT JOIN order_quote quote ON quote.id = hold.quote_id
            WHERE hold.state IN ('pending', 'posted')
              AND CASE WHEN hold.order_id IS NULL THEN quote.state <> 'pending' ELSE used.id IS NULL END
        """,
    ),
    Invariant(
        name="promotion_quota",
        promise="what a promotion counts as used and spent = what is held and posted of it",
        offenders="""
            SELECT quota.promotion_id, quota.used_count, coalesce(hold.uses, 0) AS uses, quota.spent_fen,
                coalesce(hold.fen, 0) AS fen
            FROM promotion_quota quota LEFT JOIN (
                SELECT promotion_id, sum(uses) AS uses, sum(discount_fen) AS fen FROM promotion_hold
                WHERE state IN ('pending', 'posted') GROUP BY 1
            ) hold USING (promotion_id)
            WHERE (quota.used_count, quota.spent_fen) <> (coalesce(hold.uses, 0), coalesce(hold.fen, 0))
        """,
    ),
)
