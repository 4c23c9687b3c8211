"""Pick-up points and codes, by docs/rules/fulfilment.md."""

import pytest

from loyalty.delivery import pick_up as rule
from loyalty.delivery.pick_up import PickUpPlace


def test_a_place_is_kept_without_blanks_around_its_texts() -> None:
    kept = rule.fit_place(PickUpPlace(name=" 湖滨店 ", address=" 湖滨路 1 号", opening_hours="10:00–21:00 "))
    assert kept == PickUpPlace(name="湖滨店", address="湖滨路 1 号", opening_hours="10:00–21:00", phone="")


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("name", PickUpPlace(name=" ", address="湖滨路 1 号")),
        ("name", PickUpPlace(name="店" * 41, address="湖滨路 1 号")),
        ("address", PickUpPlace(name="湖滨店", address="")),
        ("address", PickUpPlace(name="湖滨店", address="路" * 201)),
        ("opening hours", PickUpPlace(name="湖滨店", address="湖滨路 1 号", opening_hours="早" * 101)),
        ("phone", PickUpPlace(name="湖滨店", address="湖滨路 1 号", phone="1" * 21)),
    ],
)
def test_a_place_with_a_text_that_does_not_fit_is_refused(field: str, place: PickUpPlace) -> None:
    with pytest.raises(rule.PickUpPointInvalid) as refused:
        rule.fit_place(place)
    assert refused.value.data["field"] == field


@pytest.mark.parametrize("code", ["85" + "1" * 16, " 85" + "1" * 16 + "\n"])
def test_a_scanned_code_is_taken_without_blanks(code: str) -> None:
    assert rule.PICK_UP_CODE.admit(code) == "85" + "1" * 16


@pytest.mark.parametrize("code", ["", "85", "88" + "1" * 16, "85" + "1" * 15, "85" + "1" * 17, "85" + "一" * 16])
def test_what_cannot_be_a_code_is_refused(code: str) -> None:
    with pytest.raises(rule.PickUpCodeInvalid):
        rule.PICK_UP_CODE.admit(code)
