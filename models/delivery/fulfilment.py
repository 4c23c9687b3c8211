"""Goods on their way: parcels with what is in them, pick-up points, and what WeChat is told of it."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class PickUpPoint(Row):
    """A place where members fetch their orders. Never deleted: orders name it."""

    name = fields.CharField(max_length=40)
    address = fields.CharField(max_length=200)
    opening_hours = fields.CharField(max_length=100, default="")
    phone = fields.CharField(max_length=20, default="")
    is_hidden = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "pick_up_point"


class Parcel(Row):
    """Something sent to a member under a tracking number; ``carrier`` is WeChat's ``delivery_id``."""

    order_id: UUID
    order = reference("Order")
    carrier = fields.CharField(max_length=32)
    tracking_number = fields.CharField(max_length=64)
    sent_at = fields.DatetimeField()
    sent_by_id: UUID
    sent_by = reference("Operator")
    voided_at = fields.DatetimeField(null=True)

    class Meta:
        table = "parcel"
        indexes = (("order_id", "id"),)


class ParcelLine(Row):
    """So many pieces of an order line in a parcel. Never changed (trigger)."""

    parcel_id: UUID
    parcel = reference("Parcel")
    order_line_id: UUID
    order_line = reference("OrderLine")
    quantity = fields.IntField()

    class Meta:
        table = "parcel_line"
        unique_together = (("parcel_id", "order_line_id"),)
        indexes = (("order_line_id",),)


class ShippingUpload(Row):
    """What WeChat's order shipping management has to be told about an order that was paid over WeChat.

    ``state`` is a ``loyalty.delivery.shipping_upload.UploadState``. ``wanted`` counts the changes, ``done`` is the last
    of them that WeChat has. ``told_at`` is the ``upload_time`` of the last try, which only grows. ``unclear`` says that
    the last try may have taken effect, so that WeChat is asked before it is told again.
    """

    order_id: UUID
    order = reference("Order")
    state = fields.CharField(max_length=16)
    wanted = fields.IntField(default=1)
    done = fields.IntField(default=0)
    tries = fields.IntField(default=0)
    unclear = fields.BooleanField(default=False)
    due_at = fields.DatetimeField(null=True)
    told_at = fields.DatetimeField(null=True)
    done_at = fields.DatetimeField(null=True)
    last_error = fields.CharField(max_length=200, default="")

    class Meta:
        table = "shipping_upload"
        unique_together = (("order_id",),)
