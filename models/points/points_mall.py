"""The points mall: its items, the versions of their terms, what members exchanged, and the ledger of items' stock."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class MallItem(Row):
    """Something that points buy, offered from ``opens_at`` until before ``closes_at`` while it is published.

    ``version`` is the number of the terms in force. ``stock_left`` is the sum of the item's stock entries; None: its
    SKU's stock counts instead, or nothing is counted. ``exchanged_count`` and ``exchanged_points`` are the pieces and
    points of its exchanges that were not given back.
    """

    kind = fields.CharField(max_length=16)
    state = fields.CharField(max_length=16, default="draft")
    title = fields.CharField(max_length=60)
    description = fields.TextField(default="")
    image_url = fields.CharField(max_length=512, default="")
    sku_id: UUID | None
    sku = reference("Sku", null=True)
    stock_left = fields.IntField(null=True)
    version = fields.IntField()
    opens_at = fields.DatetimeField(null=True)
    closes_at = fields.DatetimeField(null=True)
    exchanged_count = fields.BigIntField(default=0)
    exchanged_points = fields.BigIntField(default=0)
    published_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "mall_item"
        indexes = (("state", "published_at", "id"),)


class MallItemVersion(Row):
    """One version of an item's terms: what ``loyalty.points.points_mall.MallItem`` parses. Never changed (trigger)."""

    item_id: UUID
    item = reference("MallItem")
    version = fields.IntField()
    definition: Any = fields.JSONField()
    made_at = fields.DatetimeField()
    made_by_id: UUID
    made_by = reference("Operator")

    class Meta:
        table = "mall_item_version"
        unique_together = (("item_id", "version"),)


class MallExchange(Row):
    """What an order of the kind ``mall`` is about: so many pieces of an item under a version of its terms.

    ``points`` is what all of them cost together. Never changed (trigger); the order says what became of it.
    """

    order_id: UUID
    order = reference("Order")
    member_id: UUID
    member = reference("Member")
    item_id: UUID
    item = reference("MallItem")
    version_id: UUID
    version = reference("MallItemVersion")
    quantity = fields.IntField()
    points = fields.BigIntField()

    class Meta:
        table = "mall_exchange"
        unique_together = (("order_id",),)
        indexes = (("item_id", "member_id"),)


class MallStockEntry(Row):
    """One move of an item's own stock, signed from the shelf's point of view. Never changed (trigger).

    ``kind`` is a ``loyalty.catalogue.catalogue.StockKind``; ``left_after`` is what was left once the move was made;
    ``note`` is the operator's reason of a supply.
    """

    item_id: UUID
    item = reference("MallItem")
    kind = fields.CharField(max_length=16)
    amount = fields.IntField()
    left_after = fields.IntField()
    cause_id = fields.UUIDField()
    note = fields.CharField(max_length=200, default="")
    at = fields.DatetimeField()

    class Meta:
        table = "mall_stock_entry"
        unique_together = (("cause_id", "item_id", "kind"),)
        indexes = (("item_id", "id"),)
