"""Coupons: templates and the versions of their terms, what is left to give out, members' coupons, codes and grants."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, reference


class CouponTemplate(Row):
    """What its coupons do. ``version`` is the number of the terms in force; ``code`` is how benefits name it.

    Given out from ``opens_at`` until before ``closes_at`` while it is published; only what is ``claimable`` can be
    taken by members themselves.
    """

    code = fields.CharField(max_length=40, unique=True)
    kind = fields.CharField(max_length=16)
    state = fields.CharField(max_length=16, default="draft")
    title = fields.CharField(max_length=60)
    description = fields.TextField(default="")
    claimable = fields.BooleanField(default=True)
    version = fields.IntField()
    opens_at = fields.DatetimeField(null=True)
    closes_at = fields.DatetimeField(null=True)
    published_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "coupon_template"
        indexes = (("state", "published_at", "id"),)


class CouponTemplateVersion(Row):
    """One version of a template's terms: what ``loyalty.coupons.coupon_terms.CouponTerms`` parses.

    Never changed (trigger).
    """

    template_id: UUID
    template = reference("CouponTemplate")
    version = fields.IntField()
    definition: Any = fields.JSONField()
    made_at = fields.DatetimeField()
    made_by_id: UUID
    made_by = reference("Operator")

    class Meta:
        table = "coupon_template_version"
        unique_together = (("template_id", "version"),)


class CouponQuota(Model):
    """What a template may give out and has: the row that everybody wants, changed by guarded updates only.

    ``day_count`` are those of the shop day ``day``. ``committed_fen`` is what its coupons can cost at most, those that
    are expired or void apart.
    """

    template_id: UUID
    template: Any = fields.OneToOneField(
        "store.CouponTemplate", related_name=False, on_delete=fields.RESTRICT, primary_key=True
    )
    total_limit = fields.IntField(null=True)
    daily_limit = fields.IntField(null=True)
    budget_fen = fields.BigIntField(null=True)
    issued_count = fields.IntField(default=0)
    day = fields.DateField(null=True)
    day_count = fields.IntField(default=0)
    committed_fen = fields.BigIntField(default=0)

    class Meta:
        table = "coupon_quota"


class Coupon(Row):
    """One member's coupon, usable from ``usable_from`` until before ``expires_at``.

    ``claim_key`` says what gave it, once for each template (unique); ``cause_id`` names it. ``worth_fen`` is what it
    can cost at most. ``order_id`` is the order that has reserved or used it, ``reserved_until`` that order's pay
    deadline: it stays reserved until the order is closed, because WeChat may still say that it was paid. ``due_at`` is
    when it expires, while it is issued. ``extended_at`` is when a closed order last gave it more time.
    ``till_use_id`` is the use at a till that it is used up by, and ``gift_count`` says how often it was given on.
    """

    template_id: UUID
    template = reference("CouponTemplate")
    version_id: UUID
    version = reference("CouponTemplateVersion")
    member_id: UUID
    member = reference("Member")
    state = fields.CharField(max_length=16)
    channel = fields.CharField(max_length=16)
    claim_key = fields.CharField(max_length=120)
    cause_id: UUID | None = fields.UUIDField(null=True)
    worth_fen = fields.BigIntField(null=True)
    usable_from = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    due_at = fields.DatetimeField(null=True)
    order_id: UUID | None
    order = reference("Order", null=True)
    reserved_until = fields.DatetimeField(null=True)
    extended_at = fields.DatetimeField(null=True)
    till_use_id: UUID | None = fields.UUIDField(null=True)
    gift_count = fields.IntField(default=0, db_default=0)
    issued_at = fields.DatetimeField()
    issued_on = fields.DateField()

    class Meta:
        table = "coupon"
        unique_together = (("template_id", "claim_key"),)
        indexes = (("member_id", "template_id"), ("member_id", "state", "expires_at"))


class CouponEvent(Row):
    """One thing that happened to a coupon, numbered 1, 2, 3 … for each. Never changed (trigger)."""

    coupon_id: UUID
    coupon = reference("Coupon")
    seq = fields.IntField()
    kind = fields.CharField(max_length=16)
    order_id: UUID | None
    order = reference("Order", null=True)
    details: Any = fields.JSONField()
    at = fields.DatetimeField()

    class Meta:
        table = "coupon_event"
        unique_together = (("coupon_id", "seq"),)


class OrderCoupon(Row):
    """What a coupon takes off an order: off each line by position, and off its shipping. Never changed (trigger)."""

    order_id: UUID
    order = reference("Order")
    coupon_id: UUID
    coupon = reference("Coupon")
    discount_fen = fields.BigIntField()
    shares: Any = fields.JSONField()
    shipping_fen = fields.BigIntField(default=0, db_default=0)

    class Meta:
        table = "order_coupon"
        unique_together = (("order_id", "coupon_id"),)
        indexes = (("coupon_id",),)


class CouponCodeBatch(Row):
    """Codes that were made together. None of them can be redeemed from ``closes_at`` on."""

    template_id: UUID
    template = reference("CouponTemplate")
    title = fields.CharField(max_length=60)
    size = fields.IntField()
    closes_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()
    made_by_id: UUID
    made_by = reference("Operator")

    class Meta:
        table = "coupon_code_batch"
        indexes = (("template_id", "id"),)


class CouponCode(Row):
    """A code that gives a coupon to the first member who types it; then it names that coupon."""

    batch_id: UUID
    batch = reference("CouponCodeBatch")
    code = fields.CharField(max_length=16, unique=True)
    coupon_id: UUID | None
    coupon = reference("Coupon", null=True)

    class Meta:
        table = "coupon_code"
        unique_together = (("coupon_id",),)
        indexes = (("batch_id", "id"),)


class CouponGrant(Row):
    """A template's coupons for many members: a job that goes through them in steps, up to ``cursor`` so far.

    ``audience`` names the members or tiers, or is empty for everybody who had joined when it was started. ``due_at`` is
    when the next step may be taken, null when there is none.
    """

    template_id: UUID
    template = reference("CouponTemplate")
    state = fields.CharField(max_length=16)
    audience: Any = fields.JSONField()
    reason = fields.CharField(max_length=200)
    total = fields.IntField()
    granted_count = fields.IntField(default=0)
    skipped_count = fields.IntField(default=0)
    cursor: UUID | None = fields.UUIDField(null=True)
    due_at = fields.DatetimeField(null=True)
    started_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)
    started_by_id: UUID
    started_by = reference("Operator")

    class Meta:
        table = "coupon_grant"
