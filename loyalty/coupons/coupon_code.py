"""The codes that coupons are redeemed with: how they are made and how they are read.

Source: docs/rules/coupon.md
"""

from loyalty.coupons.coupon import CouponCodeInvalid
from loyalty.referrals.referral_code import CODE_ALPHABET
from loyalty.typed import regular_code

CODE_LENGTH = 12
CODE_SECRET_BYTES = 8


def code_from(secret: bytes) -> str:
    """A code out of 8 secret bytes: 12 characters, 60 bits, without I, L, O and U, which people mistake."""
    assert len(secret) == CODE_SECRET_BYTES, f"{len(secret)} bytes"
    number = int.from_bytes(secret, "big")
    return "".join(CODE_ALPHABET[number >> shift & 31] for shift in range(55, -1, -5))


def read_code(text: str) -> str:
    """A code as somebody typed it, made regular.

    Raises: CouponCodeInvalid for what cannot be a code.
    """
    code = regular_code(text)
    if len(code) != CODE_LENGTH or any(character not in CODE_ALPHABET for character in code):
        raise CouponCodeInvalid()
    return code
