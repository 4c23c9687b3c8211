"""What the tables promise beyond types and keys: checks, partial indexes, and ledgers that only grow.

Tortoise silently leaves out ``Meta.constraints`` of a first migration, so all of it is SQL here.
"""

from tortoise import migrations
from tortoise.migrations import operations as ops

APPEND_ONLY = (
    "points_entry",
    "points_draw",
    "growth_entry",
    "tier_change",
    "protected_day",
    "points_action",
    "stock_entry",
    "audit_row",
    "order_event",
    "bill_row",
    "birthday",
    "programme_version",
    "referral_switch",
    "referral_decision",
    "mall_item_version",
    "mall_exchange",
    "mall_stock_entry",
    "coupon_template_version",
    "coupon_event",
    "order_coupon",
)

CHECKS = {
    "sku": {
        "sku_stock_left_not_negative": "stock_left >= 0",
        "sku_price_positive": "price_fen >= 1",
        "sku_member_price_positive": "member_price_fen IS NULL OR member_price_fen >= 1",
        "sku_purchase_limit_positive": "purchase_limit IS NULL OR purchase_limit >= 1",
    },
    "stock_entry": {
        "stock_entry_kind_known": "kind IN ('supply', 'hold', 'release', 'return')",
        "stock_entry_amount_signed": "CASE kind WHEN 'hold' THEN amount < 0 WHEN 'supply' THEN amount <> 0 ELSE amount > 0 END",
    },
    "product": {"product_state_known": "state IN ('draft', 'published', 'hidden')"},
    "membership": {
        "membership_growth_not_negative": "growth_value >= 0",
        "membership_period_is_decided": "(keep_until IS NULL) = (keep_due_at IS NULL) AND keep_due_at >= keep_until",
    },
    "tier_overlay": {
        "tier_overlay_ends_after_start": "ends_at >= starts_at",
        "tier_overlay_trial_ends": "manual OR ends_at IS NOT NULL",
        "tier_overlay_manual_has_reason": "NOT manual OR (reason <> '' AND operator_id IS NOT NULL)",
        "tier_overlay_closed_is_done": "closed_at IS NULL OR due_at IS NULL",
    },
    "points_account": {
        "points_account_held_covered": "held >= 0 AND balance >= held",
        "points_account_debt_not_negative": "debt >= 0",
    },
    "points_lot": {
        "points_lot_within_bounds": "held >= 0 AND remaining >= held AND amount >= remaining AND amount > 0"
    },
    "points_entry": {"points_entry_balance_not_negative": "balance_after >= 0"},
    "points_hold": {
        "points_hold_amount_positive": "amount > 0",
        "points_hold_state_known": "state IN ('pending', 'posted', 'released', 'expired')",
        "points_hold_resolved_once": "(state = 'pending') = (resolved_at IS NULL)",
    },
    "check_in": {
        "check_in_counts_positive": "cycle_day >= 0 AND least(streak_days, total_days) >= 1",
        "check_in_amounts_not_negative": "least(points, growth, price_points, offset_points, offset_growth) >= 0",
        "check_in_made_up_later": "made_up_on IS NULL OR made_up_on > business_day",
        "check_in_costs_only_made_up": "made_up_on IS NOT NULL OR greatest(price_points, offset_points, offset_growth) = 0",
    },
    "points_action": {"points_action_points_not_negative": "points >= 0"},
    "points_hold_draw": {"points_hold_draw_amount_positive": "amount > 0"},
    "growth_entry": {"growth_entry_balance_not_negative": "balance_after >= 0"},
    "shop_order": {
        "shop_order_kind_known": "kind IN ('purchase', 'mall')",
        "shop_order_state_known": "state IN ('unpaid', 'closing', 'closed', 'paid', 'refunding', 'refunded')",
        "shop_order_adds_up": "goods_fen = discount_fen + coupon_fen + points_fen + payable_fen",
        "shop_order_amounts_not_negative": "least(goods_fen, discount_fen, coupon_fen, points_used, points_fen, payable_fen) >= 0",
    },
    "order_line": {
        "order_line_adds_up": "goods_fen = discount_fen + coupon_fen + points_fen + payable_fen",
        "order_line_amounts_not_negative": "least(discount_fen, coupon_fen, points_fen, payable_fen) >= 0 AND quantity >= 1",
    },
    "payment_attempt": {"payment_attempt_total_positive": "total_fen >= 1"},
    "payment": {
        "payment_outcome_known": "outcome IN ('settled', 'revived', 'late', 'second')",
    },
    "refund": {
        "refund_amount_positive": "amount_fen >= 1",
        "refund_state_known": "state IN ('requested', 'processing', 'succeeded', 'closed', 'abnormal')",
    },
    "referral": {
        "referral_of_two_people": "inviter_id <> invitee_id AND upline_id IS DISTINCT FROM invitee_id",
        "referral_source_known": "source IN ('qr', 'card', 'code')",
    },
    "referral_token": {"referral_token_source_known": "source IN ('qr', 'card')"},
    "referral_reward": {
        "referral_reward_stage_known": "stage IN ('registration', 'first_order')",
        "referral_reward_side_known": "side IN ('inviter', 'invitee', 'upline')",
        "referral_reward_state_known": "state IN ('pending', 'qualified', 'held', 'paid', 'rejected', 'clawed_back')",
        "referral_reward_amounts_not_negative": "least(points, growth) >= 0",
        "referral_reward_paid_once": "(state IN ('paid', 'clawed_back')) = (paid_at IS NOT NULL AND paid_on IS NOT NULL)",
        "referral_reward_rejected_with_reason": "state <> 'rejected' OR reason IS NOT NULL",
        "referral_reward_waits_for_review_while_held": "NOT needs_review OR state = 'held'",
    },
    "referral_goal": {"referral_goal_amounts_not_negative": "least(points, growth) >= 0 AND friends >= 1"},
    "referral_trace": {"referral_trace_kind_known": "kind IN ('device', 'network')"},
    "mall_item": {
        "mall_item_kind_known": "kind IN ('goods', 'coupon', 'tier_trial', 'charity')",
        "mall_item_state_known": "state IN ('draft', 'published', 'hidden')",
        "mall_item_stock_left_not_negative": "stock_left >= 0",
        "mall_item_counted_once": "sku_id IS NULL OR (kind = 'goods' AND stock_left IS NULL)",
        "mall_item_window_has_length": "opens_at < closes_at",
        "mall_item_exchanged_not_negative": "exchanged_count >= 0 AND exchanged_points >= 0",
    },
    "mall_exchange": {"mall_exchange_of_something": "quantity >= 1 AND points >= 1"},
    "mall_stock_entry": {
        "mall_stock_entry_kind_known": "kind IN ('supply', 'hold', 'release', 'return')",
        "mall_stock_entry_amount_signed": "CASE kind WHEN 'hold' THEN amount < 0 WHEN 'supply' THEN amount <> 0 ELSE amount > 0 END",
        "mall_stock_entry_left_not_negative": "left_after >= 0",
    },
    "coupon_template": {
        "coupon_template_kind_known": "kind IN ('amount', 'percent', 'exchange')",
        "coupon_template_state_known": "state IN ('draft', 'published', 'paused')",
        "coupon_template_window_has_length": "opens_at < closes_at",
    },
    "coupon_quota": {
        "coupon_quota_counts_not_negative": "least(issued_count, day_count, committed_fen) >= 0",
        "coupon_quota_limits_not_negative": "least(total_limit, daily_limit, budget_fen) >= 0",
    },
    "coupon": {
        "coupon_state_known": "state IN ('issued', 'reserved', 'used', 'expired', 'void')",
        "coupon_channel_known": "channel IN ('claim', 'code', 'grant', 'tier', 'mall')",
        "coupon_has_its_order": "(state IN ('reserved', 'used')) = (order_id IS NOT NULL)",
        "coupon_reserved_until": "(state = 'reserved') = (reserved_until IS NOT NULL)",
        "coupon_due_while_issued": "(state = 'issued') = (due_at IS NOT NULL)",
        "coupon_usable_for_a_time": "usable_from < expires_at AND worth_fen >= 1",
    },
    "coupon_event": {
        "coupon_event_kind_known": "kind IN ('issued', 'reserved', 'used', 'released', 'returned', 'expired', 'voided')",
    },
    "order_coupon": {"order_coupon_takes_something_off": "discount_fen >= 1"},
    "coupon_code_batch": {"coupon_code_batch_has_codes": "size >= 1"},
    "coupon_grant": {
        "coupon_grant_state_known": "state IN ('running', 'done', 'stopped', 'exhausted')",
        "coupon_grant_counts_not_negative": "least(total, granted_count, skipped_count) >= 0",
        "coupon_grant_finished_once": "(state = 'running') = (finished_at IS NULL) AND (state = 'running') = (due_at IS NOT NULL)",
    },
    "session_family": {"session_family_subject_known": "subject_kind IN ('member', 'operator')"},
}

