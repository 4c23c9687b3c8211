"""What payments and refunds promise: what came in, and what goes back, in money and in pieces."""

from resolvers.invariants.invariant import Invariant

MONEY = (
    Invariant(
        name="money",
        promise="a paid order with something to pay has one payment of that amount; any other payment has its refund",
        offenders="""
            SELECT o.id, o.state, o.payable_fen, payment.total_fen FROM shop_order o
            LEFT JOIN payment ON payment.order_id = o.id AND payment.outcome IN ('settled', 'revived')
            WHERE (o.state IN ('paid', 'refunding', 'refunded') AND o.payable_fen > 0
                   AND payment.total_fen IS DISTINCT FROM o.payable_fen)
               OR (o.state IN ('unpaid', 'closing', 'closed') AND payment.id IS NOT NULL)
            UNION ALL
            SELECT payment.order_id, payment.outcome, payment.total_fen, refund.amount_fen FROM payment
            LEFT JOIN refund ON refund.payment_id = payment.id
            WHERE payment.outcome IN ('late', 'second', 'refused')
              AND refund.amount_fen IS DISTINCT FROM payment.total_fen
        """,
    ),
    Invariant(
        name="refunds",
        promise="what goes back of an order = its parts = the refunds that WeChat confirmed, never more than was paid",
        offenders="""
            SELECT o.id, o.payable_fen, o.refunded_fen, o.refunding_fen, part.done, part.requested, refund.succeeded
            FROM shop_order o
            LEFT JOIN (
                SELECT order_id, sum(amount_fen) FILTER (WHERE state = 'done') AS done,
                    sum(amount_fen) FILTER (WHERE state = 'requested') AS requested FROM order_refund GROUP BY 1
            ) part ON part.order_id = o.id
            LEFT JOIN (
                SELECT order_id, sum(amount_fen) AS succeeded FROM refund
                WHERE order_refund_id IS NOT NULL AND state = 'succeeded' GROUP BY 1
            ) refund ON refund.order_id = o.id
            WHERE (o.refunded_fen, o.refunding_fen) IS DISTINCT FROM
                    (coalesce(part.done, 0), coalesce(part.requested, 0))
               OR o.refunded_fen <> coalesce(refund.succeeded, 0)
               OR o.refunded_fen + o.refunding_fen > o.payable_fen
        """,
    ),
    Invariant(
        name="refund_pieces",
        promise="a line's pieces that went back, are on their way or are asked for = sums over its refunds and open "
        "requests, never more than were ordered; an order is refunded when nothing of it is left",
        offenders="""
            SELECT line.order_id, line.id, line.quantity, line.refunded_count, line.refunding_count,
                line.claimed_count, o.state
            FROM order_line line JOIN shop_order o ON o.id = line.order_id
            LEFT JOIN (
                SELECT gone.line_id, sum(gone.quantity) FILTER (WHERE part.state = 'done') AS done,
                    sum(gone.sent_count) FILTER (WHERE part.state = 'done') AS returned,
                    sum(gone.quantity) FILTER (WHERE part.state = 'requested') AS requested
                FROM order_refund_line gone JOIN order_refund part ON part.id = gone.order_refund_id GROUP BY 1
            ) gone ON gone.line_id = line.id
            LEFT JOIN (
                SELECT asked.line_id, sum(asked.quantity) AS open FROM after_sale_line asked
                JOIN after_sale request ON request.id = asked.after_sale_id
                WHERE request.state IN ('requested', 'approved', 'returning', 'received') GROUP BY 1
            ) asked ON asked.line_id = line.id
            WHERE (line.refunded_count, line.returned_count, line.refunding_count, line.claimed_count)
                IS DISTINCT FROM (coalesce(gone.done, 0), coalesce(gone.returned, 0), coalesce(gone.requested, 0),
                    coalesce(asked.open, 0))
               OR line.refunded_count + line.refunding_count + line.claimed_count > line.quantity
               OR (o.state = 'refunded' AND line.refunded_count <> line.quantity)
        """,
    ),
    Invariant(
        name="refund_parts",
        promise="a part that went back = the sums of its lines and shipping, paid back by one refund of that amount; a "
        "request that is refunded has its part",
        offenders="""
            SELECT part.id, part.order_id, part.amount_fen, line.money, refund.amount_fen AS refund_fen
            FROM order_refund part
            LEFT JOIN (
                SELECT order_refund_id, sum(money_fen) AS money, sum(points_used) AS points
                FROM order_refund_line GROUP BY 1
            ) line ON line.order_refund_id = part.id
            LEFT JOIN refund ON refund.order_refund_id = part.id AND refund.state <> 'closed'
            WHERE (part.amount_fen, part.points_used) IS DISTINCT FROM (line.money + part.shipping_fen, line.points)
               OR (refund.id IS NOT NULL AND refund.amount_fen <> part.amount_fen)
               OR (part.state = 'done' AND part.amount_fen > 0 AND refund.state IS DISTINCT FROM 'succeeded')
            UNION ALL
            SELECT request.id, request.order_id, part.amount_fen, NULL, NULL FROM after_sale request
            JOIN order_refund part ON part.id = request.order_refund_id
            WHERE part.order_id <> request.order_id
               OR (request.state = 'refunded') <> (part.state = 'done')
        """,
    ),
)
