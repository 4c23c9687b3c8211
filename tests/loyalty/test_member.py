import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.member import MAX_AVATAR_LENGTH, AvatarInvalid, NicknameInvalid, admit_avatar, admit_nickname
from tests.loyalty.worked_examples import worked


@pytest.mark.parametrize("row", worked("member.md", "Example: nicknames"), ids=lambda row: row["nickname"][:12])
def test_nicknames_are_kept_as_the_page_says(row: dict[str, str]) -> None:
    nickname = row["nickname"].removeprefix('"').removesuffix('"')
    if row["kept as"] == "refused":
        with pytest.raises(NicknameInvalid):
            admit_nickname(nickname)
    else:
        assert admit_nickname(nickname) == row["kept as"]


@pytest.mark.parametrize("row", worked("member.md", "Example: avatars"), ids=lambda row: row["address"])
def test_avatars_are_kept_or_refused_as_the_page_says(row: dict[str, str]) -> None:
    if row["kept"] == "no":
        with pytest.raises(AvatarInvalid):
            admit_avatar(row["address"])
    else:
        assert admit_avatar(row["address"]) == row["address"]


@pytest.mark.parametrize("inside", ["\n", "\t", "\0", "\x7f", "\u2028", "\u2029", "\ud800"])
def test_control_characters_are_refused_inside_a_nickname(inside: str) -> None:
    with pytest.raises(NicknameInvalid):
        admit_nickname(f"a{inside}b")


def test_an_avatar_of_512_characters_is_the_longest() -> None:
    start = "https://cdn.example.com/"
    longest = start + "a" * (MAX_AVATAR_LENGTH - len(start))
    assert admit_avatar(longest) == longest
    with pytest.raises(AvatarInvalid):
        admit_avatar(longest + "a")


def test_an_empty_avatar_takes_it_away() -> None:
    assert admit_avatar("") == ""


@given(st.text(max_size=60))
def test_what_is_kept_of_a_nickname_is_kept_again_as_it_is(nickname: str) -> None:
    try:
        kept = admit_nickname(nickname)
    except NicknameInvalid:
        return
    assert admit_nickname(kept) == kept
    assert 1 <= len(kept) <= 32


@given(st.text(max_size=60))
def test_no_text_but_an_https_address_is_an_avatar(url: str) -> None:
    try:
        kept = admit_avatar(url)
    except AvatarInvalid:
        return
    assert kept == "" or kept.lower().startswith("https://")
