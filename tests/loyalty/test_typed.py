"""What people type on Chinese keyboards."""

import pytest

from loyalty.coupons.coupon_code import read_code
from loyalty.delivery.fulfilment import fit_carrier, fit_tracking_number
from loyalty.delivery.pick_up import PickUpPlace, fit_place
from loyalty.delivery.shipping import ShippingTerms
from loyalty.people.address import Region, admit_region
from loyalty.people.member_code import MEMBER_CODE, MemberCodeInvalid
from loyalty.referrals.referral_code import read_code as read_referral_code
from loyalty.typed import half_width, regular_code
from tests.loyalty.worked_examples import worked


def test_full_width_is_read_as_half_width() -> None:
    for row in worked("typed.md", "Example: half width"):
        assert f"`{half_width(row['typed'].strip('`'))}`" == row["read as"], row


def test_codes_are_read_however_they_are_typed() -> None:
    for row in worked("typed.md", "Example: a code"):
        typed = row["typed"].strip("`")
        assert f"`{regular_code(typed)}`" == f"`{read_code(typed)}`" == row["read as"], row


def test_every_field_of_the_page_is_read_in_half_width() -> None:
    assert read_referral_code("７ｋ３ｍ－９ｘｑ２") == "7K3M9XQ2"
    assert MEMBER_CODE.admit("　８８" + "０" * 16) == "88" + "0" * 16
    assert (fit_carrier("ｓｆ"), fit_tracking_number("ＳＦ１２３４")) == ("SF", "SF1234")
    assert fit_place(PickUpPlace(name="店", address="１ 号", phone="０５７１－１")).phone == "0571-1"
    region = Region(code="４４０１０６", province="广东省", city="广州市")
    assert admit_region(region).code == "440106"
    terms = {"undelivered": ["５４"], "otherwise": {"first_fen": 1, "further_fen": 0}}
    assert ShippingTerms.parse(terms).undelivered == ("54",)


@pytest.mark.parametrize("code", ["八八" + "0" * 16, "８８" + "０" * 15, "88" + "一" * 16])
def test_what_is_no_code_stays_none(code: str) -> None:
    with pytest.raises(MemberCodeInvalid):
        MEMBER_CODE.admit(code)
