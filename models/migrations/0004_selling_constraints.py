"""What the tables of selling promise beyond types and keys: checks, partial indexes, and ledgers that only grow."""

from tortoise import migrations
from tortoise.migrations import operations as ops

APPEND_ONLY = (
    "promotion_version",
    "order_promotion",
    "price_change",
    "order_address",
    "shipping_template_version",
    "order_shipping",
    "parcel_line",
    "order_refund_line",
)

CHECKS = {
    "promotion": {
        "promotion_kind_known": "kind IN ('discount', 'newcomer', 'member_day', 'bundle', 'pieces', 'amount_off')",
        "promotion_state_known": "state IN ('draft', 'published', 'stopped')",
        "promotion_window_has_length": "opens_at < closes_at",
    },
    "promotion_quota": {
        "promotion_quota_counts_not_negative": "least(used_count, spent_fen) >= 0",
        "promotion_quota_limits_not_negative": "least(total_limit, budget_fen) >= 0",
    },
    "order_promotion": {"order_promotion_takes_something_off": "least(uses, discount_fen) >= 1"},
    "promotion_hold": {
        "promotion_hold_state_known": "state IN ('pending', 'posted', 'released', 'expired', 'returned')",
        "promotion_hold_resolved_once": "(state = 'pending') = (resolved_at IS NULL)",
        "promotion_hold_of_something": "least(uses, discount_fen) >= 1 AND (order_id IS NULL) = (expires_at IS NOT NULL) "
        "AND (order_id IS NOT NULL OR quote_id IS NOT NULL)",
    },
    "order_quote": {
        "order_quote_state_known": "state IN ('pending', 'posted', 'released', 'expired')",
        "order_quote_resolved_once": "(state = 'pending') = (resolved_at IS NULL)",
        "order_quote_posted_has_its_order": "(state = 'posted') = (order_id IS NOT NULL)",
    },
    "price_change": {
        "price_change_prices_positive": "least(price_fen, member_price_fen, baseline_fen) >= 1 AND seq >= 1",
        "price_change_struck_through_is_higher": "baseline_fen > price_fen",
        "price_change_began_before": "began_at <= at",
    },
    "coupon_gift": {
        "coupon_gift_state_known": "state IN ('offered', 'accepted', 'withdrawn', 'expired')",
        "coupon_gift_due_while_offered": "(state = 'offered') = (due_at IS NOT NULL)",
        "coupon_gift_ended_once": "(state = 'offered') = (ended_at IS NULL)",
        "coupon_gift_has_its_friend": "(state = 'accepted') = (friend_id IS NOT NULL) "
        "AND (state = 'accepted') = (received_id IS NOT NULL)",
        "coupon_gift_to_another": "friend_id <> giver_id AND received_id <> coupon_id AND made_at < expires_at",
    },
    "coupon_till_use": {
        "coupon_till_use_within_amount": "discount_fen >= 0 AND discount_fen <= amount_fen",
        "coupon_till_use_reversed_whole": "(reversed_at IS NULL) = (reversed_by_id IS NULL) "
        "AND (reversed_at IS NULL) = (reverse_reason = '')",
    },
    "newcomer_grant": {"newcomer_grant_owed_or_given": "(due_at IS NULL) = (given_at IS NOT NULL)"},
    "birthday": {"birthday_coupons_not_negative": "coupon_count >= 0"},
    "order_coupon": {"order_coupon_shipping_within_discount": "shipping_fen BETWEEN 0 AND discount_fen"},
    "sku": {"sku_weight_not_negative": "weight_g >= 0"},
    "address": {"address_region_is_a_code": "region_code ~ '^[1-9][0-9]{5}$'"},
    "order_address": {"order_address_region_is_a_code": "region_code ~ '^[1-9][0-9]{5}$'"},
    "order_shipping": {
        "order_shipping_fee_within_full": "fee_fen >= 0 AND fee_fen <= full_fen",
        "order_shipping_waived_is_free": "waived_by IS NULL OR fee_fen = 0",
    },
    "shop_order": {
        "shop_order_fulfilment_known": "fulfilment_state IN "
        "('none', 'to_ship', 'partly_shipped', 'shipped', 'to_pick_up', 'received')",
        "shop_order_received_from_shipped": "receive_due_at IS NULL OR fulfilment_state = 'shipped'",
        "shop_order_received_is_complete": "fulfilment_state <> 'received' OR completed_at IS NOT NULL",
        "shop_order_refunds_within_payment": "least(refunding_fen, refunded_fen) >= 0 "
        "AND refunding_fen + refunded_fen <= payable_fen",
    },
    "order_line": {
        "order_line_shipped_is_ordered": "shipped_count >= 0 AND shipped_count <= quantity",
        "order_line_returned_is_refunded": "returned_count >= 0 AND returned_count <= refunded_count",
        "order_line_each_piece_once": "least(claimed_count, refunding_count, refunded_count) >= 0 "
        "AND claimed_count + refunding_count + refunded_count <= quantity",
    },
    "order_refund": {
        "order_refund_state_known": "state IN ('requested', 'done')",
        "order_refund_done_once": "(state = 'done') = (done_at IS NOT NULL)",
        "order_refund_amounts_not_negative": "least(shipping_fen, points_used, earned_reversed) >= 0 "
        "AND amount_fen >= shipping_fen",
    },
    "order_refund_line": {
        "order_refund_line_of_something": "quantity >= 1 AND least(money_fen, points_used) >= 0",
        "order_refund_line_counts_its_pieces": "least(sent_count, restocked_count) >= 0 "
        "AND greatest(sent_count, restocked_count) <= quantity",
    },
    "after_sale": {
        "after_sale_kind_known": "kind IN ('refund_only', 'return_and_refund')",
        "after_sale_state_known": "state IN ('requested', 'approved', 'rejected', 'returning', 'received', "
        "'refunding', 'refunded', 'withdrawn', 'closed')",
        "after_sale_ended_once": "(state IN ('rejected', 'refunded', 'withdrawn', 'closed')) = (ended_at IS NOT NULL)",
        "after_sale_due_while_open": "due_at IS NULL OR state IN ('requested', 'approved', 'returning', 'received')",
        "after_sale_refunds_by_a_part": "(state IN ('refunding', 'refunded')) = (order_refund_id IS NOT NULL)",
        "after_sale_pictures_few": "jsonb_array_length(pictures) <= 9",
    },
    "after_sale_line": {"after_sale_line_of_something": "quantity >= 1"},
    "product": {
        "product_no_return_cause_known": "no_return_cause IN "
        "('custom_made', 'perishable', 'digital', 'newspaper', 'by_nature')",
    },
    "parcel_line": {"parcel_line_of_something": "quantity >= 1"},
    "shipping_upload": {
        "shipping_upload_state_known": "state IN ('waiting', 'done', 'failed', 'not_needed')",
        "shipping_upload_due_while_waiting": "(state = 'waiting') = (due_at IS NOT NULL)",
        "shipping_upload_counts": "wanted >= done AND done >= 0 AND tries >= 0",
    },
    "flash_sale": {
        "flash_sale_state_known": "state IN ('draft', 'published', 'closed')",
        "flash_sale_window_has_length": "opens_at < closes_at",
        "flash_sale_published_and_closed_once": "(state = 'draft') = (published_at IS NULL) "
        "AND (state = 'closed') = (closed_at IS NOT NULL)",
    },
    "flash_item": {
        "flash_item_pieces_add_up": "carved_count = left_count + held_count + sold_count + returned_count",
        "flash_item_counts_not_negative": "least(left_count, held_count, sold_count, returned_count, waiting_count) >= 0",
        "flash_item_of_something": "price_fen >= 1 AND stock >= 1 AND member_limit >= 1",
        "flash_item_closed_has_nothing_left": "closed_at IS NULL OR (left_count = 0 AND waiting_count = 0)",
    },
    "flash_ticket": {
        "flash_ticket_state_known": "state IN ('pending', 'posted', 'released', 'returned')",
        "flash_ticket_of_something": "quantity >= 1 AND returned_count BETWEEN 0 AND quantity",
        "flash_ticket_resolved": "(state = 'pending') = (resolved_at IS NULL)",
    },
    "flash_wait": {
        "flash_wait_state_known": "state IN ('waiting', 'offered', 'claimed', 'lapsed', 'left', 'ended')",
        "flash_wait_of_something": "quantity >= 1",
        "flash_wait_claimed_by_an_order": "(state = 'claimed') = (order_id IS NOT NULL)",
        "flash_wait_offered_for_a_time": "state <> 'offered' OR (offered_at IS NOT NULL AND claim_by IS NOT NULL)",
        "flash_wait_settled_once": "(state IN ('waiting', 'offered')) = (settled_at IS NULL)",
    },
    "flash_rehearsal": {
        "flash_rehearsal_state_known": "state IN ('running', 'done', 'failed')",
        "flash_rehearsal_finished_once": "(state = 'running') = (finished_at IS NULL)",
        "flash_rehearsal_due_while_running": "(state = 'running') = (due_at IS NOT NULL)",
    },
    "group_buy": {
        "group_buy_state_known": "state IN ('draft', 'published', 'closed')",
        "group_buy_window_has_length": "opens_at < closes_at",
        "group_buy_published_and_closed_once": "(state = 'draft') = (published_at IS NULL) "
        "AND (state = 'closed') = (closed_at IS NOT NULL)",
        "group_buy_counts_positive": "least(team_hours, virtual_from, member_limit, most_pieces) >= 1",
    },
    "group_team": {
        "group_team_state_known": "state IN ('pending', 'open', 'complete', 'failed')",
        "group_team_never_one_too_many": "least(joined_count, held_count) >= 0 AND joined_count + held_count <= size",
        "group_team_opened_with_its_time": "(opened_at IS NULL) = (ends_at IS NULL) "
        "AND (state NOT IN ('open', 'complete') OR opened_at IS NOT NULL)",
        "group_team_settled_once": "(state IN ('complete', 'failed')) = (settled_at IS NOT NULL)",
        "group_team_due_while_open": "(state = 'open') = (due_at IS NOT NULL)",
        "group_team_ends_with_no_seat_held": "state IN ('pending', 'open') OR held_count = 0",
    },
    "group_seat": {
        "group_seat_state_known": "state IN ('pending', 'posted', 'released', 'left', 'returned')",
        "group_seat_fallback_known": "fallback IN ('new_team', 'other_team', 'refund')",
        "group_seat_resolved": "(state IN ('pending', 'posted')) = (resolved_at IS NULL)",
        "group_seat_posted": "state NOT IN ('posted', 'left', 'returned') OR posted_at IS NOT NULL",
    },
    "cart_line": {"cart_line_of_something": "quantity BETWEEN 1 AND 999"},
}

