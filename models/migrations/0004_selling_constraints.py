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

INDEXES = (
    "CREATE UNIQUE INDEX address_default_once ON address (member_id) WHERE is_default",
    "CREATE UNIQUE INDEX shipping_template_default_once ON shipping_template ((1)) WHERE is_default",
    "CREATE INDEX order_shipping_waived ON order_shipping (member_id, placed_on) WHERE waived_by = 'tier'",
)


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
    return [*checks, *INDEXES, *triggers]


class Migration(migrations.Migration):
    dependencies = [("store", "0003_selling")]

    operations = [ops.RunSQL(statements())]
