"""Sign-in sessions: a family of refresh tokens for each login."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class SessionFamily(Row):
    """One login on one device. ``subject_kind`` is ``member`` or ``operator``."""

    subject_kind = fields.CharField(max_length=16)
    subject_id = fields.UUIDField()
    created_at = fields.DatetimeField()
    revoked_at = fields.DatetimeField(null=True)
    revoke_reason = fields.CharField(max_length=32, null=True)

    class Meta:
        table = "session_family"
        indexes = (("subject_kind", "subject_id"),)


class RefreshToken(Row):
    """A refresh token, kept only as a hash. Using it once makes its successor; using it again betrays a theft.

    ``successor_sealed`` is the successor itself, encrypted, for the case that the reply was lost; it is wiped as soon
    as the successor is used.
    """

    family_id: UUID
    family = reference("SessionFamily")
    token_hash = fields.CharField(max_length=64, unique=True)
    issued_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    used_at = fields.DatetimeField(null=True)
    successor_id = fields.UUIDField(null=True)
    successor_sealed = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "refresh_token"
