"""Members: the people who buy in the mini-program."""

from typing import Any

from tortoise import fields

from models.base import Row


class Member(Row):
    """One person, known by ``openid`` in this mini-program and by ``unionid`` across the brand's apps.

    ``session_key_sealed`` is WeChat's session key, encrypted; it never leaves the server. ``birthday_changed_on`` is
    the shop day of the last change and stays when the birthday is taken away. ``marketing_topics`` lists the
    ``loyalty.people.member.MarketingTopic`` that the member wants to hear of.
    """

    openid = fields.CharField(max_length=64, null=True, unique=True)
    unionid = fields.CharField(max_length=64, null=True, unique=True)
    nickname = fields.CharField(max_length=64, default="")
    avatar_url = fields.CharField(max_length=512, default="")
    birthday = fields.DateField(null=True)
    birthday_changed_on = fields.DateField(null=True)
    personalised = fields.BooleanField(default=True)
    marketing_topics: Any = fields.JSONField(default=list)
    session_key_sealed = fields.TextField(null=True)
    disabled_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "member"
