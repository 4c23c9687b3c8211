"""What orders promise: their sums, what they hold, and where their goods are."""

from resolvers.invariants.invariant import Invariant

ORDERS = (
    Invariant(
        name="order_lines",
        promise="an order's amounts = sums of its lines' amounts, and the shipping fee less its coupon on top",
        offenders="""
            SELECT o.id FROM shop_order o LEFT JOIN order_line line ON line.order_id = o.id
            GROUP BY o.id
            HAVING (o.goods_fen, o.discount_fen, o.promotion_fen, o.coupon_fen - o.shipping_coupon_fen, o.points_fen,
                    o.payable_fen - o.shipping_fen + o.shipping_coupon_fen) IS DISTINCT FROM
                (sum(line.goods_fen), sum(line.discount_fen), sum(line.promotion_fen), sum(line.coupon_fen),
                 sum(line.points_fen), sum(line.payable_fen))
        """,
    ),
    Invariant(
        name="order_shipping",
        promise="an order's shipping fee = what its templates charge less what was waived, and what costs a fee has an "
        "address",
        offenders="""
            SELECT o.id, o.shipping_fen, shipping.fee_fen, shipping.full_fen FROM shop_order o
            LEFT JOIN order_shipping shipping ON shipping.order_id = o.id
            WHERE o.shipping_fen <> coalesce(shipping.fee_fen, 0)
                OR (shipping.waived_by IS NULL AND shipping.fee_fen <> shipping.full_fen)
                OR shipping.full_fen <> (SELECT coalesce(sum((part->>'fee_fen')::bigint), 0)
                                         FROM jsonb_array_elements(shipping.parts) part)
                OR (shipping.id IS NOT NULL
                    AND NOT EXISTS (SELECT FROM order_address there WHERE there.order_id = o.id))
        """,
    ),
    Invariant(
        name="order_points",
        promise="points of an open order are held, of a paid one spent, of a closed one and of refunded pieces given "
        "back",
        offenders="""
            SELECT o.id, o.state, o.points_used, coalesce(hold.total, 0) AS held, coalesce(spent.total, 0) AS spent
            FROM shop_order o
            LEFT JOIN (SELECT cause_id, sum(amount) AS total FROM points_hold
                       WHERE cause_kind = 'order' AND state = 'pending' GROUP BY 1) hold ON hold.cause_id = o.id
            LEFT JOIN (SELECT cause_id, -sum(amount) AS total FROM points_entry
                       WHERE cause_kind = 'order' AND kind IN ('spend', 'spend_reversal') GROUP BY 1) spent
                ON spent.cause_id = o.id
            LEFT JOIN (SELECT order_id, sum(points_used) AS total FROM order_refund
                       WHERE state = 'done' GROUP BY 1) gone ON gone.order_id = o.id
            WHERE (coalesce(hold.total, 0), coalesce(spent.total, 0)) IS DISTINCT FROM
                CASE WHEN o.state IN ('unpaid', 'closing') THEN (o.points_used::numeric, 0::numeric)
                     WHEN o.state IN ('paid', 'refunding') THEN (0::numeric, o.points_used - coalesce(gone.total, 0))
                     ELSE (0::numeric, 0::numeric) END
        """,
    ),
    Invariant(
        name="order_coupons",
        promise="what coupons took off an order, off its shipping and off each line = sum of its coupons' shares",
        offenders="""
            SELECT o.id, o.coupon_fen, coalesce(taken.total, 0) AS coupons FROM shop_order o
            LEFT JOIN (
                SELECT order_id, sum(discount_fen) AS total, sum(shipping_fen) AS shipping FROM order_coupon GROUP BY 1
            ) taken ON taken.order_id = o.id
            WHERE o.coupon_fen <> coalesce(taken.total, 0) OR o.shipping_coupon_fen <> coalesce(taken.shipping, 0)
            UNION ALL
            SELECT line.order_id, line.coupon_fen, coalesce(share.total, 0) FROM order_line line
            LEFT JOIN (
                SELECT order_id, place - 1 AS position, sum(fen::bigint) AS total
                FROM order_coupon, jsonb_array_elements_text(shares) WITH ORDINALITY AS share(fen, place) GROUP BY 1, 2
            ) share ON share.order_id = line.order_id AND share.position = line.position
            WHERE line.coupon_fen <> coalesce(share.total, 0)
        """,
    ),
    Invariant(
        name="stock_left",
        promise="what is left of a SKU = sum of its stock moves",
        offenders="""
            SELECT sku.id, sku.stock_left, coalesce(entry.total, 0) AS entries FROM sku
            LEFT JOIN (SELECT sku_id, sum(amount) AS total FROM stock_entry GROUP BY 1) entry ON entry.sku_id = sku.id
            WHERE sku.stock_left <> coalesce(entry.total, 0)
        """,
    ),
    Invariant(
        name="stock_of_orders",
        promise="an order that is not closed holds its quantities, but for the pieces that came back with refunds; "
        "a closed one holds nothing",
        offenders="""
            SELECT o.id, line.sku_id, o.state, line.quantity, coalesce(moved.total, 0) AS moved, gone.pieces
            FROM order_line line JOIN shop_order o ON o.id = line.order_id
            LEFT JOIN (
                SELECT gone.line_id, sum(gone.restocked_count) AS pieces FROM order_refund_line gone
                JOIN order_refund part ON part.id = gone.order_refund_id WHERE part.state = 'done' GROUP BY 1
            ) gone ON gone.line_id = line.id
            LEFT JOIN (
                SELECT cause.order_id, entry.sku_id, sum(entry.amount) AS total FROM stock_entry entry
                JOIN (SELECT id AS cause_id, id AS order_id FROM shop_order
                      UNION ALL SELECT id, order_id FROM payment
                      UNION ALL SELECT id, order_id FROM order_refund WHERE id <> order_id) cause USING (cause_id)
                GROUP BY 1, 2
            ) moved ON moved.order_id = o.id AND moved.sku_id = line.sku_id
            WHERE line.sku_id IS NOT NULL AND o.kind <> 'flash' AND
                coalesce(moved.total, 0) <>
                CASE WHEN o.state = 'closed' THEN 0 ELSE coalesce(gone.pieces, 0) - line.quantity END
        """,
    ),
    Invariant(
        name="price_history",
        promise="a SKU costs what the last line of its price history says; the lines are numbered 1, 2, 3 …",
        offenders="""
            SELECT sku.id, sku.price_fen, sku.member_price_fen, last.price_fen AS told, last.seq FROM sku LEFT JOIN (
                SELECT DISTINCT ON (sku_id) sku_id, seq, price_fen, member_price_fen,
                    count(*) OVER (PARTITION BY sku_id) AS many
                FROM price_change ORDER BY sku_id, seq DESC
            ) last ON last.sku_id = sku.id
            WHERE last.seq IS DISTINCT FROM last.many OR last.sku_id IS NULL
               OR (sku.price_fen, sku.member_price_fen) IS DISTINCT FROM (last.price_fen, last.member_price_fen)
        """,
    ),
    Invariant(
        name="address_default",
        promise="of a member's addresses one is the default",
        offenders="""
            SELECT member_id, count(*) AS addresses FROM address
            GROUP BY 1 HAVING count(*) FILTER (WHERE is_default) <> 1
        """,
    ),
    Invariant(
        name="parcels",
        promise="a line's sent pieces = sum of its parcels that stand, never more than were ordered",
        offenders="""
            SELECT line.order_id, line.id, line.quantity, line.shipped_count, coalesce(held.total, 0) AS in_parcels
            FROM order_line line LEFT JOIN (
                SELECT held.order_line_id, sum(held.quantity) AS total FROM parcel_line held
                JOIN parcel ON parcel.id = held.parcel_id WHERE parcel.voided_at IS NULL GROUP BY 1
            ) held ON held.order_line_id = line.id
            WHERE line.shipped_count <> coalesce(held.total, 0) OR line.shipped_count > line.quantity
        """,
    ),
    Invariant(
        name="fulfilment_states",
        promise="an order's goods stand where its pieces and parcels put them; nothing moves before it is paid",
        offenders="""
            SELECT o.id, o.state, o.fulfilment_state, line.sent, line.owed FROM shop_order o
            JOIN (SELECT order_id, sum(shipped_count) AS sent,
                      sum(greatest(quantity - refunded_count + returned_count - shipped_count, 0)) AS owed
                  FROM order_line GROUP BY 1) line ON line.order_id = o.id
            WHERE NOT CASE o.fulfilment_state
                    WHEN 'none' THEN line.sent = 0
                    WHEN 'to_ship' THEN line.sent = 0 AND line.owed > 0
                    WHEN 'partly_shipped' THEN line.sent > 0 AND line.owed > 0
                    WHEN 'shipped' THEN line.sent > 0 AND line.owed = 0
                    WHEN 'to_pick_up' THEN line.sent = 0 AND line.owed > 0 AND o.pick_up_point_id IS NOT NULL
                    ELSE line.sent > 0 OR o.pick_up_point_id IS NOT NULL
                END
               OR (o.fulfilment_state <> 'none' AND o.state IN ('unpaid', 'closing', 'closed'))
        """,
    ),
    Invariant(
        name="shipping_uploads",
        promise="whatever was sent or handed out of an order that cost money is told to WeChat, or is about to be",
        offenders="""
            SELECT o.id, o.fulfilment_state FROM shop_order o LEFT JOIN shipping_upload told ON told.order_id = o.id
            WHERE o.fulfilment_state IN ('partly_shipped', 'shipped', 'received') AND o.payable_fen > 0
              AND told.id IS NULL
        """,
    ),
)
