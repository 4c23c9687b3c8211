"""Birthdays, complete profiles and topics, by the page."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.one_time_code import CODE_LENGTH
from loyalty.people.member import (
    BirthdayInvalid,
    BirthdayLocked,
    MarketingTopic,
    admit_birthday,
    admit_topics,
    birthday_free_from,
    profile_complete,
)
from loyalty.people.member_code import MEMBER_CODE, MemberCodeInvalid
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import worked


def day(cell: str) -> date | None:
    return None if cell == "-" else date.fromisoformat(cell)


def test_birthdays_change_as_the_page_says() -> None:
    answered = []
    for row in worked("member.md", "Example: changing the birthday"):
        wanted, today = day(row["wanted"]), day(row["today"])
        assert wanted
        assert today
        try:
            changed = admit_birthday(wanted, current=day(row["kept"]), changed_on=day(row["changed on"]), today=today)
            answer = "changed" if changed else "the same"
        except Refusal as refused:
            answer = f"`{refused.code}`"
        assert answer == row["answer"], row
        answered.append(answer)
    assert len(answered) == 9


def test_a_locked_birthday_says_from_when_it_can_be_changed() -> None:
    with pytest.raises(BirthdayLocked) as refused:
        admit_birthday(date(1990, 1, 1), current=None, changed_on=date(2026, 11, 20), today=date(2026, 11, 21))
    assert refused.value.data == {"from_day": "2027-11-20"}


def test_an_impossible_birthday_is_told_before_a_locked_one() -> None:
    with pytest.raises(BirthdayInvalid):
        admit_birthday(date(2030, 1, 1), current=None, changed_on=date(2026, 11, 20), today=date(2026, 11, 21))


@given(st.dates(date(2000, 1, 1), date(2100, 12, 31)))
def test_a_birthday_is_locked_for_twelve_months_whatever_the_day(changed_on: date) -> None:
    free_from = birthday_free_from(changed_on)
    assert free_from is not None
    assert 365 <= (free_from - changed_on).days <= 366
    assert free_from.month == changed_on.month


def test_a_profile_is_complete_with_a_name_and_a_birthday() -> None:
    assert profile_complete(nickname="Ann", birthday=date(1990, 1, 1))
    assert not profile_complete(nickname="", birthday=date(1990, 1, 1))
    assert not profile_complete(nickname="Ann", birthday=None)


def test_topics_are_kept_once_and_in_order() -> None:
    twice = [MarketingTopic.EVENTS, MarketingTopic.OFFERS, MarketingTopic.EVENTS]
    assert admit_topics(twice) == [MarketingTopic.OFFERS, MarketingTopic.EVENTS]


GOOD = MEMBER_CODE.prefix + "0123456789012345"


def test_a_code_is_read_without_the_blanks_of_a_scanner() -> None:
    assert len(GOOD) == CODE_LENGTH
    assert MEMBER_CODE.admit(f" {GOOD}\r\n") == GOOD


@pytest.mark.parametrize("code", ["", GOOD[:-1], GOOD + "0", "77" + GOOD[2:], GOOD[:-1] + "a", GOOD[:-1] + "٣"])
def test_what_cannot_be_a_code_is_refused_like_an_unknown_one(code: str) -> None:
    with pytest.raises(MemberCodeInvalid):
        MEMBER_CODE.admit(code)
