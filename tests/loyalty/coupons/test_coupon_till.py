from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from loyalty.coupons.coupon import CouponNotUsable
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.coupons.coupon_till import TILL_CODE, CouponTillCodeInvalid, CouponTillUseFinal, admit_reversal, till_worth
from loyalty.coupons.coupon_use import HeldCoupon
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)


def held(terms: CouponTerms, *, available: bool = True) -> HeldCoupon:
    return HeldCoupon(
        id=UUID(int=1),
        template_id=UUID(int=1),
        template_code="t",
        version=1,
        terms=terms,
        usable_from=NOON,
        expires_at=NOON + timedelta(days=1),
        available=available,
    )


@pytest.mark.parametrize("row", worked("coupon_till.md", "Example: what a coupon is worth at the till"), ids=str)
def test_what_a_coupon_is_worth_at_the_till(row: dict[str, str]) -> None:
    kind = CouponKind(row["kind"])
    terms = CouponTerms(
        kind=kind,
        amount_fen=number(row["value"]) if kind is CouponKind.AMOUNT else None,
        discount_bp=number(row["value"]) if kind is CouponKind.PERCENT else None,
        cap_fen=number(row["cap"]) or None,
        threshold_fen=number(row["over"]),
        valid_days=1,
    )
    amount_fen = number(row["amount"]) or None
    if row["answer"] == "ok":
        assert till_worth(held(terms), amount_fen=amount_fen, now=NOON) == (number(row["takes off"]) or None)
        return
    with pytest.raises(Refusal) as refused:
        till_worth(held(terms), amount_fen=amount_fen, now=NOON)
    told = refused.value.data.get("reason", refused.value.code)
    assert row["answer"] == f"`{told}`"
    assert (refused.value.data.get("missing") or 0) == number(row["missing"])


def test_what_keeps_a_coupon_from_being_used_comes_before_its_worth() -> None:
    terms = CouponTerms(kind=CouponKind.AMOUNT, amount_fen=1, threshold_fen=100, valid_days=1)
    asked = [
        (held(terms, available=False), NOON, "not_available"),
        (held(terms), NOON - timedelta(microseconds=1), "not_started"),
        (held(terms), NOON + timedelta(days=1), "expired"),
        (held(terms), NOON, "below_threshold"),
    ]
    for coupon, now, reason in asked:
        with pytest.raises(CouponNotUsable) as refused:
            till_worth(coupon, amount_fen=99, now=now)
        assert refused.value.data["reason"] == reason
    for amount_fen in (0, -1, 1_000_000_001):
        with pytest.raises(ProgrammeInvalid):
            till_worth(held(terms), amount_fen=amount_fen, now=NOON)


@pytest.mark.parametrize("row", worked("coupon_till.md", "Example: until when it can be taken back"), ids=str)
def test_until_when_it_can_be_taken_back(row: dict[str, str]) -> None:
    now = datetime.fromisoformat(row["at"]).replace(tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)
    if row["answer"] == "ok":
        admit_reversal(used_at=NOON, reversed_at=None, now=now)
        with pytest.raises(CouponTillUseFinal):
            admit_reversal(used_at=NOON, reversed_at=NOON, now=now)
    else:
        with pytest.raises(CouponTillUseFinal):
            admit_reversal(used_at=NOON, reversed_at=None, now=now)


def test_a_code_is_18_digits_that_begin_with_89() -> None:
    assert TILL_CODE.admit(" 891234567890123456\n") == "891234567890123456"
    for wrong in ("", "881234567890123456", "89123456789012345", "8912345678901234567", "89123456789012345x"):
        with pytest.raises(CouponTillCodeInvalid):
            TILL_CODE.admit(wrong)
