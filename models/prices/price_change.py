"""The history of prices: what a SKU cost from when on, and what it had really cost before."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class PriceChange(Row):
    """A SKU's prices from ``at`` on, numbered 1, 2, 3 … for each SKU. Never changed (trigger).

    ``began_at`` is when ``price_fen`` began, which is earlier than ``at`` when only the member price changed.
    ``baseline_fen`` is the only price that may be struck through beside ``price_fen``, null if none may. Who changed it
    is in the audit log.
    """

    sku_id: UUID
    sku = reference("Sku")
    seq = fields.IntField()
    price_fen = fields.BigIntField()
    member_price_fen = fields.BigIntField(null=True)
    baseline_fen = fields.BigIntField(null=True)
    began_at = fields.DatetimeField()
    at = fields.DatetimeField()

    class Meta:
        table = "price_change"
        unique_together = (("sku_id", "seq"),)
