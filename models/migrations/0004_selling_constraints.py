"""What the tables of selling promise beyond types and keys: checks, partial indexes, and ledgers that only grow."""

from tortoise import migrations
from tortoise.migrations import operations as ops

APPEND_ONLY = (
    "order_address",
    "shipping_template_version",
    "order_shipping",
)

CHECKS = {
    "sku": {"sku_weight_not_negative": "weight_g >= 0"},
    "address": {"address_region_is_a_code": "region_code ~ '^[1-9][0-9]{5}$'"},
    "order_address": {"order_address_region_is_a_code": "region_code ~ '^[1-9][0-9]{5}$'"},
    "order_shipping": {
        "order_shipping_fee_within_full": "fee_fen >= 0 AND fee_fen <= full_fen",
        "order_shipping_waived_is_free": "waived_by IS NULL OR fee_fen = 0",
    },
    "cart_line": {"cart_line_of_something": "quantity BETWEEN 1 AND 999"},
}

REPLACED = {
    "shop_order": {
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
    "CREATE UNIQUE INDEX address_default_once ON address (member_id) WHERE is_default",
    "CREATE UNIQUE INDEX shipping_template_default_once ON shipping_template ((1)) WHERE is_default",
    "CREATE INDEX order_shipping_waived ON order_shipping (member_id, placed_on) WHERE waived_by = 'tier'",
)


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
    return [*replaced, *checks, *INDEXES, *triggers]


class Migration(migrations.Migration):
    dependencies = [("store", "0003_selling")]

    operations = [ops.RunSQL(statements())]
