"""Whatever the verbs put into the exceptions inbox is a kind with a rule, and what can be tried again has a way to."""

import ast
from pathlib import Path

import resolvers
from loyalty.payments.exception_case import RULES, CaseAction, CaseKind
from loyalty.payments.payment import RefundCause
from loyalty.payments.reconciliation import Difference
from resolvers.payments.exception_action import RETRIES

SOURCES = sorted(Path(path) for folder in resolvers.__path__ for path in Path(folder).rglob("*.py"))
HANDED_ON: dict[str, set[str]] = {
    # The two causes that a payment is given back for, and the three lists of a reconciliation.
    "payment.py cause": {RefundCause.LATE_PAYMENT, RefundCause.DUPLICATE_PAYMENT},
    "reconciliation.py f'bill_{finding.difference}'": {f"bill_{one}" for one in Difference},
    "payment.py kind": {"unknown_order"},
    "refund_end.py kind": {"refund_closed", "refund_abnormal", "refund_mismatch", "refund_stuck", "refund_twice"},
}
"""Where the kind is an expression: what it may be there."""


def opened() -> dict[str, set[str]]:
    """The kinds that each place opens, by file and expression."""
    found: dict[str, set[str]] = {}
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open_case":
                kind = next(keyword.value for keyword in node.keywords if keyword.arg == "kind")
                place = f"{source.name} {ast.unparse(kind)}"
                if isinstance(kind, ast.Constant):
                    found[place] = {str(kind.value)}
                elif isinstance(kind, ast.Attribute):
                    found[place] = {CaseKind[kind.attr]}
                elif isinstance(kind, ast.Name) and kind.id in constants:
                    found[place] = {str(constants[kind.id])}
                else:
                    found[place] = {str(one) for one in HANDED_ON[place]}
    return found


def test_every_kind_that_is_opened_has_a_rule_with_something_to_do() -> None:
    places = opened()
    assert places
    for place, kinds in places.items():
        for kind in kinds:
            assert RULES[CaseKind(kind)].actions, place


def test_every_kind_with_a_rule_is_opened_somewhere() -> None:
    assert set().union(*opened().values()) == {str(kind) for kind in CaseKind}


def test_what_can_be_tried_again_has_a_way_to() -> None:
    assert set(RETRIES) == {kind for kind, found in RULES.items() if CaseAction.RETRY in found.actions}
