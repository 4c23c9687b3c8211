"""Operator accounts, by the tables of docs/rules/operator.md."""

import pytest

from loyalty.people.operator import LastOwner, LoginUnfit, OperatorNameUnfit, admit_loss, fit_login, fit_name
from loyalty.people.rights import RIGHTS, Right, Role
from tests.loyalty.worked_examples import number, worked

PAGE = "operator.md"


def test_every_role_has_the_rights_that_the_page_says() -> None:
    told = {
        row["role"]: {Right(one) for one in row["rights"].split(", ")}
        for row in worked(PAGE, "Example: who may do what")
    }
    everybody = told.pop("every role")
    assert {Role(role): everybody | rights for role, rights in told.items()} | {Role.OWNER: set(Right)} == RIGHTS


@pytest.mark.parametrize("row", worked(PAGE, "Example: losing an owner"), ids=str)
def test_the_last_owner_stays(row: dict[str, str]) -> None:
    facts = {"role": row["role"], "disabled": row["disabled"] == "yes", "owners": number(row["owners"])}
    if row["outcome"] == "fine":
        admit_loss(**facts)  # type: ignore[arg-type]
        return
    with pytest.raises(LastOwner):
        admit_loss(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", worked(PAGE, "Example: logins"), ids=str)
def test_a_login_is_stored_as_the_page_says(row: dict[str, str]) -> None:
    written, stored = row["written"].strip("`"), row["stored"].strip("`")
    if stored == "-":
        with pytest.raises(LoginUnfit):
            fit_login(written)
        return
    assert fit_login(written) == stored


@pytest.mark.parametrize(("length", "fits"), [(2, False), (3, True), (64, True), (65, False)])
def test_a_login_has_three_to_sixty_four_characters(length: int, fits: bool) -> None:
    if fits:
        assert fit_login("a" * length) == "a" * length
        return
    with pytest.raises(LoginUnfit) as refused:
        fit_login("a" * length)
    assert refused.value.data == {"least": 3, "most": 64}


def test_a_login_ends_where_it_ends() -> None:
    with pytest.raises(LoginUnfit):
        fit_login("owner\nroot")
    with pytest.raises(LoginUnfit):
        fit_login("own\u0131er")


def test_a_display_name_is_trimmed_and_bounded() -> None:
    assert fit_name("  林 小姐 ") == "林 小姐"
    assert fit_name("x" * 64) == "x" * 64
    with pytest.raises(OperatorNameUnfit):
        fit_name("x" * 65)
