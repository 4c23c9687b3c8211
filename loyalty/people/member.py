"""What a member's profile may say, when a birthday may change, and what a member wants to hear of.

Source: docs/rules/member.md
"""

from collections.abc import Collection
from datetime import date
from enum import StrEnum
from unicodedata import category
from urllib.parse import urlsplit

from loyalty.refusal import Refusal
from loyalty.shop_time import add_months

MAX_NICKNAME_LENGTH = 32
MAX_AVATAR_LENGTH = 512
FIRST_BIRTHDAY = date(1900, 1, 1)
MONTHS_BETWEEN_BIRTHDAYS = 12
PROFILE_COMPLETED = "profile_completed"
"""The action that rewards a profile with a nickname and a birthday, once in a member's life."""


class MarketingTopic(StrEnum):
    """What a member may ask to hear of. Nobody is told about a topic that they did not choose."""

    NEW_ARRIVALS = "new_arrivals"
    OFFERS = "offers"
    MEMBERSHIP = "membership"
    EVENTS = "events"


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


class BirthdayInvalid(Refusal):
    """A birthday lies between ``first`` and today, both included."""

    code = "BIRTHDAY_INVALID"
    zh = "生日须在 {first} 至今天之间"
    en = "A birthday lies between {first} and today."


class BirthdayLocked(Refusal):
    """The birthday was changed less than a year ago; it can be changed from ``from_day`` on."""

    code = "BIRTHDAY_LOCKED"
    zh = "生日一年仅可修改一次，{from_day} 起可再次修改"
    en = "A birthday can be changed once a year, next on {from_day}."


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


def admit_birthday(birthday: date, *, current: date | None, changed_on: date | None, today: date) -> bool:
    """Whether setting ``birthday`` changes anything; False when it is the one that is kept.

    ``changed_on`` is the shop day of the last change, also of one whose birthday was taken away since. Setting the
    first one is a change.

    Raises, in this order: BirthdayInvalid, BirthdayLocked.
    """
    if not FIRST_BIRTHDAY <= birthday <= today:
        raise BirthdayInvalid(first=FIRST_BIRTHDAY.isoformat())
    if birthday == current:
        return False
    free_from = birthday_free_from(changed_on)
    if free_from is not None and today < free_from:
        raise BirthdayLocked(from_day=free_from.isoformat())
    return True


def birthday_free_from(changed_on: date | None) -> date | None:
    """The first shop day on which a birthday changed on ``changed_on`` can be changed; None: never changed."""
    return None if changed_on is None else add_months(changed_on, MONTHS_BETWEEN_BIRTHDAYS)


def profile_complete(*, nickname: str, birthday: date | None) -> bool:
    """Whether a profile is what ``profile_completed`` rewards."""
    return bool(nickname) and birthday is not None


def admit_topics(topics: Collection[MarketingTopic]) -> list[MarketingTopic]:
    """The topics as they are kept: each once, in the order of ``MarketingTopic``."""
    return [topic for topic in MarketingTopic if topic in topics]


def _is_https(url: str) -> bool:
    if not url.isascii() or any(one <= " " or one in '\\"<>' for one in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
