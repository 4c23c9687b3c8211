"""Group-buy: campaigns and their items, teams, and the seat of each order."""

from typing import Any
from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class GroupBuy(Row):
    """A campaign: teams are opened from ``opens_at`` until before ``closes_at`` while it is published.

    ``state`` is a ``loyalty.group_buys.group_buy.GroupBuyState``; ``sizes`` are ascending, and each item has a price
    for each.
    """

    title = fields.CharField(max_length=60)
    state = fields.CharField(max_length=16)
    opens_at = fields.DatetimeField()
    closes_at = fields.DatetimeField()
    sizes: Any = fields.JSONField()
    team_hours = fields.IntField()
    virtual_from = fields.IntField(null=True)
    newcomers_only = fields.BooleanField()
    member_limit = fields.IntField(null=True)
    most_pieces = fields.IntField()
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    published_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "group_buy"
        indexes = (("state", "opens_at", "id"),)


class GroupItem(Row):
    """A SKU of a campaign. ``prices_fen`` has the price of a piece for each of the campaign's sizes."""

    group_buy_id: UUID
    group_buy = reference("GroupBuy")
    sku_id: UUID
    sku = reference("Sku")
    position = fields.IntField()
    prices_fen: Any = fields.JSONField()

    class Meta:
        table = "group_item"
        unique_together = (("group_buy_id", "sku_id"), ("group_buy_id", "position"))
        indexes = (("sku_id",),)


class GroupTeam(Row):
    """A team: ``joined_count`` seats taken and ``held_count`` held of ``size``, never more.

    ``state`` is a ``loyalty.group_buys.group_buy.TeamState``. ``opened_at`` and ``ends_at`` are set when the leader has
    paid; ``leader_id`` is null while everybody who paid has left. ``due_at`` is when its time ends, while it is open.
    What leaves a team that has ended is not counted off.
    """

    group_buy_id: UUID
    group_buy = reference("GroupBuy")
    token = fields.CharField(max_length=32, unique=True)
    size = fields.IntField()
    state = fields.CharField(max_length=16)
    leader_id: UUID | None
    leader = reference("Member", null=True)
    joined_count = fields.IntField(default=0)
    held_count = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    opened_at = fields.DatetimeField(null=True)
    ends_at = fields.DatetimeField(null=True)
    settled_at = fields.DatetimeField(null=True)
    due_at = fields.DatetimeField(null=True)

    class Meta:
        table = "group_team"
        indexes = (("group_buy_id", "state", "ends_at", "id"),)


class GroupSeat(Row):
    """The seat of one order in a team. ``state`` is a ``loyalty.group_buys.group_buy.SeatState``, ``fallback`` what its
    member wants when there is none any more.

    An order, and a member in a team, has at most one seat that is held or taken (partial unique indexes). ``due_at`` is
    set once its team has ended, until its order has been seen to.
    """

    team_id: UUID
    team = reference("GroupTeam")
    order_id: UUID
    order = reference("Order")
    member_id: UUID
    member = reference("Member")
    fallback = fields.CharField(max_length=16)
    state = fields.CharField(max_length=16)
    created_at = fields.DatetimeField()
    posted_at = fields.DatetimeField(null=True)
    resolved_at = fields.DatetimeField(null=True)
    due_at = fields.DatetimeField(null=True)

    class Meta:
        table = "group_seat"
        indexes = (("team_id", "id"), ("member_id", "id"), ("order_id",))
