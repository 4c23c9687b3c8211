"""What shipping costs: templates, the versions of their terms, and how the fee of each order came about."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class ShippingTemplate(Row):
    """A set of fees that products are shipped under. ``version`` is the number of the terms in force.

    At most one is the default, for the products that name none.
    """

    code = fields.CharField(max_length=40, unique=True)
    title = fields.CharField(max_length=60)
    version = fields.IntField()
    is_default = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "shipping_template"


class ShippingTemplateVersion(Row):
    """One version of a template's terms: what ``loyalty.delivery.shipping.ShippingTerms`` parses.

    Never changed (trigger).
    """

    template_id: UUID
    template = reference("ShippingTemplate")
    version = fields.IntField()
    definition: Any = fields.JSONField()
    made_at = fields.DatetimeField()
    made_by_id: UUID
    made_by = reference("Operator")

    class Meta:
        table = "shipping_template_version"
        unique_together = (("template_id", "version"),)


class OrderShipping(Row):
    """How the fee of an order came about. Never changed (trigger).

    ``parts`` names each template with its version, its share and whether its goods ship free; ``full_fen`` is the fee
    before ``waived_by`` (a ``loyalty.delivery.shipping.Waiver``) took it off. ``placed_on`` is the shop day.
    """

    order_id: UUID
    order = reference("Order")
    member_id: UUID
    member = reference("Member")
    full_fen = fields.BigIntField()
    fee_fen = fields.BigIntField()
    waived_by = fields.CharField(max_length=16, null=True)
    parts: Any = fields.JSONField()
    placed_on = fields.DateField()

    class Meta:
        table = "order_shipping"
        unique_together = (("order_id",),)