INDEXES = (
    "CREATE INDEX shop_order_state ON shop_order (state, id)",
    "CREATE INDEX member_birthday ON member "
    "((extract(month FROM birthday) * 100 + extract(day FROM birthday))) WHERE birthday IS NOT NULL",
    "CREATE INDEX payment_success ON payment (success_at)",
    "CREATE UNIQUE INDEX points_hold_live ON points_hold (cause_kind, cause_id) WHERE state IN ('pending', 'posted')",
    "CREATE UNIQUE INDEX payment_settles_order_once ON payment (order_id) WHERE outcome IN ('settled', 'revived')",
    "CREATE UNIQUE INDEX refund_returns_payment_once ON refund (payment_id) WHERE state <> 'closed'",
    "CREATE INDEX shop_order_close_due ON shop_order (close_due_at) WHERE close_due_at IS NOT NULL",
    "CREATE INDEX payment_attempt_poll_due ON payment_attempt (poll_due_at) WHERE poll_due_at IS NOT NULL",
    "CREATE INDEX payment_notice_due ON payment_notice (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX exception_case_open ON exception_case (opened_at) WHERE resolved_at IS NULL",
    "CREATE INDEX points_lot_open ON points_lot (member_id, expires_at, id) WHERE remaining > 0",
    "CREATE INDEX points_lot_ending ON points_lot (expires_at) WHERE remaining > 0 AND expires_at IS NOT NULL",
    "CREATE INDEX points_entry_cause ON points_entry (cause_id)",
    "CREATE INDEX growth_entry_cause ON growth_entry (cause_id)",
    "CREATE INDEX refresh_token_family ON refresh_token (family_id, issued_at)",
    "CREATE INDEX refresh_token_expiry ON refresh_token (expires_at)",
    "CREATE INDEX idempotency_record_age ON idempotency_record (at)",
    "CREATE INDEX referral_due ON referral (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX referral_reward_review ON referral_reward (id) WHERE needs_review",
    "CREATE INDEX referral_reward_counted ON referral_reward (paid_on, member_id) "
    "WHERE side = 'inviter' AND stage = 'first_order' AND state = 'paid'",
    "CREATE INDEX referral_reward_paid ON referral_reward (member_id, side, paid_on) WHERE paid_on IS NOT NULL",
    "CREATE UNIQUE INDEX referral_goal_unlocked_once ON referral_goal (member_id, code) WHERE lost_at IS NULL",
    "CREATE INDEX coupon_due ON coupon (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX coupon_of_order ON coupon (order_id) WHERE order_id IS NOT NULL",
    "CREATE INDEX coupon_cause ON coupon (cause_id) WHERE cause_id IS NOT NULL",
    "CREATE INDEX coupon_grant_due ON coupon_grant (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX membership_keep_due ON membership (keep_due_at) WHERE keep_due_at IS NOT NULL",
    "CREATE INDEX tier_overlay_due ON tier_overlay (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX tier_overlay_open ON tier_overlay (member_id) WHERE closed_at IS NULL",
    "CREATE UNIQUE INDEX tier_overlay_manual_once ON tier_overlay (member_id) WHERE manual AND closed_at IS NULL",
    "CREATE INDEX sku_on_shelf ON sku (product_id, position, id) WHERE NOT hidden",
)

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows: a correction is a new row', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""


def statements() -> list[str]:
    """All of it, in order."""
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
    return [*checks, *INDEXES, REFUSE_CHANGE, *triggers]


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]

    operations = [ops.RunSQL(statements())]
