"""What members have in their carts."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class CartLine(Row):
    """So many of one SKU in a member's cart. ``updated_at`` is when its quantity last changed."""

    member_id: UUID
    member = reference("Member")
    sku_id: UUID
    sku = reference("Sku")
    quantity = fields.IntField()
    selected = fields.BooleanField(default=True)
    added_at = fields.DatetimeField()
    updated_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "cart_line"
        unique_together = (("member_id", "sku_id"),)