REPLACED = {
    "payment": {"payment_outcome_known": "outcome IN ('settled', 'revived', 'late', 'second', 'refused')"},
    "coupon_template": {"coupon_template_kind_known": "kind IN ('amount', 'percent', 'exchange', 'shipping')"},
    "coupon": {
        "coupon_state_known": "state IN ('issued', 'reserved', 'used', 'expired', 'void', 'gifting', 'given')",
        "coupon_channel_known": "channel IN ('claim', 'code', 'grant', 'tier', 'mall', 'gift', 'newcomer', 'birthday')",
        "coupon_has_its_order": "CASE state WHEN 'reserved' THEN order_id IS NOT NULL AND till_use_id IS NULL "
        "WHEN 'used' THEN (order_id IS NULL) <> (till_use_id IS NULL) "
        "ELSE order_id IS NULL AND till_use_id IS NULL END AND gift_count >= 0",
    },
    "coupon_event": {
        "coupon_event_kind_known": "kind IN ('issued', 'reserved', 'used', 'released', 'returned', 'expired', "
        "'voided', 'gifting', 'gift_returned', 'given')",
    },
    "stock_entry": {
        "stock_entry_kind_known": "kind IN ('supply', 'hold', 'release', 'return', 'carve_out', 'carve_back')",
        "stock_entry_amount_signed": "CASE WHEN kind IN ('hold', 'carve_out') THEN amount < 0 "
        "WHEN kind = 'supply' THEN amount <> 0 ELSE amount > 0 END",
    },
    "shop_order": {
        "shop_order_kind_known": "kind IN ('purchase', 'mall', 'flash', 'group')",
        "shop_order_adds_up": "goods_fen + shipping_fen "
        "= discount_fen + promotion_fen + coupon_fen + points_fen + payable_fen",
        "shop_order_amounts_not_negative": "least(goods_fen, discount_fen, promotion_fen, coupon_fen, "
        "shipping_coupon_fen, points_used, points_fen, payable_fen) >= 0 "
        "AND shipping_coupon_fen <= least(shipping_fen, coupon_fen)",
    },
    "order_line": {
        "order_line_adds_up": "goods_fen = discount_fen + promotion_fen + coupon_fen + points_fen + payable_fen",
        "order_line_amounts_not_negative": "least(discount_fen, promotion_fen, coupon_fen, points_fen, payable_fen) "
        ">= 0 AND quantity >= 1",
    },
}
"""Checks that stood before and now count more columns in."""

