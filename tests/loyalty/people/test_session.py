from datetime import UTC, datetime, timedelta

import pytest

from loyalty.people import session
from loyalty.people.session import RefreshFacts
from tests.loyalty.worked_examples import number, worked

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_refresh_tokens_are_taken_as_the_page_says() -> None:
    for row in worked("session.md", "Example: a refresh token comes"):
        token = RefreshFacts(
            expires_at=NOW + timedelta(seconds=number(row["expires"])),
            used_at=None if row["used"] == "-" else NOW - timedelta(seconds=number(row["used"])),
            successor_used=row["successor used"] == "yes",
            family_revoked_at=NOW if row["family"] == "ended" else None,
        )
        outcome = session.refresh_outcome(token, NOW, timedelta(seconds=30))
        assert outcome.value == row["outcome"], row


def test_access_tokens_live_shorter_than_refresh_tokens() -> None:
    assert session.MEMBER_ACCESS_TTL < session.REFRESH_TTL
    assert session.OPERATOR_ACCESS_TTL < session.OPERATOR_REFRESH_TTL < session.REFRESH_TTL
    assert session.REFRESH_GRACE < session.OPERATOR_ACCESS_TTL


@pytest.mark.parametrize(("length", "fine"), [(9, False), (10, True), (128, True), (129, False)])
def test_a_password_has_a_least_and_a_most_length(length: int, fine: bool) -> None:
    if fine:
        session.admit_password("p" * length)
    else:
        with pytest.raises(session.PasswordTooWeak):
            session.admit_password("p" * length)
