import pytest

from loyalty.coupons.coupon import CouponCodeInvalid
from loyalty.coupons.coupon_code import CODE_LENGTH, code_from, read_code
from loyalty.referrals.referral_code import CODE_ALPHABET


def test_a_code_is_60_bits_in_letters_that_people_tell_apart() -> None:
    assert code_from(bytes(8)) == "0" * CODE_LENGTH
    assert code_from(b"\xff" * 8) == "Z" * CODE_LENGTH
    assert set(code_from(b"\x01\x23\x45\x67\x89\xab\xcd\xef")) <= set(CODE_ALPHABET)


def test_a_code_is_read_however_it_is_typed() -> None:
    assert read_code(" abcd-efgh jkol ") == "ABCDEFGHJK01"
    for wrong in ("", "ABCDEFGHJK0", "ABCDEFGHJK010", "ABCDEFGHJKU0", "十一二三四五六七八九十一"):
        with pytest.raises(CouponCodeInvalid):
            read_code(wrong)
