"""The page of the exceptions inbox is what the rules do: kinds, causes, deadlines and actions."""

from datetime import UTC, datetime, timedelta

import pytest

from loyalty.payments import exception_case as rule
from loyalty.payments.exception_case import RULES, CaseAction, CaseActionRefused, CaseKind
from tests.loyalty.worked_examples import number, worked

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def test_every_kind_stands_in_the_page_with_its_cause_deadline_and_actions() -> None:
    told = {row["kind"].strip("`"): row for row in worked("exception_case.md", "Kinds")}
    assert set(told) == set(CaseKind) == set(RULES)
    for kind, found in RULES.items():
        row = told[kind]
        assert row["cause"] == f"{found.cause('zh')} · {found.cause('en')}"
        assert rule.due_at(kind, NOON) == NOON + timedelta(hours=number(row["deadline"]))
        assert row["actions"].split(", ") == [str(action) for action in found.actions]
        assert found.advice("zh")
        assert found.advice("en")


def test_every_action_has_its_mutation_in_the_page() -> None:
    told = [row["action"] for row in worked("exception_case.md", "Actions")]
    assert [action.split(" ")[0] for action in ("retry", "refund", "accept", "paid by hand", "resolve")] == [
        row.split(" ")[0] for row in told
    ]


@pytest.mark.parametrize("kind", CaseKind)
def test_only_the_actions_of_a_kind_are_admitted(kind: CaseKind) -> None:
    for action in CaseAction:
        if action in RULES[kind].actions:
            rule.admit_action(kind, action)
        else:
            with pytest.raises(CaseActionRefused):
                rule.admit_action(kind, action)


def test_money_of_another_amount_is_never_accepted() -> None:
    rule.admit_accept(paid_fen=100, expected_fen=100)
    for paid_fen in (99, 101, None):
        with pytest.raises(CaseActionRefused):
            rule.admit_accept(paid_fen=paid_fen, expected_fen=100)


@pytest.mark.parametrize(("words", "fine"), [(" ", False), ("x", True), ("x" * 200, True), ("x" * 201, False)])
def test_a_case_is_settled_with_words_of_bounded_length(words: str, fine: bool) -> None:
    if fine:
        rule.admit_resolution(words)
    else:
        with pytest.raises(rule.ResolutionInvalid):
            rule.admit_resolution(words)
