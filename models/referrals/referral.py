"""Referral: codes and tokens to share, who brought whom, what it paid to whom, goals, and why each was decided so."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from models.base import Row, owner, reference


class ReferralCode(Model):
    """The code that a member gives to friends; it never changes."""

    member_id: UUID
    member = owner()
    code = fields.CharField(max_length=8, unique=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "referral_code"


class ReferralToken(Row):
    """A short random text that fits a QR code's scene and stands for a member, a way of coming and a campaign."""

    token = fields.CharField(max_length=20, unique=True)
    member_id: UUID
    member = reference("Member")
    source = fields.CharField(max_length=16)
    campaign = fields.CharField(max_length=40, default="")
    created_at = fields.DatetimeField()

    class Meta:
        table = "referral_token"
        unique_together = (("member_id", "source", "campaign"),)


class Referral(Row):
    """Who brought a member: once in a life (unique), under the rules of ``version`` until the end.

    ``upline`` is who had brought the inviter. ``order`` is the friend's order that counted. ``due_at`` is when the
    clock looks at it again, null when nothing is left to wait for.
    """

    invitee_id: UUID
    invitee: Any = fields.OneToOneField("store.Member", related_name=False, on_delete=fields.RESTRICT)
    inviter_id: UUID
    inviter = reference("Member")
    upline_id: UUID | None
    upline = reference("Member", null=True)
    source = fields.CharField(max_length=16)
    campaign = fields.CharField(max_length=40, default="")
    version_id: UUID
    version = reference("ProgrammeVersion")
    clicked_at = fields.DatetimeField()
    bound_at = fields.DatetimeField()
    order_id: UUID | None
    order: Any = fields.OneToOneField("store.Order", related_name=False, on_delete=fields.RESTRICT, null=True)
    due_at = fields.DatetimeField(null=True)

    class Meta:
        table = "referral"
        indexes = (("inviter_id", "id"),)


class ReferralReward(Row):
    """What one side gets for one stage of a referral. ``state`` is a ``loyalty.referrals.referral.ReferralState``.

    The inviter's first-order row is there even if it pays nothing: it says whether the friend counts. ``paid_at`` and
    ``paid_on`` (the shop's day) stay when a paid reward is clawed back.
    """

    referral_id: UUID
    referral = reference("Referral")
    member_id: UUID
    member = reference("Member")
    stage = fields.CharField(max_length=16)
    side = fields.CharField(max_length=16)
    points = fields.BigIntField()
    growth = fields.BigIntField()
    state = fields.CharField(max_length=16)
    reason = fields.CharField(max_length=32, null=True)
    qualified_at = fields.DatetimeField(null=True)
    held_until = fields.DatetimeField(null=True)
    risk_score = fields.IntField(null=True)
    evidence: Any = fields.JSONField(null=True)
    needs_review = fields.BooleanField(default=False)
    review = fields.CharField(max_length=16, default="none")
    reviewed_by_id: UUID | None
    reviewed_by = reference("Operator", null=True)
    reviewed_at = fields.DatetimeField(null=True)
    review_note = fields.CharField(max_length=200, default="")
    paid_at = fields.DatetimeField(null=True)
    paid_on = fields.DateField(null=True)
    ended_at = fields.DatetimeField(null=True)

    class Meta:
        table = "referral_reward"
        unique_together = (("referral_id", "stage", "side"),)
        indexes = (("member_id", "id"),)


class ReferralGoal(Row):
    """A goal that a member unlocked by the rules of ``version``; ``lost_at`` when claw-backs took it away again."""

    member_id: UUID
    member = reference("Member")
    code = fields.CharField(max_length=40)
    friends = fields.IntField()
    points = fields.BigIntField()
    growth = fields.BigIntField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    unlocked_at = fields.DatetimeField()
    lost_at = fields.DatetimeField(null=True)

    class Meta:
        table = "referral_goal"
        indexes = (("member_id", "id"),)


class ReferralTrace(Row):
    """A device or network that a member came from, as a keyed hash, and when last. It is forgotten after a while."""

    member_id: UUID
    member = reference("Member")
    kind = fields.CharField(max_length=16)
    mark = fields.CharField(max_length=64)
    seen_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "referral_trace"
        unique_together = (("member_id", "kind", "mark"),)


class ReferralSwitch(Row):
    """Somebody stopped the programme or let it go on. The latest row counts; without one it runs. Never changed."""

    running = fields.BooleanField()
    reason = fields.CharField(max_length=200)
    operator_id: UUID
    operator = reference("Operator")
    at = fields.DatetimeField()

    class Meta:
        table = "referral_switch"


class ReferralDecision(Row):
    """Why a binding, a reward or a goal was decided so: the rules' version, what went in, what came out. Never changed.

    ``subject`` is ``binding``, ``reward`` or ``goal``; ``subject_id`` its row, null where a binding was refused.
    """

    member_id: UUID
    member = reference("Member")
    subject = fields.CharField(max_length=32)
    subject_id = fields.UUIDField(null=True)
    at = fields.DatetimeField()
    version_id: UUID
    version = reference("ProgrammeVersion")
    inputs: Any = fields.JSONField()
    outcome = fields.CharField(max_length=64)

    class Meta:
        table = "referral_decision"
        indexes = (("member_id", "id"), ("subject_id",))