INDEXES = (
    "CREATE INDEX promotion_running ON promotion (closes_at) WHERE state = 'published'",
    "CREATE UNIQUE INDEX promotion_hold_of_order ON promotion_hold (order_id, promotion_id) "
    "WHERE state IN ('pending', 'posted')",
    "CREATE INDEX promotion_hold_of_member ON promotion_hold (member_id, promotion_id) "
    "WHERE state IN ('pending', 'posted')",
    "CREATE INDEX promotion_hold_ending ON promotion_hold (promotion_id, expires_at) "
    "WHERE state = 'pending' AND expires_at IS NOT NULL",
    "CREATE INDEX exception_case_due ON exception_case (due_at, id) WHERE resolved_at IS NULL",
    "CREATE INDEX exception_case_owned ON exception_case (owner_id, due_at, id) WHERE resolved_at IS NULL",
    "CREATE INDEX flash_item_gate_due ON flash_item (gate_due_at) WHERE gate_due_at IS NOT NULL",
    "DROP INDEX refund_returns_payment_once",
    "CREATE UNIQUE INDEX refund_returns_stray_payment_once ON refund (payment_id) "
    "WHERE order_refund_id IS NULL AND state <> 'closed'",
    "CREATE UNIQUE INDEX refund_pays_part_once ON refund (order_refund_id) "
    "WHERE order_refund_id IS NOT NULL AND state <> 'closed'",
    "CREATE UNIQUE INDEX order_refund_one_at_a_time ON order_refund (order_id) WHERE state = 'requested'",
    "CREATE INDEX after_sale_due ON after_sale (due_at) WHERE due_at IS NOT NULL",
    "CREATE UNIQUE INDEX flash_wait_once ON flash_wait (item_id, member_id) WHERE state IN ('waiting', 'offered')",
    "CREATE INDEX flash_wait_queue ON flash_wait (item_id, id) WHERE state = 'waiting'",
    "CREATE INDEX flash_wait_claim_by ON flash_wait (claim_by) WHERE state = 'offered'",
    "CREATE INDEX flash_ticket_gate_due ON flash_ticket (gate_due_at) WHERE gate_due_at IS NOT NULL",
    "CREATE INDEX flash_item_queued ON flash_item (id) WHERE waiting_count > 0 AND left_count > 0",
    "CREATE UNIQUE INDEX flash_rehearsal_one ON flash_rehearsal ((1)) WHERE state = 'running'",
    "CREATE UNIQUE INDEX coupon_gift_once ON coupon_gift (coupon_id) WHERE state IN ('offered', 'accepted')",
    "CREATE INDEX coupon_gift_due ON coupon_gift (due_at) WHERE due_at IS NOT NULL",
    "CREATE UNIQUE INDEX coupon_till_use_once ON coupon_till_use (coupon_id) WHERE reversed_at IS NULL",
    "CREATE INDEX newcomer_grant_due ON newcomer_grant (due_at) WHERE due_at IS NOT NULL",
    "CREATE UNIQUE INDEX address_default_once ON address (member_id) WHERE is_default",
    "CREATE UNIQUE INDEX shipping_template_default_once ON shipping_template ((1)) WHERE is_default",
    "CREATE INDEX shop_order_fulfilment ON shop_order (fulfilment_state, id)",
    "CREATE INDEX shop_order_receive_due ON shop_order (receive_due_at) WHERE receive_due_at IS NOT NULL",
    "CREATE UNIQUE INDEX parcel_stands_once ON parcel (order_id, carrier, tracking_number) WHERE voided_at IS NULL",
    "CREATE INDEX shipping_upload_due ON shipping_upload (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX group_team_due ON group_team (due_at) WHERE due_at IS NOT NULL",
    "CREATE UNIQUE INDEX group_seat_of_order ON group_seat (order_id) WHERE state IN ('pending', 'posted')",
    "CREATE UNIQUE INDEX group_seat_of_member ON group_seat (team_id, member_id) WHERE state IN ('pending', 'posted')",
    "CREATE INDEX group_seat_due ON group_seat (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX order_shipping_waived ON order_shipping (member_id, placed_on) WHERE waived_by = 'tier'",
)


