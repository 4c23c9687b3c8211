"""What is sold: categories, products, their media, SKUs, and the ledger of stock moves."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class Category(Row):
    """A shelf of the shop, at most one level under another."""

    parent_id: UUID | None
    parent = reference("Category", null=True)
    name = fields.CharField(max_length=32, unique=True)
    position = fields.IntField(default=0)
    hidden = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()

    class Meta:
        table = "category"


class Product(Row):
    """Something to buy, in one or more SKUs. ``state`` is ``draft``, ``published`` or ``hidden``.

    Without a shipping template of its own it is shipped under the shop's default one. ``no_return_cause`` is a
    ``loyalty.payments.after_sale.NoReturnCause``; null: it can be returned without a reason.
    """

    category_id: UUID | None
    category = reference("Category", null=True)
    shipping_template_id: UUID | None
    shipping_template = reference("ShippingTemplate", null=True)
    title = fields.CharField(max_length=60)
    subtitle = fields.CharField(max_length=120, default="")
    description = fields.TextField(default="")
    no_return_cause = fields.CharField(max_length=16, null=True)
    state = fields.CharField(max_length=16, default="draft")
    published_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "product"
        indexes = (("state", "published_at", "id"), ("category_id", "state", "published_at", "id"))


class ProductMedia(Row):
    """A picture or video of a product; ``kind`` is ``image`` or ``video``."""

    product_id: UUID
    product = reference("Product")
    kind = fields.CharField(max_length=16)
    url = fields.CharField(max_length=512)
    position = fields.IntField()

    class Meta:
        table = "product_media"
        indexes = (("product_id", "position"),)


class Sku(Row):
    """One thing with one price and one stock. ``stock_left`` is the sum of its stock entries, never below zero.

    ``weight_g`` is the weight of one piece as it is shipped, in grams.
    """

    product_id: UUID
    product = reference("Product")
    code = fields.CharField(max_length=64, unique=True)
    title = fields.CharField(max_length=60)
    price_fen = fields.BigIntField()
    member_price_fen = fields.BigIntField(null=True)
    stock_left = fields.IntField(default=0)
    purchase_limit = fields.IntField(null=True)
    weight_g = fields.IntField(default=0, db_default=0)
    hidden = fields.BooleanField(default=False)
    position = fields.IntField(default=0)
    created_at = fields.DatetimeField()

    class Meta:
        table = "sku"
        indexes = (("product_id", "position"),)


class StockEntry(Row):
    """One move of stock, signed from the shelf's point of view. Rows are never changed (trigger).

    ``kind`` is a ``loyalty.catalogue.catalogue.StockKind``; ``left_after`` is the stock left once the move was made;
    ``note`` is the operator's reason of a supply.
    """

    sku_id: UUID
    sku = reference("Sku")
    kind = fields.CharField(max_length=16)
    amount = fields.IntField()
    left_after = fields.IntField()
    cause_id = fields.UUIDField()
    note = fields.CharField(max_length=200, default="")
    at = fields.DatetimeField()

    class Meta:
        table = "stock_entry"
        unique_together = (("cause_id", "sku_id", "kind"),)
        indexes = (("sku_id", "id"),)
