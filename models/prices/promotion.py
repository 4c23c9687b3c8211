"""Promotions: what they are, the versions of their terms, what is left of them, and what orders took off by them."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, reference


class Promotion(Row):
    """One promotion as it stands; ``version`` is the number of the terms in force.

    While it is published it runs from ``opens_at`` until before ``closes_at``; null is open.
    """

    code = fields.CharField(max_length=40, unique=True)
    kind = fields.CharField(max_length=16)
    state = fields.CharField(max_length=16, default="draft")
    title = fields.CharField(max_length=60)
    priority = fields.IntField(default=0)
    version = fields.IntField()
    opens_at = fields.DatetimeField(null=True)
    closes_at = fields.DatetimeField(null=True)
    published_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "promotion"


class PromotionVersion(Row):
    """What a promotion said at a time.

    ``definition`` is what ``loyalty.prices.promotion_terms.PromotionTerms`` parses.
    Never changed (trigger).
    """

    promotion_id: UUID
    promotion = reference("Promotion")
    version = fields.IntField()
    title = fields.CharField(max_length=60)
    priority = fields.IntField()
    opens_at = fields.DatetimeField(null=True)
    closes_at = fields.DatetimeField(null=True)
    definition: Any = fields.JSONField()
    made_at = fields.DatetimeField()
    made_by_id: UUID
    made_by = reference("Operator")

    class Meta:
        table = "promotion_version"
        unique_together = (("promotion_id", "version"),)


class PromotionQuota(Model):
    """How often a promotion may be used and was, and what that costs: changed by guarded updates only.

    ``used_count`` and ``spent_fen`` are the sums of its holds that are pending or posted.
    """

    promotion_id: UUID
    promotion: Any = fields.OneToOneField(
        "store.Promotion", related_name=False, on_delete=fields.RESTRICT, primary_key=True
    )
    total_limit = fields.IntField(null=True)
    budget_fen = fields.BigIntField(null=True)
    used_count = fields.IntField(default=0)
    spent_fen = fields.BigIntField(default=0)

    class Meta:
        table = "promotion_quota"


class OrderPromotion(Row):
    """What a promotion took off an order and each of its lines, in fen. Never changed (trigger).

    ``of_pieces``: it is part of the lines' ``discount_fen``, else of their ``promotion_fen``.
    """

    order_id: UUID
    order = reference("Order")
    promotion_id: UUID
    promotion = reference("Promotion")
    version_id: UUID
    version = reference("PromotionVersion")
    uses = fields.IntField()
    discount_fen = fields.BigIntField()
    of_pieces = fields.BooleanField()
    shares: Any = fields.JSONField()

    class Meta:
        table = "order_promotion"
        unique_together = (("order_id", "promotion_id"),)
        indexes = (("promotion_id",),)


class PromotionHold(Row):
    """Uses of a promotion that an order or a kept quote holds: a ``loyalty.prices.promotion.PromotionHoldState``.

    A quote's hold counts until before ``expires_at``; the order that is placed from it takes it over.
    """

    promotion_id: UUID
    promotion = reference("Promotion")
    member_id: UUID
    member = reference("Member")
    order_id: UUID | None
    order = reference("Order", null=True)
    quote_id: UUID | None
    quote = reference("OrderQuote", null=True)
    state = fields.CharField(max_length=16)
    uses = fields.IntField()
    discount_fen = fields.BigIntField()
    expires_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()
    resolved_at = fields.DatetimeField(null=True)

    class Meta:
        table = "promotion_hold"
        indexes = (("quote_id",),)


class OrderQuote(Row):
    """A price that is kept for a member until before ``expires_at``, for one order.

    ``content`` is what was asked for, ``frozen`` the prices, the tier and the promotions that it was priced with.
    """

    member_id: UUID
    member = reference("Member")
    state = fields.CharField(max_length=16)
    content: Any = fields.JSONField()
    frozen: Any = fields.JSONField()
    payable_fen = fields.BigIntField()
    expires_at = fields.DatetimeField()
    order_id: UUID | None
    order = reference("Order", null=True)
    made_at = fields.DatetimeField()
    resolved_at = fields.DatetimeField(null=True)

    class Meta:
        table = "order_quote"
        indexes = (("member_id", "id"),)
