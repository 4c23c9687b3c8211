from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from loyalty.coupons.coupon import CouponState
from loyalty.coupons.coupon_gift import CouponGiftEnded, GiftState, admit_acceptance, admit_gift, admit_withdrawal
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

GIVER, FRIEND = UUID(int=1), UUID(int=2)


def shop_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)


@pytest.mark.parametrize("row", worked("coupon_gift.md", "Example: whether a coupon can be given"), ids=str)
def test_whether_a_coupon_can_be_given(row: dict[str, str]) -> None:
    terms = CouponTerms(
        kind=CouponKind.AMOUNT,
        amount_fen=1,
        valid_days=30,
        gift_limit=number(row["gift limit"]),
        gift_hours=number(row["hours"]),
    )

    def ask() -> datetime:
        return admit_gift(
            terms,
            state=CouponState(row["state"]),
            gift_count=number(row["given on"]),
            expires_at=shop_time(row["ends before"]),
            now=shop_time("2026-11-20 12:00"),
        )

    if row["answer"] == "ok":
        assert ask() == shop_time(row["link ends before"])
    else:
        with pytest.raises(Refusal) as refused:
            ask()
        assert f"`{refused.value.code}`" == row["answer"]


@pytest.mark.parametrize("row", worked("coupon_gift.md", "Example: whether a gift can be taken"), ids=str)
def test_whether_a_gift_can_be_taken(row: dict[str, str]) -> None:
    def ask() -> str:
        try:
            admit_acceptance(
                state=GiftState(row["state"]),
                expires_at=shop_time("2026-11-21 12:00"),
                giver_id=GIVER,
                friend_id=GIVER if row["by"] == "giver" else FRIEND,
                now=shop_time(row["at"]),
            )
        except Refusal as refusal:
            return f"`{refusal.code}`"
        return "ok"

    assert ask() == row["answer"]


def test_only_what_is_still_offered_can_be_taken_back() -> None:
    admit_withdrawal(GiftState.OFFERED)
    for state in (GiftState.ACCEPTED, GiftState.WITHDRAWN, GiftState.EXPIRED):
        with pytest.raises(CouponGiftEnded):
            admit_withdrawal(state)
