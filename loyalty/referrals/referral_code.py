"""What a member shares: a code to type, and short tokens for QR codes and cards.

Source: docs/rules/referral.md
"""

from loyalty.refusal import Refusal
from loyalty.typed import regular_code

CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 8
CODE_SECRET_BYTES = 5

TOKEN_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_LENGTH = 17
TOKEN_SECRET_BYTES = 12
MAX_SCENE_LENGTH = 32
"""A QR code's scene has at most so many characters; the short token in it is looked up on the server."""

MAX_CAMPAIGN_LENGTH = 40
MAX_TOKENS = 50
"""How many tokens one member may have."""


class ReferralCodeUnknown(Refusal):
    """No member has this code, or the token is unknown."""

    code = "REFERRAL_CODE_UNKNOWN"
    zh = "邀请码无效"
    en = "This referral code is unknown."


class ReferralCampaignInvalid(Refusal):
    """A campaign is named by up to ``most`` small letters, digits and underscores."""

    code = "REFERRAL_CAMPAIGN_INVALID"
    zh = "活动标识须为至多 {most} 个小写字母、数字或下划线"
    en = "A campaign is named by up to {most} small letters, digits and underscores."


class ReferralTokenLimit(Refusal):
    """The member has ``most`` tokens already."""

    code = "REFERRAL_TOKEN_LIMIT"
    zh = "邀请链接数量已达上限（{most}）"
    en = "A member has at most {most} referral tokens."


def code_from(secret: bytes) -> str:
    """A member's code out of 5 secret bytes: 8 characters without I, L, O and U, which people mistake."""
    assert len(secret) == CODE_SECRET_BYTES, f"{len(secret)} bytes"
    number = int.from_bytes(secret, "big")
    return "".join(CODE_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def read_code(text: str) -> str:
    """A code as somebody typed it, made regular.

    Raises: ReferralCodeUnknown for what cannot be a code.
    """
    code = regular_code(text)
    if len(code) != CODE_LENGTH or any(character not in CODE_ALPHABET for character in code):
        raise ReferralCodeUnknown()
    return code


def token_from(secret: bytes) -> str:
    """A token out of 12 secret bytes: 17 letters and digits, which fit a QR code's scene beside other values."""
    assert len(secret) == TOKEN_SECRET_BYTES, f"{len(secret)} bytes"
    number = int.from_bytes(secret, "big")
    characters = []
    for _ in range(TOKEN_LENGTH):
        number, digit = divmod(number, len(TOKEN_ALPHABET))
        characters.append(TOKEN_ALPHABET[digit])
    return "".join(characters)


def is_token(text: str) -> bool:
    """Whether it looks like a token; a code never does, however it is typed."""
    return len(text) == TOKEN_LENGTH and all(character in TOKEN_ALPHABET for character in text)


def admit_campaign(campaign: str) -> None:
    """Whether a token may name this campaign; the empty one is none. Raises: ReferralCampaignInvalid."""
    plain = campaign.isascii() and campaign == campaign.lower() and campaign.replace("_", "a").isalnum()
    if campaign and not (plain and len(campaign) <= MAX_CAMPAIGN_LENGTH):
        raise ReferralCampaignInvalid(most=MAX_CAMPAIGN_LENGTH)


def admit_token(had: int) -> None:
    """Whether a member who has ``had`` tokens may have another. Raises: ReferralTokenLimit."""
    if had >= MAX_TOKENS:
        raise ReferralTokenLimit(most=MAX_TOKENS)
