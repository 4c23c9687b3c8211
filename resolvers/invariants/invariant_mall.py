"""What the points mall promises: its stock, and the exchanges behind its orders."""

from resolvers.invariants.invariant import Invariant

MALL = (
    Invariant(
        name="mall_stock_left",
        promise="what is left of a mall item that counts its own stock = sum of its stock moves",
        offenders="""
            SELECT item.id, item.stock_left, coalesce(entry.total, 0) AS entries FROM mall_item item
            LEFT JOIN (SELECT item_id, sum(amount) AS total FROM mall_stock_entry GROUP BY 1) entry
                ON entry.item_id = item.id
            WHERE item.stock_left <> coalesce(entry.total, 0)
        """,
    ),
    Invariant(
        name="mall_exchanged",
        promise="a mall item's exchanged pieces and points = sums over its exchanges that were not given back",
        offenders="""
            SELECT item.id, item.exchanged_count, item.exchanged_points, taken.pieces, taken.points FROM mall_item item
            LEFT JOIN (
                SELECT exchange.item_id, sum(exchange.quantity) AS pieces, sum(exchange.points) AS points
                FROM mall_exchange exchange JOIN shop_order o ON o.id = exchange.order_id
                WHERE o.state NOT IN ('closed', 'refunded') GROUP BY 1
            ) taken ON taken.item_id = item.id
            WHERE (item.exchanged_count, item.exchanged_points) IS DISTINCT FROM
                (coalesce(taken.pieces, 0), coalesce(taken.points, 0))
        """,
    ),
    Invariant(
        name="mall_stock_of_orders",
        promise="an exchange that is open, paid or being refunded holds its pieces; a closed or refunded one nothing",
        offenders="""
            SELECT o.id, exchange.item_id, o.state, exchange.quantity, coalesce(moved.total, 0) AS moved
            FROM mall_exchange exchange JOIN shop_order o ON o.id = exchange.order_id
            JOIN mall_item item ON item.id = exchange.item_id
            LEFT JOIN (
                SELECT cause.order_id, sum(entry.amount) AS total FROM mall_stock_entry entry
                JOIN (SELECT id AS cause_id, id AS order_id FROM shop_order WHERE kind = 'mall'
                      UNION ALL SELECT id, order_id FROM payment) cause USING (cause_id)
                GROUP BY 1
            ) moved ON moved.order_id = o.id
            WHERE item.stock_left IS NOT NULL AND
                coalesce(moved.total, 0) <>
                    CASE WHEN o.state IN ('closed', 'refunded') THEN 0 ELSE -exchange.quantity END
        """,
    ),
    Invariant(
        name="mall_orders",
        promise="an order of the mall has one exchange with its member, points and pieces; no other order has one",
        offenders="""
            SELECT o.id, o.kind, o.points_used, exchange.points, exchange.quantity, line.pieces FROM shop_order o
            LEFT JOIN mall_exchange exchange ON exchange.order_id = o.id
            LEFT JOIN (SELECT order_id, sum(quantity) AS pieces FROM order_line GROUP BY 1) line
                ON line.order_id = o.id
            WHERE (o.kind = 'mall') <> (exchange.id IS NOT NULL)
               OR (exchange.id IS NOT NULL AND (exchange.member_id, exchange.points, exchange.quantity, 0)
                   IS DISTINCT FROM (o.member_id, o.points_used, line.pieces, o.points_fen))
        """,
    ),
)
