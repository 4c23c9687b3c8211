from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from models.base import id_must_be_given


class Migration(migrations.Migration):
    dependencies = [("store", "0002_constraints")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Address",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                (
                    "member",
                    fields.ForeignKeyField(
                        "store.Member",
                        source_field="member_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("region_code", fields.CharField(max_length=6)),
                ("province", fields.CharField(max_length=32)),
                ("city", fields.CharField(max_length=32)),
                ("district", fields.CharField(max_length=32)),
                ("sealed", fields.TextField(unique=False)),
                ("label", fields.CharField(default="", max_length=16)),
                ("is_default", fields.BooleanField(default=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "address",
                "app": "store",
                "indexes": [Index(fields=["member_id", "id"])],
                "pk_attr": "id",
                "table_description": "One entry of a member's address book; at most one of them is the default.",
            },
            bases=["Row"],
        ),
        ops.CreateModel(
            name="CartLine",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                (
                    "member",
                    fields.ForeignKeyField(
                        "store.Member",
                        source_field="member_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "sku",
                    fields.ForeignKeyField(
                        "store.Sku",
                        source_field="sku_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("quantity", fields.IntField()),
                ("selected", fields.BooleanField(default=True)),
                ("added_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "cart_line",
                "app": "store",
                "unique_together": (("member_id", "sku_id"),),
                "pk_attr": "id",
                "table_description": "So many of one SKU in a member's cart. ``updated_at`` is when its quantity last changed.",
            },
            bases=["Row"],
        ),
        ops.CreateModel(
            name="OrderAddress",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                (
                    "order",
                    fields.ForeignKeyField(
                        "store.Order",
                        source_field="order_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("region_code", fields.CharField(max_length=6)),
                ("province", fields.CharField(max_length=32)),
                ("city", fields.CharField(max_length=32)),
                ("district", fields.CharField(max_length=32)),
                ("sealed", fields.TextField(unique=False)),
            ],
            options={
                "table": "order_address",
                "app": "store",
                "unique_together": (("order_id",),),
                "pk_attr": "id",
                "table_description": "The address that an order is shipped to, as it was when it was placed. Never changed (trigger).",
            },
            bases=["Row"],
        ),
        ops.CreateModel(
            name="OrderShipping",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                (
                    "order",
                    fields.ForeignKeyField(
                        "store.Order",
                        source_field="order_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "member",
                    fields.ForeignKeyField(
                        "store.Member",
                        source_field="member_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("full_fen", fields.BigIntField()),
                ("fee_fen", fields.BigIntField()),
                ("waived_by", fields.CharField(null=True, max_length=16)),
                ("parts", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("placed_on", fields.DateField()),
            ],
            options={
                "table": "order_shipping",
                "app": "store",
                "unique_together": (("order_id",),),
                "pk_attr": "id",
                "table_description": "How the fee of an order came about. Never changed (trigger).",
            },
            bases=["Row"],
        ),
        ops.CreateModel(
            name="ShippingTemplate",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                ("code", fields.CharField(unique=True, max_length=40)),
                ("title", fields.CharField(max_length=60)),
                ("version", fields.IntField()),
                ("is_default", fields.BooleanField(default=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "shipping_template",
                "app": "store",
                "pk_attr": "id",
                "table_description": "A set of fees that products are shipped under. ``version`` is the number of the terms in force.",
            },
            bases=["Row"],
        ),
        ops.CreateModel(
            name="ShippingTemplateVersion",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=id_must_be_given, unique=True, db_index=True)),
                (
                    "template",
                    fields.ForeignKeyField(
                        "store.ShippingTemplate",
                        source_field="template_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("version", fields.IntField()),
                ("definition", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("made_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                (
                    "made_by",
                    fields.ForeignKeyField(
                        "store.Operator",
                        source_field="made_by_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
            ],
            options={
                "table": "shipping_template_version",
                "app": "store",
                "unique_together": (("template_id", "version"),),
                "pk_attr": "id",
                "table_description": "One version of a template's terms: what ``loyalty.shipping.ShippingTerms`` parses. Never changed (trigger).",
            },
            bases=["Row"],
        ),
        ops.AlterModelOptions(
            name="CouponQuota",
            options={
                "table": "coupon_quota",
                "app": "store",
                "pk_attr": "template_id",
                "table_description": "What a template may give out and has: the row that everybody wants, changed by guarded updates only.",
            },
        ),
        ops.AlterModelOptions(
            name="Membership",
            options={
                "table": "membership",
                "app": "store",
                "indexes": [Index(fields=["tier_code", "growth_value"])],
                "pk_attr": "member_id",
                "table_description": "Where a member stands. ``growth_value`` is the sum of the growth entries, ``seq`` their count.",
            },
        ),
        ops.AddField(
            model_name="Order",
            name="promotion_fen",
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name="Order",
            name="shipping_coupon_fen",
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name="Order",
            name="shipping_fen",
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name="OrderLine",
            name="promotion_fen",
            field=fields.BigIntField(default=0),
        ),
        ops.AlterModelOptions(
            name="PointsAccount",
            options={
                "table": "points_account",
                "app": "store",
                "pk_attr": "member_id",
                "table_description": "One member's caches of the ledger, changed only together with it. ``debt`` is what a claw-back could not take.",
            },
        ),
        ops.AddField(
            model_name="Product",
            name="shipping_template",
            field=fields.ForeignKeyField(
                "store.ShippingTemplate",
                source_field="shipping_template_id",
                null=True,
                db_constraint=True,
                to_field="id",
                related_name=False,
                on_delete=OnDelete.RESTRICT,
            ),
        ),
        ops.AlterModelOptions(
            name="ReferralCode",
            options={
                "table": "referral_code",
                "app": "store",
                "pk_attr": "member_id",
                "table_description": "The code that a member gives to friends; it never changes.",
            },
        ),
        ops.AddField(
            model_name="Sku",
            name="weight_g",
            field=fields.IntField(default=0),
        ),
    ]
