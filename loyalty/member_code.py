"""The member code that a phone shows and a till resolves: how long it lives, and the one answer for all that is not.

Source: docs/rules/member.md
"""

from datetime import timedelta

from loyalty.refusal import Refusal

CODE_TTL = timedelta(minutes=1)
"""How long a code can be resolved after it was shown: until before this has passed."""

CODE_LENGTH = 18
"""Digits only, so that it fits a bar code that every till can read."""

CODE_PREFIX = "88"
"""No payment code of WeChat (10 to 15) or Alipay (25 to 30) begins like this: a till can tell them apart."""


class MemberCodeInvalid(Refusal):
    """No code that can be resolved: unknown, resolved before, or older than a minute. Which one is not told."""

    code = "MEMBER_CODE_INVALID"
    zh = "会员码无效或已过期，请刷新后重试"
    en = "The member code is not valid or has ended; please show a new one."


def admit_code(code: str) -> str:
    """The code without the blanks that scanners add. Raises: MemberCodeInvalid for what cannot be a code."""
    kept = code.strip()
    if len(kept) != CODE_LENGTH or not kept.isascii() or not kept.isdigit() or not kept.startswith(CODE_PREFIX):
        raise MemberCodeInvalid()
    return kept
