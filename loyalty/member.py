"""What a member's profile may say.

Source: docs/rules/member.md
"""

from unicodedata import category
from urllib.parse import urlsplit

from loyalty.refusal import Refusal

MAX_NICKNAME_LENGTH = 32
MAX_AVATAR_LENGTH = 512


class MemberNotFound(Refusal):
    """No such member."""

    code = "MEMBER_NOT_FOUND"
    zh = "会员不存在"
    en = "There is no such member."


class NicknameInvalid(Refusal):
    """A nickname is 1 to ``most`` characters, without line breaks and other control characters."""

    code = "NICKNAME_INVALID"
    zh = "昵称须为 1 至 {most} 个字符，且不含控制字符"
    en = "A nickname is 1 to {most} characters without control characters."


class AvatarInvalid(Refusal):
    """An avatar is an https address of at most ``most`` characters, or none."""

    code = "AVATAR_INVALID"
    zh = "头像须为不超过 {most} 个字符的 https 地址"
    en = "An avatar is an https address of at most {most} characters."


def admit_nickname(nickname: str) -> str:
    """The nickname as it is kept, without blanks around it. Raises: NicknameInvalid."""
    kept = nickname.strip()
    if not 1 <= len(kept) <= MAX_NICKNAME_LENGTH or any(category(one) in ("Cc", "Cs", "Zl", "Zp") for one in kept):
        raise NicknameInvalid(most=MAX_NICKNAME_LENGTH)
    return kept


def admit_avatar(url: str) -> str:
    """The address as it is kept; an empty one takes the avatar away. Raises: AvatarInvalid."""
    if url and not (len(url) <= MAX_AVATAR_LENGTH and _is_https(url)):
        raise AvatarInvalid(most=MAX_AVATAR_LENGTH)
    return url


def _is_https(url: str) -> bool:
    if not url.isascii() or any(one <= " " or one in '\\"<>' for one in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
