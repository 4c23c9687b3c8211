"""Flash sales: sessions, their items with where each piece is, tickets of orders, the queue, and rehearsals."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class FlashSale(Row):
    """A session, which sells from ``opens_at`` until before ``closes_at`` while it is published.

    ``state`` is a ``loyalty.flash_sales.flash_sale.FlashSaleState``. ``claim_minutes`` is how long an offer of the
    queue stands.
    """

    title = fields.CharField(max_length=60)
    state = fields.CharField(max_length=16)
    opens_at = fields.DatetimeField()
    closes_at = fields.DatetimeField()
    claim_minutes = fields.IntField()
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    published_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "flash_sale"
        indexes = (("state", "opens_at", "id"),)


class FlashItem(Row):
    """A SKU in a session. ``carved_count = left_count + held_count + sold_count + returned_count`` at every commit.

    ``held_count`` are the pieces of unpaid orders and of standing offers, ``waiting_count`` those that the queue still
    waits for. ``epoch`` counts the loadings of the gate, which is next held
    against this row at ``gate_due_at``. ``closed_at`` is the session's: from then on what comes back
    goes to the SKU.
    """

    sale_id: UUID
    sale = reference("FlashSale")
    sku_id: UUID
    sku = reference("Sku")
    position = fields.IntField()
    price_fen = fields.BigIntField()
    stock = fields.IntField()
    member_limit = fields.IntField()
    carved_count = fields.IntField(default=0)
    left_count = fields.IntField(default=0)
    held_count = fields.IntField(default=0)
    sold_count = fields.IntField(default=0)
    returned_count = fields.IntField(default=0)
    waiting_count = fields.IntField(default=0)
    epoch = fields.IntField(default=0)
    gate_due_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "flash_item"
        unique_together = (("sale_id", "sku_id"), ("sale_id", "position"))
        indexes = (("sku_id",),)


class FlashTicket(Row):
    """The pieces of one flash order. ``state`` is a ``loyalty.flash_sales.flash_sale.TicketState``.

    ``reservation`` is the request under which the gate knows it; ``gate_due_at`` is set while the gate is still to be
    told of what it gave back. ``returned_count`` are its pieces that refunds gave back.
    """

    item_id: UUID
    item = reference("FlashItem")
    member_id: UUID
    member = reference("Member")
    order_id: UUID
    order = reference("Order")
    quantity = fields.IntField()
    returned_count = fields.IntField(default=0)
    state = fields.CharField(max_length=16)
    reservation = fields.CharField(max_length=128, unique=True)
    gate_due_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    resolved_at = fields.DatetimeField(null=True)

    class Meta:
        table = "flash_ticket"
        unique_together = (("order_id",),)
        indexes = (("item_id", "member_id"),)


class FlashWait(Row):
    """A place in the queue for an item, in the order of ids. ``state`` is a
    ``loyalty.flash_sales.flash_sale.WaitState``.

    While it is offered its pieces are held until before ``claim_by``; claimed, they are those of ``order_id``.
    """

    item_id: UUID
    item = reference("FlashItem")
    member_id: UUID
    member = reference("Member")
    quantity = fields.IntField()
    state = fields.CharField(max_length=16)
    created_at = fields.DatetimeField()
    offered_at = fields.DatetimeField(null=True)
    claim_by = fields.DatetimeField(null=True)
    order_id: UUID | None
    order = reference("Order", null=True)
    settled_at = fields.DatetimeField(null=True)

    class Meta:
        table = "flash_wait"
        indexes = (("member_id", "id"),)


class FlashRehearsal(Row):
    """A rehearsal of a session by made-up buyers, and what came of it. ``state`` is a ``RehearsalState``.

    ``result`` is empty until it is done; ``due_at`` is the lease of who runs it.
    """

    sale_id: UUID
    sale = reference("FlashSale")
    state = fields.CharField(max_length=16)
    buyers = fields.IntField()
    answered_count = fields.IntField(default=0)
    result: Any = fields.JSONField(null=True)
    failure = fields.CharField(max_length=200, default="")
    due_at = fields.DatetimeField(null=True)
    started_at = fields.DatetimeField()
    started_by_id: UUID
    started_by = reference("Operator")
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "flash_rehearsal"
        indexes = (("sale_id", "id"),)
