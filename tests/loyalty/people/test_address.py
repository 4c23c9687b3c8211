import pytest

from loyalty.people import address
from loyalty.people.address import AddressInvalid, Contact, Region
from tests.loyalty.worked_examples import worked


def refused(field: str) -> str:
    return f"`{field}`"


def test_phone_numbers_are_kept_as_the_page_says() -> None:
    for row in worked("address.md", "Example: which phone numbers are kept, and how"):
        try:
            kept = address.admit_phone(row["given"])
        except AddressInvalid as refusal:
            kept = refused(str(refusal.data["field"]))
        assert kept == row["kept"], row


def test_regions_are_taken_as_the_page_says() -> None:
    for row in worked("address.md", "Example: which regions are taken"):
        given = Region(code=row["code"], province=row["province"], city=row["city"], district=row["district"])
        try:
            assert address.admit_region(given) == given, row
            answer = "ok"
        except AddressInvalid as refusal:
            answer = refused(str(refusal.data["field"]))
        assert answer == row["answer"], row


def test_contacts_are_masked_as_the_page_says() -> None:
    for row in worked("address.md", "Example: what is shown masked"):
        shown = f"{address.masked_recipient(row['recipient'])} {address.phone_ending(row['phone'])}"
        assert shown == row["shown"], row


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("recipient", "名" * 26),
        ("recipient", "   "),
        ("recipient", "王\n小明"),
        ("street", ""),
        ("street", "路" * 121),
        ("street", "一号\u202e楼"),
    ],
)
def test_texts_outside_their_bounds_are_refused_by_name(field: str, text: str) -> None:
    good = {"recipient": "王小明", "phone": "13812345678", "street": "天河路 1 号"}
    with pytest.raises(AddressInvalid) as caught:
        address.admit_contact(Contact(**{**good, field: text}))
    assert caught.value.data == {"field": field}


def test_texts_at_their_bounds_are_kept_without_blanks_around_them() -> None:
    kept = address.admit_contact(Contact(recipient=f" {'名' * 25} ", phone=" 13812345678", street=f"{'路' * 120}\t"))
    assert kept == Contact(recipient="名" * 25, phone="13812345678", street="路" * 120)
    assert address.admit_label(" 家 ") == "家"
    with pytest.raises(AddressInvalid):
        address.admit_label("家" * 17)


def test_the_twentieth_address_is_the_last() -> None:
    address.admit_another(19)
    with pytest.raises(address.AddressLimitReached) as caught:
        address.admit_another(20)
    assert caught.value.data == {"most": 20}
