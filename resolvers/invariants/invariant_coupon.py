"""What coupons promise: their states, their quotas, and the ways that they come and go."""

from resolvers.invariants.invariant import Invariant

COUPONS = (
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
)
