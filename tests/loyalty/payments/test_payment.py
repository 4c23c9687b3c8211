from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.payments import payment
from loyalty.payments.payment import PaymentFacts
from tests.loyalty.worked_examples import number, numbers, worked

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXPECTED = PaymentFacts(appid="wx1", mchid="m1", total=100, currency="CNY", payer_openid="o1")


def polls(deadline: datetime) -> list[datetime]:
    found: list[datetime] = []
    while (at := payment.next_poll(created_at=NOW, polls_done=len(found), deadline=deadline)) is not None:
        found.append(at)
    return found


def test_attempts_are_asked_about_as_the_page_says() -> None:
    for row in worked("payment.md", "Example: when an attempt is asked about"):
        deadline = NOW + timedelta(seconds=number(row["closes after"]))
        assert [(at - NOW).total_seconds() for at in polls(deadline)] == numbers(row["asked after"]), row


def test_facts_agree_as_the_page_says() -> None:
    for row in worked("payment.md", "Example: what must agree"):
        actual = PaymentFacts(
            appid=row["appid"],
            mchid=row["mchid"],
            total=number(row["total"]),
            currency=row["currency"],
            payer_openid=row["payer"],
        )
        assert ", ".join(payment.compare(EXPECTED, actual)) == row["differs"].strip("-"), row


@given(st.integers(0, 100_000))
def test_polls_go_forward_and_stay_before_the_deadline(seconds: int) -> None:
    deadline = NOW + timedelta(seconds=seconds)
    asked = polls(deadline)
    assert asked == sorted(set(asked))
    assert all(NOW < at < deadline for at in asked)


def test_a_payment_can_be_started_until_a_minute_before_the_deadline() -> None:
    payment.admit_prepay(now=NOW, deadline=NOW + timedelta(minutes=1))
    with pytest.raises(payment.PayDeadlinePassed):
        payment.admit_prepay(now=NOW, deadline=NOW + timedelta(seconds=59))


@pytest.mark.parametrize(
    ("words", "fine"), [("", False), ("  ", False), ("x", True), ("x" * 80, True), ("x" * 81, False)]
)
def test_a_refund_needs_a_reason_of_bounded_length(words: str, fine: bool) -> None:
    if fine:
        payment.admit_refund_reason(words)
    else:
        with pytest.raises(payment.RefundReasonInvalid):
            payment.admit_refund_reason(words)
