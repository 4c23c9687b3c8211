"""Ids are unique and sort as they were made."""

from datetime import UTC, datetime, timedelta

from models.ids import first_id, new_id

AT = datetime(2026, 11, 11, 12, 0, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def test_ids_of_one_millisecond_sort_as_they_were_made_however_many_there_are() -> None:
    made = [new_id(AT) for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_another_time_in_between_does_not_disturb_the_order() -> None:
    made = []
    for _ in range(1_000):
        made.append(new_id(AT))
        new_id(AT + MILLISECOND)
    assert made == sorted(made)


def test_an_id_is_a_uuid_of_version_7_and_no_lower_than_the_first_of_its_time() -> None:
    made = new_id(AT)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert first_id(AT) <= made < first_id(AT + MILLISECOND)


def test_a_later_time_sorts_later() -> None:
    assert new_id(AT) < new_id(AT + MILLISECOND)
