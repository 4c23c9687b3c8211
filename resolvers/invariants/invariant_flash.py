"""What flash sales promise: where every piece is."""

from resolvers.invariants.invariant import Invariant

FLASH_SALES = (
    Invariant(
        name="flash_pieces",
        promise="carved = left + held + sold + returned; held = unpaid tickets + standing offers; sold = paid tickets "
        "less what came back; waiting = the queue",
        offenders="""
            SELECT item.id, item.carved_count, item.left_count, item.held_count, item.sold_count, item.returned_count,
                item.waiting_count, ticket.pending, ticket.posted, queue.offered, queue.waiting
            FROM flash_item item
            LEFT JOIN (
                SELECT item_id, coalesce(sum(quantity) FILTER (WHERE state = 'pending'), 0) AS pending,
                    coalesce(sum(quantity - returned_count) FILTER (WHERE state IN ('posted', 'returned')), 0) AS posted
                FROM flash_ticket GROUP BY 1
            ) ticket ON ticket.item_id = item.id
            LEFT JOIN (
                SELECT item_id, coalesce(sum(quantity) FILTER (WHERE state = 'offered'), 0) AS offered,
                    coalesce(sum(quantity) FILTER (WHERE state = 'waiting'), 0) AS waiting
                FROM flash_wait GROUP BY 1
            ) queue ON queue.item_id = item.id
            WHERE item.carved_count <> item.left_count + item.held_count + item.sold_count + item.returned_count
               OR item.held_count <> coalesce(ticket.pending, 0) + coalesce(queue.offered, 0)
               OR item.sold_count <> coalesce(ticket.posted, 0)
               OR item.waiting_count <> coalesce(queue.waiting, 0)
        """,
    ),
    Invariant(
        name="flash_carved",
        promise="what flash sales took out of a SKU's stock and did not return to it = carved less returned",
        offenders="""
            SELECT sku.id, coalesce(item.away, 0) AS away, coalesce(entry.total, 0) AS entries FROM sku
            LEFT JOIN (SELECT sku_id, sum(carved_count - returned_count) AS away FROM flash_item GROUP BY 1) item
                ON item.sku_id = sku.id
            LEFT JOIN (SELECT sku_id, sum(amount) AS total FROM stock_entry
                       WHERE kind IN ('carve_out', 'carve_back') GROUP BY 1) entry ON entry.sku_id = sku.id
            WHERE coalesce(item.away, 0) <> -coalesce(entry.total, 0)
        """,
    ),
    Invariant(
        name="flash_orders",
        promise="every flash order has a ticket of its pieces, which stands as the order does; no member has more than "
        "the limit",
        offenders="""
            SELECT o.id, o.state, ticket.state AS ticket FROM shop_order o
            LEFT JOIN flash_ticket ticket ON ticket.order_id = o.id
            LEFT JOIN (SELECT order_id, sum(quantity) AS pieces FROM order_line GROUP BY 1) line ON line.order_id = o.id
            WHERE (o.kind = 'flash') <> (ticket.id IS NOT NULL) OR (ticket.id IS NOT NULL AND (
                ticket.member_id <> o.member_id OR ticket.quantity IS DISTINCT FROM line.pieces OR
                ticket.state <> CASE WHEN o.state IN ('unpaid', 'closing') THEN 'pending' WHEN o.state = 'closed' THEN
                    'released' WHEN o.state = 'refunded' THEN 'returned' ELSE 'posted' END))
            UNION ALL
            SELECT ticket.item_id, 'limit', ticket.member_id::text FROM flash_ticket ticket
            JOIN flash_item item ON item.id = ticket.item_id WHERE ticket.state IN ('pending', 'posted')
            GROUP BY 1, 3, item.member_limit HAVING sum(ticket.quantity - ticket.returned_count) > item.member_limit
        """,
    ),
    Invariant(
        name="flash_returns",
        promise="what came back of a flash order's ticket = what the refunds of its order put back",
        offenders="""
            SELECT ticket.id, ticket.order_id, ticket.returned_count, coalesce(back.pieces, 0) AS put_back
            FROM flash_ticket ticket
            LEFT JOIN (
                SELECT part.order_id, sum(gone.restocked_count) AS pieces FROM order_refund part
                JOIN order_refund_line gone ON gone.order_refund_id = part.id WHERE part.state = 'done' GROUP BY 1
            ) back ON back.order_id = ticket.order_id
            WHERE ticket.returned_count <> coalesce(back.pieces, 0)
        """,
    ),
    Invariant(
        name="flash_closed",
        promise="of a closed session nothing is offered or waited for",
        offenders="""
            SELECT wait.id, wait.item_id, wait.state FROM flash_wait wait JOIN flash_item item ON item.id = wait.item_id
            WHERE item.closed_at IS NOT NULL AND wait.state IN ('waiting', 'offered')
        """,
    ),
)
