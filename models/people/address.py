"""Where things are sent: members' address books, and the address that each order is shipped to."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class Address(Row):
    """One entry of a member's address book; at most one of them is the default.

    ``sealed`` is the encrypted contact: recipient, phone and street (``resolvers.people.address``). The region is
    plain, because shipping fees are found by it.
    """

    member_id: UUID
    member = reference("Member")
    region_code = fields.CharField(max_length=6)
    province = fields.CharField(max_length=32)
    city = fields.CharField(max_length=32)
    district = fields.CharField(max_length=32)
    sealed = fields.TextField()
    label = fields.CharField(max_length=16, default="")
    is_default = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "address"
        indexes = (("member_id", "id"),)


class OrderAddress(Row):
    """The address that an order is shipped to, as it was when it was placed. Never changed (trigger).

    ``sealed`` is the encrypted contact, sealed for the order.
    """

    order_id: UUID
    order = reference("Order")
    region_code = fields.CharField(max_length=6)
    province = fields.CharField(max_length=32)
    city = fields.CharField(max_length=32)
    district = fields.CharField(max_length=32)
    sealed = fields.TextField()

    class Meta:
        table = "order_address"
        unique_together = (("order_id",),)
