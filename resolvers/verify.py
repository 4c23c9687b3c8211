"""The invariants of the books: each an equation with those who break it, proven by SQL over everything there is.

A row of an invariant's query is an offender. The queries aggregate in the database, so memory here stays bounded
however long the ledgers are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.engine import slow_rows

MOST_OFFENDERS = 20

WITHIN_S = 3600.0
"""How long one invariant may take over the whole store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """``promise`` in words, ``offenders`` as a query that returns nothing while it holds."""

    name: str
    promise: str
    offenders: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An invariant and the first of those who break it; none when it holds."""

    invariant: Invariant
    offenders: tuple[Mapping[str, Any], ...]


INVARIANTS = (
    Invariant(
        name="points_balance",
        promise="a member's points balance = sum of the entries = sum of what remains in the lots",
        offenders="""
            SELECT account.member_id, account.balance, coalesce(entry.total, 0) AS entries,
                coalesce(lot.total, 0) AS lots
            FROM points_account account
            LEFT JOIN (SELECT member_id, sum(amount) AS total FROM points_entry GROUP BY 1) entry USING (member_id)
            LEFT JOIN (SELECT member_id, sum(remaining) AS total FROM points_lot GROUP BY 1) lot USING (member_id)
            WHERE account.balance <> coalesce(entry.total, 0) OR account.balance <> coalesce(lot.total, 0)
        """,
    ),
    Invariant(
        name="points_held",
        promise="a member's held points = sum of the pending holds = sum of what is held in the lots",
        offenders="""
            SELECT account.member_id, account.held, coalesce(hold.total, 0) AS holds, coalesce(lot.total, 0) AS lots
            FROM points_account account
            LEFT JOIN (SELECT member_id, sum(amount) AS total FROM points_hold WHERE state = 'pending' GROUP BY 1) hold
                USING (member_id)
            LEFT JOIN (SELECT member_id, sum(held) AS total FROM points_lot GROUP BY 1) lot USING (member_id)
            WHERE account.held <> coalesce(hold.total, 0) OR account.held <> coalesce(lot.total, 0)
        """,
    ),
    Invariant(
        name="points_hold_draws",
        promise="a points hold = sum of its draws",
        offenders="""
            SELECT hold.id, hold.amount, coalesce(sum(draw.amount), 0) AS draws FROM points_hold hold
            LEFT JOIN points_hold_draw draw ON draw.hold_id = hold.id
            GROUP BY hold.id HAVING hold.amount <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_debt",
        promise="a member's points debt = sum of the debt changes",
        offenders="""
            SELECT account.member_id, account.debt, coalesce(entry.total, 0) AS entries FROM points_account account
            LEFT JOIN (SELECT member_id, sum(debt_change) AS total FROM points_entry GROUP BY 1) entry USING (member_id)
            WHERE account.debt <> coalesce(entry.total, 0)
        """,
    ),
    Invariant(
        name="points_draws",
        promise="an entry = sum of its draws",
        offenders="""
            SELECT entry.id, entry.member_id, entry.amount, coalesce(sum(draw.amount), 0) AS draws
            FROM points_entry entry LEFT JOIN points_draw draw ON draw.entry_id = entry.id
            GROUP BY entry.id HAVING entry.amount <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_lots",
        promise="what remains in a lot = sum of its draws",
        offenders="""
            SELECT lot.id, lot.member_id, lot.remaining, coalesce(sum(draw.amount), 0) AS draws
            FROM points_lot lot LEFT JOIN points_draw draw ON draw.lot_id = lot.id
            GROUP BY lot.id HAVING lot.remaining <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_sequence",
        promise="a member's points entries are numbered 1, 2, 3 … and each balance is the one before plus the amount",
        offenders="""
            SELECT member_id, seq, balance_after FROM (
                SELECT member_id, seq, balance_after,
                    row_number() OVER step AS wanted_seq, sum(amount) OVER step AS wanted_balance
                FROM points_entry WINDOW step AS (PARTITION BY member_id ORDER BY seq)
            ) walked WHERE seq <> wanted_seq OR balance_after <> wanted_balance
        """,
    ),
    Invariant(
        name="growth_balance",
        promise="a member's growth value = sum of the growth entries, numbered without a gap",
        offenders="""
            SELECT membership.member_id, membership.growth_value, coalesce(entry.total, 0) AS entries
            FROM membership LEFT JOIN (
                SELECT member_id, sum(amount) AS total, count(*) AS many, max(seq) AS last FROM growth_entry GROUP BY 1
            ) entry USING (member_id)
            WHERE membership.growth_value <> coalesce(entry.total, 0)
               OR coalesce(entry.many, 0) <> coalesce(entry.last, 0)
        """,
    ),
    Invariant(
        name="growth_sequence",
        promise="each growth balance is the one before plus the amount",
        offenders="""
            SELECT member_id, seq, balance_after FROM (
                SELECT member_id, seq, balance_after,
                    sum(amount) OVER (PARTITION BY member_id ORDER BY seq) AS wanted FROM growth_entry
            ) walked WHERE balance_after <> wanted
        """,
    ),
    Invariant(
        name="tier_history",
        promise="a member's own tier is the one that the last change in the history left",
        offenders="""
            SELECT membership.member_id, membership.tier_code, last.to_code FROM membership JOIN (
                SELECT DISTINCT ON (member_id) member_id, to_code FROM tier_change
                WHERE reason NOT IN ('trial_started', 'trial_ended', 'override', 'override_ended')
                ORDER BY member_id, growth_seq DESC, id DESC
            ) last USING (member_id) WHERE membership.tier_code <> last.to_code
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
        name="address_default",
        promise="of a member's addresses one is the default",
        offenders="""
            SELECT member_id, count(*) AS addresses FROM address
            GROUP BY 1 HAVING count(*) FILTER (WHERE is_default) <> 1
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
    Invariant(
        name="coupons_of_orders",
        promise="an open order has its coupons reserved, a paid one used, while they take something off what stays; a "
        "closed one has none of them, and no coupon is on an order that was placed without it",
        offenders="""
            SELECT taken.order_id, taken.coupon_id, o.state, coupon.state AS coupon_state FROM order_coupon taken
            JOIN shop_order o ON o.id = taken.order_id JOIN coupon ON coupon.id = taken.coupon_id
            WHERE (coupon.order_id IS NOT DISTINCT FROM o.id) <> (o.state <> 'closed' AND (
                EXISTS (SELECT 1 FROM order_line line WHERE line.order_id = o.id
                        AND line.refunded_count < line.quantity AND (taken.shares->>line.position)::bigint > 0)
                OR (taken.shipping_fen > 0 AND NOT EXISTS (
                    SELECT 1 FROM order_refund part
                    WHERE part.order_id = o.id AND part.state = 'done' AND part.shipping_back))))
               OR (coupon.order_id = o.id AND coupon.state <>
                   CASE WHEN o.state IN ('unpaid', 'closing') THEN 'reserved' ELSE 'used' END)
            UNION ALL
            SELECT coupon.order_id, coupon.id, NULL, coupon.state FROM coupon
            LEFT JOIN order_coupon taken ON taken.order_id = coupon.order_id AND taken.coupon_id = coupon.id
            WHERE coupon.order_id IS NOT NULL AND taken.id IS NULL
        """,
    ),
    Invariant(
        name="coupon_quota",
        promise="a template's given-out number = its coupons, those from friends apart; its committed budget = "
        "what those can cost that are neither expired, void nor given away",
        offenders="""
            SELECT quota.template_id, quota.issued_count, quota.committed_fen, given.many, given.worth
            FROM coupon_quota quota LEFT JOIN (
                SELECT template_id, count(*) FILTER (WHERE channel <> 'gift') AS many,
                    coalesce(sum(worth_fen) FILTER (WHERE state NOT IN ('expired', 'void', 'given')), 0) AS worth
                FROM coupon GROUP BY 1
            ) given USING (template_id)
            WHERE (quota.issued_count, quota.committed_fen) IS DISTINCT FROM
                (coalesce(given.many, 0), coalesce(given.worth, 0))
        """,
    ),
    Invariant(
        name="coupon_states",
        promise="a coupon stands where the last thing that happened to it left it, and began by being issued once",
        offenders="""
            SELECT coupon.id, coupon.state, told.last, told.issued FROM coupon LEFT JOIN (
                SELECT coupon_id, (array_agg(kind ORDER BY seq DESC))[1] AS last,
                    count(*) FILTER (WHERE kind = 'issued') AS issued, count(*) <> max(seq) AS gap
                FROM coupon_event GROUP BY 1
            ) told ON told.coupon_id = coupon.id
            WHERE told.issued IS DISTINCT FROM 1 OR told.gap OR coupon.state <>
                CASE WHEN told.last IN ('released', 'returned', 'gift_returned') THEN 'issued'
                    WHEN told.last = 'voided' THEN 'void' ELSE told.last END
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
        name="coupon_packs",
        promise="a newcomer pack and a birthday gave the coupons that they say they gave",
        offenders="""
            SELECT coalesce(said.id, given.cause_id) AS id, said.many AS said, given.many AS coupons FROM (
                SELECT id, (SELECT coalesce(sum((one ->> 'given')::int), 0) FROM jsonb_array_elements(outcome) one)
                    AS many FROM newcomer_grant
                UNION ALL SELECT id, coupon_count FROM birthday
            ) said FULL JOIN (
                SELECT cause_id, count(*) AS many FROM coupon WHERE channel IN ('newcomer', 'birthday') GROUP BY 1
            ) given ON given.cause_id = said.id
            WHERE coalesce(said.many, 0) <> coalesce(given.many, 0)
        """,
    ),
    Invariant(
        name="coupon_till_uses",
        promise="a coupon is used up by the use at a till that stands, which is its own",
        offenders="""
            SELECT coupon.id, coupon.state, coupon.till_use_id, stands.id AS use FROM coupon
            FULL JOIN (SELECT id, coupon_id, member_id FROM coupon_till_use WHERE reversed_at IS NULL) stands
                ON stands.coupon_id = coupon.id
            WHERE coupon.till_use_id IS DISTINCT FROM stands.id
               OR (stands.id IS NOT NULL AND stands.member_id <> coupon.member_id)
        """,
    ),
    Invariant(
        name="coupon_gifts",
        promise="a coupon is being given while its gift is offered, given once it was taken, and the friend has one of "
        "the same terms and end; no coupon came from a friend without a gift",
        offenders="""
            SELECT gift.id, gift.state, given.state AS coupon, received.id AS received FROM coupon_gift gift
            JOIN coupon given ON given.id = gift.coupon_id LEFT JOIN coupon received ON received.id = gift.received_id
            WHERE given.member_id <> gift.giver_id
               OR (gift.state = 'offered' AND given.state <> 'gifting')
               OR (gift.state = 'accepted' AND (given.state <> 'given' OR received.member_id <> gift.friend_id
                   OR received.version_id <> given.version_id OR received.gift_count <> given.gift_count + 1
                   OR received.cause_id <> gift.id))
            UNION ALL
            SELECT coupon.id, coupon.channel, coupon.state, gift.id FROM coupon
            LEFT JOIN coupon_gift gift ON gift.received_id = coupon.id
            LEFT JOIN coupon_gift given ON given.coupon_id = coupon.id AND given.state IN ('offered', 'accepted')
            WHERE (coupon.channel = 'gift') <> (gift.id IS NOT NULL)
               OR (coupon.state IN ('gifting', 'given')) <> (given.id IS NOT NULL)
        """,
    ),
    Invariant(
        name="coupon_channels",
        promise="a grant's number = the coupons that it gave; a redeemed code gave the coupon that it names",
        offenders="""
            SELECT job.id, job.granted_count, coalesce(given.many, 0) AS coupons FROM coupon_grant job
            LEFT JOIN (SELECT cause_id, count(*) AS many FROM coupon WHERE channel = 'grant' GROUP BY 1) given
                ON given.cause_id = job.id
            WHERE job.granted_count <> coalesce(given.many, 0)
            UNION ALL
            SELECT coalesce(code.id, coupon.cause_id), count(code.id), count(coupon.id) FROM coupon_code code
            FULL JOIN (SELECT id, cause_id FROM coupon WHERE channel = 'code') coupon
                ON coupon.cause_id = code.id AND coupon.id = code.coupon_id
            WHERE (coupon.id IS NULL AND code.coupon_id IS NOT NULL) OR code.id IS NULL GROUP BY 1
        """,
    ),
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
            WHERE payment.outcome IN ('late', 'second', 'refused') AND refund.amount_fen IS DISTINCT FROM payment.total_fen
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


async def verify() -> list[Finding]:
    """Every invariant with up to twenty of those who break it."""
    findings = []
    for invariant in INVARIANTS:
        offenders = await slow_rows(f"{invariant.offenders} LIMIT {MOST_OFFENDERS}", within_s=WITHIN_S)
        findings.append(Finding(invariant=invariant, offenders=tuple(offenders)))
    return findings
