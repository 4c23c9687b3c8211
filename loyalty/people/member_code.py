"""The member code that a phone shows and a till resolves: how long it lives, and the one answer for all that is not.

Source: docs/rules/member.md
"""

from datetime import timedelta
from typing import Final

from loyalty.one_time_code import CodeKind
from loyalty.refusal import Refusal


class MemberCodeInvalid(Refusal):
    """No code that can be resolved: unknown, resolved before, or older than a minute. Which one is not told."""

    code = "MEMBER_CODE_INVALID"
    zh = "会员码无效或已过期，请刷新后重试"
    en = "The member code is not valid or has ended; please show a new one."


MEMBER_CODE: Final = CodeKind(name="member_code", prefix="88", ttl=timedelta(minutes=1), invalid=MemberCodeInvalid)