SEEDED = (
    "INSERT INTO price_change (id, sku_id, seq, price_fen, member_price_fen, baseline_fen, began_at, at) "
    "SELECT id, id, 1, price_fen, member_price_fen, NULL, created_at, created_at FROM sku",
)
"""What was on sale before has the beginning of a history. An id of its own need not be made: the SKU's is as unique."""

REFUNDED = (
    "INSERT INTO order_refund (id, order_id, cause, reason, state, amount_fen, shipping_fen, shipping_back, "
    "points_used, earned_reversed, requested_at, done_at) SELECT id, id, 'by_operator', '', "
    "CASE state WHEN 'refunded' THEN 'done' ELSE 'requested' END, payable_fen, 0, true, points_used, 0, "
    "coalesce(refunded_at, paid_at), refunded_at FROM shop_order WHERE state IN ('refunding', 'refunded')",
    "INSERT INTO order_refund_line (id, order_refund_id, line_id, quantity, sent_count, restocked_count, money_fen, "
    "points_used) SELECT line.id, o.id, line.id, line.quantity, 0, line.quantity, line.payable_fen, "
    "CASE line.position WHEN 0 THEN o.points_used ELSE 0 END FROM order_line line "
    "JOIN shop_order o ON o.id = line.order_id WHERE o.state IN ('refunding', 'refunded')",
    "UPDATE order_line line SET refunding_count = CASE o.state WHEN 'refunding' THEN line.quantity ELSE 0 END, "
    "refunded_count = CASE o.state WHEN 'refunded' THEN line.quantity ELSE 0 END "
    "FROM shop_order o WHERE o.id = line.order_id AND o.state IN ('refunding', 'refunded')",
    "UPDATE shop_order SET refunding_fen = CASE state WHEN 'refunding' THEN payable_fen ELSE 0 END, "
    "refunded_fen = CASE state WHEN 'refunded' THEN payable_fen ELSE 0 END WHERE state IN ('refunding', 'refunded')",
    "UPDATE refund SET order_refund_id = order_id WHERE cause IN ('by_operator', 'by_member')",
)
"""Orders that were refunded, or are being refunded, went back in one part, which has the order's own id."""


def statements() -> list[str]:
    """All of it, in order."""
    replaced = [
        f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({rule})"
        for table, rules in REPLACED.items()
        for name, rule in rules.items()
    ]
    checks = [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule})"
        for table, rules in CHECKS.items()
        for name, rule in rules.items()
    ]
    triggers = [
        f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ]
    return [*replaced, *checks, *INDEXES, *SEEDED, *REFUNDED, *triggers]


class Migration(migrations.Migration):
    dependencies = [("store", "0003_selling")]

    operations = [ops.RunSQL(statements())]
